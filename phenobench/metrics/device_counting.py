"""``counting`` on a GPU, with the same counts: what its float32 leaves open is decided in float64.

A GPU sorts slowly. So similarities are not ranked: each is looked up among the levels of its query's positives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import torch

from phenobench.metrics.cosines import Cosines
from phenobench.metrics.counting import Counts, Group, overlap
from phenobench.metrics.pair_rules import PairRules
from phenobench.metrics.positives import Positives
from phenobench.metrics.similarity import LEVELS, UNDEFINED, margin
from phenobench.models.device import pick_device

# Queries, and candidates, of a tile; it takes 64 MiB in float32, 128 MiB in float64, and as much for what it finds.
_QUERIES, _CANDIDATES = 2**10, 2**14
# Positives of a tile's queries, with those that fill up; what is kept for one takes less than 200 bytes.
_PAIRS = 2**20
# From this share of open similarities on, a product in float64 is faster than they are one by one on the CPU.
_MOST_OPEN = 1 / 64
# Compute capabilities with half as many units for float64 as for float32, or as many in tensor cores; others have
# a 32nd or less (CUDA C++ Programming Guide, throughput of arithmetic instructions).
_FAST_DOUBLES = {(6, 0), (7, 0), (8, 0), (9, 0), (10, 0)}
# Levels of one query, as keys, are less than this apart.
_QUERY = 2**25


def gpu(name: str) -> torch.device | None:
    """The CUDA device of a name; None for the CPU, and for MPS, which has no float64.

    Raises:
        InputError: no such device here.
    """
    device = pick_device(name)
    return device if device.type == "cuda" else None


class DeviceCounting:
    """Counts of groups on one device.

    It holds each value of the features there in 4 bytes, in 8 or, where it needs both kinds of products, in 12, and
    less than 1 GiB besides.
    """

    def __init__(self, cosines: Cosines, rules: PairRules, device: torch.device) -> None:
        self.cosines, self.rules, self.device = cosines, rules, device
        self.undefined = self.there(cosines.undefined) if cosines.undefined.any() else None
        self.unlike = [self.there(codes) for codes in rules.unlike_codes]
        # A GPU may sum all of a row's products in any order.
        self.margin = float(margin(cosines.units.shape[1], piece=cosines.units.shape[1]))
        fast = device.type == "cuda" and torch.cuda.get_device_capability(device) in _FAST_DOUBLES
        self.estimating = not fast

    def count(self, groups: Sequence[Group]) -> list[Counts]:
        """Counts of each group, equal to those of ``counting.count_negatives``."""
        with _no_tf32():
            return [self._count(group) for group in groups]

    @cached_property
    def single(self) -> torch.Tensor:
        """``Cosines.single``, whose products are levels but for the margin."""
        return self.there(self.cosines.single)

    @cached_property
    def double(self) -> torch.Tensor:
        """``Cosines.units``, longer by the square root of ``LEVELS``: a power of two, so that nothing is rounded."""
        return self.there(self.cosines.units).mul_(LEVELS**0.5)

    def there(self, values: np.ndarray) -> torch.Tensor:
        """A copy on the device."""
        return torch.tensor(values, device=self.device)

    def _count(self, group: Group) -> Counts:
        # Queries with about as many positives are next to each other, so that little is looked up among nothing.
        size = np.diff(group.pairs.start)
        order = np.argsort(size, kind="stable")
        size = size[order]
        start = np.concatenate([[0], np.cumsum(size)])
        query = np.repeat(np.arange(len(order)), size)
        pair = np.arange(len(query)) - start[query] + group.pairs.start[order[query]]
        pairs = Positives(query, group.pairs.other[pair], group.pairs.level[pair], start)
        counting = _Counting(self, Group(group.rows[order], pairs, group.candidates))
        first = 0
        while first < len(order):
            most = max(1, size[min(first + _QUERIES, len(order)) - 1])
            last = min(first + max(1, min(_QUERIES, _PAIRS // most)), len(order))
            counting.count(slice(first, last))
            first = last
        greater, equal = np.empty((2, len(pair)), dtype=np.int64)
        negatives = np.empty(len(order), dtype=np.int64)
        greater[pair], equal[pair], negatives[order] = counting.greater, counting.equal, counting.negatives
        return Counts(greater, equal, negatives)


@dataclass(frozen=True, eq=False)
class _Tile:
    """Queries and candidates, by number and by row."""

    queries: slice
    places: slice
    rows: np.ndarray
    others: np.ndarray


class _Counting:
    """Counts of one group, whose queries are by number of positives."""

    def __init__(self, on: DeviceCounting, group: Group) -> None:
        self.on, self.group = on, group
        self.rows, self.candidates = on.there(group.rows), on.there(group.candidates)
        places = np.arange(len(group.candidates))
        self.overlap = None if on.rules.positives_differ else overlap(group, places)
        self.greater, self.equal = np.empty((2, len(group.pairs.query)), dtype=np.int64)
        self.negatives = np.empty(len(group.rows), dtype=np.int64)

    def count(self, queries: slice) -> None:
        """Count for some queries."""
        rows, pairs = self.group.rows[queries], self.group.pairs
        start = pairs.start[queries.start : queries.stop + 1]
        mine = slice(int(start[0]), int(start[-1]))
        # Infinity fills up where a query has fewer positives than others: nothing is above it, or at it.
        real = np.arange(np.diff(start).max()) < np.diff(start)[:, None]
        padded = np.full(real.shape, np.inf)
        padded[real] = pairs.level[mine]
        level = self.on.there(padded)
        # Levels are whole. Estimates are off by less than the margin: on which side a bound itself is does not matter.
        levels, estimates = _LookUp(level, 0.0, 0.5), _LookUp(level.float(), self.on.margin, self.on.margin)
        keys, estimating = [np.empty(0, dtype=np.int64)], self.on.estimating
        for left in range(0, len(self.group.candidates), _CANDIDATES):
            places = slice(left, min(left + _CANDIDATES, len(self.group.candidates)))
            tile = _Tile(queries, places, rows, self.group.candidates[places])
            decided = self._estimate(tile, estimates) if estimating else None
            if decided is None:
                estimating = False
                levels.add(levels.find(self._block(tile, self.on.double).round_()))
            else:
                keys.append(decided)
        estimates.found.masked_fill_(estimates.between, 0)
        above, at, total = (part.cpu().numpy() for part in levels.counts())
        sure, _, sure_total = (part.cpu().numpy() for part in estimates.counts())
        ranked = np.sort(np.concatenate(keys))
        query = pairs.query[mine] - queries.start
        key = _keys(query, pairs.level[mine])
        ends, upto = ranked.searchsorted(np.arange(len(rows) + 1) * _QUERY), ranked.searchsorted(key, "right")
        self.greater[mine] = (above + sure)[real] + ends[query + 1] - upto
        self.equal[mine] = at[real] + upto - ranked.searchsorted(key)
        self.negatives[queries] = total + sure_total + np.diff(ends)

    def _estimate(self, tile: _Tile, estimates: _LookUp) -> np.ndarray | None:
        """Look up a tile in float32; keys of the cells that are open, from float64, or None where these are many."""
        block = self._block(tile, self.on.single)
        found = estimates.find(block)
        cells = estimates.between.gather(1, found).nonzero()
        if len(cells) > _MOST_OPEN * block.numel():
            return None
        estimates.add(found)
        query, place = cells.cpu().numpy().T
        # Each cell for itself is a query with one other.
        pair = np.arange(len(cells) + 1)
        return _keys(query, self.on.cosines.pair_levels(tile.rows[query], pair, tile.others[place], pair[:-1]))

    def _block(self, tile: _Tile, factor: torch.Tensor) -> torch.Tensor:
        """Levels but for rounding (q, c), and minus infinity for candidates that are no negatives."""
        rows, others = self.rows[tile.queries], self.candidates[tile.places]
        block = factor[rows] @ factor[others].T
        if self.on.cosines.absolute:
            block.abs_()
        if self.on.undefined is not None:
            block.masked_fill_(self.on.undefined[rows][:, None] | self.on.undefined[others], UNDEFINED)
        for codes in self.on.unlike:
            block.masked_fill_(codes[rows][:, None] == codes[others], -torch.inf)
        barred = self.on.rules.no_negatives(tile.rows, tile.others)
        if barred is not None:
            block.masked_fill_(self.on.there(barred), -torch.inf)
        if self.overlap is not None:
            query, place = self.overlap
            here = slice(*query.searchsorted([tile.queries.start, tile.queries.stop]).tolist())
            line, column = query[here] - tile.queries.start, place[here] - tile.places.start
            inside = (column >= 0) & (column < len(tile.others))
            block[self.on.there(line[inside]), self.on.there(column[inside])] = -torch.inf
        return block


class _LookUp:
    """How many cells of each query are where among bounds: the levels of its positives (q, k), less and plus something.

    Attributes:
        between: whether a cell is between the two bounds of any level, by how many bounds are up to it (q, 2 k + 2).
        found: number of cells, likewise.
    """

    def __init__(self, level: torch.Tensor, less: float, plus: float) -> None:
        n, k = level.shape
        # All cells but those of minus infinity are above the lowest.
        lowest = level.new_full((n, 1), torch.finfo(level.dtype).min)
        self.bounds, order = torch.cat([lowest, level - less, level + plus], dim=1).sort(dim=1)
        self.behind = order.argsort(dim=1) + 1
        turn = torch.tensor([0] + k * [1] + k * [-1], device=level.device)
        self.between = torch.nn.functional.pad(turn[order].cumsum(1) > 0, (1, 0))
        self.found = torch.zeros((n, 2 * k + 2), dtype=torch.int32, device=level.device)

    def find(self, block: torch.Tensor) -> torch.Tensor:
        """How many bounds are up to each cell, int64 (q, c)."""
        return torch.searchsorted(self.bounds, block, right=True)

    def add(self, places: torch.Tensor) -> None:
        """Count cells that were found."""
        self.found.scatter_add_(1, places, self.found.new_ones(1).expand(places.shape))

    def counts(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Cells above each level's bounds, and between them, int64 (q, k), and in all (q,)."""
        upward = self.found.flip(1).cumsum(1).flip(1).gather(1, self.behind)
        k = upward.shape[1] // 2
        return upward[:, k + 1 :], upward[:, 1 : k + 1] - upward[:, k + 1 :], upward[:, 0]


def _keys(query: np.ndarray, level: np.ndarray) -> np.ndarray:
    """Whole numbers that sort as numbers of queries and levels do."""
    return query * _QUERY + (level.astype(np.int64) - UNDEFINED)


@contextmanager
def _no_tf32() -> Iterator[None]:
    """Products of float32 keep all of its 24 bits, as the margin supposes, whatever is set for networks."""
    matmul = torch.backends.cuda.matmul
    # Before torch 2.9 this switch is not there, and the older one is set in any case.
    if getattr(matmul, "fp32_precision", "tf32") != "tf32":
        yield
        return
    change: Callable[[str], None] = torch.set_float32_matmul_precision
    try:
        before, whole = torch.get_float32_matmul_precision(), "highest"
    except RuntimeError:
        # TF32 was allowed by the newer switch, of which the older one knows nothing.
        change, before, whole = partial(setattr, matmul, "fp32_precision"), "tf32", "ieee"
    change(whole)
    try:
        yield
    finally:
        change(before)
