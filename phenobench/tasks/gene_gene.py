"""Gene-gene relationships: are annotated gene pairs in the tails of the map's cosines, and how far up?"""

from __future__ import annotations

import logging
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from phenobench.errors import InputError
from phenobench.metrics.influence import most_influential_group
from phenobench.metrics.intervals import proportion_of_pairs
from phenobench.metrics.pair_precision import PairPrecision, pair_average_precision
from phenobench.metrics.relationships import (
    CosineMap,
    LocatedPairs,
    RelationshipRecall,
    cosine_map,
    locate,
    recall_in_map,
)
from phenobench.metrics.similarity import LEVELS
from phenobench.metrics.tails import Edge, edge_of_tails
from phenobench.profiles import Profiles
from phenobench.tasks.arms import NOT_CORRECTED, Arms, centred_by_arm
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
    widths: tuple[Annotated[float, Field(gt=0, le=0.5)], ...] = ()
    arms: Arms | None = None

    @model_serializer(mode="wrap")
    def _as_it_was(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without a table of arms there is no line about one, as in results that are older than it."""
        return {name: value for name, value in handler(self).items() if name != "arms" or value is not None}


def score(profiles: Profiles, protocol: Protocol, inputs: Inputs) -> Outcome:
    """Recall of annotated pairs in both tails of all pairwise cosines, by source (EFAAR).

    A gene's row is the mean over all its treated wells. With "all perturbations" in the map,
    treated wells without a gene add a row a perturbation, which changes the tails. Secondary: the
    recall in tails of other ``widths``, and the average precision of annotated pairs among all
    pairs of the map, the most alike first, since recall ignores order and sign. A variant with
    ``arms`` corrects for chromosome arms first.

    Raises:
        InputError: fewer than two genes, no source has a pair of them, or the table of arms is of no use.
    """
    features, labels, about_arms = _map(profiles, protocol)
    cosines = cosine_map(features, labels)
    scores, secondary, items, skipped = [], [], [], dict(inputs.skipped)
    warnings = []
    for source, pairs in sorted(inputs.pairs.items()):
        found = locate(cosines, pairs)
        result = recall_in_map(cosines, found, tails=protocol.tails, ties=protocol.ties)
        if not result.n_pairs:
            skipped[source] = "no annotated pair has both genes in this screen"
            continue
        scores.append(_score("recall", source, result, _edge(cosines, found, result, protocol.tails)))
        for width in protocol.widths:
            tails = (width, 1 - width)
            other = recall_in_map(cosines, found, tails=tails, ties=protocol.ties)
            edge = _edge(cosines, found, other, tails)
            secondary.append(_score(f"recall {100 * width:g} %", source, other, edge))
        precision = pair_average_precision(cosines, found)
        secondary.append(_precision(source, precision, result.n_pairs))
        items.append(_items(source, result, labels).assign(precision=precision.precision))
        warnings += _carried(source, result, labels)
    if not scores:
        raise InputError(
            "gene-gene has no source to score: " + "; ".join(f"{s}: {why}" for s, why in sorted(skipped.items()))
        )
    zero = int((~features.any(axis=1)).sum())
    if zero:
        warnings.append(f"{zero} rows of the map are zero vectors; their cosines count as 0")
    table = pd.concat(items, ignore_index=True)
    # Written with the table: how all cosines lie, for the figure of annotated pairs beside all.
    edges = np.linspace(-LEVELS, LEVELS + 1, 41).round().astype(np.int64)
    table.attrs["cosines"] = np.diff(cosines.below_level(edges)).tolist()
    return Outcome(
        scores=tuple(scores),
        items=table,
        map_rows=protocol.rows,
        map_n=len(labels),
        secondary=tuple(secondary),
        skipped=skipped,
        warnings=(*warnings, about_arms),
    )


def cross_check(profiles: Profiles, protocol: Protocol, outcome: Outcome) -> list[Check]:
    """EFAAR's recall by its plain formula: all cosines sorted, a tied block must lie wholly in a tail."""
    features, labels, _ = _map(profiles, protocol)
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


def _map(profiles: Profiles, protocol: Protocol) -> tuple[np.ndarray, list[str], str]:
    """The rows that are compared: features float64 (n, d), n names, and a sentence about chromosome arms."""
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
    features, labels = consensus(treated.features, names)
    if protocol.arms is None:
        return features, labels, NOT_CORRECTED
    centred, done = centred_by_arm(features, labels, protocol.arms)
    return centred, labels, done


def _edge(cosines: CosineMap, found: LocatedPairs, result: RelationshipRecall, tails: tuple[float, float]) -> Edge:
    return edge_of_tails(found.below, found.upto, cosines.n_pairs, tails, float(result.hits.sum()))


def _score(metric: str, source: str, result: RelationshipRecall, edge: Edge) -> Score:
    low, high = proportion_of_pairs(result.hits, result.pairs, edge)
    return Score(
        metric=metric,
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


def _precision(source: str, precision: PairPrecision, n_pairs: int) -> Score:
    return Score(
        metric="pair AP",
        subset=source,
        value=precision.value,
        chance=precision.chance,
        ceiling=1.0,
        ci_low=precision.interval[0],
        ci_high=precision.interval[1],
        n=n_pairs,
        unit="pairs",
        too_few=n_pairs < FEW_PAIRS,
    )


def _carried(source: str, result: RelationshipRecall, labels: list[str]) -> list[str]:
    """A line where the score is above chance and half of what it is above comes from one gene's group."""
    found = most_influential_group(result.hits, result.pairs)
    above = result.recall - result.chance
    if not above > 0 or not found.share_without - result.chance < above / 2:
        return []
    hub = labels[found.hub].removeprefix("perturbation ")
    partners = len(found.genes) - 1
    pairs = f"the {found.n_pairs} pairs" if found.n_pairs > 1 else "the one pair"
    line = (
        f"{source}: recall is {result.recall:.3f}, and {found.share_without:.3f} without {pairs} "
        f"among {hub} and its {partners} annotated partner{'s' * (partners > 1)}, one group that carries the score"
    )
    return [line]


def _items(source: str, result: RelationshipRecall, labels: list[str]) -> pd.DataFrame:
    names = np.array(labels, dtype=object)[result.pairs]
    return pd.DataFrame(
        {"source": source, "entity1": names[:, 0], "entity2": names[:, 1], "cosine": result.cosines, "hit": result.hits}
    )
