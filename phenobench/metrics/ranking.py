"""Average precision of replicate retrieval: tie-aware, blocked, with exact chance."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from typing import Literal

import numpy as np
import pandas as pd

from phenobench.errors import InputError, unknown
from phenobench.metrics.cosines import Cosines
from phenobench.metrics.counting import Counts, Group, count_negatives
from phenobench.metrics.loops.precision import expected_precision
from phenobench.metrics.pair_rules import PairRules, Rule, pair_rules
from phenobench.metrics.positives import Positives, positives
from phenobench.metrics.ties import expected_average_precision, harmonic

Ties = Literal["expected", "optimistic", "pessimistic"]
TIES = ("expected", "optimistic", "pessimistic")
Similarity = Literal["cosine", "abs_cosine"]
SIMILARITIES = ("cosine", "abs_cosine")

# Positive pairs held at a time.
_MOST_PAIRS = 2**22
# With fewer pairs the CPU is done in about the time that torch and a GPU take to be ready.
_WORTH_A_GPU = 2**32

_Counter = Callable[[Sequence[Group]], list[Counts]]


def average_precision(
    features: np.ndarray,
    metadata: pd.DataFrame,
    *,
    pos_sameby: Rule,
    pos_diffby: Rule,
    neg_sameby: Rule,
    neg_diffby: Rule,
    ties: Ties = "expected",
    similarity: Similarity = "cosine",
    device: str = "cpu",
) -> pd.DataFrame:
    """Average precision of each row as a query, ranking its positives among its negatives by cosine.

    A positive is equal in every ``pos_sameby`` and different in every ``pos_diffby`` column; a
    negative likewise; a missing value equals nothing. A rule may also be {"all": [...], "any": [...]}:
    the pair then agrees (or differs) in one at least of the second columns too. A row is never its own candidate, and a
    positive is never a negative. With a multi-label column (cells are lists) in ``pos_sameby`` each label is a
    query of its own, and rows differ in it when they share no label (copairs' rules).

    ``ties="expected"`` is the exact expectation over random orders of tied candidates,
    "optimistic" puts positives first (copairs 0.5.5), "pessimistic" last. A zero vector has no
    cosine: its similarities take the worst rank, tied with each other.

    Args:
        features: (n, d) finite.
        metadata: n rows with the columns that the rules name.
        pos_sameby: columns in which positives are equal.
        pos_diffby: columns in which positives differ.
        neg_sameby: columns in which negatives are equal.
        neg_diffby: columns in which negatives differ.
        ties: how tied candidates are ordered.
        similarity: "abs_cosine" takes opposite profiles for as alike as equal ones.
        device: where negatives are counted, "cuda" or "cuda:1" for a GPU; the scores are the same to the last bit.
            "auto" takes a GPU for billions of pairs, if there is one; "mps", which has no float64, is the CPU here.

    In "any" of ``pos_sameby`` a multi-label column makes no queries of its labels: one shared label is agreement.

    Returns:
        One row an input row, in input order (multi-label: one a row and label, with a ``label``
        column and the row's index): ``average_precision``, ``n_pos_pairs``, ``n_total_pairs``,
        ``expected`` (exact chance) and ``normalized`` = (AP - expected) / (1 - expected); NaN
        for a row without positives or without negatives.

    Raises:
        InputError: an unknown column, tie rule or similarity, features that do not fit the metadata, or a device
            that is not here.
    """
    if ties not in TIES:
        raise unknown("tie rule", ties, TIES)
    if similarity not in SIMILARITIES:
        raise unknown("similarity", similarity, SIMILARITIES)
    if len(features) != len(metadata):
        raise InputError(f"{len(features)} rows of features for {len(metadata)} rows of metadata; give one each")
    rules = pair_rules(metadata, pos_sameby, pos_diffby, neg_sameby, neg_diffby)
    cosines = Cosines.of(features, absolute=similarity == "abs_cosine")
    count = _counter(cosines, rules, device)
    query, label = rules.queries()
    n_positive = np.zeros(len(query), dtype=np.int64)
    n_negative = np.zeros(len(query), dtype=np.int64)
    precision = np.full(len(query), np.nan)
    numbers = harmonic(len(metadata))
    for some in _shares(rules, query):
        pairs = positives(cosines, rules, query[some], None if label is None else label[some])
        counts = _counts(count, rules, query[some], pairs)
        n_positive[some] = np.diff(pairs.start)
        n_negative[some] = counts.negatives
        precision[some] = _precision(pairs, counts, ties, numbers)
    precision[(n_positive == 0) | (n_negative == 0)] = np.nan
    expected = expected_average_precision(n_positive, n_positive + n_negative)
    table = {
        "average_precision": precision,
        "n_pos_pairs": n_positive,
        "n_total_pairs": n_positive + n_negative,
        "expected": expected,
        "normalized": (precision - expected) / (1.0 - expected),
    }
    if label is not None and rules.multi is not None:
        table = {"label": np.asarray(rules.multi.names, dtype=object)[label], **table}
    return pd.DataFrame(table, index=metadata.index[query])


def _shares(rules: PairRules, query: np.ndarray) -> Iterator[np.ndarray]:
    """Queries in shares of a bounded number of positive pairs, those with the same candidates next to each other."""
    order = np.argsort(rules.negative_codes[query], kind="stable")
    cost = rules.most_positives(query)[order]
    share = np.cumsum(cost) // _MOST_PAIRS
    return (part for part in np.split(order, np.flatnonzero(np.diff(share)) + 1) if len(part))


def _counter(cosines: Cosines, rules: PairRules, device: str) -> _Counter:
    """What counts negatives, on the CPU or a GPU; torch is loaded only where it may be a GPU."""
    if device != "cpu" and (device != "auto" or _n_pairs(rules) >= _WORTH_A_GPU):
        from phenobench.metrics.device_counting import DeviceCounting, gpu

        found = gpu(device)
        if found is not None:
            return DeviceCounting(cosines, rules, found).count
    return partial(count_negatives, cosines, rules)


def _n_pairs(rules: PairRules) -> int:
    _, size = np.unique(rules.negative_codes, return_counts=True)
    return int(np.square(size).sum())


def _counts(count: _Counter, rules: PairRules, rows: np.ndarray, pairs: Positives) -> Counts:
    """Negatives of queries that are in order of their candidates."""
    codes = rules.negative_codes[rows]
    bounds = [0, *(np.flatnonzero(np.diff(codes)) + 1).tolist(), len(rows)]
    members = np.argsort(rules.negative_codes, kind="stable")
    of_code = rules.negative_codes[members]
    groups = []
    for first, last in pairwise(bounds):
        here = slice(*np.searchsorted(of_code, [codes[first], codes[first] + 1]).tolist())
        groups.append(Group(rows[first:last], pairs.of(first, last), members[here]))
    found = count(groups)
    return Counts(
        np.concatenate([part.greater for part in found]),
        np.concatenate([part.equal for part in found]),
        np.concatenate([part.negatives for part in found]),
    )


def _precision(pairs: Positives, counts: Counts, ties: Ties, numbers: np.ndarray) -> np.ndarray:
    """Average precision of each query (q,) from its positives' counts of negatives."""
    n_positive = np.diff(pairs.start)
    precision = np.full(len(n_positive), np.nan)
    if ties == "expected":
        expected_precision(pairs.start, pairs.level, counts.greater, counts.equal, numbers, precision)
        return precision
    place = np.arange(len(pairs.query)) - pairs.start[pairs.query] + 1
    rank = place + counts.greater + (counts.equal if ties == "pessimistic" else 0)
    summed = np.bincount(pairs.query, weights=place / rank, minlength=len(n_positive))
    return np.divide(summed, n_positive, out=precision, where=n_positive > 0)
