"""Checkpoints to networks: three sources of weights, and what is refused."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from phenobench.errors import InputError
from phenobench.models.cwa_msn import (
    Checkpoint,
    build,
    preprocess,
    random_checkpoint,
    read_checkpoint,
    write_checkpoint,
)
from phenobench.models.networks import VIT_SMALL, VitShape

TINY = VitShape(image=32, patch=8, channels=2, width=24, depth=2, heads=3, mlp_ratio=2.0)
# What an MSN-style file must be for its sizes to show in its tensors: heads are 64 wide.
PLAIN = VitShape(image=32, patch=8, channels=2, width=128, depth=2, heads=2)
NAMES = ("DNA", "ER")


def equal(one: Mapping[str, torch.Tensor], two: Mapping[str, torch.Tensor]) -> bool:
    return set(one) == set(two) and all(torch.equal(one[key], two[key]) for key in one)


def msn_style(path: Path, **more: Any) -> Checkpoint:
    """A file as MSN's training leaves it, and what should be read from it."""
    target, query = random_checkpoint(PLAIN, NAMES, 1), random_checkpoint(PLAIN, NAMES, 2)
    head = {"module.fc.fc1.weight": torch.zeros(8, 128), "module.fc.norm.weight": torch.zeros(8)}
    stored = {
        "encoder": {f"module.{key}": value for key, value in query.state.items()} | head,
        "target_encoder": {f"module.{key}": value for key, value in target.state.items()} | head,
        "prototypes": torch.zeros(4, 8),
        "opt": {"state": {0: {"step": torch.tensor(1.0)}}, "param_groups": [{"lr": 0.1}]},
        "epoch": 3,
    }
    torch.save(stored | more, path)
    return target


@pytest.mark.parametrize("kind", ["demo", "trained"])
def test_a_checkpoint_of_ours_comes_back_as_it_was(tmp_path: Path, kind: Any) -> None:
    made = replace(random_checkpoint(TINY, NAMES, 0), kind=kind)
    path = tmp_path / "new folder" / "weights.safetensors"
    write_checkpoint(path, made)
    found = read_checkpoint(path)
    assert (found.shape, found.channels, found.kind) == (TINY, NAMES, kind)
    assert equal(found.state, made.state)
    assert equal(build(found).state_dict(), made.state)
    assert list(path.parent.iterdir()) == [path]


def test_the_same_checkpoint_gives_the_same_bytes(tmp_path: Path) -> None:
    made = random_checkpoint(TINY, ("DNA", "\N{GREEK SMALL LETTER ALPHA}-tubulin"), 0)
    path = tmp_path / "weights.safetensors"
    contents = set()
    for _ in range(20):  # the library alone gives about six orders of the metadata
        write_checkpoint(path, made)
        contents.add(path.read_bytes())
    assert len(contents) == 1
    assert read_checkpoint(path).channels == made.channels


def test_a_checkpoint_of_ours_written_by_others_needs_no_kind_and_may_hold_more(tmp_path: Path) -> None:
    made = random_checkpoint(TINY, NAMES, 0)
    state = {**made.state, "head.weight": torch.zeros(3), "blocks.9.extra": torch.zeros(1)}
    metadata = {"shape": json.dumps(asdict(TINY)), "channels": json.dumps(NAMES), "date": "today"}
    save_file(state, tmp_path / "weights.safetensors", metadata)
    found = read_checkpoint(tmp_path / "weights.safetensors")
    assert (found.kind, found.channels) == ("trained", NAMES)
    assert equal(found.state, made.state)


def test_half_precision_is_read_as_float32(tmp_path: Path) -> None:
    made = random_checkpoint(TINY, NAMES, 0)
    half = {key: value.to(torch.bfloat16) for key, value in made.state.items()}
    write_checkpoint(tmp_path / "weights.safetensors", replace(made, state=half))
    found = read_checkpoint(tmp_path / "weights.safetensors").state
    assert {value.dtype for value in found.values()} == {torch.float32}
    assert all(torch.equal(found[key], half[key].float()) for key in half)


def test_the_target_encoder_of_an_msn_checkpoint_is_taken(tmp_path: Path) -> None:
    target = msn_style(tmp_path / "weights.pth.tar")
    found = read_checkpoint(tmp_path / "weights.pth.tar")
    assert (found.shape, found.channels, found.kind) == (PLAIN, None, "trained")
    assert equal(found.state, target.state)


