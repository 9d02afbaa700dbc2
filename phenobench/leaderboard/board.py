"""The leaderboard's data: which scores may stand in one column, and what is to be said of each."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from phenobench.cards import Cards, find, read_toml
from phenobench.errors import InputError
from phenobench.figures.items import SHOWN, Strip, strips_of
from phenobench.item_values import Values, read_items, values_of
from phenobench.leaderboard.groups import stand
from phenobench.leaderboard.published import Paper, read_published
from phenobench.results import Result, ScoreInfo, find_results, read_result

if TYPE_CHECKING:
    from phenobench.projections import Projection

# Rows that are kept apart, in the order in which they are shown; only the first has models that compete.
Section = Literal["models", "demonstration", "random", "control"]
SECTIONS: Mapping[Section, str] = {
    "models": "official, trained and precomputed weights: ranked",
    "demonstration": "small demonstration weights: compared among themselves",
    "random": "random weights: not ranked",
    "control": "controls, what a task gives for nothing and at best: not ranked",
}

# Sections whose models are compared with each other, never across.
_COMPETING: tuple[Section, ...] = ("models", "demonstration")

Mark = Literal["few", "leakage", "coverage", "no items"]
MARKS: Mapping[Mark, str] = {
    "few": "the interval rests on fewer than 50 perturbations or 100 pairs",
    "leakage": "the weights were trained on images of this screen, or on some of its perturbations",
    "coverage": "scored on fewer wells, perturbations or pairs than another model of this table",
    "no items": "without the values of perturbations or pairs, hence not compared with other models",
}


@dataclass(frozen=True)
class Entry:
    """One score in its column.

    Attributes:
        label: the model as results call it (``cwa-msn@demo``).
        section: the rows that it stands among.
        path: of the result file, relative to the results folder, with ``/``.
        result: the whole result file.
        score: the one score of it.
        marks: what a reader should know, in the order of ``MARKS``.
        rank: best and worst place that the paired comparisons leave open, 1 the best; None where nothing is ranked.
        group: letters; models of a section that share one cannot be told apart. Empty where nothing is ranked.
        strips: what figures of the result are drawn from, where they were asked for.
    """

    label: str
    section: Section
    path: str
    result: Result
    score: ScoreInfo
    marks: tuple[Mark, ...] = ()
    rank: tuple[int, int] | None = None
    group: str = ""
    strips: tuple[Strip, ...] = field(default=(), compare=False, repr=False)

    @property
    def above_chance(self) -> float:
        """Value minus chance, whatever the direction of the metric."""
        return self.score.value - self.score.chance

    @property
    def licence(self) -> str:
        """The licence of the model."""
        return self.result.licence.get("model", "unknown")


@dataclass(frozen=True)
class Missing:
    """A model of the board without a score in a column, and why."""

    label: str
    reason: str


@dataclass(frozen=True)
class Column:
    """Scores that share a scale: the same wells, protocol, normalization, map, metric and subset.

    Attributes:
        screen: id of the screen.
        screen_revision: its revision.
        screen_sha256: hash over the labels of its wells.
        task: id of the task.
        version: of the task.
        variant: of the task.
        protocol: the variant's protocol in full, as JSON with sorted keys.
        normalization: name of the chain.
        map_rows: what the rows of the compared map are.
        map_n: how many.
        source: hash of the annotation table that the subset names, or its number of pairs; empty without one.
        metric: as in ``tasks.outcome.Score``.
        subset: likewise.
        higher_is_better: likewise.
        secondary: a further score, which is not ranked.
        entries: by section, the best first.
        missing: models of the board, other than random ones and controls, that have no score here.
    """

    screen: str
    screen_revision: str
    screen_sha256: str
    task: str
    version: str
    variant: str
    protocol: str
    normalization: str
    map_rows: str
    map_n: int
    source: str
    metric: str
    subset: str
    higher_is_better: bool
    secondary: bool
    entries: tuple[Entry, ...] = ()
    missing: tuple[Missing, ...] = ()

    @property
    def table(self) -> tuple[str, ...]:
        """What columns beside each other share: all but map, metric, subset and source."""
        return (
            self.screen,
            self.screen_revision,
            self.screen_sha256,
            self.task,
            self.version,
            self.variant,
            self.protocol,
            self.normalization,
        )

    @property
    def summary(self) -> str:
        """The protocol in one sentence, as its card says it."""
        return str(json.loads(self.protocol).get("summary", ""))


@dataclass(frozen=True)
class Board:
    """A whole leaderboard.

    Attributes:
        columns: in a fixed order (screens, tasks, normalizations by name; scores as results list them).
        published: numbers that papers print.
        projections: where wells lie, by the folder of the results as in ``Entry.path``, where that was asked for.
    """

    columns: tuple[Column, ...]
    published: tuple[Paper, ...] = ()
    projections: Mapping[str, Projection] = field(default_factory=dict)


def collect(results: Path, *, drawn: bool = False) -> Board:
    """Read every result below a folder and rank the models of each column by paired comparison.

    Args:
        results: the folder.
        drawn: with what figures are drawn from: of the items, from their one reading, and of wells.

    Raises:
        InputError: no result, one that cannot be read, or two of one model for one column.
    """
    paths = find_results(results)
    if not paths:
        raise InputError(f"{results} holds no result; run phenobench run first, or name the folder with --results")
    found = list(map(read_result, paths))
    items = map(partial(_of_items, drawn=drawn), paths, found)
    cards = find()
    cells: dict[Column, list[tuple[Entry, Values | None]]] = {}
    for path, result, (of_scores, strips) in zip(paths, found, items, strict=True):
        relative = path.relative_to(results).as_posix()
        section, leakage = _section(result), _leaks(result, cards)
        for column, score in _columns(result):
            values = of_scores.get((score.metric, score.subset))
            said: dict[Mark, bool] = {
                "few": score.too_few,
                "leakage": leakage,
                "no items": values is None and not column.secondary,
            }
            marks = tuple(mark for mark, holds in said.items() if holds)
            entry = Entry(result.model.label, section, relative, result, score, marks, strips=strips)
            cells.setdefault(column, []).append((entry, values))
    # Not in threads: each step is too short for them, and they only wait for each other.
    ranked = map(_ranked, cells, cells.values())
    # Stable: within a table, columns stay in the order of the scores in the results.
    ordered = sorted(ranked, key=lambda column: (column.table, column.secondary))
    return Board(_in_tables(ordered), read_published(results), _projections(results, paths) if drawn else {})


def _projections(results: Path, paths: Sequence[Path]) -> dict[str, Projection]:
    """Where the wells lie, by the folders of the results that have it."""
    from phenobench.projections import projection_path, read_projection

    folders = dict.fromkeys(path.parent.relative_to(results) for path in paths)
    read = {folder.as_posix(): read_projection(projection_path(results, *folder.parts)) for folder in folders}
    return {folder: projection for folder, projection in read.items() if projection is not None}


def _of_items(path: Path, result: Result, *, drawn: bool) -> tuple[dict[tuple[str, str], Values], tuple[Strip, ...]]:
    """What the scores are means of, and the strips of figures."""
    items = read_items(path, result, SHOWN if drawn else ())
    if items is None:
        return {}, ()
    return values_of(items, result), tuple(strips_of(items, result)) if drawn else ()


def _columns(result: Result) -> Iterator[tuple[Column, ScoreInfo]]:
    """Where each score of a result belongs."""
    protocol = json.dumps(result.task.protocol, sort_keys=True)
    for scores, secondary in ((result.scores, False), (result.secondary, True)):
        for score in scores:
            origin = result.annotations.get(score.subset, {})
            column = Column(
                screen=result.screen.id,
                screen_revision=result.screen.revision,
                screen_sha256=result.screen.sha256,
                task=result.task.id,
                version=result.task.version,
                variant=result.task.variant,
                protocol=protocol,
                normalization=result.normalization.name,
                map_rows=result.map.rows,
                map_n=result.map.n,
                source=str(origin.get("sha256") or origin.get("n_pairs", "")),
                metric=score.metric,
                subset=score.subset,
                higher_is_better=score.higher_is_better,
                secondary=secondary,
            )
            yield column, score


def _section(result: Result) -> Section:
    """Which rows a result stands among; the weights of a control are called precomputed."""
    if result.model.status == "control":
        return "control"
    kind = result.model.weights.kind
    return "demonstration" if kind == "demo" else "random" if kind == "random" else "models"


def _leaks(result: Result, cards: Cards) -> bool:
    """Whether the weights saw this screen: by what a training wrote down, else by the card of published weights."""
    training = result.model.training
    if training is not None:
        return training.overlap > 0
    if result.model.weights.kind not in ("official", "precomputed") or result.model.id not in cards.models:
        return False
    known = [_plain(name) for name in cards.model(result.model.id).training_data]
    called = [_plain(name) for name in (result.screen.id, *_part_of(result.screen.id, cards))]
    return any(name in screen or screen in name for name in known if name for screen in called)


def _part_of(screen: str, cards: Cards) -> tuple[str, ...]:
    """The collections that a screen's card says its images are from: models are said to be trained on these."""
    return tuple(read_toml(cards.screens[screen]).get("part_of", ())) if screen in cards.screens else ()


