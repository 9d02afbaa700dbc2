"""CellCLIP in training: what a step computes, what is written, and what is refused."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import safetensors
import torch
from transformers import Dinov2Model

import phenobench as pb
from phenobench.cards import find
from phenobench.descriptions import Description
from phenobench.embedding import features_of_sites
from phenobench.errors import InputError
from phenobench.models import dinov2
from phenobench.models.cellclip import CellClip, prompt
from phenobench.models.tokenizer import encode
from phenobench.models.weights import write_tensors
from phenobench.screens import Screen, SiteImage
from phenobench.texts import from_descriptions, from_profiles
from phenobench.training import channel_features, train
from phenobench.training.cellclip import Batch, CellClipConfig, CellClipRecipe
from phenobench.training.config import packaged, read_config
from phenobench.training.distributed import World
from phenobench.training.log import read_log
from phenobench.training.trainer import accumulate, parallel
from tests.tiny_cellclip import DINOV2
from tests.training.screens import CHANNELS, make_wells

ROOT = Path(__file__).resolve().parents[2]
CPU = torch.device("cpu")
SIZES = {**DINOV2, "hidden_size": 16, "image_size": 224, "patch_size": 56, "num_channels": 1}
CONFIG: dict[str, Any] = {
    "seed": 3,
    "compute": "float32",
    "loss": "cwcl",
    "sites": 2,
    "optimisation": {
        "steps": 4,
        "batch": 4,
        "lr_start": 1e-4,
        "lr_peak": 1e-2,
        "lr_final": 1e-4,
        "warmup": 0.3,
        "decay_start": 0.1,
        "decay_final": 0.1,
        "clip": 3.0,
    },
    "network": {
        "dinov2": SIZES,
        "crops": 1,
        "pooling": "mil",
        "channels": 2,
        "vision_width": 16,
        "vision_layers": 1,
        "vision_heads": 2,
        "pool_hidden": 4,
        "output": 8,
        "text_vocabulary": 100,
        "text_positions": 32,
        "text_width": 64,
        "text_layers": 1,
        "text_hidden": 16,
    },
    "running": {"device": "cpu", "log_steps": 1, "save_steps": 2},
}
# Dies in the middle of step 3, when two updates are kept.
KILLED = """
import os, signal, sys
from pathlib import Path
from phenobench.training import train
from phenobench.training.cellclip import CellClipRecipe
from tests.training.test_cellclip_training import make_screen

loss = CellClipRecipe.loss
def dies(self, network, batch, step, device):
    if step == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return loss(self, network, batch, step, device)
CellClipRecipe.loss = dies
train("cellclip", make_screen(), Path(sys.argv[1]), Path(sys.argv[2]))
"""
TWO = """
import sys
import torch
from phenobench.training.distributed import joined
from tests.training.test_cellclip_training import gradients

with joined() as world:
    found = {loss: gradients(world, loss) for loss in ("clip", "cwcl")}
    if world.first:
        torch.save(found, sys.argv[1])
