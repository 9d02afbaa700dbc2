"""Which result is held against which: by where they lie, and trained weights by their model."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from phenobench.results import find_results

# Weights that were given by path have their hash in their label, so a model that was trained again has another.
_HASH = re.compile(r"@[0-9a-f]{8}$")


@dataclass(frozen=True)
class Cell:
    """A result of the baseline and the one that is held against it; one of them may be absent.

    Attributes:
        name: screen, model, normalization and task, as the result's folders are called.
        baseline: the committed file.
        result: the file under test.
    """

    name: str
    baseline: Path | None
    result: Path | None


def pair_up(baseline: Path, results: Path) -> list[Cell]:
    """The cells of a baseline and of results, in a fixed order.

    A file lies at the same place in both. What is left is paired where a model has results of one file
    of trained weights in the baseline and of one other file now.
    """
    old = {path.relative_to(baseline): path for path in find_results(baseline)}
    new = {path.relative_to(results): path for path in find_results(results)}
    cells = {place: Cell(_name(place), old[place], new[place]) for place in old.keys() & new.keys()}
    before, after = (_by_slot(places) for places in (old.keys() - new.keys(), new.keys() - old.keys()))
    for slot in before.keys() & after.keys():
        if len(before[slot]) == len(after[slot]) == 1:
            one, other = before.pop(slot)[0], after.pop(slot)[0]
            cells[other] = Cell(_name(other), old[one], new[other])
    for place in (place for places in before.values() for place in places):
        cells[place] = Cell(_name(place), old[place], None)
    for place in (place for places in after.values() for place in places):
        cells[place] = Cell(_name(place), None, new[place])
    return [cells[place] for place in sorted(cells)]


def _by_slot(places: Iterable[Path]) -> dict[Path, list[Path]]:
    """Places by screen, model whatever its trained weights, normalization and task."""
    slots: dict[Path, list[Path]] = {}
    for place in places:
        screen, model, normalization, name = place.parts
        slot = Path(screen, _HASH.sub("@", model), normalization, name)
        slots.setdefault(slot, []).append(place)
    return slots


def _name(place: Path) -> str:
    return " / ".join((*place.parts[:-1], place.name.removesuffix(".json")))
