from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import pytest

import phenobench as pb
from phenobench.metrics import average_precision, relationship_recall
from phenobench.models import controls
from phenobench.normalization import normalize
from phenobench.profiles import Profiles
from phenobench.tasks import gene_gene, replicate_retrieval
from phenobench.tasks.outcome import Inputs, Score

NONE: Mapping[str, np.ndarray] = {}
ACROSS = replicate_retrieval.Protocol(
    summary="across plates", negatives="treated", pos_diffby=("plate",), neg_sameby=("plate",)
)
AGAINST_CONTROLS = replicate_retrieval.Protocol(
    summary="against controls", negatives="controls", pos_diffby=("plate",), neg_sameby=("plate",)
)
GENES = gene_gene.Protocol(summary="genes", rows="genes", tails=(0.05, 0.95), ties="expected")


def layout(n_plates: int = 4, n_genes: int = 24, n_controls: int = 12) -> pd.DataFrame:
    """Every gene once a plate, in two batches."""
    names = [*(f"g{i:02d}" for i in range(n_genes)), *["control"] * n_controls]
    plates = []
    for plate in range(n_plates):
        wells = pd.DataFrame({"Metadata_Perturbation": names})
        wells["Metadata_Symbol"] = wells["Metadata_Perturbation"].where(wells["Metadata_Perturbation"] != "control")
        wells["Metadata_pert_type"] = np.where(wells["Metadata_Symbol"].isna(), "negcon", "trt")
        wells["Metadata_Plate"] = f"P{plate}"
        wells["Metadata_Batch"] = f"B{plate // 2}"
        wells["Metadata_Well"] = [f"A{i + 1:02d}" for i in range(len(names))]
        plates.append(wells)
    return pd.concat(plates, ignore_index=True)


def retrieval(wells: pd.DataFrame, features: np.ndarray, normalization: str, protocol: Any = ACROSS) -> Score:
    profiles = normalize(Profiles(wells, features), normalization)
    return replicate_retrieval.score(profiles, protocol, Inputs()).scores[0]


def random_over_seeds(
    normalization: str, protocol: replicate_retrieval.Protocol, n_controls: int = 12
) -> tuple[float, float]:
    """Mean distance from chance over 80 seeds, and its standard error; the task's mAP without its p-values."""
    wells = layout(n_controls=n_controls)
    treated = (wells["Metadata_pert_type"] == "trt").to_numpy()
    rows = treated | (protocol.negatives == "controls")
    differing = "Metadata_pert_type" if protocol.negatives == "controls" else "Metadata_Perturbation"
    away = np.empty(80)
    for seed in range(80):
        profiles = normalize(Profiles(wells, controls.random(wells, NONE, seed)), normalization)
        table = average_precision(
            profiles.features[rows],
            wells[rows].reset_index(drop=True),
            pos_sameby=["Metadata_Perturbation"],
            pos_diffby=["Metadata_Plate"],
            neg_sameby=["Metadata_Plate"],
            neg_diffby=[differing],
        )[treated[rows]]
        away[seed] = (table["average_precision"] - table["expected"]).mean()
        if seed == 0:
            score = retrieval(wells, controls.random(wells, NONE, seed), normalization, protocol)
            assert away[seed] == pytest.approx(score.value - score.chance, abs=1e-12)
    return float(away.mean()), float(away.std(ddof=1) / np.sqrt(len(away)))


@pytest.mark.parametrize("normalization", ["none", "center", "center+tvn"])
def test_random_is_at_chance(normalization: str) -> None:
    mean, error = random_over_seeds(normalization, ACROSS)
    assert abs(mean) < 3.5 * error


@pytest.mark.parametrize("normalization", ["none", "center", "center+tvn"])
def test_random_is_never_above_chance_against_controls(normalization: str) -> None:
    # Controls with mean zero and equal variance stand more evenly around a query than independent ones.
    mean, error = random_over_seeds(normalization, AGAINST_CONTROLS)
    assert mean < 3.5 * error
    more, _ = random_over_seeds(normalization, AGAINST_CONTROLS, n_controls=40)
    assert abs(more) < abs(mean)


