"""OpenPhenom against the reference's outputs (tests/goldens/openphenom.npz), files of weights, and what is refused.

Weights of the goldens come from their key names, and images from seeds.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from phenobench.cards import ModelCard, find
from phenobench.errors import InputError
from phenobench.files import sha256_of
from phenobench.models import load_adapter, load_model
from phenobench.models.openphenom import ChannelAgnosticVit, OpenPhenom, position_table, preprocess, read_encoder
from phenobench.models.weights import assemble

GOLDENS = Path(__file__).parents[1] / "goldens"
PREFIX = "encoder.vit_backbone."
CASES = ["a_noise_n2_c6", "d_noise_n1_c6", "e_blobs_n2_c6"]
BLOBS = "e_blobs_n2_c6"
TOLERANCE = 1e-5


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


@cache
def golden(name: str) -> np.ndarray:
    with np.load(GOLDENS / "openphenom.npz") as stored:
        return stored[name]


@cache
def shapes() -> dict[str, list[int]]:
    """Every key of the reference's state and its shape."""
    found: dict[str, list[int]] = json.loads((GOLDENS / "openphenom_keys.json").read_text())
    return found


def golden_weight(key: str, shape: list[int]) -> torch.Tensor:
    seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "little")
    value = np.random.default_rng(seed).standard_normal(shape).astype(np.float32) * np.float32(0.02)
    scale = key.endswith(("norm.weight", "ls.gamma"))
    return torch.from_numpy(value + np.float32(1.0) if scale else value)


