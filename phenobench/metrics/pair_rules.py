"""The rules of a protocol, in copairs' vocabulary: each query's positives, and which candidates are no negatives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import pandas as pd

from phenobench.errors import InputError, unknown
from phenobench.metrics.pairing import Labels, differ, encode, group_codes, pairs_differ

# Columns that all have to agree (or differ), or {"all": [...], "any": [...]} where one of the second is enough.
Rule = Sequence[str] | Mapping[Literal["all", "any"], Sequence[str]]


@dataclass(frozen=True)
class PairRules:
    """The columns of a protocol, those that all count and those of which any is enough; at most one is multi-label."""

    n: int
    pos_sameby: list[Labels]
    pos_diffby: list[Labels]
    neg_sameby: list[Labels]
    neg_diffby: list[Labels]
    any_pos_sameby: list[Labels]
    any_pos_diffby: list[Labels]
    any_neg_sameby: list[Labels]
    any_neg_diffby: list[Labels]
    multi: Labels | None

    @property
    def by_label(self) -> bool:
        """Whether queries are row-label pairs."""
        return self.multi is not None and self.multi in self.pos_sameby

    @property
    def by_group(self) -> bool:
        """Whether the positives of a query are its group's, in the codes of ``positive_codes``, but for some."""
        return not self.by_label and (bool(self.pos_sameby) or not self.any_pos_sameby)

    @cached_property
    def positive_codes(self) -> np.ndarray:
        """Rows that agree in every single-label column of ``pos_sameby`` share a code, int64 (n,)."""
        return group_codes([column for column in self.pos_sameby if column.sets is None], self.n)

    @cached_property
    def negative_codes(self) -> np.ndarray:
        """Rows that agree in every single-label column of ``neg_sameby`` share a code, int64 (n,)."""
        return group_codes([column for column in self.neg_sameby if column.sets is None], self.n)

    def queries(self) -> tuple[np.ndarray, np.ndarray | None]:
        """The row of each query, and its label where queries are row-label pairs."""
        if self.multi is None or self.multi.sets is None or not self.by_label:
            return np.arange(self.n), None
        query, label = np.nonzero(self.multi.sets)
        return query, label

    def most_positives(self, rows: np.ndarray) -> np.ndarray:
        """How many pairs are looked at to find the positives of queries that are in the rows (q,), int64 (q,)."""
        if not self.by_group:
            return np.full(len(rows), self.n)
        _, group, size = np.unique(self.positive_codes, return_inverse=True, return_counts=True)
        return np.asarray(size[group[rows]])

    def kept(self, rows: np.ndarray, others: np.ndarray) -> np.ndarray:
        """Of pairs (m,) that agree in all of ``pos_sameby``, those that are positive by the other rules, too."""
        keep = rows != others
        for column in self.pos_diffby:
            keep &= pairs_differ(column, rows, others)
        if self.any_pos_sameby and self.pos_sameby:
            keep &= ~np.all([pairs_differ(column, rows, others) for column in self.any_pos_sameby], axis=0)
        if self.any_pos_diffby:
            keep &= np.any([pairs_differ(column, rows, others) for column in self.any_pos_diffby], axis=0)
        return keep

    def irregular_pairs(self, rows: np.ndarray, label: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """(query's position, other row) of pairs that agree in ``pos_sameby``, where that is not ``by_group``."""
        if label is not None and self.multi is not None and self.multi.sets is not None:
            first, other = np.nonzero(self.multi.sets.T[label])
            same = self.positive_codes[rows[first]] == self.positive_codes[other]
            return first[same], other[same]
        first, other = np.nonzero(~_all_differ(self.any_pos_sameby, rows, np.arange(self.n)))
        return first, other

    @cached_property
    def positives_differ(self) -> bool:
        """Whether no positive, nor the query itself, can be a negative: what positives share, negatives do not."""
        return any(column in self.pos_sameby for column in self.neg_diffby if column.sets is None)

    @cached_property
    def unlike_codes(self) -> list[np.ndarray]:
        """Of each single-label column of ``neg_diffby``, in none of which a negative agrees, int32 (n,)."""
        return [column.codes.astype(np.int32) for column in self.neg_diffby if column.sets is None]

    def no_negatives(self, rows: np.ndarray, candidates: np.ndarray) -> np.ndarray | None:
        """Whether candidates that single-label columns allow are no negatives, boolean (r, c); None if they all are."""
        several = [column for column in (*self.neg_sameby, *self.neg_diffby) if column.sets is not None]
        if not (several or self.any_neg_sameby or self.any_neg_diffby):
            return None
        barred = np.zeros((len(rows), len(candidates)), dtype=bool)
        for column in several:
            unlike = differ(column, rows, candidates)
            barred |= unlike if column in self.neg_sameby else ~unlike
        if self.any_neg_sameby:
            barred |= _all_differ(self.any_neg_sameby, rows, candidates)
        if self.any_neg_diffby:
            barred |= ~np.any([differ(column, rows, candidates) for column in self.any_neg_diffby], axis=0)
        return barred


def pair_rules(
    metadata: pd.DataFrame, pos_sameby: Rule, pos_diffby: Rule, neg_sameby: Rule, neg_diffby: Rule
) -> PairRules:
    """The rules with the columns they name, as codes.

    Raises:
        InputError: an unknown column, a rule with other keys, or two multi-label columns.
    """
    rules = (pos_sameby, pos_diffby, neg_sameby, neg_diffby)
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
    return PairRules(len(metadata), pos_same, pos_diff, neg_same, neg_diff, some[0], some[1], some[2], some[3], found)


def _all_differ(columns: list[Labels], rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    return np.all([differ(column, rows, others) for column in columns], axis=0)