def test_random_follows_its_seed() -> None:
    wells = layout()
    first = controls.random(wells, NONE, 3)
    assert first.dtype == np.float32
    np.testing.assert_array_equal(controls.random(wells, NONE, 3), first)
    assert not np.array_equal(controls.random(wells, NONE, 4), first)


def test_random_controls_give_nothing_to_fit() -> None:
    wells = layout()
    features = controls.random(wells, NONE, 5)
    negative = (wells["Metadata_pert_type"] == "negcon").to_numpy()
    for plate in wells["Metadata_Plate"].unique():
        rows = features[negative & (wells["Metadata_Plate"] == plate).to_numpy()].astype(np.float64)
        np.testing.assert_allclose(rows.mean(axis=0), 0, atol=1e-6)
        np.testing.assert_allclose(np.cov(rows, rowvar=False, bias=True), np.eye(rows.shape[1]), atol=1e-5)
    centred = normalize(Profiles(wells, features), "center").features
    np.testing.assert_allclose(centred, features, atol=1e-6)


def test_random_with_few_controls_a_plate_is_finite() -> None:
    wells = layout(n_controls=2)
    features = controls.random(wells, NONE, 6)
    assert np.isfinite(features).all()
    assert np.linalg.matrix_rank(features) == features.shape[1]


@pytest.mark.parametrize("normalization", ["none", "center", "standardize", "robust", "sphere", "tvn", "center+tvn"])
def test_constant_is_exactly_at_chance(normalization: str) -> None:
    wells = layout()
    score = retrieval(wells, controls.constant(wells, NONE, 0), normalization)
    assert score.value == score.chance
    assert score.n == 24


@pytest.mark.parametrize("normalization", ["center", "standardize", "robust", "center+tvn"])
def test_plate_only_is_exactly_at_chance_once_plates_are_centred(normalization: str) -> None:
    wells = layout()
    features = controls.plate_only(wells, NONE, 0)
    score = retrieval(wells, features, normalization)
    assert score.value == score.chance
    assert not normalize(Profiles(wells, features), normalization).features.any()


def test_plate_only_is_the_alarm_of_a_task_that_rewards_plates() -> None:
    wells = layout()
    # Positives on the same plate against all other wells: here the plate alone finds them.
    wells["Metadata_Perturbation"] = wells["Metadata_Plate"].str.cat(wells.index.map(lambda i: f"-{i % 6}"))
    table = average_precision(
        controls.plate_only(wells, NONE, 1),
        wells,
        pos_sameby=["Metadata_Perturbation"],
        pos_diffby=[],
        neg_sameby=[],
        neg_diffby=["Metadata_Perturbation"],
    )
    assert table["average_precision"].mean() > 2 * table["expected"].mean()
    # With negatives on the query's plate, knowing the plate is worse than knowing nothing.
    honest = retrieval(layout(), controls.plate_only(layout(), NONE, 1), "none")
    assert honest.value < honest.chance


@pytest.fixture(scope="module")
def simulated() -> pb.Screen:
    return pb.load_screen("simulated-small")


@pytest.mark.parametrize("normalization", ["none", "center+tvn"])
def test_oracle_is_perfect_on_the_simulated_screen(simulated: pb.Screen, normalization: str) -> None:
    wells = simulated.wells
    features = controls.oracle(wells, simulated.pairs, 0)
    assert retrieval(wells, features, normalization).value == 1.0
    assert retrieval(wells, features, normalization, AGAINST_CONTROLS).value == 1.0
    profiles = normalize(Profiles(wells, features), normalization)
    outcome = gene_gene.score(profiles, GENES, Inputs(pairs=simulated.pairs))
    (score,) = outcome.scores
    assert score.subset == "planted"
    assert score.value == pytest.approx(score.ceiling, abs=1e-12)
    assert score.value > 5 * score.chance


