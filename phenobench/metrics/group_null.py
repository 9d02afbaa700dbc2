"""Do the wells of a perturbation find each other more than chance has it? One calibrated p-value a perturbation.

The average precisions of a perturbation's wells share similarities, so they are dependent. A null made
of independent random rankings then rejects too often (up to 12 % of groups of pure noise at 0.05), and
one made of a single ranking too rarely (down to none; copairs 0.5.5): ``benchmarks/calibration.py``. Here
the null is made of whole groups: other wells of the same plates take the places of the perturbation's
wells and are scored by the same similarities, so that whatever dependence there is, is in both.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import comb, prod

import numpy as np

from phenobench.metrics.loops.precision import precision_of_sets
from phenobench.metrics.significance import distinct_positions, p_value
from phenobench.metrics.similarity import LEVELS, UNDEFINED, levels
from phenobench.metrics.threads import in_threads
from phenobench.metrics.ties import harmonic
from phenobench.metrics.units import unit_rows

DRAWS, FEWEST_DRAWS = 4_999, 999
# Beyond these no p-value is computed: rows (so many take a minute where all plates meet), and similarities looked up
# (draws x wells x wells of a group, summed).
MOST_ROWS, _MOST_CELLS = 50_000, 2**24
# Cells of the similarity block held at a time by a thread: 2**20 in float64 are 8 MiB.
_BLOCK_CELLS = 2**20
# If a smaller share of draws has each well of another perturbation, any draw counts.
_RARE = 0.5
# From here on, a p-value of few draws is left as it is.
_OPEN = 0.1
# So many sets of wells, or more, are as good as all there could be.
_MANY_SETS = 10**12
# A row itself is below all of its candidates.
_ITSELF = -4 * LEVELS


@dataclass(frozen=True)
class GroupTest:
    """What ``group_p_values`` found, one entry a group.

    Attributes:
        mean_average_precision: mean over the scored wells, float64 (g,).
        p_value: float64 (g,).
        n_draws: random groups behind each p-value, int64 (g,).

    All are NaN, or 0 draws, where no well has a positive and a negative, and where the null was left out for its cost.
    """

    mean_average_precision: np.ndarray
    p_value: np.ndarray
    n_draws: np.ndarray


@dataclass(frozen=True)
class _Places:
    """What a null depends on: the plates of a group's wells in ascending order, and who is whose positive."""

    plates: tuple[int, ...]
    mask: bytes

    @property
    def positive(self) -> np.ndarray:
        """Boolean (k, k): whether the well of a column is a positive of that of the row."""
        return np.frombuffer(self.mask, dtype=bool).reshape(len(self.plates), len(self.plates))


# Groups, with their rows, that share a null.
_Alike = list[tuple[_Places, dict[int, np.ndarray]]]


@dataclass(frozen=True)
class _Sets:
    """Sets of wells in the same places, each to be scored as if it were one perturbation.

    Attributes:
        places: of the wells.
        groups: the perturbations among the sets, int (g,); they are the first g sets.
        wells: rows (s, k), columns in the order of the places.
        added: rows that are candidates besides the common ones, int (k,) or (0,).
        n_sets: how many sets can be drawn, the perturbation itself not among them; infinite where it is.
    """

    places: _Places
    groups: np.ndarray
    wells: np.ndarray
    added: np.ndarray
    n_sets: float


def group_p_values(
    features: np.ndarray,
    plates: np.ndarray,
    groups: np.ndarray,
    *,
    pos_diffby: Sequence[np.ndarray] = (),
    within_plate: bool = True,
    draws: int = DRAWS,
    seed: int = 0,
) -> GroupTest:
    """Mean average precision of each group of wells, with a p-value by exchange of wells within plates.

    Rows of group -1 are negative controls. Where there are none, a group's negatives are the wells of
    other groups, and its null is made of sets of wells on the same plates that are all of different
    groups (two wells of a strong perturbation would put a true pair into the null). Where such sets
    are rare, any set counts, which is the permutation test. Where there are controls, those are the
    negatives, and the null exchanges the group's wells with controls of their plates: the permutation
    test of "this perturbation does nothing".

    p = F = (r + 1) / (n + 1) for the r of n draws with at least the group's mean average precision.
    Where a group is none of the M sets that can be drawn, p = (M F + 1) / (M + 1), since few wells
    would else look significant by drawing the same few sets again and again (Phipson and Smyth 2010).

    Ties count by expectation and zero vectors take the worst rank, as in ``average_precision``; a
    constant embedding has p = 1. The draws of a null depend on the seed and on the plates of its
    wells alone; which wells they are depends on the order of a plate's rows, so give them in a fixed one.

    Args:
        features: (n, d) finite.
        plates: n integer codes from 0.
        groups: n integer codes from 0, -1 for negative controls.
        pos_diffby: codes (n,) in which positives differ, such as ``plates``.
        within_plate: negatives are on the query's plate; else on any.
        draws: of each null, at most; large groups and very many of them get fewer, but no fewer than 999,
            and so do p-values above 0.1 against controls.
        seed: of the draws.
    """
    units = unit_rows(features)
    order = np.argsort(plates, kind="stable")
    units, plates, groups = units[order], np.asarray(plates)[order], np.asarray(groups)[order]
    candidates = groups < 0 if (groups < 0).any() else np.ones(len(groups), dtype=bool)
    n_groups = int(groups.max(initial=-1)) + 1
    test = GroupTest(np.full(n_groups, np.nan), np.full(n_groups, np.nan), np.zeros(n_groups, dtype=np.int64))
    if len(groups) > MOST_ROWS:
        return test
    alike = _alike(plates, groups, [np.asarray(codes)[order] for codes in pos_diffby], shared=bool(candidates.all()))
    planned = _planned([len(places.plates) for places, _ in alike], draws)
    if not candidates.all():
        # Each group has a null of its own here, and of most a few draws say enough.
        few = np.minimum(planned, FEWEST_DRAWS).tolist()
        _test(test, alike, few, units, plates, groups, candidates, within_plate, seed)
        undecided = [test.p_value[list(members)].min() < _OPEN for _, members in alike]
        planned = [size if more and size > FEWEST_DRAWS else 0 for size, more in zip(planned, undecided, strict=True)]
    _test(test, alike, planned, units, plates, groups, candidates, within_plate, seed)
    return test


