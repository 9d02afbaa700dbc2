"""Perturbation consistency: ranks among random groups, calibrated on noise, and EFAAR's control perturbations."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from phenobench.errors import InputError
from phenobench.metrics.matched_null import matched_consistency
from phenobench.models import controls
from phenobench.profiles import Profiles
from phenobench.tasks import perturbation_consistency
from phenobench.tasks.outcome import Inputs, Score

MATCHED = perturbation_consistency.Protocol(summary="matched", null="matched groups", alpha=0.05, draws=999)
EFAAR = perturbation_consistency.Protocol(summary="efaar", null="control perturbations", alpha=0.05)


def layout(n: int = 40, n_plates: int = 4, n_controls: int = 0) -> pd.DataFrame:
    names = [*(f"p{i:03d}" for i in range(n)), *(f"control{i:02d}" for i in range(n_controls))]
    wells = pd.DataFrame({"Metadata_Perturbation": names * n_plates})
    wells["Metadata_Plate"] = np.repeat([f"P{plate}" for plate in range(n_plates)], len(names))
    wells["Metadata_Well"] = [f"A{i % len(names) + 1:02d}" for i in range(len(wells))]
    wells["Metadata_pert_type"] = np.where(wells["Metadata_Perturbation"].str.startswith("control"), "negcon", "trt")
    return wells


def scored(features: np.ndarray, wells: pd.DataFrame, protocol: perturbation_consistency.Protocol = MATCHED) -> Score:
    (score,) = perturbation_consistency.score(Profiles(wells, features), protocol, Inputs()).scores
    return score


def test_ranks_among_groups_are_those_of_an_enumeration() -> None:
    # Two plates of three wells: nine groups of one well a plate, with small whole features that tie.
    features = np.array([[1, 0], [1, 1], [0, 1], [1, 0], [1, -1], [0, 2]], dtype=float)
    plates, labels = np.array([0, 0, 0, 1, 1, 1]), np.array([0, 1, 2, 0, 1, 2])
    table = matched_consistency(features, labels, plates, draws=20_000, seed=0)
    units = features / np.linalg.norm(features, axis=1, keepdims=True)
    every = np.array([units[a] @ units[b] for a in range(3) for b in range(3, 6)])
    for code, (_, row) in enumerate(table.iterrows()):
        own = units[code] @ units[code + 3]
        assert row["consistency"] == pytest.approx(own, abs=1e-6)
        assert row["n_above"] / 20_000 == pytest.approx(np.mean(every > own + 1e-9), abs=0.02)
        assert row["n_equal"] / 20_000 == pytest.approx(np.mean(abs(every - own) < 1e-9), abs=0.02)


def test_consistency_is_the_mean_cosine_of_all_pairs_of_replicates() -> None:
    rng = np.random.default_rng(1)
    features, labels = rng.standard_normal((90, 5)), rng.integers(0, 20, 90)
    features[:3] = 0
    table = matched_consistency(features, labels, rng.integers(0, 3, 90), draws=50, seed=0).set_index("code")
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    units = np.divide(features, lengths, out=np.zeros_like(features), where=lengths > 0)
    for code, row in table.iterrows():
        members = np.flatnonzero(labels == code)
        expected = np.mean([units[a] @ units[b] for a, b in combinations(members, 2)])
        assert (row["n_replicates"], row["consistency"]) == (len(members), pytest.approx(expected, abs=1e-6))


def test_noise_is_significant_as_often_as_alpha_says_whatever_the_plates_look_like() -> None:
    wells = layout(n=60)
    plate = pd.factorize(wells["Metadata_Plate"])[0]
    away = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        features = rng.standard_normal((len(wells), 6)) + 2 * rng.standard_normal((4, 6))[plate]
        score = scored(features, wells)
        assert score.chance == 0.05
        away.append(score.value - score.chance)
    assert abs(np.mean(away)) < 3.5 * np.std(away, ddof=1) / np.sqrt(len(away))


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_constant_is_exactly_at_chance(value: float) -> None:
    wells = layout()
    score = scored(np.full((len(wells), 3), value), wells)
    assert score.value == score.chance == 0.05
    assert score.higher_is_better


def test_knowing_the_plate_alone_is_exactly_at_chance() -> None:
    wells = layout()
    score = scored(controls.plate_only(wells, {}, 0), wells)
    assert score.value == score.chance


def test_the_oracle_is_perfect_and_half_an_effect_is_half() -> None:
    wells = layout()
    oracle = controls.oracle(wells, {}, 0)
    assert scored(oracle, wells).value == 1.0
    inert = wells["Metadata_Perturbation"] >= "p020"
    # Zero vectors have cosine 0 with all: those perturbations are below every group and never significant.
    oracle[inert.to_numpy()] = 0
    assert scored(oracle, wells).value == pytest.approx(0.5)


def test_single_wells_are_left_out_and_counted() -> None:
    wells = layout(n=30)
    wells = wells[~((wells["Metadata_Perturbation"] == "p007") & (wells["Metadata_Plate"] != "P2"))]
    outcome = perturbation_consistency.score(Profiles(wells, controls.oracle(wells, {}, 0)), MATCHED, Inputs())
    assert outcome.scores[0].n == 29
    assert outcome.warnings == ("1 perturbations have a single well and are not scored",)
    single = layout(n=5, n_plates=1)
    with pytest.raises(InputError, match="no perturbation has two wells"):
        scored(np.ones((5, 2)), single)


def test_one_perturbation_is_its_own_null() -> None:
    wells = layout(n=1, n_plates=6)
    features = np.random.default_rng(0).standard_normal((6, 4))
    score = scored(features, wells)
    assert score.value == score.chance


def test_against_control_perturbations_ties_count_by_expectation() -> None:
    wells = layout(n=10, n_controls=39)
    assert scored(controls.oracle(wells, {}, 0), wells, EFAAR).value == 1.0
    constant = scored(np.ones((len(wells), 2)), wells, EFAAR)
    assert constant.value == constant.chance == 2 / 40
    outcome = perturbation_consistency.score(
        Profiles(wells, np.random.default_rng(2).standard_normal((len(wells), 4))), EFAAR, Inputs()
    )
    assert ((outcome.items["p_value"] <= 0.05) == (outcome.items["significant"] == 1)).all()
    assert outcome.items["perturbation"].tolist() == [f"p{i:03d}" for i in range(10)]


def test_too_few_control_perturbations_are_refused() -> None:
    wells = layout(n=10, n_controls=18)
    with pytest.raises(InputError, match="with 18 null values no p-value"):
        scored(np.ones((len(wells), 2)), wells, EFAAR)
    with pytest.raises(InputError, match="name them, --negcon"):
        scored(np.ones((40, 2)), layout(n=10), EFAAR)