"""


def make_screen(plates: int = 2) -> Screen:
    """Two fields a well: squares of five patterns, which on one plate tell its perturbations; and captions of these."""
    wells = make_wells(1, plates)

    def images(rows: pd.DataFrame) -> Iterator[SiteImage]:
        for row in rows.index.tolist():
            squares = np.random.default_rng(row % 5).integers(0, 200, (2, 4, 4))
            for site in range(2):
                noise = np.random.default_rng((row, site)).integers(0, 50, (2, 232, 232))
                yield SiteImage(row, str(site), (np.kron(squares, np.ones((58, 58))) + noise).astype(np.uint8))

    said = [Description(f"gene{i}", "U2OS", "crispr", f"gene{i}", f"gene{i}_guide_1") for i in range(5)]
    texts = from_descriptions(said)
    return Screen("made", "", "", wells, channels=CHANNELS, images=images, images_sha256="made", texts=texts)


def parsed(**changes: Any) -> CellClipConfig:
    return CellClipConfig.model_validate({**CONFIG, **changes})


def make_recipe(screen: Screen | None = None, **changes: Any) -> CellClipRecipe:
    return CellClipRecipe(find().model("cellclip"), parsed(**changes), screen or make_screen())


def make_config(folder: Path, **changes: Any) -> Path:
    """``CONFIG`` in a file; JSON's values are TOML's here."""
    lines: list[str] = []

    def add(values: dict[str, Any], name: str) -> None:
        lines.extend([f"[{name}]"] if name else [])
        lines.extend(f"{key} = {json.dumps(value)}" for key, value in values.items() if not isinstance(value, dict))
        for key, value in values.items():
            if isinstance(value, dict):
                add(value, f"{name}.{key}" if name else key)

    add({**CONFIG, **changes}, "")
    path = folder / "config.toml"
    path.write_text("\n".join(lines))
    return path


def gradients(world: World, loss: str) -> dict[str, torch.Tensor]:
    """Of the first step, in two parts, as the trainer computes them."""
    rules = {**CONFIG["optimisation"], "batch": 8, "accumulate": 2}
    recipe = make_recipe(loss=loss, optimisation=rules)
    network = parallel(recipe.network, world, CPU)
    accumulate(recipe, network, iter([recipe.batch(0, part, world) for part in range(2)]), 0, CPU)
    named = recipe.network.named_parameters()
    return {name: parameter.grad for name, parameter in named if parameter.grad is not None}


# Batches


def test_the_same_step_has_the_same_batch_and_other_steps_and_seeds_have_others() -> None:
    def drawn(seed: int, step: int, part: int = 0) -> torch.Tensor:
        return make_recipe(seed=seed).batch(step, part, World()).sites

    first = drawn(0, 3)
    assert first.shape == (4, 2, 2, 16)
    assert torch.equal(first, drawn(0, 3))
    assert not any(torch.equal(first, other) for other in (drawn(0, 4), drawn(1, 3), drawn(0, 3, 1)))


def test_each_sample_is_of_another_perturbation_with_its_own_caption() -> None:
    screen = make_screen()
    recipe = make_recipe(screen)
    told = [prompt("U2OS", "crispr", f"gene{i}", f"gene{i}_guide_1") for i in range(5)]
    tokens = [encode(recipe._tokenizer, [text], vocabulary=100, positions=32)[0].tobytes() for text in told]
    batch = recipe.batch(1, 0, World())
    found = [tokens.index(row[mask > 0].numpy().tobytes()) for row, mask in zip(batch.ids, batch.mask, strict=True)]
    assert len(set(found)) == 4
    for sites, perturbation in zip(batch.sites.numpy(), found, strict=True):
        rows = np.flatnonzero(screen.wells["Metadata_Perturbation"] == f"gene{perturbation}")
        kept = [np.sort(recipe._seen.features[row], axis=0) for row in rows.tolist()]
        assert sum(np.array_equal(np.sort(sites, axis=0), features) for features in kept) == 1


def test_processes_share_a_batch() -> None:
    recipe = make_recipe()
    whole = recipe.batch(2, 0, World())
    halves = [recipe.batch(2, 0, World(rank, 2)) for rank in range(2)]
    for name in ("sites", "ids", "mask"):
        assert torch.equal(torch.cat([getattr(half, name) for half in halves]), getattr(whole, name))


def test_a_well_with_fewer_fields_than_a_sample_has_repeats_them() -> None:
    for sites in make_recipe(sites=3).batch(0, 0, World()).sites.numpy():
        assert len(np.unique(sites, axis=0)) == 2
        assert len(sites) == 3


def test_a_random_networks_features_vary_by_one_and_what_all_wells_share_is_taken_off() -> None:
    recipe = make_recipe()
    rows = np.concatenate([recipe._seen.features[row] for row in sorted(recipe._seen.features)])
    np.testing.assert_allclose(rows.std(axis=0).mean(axis=0), 1, atol=1e-4)
    treated = np.concatenate([recipe._seen.features[row] for wells in recipe._wells.values() for row in wells])
    start = recipe.network.towers.visual.channel_embed.detach().numpy()
    np.testing.assert_allclose((treated + start).mean(axis=0), 0, atol=1e-5)


# Updates


def test_the_temperature_stays_where_it_may_be() -> None:
    recipe = make_recipe()
    for given, kept in ((9.0, np.log(100)), (-1.0, 0.0), (2.0, 2.0)):
        with torch.no_grad():
            recipe.network.towers.logit_scale.fill_(given)
        recipe.after_update(0)
        assert recipe.network.towers.logit_scale.item() == pytest.approx(kept)


def test_a_step_is_a_function_of_its_batch_alone() -> None:
    """No dropout: a step that is taken again after a restart gives the same bits."""
    recipe = make_recipe()
    batch = recipe.batch(0, 0, World())
    losses = {recipe.loss(recipe.network, batch, 0, CPU).loss.item() for _ in range(2)}
    assert len(losses) == 1


@pytest.mark.parametrize("loss", ["clip", "cwcl"])
def test_training_finds_captions_of_fields_that_can_be_told_apart(tmp_path: Path, loss: str) -> None:
    rules = {**CONFIG["optimisation"], "steps": 40, "batch": 5, "lr_peak": 3e-3}
    config = make_config(tmp_path, optimisation=rules, loss=loss, running={"device": "cpu", "log_steps": 1})
    train("cellclip", make_screen(plates=1), tmp_path / "out", config)
    lines = read_log(tmp_path / "out")
    assert {"batch_recall", "embedding_rank", "logit_scale"} <= set(lines[0])
    assert np.mean([line["batch_recall"] for line in lines[-8:]]) > 0.6
    assert np.mean([line["loss"] for line in lines[-8:]]) < np.mean([line["loss"] for line in lines[:8]])


def test_two_processes_give_the_gradients_of_one_at_the_double_batch(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": "1",
    }
    path = tmp_path / "gradients.pt"
    started = [
        subprocess.Popen(
            [sys.executable, "-c", TWO, str(path)], env={**environment, "RANK": str(rank)}, stderr=subprocess.PIPE
        )
        for rank in range(2)
    ]
    said = [process.communicate(timeout=240)[1] for process in started]
    assert [process.returncode for process in started] == [0, 0], said
    for loss, two in torch.load(path, weights_only=True).items():
        one = gradients(World(), loss)
        assert set(one) == set(two) == {name for name, _ in make_recipe().network.named_parameters()}
        largest = max(value.abs().max().item() for value in one.values())
        assert largest > 1e-2
        for name, value in one.items():
            assert torch.allclose(two[name], value, rtol=0, atol=1e-5 * largest), name


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_killed_and_resumed_ends_at_the_same_bits_as_unbroken(tmp_path: Path) -> None:
    config = make_config(tmp_path)
    whole = train("cellclip", make_screen(), tmp_path / "whole", config)
    command = [sys.executable, "-c", KILLED, str(tmp_path / "cut"), str(config)]
    ended = subprocess.run(command, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert [line["step"] for line in read_log(tmp_path / "cut")] == [1, 2, 3]
    resumed = train("cellclip", make_screen(), tmp_path / "cut", config, resume=True)
    assert whole.weights is not None
    assert resumed.weights is not None
    assert resumed.weights.read_bytes() == whole.weights.read_bytes()


# Files


def test_the_file_is_the_whole_model_and_says_what_it_saw(tmp_path: Path) -> None:
    config = make_config(tmp_path, kind="demo", precision="float16")
    done = train("cellclip", make_screen(), tmp_path / "out", config)
    assert done.weights is not None
    with safetensors.safe_open(done.weights, framework="pt") as file:
        assert file.get_tensor("visual.proj").dtype == torch.float16
        saw = json.loads(file.metadata()["training"])
    assert saw["perturbations"] == [f"gene{i}" for i in range(5)]
    assert (saw["screen"], saw["steps"], saw["samples"], saw["seed"]) == ("made", 4, 16, 3)
    model = pb.load_model("cellclip", weights=done.weights)
    assert isinstance(model, CellClip)
    assert (model.weights_kind, model.shape.vision_width) == ("demo", 16)
    # It needs neither DINOv2's file nor a tokenizer's.
    images = np.random.default_rng(0).integers(0, 255, (2, 2, 232, 232)).astype(np.uint8)
    assert model.embed_images(images, CHANNELS).shape == (2, 8)
    assert model.embed_texts([prompt("U2OS", "crispr", "gene1", "gene1_guide_1"), "another text"]).shape == (2, 8)


def test_the_model_embeds_as_its_training_did(tmp_path: Path) -> None:
    done = train("cellclip", make_screen(), tmp_path / "out", make_config(tmp_path))
    model = pb.load_model("cellclip", weights=done.weights)
    assert isinstance(model, CellClip)
    recipe = make_recipe()
    state = torch.load(tmp_path / "out" / "state.pt", weights_only=True)
    recipe.network.load_state_dict(state["modules"]["network"])
    for rows, features in features_of_sites(make_screen(), model, None):
        trained_on = np.concatenate([recipe._seen.features[row] for row in np.unique(rows)])
        np.testing.assert_allclose(features, trained_on, atol=1e-4)
    batch: Batch = recipe.batch(0, 0, World())
    with torch.no_grad():
        _, images, texts = recipe.network(batch.sites, batch.ids, batch.mask)
    found = model.pool(batch.sites.flatten(0, 1).numpy(), np.repeat(np.arange(4), 2))
    np.testing.assert_allclose(found / np.linalg.norm(found, axis=1, keepdims=True), images, atol=1e-5)
    said = model.embed_token_ids(batch.ids.numpy(), batch.mask.numpy())
    np.testing.assert_allclose(said / np.linalg.norm(said, axis=1, keepdims=True), texts, atol=1e-5)


def test_a_published_dinov2s_features_are_computed_once_and_it_stays_in_its_own_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("benchmark.toml").touch()
    Path("models").mkdir()
    card = ROOT / "models" / "dinov2-small.toml"
    network = "\n".join(f"{key} = {json.dumps(value)}" for key, value in SIZES.items())
    text = card.read_text().split("[network]")[0].replace("dinov2-small", "seen-by", 1)
    Path("models", "seen-by.toml").write_text(f"{text}[network]\n{network}\n")
    sizes = dinov2.config_of(find().model("seen-by"))
    path = tmp_path / "dinov2.safetensors"
    write_tensors(path, dinov2.random_network_state(sizes, 0), {})
    config = make_config(tmp_path, network={**CONFIG["network"], "dinov2": "seen-by"})
    with pytest.raises(
        InputError, match=r"cellclip needs the weights of seen-by; fetch them with `phenobench data get"
    ):
        train("cellclip", make_screen(), tmp_path / "out", config)
    monkeypatch.setattr(channel_features, "official_weights", lambda card: {"model": path})
    done = train("cellclip", make_screen(), tmp_path / "out", config)
    assert done.weights is not None
    with safetensors.safe_open(done.weights, framework="pt") as file:
        assert not any(key.startswith("dinov2.") for key in file.keys())  # noqa: SIM118
    called: list[int] = []
    features = dinov2.channel_features

    def counted(network: Dinov2Model, crops: torch.Tensor) -> torch.Tensor:
        called.append(len(crops))
        return features(network, crops)

    monkeypatch.setattr(dinov2, "channel_features", counted)
    told = read_config(config, "cellclip", CellClipConfig)
    batch = CellClipRecipe(find().model("cellclip"), told, make_screen()).batch(0, 0, World())
    assert (batch.sites.shape, called) == ((4, 2, 2, 16), [])
    model = pb.load_model("cellclip", weights={"model": done.weights, "dinov2": path})
    images = np.zeros((1, 2, 232, 232), np.uint8)
    assert model.embed_images(images, CHANNELS).shape == (1, 8)


@pytest.mark.parametrize("name", ["demo", "paper"])
def test_the_configurations_of_the_package_are_read_by_name(name: str) -> None:
    config = read_config(Path(name), "cellclip", CellClipConfig)
    assert packaged("cellclip", name).is_file()
    assert config.kind == {"demo": "demo", "paper": "trained"}[name]
    card = find().model("cellclip")
    if name == "paper":
        assert (
            config.network.model_dump()
            == CellClipConfig.model_validate({**CONFIG, "network": card.network}).network.model_dump()
        )
    # A screen that fits the published model's order fits these.
    assert config.channels == card.channel_orders["rxrx3-core"]


# Refusals


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"loss": "cloob"}, "loss: .*'cwcl' or 'clip'"),
        ({"sites": 0}, "sites"),
        ({"channels": ["Golgi", "DNA"]}, "Golgi"),
        ({"channels": ["DNA"]}, "network.channels = 2 and there are 1: DNA"),
        ({"optimisation": {**CONFIG["optimisation"], "batch": 6}}, "made has 5 perturbations with a caption and .* 6"),
        ({"network": {**CONFIG["network"], "text_positions": 8}}, "has 12 tokens and the model takes 8"),
        ({"network": {**CONFIG["network"], "vision_heads": 3}}, "3 heads must divide"),
        (
            {"network": {**CONFIG["network"], "vision_width": 32}},
            "network.dinov2 has 16 features and the model takes 32",
        ),
    ],
)
def test_a_configuration_that_does_not_do_is_refused(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        train("cellclip", make_screen(), tmp_path / "out", make_config(tmp_path, **changes))


def test_a_screen_without_captions_is_refused(tmp_path: Path) -> None:
    config, screen = make_config(tmp_path), make_screen()
    assert screen.texts is not None
    for texts in (None, from_profiles(screen.texts.rows)):
        with pytest.raises(InputError, match="made does not say what its perturbations are"):
            train("cellclip", replace(screen, texts=texts), tmp_path / "out", config)


def test_pairs_are_not_cellclips(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cellclip pairs wells with captions"):
        train("cellclip", make_screen(), tmp_path / "out", make_config(tmp_path), pairs="same-well")
