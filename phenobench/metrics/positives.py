"""The positive pairs of queries, with their similarities."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from phenobench.metrics.cosines import Cosines
from phenobench.metrics.loops.pairs import group_pairs
from phenobench.metrics.pair_rules import PairRules


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
    query, other = _by_group(rules, rows) if rules.by_group else rules.irregular_pairs(rows, label)
    keep = rules.kept(rows[query], other)
    if not keep.all():
        query, other = query[keep], other[keep]
    start = np.concatenate([[0], np.cumsum(np.bincount(query, minlength=len(rows)))])
    level = cosines.pair_levels(rows, start, other, np.argsort(rules.positive_codes[rows], kind="stable"))
    return Positives(query, other, level, start)


def _by_group(rules: PairRules, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(query's number, row) of all pairs of two in a group of ``positive_codes``."""
    members = np.argsort(rules.positive_codes, kind="stable")
    codes = rules.positive_codes[members]
    first = np.searchsorted(codes, rules.positive_codes[rows], "left")
    last = np.searchsorted(codes, rules.positive_codes[rows], "right")
    query, other = np.empty((2, int((last - first - 1).sum())), dtype=np.int64)
    group_pairs(rows, members, first, last, query, other)
    return query, other
