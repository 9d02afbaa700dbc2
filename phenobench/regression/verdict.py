"""What a check found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from phenobench.regression.cells import Cell

if TYPE_CHECKING:
    from phenobench.comparison.differences import ScoreDifference


@dataclass(frozen=True)
class Moved:
    """A score that fell, or became better.

    Attributes:
        cell: where.
        found: the difference, new minus baseline.
        p_value: Holm's, over all scores that differ; None where the run repeats exactly and needs no test.
        tolerance: a drop by less is none.
        besides: what else is not as in the baseline: weights, seed, versions.
    """

    cell: str
    found: ScoreDifference
    p_value: float | None
    tolerance: float
    besides: tuple[str, ...]


@dataclass(frozen=True)
class Changed:
    """Another protocol or other data: two numbers that do not mean the same."""

    cell: str
    field: str
    before: str
    after: str


@dataclass(frozen=True)
class Missing:
    """A result of the baseline, or one of its scores, that is not there now."""

    cell: str
    what: str


@dataclass(frozen=True)
class Checked:
    """Results held against a baseline.

    Attributes:
        results: the folder under test.
        baseline: the folder of the baseline.
        cells: what was held against what.
        same: scores that are equal.
        near: scores that differ, and neither fell nor became better by what can be told.
        unpaired: those that differ, and could only be compared by their intervals.
        fell: scores that are worse.
        better: scores that are better.
        changed: results that cannot be compared.
        missing: results and scores that are not there.
        new: results that the baseline does not have.
    """

    results: Path
    baseline: Path
    cells: tuple[Cell, ...]
    same: int
    near: int
    unpaired: int
    fell: tuple[Moved, ...]
    better: tuple[Moved, ...]
    changed: tuple[Changed, ...]
    missing: tuple[Missing, ...]
    new: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """0: no score fell; 1: one did; 2: something cannot be compared, so that the check is not complete."""
        return 2 if self.changed or self.missing else int(bool(self.fell))

    @property
    def verdict(self) -> str:
        """One sentence."""
        parts = [_count(self.fell, "fell"), _count(self.changed, "cannot be compared"), _count(self.missing, "missing")]
        return ", ".join(filter(None, parts)) or "no score fell"


def _count(things: Sequence[object], what: str) -> str:
    return f"{len(things)} {what}" if things else ""