def test_the_encoder_is_taken_where_there_is_no_target(tmp_path: Path) -> None:
    msn_style(tmp_path / "weights.pt", target_encoder=None)
    assert equal(read_checkpoint(tmp_path / "weights.pt").state, random_checkpoint(PLAIN, NAMES, 2).state)


@pytest.mark.parametrize("prefix", ["", "module.", "encoder.", "target_encoder.module.", "module.backbone."])
@pytest.mark.parametrize("form", ["safetensors", "zip", "legacy"])
def test_prefixes_and_containers(tmp_path: Path, prefix: str, form: str) -> None:
    made = random_checkpoint(PLAIN, NAMES, 0)
    state = {prefix + key: value for key, value in made.state.items()}
    path = tmp_path / "model.safetensors"  # the name says nothing: what is inside decides
    if form == "safetensors":
        save_file(state, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=form == "zip")
    found = read_checkpoint(path)
    assert found.shape == PLAIN
    assert equal(found.state, made.state)


def test_the_sizes_of_the_paper_are_inferred(tmp_path: Path) -> None:
    shape = replace(VIT_SMALL, channels=6, depth=1)
    save_file(dict(random_checkpoint(shape, tuple("abcdef"), 0).state), tmp_path / "w.safetensors")
    assert read_checkpoint(tmp_path / "w.safetensors").shape == shape


class _Code:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return Path.touch, (Path(_Code.target),)  # type: ignore[return-value]

    target = ""


@pytest.mark.parametrize("form", ["zip", "legacy", "pickle"])
def test_a_pickle_with_code_in_it_is_refused_and_not_run(tmp_path: Path, form: str) -> None:
    _Code.target = str(tmp_path / "the code has run")
    path = tmp_path / "weights.pth"
    stored = {"encoder": dict(random_checkpoint(PLAIN, NAMES, 0).state), "epoch": _Code()}
    if form == "pickle":
        path.write_bytes(pickle.dumps(stored))
    else:
        torch.save(stored, path, _use_new_zipfile_serialization=form == "zip")
    with pytest.raises(InputError, match=r"is refused|is no whole torch archive"):
        read_checkpoint(path)
    assert not Path(_Code.target).exists()


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 cut short", b"\x80\x02", b"\x40" + 7 * b"\0" + b"{"])
def test_files_that_are_no_weights(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "weights").write_bytes(content)
    with pytest.raises(InputError, match="weights"):
        read_checkpoint(tmp_path / "weights")


def test_no_file_and_a_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "absent", tmp_path):
        with pytest.raises(InputError, match="cannot be read"):
            read_checkpoint(path)


def test_missing_parameters_are_named_the_first_five(tmp_path: Path) -> None:
    made = random_checkpoint(TINY, NAMES, 0)
    state = {key: value for key, value in made.state.items() if not key.startswith("blocks.1.")}
    write_checkpoint(tmp_path / "w.safetensors", replace(made, state=state))
    with pytest.raises(InputError, match="lacks 12 parameters") as caught:
        read_checkpoint(tmp_path / "w.safetensors")
    named = "blocks.1.norm1.weight, blocks.1.norm1.bias, blocks.1.attn.qkv.weight, blocks.1.attn.qkv.bias"
    assert f"{named}, blocks.1.attn.proj.weight, ..." in str(caught.value)
    assert "blocks.1.attn.proj.bias" not in str(caught.value)
    with pytest.raises(InputError, match="lacks 12 parameters"):
        build(replace(made, state=state))


def test_parameters_of_another_shape_are_named_with_both_shapes(tmp_path: Path) -> None:
    made = replace(random_checkpoint(TINY, NAMES, 0), shape=replace(TINY, image=64))
    write_checkpoint(tmp_path / "w.safetensors", made)
    with pytest.raises(InputError, match=r"pos_embed \(1, 17, 24\) instead of \(1, 65, 24\)"):
        read_checkpoint(tmp_path / "w.safetensors")


