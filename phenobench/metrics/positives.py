"""The positive pairs of queries, with their similarities."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from phenobench.metrics.cosines import Cosines
from phenobench.metrics.pair_rules import PairRules

# Similarities of one group held at a time.
_BLOCK_CELLS = 2**20


@dataclass(frozen=True, eq=False)
class Positives:
    """Positive pairs, by query and in it the most similar first.

    Attributes:
        query: number of the query, int (m,).
        other: row of its positive, int (m,).
        level: level of their similarity, float32 (m,).
        start: first pair of each query, and the number of pairs, int (q + 1,).
    """

    query: np.ndarray
    other: np.ndarray
    level: np.ndarray
    start: np.ndarray

    def of(self, first: int, last: int) -> Positives:
        """The pairs of queries from ``first`` to before ``last``, which are numbered from 0 then."""
        start = self.start[first : last + 1]
        mine = slice(int(start[0]), int(start[-1]))
        return Positives(self.query[mine] - first, self.other[mine], self.level[mine], start - start[0])


def positives(cosines: Cosines, rules: PairRules, rows: np.ndarray, label: np.ndarray | None) -> Positives:
    """The positives of queries, given their rows (q,) and, where queries are row-label pairs, their labels."""
    if rules.by_group:
        query, other, level = _by_group(cosines, rules, rows)
    else:
        query, other = rules.irregular_pairs(rows, label)
        keep = rules.kept(rows[query], other)
        query, other = query[keep], other[keep]
        level = cosines.pair_levels(rows[query], other)
    # One number for query and level is sorted much faster than two.
    order = np.argsort(query * 2**25 - level.astype(np.int64))
    start = np.concatenate([[0], np.cumsum(np.bincount(query, minlength=len(rows)))])
    return Positives(query[order], other[order], level[order], start)


def _by_group(cosines: Cosines, rules: PairRules, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    members = np.argsort(rules.positive_codes, kind="stable")
    codes = rules.positive_codes[members]
    first = np.searchsorted(codes, rules.positive_codes[rows], "left")
    size = np.searchsorted(codes, rules.positive_codes[rows], "right") - first
    end = np.cumsum(size)
    query = np.repeat(np.arange(len(rows)), size)
    place = np.arange(len(query)) - np.repeat(end - size - first, size)
    keep = rules.kept(rows[query], members[place])
    level = np.empty(len(query), dtype=np.float32)
    for group in _alike(first):
        # A group's similarities are one product, and not a gathered pair of rows for each of them.
        here = members[first[group[0]] :][: size[group[0]]]
        if len(here) > 1:
            units = cosines.units[here]
            step = max(1, _BLOCK_CELLS // len(here))
            for begin in range(0, len(group), step):
                part = group[begin : begin + step]
                block = cosines.levels(rows[part], here, units)
                level[(end - size)[part][:, None] + np.arange(len(here))] = block
    return query[keep], members[place[keep]], level[keep]


def _alike(values: np.ndarray) -> Iterator[np.ndarray]:
    """Positions of equal values."""
    order = np.argsort(values, kind="stable")
    bounds = [0, *(np.flatnonzero(np.diff(values[order])) + 1).tolist(), len(order)]
    return (order[start:stop] for start, stop in pairwise(bounds) if stop > start)
