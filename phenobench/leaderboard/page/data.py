"""The board as compact JSON for the page: what repeats is stored once, and of the items what figures need."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import numpy as np

from phenobench.figures.items import Strip
from phenobench.leaderboard.board import MARKS, SECTIONS, Board, Column, Entry
from phenobench.leaderboard.page.commands import model_options, result_options, start, table_options
from phenobench.projections import Projection
from phenobench.results import Result, ScoreInfo

# Values are shown with three decimals, and stored as shown.
_SCALE = 1000
# Letters that need no escape in JSON or HTML, in order: a place along an axis is one letter.
_LETTERS = [letter for letter in map(chr, range(32, 127)) if letter not in '"\\<']
_MOST_BYTES = 450_000
# A letter for each of two coordinates of 200 wells after it, and now and then before; fewer wells where these are many.
_BYTES_OF_PROJECTION, _MOST_BYTES_OF_PROJECTIONS = 600, 250_000


@dataclass(frozen=True)
class _Detail:
    """How much of a strip is stored: rows at each end, dots a row, quantiles of all dots."""

    rows: int
    dots: int
    quantiles: int


# The richest that keeps all strips of a board below the limit.
_DETAILS = (_Detail(8, 24, 96), _Detail(5, 12, 64), _Detail(4, 6, 32), _Detail(3, 0, 24), _Detail(2, 0, 0))


@dataclass
class _Pool:
    """Values by number, each once."""

    values: list[Any] = field(default_factory=list)
    _numbers: dict[str, int] = field(default_factory=dict)

    def add(self, value: Any) -> int:
        # Most are text; nothing else is shown with such a beginning.
        key = f'"{value}' if isinstance(value, str) else repr(value)
        if key not in self._numbers:
            self._numbers[key] = len(self.values)
            self.values.append(value)
        return self._numbers[key]


def page_data(board: Board) -> str:
    """The data of the page as JSON that may stand in a script element."""
    shown = [column for column in board.columns if not column.secondary]
    entries = {entry.path: entry for column in shown for entry in column.entries}
    strips = [entry.strips for entry in entries.values()]
    pool = _Pool()
    models: dict[str, int] = {}
    described: list[dict[str, Any]] = []
    rows = []
    for entry in entries.values():
        model = _model(entry)
        key = json.dumps(model)
        if key not in models:
            models[key] = len(described)
            described.append(model)
        rows.append([models[key], *_result(entry.result, pool)])
    number = {path: row for row, path in enumerate(entries)}
    tables = [_table(list(group), number, pool) for _, group in groupby(shown, key=lambda column: column.table)]
    names = _Pool()
    detail = _detail(strips)
    folders = {folder: place for place, folder in enumerate(board.projections)}
    step = -(-len(folders) * _BYTES_OF_PROJECTION // _MOST_BYTES_OF_PROJECTIONS)
    for path, row, own in zip(entries, rows, strips, strict=True):
        row.append([_stored(strip, detail, pool, names) for strip in own])
        row.append(folders.get(path.rpartition("/")[0], -1))
    values = {
        "models": described,
        "results": rows,
        "tables": tables,
        "projections": [_wells(projection, max(step, 1), pool) for projection in board.projections.values()],
        "published": [paper.model_dump(mode="json") for paper in board.published],
        "sections": list(SECTIONS.items()),
        "marks": list(MARKS.items()),
        "pool": pool.values,
        "names": names.values,
    }
    text = json.dumps(values, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    # Neither an end tag nor a comment may begin in there, whatever a name says.
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _model(entry: Entry) -> dict[str, Any]:
    model = entry.result.model
    return {
        "label": entry.label,
        "section": entry.section,
        "id": model.id,
        "revision": model.revision,
        "status": model.status,
        "kind": model.weights.kind,
        "sha256": model.weights.sha256,
        "features": model.n_features,
        "precision": model.precision,
        "training": None if model.training is None else model.training.model_dump(mode="json"),
        "licence": entry.licence,
        "options": model_options(entry.result),
    }


def _result(result: Result, pool: _Pool) -> list[Any]:
    """All of a result but its model and its strips; never the run block, which says where it was made."""
    origin = {
        "licence": dict(result.licence),
        "seed": result.seed,
        "texts": result.texts and dict(result.texts),
        "phenobench": dict(result.phenobench),
        "provenance": result.provenance,
        "dropped": dict(result.screen.dropped),
        "start": start(result),
        "options": result_options(result),
    }
    return [
        pool.add(result.map.model_dump(mode="json")),
        pool.add([dict(step) for step in result.normalization.steps]),
        pool.add(dict(result.environment)),
        pool.add({name: dict(about) for name, about in result.annotations.items()}),
        pool.add(origin),
        [number for score in (*result.scores, *result.secondary) for number in _score(score, pool)],
        [pool.add(line) for line in result.warnings],
        pool.add(dict(result.skipped)),
    ]


def _score(score: ScoreInfo, pool: _Pool) -> tuple[int, ...]:
    """What models share by number, then the value, and how far the interval reaches to both sides."""
    common = [
        score.metric,
        score.subset,
        round(score.chance, 6),
        round(score.ceiling, 6),
        score.n,
        score.unit,
        score.higher_is_better,
        score.too_few,
    ]
    value, low, high = (round(_SCALE * number) for number in (score.value, score.ci_low, score.ci_high))
    return (pool.add(common), value, value - low, high - value)


def _table(columns: Sequence[Column], number: Mapping[str, int], pool: _Pool) -> dict[str, Any]:
    first = columns[0]
    entry = next(entry for column in columns for entry in column.entries)
    screen = entry.result.screen
    return {
        "screen": first.screen,
        "revision": first.screen_revision,
        "sha256": pool.add(first.screen_sha256),
        "wells": screen.n_wells,
        "plates": screen.n_plates,
        "perturbations": screen.n_perturbations,
        "task": first.task,
        "version": first.version,
        "variant": first.variant,
        "summary": pool.add(first.summary),
        "protocol": pool.add(json.loads(first.protocol)),
        "normalization": first.normalization,
        "options": pool.add(table_options(entry.result)),
        "columns": [_column(column, number, pool) for column in columns],
    }


def _column(column: Column, number: Mapping[str, int], pool: _Pool) -> dict[str, Any]:
    entries: list[int] = []
    for entry in column.entries:
        marks = sum(1 << bit for bit, mark in enumerate(MARKS) if mark in entry.marks)
        entries += [number[entry.path], *(entry.rank or (0, 0)), pool.add(entry.group), marks]
    return {
        "metric": column.metric,
        "subset": column.subset,
        "higher": column.higher_is_better,
        "map_rows": pool.add(column.map_rows),
        "map_n": column.map_n,
        "entries": entries,
        "missing": [[pool.add(one.label), pool.add(one.reason)] for one in column.missing],
    }


def _detail(strips: Sequence[Sequence[Strip]]) -> _Detail:
    """The richest detail that keeps the strips below the limit, by the bytes of letters and quotes."""
    sizes = [(len(strip.order), len(strip.dots)) for own in strips for strip in own]

    def bytes_of(detail: _Detail) -> int:
        return sum(
            18 + min(dots, detail.quantiles) + min(rows, 2 * detail.rows) * (8 + min(-(-dots // rows), detail.dots))
            for rows, dots in sizes
        )

    return next((detail for detail in _DETAILS if bytes_of(detail) <= _MOST_BYTES), _DETAILS[-1])


def _stored(strip: Strip, detail: _Detail, pool: _Pool, names: _Pool) -> list[Any]:
    """What it is, how many rows, names and values of its ends, and with detail all pairs, all dots, and each row's."""
    about = strip.about
    best, worst = strip.ends(detail.rows)
    rows = [*best, *worst]
    values = (round(_SCALE * row.value) + _SCALE for row in rows)
    ends = "".join(_digits(names.add(row.name), 3) + _digits(v, 2) for row, v in zip(rows, values, strict=True))
    stored = [pool.add([about.subset, about.of, about.value, about.dots, *about.axis]), len(strip.order), ends]
    if not detail.quantiles:
        return stored
    all_dots = _quantiles(np.sort(strip.dots), detail.quantiles)
    dots = [_quantiles(row.dots, detail.dots) for row in rows]
    # Of the histogram of all pairs, heights from 0 to the highest.
    others = "" if strip.others is None else _letters(strip.others, (0.0, float(strip.others.max())))
    return [*stored, others, *(_letters(places, about.axis) for places in (all_dots, *dots))]


