"""Differences in words: what is said of them in the terminal, in annotations and in summaries."""

from __future__ import annotations

from collections.abc import Sequence

from phenobench.comparison.differences import ScoreDifference
from phenobench.comparison.movers import Group, Mover, Movers
from phenobench.errors import one_line

_NAMED = 3


def by_how_much(found: ScoreDifference) -> str:
    """Both values, the difference and its interval."""
    difference = found.difference
    return (
        f"{found.second.value:.3f} to {found.first.value:.3f}: {difference.value:+.3f} "
        f"({difference.ci_low:+.3f} to {difference.ci_high:+.3f})"
    )


def p_text(p_value: float) -> str:
    """A p-value to two digits."""
    return "< 0.0001" if p_value < 1e-4 else f"{p_value:.2g}"


def what_fell(moved: Movers | None) -> list[str]:
    """A line for the perturbations or genes that are worse now, and one for their complex."""
    return [] if moved is None else _lines("fell most: ", moved.worse, moved.worse_group)


def what_rose(moved: Movers | None) -> list[str]:
    """As ``what_fell``, for those that are better now."""
    return [] if moved is None else _lines("rose most: ", moved.better, moved.better_group)


def who_is_better(found: ScoreDifference, first: str, second: str) -> list[str]:
    """On which perturbations, or genes, each of two models is better; changes are those of the first."""
    if found.moved is None:
        return []
    better = _lines(f"{first} is better most on ", found.moved.better, found.moved.better_group)
    return [*better, *_lines(f"{second} is better most on ", found.moved.worse, found.moved.worse_group)]


def _lines(opening: str, moved: Sequence[Mover], group: Group | None) -> list[str]:
    if not moved:
        return []
    lines = [opening + ", ".join(map(_mover, moved))]
    if group is not None:
        others = group.genes[1:]
        more = f" and {len(others) - _NAMED} more" if len(others) > _NAMED else ""
        named = one_line(", ".join(others[:_NAMED])) + more
        hub = one_line(group.genes[0])
        lines.append(f"among them {hub} with {named}: {group.change:+.3g} found of {_pairs(group.pairs)}")
    return lines


def _mover(moved: Mover) -> str:
    if moved.pairs is None:
        return f"{one_line(moved.name)} ({moved.change:+.3f})"
    return f"{one_line(moved.name)} ({moved.change:+.3g} found of {_pairs(moved.pairs)})"


def _pairs(number: int) -> str:
    return "1 pair" if number == 1 else f"{number} pairs"
