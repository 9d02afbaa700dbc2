"""Average precision of replicate retrieval: tie-aware, blocked, with exact chance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from phenobench.errors import InputError, unknown
from phenobench.metrics.pairing import Labels, differ, encode, group_codes
from phenobench.metrics.similarity import UNDEFINED, levels, unit_rows
from phenobench.metrics.ties import expected_average_precision, harmonic, precision_in_block

Ties = Literal["expected", "optimistic", "pessimistic"]
TIES = ("expected", "optimistic", "pessimistic")
Similarity = Literal["cosine", "abs_cosine"]
SIMILARITIES = ("cosine", "abs_cosine")
# Columns that all have to agree (or differ), or {"all": [...], "any": [...]} where one of the second is enough.
Rule = Sequence[str] | Mapping[Literal["all", "any"], Sequence[str]]

# Cells of the similarity block held at a time: 2**23 in float64 are 64 MiB.
_BLOCK_CELLS = 2**23


@dataclass(frozen=True)
class _Rules:
    """The columns of a protocol, those that all count and those of which any is enough; at most one is multi-label."""

    pos_sameby: list[Labels]
    pos_diffby: list[Labels]
    neg_sameby: list[Labels]
    neg_diffby: list[Labels]
    any_pos_sameby: list[Labels]
    any_pos_diffby: list[Labels]
    any_neg_sameby: list[Labels]
    any_neg_diffby: list[Labels]
    multi: Labels | None


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

    In "any" of ``pos_sameby`` a multi-label column makes no queries of its labels: one shared label is agreement.

    Returns:
        One row an input row, in input order (multi-label: one a row and label, with a ``label``
        column and the row's index): ``average_precision``, ``n_pos_pairs``, ``n_total_pairs``,
        ``expected`` (exact chance) and ``normalized`` = (AP - expected) / (1 - expected); NaN
        for a row without positives or without negatives.

    Raises:
        InputError: an unknown column, tie rule or similarity, or features that do not fit the metadata.
    """
    if ties not in TIES:
        raise unknown("tie rule", ties, TIES)
    if similarity not in SIMILARITIES:
        raise unknown("similarity", similarity, SIMILARITIES)
    absolute = similarity == "abs_cosine"
    units = unit_rows(features)
    if len(units) != len(metadata):
        raise InputError(f"{len(units)} rows of features for {len(metadata)} rows of metadata; give one each")
    rules = _rules(metadata, pos_sameby, pos_diffby, neg_sameby, neg_diffby)
    query, label = _queries(rules, len(metadata))
    n_positive = np.zeros(len(query), dtype=np.int64)
    n_negative = np.zeros(len(query), dtype=np.int64)
    precision = np.full(len(query), np.nan)
    numbers = harmonic(len(metadata))
    negative_codes = group_codes([c for c in rules.neg_sameby if c.sets is None], len(metadata))
    for block, candidates in _blocks(query, negative_codes):
        rows = query[block]
        own = None if label is None else label[block]
        pair_query, pair_other, pair_level = _positives(units, rules, rows, own, absolute)
        ranked, count = _negatives(units, rules, rows, candidates, pair_query, pair_other, absolute)
        n_positive[block] = np.bincount(pair_query, minlength=len(rows))
        n_negative[block] = count
        greater, equal = _counts(ranked, pair_query, pair_level)
        precision[block] = _precision(pair_query, pair_level, greater, equal, len(rows), ties, numbers)
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