def _wells(projection: Projection, step: int, pool: _Pool) -> list[int]:
    """Names of plates and the place of each well's among them, likewise of complexes, then where the wells lie.

    Args:
        projection: of one model and normalization.
        step: every so many wells are stored.
        pool: takes all; models of one screen share the groups, and normalizations what was before.
    """
    stored = []
    for names in (projection.plates[::step], projection.complexes[::step]):
        known = sorted(set(names) - {""})
        stored += [pool.add(known), pool.add("".join(str(known.index(name)) if name else "." for name in names))]
    for places in (projection.before[::step], projection.after[::step]):
        low, high = places.min(axis=0).tolist(), places.max(axis=0).tolist()
        axes = [(low[i], high[i] if high[i] > low[i] else low[i] + 1) for i in range(2)]
        stored.append(pool.add("".join(_letters(places[:, i], axes[i]) for i in range(2))))
    return stored


def _digits(number: int, length: int) -> str:
    """A number in as many letters as digits."""
    base = len(_LETTERS)
    return "".join(_LETTERS[number // base**place % base] for place in reversed(range(length)))


def _quantiles(values: np.ndarray, most: int) -> np.ndarray:
    """At most so many of some sorted values, evenly through their ranks."""
    if len(values) <= most:
        return values
    return values[np.floor((np.arange(most) + 0.5) * len(values) / most).astype(int)] if most else values[:0]


def _letters(values: np.ndarray, axis: tuple[float, float]) -> str:
    places = (values - axis[0]) / (axis[1] - axis[0])
    rounded = np.rint((len(_LETTERS) - 1) * np.clip(places[np.isfinite(places)], 0.0, 1.0)).astype(int)
    return "".join([_LETTERS[place] for place in rounded.tolist()])