@pytest.mark.parametrize(
    ("removed", "said"),
    [(".", "lacks 4 parameters"), ("blocks.", "blocks.0.mlp.fc1.weight"), ("cls_token", "cls_token")],
)
def test_what_an_msn_checkpoint_must_have_for_its_sizes(tmp_path: Path, removed: str, said: str) -> None:
    state = {key: value for key, value in random_checkpoint(PLAIN, NAMES, 0).state.items() if removed not in key}
    if removed == ".":
        state = {"conv1": torch.zeros(3)}
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(InputError, match=said):
        read_checkpoint(tmp_path / "w.safetensors")


def test_a_width_without_heads_of_64_needs_its_shape_in_the_metadata(tmp_path: Path) -> None:
    save_file(dict(random_checkpoint(TINY, NAMES, 0).state), tmp_path / "w.safetensors")
    with pytest.raises(InputError, match="do not divide a width of 24"):
        read_checkpoint(tmp_path / "w.safetensors")


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("shape", "ViT", "shape"),
        ("shape", '{"image": 32}', "patch"),
        ("shape", json.dumps(asdict(TINY) | {"depth": 0}), "not positive"),
        ("channels", '["DNA"]', "2 different channels"),
        ("channels", '["DNA", "DNA"]', "2 different channels"),
        ("channels", '"DNA"', "channels"),
        ("kind", "official", "kind"),
    ],
)
def test_metadata_that_is_wrong_is_named(tmp_path: Path, key: str, value: str, said: str) -> None:
    metadata = {"shape": json.dumps(asdict(TINY)), "channels": json.dumps(NAMES), key: value}
    save_file(dict(random_checkpoint(TINY, NAMES, 0).state), tmp_path / "w.safetensors", metadata)
    with pytest.raises(InputError, match=said):
        read_checkpoint(tmp_path / "w.safetensors")


def test_random_weights_depend_on_the_seed_alone() -> None:
    torch.manual_seed(1)
    one = random_checkpoint(TINY, NAMES, 3)
    state = torch.get_rng_state()
    torch.manual_seed(2)
    two = random_checkpoint(TINY, NAMES, 3)
    torch.manual_seed(1)
    assert torch.equal(torch.get_rng_state(), state)
    assert equal(one.state, two.state)
    assert not equal(one.state, random_checkpoint(TINY, NAMES, 4).state)
    assert one.kind == "random"


def test_random_weights_have_the_spread_of_the_recipe() -> None:
    state = random_checkpoint(replace(VIT_SMALL, depth=1), ("a", "b", "c"), 0).state
    for key in ("pos_embed", "cls_token", "patch_embed.proj.weight", "blocks.0.mlp.fc1.weight"):
        assert state[key].abs().max() <= 0.04
        assert 0.015 < state[key].std() < 0.02
    assert all((state[key] == 0).all() for key in state if key.endswith("bias"))
    assert all((state[key] == 1).all() for key in state if "norm" in key and key.endswith("weight"))


def test_random_weights_need_the_channels_of_their_shape() -> None:
    with pytest.raises(InputError, match="2 different channels"):
        random_checkpoint(TINY, ("DNA", "ER", "RNA"), 0)


def test_a_network_has_weights_of_its_own_and_embeds() -> None:
    checkpoint = random_checkpoint(TINY, NAMES, 0)
    network = build(checkpoint)
    assert not network.training
    with torch.no_grad():
        images = torch.randint(0, 256, (3, 2, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
        before = network(preprocess(images))
        network.norm.bias.add_(1)
    assert before.shape == (3, 24)
    assert before.std(dim=0).min() > 0
    assert equal(build(checkpoint).state_dict(), checkpoint.state)


def test_preprocessing_is_one_fixed_line_for_all_pixels() -> None:
    images = torch.arange(256, dtype=torch.uint8).reshape(1, 4, 8, 8)
    wanted = (images.double() - 32) / 32
    found = preprocess(images)
    assert found.dtype == torch.float32
    assert torch.equal(found.double(), wanted)
    given = 2 * images.float()  # no clamp, and the input stays as it is
    assert torch.equal(preprocess(given).double(), (2 * images.double() - 32) / 32)
    assert torch.equal(given, 2 * images.float())
    for dtype in (torch.int32, torch.float64):
        with pytest.raises(InputError, match="0-255 scale"):
            preprocess(images.to(dtype))
