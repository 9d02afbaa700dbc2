"""Gene-gene relationships: average precision of pairs, tails of other widths, and what a reader is told."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score

from phenobench.metrics.pair_precision import pair_average_precision
from phenobench.metrics.relationships import cosine_map, locate, recall_in_map
from phenobench.profiles import Profiles
from phenobench.tasks import gene_gene
from phenobench.tasks.outcome import Inputs, Outcome, Score

PROTOCOL = gene_gene.Protocol(
    summary="genes", rows="genes", tails=(0.05, 0.95), ties="expected", widths=(0.01, 0.025, 0.1)
)
NAMES = [f"g{i:02d}" for i in range(40)]


def scored(features: np.ndarray, pairs: np.ndarray) -> Outcome:
    wells = pd.DataFrame({"Metadata_Symbol": NAMES[: len(features)]})
    wells["Metadata_Perturbation"] = wells["Metadata_Symbol"]
    return gene_gene.score(Profiles(wells, features), PROTOCOL, Inputs(pairs={"mine": pairs}))


def secondary(outcome: Outcome) -> dict[str, Score]:
    return {score.metric: score for score in outcome.secondary}


def within(*groups: list[str]) -> np.ndarray:
    return np.array([pair for group in groups for pair in combinations(group, 2)])


def test_pair_precision_is_scikit_learns_where_nothing_is_tied() -> None:
    features = np.random.default_rng(0).standard_normal((40, 6)).astype(np.float32)
    pairs = within(NAMES[:5], NAMES[5:9], NAMES[20:23])
    units = features.astype(float) / np.linalg.norm(features, axis=1, keepdims=True)
    annotated = {tuple(pair) for pair in pairs.tolist()}
    listed = list(combinations(range(40), 2))
    expected = average_precision_score(
        [(NAMES[a], NAMES[b]) in annotated for a, b in listed], [units[a] @ units[b] for a, b in listed]
    )
    got = secondary(scored(features, pairs))["pair AP"]
    assert got.value == pytest.approx(expected, abs=1e-9)
    assert got.ci_low < got.value < got.ci_high


def test_chance_of_pair_precision_is_the_mean_over_random_orders() -> None:
    rng = np.random.default_rng(1)
    labels = np.arange(780) < 19
    drawn = [average_precision_score(labels, rng.random(780)) for _ in range(800)]
    chance = secondary(scored(rng.standard_normal((40, 3)), within(NAMES[:5], NAMES[5:9], NAMES[20:23])))[
        "pair AP"
    ].chance
    assert chance == pytest.approx(np.mean(drawn), abs=4 * np.std(drawn) / np.sqrt(800))
    assert chance > 19 / 780


def test_ties_of_pairs_count_by_their_expectation() -> None:
    # Three directions: all cosines are 0 or 1, so the order is random within two blocks.
    features = np.eye(3)[np.arange(12) % 3]
    pairs = np.array([["g00", "g03"], ["g00", "g01"], ["g01", "g04"], ["g02", "g03"]])
    cosines = cosine_map(features, NAMES[:12])
    got = pair_average_precision(cosines, locate(cosines, pairs))
    rng = np.random.default_rng(2)
    alike = np.array([a % 3 == b % 3 for a, b in combinations(range(12), 2)])
    annotated = np.array(
        [(NAMES[a], NAMES[b]) in {tuple(p) for p in pairs.tolist()} for a, b in combinations(range(12), 2)]
    )
    drawn = [average_precision_score(annotated, alike + rng.random(66) / 2) for _ in range(1000)]
    assert got.value == pytest.approx(np.mean(drawn), abs=4 * np.std(drawn) / np.sqrt(1000))


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_constant_is_exactly_at_chance_in_every_score(value: float) -> None:
    outcome = scored(np.full((40, 3), value), within(NAMES[:5], NAMES[5:9]))
    for score in (*outcome.scores, *outcome.secondary):
        assert score.value == score.chance
        assert score.ci_low <= score.value <= score.ci_high


def test_tails_of_every_width_are_recalls_of_that_width() -> None:
    features = np.random.default_rng(3).standard_normal((40, 4)).astype(np.float32)
    pairs = within(NAMES[:8])
    got = secondary(scored(features, pairs))
    assert list(got) == ["recall 1 %", "recall 2.5 %", "recall 10 %", "pair AP"]
    cosines = cosine_map(features, NAMES)
    for width in (0.01, 0.025, 0.1):
        score = got[f"recall {100 * width:g} %"]
        expected = recall_in_map(cosines, pairs, tails=(width, 1 - width))
        assert (score.value, score.chance, score.ceiling) == (expected.recall, expected.chance, expected.ceiling)


def test_planted_pairs_come_first() -> None:
    features = np.repeat(np.eye(10), 4, axis=0) + 0.01 * np.random.default_rng(4).standard_normal((40, 10))
    outcome = scored(features, within(*([NAMES[i] for i in range(start, start + 4)] for start in range(0, 40, 4))))
    assert secondary(outcome)["pair AP"].value == pytest.approx(1.0)
    assert not any("carries the score" in line for line in outcome.warnings)


def test_one_pair_says_nothing_about_others() -> None:
    got = secondary(scored(np.random.default_rng(5).standard_normal((40, 4)), np.array([["g00", "g01"]])))["pair AP"]
    assert (got.ci_low, got.ci_high, got.too_few) == (0.0, 1.0, True)


def test_one_complex_that_carries_the_score_is_named() -> None:
    features = np.random.default_rng(6).standard_normal((40, 20))
    features[:8] += 20
    outcome = scored(features, within(NAMES[:8], NAMES[10:13], NAMES[20:24], NAMES[30:33]))
    (line,) = [line for line in outcome.warnings if "carries the score" in line]
    assert "the 28 pairs among g00 and its 7 annotated partners" in line


def test_arms_are_not_corrected_and_the_result_says_so() -> None:
    outcome = scored(np.random.default_rng(7).standard_normal((40, 4)), within(NAMES[:4]))
    assert any(line.startswith("not corrected for chromosome arms") for line in outcome.warnings)