def _test(
    test: GroupTest,
    alike: _Alike,
    planned: Sequence[int],
    units: np.ndarray,
    plates: np.ndarray,
    groups: np.ndarray,
    candidates: np.ndarray,
    within_plate: bool,
    seed: int,
) -> None:
    """Fill in the groups for whose null there are draws."""
    drawn = [
        _with_null(places, members, plates, groups, size, seed)
        for (places, members), size in zip(alike, planned, strict=True)
        if size
    ]
    for sets, precision in zip(drawn, _scored(units, plates, candidates, drawn, within_plate), strict=True):
        observed, null = precision[: len(sets.groups)], np.sort(precision[len(sets.groups) :])
        if not np.isnan(observed).any():
            share = p_value(observed, null)
            test.p_value[sets.groups] = share + (1.0 - share) / (sets.n_sets + 1.0)
            test.mean_average_precision[sets.groups] = observed
            test.n_draws[sets.groups] = len(null)


def _alike(plates: np.ndarray, groups: np.ndarray, pos_diffby: Sequence[np.ndarray], *, shared: bool) -> _Alike:
    """Groups (with their rows) that share a null: those in the same places, or each its own."""
    found: dict[tuple[_Places, int], dict[int, np.ndarray]] = {}
    by_group = np.argsort(groups, kind="stable")
    starts = np.searchsorted(groups[by_group], np.arange(int(groups.max(initial=-1)) + 2))
    for group, (start, stop) in enumerate(pairwise(starts.tolist())):
        rows = by_group[start:stop]
        positive = ~np.eye(len(rows), dtype=bool)
        for codes in pos_diffby:
            positive &= codes[rows][:, None] != codes[rows][None, :]
        if positive.any():
            places = _Places(tuple(plates[rows].tolist()), positive.tobytes())
            found.setdefault((places, -1 if shared else group), {})[group] = rows
    return [(places, members) for (places, _), members in found.items()]


def _planned(sizes: Sequence[int], draws: int) -> list[int]:
    """Draws for nulls of groups of these sizes; 0 for the largest groups where they would cost too much."""
    fewest = min(draws, FEWEST_DRAWS)
    cells = np.array(sizes, dtype=np.int64) ** 2
    ascending = np.sort(cells)
    too_large = ascending[np.cumsum(ascending) * fewest > _MOST_CELLS]
    affordable = cells < too_large[0] if len(too_large) else np.ones(len(cells), dtype=bool)
    share = _MOST_CELLS / max(1, int(cells[affordable].sum()))
    return np.where(affordable, min(draws, int(share)), 0).tolist()


def _with_null(
    places: _Places, members: dict[int, np.ndarray], plates: np.ndarray, groups: np.ndarray, draws: int, seed: int
) -> _Sets:
    """The groups in some places, and as many random sets as are asked for."""
    rng = np.random.default_rng([seed, *places.plates])
    own = np.stack(list(members.values()))
    on_plate, count = np.unique(places.plates, return_counts=True)
    against_controls = bool((groups < 0).any())
    pools = []
    for plate in on_plate.tolist():
        here = slice(*np.searchsorted(plates, [plate, plate + 1]).tolist())
        rows = np.arange(here.start, here.stop)
        pools.append(rows[(groups[here] < 0) | np.isin(rows, own)] if against_controls else rows)

    def draw() -> np.ndarray:
        chosen = [
            pool[rng.permuted(distinct_positions(rng, draws, many, len(pool)), axis=1)]
            for pool, many in zip(pools, count.tolist(), strict=True)
        ]
        return np.concatenate(chosen, axis=1)

    wells, n_sets = draw(), float("inf")
    if not against_controls:
        different = _all_differ(groups[wells])
        share = float(different.mean())
        if share > _RARE:
            n_sets = share * min(prod(map(comb, map(len, pools), count.tolist())), _MANY_SETS)
            wells = wells[different]
            while len(wells) < draws:
                more = draw()
                wells = np.concatenate([wells, more[_all_differ(groups[more])]])
            wells = wells[:draws]
    added = own[0] if against_controls else own[0, :0]
    return _Sets(places, np.array(list(members)), np.concatenate([own, wells]), added, n_sets)


