"""The channel-agnostic masked autoencoder in training: masks, loss, resuming, and the weights it leaves."""

from __future__ import annotations

import math
import re
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import torch

import phenobench as pb
from phenobench.errors import InputError
from phenobench.models.openphenom import preprocess, read_encoder
from phenobench.screens import Screen, SiteImage
from phenobench.training import train
from phenobench.training.config import packaged, read_config
from phenobench.training.distributed import World
from phenobench.training.log import read_log
from phenobench.training.mae import MaeConfig, MaeRecipe
from phenobench.training.mae_loss import draw_masks, masked_error, take
from tests.training.screens import make_screen, make_wells

CONFIG = """
seed = 3
compute = "float32"
[optimisation]
steps = 6
batch = 4
lr_start = 1e-4
lr_peak = 1e-2
lr_final = 1e-4
warmup = 0.3
decay_start = 0.05
decay_final = 0.05
clip = 1.0
[network]
image = 32
patch = 8
width = 8
depth = 1
heads = 2
decoder_width = 8
decoder_depth = 1
[running]
device = "cpu"
log_steps = 1
save_steps = 2
"""


def written(folder: Path, *lines: str) -> Path:
    """``CONFIG`` in a file, with lines in place of those of the same keys; other lines go first."""
    before, text = [], CONFIG
    for line in lines:
        text, found = re.subn(rf"^{line.split(' =')[0]} =.*$", line, text, flags=re.MULTILINE)
        before += [] if found else [line]
    path = folder / "config.toml"
    path.write_text("\n".join([*before, text]))
    return path


def made(screen: Screen | None = None, seed: int = 3) -> MaeRecipe:
    config = MaeConfig.model_validate({**tomllib.loads(CONFIG), "seed": seed})
    return MaeRecipe(config, screen or make_screen())