@cache
def golden_state() -> dict[str, torch.Tensor]:
    """The encoder's parameters by the names that they have in the file; neither pos_embed nor the decoder."""
    return {
        key: golden_weight(key, shape)
        for key, shape in shapes().items()
        if key.startswith(PREFIX) and key != f"{PREFIX}pos_embed"
    }


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of weights as safetensors, with keys that inference does not need."""
    found = tmp_path_factory.mktemp("weights") / "model.safetensors"
    others = {f"{PREFIX}pos_embed": torch.zeros(1, 2817, 384), "decoder.blocks.0.mlp_bias": torch.zeros(8)}
    save_file(golden_state() | others, found)
    return found


@pytest.fixture(scope="module")
def model(path: Path) -> OpenPhenom:
    return loaded(find().model("openphenom"), path)


@pytest.fixture(scope="module")
def channelwise(path: Path) -> OpenPhenom:
    return loaded(find().model("openphenom-channelwise"), path)


def loaded(card: ModelCard, path: Path) -> OpenPhenom:
    found = load_adapter(card, weights=path)
    assert isinstance(found, OpenPhenom)
    return found


@pytest.fixture(scope="module")
def by_channel(channelwise: OpenPhenom) -> dict[str, np.ndarray]:
    """The channelwise embeddings of the golden cases."""
    return {case: embedded(channelwise, images(case)) for case in CASES}


@cache
def images(case: str) -> np.ndarray:
    """The inputs of a golden case, uint8."""
    kind, n, channels = case.split("_")[1], int(case.split("_n")[-1][0]), int(case.split("_c")[1])
    made = (noise if kind == "noise" else blobs)(" abcdefg".index(case[0]), n, channels)
    assert hashlib.sha256(made.tobytes()).hexdigest() == golden(f"{case}/input_sha256")
    return made


def noise(seed: int, n: int, channels: int, size: int = 256) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, channels, size, size)).astype(np.uint8)


def blobs(seed: int, n: int, channels: int) -> np.ndarray:
    values = np.random.default_rng(seed).integers(0, 256, (n, channels, 16, 16)).repeat(16, axis=2).repeat(16, axis=3)
    for axis in (2, 3) * 3:
        values = np.sum([np.roll(values, shift, axis) for shift in range(-8, 9)], axis=0)
    low, high = values.min(axis=(2, 3), keepdims=True), values.max(axis=(2, 3), keepdims=True)
    return ((values - low) * 255 // (high - low)).astype(np.uint8)


def names(channels: int) -> list[str]:
    return [f"channel {i}" for i in range(channels)]


def embedded(model: OpenPhenom, crops: np.ndarray) -> np.ndarray:
    return model.embed_images(crops, names(crops.shape[1]))


def deviation(found: Any, wanted: Any) -> float:
    assert found.shape == wanted.shape
    return float(np.abs(np.asarray(found) - np.asarray(wanted)).max())


def cosines(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    return (one * two).sum(axis=1) / np.linalg.norm(one, axis=1) / np.linalg.norm(two, axis=1)


def test_parameters_have_the_names_and_shapes_of_the_file() -> None:
    unused = ("pos_embed", "fc_norm.weight", "fc_norm.bias")
    wanted = {key.removeprefix(PREFIX): shape for key, shape in shapes().items() if key.startswith(PREFIX)}
    wanted = {key: shape for key, shape in wanted.items() if key not in unused}
    assert {key: list(value.shape) for key, value in ChannelAgnosticVit().state_dict().items()} == wanted


def test_embeddings_equal_the_reference(model: OpenPhenom) -> None:
    found = embedded(model, images(BLOBS)[1:])
    assert found.dtype == np.float32
    assert deviation(found, golden(f"{BLOBS}/predict")[1:]) < TOLERANCE


@pytest.mark.parametrize("case", CASES)
def test_channelwise_embeddings_equal_the_reference_and_have_its_embedding_as_mean(
    by_channel: dict[str, np.ndarray], case: str
) -> None:
    assert by_channel[case].dtype == np.float32
    assert deviation(by_channel[case], golden(f"{case}/channelwise")) < TOLERANCE
    assert deviation(by_channel[case].reshape(-1, 6, 384).mean(axis=1), golden(f"{case}/predict")) < TOLERANCE


@pytest.mark.parametrize("case", CASES[1:])
def test_tokens_on_the_way_equal_the_reference(model: OpenPhenom, case: str) -> None:
    crops, rows = torch.from_numpy(images(case))[:1], golden(f"{case}/tokens_idx")
    normalized = preprocess(crops)
    assert deviation(normalized[0, :, 0, :8], golden(f"{case}/normed_head")) < TOLERANCE
    network = model.network
    assert isinstance(network, ChannelAgnosticVit)
    tokens = network.embed(normalized)
    assert deviation(tokens[0, rows], golden(f"{case}/embed_tokens")) < TOLERANCE
    for number, block in enumerate(network.blocks):
        tokens = block(tokens)
        if number == 0:
            assert deviation(tokens[0, rows], golden(f"{case}/block0_tokens")) < TOLERANCE
    assert deviation(tokens[0, rows], golden(f"{case}/final_tokens")) < TOLERANCE


def test_pixels_above_255_are_not_cut_and_a_constant_channel_is_zeros(model: OpenPhenom) -> None:
    crops = images(BLOBS)[:1].astype(np.float32) * 2
    crops[:, 2] = 37
    assert deviation(embedded(model, crops), golden("i_edge_x2_const/predict")) < TOLERANCE
    assert preprocess(torch.from_numpy(crops))[:, 2].abs().max() < TOLERANCE


def test_what_timm_computes_since_1_0_25_is_another_embedding(by_channel: dict[str, np.ndarray]) -> None:
    for name, found in (
        ("channelwise", by_channel[BLOBS]),
        ("predict", by_channel[BLOBS].reshape(-1, 6, 384).mean(axis=1)),
    ):
        other = golden(f"alt_timm_ge_1.0.25/{BLOBS}/{name}")
        assert np.abs(found - other).max() > 0.05
        assert cosines(found, other).max() < 0.9995


def test_the_position_table_equals_the_references_rows() -> None:
    wanted, table = golden("pos_embed_rows_0_1_2_17_256_257"), position_table(16, 384)
    assert table.dtype == torch.float32
    # The reference's table starts with the zeros of CLS, and row 257 is the second channel's first.
    assert deviation(wanted[0], np.zeros(384)) == 0
    assert deviation(table[[0, 1, 16, 255, 0]], wanted[1:]) < 1e-6


def test_channels_that_change_places_change_the_channelwise_embedding_alone(
    model: OpenPhenom, channelwise: OpenPhenom
) -> None:
    crops, order = images(BLOBS)[:1, :3], [2, 0, 1]
    by_channel = embedded(channelwise, crops).reshape(3, 384)
    assert np.abs(by_channel[0] - by_channel[1]).max() > 0.01
    assert deviation(embedded(channelwise, crops[:, order]).reshape(3, 384), by_channel[order]) < TOLERANCE
    assert deviation(embedded(model, crops[:, order])[0], by_channel.mean(axis=0)) < TOLERANCE


def test_a_channel_is_embedded_in_the_context_of_the_others(channelwise: OpenPhenom) -> None:
    crops = images(BLOBS)[:1, :2]
    assert np.abs(embedded(channelwise, crops)[:, :384] - embedded(channelwise, crops[:, :1])).max() > 1e-3


def test_a_field_of_512_is_the_average_of_its_four_tiles(channelwise: OpenPhenom) -> None:
    field, corners = noise(8, 1, 2, size=512), product((0, 256), (0, 256))
    tiles = [embedded(channelwise, field[:, :, top : top + 256, left : left + 256]) for top, left in corners]
    assert deviation(embedded(channelwise, field), np.mean(tiles, axis=0)) < TOLERANCE


@pytest.mark.parametrize("channels", [1, 11])
def test_one_to_eleven_channels(channelwise: OpenPhenom, channels: int) -> None:
    found = embedded(channelwise, noise(0, 1, channels)).reshape(channels, 384)
    assert np.isfinite(found).all()


@pytest.mark.parametrize("channels", [0, 12])
def test_other_numbers_of_channels_are_refused(channelwise: OpenPhenom, channels: int) -> None:
    with pytest.raises(InputError, match=f"openphenom-channelwise: .* 1 to 11 channels .* have {channels} "):
        embedded(channelwise, np.zeros((1, channels, 256, 256), np.uint8))


def test_sixteen_bit_images_are_the_same_picture(model: OpenPhenom) -> None:
    crops = images(BLOBS)[:1, :2]
    assert deviation(embedded(model, crops.astype(np.uint16) * np.uint16(257)), embedded(model, crops)) < TOLERANCE


def test_bfloat16_is_close_to_float32_and_keeps_the_statistics_of_pixels(path: Path) -> None:
    card = find().model("openphenom").model_copy(update={"precision": "bfloat16"})
    half = loaded(card, path)
    half.dtype = torch.bfloat16  # also where the machine is not made for it
    found, wanted = embedded(half, images(BLOBS)[:1]), golden(f"{BLOBS}/predict")[:1]
    assert found.dtype == np.float32
    assert 0 < np.abs(found - wanted).max() < 0.05
    assert (1 - cosines(found, wanted)).max() < 1e-3
    crops = torch.from_numpy(images(BLOBS))
    with torch.autocast("cpu", torch.bfloat16):
        normalized = preprocess(crops)
    assert torch.equal(normalized, preprocess(crops))


def test_a_file_by_path_counts_as_trained_under_its_hash(model: OpenPhenom, path: Path) -> None:
    assert (model.id, model.channels, model.crop) == ("openphenom", None, 256)
    assert (model.weights_kind, model.weights_sha256) == ("trained", sha256_of(path))


def renamed(prefix: str) -> dict[str, torch.Tensor]:
    return {prefix + key.removeprefix(PREFIX): value for key, value in golden_state().items()}


@pytest.mark.parametrize("prefix", [PREFIX, f"module.{PREFIX}", ""])
def test_a_torch_archive_named_safetensors(tmp_path: Path, prefix: str) -> None:
    path = tmp_path / "model.safetensors"
    decoder = {"decoder.cls_token": torch.zeros(1), "decoder.decoders.0.0.norm1.weight": torch.zeros(512)}
    torch.save({"state_dict": renamed(prefix) | decoder}, path)
    found = read_encoder(path).state
    wanted = assemble(ChannelAgnosticVit, renamed(""), "the goldens").state_dict()
    assert set(found) == set(wanted)
    assert all(torch.equal(found[key], wanted[key]) for key in wanted)


def test_parameters_that_are_missing_or_misshapen_are_named_the_first_five(tmp_path: Path) -> None:
    path, state = tmp_path / "w.safetensors", golden_state()
    lacking = {key: value for key, value in state.items() if not key.startswith(f"{PREFIX}blocks.7.")}
    save_file(lacking, path)
    with pytest.raises(InputError, match=r"w\.safetensors lacks 13 parameters") as caught:
        load_model("openphenom", weights=path)
    first = ["mlp_bias", "in_norm.weight", "in_norm.bias", "in_proj.weight", "q_norm.weight"]
    assert ", ".join(f"blocks.7.{name}" for name in first) + ", ..." in str(caught.value)
    save_file(state | {f"{PREFIX}patch_embed.proj.weight": torch.zeros(384, 6, 16, 16)}, path)
    with pytest.raises(InputError, match=r"patch_embed\.proj\.weight \(384, 6, 16, 16\) instead of \(384, 1, 16, 16\)"):
        load_model("openphenom", weights=path)
    save_file({"conv1.weight": torch.zeros(3)}, path)
    with pytest.raises(InputError, match=r"lacks 159 parameters .* cls_token"):
        load_model("openphenom", weights=path)


def test_sizes_that_no_encoder_has_are_refused(tmp_path: Path) -> None:
    shape = {"image": 256, "patch": 16, "channels": 6, "width": 8, "depth": 1, "heads": 2}
    save_file(golden_state(), tmp_path / "w.safetensors", {"shape": json.dumps(shape)})
    with pytest.raises(InputError, match=r"w\.safetensors, metadata: .* no channel-agnostic encoder"):
        read_encoder(tmp_path / "w.safetensors")


def test_random_weights_follow_from_their_seed() -> None:
    crops = noise(0, 2, 1)
    one, same, other = (load_model("openphenom", random_init=seed) for seed in (0, 0, 1))
    assert (one.weights_kind, one.weights_sha256) == ("random", same.weights_sha256)
    assert one.weights_sha256 != other.weights_sha256
    found = one.embed_images(crops, ["DNA"])
    assert np.abs(found[0] - found[1]).max() > 1e-3
    np.testing.assert_array_equal(same.embed_images(crops, ["DNA"]), found)
    assert np.abs(other.embed_images(crops, ["DNA"]) - found).max() > 0.1


def test_neither_weights_nor_a_seed_and_another_crop_are_refused() -> None:
    alone = find().model("openphenom").model_copy(update={"demo": {}})
    with pytest.raises(InputError, match="openphenom: give its file of weights, or random_init=SEED"):
        load_adapter(alone)
    card = find().model("openphenom").model_copy(update={"crop": 224})
    with pytest.raises(InputError, match=r"openphenom: .* squares of 256 pixels"):
        load_adapter(card, random_init=0)


def test_the_cards_say_what_the_model_is(channelwise: OpenPhenom) -> None:
    one, by_channel = find().model("openphenom"), find().model("openphenom-channelwise")
    numbers = {key: int(np.prod(shape)) for key, shape in shapes().items()}
    encoder = sum(number for key, number in numbers.items() if key.startswith(PREFIX)) - numbers[f"{PREFIX}pos_embed"]
    for card in (one, by_channel):
        assert card.parameters == {"encoder": encoder, "file": sum(numbers.values())}
        assert card.weights["model"].accept
        assert card.status == "weights published"
    # Both take the same file, and one of them is trained.
    other = {"id", "title", "summary", "per_channel", "recipe"}
    assert one.model_dump(exclude=other) == by_channel.model_dump(exclude=other)
    assert (one.per_channel, by_channel.per_channel) == (False, True)
