"""Batch effect: plates that show, plates that do not, intervals that cover, and what is left out."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from phenobench.errors import InputError
from phenobench.models import controls
from phenobench.profiles import Profiles
from phenobench.tasks import batch_effect
from phenobench.tasks.outcome import Inputs, Score

PROTOCOL = batch_effect.Protocol(summary="treated wells", neighbours=15)


def layout(n: int = 40, n_plates: int = 4) -> pd.DataFrame:
    wells = pd.DataFrame({"Metadata_Perturbation": [f"p{i:02d}" for i in range(n)] * n_plates})
    wells["Metadata_Plate"] = np.repeat([f"P{plate}" for plate in range(n_plates)], n)
    wells["Metadata_Batch"] = np.repeat([f"B{plate // 2}" for plate in range(n_plates)], n)
    wells["Metadata_Well"] = [f"A{i % n + 1:02d}" for i in range(len(wells))]
    wells["Metadata_pert_type"] = "trt"
    return wells


def scored(features: np.ndarray, wells: pd.DataFrame) -> dict[str, Score]:
    outcome = batch_effect.score(Profiles(wells, features), PROTOCOL, Inputs())
    return {f"{score.metric} {score.subset}": score for score in (*outcome.scores, *outcome.secondary)}


def test_the_primary_score_is_the_share_of_neighbours_and_each_says_which_way_is_better() -> None:
    got = scored(np.random.default_rng(0).standard_normal((160, 5)), layout())
    assert list(got) == [
        "kNN share plate",
        "kNN share batch",
        "silhouette plate",
        "silhouette batch",
        "connectivity perturbation",
    ]
    assert [score.higher_is_better for score in got.values()] == [False, False, False, False, True]
    assert all(score.ci_low <= score.value <= score.ci_high for score in got.values())


def test_plates_that_show_are_found_by_every_score() -> None:
    wells = layout()
    got = scored(controls.plate_only(wells, {}, 0), wells)
    for name in ("kNN share plate", "kNN share batch", "silhouette plate"):
        assert got[name].value == 1.0 > got[name].chance + 0.4
    assert got["silhouette batch"].value > got["silhouette batch"].chance + 0.3
    assert got["connectivity perturbation"].value == 0.25


def test_replicates_that_are_equal_show_no_plate() -> None:
    wells = layout()
    got = scored(controls.oracle(wells, {}, 0), wells)
    assert got["kNN share plate"].value < got["kNN share plate"].chance
    assert got["silhouette plate"].value == pytest.approx(got["silhouette plate"].chance, abs=1e-12)
    assert got["connectivity perturbation"].value == 1.0


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_constant_is_exactly_at_chance(value: float) -> None:
    for score in scored(np.full((160, 3), value), layout()).values():
        assert score.value == score.chance


def test_random_is_at_chance_and_its_intervals_say_so() -> None:
    wells, away, inside = layout(), [], []
    for seed in range(20):
        got = scored(np.random.default_rng(seed).standard_normal((160, 6)), wells)
        away.append([score.value - score.chance for score in got.values()])
        inside.append([score.ci_low <= score.chance <= score.ci_high for score in got.values()])
    error = np.std(away, axis=0, ddof=1) / np.sqrt(len(away))
    assert (abs(np.mean(away, axis=0)) < 3.5 * error).all()
    # Of 95 % intervals, fewer than 16 of 20 have a chance of 0.3 %.
    assert (np.sum(inside, axis=0) >= 16).all()


def test_one_batch_and_perturbations_without_replicates_are_skipped_with_a_reason() -> None:
    wells = layout().assign(Metadata_Batch="B0", Metadata_Perturbation=[f"p{i}" for i in range(160)])
    profiles = Profiles(wells, np.random.default_rng(1).standard_normal((160, 4)))
    outcome = batch_effect.score(profiles, PROTOCOL, Inputs())
    assert set(outcome.skipped) == {"batch", "perturbation"}
    assert [score.metric for score in outcome.secondary] == ["silhouette"]


def test_one_plate_or_too_few_wells_are_refused() -> None:
    with pytest.raises(InputError, match="needs wells of two plates"):
        scored(np.ones((40, 2)), layout(n_plates=1).drop(columns="Metadata_Batch"))
    with pytest.raises(InputError, match="more than 15 treated wells"):
        scored(np.ones((8, 2)), layout(n=2))