def _rules(metadata: pd.DataFrame, *rules: Rule) -> _Rules:
    split = [rule if isinstance(rule, Mapping) else {"all": rule} for rule in rules]
    for rule in split:
        if not set(rule) <= {"all", "any"} or len(rule.get("any", ())) == 1:
            raise InputError(f"the rule {dict(rule)} is not understood; give 'all', and 'any' with two columns or more")
    columns = [rule.get(key, ()) for key in ("all", "any") for rule in split]
    wanted = list(dict.fromkeys(name for names in columns for name in names))
    for name in wanted:
        if name not in metadata:
            raise unknown("column", name, map(str, metadata.columns))
    encoded = {name: encode(metadata[name]) for name in wanted}
    multi = [name for name in wanted if encoded[name].sets is not None]
    if len(multi) > 1:
        raise InputError(
            f"columns {', '.join(multi)} all hold lists of labels; only one multi-label column is supported"
        )
    pos_same, pos_diff, neg_same, neg_diff, *some = ([encoded[name] for name in names] for names in columns)
    found = encoded[multi[0]] if multi else None
    return _Rules(pos_same, pos_diff, neg_same, neg_diff, some[0], some[1], some[2], some[3], found)


def _queries(rules: _Rules, n: int) -> tuple[np.ndarray, np.ndarray | None]:
    """The row of each query, and its label where queries are row-label pairs."""
    if rules.multi is None or rules.multi.sets is None or rules.multi not in rules.pos_sameby:
        return np.arange(n), None
    query, label = np.nonzero(rules.multi.sets)
    return query, label