def test_three_quarters_of_the_patches_of_all_channels_are_masked_and_differ_by_field() -> None:
    seen, masked = draw_masks(np.random.default_rng(0), 50, 6 * 256, 0.75)
    assert (seen.shape, masked.shape) == ((50, 384), (50, 1152))
    both = np.sort(np.concatenate([seen, masked], axis=1), axis=1)
    assert (both == np.arange(6 * 256)).all()
    assert len({row.tobytes() for row in seen}) == 50
    # Each channel's share varies from field to field, hypergeometrically around 64 of 256.
    of_channel = np.array([np.bincount(row // 256, minlength=6) for row in seen])
    spread = math.sqrt(64 * 0.75 * (1 - 256 / 1536))
    assert of_channel.mean() == 64
    assert of_channel.std() == pytest.approx(spread, rel=0.2)


@pytest.mark.parametrize(("patches", "share", "masked"), [(2, 0.1, 1), (2, 0.99, 1), (3, 0.99, 2), (8, 0.5, 4)])
def test_at_least_one_patch_is_masked_and_one_is_seen(patches: int, share: float, masked: int) -> None:
    seen, hidden = draw_masks(np.random.default_rng(0), 3, patches, share)
    assert (seen.shape[1], hidden.shape[1]) == (patches - masked, masked)


def test_the_loss_is_the_mean_squared_error_over_masked_patches_alone() -> None:
    patches = torch.tensor([[[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]], [[3.0, 3.0], [4.0, 4.0], [5.0, 5.0]]])
    masked, predicted = torch.tensor([[0, 2], [1, 2]]), torch.zeros(2, 3, 2)
    assert masked_error(predicted, patches, masked).item() == (0 + 4 + 16 + 25) / 4
    predicted[1, 1] = torch.tensor([4.0, 2.0])
    assert masked_error(predicted, patches, masked).item() == (0 + 4 + 2 + 25) / 4
    patches[0, 1], predicted[1, 0] = 100, -100  # what was seen counts for nothing
    assert masked_error(predicted, patches, masked).item() == (0 + 4 + 2 + 25) / 4


def test_a_network_that_predicts_zeros_has_the_loss_of_the_normalized_pixels_and_sees_no_masked_pixel() -> None:
    recipe = made()
    batch, network = recipe.batch(0, 0, World()), recipe.network
    with torch.no_grad():
        embeddings = network(batch.fields, batch.seen, batch.masked)[1]
        network.decoder.pixels.weight.zero_()
        network.decoder.pixels.bias.zero_()
        loss, _ = network(batch.fields, batch.seen, batch.masked)
        patches = preprocess(batch.fields).flatten(1, 2)
        wanted = take(patches, batch.masked).double().square().mean()
        assert loss.item() == pytest.approx(wanted.item(), rel=1e-6)
        # Pixels of a masked patch in another order leave the normalization as it is, and what the encoder sees.
        shuffled = batch.fields.flatten(1, 2).clone()
        for field, hidden in zip(shuffled, batch.masked, strict=True):
            field[hidden] = field[hidden].flip(1)
        again = network(shuffled.reshape(batch.fields.shape), batch.seen, batch.masked)[1]
        torch.testing.assert_close(again, embeddings, rtol=0, atol=1e-6)


def test_patches_are_those_of_the_model_at_inference() -> None:
    """All patches of a field, in order, give the encoder the tokens that the field itself does."""
    recipe = made(make_screen(size=32))
    fields = recipe.batch(0, 0, World()).fields
    images = torch.zeros(len(fields), 2, 32, 32, dtype=torch.uint8)
    for place in range(16):
        row, column = 8 * (place // 4), 8 * (place % 4)
        images[:, :, row : row + 8, column : column + 8] = fields[:, :, place].reshape(-1, 2, 8, 8)
    encoder = recipe.network.encoder
    with torch.no_grad():
        tokens = encoder.embed_patches(preprocess(fields).flatten(1, 2), torch.arange(16).repeat(len(fields), 2))
        torch.testing.assert_close(tokens, encoder.embed(preprocess(images)), rtol=0, atol=1e-5)


def test_a_batch_follows_from_seed_and_step_and_processes_share_it() -> None:
    recipe = made()
    whole = recipe.batch(2, 0, World())
    halves = [recipe.batch(2, 0, World(rank, 2)) for rank in range(2)]
    for name in ("fields", "seen", "masked"):
        assert torch.equal(torch.cat([getattr(half, name) for half in halves]), getattr(whole, name))
    assert torch.equal(made().batch(2, 0, World()).fields, whole.fields)
    others = [recipe.batch(3, 0, World()), recipe.batch(2, 1, World())]
    others.append(made(seed=4).batch(2, 0, World()))
    assert not any(torch.equal(other.fields, whole.fields) for other in others)
    assert not any(torch.equal(other.seen, whole.seen) for other in others)


def test_a_stopped_training_ends_at_the_weights_of_an_unbroken_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = written(tmp_path)
    whole = train("openphenom", make_screen(), tmp_path / "whole", config)
    after = MaeRecipe.after_update

    def broken(self: MaeRecipe, step: int) -> None:
        if step == 4:
            raise RuntimeError("power cut")
        after(self, step)

    with monkeypatch.context() as patched:
        patched.setattr(MaeRecipe, "after_update", broken)
        with pytest.raises(RuntimeError, match="power cut"):
            train("openphenom", make_screen(), tmp_path / "broken", config)
    resumed = train("openphenom", make_screen(), tmp_path / "broken", config, resume=True)
    assert whole.weights is not None
    assert resumed.weights is not None
    assert resumed.weights.read_bytes() == whole.weights.read_bytes()


@pytest.mark.parametrize("channels", [1, 2, 7])
def test_weights_embed_any_channels_and_say_what_they_saw(tmp_path: Path, channels: int) -> None:
    screen = noisy(channels) if channels != 2 else make_screen(size=256)
    more = ("image = 256", "patch = 64", "steps = 2", 'kind = "demo"', 'precision = "float16"')
    config = written(tmp_path, *more)
    done = train("openphenom", screen, tmp_path / "out", config)
    assert done.weights is not None
    encoder = read_encoder(done.weights)
    assert (encoder.kind, encoder.shape.width, encoder.shape.patch) == ("demo", 8, 64)
    with safetensors.safe_open(done.weights, framework="pt") as file:
        assert {file.get_tensor(key).dtype for key in file.keys()} == {torch.float16}  # noqa: SIM118
        assert not [key for key in file.keys() if "decoder" in key]  # noqa: SIM118
    model = pb.load_model("openphenom", weights=done.weights)
    assert (model.weights_kind, model.weights_by_path) == ("demo", True)
    assert model.training is not None
    told = model.training
    assert (told.screen, told.steps, told.samples, told.seed) == ("made", 2, 8, 3)
    assert told.perturbations == {f"gene{i}" for i in range(5)}
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 256, 256)).astype(np.uint8)
    found = model.embed_images(images, ["DNA", "ER", "something else"])
    assert found.shape == (2, 8)
    assert np.isfinite(found).all()
    by_channel = pb.load_model("openphenom-channelwise", weights=done.weights)
    wide = by_channel.embed_images(images, ["DNA", "ER", "something else"])
    np.testing.assert_allclose(wide.reshape(2, 3, 8).mean(axis=1), found, atol=1e-5)


def noisy(channels: int) -> Screen:
    """As ``make_screen``, of other channels and larger fields."""
    base = make_screen(make_wells(1, 2))
    names = tuple(f"channel {number}" for number in range(channels))

    def images(rows: Any) -> Any:
        for row in rows.index.tolist():
            pixels = np.random.default_rng(row).integers(0, 256, (channels, 256, 256)).astype(np.uint8)
            yield SiteImage(row, "0", pixels)

    return replace(base, channels=names, images=images)


def test_training_learns_a_picture_from_a_part_of_it(tmp_path: Path) -> None:
    """All fields are bright on one side: which one is seen in any patch, and tells all that are masked."""
    base = make_screen(make_wells(2, 2))

    def images(rows: Any) -> Any:
        for row in rows.index.tolist():
            sides = np.repeat([0, 200], 16).astype(np.uint8)
            yield SiteImage(row, "0", np.stack([np.broadcast_to(sides, (32, 32))] * 2))

    config = written(tmp_path, "steps = 60", "batch = 16", "width = 16", "decoder_width = 16")
    train("openphenom", replace(base, images=images), tmp_path / "out", config)
    losses = [line["loss"] for line in read_log(tmp_path / "out")]
    assert losses[0] == pytest.approx(1, abs=0.1)
    assert np.mean(losses[-10:]) < 0.7


@pytest.mark.parametrize("name", ["demo", "paper"])
def test_the_configurations_of_the_package_are_read_by_name(name: str) -> None:
    config = read_config(Path(name), "openphenom", MaeConfig)
    assert packaged("openphenom", name).is_file()
    assert config.kind == {"demo": "demo", "paper": "trained"}[name]
    assert config.mask == 0.75
    if name == "paper":
        wanted = {"width": 384, "depth": 12, "heads": 6, "patch": 16, "image": 256}
        assert config.network.model_dump(include=set(wanted)) == wanted


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("mask = 1.0", "mask: Input should be less than 1"),
        ("width = 10", "width: Input should be a multiple of 4"),
        ("image = 48", "a field of 40 x 40 pixels is below the views of 48"),
        ("image = 20", "image must be a multiple of patch"),
        ('channels = ["Golgi"]', "asks for the channel 'Golgi'"),
    ],
)
def test_a_configuration_that_does_not_do_is_refused(tmp_path: Path, line: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        train("openphenom", make_screen(), tmp_path / "out", written(tmp_path, line))


def test_pairs_are_not_for_a_masked_autoencoder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="openphenom is trained on single fields; leave --pairs out"):
        train("openphenom", make_screen(), tmp_path / "out", written(tmp_path), pairs="same-well")
