"""Chromosome arms: what neighbours share goes away, and what related genes share stays."""

from __future__ import annotations

import hashlib
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from phenobench.errors import InputError
from phenobench.profiles import Profiles
from phenobench.tasks import gene_gene
from phenobench.tasks.arms import Arms, centred_by_arm
from phenobench.tasks.outcome import Inputs, Outcome

ARMS = [f"{number}{side}" for number in range(1, 6) for side in "pq"]
GENES = [f"g{number:03d}" for number in range(400)]
ARM_OF = dict(zip(GENES, np.repeat(ARMS, 40).tolist(), strict=True))


def written(folder: Path, table: pd.DataFrame) -> Arms:
    path = folder / "arms.csv"
    table.to_csv(path, index=False)
    return Arms(path=path, sha256=hashlib.sha256(path.read_bytes()).hexdigest())


def genome() -> pd.DataFrame:
    """Forty genes on each of ten arms, of which the last 25 are not expressed."""
    silent = np.tile(np.arange(40) >= 15, len(ARMS))
    return pd.DataFrame({"gene": GENES, "arm": list(ARM_OF.values()), "zfpkm": np.where(silent, -4.0, 1.0)})


def knockouts(of_arm: float, of_complex: float) -> tuple[np.ndarray, list[list[str]]]:
    """Noise, what an arm's loss adds, and what complexes of expressed genes on several arms share."""
    rng = np.random.default_rng(0)
    features = rng.standard_normal((400, 40))
    features += of_arm * np.repeat(rng.standard_normal((len(ARMS), 40)), 40, axis=0)
    complexes = [[GENES[40 * arm + place] for arm in range(0, 10, 2)] for place in range(15)]
    for complex_ in complexes:
        features[[GENES.index(gene) for gene in complex_]] += of_complex * rng.standard_normal(40)
    return features.astype(np.float32), complexes


def scored(features: np.ndarray, pairs: list[tuple[str, str]], arms: Arms | None) -> Outcome:
    wells = pd.DataFrame({"Metadata_Symbol": GENES, "Metadata_Perturbation": GENES})
    protocol = gene_gene.Protocol(summary="genes", rows="genes", tails=(0.05, 0.95), ties="expected", arms=arms)
    return gene_gene.score(Profiles(wells, features), protocol, Inputs(pairs={"mine": np.array(pairs)}))


def test_neighbours_are_at_chance_once_the_arm_is_subtracted(tmp_path: Path) -> None:
    features, _ = knockouts(of_arm=2.0, of_complex=0.0)
    # Pairs of expressed neighbours, which have nothing but their arm in common.
    pairs = [pair for first in range(0, 400, 40) for pair in combinations(GENES[first : first + 15], 2)]
    raw = scored(features, pairs, None).scores[0]
    corrected = scored(features, pairs, written(tmp_path, genome())).scores[0]
    # Half of an arm's pairs are as many as the upper tail has places for.
    assert raw.ci_low > 0.35
    # The mean that an arm's genes have in common now is one of 25 genes' noise: a cosine of 1 / 26.
    assert abs(corrected.value - corrected.chance) < 0.03


def test_related_genes_on_several_arms_are_found_better(tmp_path: Path) -> None:
    features, complexes = knockouts(of_arm=2.0, of_complex=1.0)
    pairs = [pair for complex_ in complexes for pair in combinations(complex_, 2)]
    raw = scored(features, pairs, None)
    corrected = scored(features, pairs, written(tmp_path, genome()))
    assert corrected.scores[0].value > raw.scores[0].value + 0.2
    assert any("corrected for chromosome arms by" in warning for warning in corrected.warnings)
    assert any("not corrected for chromosome arms" in warning for warning in raw.warnings)


def test_the_mean_of_an_arms_unexpressed_genes_is_what_is_subtracted(tmp_path: Path) -> None:
    features, _ = knockouts(of_arm=1.0, of_complex=0.0)
    table = genome()
    # 20 unexpressed genes are not more than 20.
    table.loc[35:39, "zfpkm"] = 0.0
    got, sentence = centred_by_arm(features[:-1], [*GENES[:-2], "elsewhere"], written(tmp_path, table))
    frame = pd.DataFrame(features[:-1].astype(float), index=GENES[:-1])
    merged = table.set_index("gene").loc[GENES[:-1]]
    means = frame[merged["zfpkm"] < -3].groupby(merged["arm"]).mean().drop(index="1p")
    # The last row but one of the map has a name that the table does not have, so it is no mean's part.
    means.loc["5q"] = frame[(merged["zfpkm"] < -3) & (merged["arm"] == "5q")].iloc[:-1].mean()
    expected = frame - means.reindex(merged["arm"]).fillna(0.0).to_numpy()
    expected.iloc[-1] = frame.iloc[-1]
    np.testing.assert_allclose(got, expected, atol=1e-6)
    np.testing.assert_array_equal(got[:40], features[:40])
    assert "9 of 10 arms; 1 of 399 rows" in sentence


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.drop(columns="zfpkm"), "has no column 'zfpkm'"),
        (lambda table: pd.concat([table, table[:1]]), "g000 is there twice"),
        (lambda table: table.assign(zfpkm="high"), "are no numbers"),
        (lambda table: table.assign(zfpkm=0.0), "more than 20 unexpressed genes"),
    ],
)
def test_a_table_of_no_use_is_named(change: object, message: str, tmp_path: Path) -> None:
    assert callable(change)
    features, _ = knockouts(0.0, 0.0)
    with pytest.raises(InputError, match=message):
        centred_by_arm(features, GENES, written(tmp_path, change(genome())))


def test_another_file_than_the_card_means_is_refused(tmp_path: Path) -> None:
    arms = written(tmp_path, genome())
    arms.path.write_text(arms.path.read_text() + "g999,1p,0\n")
    with pytest.raises(InputError, match="sha256"):
        centred_by_arm(np.ones((1, 2)), ["g000"], arms)
    with pytest.raises(InputError, match="cannot be read"):
        centred_by_arm(np.ones((1, 2)), ["g000"], arms.model_copy(update={"path": tmp_path / "none.csv"}))
