"""Compound-gene matching: planted targets, pools of drawn genes, and tables of interactions."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score

import phenobench as pb
from phenobench.errors import InputError
from phenobench.models import controls
from phenobench.profiles import Profiles
from phenobench.tasks import compound_gene
from phenobench.tasks.compound_pools import Interactions, Pools
from phenobench.tasks.outcome import Inputs, Outcome

ALL_GENES = compound_gene.Protocol(
    summary="ours", aggregate="mean", similarity="abs_cosine", average="perturbations", gate="none", merge_guides=True
)
POOLS = Pools(
    active_nm=1000, excluded_nm=10000, negatives_per_active=2, least_negatives=4, draws=3, dose="Metadata_Concentration"
)


def layout(
    n_genes: int = 12, targets: tuple[str | None, ...] = ("g00", "g01|g02", "g01", "elsewhere", None)
) -> pd.DataFrame:
    genes = pd.DataFrame({"Metadata_Symbol": [f"g{i:02d}" for i in range(n_genes) for _ in range(2)]})
    genes["Metadata_Perturbation"] = [f"{gene}_guide_{i % 2}" for i, gene in enumerate(genes["Metadata_Symbol"])]
    drugs = pd.DataFrame({"Metadata_Perturbation": [f"d{i}" for i in range(len(targets))], "Metadata_Target": targets})
    wells = pd.concat([pd.concat([genes, drugs]).assign(Metadata_Plate=plate) for plate in ("P1", "P2")])
    wells["Metadata_Well"] = [f"A{i + 1:02d}" for i in range(len(wells))]
    wells["Metadata_pert_type"] = "trt"
    return wells.reset_index(drop=True)


def scored(features: np.ndarray, wells: pd.DataFrame, pools: Pools | None = None, seed: int = 0) -> Outcome:
    protocol = ALL_GENES.model_copy(update={"pools": pools})
    return compound_gene.score(Profiles(wells, features), protocol, Inputs(seed=seed))


def noise(wells: pd.DataFrame, d: int = 5, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((len(wells), d))


def test_agrees_with_a_ranking_of_genes_compound_by_compound() -> None:
    wells = layout()
    features = noise(wells).astype(np.float32).astype(float)
    outcome = scored(features, wells)
    frame = pd.DataFrame(features)
    genes = frame.groupby(wells["Metadata_Symbol"]).mean()
    drugs = frame[wells["Metadata_Symbol"].isna()].groupby(wells["Metadata_Perturbation"]).mean()
    cosine = pd.DataFrame(
        np.abs(drugs.to_numpy() @ genes.to_numpy().T)
        / np.linalg.norm(drugs, axis=1)[:, None]
        / np.linalg.norm(genes, axis=1),
        drugs.index,
        genes.index,
    )

    def precision(drug: str, target: str, others: list[str]) -> float:
        row = cosine.loc[drug].drop(others)
        return float(average_precision_score(row.index == target, row))

    expected = [
        precision("d0", "g00", []),
        (precision("d1", "g01", ["g02"]) + precision("d1", "g02", ["g01"])) / 2,
        precision("d2", "g01", []),
    ]
    assert outcome.scores[0].subset == "compound to gene"
    assert outcome.scores[0].value == pytest.approx(np.mean(expected))
    # Back: g00 has one compound and two others, g01 has two and one other, g02 has one and two others.
    back = [
        average_precision_score(labels, cosine.loc[["d0", "d1", "d2"], gene])
        for gene, labels in (("g00", [1, 0, 0]), ("g01", [0, 1, 1]), ("g02", [0, 1, 0]))
    ]
    assert outcome.scores[1].value == pytest.approx(np.mean(back))
    assert outcome.warnings == ("2 compounds have no target among the perturbed genes and take no part",)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_constant_is_exactly_at_chance(value: float) -> None:
    wells = layout(targets=("g00", "g01|g02", "g03", "g04|g05", "g01"))
    features = np.full((len(wells), 3), value)
    for pools in (None, POOLS):
        outcome = scored(features, wells, pools)
        for score in (*outcome.scores, *outcome.secondary):
            assert score.value == score.chance
    assert any("17 perturbations are zero vectors" in line for line in scored(features, wells).warnings) == (value == 0)


def test_the_oracle_is_perfect_on_the_simulated_screen() -> None:
    screen = pb.load_screen("simulated-small")
    outcome = scored(controls.oracle(screen.wells, screen.pairs, 0), screen.wells)
    assert [score.value for score in outcome.scores] == [1.0, 1.0]
    assert [score.n for score in outcome.scores] == [6, 6]


def test_random_is_at_chance() -> None:
    wells = layout(30, tuple(f"g{i:02d}" for i in range(20)))
    away = []
    for seed in range(60):
        score = scored(noise(wells, seed=seed), wells).scores[0]
        away.append(score.value - score.chance)
    assert abs(np.mean(away)) < 3.5 * np.std(away, ddof=1) / np.sqrt(len(away))


@pytest.mark.parametrize(
    ("wells", "message"),
    [
        (layout(0), "needs perturbed genes"),
        (layout(1, ("g00",)), "at least two perturbed genes"),
        (layout(6, ("elsewhere", None)), "at least two perturbed genes"),
    ],
)
def test_what_cannot_be_ranked_is_said(wells: pd.DataFrame, message: str) -> None:
    with pytest.raises(InputError, match=message):
        scored(noise(wells), wells)


# Pools of drawn genes


def table(folder: Path, rows: list[tuple[str, str, float]]) -> Interactions:
    path = folder / "interactions.csv"
    pd.DataFrame(rows, columns=["treatment", "gene_symbol", "nM_value"]).to_csv(path, index=False)
    return Interactions(path=path, sha256=hashlib.sha256(path.read_bytes()).hexdigest())


def test_genes_of_middling_activity_take_no_part_and_measured_ones_are_the_pool(tmp_path: Path) -> None:
    rows = [("d0", "g00", 1000.0), ("d0", "g01", 1000.1), ("d0", "g02", 10000.0), ("d0", "g03", 10000.1)]
    rows += [("d1", f"g{i:02d}", 5.0) for i in range(4, 8)]
    pools = POOLS.model_copy(update={"interactions": table(tmp_path, rows), "least_negatives": 5})
    wells = layout()
    # d0 is like the excluded g01 and g02 and like g08, which nobody measured; then like g00; then the others.
    likeness = {"g01": 0.99, "g02": 0.99, "g08": 0.99, "g00": 0.9}
    cosine = wells["Metadata_Symbol"].map(likeness).fillna(0.1).where(wells["Metadata_Perturbation"] != "d0", 1.0)
    features = np.stack([-cosine, np.sqrt(1 - cosine**2)], axis=1)
    outcome = scored(features, wells, pools)
    assert outcome.items[["perturbation", "n_active", "n_negative"]].drop_duplicates().values.tolist() == [["d0", 1, 5]]
    assert outcome.scores[0].value == 1.0
    assert any("4 compounds have no active gene or too few others" in line for line in outcome.warnings)


def test_a_compound_counts_at_its_best_dose() -> None:
    wells = layout(12, ("g00", "g01", "g02", "g03", "g04", "g05"))
    dose = pd.Series(np.where(wells["Metadata_Plate"] == "P1", "0.1", "10"), index=wells.index)
    wells["Metadata_Concentration"] = dose.where(wells["Metadata_Symbol"].isna())
    features = controls.oracle(wells, {}, 0)
    features[(wells["Metadata_Symbol"].isna() & (dose == "0.1")).to_numpy()] = 0
    outcome = scored(features, wells, POOLS)
    got = {score.subset: (score.value, score.chance) for score in (*outcome.scores, *outcome.secondary)}
    assert got["best dose"][0] == got["10"][0] == 1.0
    assert got["0.1"][0] == got["0.1"][1]


def test_draws_do_not_depend_on_other_compounds() -> None:
    wells = layout(12, ("g00", "g01", "g02", "g03", "g04", "g05", "g06"))
    features = noise(wells, seed=4)
    whole = scored(features, wells, POOLS).items.set_index(["perturbation", "dose"])["average_precision"]
    # A compound fewer with the same table of genes: g06 stays in the table by d5.
    fewer = wells["Metadata_Perturbation"] != "d6"
    changed = wells.assign(Metadata_Target=wells["Metadata_Target"].replace("g05", "g05|g06"))
    part = scored(features[fewer], changed[fewer], POOLS).items.set_index(["perturbation", "dose"])["average_precision"]
    same = [name for name in part.index if name[0] != "d5"]
    pd.testing.assert_series_equal(whole.loc[same], part.loc[same])
    other = scored(features, wells, POOLS, seed=1).items.set_index(["perturbation", "dose"])["average_precision"]
    assert not other.equals(whole)


def test_a_table_that_is_not_what_the_card_means_is_refused(tmp_path: Path) -> None:
    wells = layout()
    there = table(tmp_path, [("d0", "g00", 1.0)])
    for interactions, message in (
        (there.model_copy(update={"sha256": "0" * 64}), "has the sha256"),
        (there.model_copy(update={"path": tmp_path / "absent.csv"}), "cannot be read"),
        (there, "no compound has an active gene and 4 other genes"),
    ):
        with pytest.raises(InputError, match=message):
            scored(noise(wells), wells, POOLS.model_copy(update={"interactions": interactions}))
    for content, message in (
        ("compound,gene\nd0,g00\n", "no column 'treatment'"),
        ("treatment,gene_symbol,nM_value\nd0,g00,strong\n", "'nM_value' has values that are no numbers"),
        ("", "is empty"),
        ('treatment,gene_symbol,nM_value\n"d0,g00,1\n', "cannot be read"),
    ):
        there.path.write_text(content)
        other = Interactions(path=there.path, sha256=hashlib.sha256(content.encode()).hexdigest())
        with pytest.raises(InputError, match=message):
            scored(noise(wells), wells, POOLS.model_copy(update={"interactions": other}))
