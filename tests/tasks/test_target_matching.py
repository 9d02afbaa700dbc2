"""Target matching: planted targets, copairs' multi-label rules, and what takes no part."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest

from phenobench.errors import InputError
from phenobench.models import controls
from phenobench.profiles import Profiles
from phenobench.tasks import target_matching
from phenobench.tasks.outcome import Inputs

OURS = target_matching.Protocol(
    summary="ours", aggregate="mean", compounds="cosine", genes="cosine", average="perturbations", gate="none"
)
PUBLISHED = target_matching.Protocol(
    summary="published", aggregate="median", compounds="abs_cosine", genes="cosine", average="targets", gate="none"
)


def layout(targets: Sequence[str | None], n_plates: int = 2, n_controls: int = 8) -> pd.DataFrame:
    """Compound ``c00`` and so on with these targets, each once a plate, and controls."""
    plates = []
    for plate in range(n_plates):
        wells = pd.DataFrame({"Metadata_Perturbation": [f"c{i:02d}" for i in range(len(targets))]})
        wells["Metadata_Target"] = list(targets)
        wells["Metadata_pert_type"] = "trt"
        negative = pd.DataFrame({"Metadata_Perturbation": ["DMSO"] * n_controls, "Metadata_pert_type": "negcon"})
        wells = pd.concat([wells, negative], ignore_index=True)
        wells["Metadata_Plate"] = f"P{plate}"
        wells["Metadata_Well"] = [f"A{i + 1:02d}" for i in range(len(wells))]
        plates.append(wells)
    return pd.concat(plates, ignore_index=True)


def noise(wells: pd.DataFrame, d: int = 6, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((len(wells), d))


def test_planted_targets_are_found_and_chance_is_exact() -> None:
    wells = layout(["A", "A", "B", "B", "C", "C", "C"])
    directions = {"A": [1, 0, 0], "B": [0, 1, 0], "C": [0, 0, 1]}
    features = np.array([directions.get(target, [0, 0, 0]) for target in wells["Metadata_Target"]], dtype=float)
    outcome = target_matching.score(Profiles(wells, features), OURS, Inputs())
    (score,) = outcome.scores
    assert (score.subset, score.value, score.n) == ("compounds", 1.0, 7)
    # One positive among 6, and two among 6, at random places.
    one = np.mean([1 / place for place in range(1, 7)])
    two = np.mean([(1 / a + 2 / b) / 2 for a in range(1, 7) for b in range(a + 1, 7)])
    assert score.chance == pytest.approx((4 * one + 3 * two) / 7)


def test_agrees_with_copairs_where_nothing_is_tied() -> None:
    from copairs.map.multilabel import average_precision

    rng = np.random.default_rng(1)
    cells = ["|".join(sorted(rng.choice(list("ABCDEFG"), rng.integers(1, 4), replace=False))) for _ in range(24)]
    wells = layout(cells, n_plates=3)
    features = noise(wells, seed=2)
    (score,) = target_matching.score(Profiles(wells, features), PUBLISHED, Inputs()).scores
    treated = wells["Metadata_pert_type"] == "trt"
    medians = (
        pd.DataFrame(features)[treated].astype(np.float32).groupby(wells["Metadata_Perturbation"][treated]).median()
    )
    table = average_precision(
        pd.DataFrame({"target": [cell.split("|") for cell in cells]}),
        medians.to_numpy(),
        pos_sameby=["target"],
        pos_diffby=[],
        neg_sameby=[],
        neg_diffby=["target"],
        multilabel_col="target",
        distance="abs_cosine",
        progress_bar=False,
    )
    theirs = table.groupby("target")["average_precision"].mean().mean()
    assert score.value == pytest.approx(theirs, abs=1e-6)


def test_opposite_profiles_are_alike_only_by_absolute_cosine() -> None:
    wells = layout(["A", "A", "B", "B"])
    directions = {"c00": [1, 0.1, 0], "c01": [-1, 0, 0.1], "c02": [0.1, 1, 0], "c03": [0, 1, 0.1]}
    features = np.array([directions.get(name, [0, 0, 0]) for name in wells["Metadata_Perturbation"]], dtype=float)
    signed, absolute = (
        target_matching.score(Profiles(wells, features), protocol, Inputs()).items for protocol in (OURS, PUBLISHED)
    )
    assert signed.set_index("perturbation")["average_precision"]["c00"] == pytest.approx(1 / 3)
    assert absolute["average_precision"].tolist() == [1.0] * 4


@pytest.mark.parametrize("value", [0.0, 1.0])
@pytest.mark.parametrize("protocol", [OURS, PUBLISHED])
def test_a_constant_is_exactly_at_chance(protocol: target_matching.Protocol, value: float) -> None:
    wells = layout(["A", "A|B", "B|C", "C", "D", "D", "D"])
    outcome = target_matching.score(Profiles(wells, np.full((len(wells), 3), value)), protocol, Inputs())
    assert outcome.scores[0].value == outcome.scores[0].chance
    assert any("zero vectors" in line for line in outcome.warnings) == (value == 0)


def test_random_is_at_chance() -> None:
    wells = layout([f"T{i // 3}" for i in range(30)])
    away = []
    for seed in range(60):
        (score,) = target_matching.score(Profiles(wells, noise(wells, seed=seed)), OURS, Inputs()).scores
        away.append(score.value - score.chance)
    assert abs(np.mean(away)) < 3.5 * np.std(away, ddof=1) / np.sqrt(len(away))


def test_the_oracle_knows_targets_and_lists_of_them() -> None:
    wells = layout(["A", "A|B", "B|C", "C", "D", "D"])
    oracle = controls.oracle(wells, {}, 0)
    (score,) = target_matching.score(Profiles(wells, oracle), OURS, Inputs()).scores
    assert score.value == 1.0


def test_perturbations_without_a_target_are_no_negatives() -> None:
    wells = layout(["A", "A", "B", "B", None, " | "])
    features = noise(wells, seed=3)
    outcome = target_matching.score(Profiles(wells, features), OURS, Inputs())
    known = wells["Metadata_Target"].isin(["A", "B"]) | (wells["Metadata_pert_type"] == "negcon")
    alone = target_matching.score(Profiles(wells[known], features[known]), OURS, Inputs())
    assert outcome.scores == alone.scores
    assert outcome.warnings == ("2 perturbations have no known target and take no part",)


def test_genes_match_their_sister_guides() -> None:
    wells = layout(["A", "A", "B", "B"])
    wells["Metadata_Symbol"] = wells.pop("Metadata_Target")
    wells["Metadata_Target"] = None
    outcome = target_matching.score(Profiles(wells, controls.oracle(wells, {}, 0)), OURS, Inputs())
    assert [(score.subset, score.value) for score in outcome.scores] == [("genes", 1.0)]


@pytest.mark.parametrize("targets", [["A", "B", "C"], ["A"], [None, None], ["A", "A"]])
def test_without_shared_targets_there_is_no_score(targets: list[str | None]) -> None:
    wells = layout(targets)
    wells["Metadata_Target"] = wells["Metadata_Target"].astype(object)
    with pytest.raises(InputError, match="share a target"):
        target_matching.score(Profiles(wells, noise(wells)), OURS, Inputs())


def test_the_gate_keeps_what_is_replicable() -> None:
    wells = layout([f"T{i // 2}" for i in range(20)], n_plates=4, n_controls=24)
    features = noise(wells, d=12, seed=4)
    strong = wells["Metadata_Perturbation"].isin([f"c{i:02d}" for i in range(10)]).to_numpy()
    features[strong] += (
        6
        * np.random.default_rng(5).standard_normal((5, 12))[
            [int(name[1:]) // 2 for name in wells["Metadata_Perturbation"][strong]]
        ]
    )
    gated = target_matching.score(
        Profiles(wells, features), PUBLISHED.model_copy(update={"gate": "replicable"}), Inputs()
    )
    assert set(gated.items["perturbation"]) == {f"c{i:02d}" for i in range(10)}
    assert "gated: 10 of 20 perturbations are replicable and take part" in gated.warnings
    constant = Profiles(wells, np.ones((len(wells), 2)))
    with pytest.raises(InputError, match="share a target"):
        target_matching.score(constant, PUBLISHED.model_copy(update={"gate": "replicable"}), Inputs())


def test_targets_weigh_alike_where_the_average_is_over_targets() -> None:
    wells = layout(["A"] * 6 + ["B"] * 2)
    outcome = target_matching.score(
        Profiles(wells, noise(wells, seed=6)), PUBLISHED.model_copy(update={"compounds": "cosine"}), Inputs()
    )
    by = outcome.items.groupby("label")["average_precision"].mean()
    assert outcome.scores[0].value == pytest.approx(by.mean())
    assert outcome.scores[0].ci_low <= outcome.scores[0].value <= outcome.scores[0].ci_high