def test_oracle_reaches_a_ceiling_below_one() -> None:
    # 24 genes have 276 pairs and 13 places in each tail, for 36 annotated pairs.
    wells = layout()
    genes = sorted(wells["Metadata_Symbol"].dropna().unique())
    pairs = np.array([pair for start in range(0, 24, 4) for pair in combinations(genes[start : start + 4], 2)])
    features = controls.oracle(wells, {"mine": pairs}, 0)
    means = pd.DataFrame(features).groupby(wells["Metadata_Symbol"]).mean()
    got = relationship_recall(means.to_numpy(), list(means.index), pairs)
    assert got.n_pairs == 36
    assert got.ceiling == 26 / 36
    # The upper tail holds annotated pairs alone; among the others all cosines are tied.
    assert got.recall == pytest.approx((13 + 0) / 36, abs=1e-9)


def test_oracle_makes_annotated_genes_alike_and_others_orthogonal() -> None:
    wells = layout()
    pairs = np.array([["g00", "g01"], ["g01", "g02"], ["g05", "absent"]])
    features = controls.oracle(wells, {"one": pairs[:1], "two": pairs[1:]}, 0).astype(np.float64)
    means = pd.DataFrame(features).groupby(wells["Metadata_Symbol"]).mean()
    units = means.to_numpy() / np.linalg.norm(means.to_numpy(), axis=1, keepdims=True)
    cosines = units @ units.T
    assert cosines[0, 1] > 0.5
    assert cosines[1, 2] == pytest.approx(cosines[0, 1], abs=1e-6)
    for one, two in combinations(range(24), 2):
        if (one, two) not in {(0, 1), (1, 2)}:
            assert cosines[one, two] == pytest.approx(0, abs=1e-6)
    control = (wells["Metadata_pert_type"] == "negcon").to_numpy()
    assert not features[control].any()
    # Replicates are equal to the last bit.
    assert (pd.DataFrame(features[~control]).groupby(wells["Metadata_Symbol"][~control].to_numpy()).nunique() == 1).all(
        axis=None
    )


def test_oracle_needs_no_name_of_a_perturbation_where_genes_are_named() -> None:
    wells = layout(n_plates=2, n_genes=6)
    pairs = {"own": np.array([["g00", "g01"]], dtype=object)}
    named, unnamed = (
        controls.oracle(one, pairs, 0)
        for one in (wells.assign(Metadata_Perturbation=None), wells.drop(columns="Metadata_Perturbation"))
    )
    assert np.array_equal(named, unnamed)
    # One direction a gene, and none of its own; annotated genes at the largest cosine there is, 0.9, others at 0.
    assert unnamed.shape == (len(wells), 6)
    genes = unnamed[:6]
    expected = np.eye(6)
    expected[0, 1] = expected[1, 0] = 0.9
    assert genes @ genes.T == pytest.approx(expected, abs=1e-6)
    assert not unnamed[(wells["Metadata_pert_type"] == "negcon").to_numpy()].any()


def test_oracle_tells_perturbations_of_one_gene_apart() -> None:
    wells = layout()
    # Two guides a gene.
    guide = wells["Metadata_Symbol"].dropna()
    wells["Metadata_Symbol"] = ("G" + (guide.str[1:].astype(int) // 2).astype(str)).reindex(wells.index)
    assert retrieval(wells, controls.oracle(wells, NONE, 0), "none").value == 1.0
    without = wells.drop(columns="Metadata_Symbol")
    assert retrieval(without, controls.oracle(without, NONE, 0), "none").value == 1.0


def test_oracle_has_directions_for_any_number_of_perturbations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(controls, "_MOST_AXES", 16)
    wells = layout().drop(columns="Metadata_Symbol")
    features = controls.oracle(wells, NONE, 0)
    assert features.shape[1] == 8
    assert retrieval(wells, features, "none").value == 1.0
