"""Gene-gene relationships: are annotated gene pairs in the tails of the map's cosines?"""

from __future__ import annotations

import logging
from typing import Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict

from phenobench.errors import InputError
from phenobench.metrics.intervals import proportion_of_pairs
from phenobench.metrics.relationships import RelationshipRecall, cosine_map, recall_in_map
from phenobench.profiles import Profiles
from phenobench.tasks.outcome import FEW_PAIRS, Check, Inputs, Outcome, Score, consensus

_log = logging.getLogger("phenobench")

# The plain formula of the cross-check holds the n x n matrix.
_MOST_ROWS = 20_000


class Protocol(BaseModel):
    """What a variant of the card may say."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    summary: str
    rows: Literal["genes", "all perturbations"]
    tails: tuple[float, float]
    ties: Literal["expected", "strict"]


def score(profiles: Profiles, protocol: Protocol, inputs: Inputs) -> Outcome:
    """Recall of annotated pairs in both tails of all pairwise cosines, by source (EFAAR).

    A gene's row is the mean over all its treated wells. With "all perturbations" in the map,
    treated wells without a gene add a row a perturbation, which changes the tails.

    Raises:
        InputError: fewer than two genes, or no source has a pair of them.
    """
    features, labels = _map(profiles, protocol)
    cosines = cosine_map(features, labels)
    scores, items, skipped = [], [], dict(inputs.skipped)
    for source, pairs in sorted(inputs.pairs.items()):
        result = recall_in_map(cosines, pairs, tails=protocol.tails, ties=protocol.ties)
        if not result.n_pairs:
            skipped[source] = "no annotated pair has both genes in this screen"
            continue
        scores.append(_score(source, result))
        items.append(_items(source, result, labels))
    if not scores:
        raise InputError(
            "gene-gene has no source to score: " + "; ".join(f"{s}: {why}" for s, why in sorted(skipped.items()))
        )
    zero = int((~features.any(axis=1)).sum())
    warnings = [f"{zero} rows of the map are zero vectors; their cosines count as 0"] if zero else []
    return Outcome(
        scores=tuple(scores),
        items=pd.concat(items, ignore_index=True),
        map_rows=protocol.rows,
        map_n=len(labels),
        skipped=skipped,
        warnings=tuple(warnings),
    )


def cross_check(profiles: Profiles, protocol: Protocol, outcome: Outcome) -> list[Check]:
    """EFAAR's recall by its plain formula: all cosines sorted, a tied block must lie wholly in a tail."""
    features, labels = _map(profiles, protocol)
    cosines = cosine_map(features, labels)
    n = len(labels)
    if n > _MOST_ROWS:
        _log.info("no cross-check of gene-gene: its plain formula holds all pairs of %s rows at once", n)
        return []
    matrix = cosines.units @ cosines.units.T
    null = np.sort(matrix[np.triu_indices(n, k=1)])
    checks = []
    for score in outcome.scores:
        pairs = outcome.items.loc[outcome.items["source"] == score.subset, ["entity1", "entity2"]].to_numpy()
        strict = recall_in_map(cosines, pairs, tails=protocol.tails, ties="strict")
        values = matrix[strict.pairs[:, 0], strict.pairs[:, 1]]
        upto = np.searchsorted(null, values, "right") / len(null)
        below = np.searchsorted(null, values, "left") / len(null)
        theirs = float(np.mean((upto <= protocol.tails[0]) | (below >= protocol.tails[1])))
        checks.append(Check(score.metric, score.subset, "EFAAR's formula", score.value, strict.recall, theirs))
    return checks


def _map(profiles: Profiles, protocol: Protocol) -> tuple[np.ndarray, list[str]]:
    """The rows that are compared: features float64 (n, d) and n names."""
    treated = profiles.select(profiles.treated)
    genes = treated.role("gene")
    if genes.nunique() < 2:
        raise InputError(
            f"gene-gene needs at least 2 genes and there are {genes.nunique()}; name their column, --column gene=NAME"
        )
    names = genes
    if protocol.rows == "all perturbations":
        # The prefix keeps a compound that is named like a gene apart from the gene.
        names = genes.where(genes.notna(), "perturbation " + treated.role("perturbation"))
    return consensus(treated.features, names)


def _score(source: str, result: RelationshipRecall) -> Score:
    low, high = proportion_of_pairs(result.hits, result.pairs)
    return Score(
        metric="recall",
        subset=source,
        value=result.recall,
        chance=result.chance,
        ceiling=result.ceiling,
        ci_low=min(low, result.recall),
        ci_high=max(high, result.recall),
        n=result.n_pairs,
        unit="pairs",
        too_few=result.n_pairs < FEW_PAIRS,
    )


def _items(source: str, result: RelationshipRecall, labels: list[str]) -> pd.DataFrame:
    names = np.array(labels, dtype=object)[result.pairs]
    return pd.DataFrame(
        {"source": source, "entity1": names[:, 0], "entity2": names[:, 1], "cosine": result.cosines, "hit": result.hits}
    )
