"""CWA-MSN in training: what a step computes, what is written, and what is refused."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import numpy as np
import pytest
import safetensors
import torch

import phenobench as pb
from phenobench.cards import find
from phenobench.errors import InputError
from phenobench.models.cwa_msn import preprocess, read_checkpoint
from phenobench.screens.simulated_images import load_simulated
from phenobench.training import train
from phenobench.training.config import packaged, read_config
from phenobench.training.cwa_msn import CwaMsnConfig, CwaMsnRecipe, effective_rank
from phenobench.training.distributed import World
from phenobench.training.log import read_log
from tests.training.screens import CHANNELS, CONFIG, make_config, make_screen, make_wells, parsed


def test_the_same_step_has_the_same_batch_and_other_steps_and_seeds_have_others() -> None:
    def targets(seed: int, step: int, part: int = 0) -> torch.Tensor:
        return CwaMsnRecipe(parsed(seed=seed), make_screen()).batch(step, part, World()).target.values

    first = targets(0, 3)
    assert torch.equal(first, targets(0, 3))
    assert not any(torch.equal(first, other) for other in (targets(0, 4), targets(1, 3), targets(0, 3, 1)))


def test_plain_msn_has_both_views_of_one_field_and_cross_well_pairs_have_not() -> None:
    def fields_shared(share: float) -> float:
        """How often a target's pixels are all among the anchor's, views being whole fields."""
        views = {"anchors": [{"size": 40}], "target": {"size": 40}}
        sizes = {"network": {**tomllib.loads(CONFIG)["network"], "image": 40}}
        pairs = {"pairs": {"same_well_start": share, "same_well_end": share}}
        recipe = CwaMsnRecipe(parsed(**views, **sizes, **pairs), make_screen())
        batches = [recipe.batch(step, 0, World()) for step in range(5)]
        pixels = [(b.anchors[0][0].values.flatten(1), b.target.values.flatten(1)) for b in batches]
        same = [
            torch.equal(a.sort().values, t.sort().values) for one, two in pixels for a, t in zip(one, two, strict=True)
        ]
        return float(np.mean(same))

    assert fields_shared(1.0) == 1.0
    assert fields_shared(0.0) == 0.0


def test_processes_share_a_batch() -> None:
    recipe = CwaMsnRecipe(parsed(), make_screen())
    whole = recipe.batch(2, 0, World())
    halves = [recipe.batch(2, 0, World(rank, 2)) for rank in range(2)]
    assert torch.equal(torch.cat([half.target.values for half in halves]), whole.target.values)
    for group, view in ((0, 1), (1, 0)):
        parts = [half.anchors[group][view] for half in halves]
        assert torch.equal(torch.cat([part.values for part in parts]), whole.anchors[group][view].values)
        assert all(torch.equal(part.keep, whole.anchors[group][view].keep) for part in parts)


def test_the_average_moves_by_the_momentum_and_takes_no_gradient() -> None:
    recipe = CwaMsnRecipe(parsed(momentum_start=0.75, momentum_final=0.75), make_screen())
    before = recipe.kept["averages"].state_dict()["0.cls_token"].clone()
    with torch.no_grad():
        recipe.network.encoder.cls_token.add_(1)
    recipe.after_update(0)
    moved = recipe.kept["averages"].state_dict()["0.cls_token"]
    assert torch.allclose(moved, before + 0.25)
    assert not any(parameter.requires_grad for parameter in recipe.kept["averages"].parameters())


def test_the_weights_are_a_checkpoint_of_the_model_that_says_what_it_saw(tmp_path: Path) -> None:
    config = make_config(tmp_path, seed='seed = 3\nkind = "demo"\nprecision = "float16"')
    done = train("cwa-msn", make_screen(), tmp_path / "out", config)
    assert done.weights is not None
    found = read_checkpoint(done.weights)
    assert (found.kind, found.channels, found.shape.width) == ("demo", CHANNELS, 8)
    with safetensors.safe_open(done.weights, framework="pt") as file:
        assert file.get_tensor("norm.weight").dtype == torch.float16
        saw = json.loads(file.metadata()["training"])
    assert saw["perturbations"] == [f"gene{i}" for i in range(5)]
    assert (saw["screen"], saw["steps"], saw["samples"], saw["seed"]) == ("made", 6, 24, 3)
    images = np.zeros((2, 2, 256, 256), np.uint8)
    assert pb.load_model("cwa-msn", weights=done.weights).embed_images(images, CHANNELS).shape == (2, 8)


def test_the_log_has_a_line_a_step_with_rates_speed_and_collapse_indicators(tmp_path: Path) -> None:
    train("cwa-msn", make_screen(), tmp_path / "out", make_config(tmp_path))
    lines = read_log(tmp_path / "out")
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    wanted = {"loss", "learning_rate", "images_per_second", "embedding_rank", "prototype_entropy", "gradient_norm"}
    assert wanted <= set(lines[0])
    for line in lines:
        assert line["loss"] == pytest.approx(line["cross_entropy"] + line["me_max"], abs=1e-5)
        assert line["prototype_entropy"] == pytest.approx(np.log(6) - line["me_max"], abs=1e-5)
    assert (tmp_path / "out" / "loss.png").read_bytes().startswith(b"\x89PNG")


def test_training_lowers_the_loss_of_fields_that_can_be_told_apart(tmp_path: Path) -> None:
    """Plain MSN matches two views of a field, and the fields here have five brightnesses."""
    config = make_config(tmp_path, steps="steps = 24", batch="batch = 10", save_steps="save_steps = 1000")
    train("cwa-msn", make_screen(), tmp_path / "out", config, pairs="same-well")
    entropies = [line["cross_entropy"] for line in read_log(tmp_path / "out")]
    assert {line["same_well"] for line in read_log(tmp_path / "out")} == {1.0}
    assert np.mean(entropies[-5:]) < np.mean(entropies[:5]) - 0.2


def test_the_effective_rank_is_one_for_a_line_and_full_for_a_sphere() -> None:
    line = torch.arange(20.0)[:, None] * torch.ones(1, 6)
    assert effective_rank(line) == pytest.approx(1, abs=1e-3)
    sphere = torch.cat([torch.eye(6), -torch.eye(6)])
    assert effective_rank(sphere) == pytest.approx(6, abs=1e-3)
    assert effective_rank(torch.ones(5, 3)) == 0


@pytest.mark.parametrize("name", ["demo", "paper"])
def test_the_configurations_of_the_package_are_read_by_name(name: str) -> None:
    config = read_config(Path(name), "cwa-msn", CwaMsnConfig)
    assert packaged("cwa-msn", name).is_file()
    assert config.kind == {"demo": "demo", "paper": "trained"}[name]
    if name == "paper":
        sizes = config.network
        assert (sizes.width, sizes.depth, sizes.heads, sizes.patch) == (384, 12, 6, 16)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"warmup": "warm = 1"}, "optimisation.warm"),
        ({"keep": "keep = 1.5"}, "keep"),
        ({"patch": "patch = 7"}, "no multiple of the patch of 7"),
        ({"heads": "heads = 3"}, "multiple of heads"),
        ({"batch": "batch = 5\naccumulate = 2"}, "does not divide into 2 parts"),
        ({"seed": 'channels = ["Golgi"]'}, "Golgi"),
        ({"lr_peak": "lr_peak = 1e30"}, "the loss is nan at step"),
    ],
)
def test_a_configuration_that_does_not_do_is_refused(tmp_path: Path, changes: dict[str, str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        train("cwa-msn", make_screen(), tmp_path / "out", make_config(tmp_path, **changes))


def test_a_screen_without_pairs_and_a_model_without_a_recipe_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no perturbation of made has two wells"):
        train("cwa-msn", make_screen(make_wells(1, 1)), tmp_path / "out", make_config(tmp_path))
    with pytest.raises(InputError, match=r"unknown model 'cwa-mns'; did you mean cwa-msn"):
        train("cwa-mns", make_screen(), tmp_path / "out")
    with pytest.raises(InputError, match=r"pixel-statistics has no recipe, .*; these have one: .*cwa-msn"):
        train("pixel-statistics", make_screen(), tmp_path / "out")


def test_cross_well_pairs_are_not_had_from_a_configuration_of_plain_msn(tmp_path: Path) -> None:
    alone = {"same_well_start": "same_well_start = 1.0", "same_well_end": "same_well_end = 1.0"}
    with pytest.raises(InputError, match=r"pairs of one well alone"):
        train("cwa-msn", make_screen(), tmp_path / "out", make_config(tmp_path, **alone), pairs="cross-well")


def test_no_perturbation_of_the_training_screen_is_in_a_screen_that_is_scored() -> None:
    def perturbations(name: str) -> set[str]:
        wells = load_simulated(find().screens[name]).wells
        return set(wells.loc[wells["Metadata_pert_type"] == "trt", "Metadata_Perturbation"])

    trained = perturbations("simulated-training")
    assert len(trained) == 160 + 24
    for name in ("simulated", "simulated-hard", "simulated-small"):
        assert not trained & perturbations(name)


def test_pixels_are_normalized_as_the_model_does_at_inference() -> None:
    """The encoder of a checkpoint and that of a training give a field the same embedding."""
    recipe = CwaMsnRecipe(parsed(), make_screen())
    batch = recipe.batch(0, 0, World())
    view = batch.anchors[1][0]
    crops = torch.zeros(len(view.values), 2, 16, 16, dtype=torch.uint8)
    for patch, place in enumerate(view.keep.tolist()):
        row, column = 8 * (place // 2), 8 * (place % 2)
        crops[:, :, row : row + 8, column : column + 8] = view.values[:, patch].reshape(-1, 2, 8, 8)
    encoder = recipe.network.encoder
    with torch.no_grad():
        patched = encoder.embed_patches(preprocess(view.values), view.grid, view.keep)
        assert torch.allclose(patched, encoder(preprocess(crops)), atol=1e-6)