def _all_differ(labels: np.ndarray) -> np.ndarray:
    return (np.diff(np.sort(labels, axis=1), axis=1) != 0).all(axis=1)


def _scored(
    units: np.ndarray, plates: np.ndarray, candidates: np.ndarray, drawn: Sequence[_Sets], within_plate: bool
) -> list[np.ndarray]:
    """Mean average precision of every set, float64 (s,) for each of ``drawn``; NaN where no well can be scored.

    Block by block of the rows of a plate: all sets that have a well there are looked up in the
    block's similarities, so that these are computed once, and n x n of them are never held.
    """
    numbers = harmonic(len(units))
    # By the plates that sets have wells on, since a block looks at few of many sets.
    on_plate: dict[int, list[tuple[int, int]]] = {}
    for number, sets in enumerate(drawn):
        for place, plate in enumerate(sets.places.plates):
            on_plate.setdefault(plate, []).append((number, place))

    def score(bounds: tuple[int, int]) -> list[tuple[int, np.ndarray, np.ndarray]]:
        plate = int(plates[bounds[0]])
        ranked = np.flatnonzero(candidates & (plates == plate)) if within_plate else np.flatnonzero(candidates)
        # Wells of plates that no set has together with this one, as in another batch, are not looked up.
        met = {plate}.union(*(drawn[number].places.plates for number, _ in on_plate[plate]))
        others = np.flatnonzero(np.isin(plates, list(met))) if within_plate else np.arange(len(units))
        block = _block(units, *bounds, others, ranked)
        found = []
        for number, place in on_plate[plate]:
            own = drawn[number].wells[:, place]
            here = np.flatnonzero((own >= bounds[0]) & (own < bounds[1]))
            precision = _precision(block, drawn[number], here, place, within_plate, numbers)
            if precision is not None:
                found.append((number, here, precision))
        return found

    totals = [np.zeros(len(sets.wells)) for sets in drawn]
    queries = [np.zeros(len(sets.wells), dtype=np.int64) for sets in drawn]
    # Summed up in the order of the blocks, whichever thread was first.
    for found in in_threads(score, [bounds for bounds in _blocks(plates) if int(plates[bounds[0]]) in on_plate]):
        for number, here, precision in found:
            totals[number][here] += precision
            queries[number][here] += 1
    with np.errstate(invalid="ignore"):
        return [total / scored for total, scored in zip(totals, queries, strict=True)]


def _blocks(plates: np.ndarray) -> Iterator[tuple[int, int]]:
    """First and last row of blocks of bounded size that lie on one plate."""
    step = max(1, _BLOCK_CELLS // max(1, len(plates)))
    bounds = [0, *(np.flatnonzero(np.diff(plates)) + 1).tolist(), len(plates)]
    for first, last in pairwise(bounds):
        for start in range(first, last, step):
            yield start, min(start + step, last)


@dataclass(frozen=True, eq=False)
class _Block:
    """Similarities of some rows with others, and with candidates.

    Attributes:
        start: the first of the rows.
        level: float32 (b, o); a row itself is below all.
        ranked: of the candidates, ascending, float32 (b, c).
        column: of each row of the screen in ``level`` (n,); -1 where it has none.
    """

    start: int
    level: np.ndarray
    ranked: np.ndarray
    column: np.ndarray


def _block(units: np.ndarray, start: int, stop: int, others: np.ndarray, candidates: np.ndarray) -> _Block:
    column = np.full(len(units), -1)
    column[others] = np.arange(len(others))
    other_units = units if len(others) == len(units) else units[others]
    level = levels(units[start:stop] @ other_units.T)
    level[:, ~other_units.any(axis=1)] = UNDEFINED
    level[~units[start:stop].any(axis=1)] = UNDEFINED
    level[np.arange(stop - start), column[start:stop]] = _ITSELF
    ranked = level.copy() if len(candidates) == len(others) else level[:, column[candidates]]
    ranked.sort(axis=1)
    return _Block(start, level, ranked, column)


def _precision(
    block: _Block, sets: _Sets, here: np.ndarray, place: int, within_plate: bool, numbers: np.ndarray
) -> np.ndarray | None:
    """Average precision of the wells in one place of some of the sets; None without a positive or a negative."""
    plates = np.array(sets.places.plates)
    competes = plates == plates[place] if within_plate else np.ones(len(plates), dtype=bool)
    is_positive = sets.places.positive[place]
    n_added = int(competes.sum()) if len(sets.added) else 0
    if not is_positive.any() or block.ranked.shape[1] + n_added <= competes.sum():
        return None
    wells = sets.wells[here]
    precision = np.empty(len(here))
    precision_of_sets(
        block.level, block.ranked, wells[:, place] - block.start, block.column[wells], is_positive, competes,
        block.column[sets.added], numbers, precision,
    )  # fmt: skip
    return precision
