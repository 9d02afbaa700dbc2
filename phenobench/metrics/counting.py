"""How many negatives of a query are above and at each of its positives: in tiles, and the same whatever their shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock

import numpy as np

from phenobench.metrics.cosines import Cosines
from phenobench.metrics.loops import tiles
from phenobench.metrics.pair_rules import PairRules
from phenobench.metrics.positives import Positives
from phenobench.metrics.threads import in_threads

# Queries, and candidates, of a tile of similarities; a core's cache holds about one (float32: 1 MiB).
_TILE = 512
# A tile is as much wider than a query's positives are many, so that looking these up costs less than the product.
_CELLS_A_POSITIVE = 16
# From this share of open similarities on, a product in float64 is faster than they are one by one.
_MOST_OPEN = 1 / 16


@dataclass(frozen=True, eq=False)
class Group:
    """Queries that share their candidates.

    Attributes:
        rows: of the queries (q,).
        pairs: their positives.
        candidates: ascending rows (c,).
    """

    rows: np.ndarray
    pairs: Positives
    candidates: np.ndarray


@dataclass(frozen=True, eq=False)
class Counts:
    """Negatives above and at the level of positive pairs, int64 (m,), and of each query in all, int64 (q,)."""

    greater: np.ndarray
    equal: np.ndarray
    negatives: np.ndarray


def count_negatives(cosines: Cosines, rules: PairRules, groups: Sequence[Group]) -> list[Counts]:
    """Counts of each group.

    Tile by tile, similarities are sorted and the positives looked up in them. Where a group's queries
    are its candidates, too, a tile is looked up from both sides, and half of the products are enough.
    """
    countings = [_Counting(cosines, rules, group) for group in groups]
    tasks = [(counting, top) for counting in countings for top in range(0, len(counting.rows), counting.height)]
    most = max((counting.height * counting.width for counting in countings), default=0)
    # Memory that is touched for the first time costs more than a sort, so a thread's goes from task to task.
    kept: list[np.ndarray] = []

    def count(task: tuple[_Counting, int]) -> None:
        try:
            room = kept.pop()
        except IndexError:
            room = np.empty((3, most), dtype=np.float32)
        task[0].count(task[1], room)
        kept.append(room)

    in_threads(count, tasks)
    return [Counts(counting.greater, counting.equal, counting.negatives) for counting in countings]


class _Counting:
    """Counts so far of one group; its tasks may run at once."""

    def __init__(self, cosines: Cosines, rules: PairRules, group: Group) -> None:
        self.cosines, self.rules, self.rows, self.pairs = cosines, rules, group.rows, group.pairs
        most = int(np.diff(self.pairs.start).max(initial=0))
        wide = max(_TILE, _CELLS_A_POSITIVE * most)
        self.mutual = wide < len(self.rows) and np.array_equal(np.sort(self.rows), group.candidates)
        self.candidates = self.rows if self.mutual else group.candidates
        # Tiles of about one width: the last one of several is not a narrow rest.
        self.width = -(-len(self.candidates) // -(-len(self.candidates) // wide))
        self.height = self.width if self.mutual else max(1, _TILE**2 // self.width)
        # Where a candidate of ascending rows is among these.
        order = np.argsort(self.candidates, kind="stable")
        self.overlap = None if rules.positives_differ else overlap(group, order)
        self.greater, self.equal = np.zeros((2, len(self.pairs.query)), dtype=np.int64)
        self.negatives = np.full(len(self.rows), len(self.candidates))
        self.estimating = True
        self.adding = Lock()

    def count(self, top: int, room: np.ndarray) -> None:
        """Count for some queries from the first on; if mutual, only candidates from there on, but for these as well.

        Args:
            top: number of the first query.
            room: for three tiles, float32 (3, cells), overwritten.
        """
        queries = slice(top, min(top + self.height, len(self.rows)))
        tile, turned, ranked = room
        for left in range(top if self.mutual else 0, len(self.candidates), self.width):
            places = slice(left, min(left + self.width, len(self.candidates)))
            exact = not self.estimating
            rows, others = self.rows[queries], self.candidates[places]
            if exact:
                block = self.cosines.levels(rows, others)
            else:
                block, buffer = (cells[: len(rows) * len(others)].reshape(len(rows), -1) for cells in (tile, ranked))
                self.cosines.estimates(rows, others, block, buffer)
            if self.mutual and left > top:
                other_block = turned[: block.size].reshape(block.T.shape)
                tiles.transpose(block, other_block)
                self._look_up(places, queries, other_block, ranked, exact)
            self._look_up(queries, places, block, ranked, exact)

    def _look_up(self, queries: slice, places: slice, block: np.ndarray, ranked: np.ndarray, exact: bool) -> None:
        """Count candidates in a block (q, c) of levels, or of estimates; it is used up, and so is room for as much."""
        rows, others = self.rows[queries], self.candidates[places]
        start = self.pairs.start[queries.start : queries.stop + 1]
        mine = slice(int(start[0]), int(start[-1]))
        start, level = start - start[0], self.pairs.level[mine]
        barred = self._bar(block, queries, places)
        greater, equal = np.zeros((2, len(level)), dtype=np.int64)
        if not exact:
            most_open = int(_MOST_OPEN * block.size)
            ranked = ranked[: block.size].reshape(block.shape)
            np.copyto(ranked, block)
            ranked.sort(axis=1)
            exact = not tiles.count_by_estimates(
                block, ranked, self.cosines.margin, self.cosines.units, rows, others,
                self.cosines.absolute, start, level, most_open, greater, equal,
            )  # fmt: skip
            if exact:
                self.estimating = False
                greater[:], equal[:] = 0, 0
                block = self.cosines.levels(rows, others)
                self._bar(block, queries, places)
        if exact:
            block.sort(axis=1)
            tiles.count_by_levels(block, start, level, greater, equal)
        with self.adding:
            self.greater[mine] += greater
            self.equal[mine] += equal
            self.negatives[queries] -= barred

    def _bar(self, block: np.ndarray, queries: slice, places: slice) -> np.ndarray:
        """Put minus infinity for candidates that are no negatives; how many, int64 (q,)."""
        rows, others = self.rows[queries], self.candidates[places]
        barred = self.rules.no_negatives(rows, others)
        if self.overlap is not None:
            query, place = self.overlap
            here = slice(*query.searchsorted([queries.start, queries.stop]).tolist())
            line, column = query[here] - queries.start, place[here] - places.start
            inside = (column >= 0) & (column < len(others))
            barred = np.zeros(block.shape, dtype=bool) if barred is None else barred
            barred[line[inside], column[inside]] = True
        found = np.zeros(len(rows), dtype=np.int64)
        if barred is not None:
            np.copyto(block, -np.inf, where=barred)
            found += np.count_nonzero(barred, axis=1)
        for codes in self.rules.unlike_codes:
            tiles.bar_alike(block, codes[rows], codes[others], found)
        return found


def overlap(group: Group, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positives among the candidates, and the query itself: (query's number, ascending; place among the candidates)."""
    query = np.concatenate([group.pairs.query, np.arange(len(group.rows))])
    other = np.concatenate([group.pairs.other, group.rows])
    candidates = group.candidates
    place = np.minimum(candidates.searchsorted(other), len(candidates) - 1)
    found = np.flatnonzero(candidates[place] == other)
    found = found[np.argsort(query[found], kind="stable")]
    return query[found], places[place[found]]