def _plain(name: str) -> str:
    return re.sub("[^a-z0-9]", "", name.lower())


def _ranked(column: Column, cells: Sequence[tuple[Entry, Values | None]]) -> Column:
    """The column with its entries in order, those of the sections that compete with places of their own."""
    there: dict[str, Entry] = {}
    for entry, _ in cells:
        if entry.label in there:
            raise InputError(
                f"{there[entry.label].path} and {entry.path} are both {entry.label}'s {column.task} "
                f"({column.variant}) on {column.screen}; remove one of them"
            )
        there[entry.label] = entry
    sign = -1 if column.higher_is_better else 1
    ordered = sorted(cells, key=lambda cell: (sign * cell[0].score.value, cell[0].label))
    done: list[Entry] = []
    for section in SECTIONS:
        own = [cell for cell in ordered if cell[0].section == section]
        if section in _COMPETING and not column.secondary:
            standings = stand([values for _, values in own], higher_is_better=column.higher_is_better)
            done += [
                dataclasses.replace(entry, rank=standing.rank, group=standing.group)
                for (entry, _), standing in zip(own, standings, strict=True)
            ]
        else:
            done += [entry for entry, _ in own]
    return dataclasses.replace(column, entries=tuple(done))


def _in_tables(columns: Sequence[Column]) -> tuple[Column, ...]:
    """The columns with what can only be said beside the others of their table: coverage, and who is missing."""
    everyone = sorted({entry.label for column in columns for entry in column.entries if entry.section in _COMPETING})
    done: list[Column] = []
    for _, group in groupby(columns, key=lambda column: column.table):
        beside = list(group)
        results = {entry.label: entry.result for column in beside for entry in column.entries}
        most_rows = max(column.map_n for column in beside)
        least_dropped = min(_dropped(result) for result in results.values())
        alike: dict[tuple[str, str, str], list[Entry]] = {}
        for column in beside:
            alike.setdefault((column.metric, column.subset, column.source), []).extend(column.entries)
        for column in beside:
            others = alike[column.metric, column.subset, column.source]
            most = max(entry.score.n for entry in others)
            entries = tuple(
                dataclasses.replace(entry, marks=tuple(mark for mark in MARKS if mark in (*entry.marks, "coverage")))
                if entry.score.n < most or column.map_n < most_rows or _dropped(entry.result) > least_dropped
                else entry
                for entry in column.entries
            )
            here = {entry.label for entry in others}
            missing = tuple(
                Missing(label, results[label].skipped.get(column.subset, "no score") if label in results else "not run")
                for label in everyone
                if label not in here and not column.secondary
            )
            done.append(dataclasses.replace(column, entries=entries, missing=missing))
    return tuple(done)


def _dropped(result: Result) -> int:
    return sum(result.screen.dropped.values())