def _blocks(query: np.ndarray, codes: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Queries that share their negative candidates, in blocks of bounded size, with those candidates."""
    order = np.argsort(codes[query], kind="stable")
    members = np.argsort(codes, kind="stable")
    sorted_codes = codes[members]
    boundaries = np.flatnonzero(np.diff(codes[query][order])) + 1
    for group in np.split(order, boundaries):
        if not len(group):
            continue
        code = codes[query[group[0]]]
        first, last = np.searchsorted(sorted_codes, code, "left"), np.searchsorted(sorted_codes, code, "right")
        candidates = np.sort(members[first:last])
        step = max(1, _BLOCK_CELLS // max(1, len(candidates)))
        for start in range(0, len(group), step):
            yield group[start : start + step], candidates


def _positives(
    units: np.ndarray, rules: _Rules, rows: np.ndarray, label: np.ndarray | None, absolute: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All (query, positive) pairs of a block: the query's position in it, the positive's row, and the pair's level."""
    if label is not None and rules.multi is not None and rules.multi.sets is not None:
        first, other = np.nonzero(rules.multi.sets.T[label])
        single = [column for column in rules.pos_sameby if column.sets is None]
        codes = group_codes(single, len(units))
        same = codes[rows[first]] == codes[other]
        first, other = first[same], other[same]
    elif rules.any_pos_sameby and not rules.pos_sameby:
        first, other = np.nonzero(~_all_differ(rules.any_pos_sameby, rows, np.arange(len(units))))
    else:
        codes = group_codes(rules.pos_sameby, len(units))
        order = np.argsort(codes, kind="stable")
        start = np.searchsorted(codes[order], codes[rows], "left")
        size = np.searchsorted(codes[order], codes[rows], "right") - start
        first = np.repeat(np.arange(len(rows)), size)
        within = np.arange(size.sum()) - np.repeat(np.cumsum(size) - size, size)
        other = order[np.repeat(start, size) + within]
    keep = rows[first] != other
    for column in rules.pos_diffby:
        keep &= _pairs_differ(column, rows[first], other)
    if rules.any_pos_sameby and rules.pos_sameby:
        keep &= ~np.all([_pairs_differ(column, rows[first], other) for column in rules.any_pos_sameby], axis=0)
    if rules.any_pos_diffby:
        keep &= np.any([_pairs_differ(column, rows[first], other) for column in rules.any_pos_diffby], axis=0)
    first, other = first[keep], other[keep]
    level = np.empty(len(first), dtype=np.float32)
    step = max(1, _BLOCK_CELLS // max(1, units.shape[1]))
    for begin in range(0, len(first), step):
        part = slice(begin, begin + step)
        a, b = units[rows[first[part]]], units[other[part]]
        cosine = np.einsum("ij,ij->i", a, b)
        defined = a.any(axis=1) & b.any(axis=1)
        level[part] = np.where(defined, levels(np.abs(cosine) if absolute else cosine), UNDEFINED)
    return first, other, level


def _all_differ(columns: list[Labels], rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    return np.all([differ(column, rows, others) for column in columns], axis=0)


def _pairs_differ(column: Labels, rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    if column.sets is not None:
        return ~(column.sets[rows] & column.sets[others]).any(axis=1)
    return column.codes[rows] != column.codes[others]


def _negatives(
    units: np.ndarray,
    rules: _Rules,
    rows: np.ndarray,
    candidates: np.ndarray,
    positive_of: np.ndarray,
    positive: np.ndarray,
    absolute: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """Levels of each query's negatives in ascending order (r, c), others as -inf in front, and their number."""
    ranked = levels(units[rows] @ units[candidates].T)
    if absolute:
        np.abs(ranked, out=ranked)
    ranked[:, ~units[candidates].any(axis=1)] = UNDEFINED
    ranked[~units[rows].any(axis=1)] = UNDEFINED
    negative = rows[:, None] != candidates[None, :]
    for column in rules.neg_sameby:
        if column.sets is not None:
            negative &= ~differ(column, rows, candidates)
    for column in rules.neg_diffby:
        negative &= differ(column, rows, candidates)
    if rules.any_neg_sameby:
        negative &= ~_all_differ(rules.any_neg_sameby, rows, candidates)
    if rules.any_neg_diffby:
        negative &= np.any([differ(column, rows, candidates) for column in rules.any_neg_diffby], axis=0)
    # Rules such as pos_sameby=["a"], neg_diffby=["b"] let a pair be both; it then counts as positive only.
    place = np.minimum(candidates.searchsorted(positive), len(candidates) - 1)
    both = candidates[place] == positive
    negative[positive_of[both], place[both]] = False
    ranked[~negative] = -np.inf
    ranked.sort(axis=1)
    return ranked, negative.sum(axis=1)


def _counts(ranked: np.ndarray, query: np.ndarray, level: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each positive pair, the query's negatives with a greater and with an equal level."""
    below, upto = np.empty(len(query), dtype=np.int64), np.empty(len(query), dtype=np.int64)
    ends = np.cumsum(np.bincount(query, minlength=len(ranked)))
    for row, (start, end) in enumerate(zip(ends - np.diff(ends, prepend=0), ends, strict=True)):
        below[start:end] = ranked[row].searchsorted(level[start:end], "left")
        upto[start:end] = ranked[row].searchsorted(level[start:end], "right")
    return ranked.shape[1] - upto, upto - below


def _precision(
    query: np.ndarray,
    level: np.ndarray,
    greater: np.ndarray,
    equal: np.ndarray,
    n_queries: int,
    ties: Ties,
    numbers: np.ndarray,
) -> np.ndarray:
    """Average precision of each query (n_queries,) from its positives' counts of negatives."""
    order = np.lexsort((-level, query))
    query, level, greater, equal = query[order], level[order], greater[order], equal[order]
    n_positive = np.bincount(query, minlength=n_queries)
    place = np.arange(len(query)) - (np.cumsum(n_positive) - n_positive)[query]
    if ties == "expected":
        start = np.flatnonzero(np.diff(query, prepend=-1).astype(bool) | np.diff(level, prepend=np.inf).astype(bool))
        size = np.diff(start, append=len(query))
        total = precision_in_block(size, equal[start], place[start], place[start] + greater[start], numbers)
        summed = np.bincount(query[start], weights=total, minlength=n_queries)
    else:
        rank = place + 1 + greater + (equal if ties == "pessimistic" else 0)
        summed = np.bincount(query, weights=(place + 1) / rank, minlength=n_queries)
    return np.divide(summed, n_positive, out=np.full(n_queries, np.nan), where=n_positive > 0)
