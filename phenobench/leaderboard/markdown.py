"""The leaderboard as Markdown, for a README or a pull request."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from phenobench.errors import one_line
from phenobench.leaderboard.board import MARKS, SECTIONS, Board, Column, Entry, Section
from phenobench.leaderboard.published import Paper, PublishedTable

_SIGNS = {"few": "few", "leakage": "LEAK", "coverage": "cover", "no items": "alone"}
_HOW_TO_READ = f"""\
Scores that share a table share wells, protocol, normalization and map; numbers of different tables have no common
scale, and there is no total. Each value stands with its 95 % interval and its exact chance, what an embedding
without information gets.

**Rank** is the best and the worst place that the paired comparisons leave open: 1 + the number of models that are
better, to the number of models - those that are worse, where better means a difference with p at most 0.05 on the
perturbations (or gene pairs) that both were scored on, after Holm's correction over all pairs of models of the table.
Models that share a letter of **group** cannot be told apart.

Rows are kept apart: {"; ".join(f"*{section}* ({meaning})" for section, meaning in SECTIONS.items())}. A model without
a score is named below the table and loses nothing elsewhere. Numbers that papers print are quoted in tables of their
own, with source, protocol and map, and are never ranked with measured ones.

**Notes**: {"; ".join(f"*{_SIGNS[mark]}* {meaning}" for mark, meaning in MARKS.items())}.
"""


_ELSEWHERE = """\
As printed in the papers, on screens or by protocols that nothing above was measured by. Two of these tables share a
scale only where map and protocol say the same."""
_HEADER = (
    "model",
    "weights",
    "value [95 % interval]",
    "chance",
    "above chance",
    "n",
    "rank",
    "group",
    "notes",
    "licence",
)


def markdown(board: Board) -> str:
    """The primary scores of a board, and the numbers of papers in tables of their own."""
    primary = [column for column in board.columns if not column.secondary]
    quoted = [(paper, table) for paper in board.published for table in paper.tables]
    blocks = ["# Leaderboard", _HOW_TO_READ.rstrip()]
    for _, of_screen in _grouped(primary, 3):
        blocks += _screen(of_screen[0])
        for _, of_task in _grouped(of_screen, 7):
            first = of_task[0]
            blocks += _task(of_task)
            for _, of_table in _grouped(of_task, 8):
                blocks += _tables(of_table)
            asked = (first.screen, first.task, first.variant)
            beside = [(paper, table) for paper, table in quoted if (table.screen, table.task, table.variant) == asked]
            quoted = [pair for pair in quoted if pair not in beside]
            blocks += [block for paper, table in beside for block in _published(paper, table)]
    if quoted:
        blocks += ["## Published numbers", _ELSEWHERE]
        blocks += [block for paper, table in quoted for block in _published(paper, table)]
    return "\n\n".join(blocks) + "\n"


def _grouped(columns: Iterable[Column], depth: int) -> Iterator[tuple[tuple[str, ...], list[Column]]]:
    """Neighbours that share the first ``depth`` of what makes a table: 3 a screen, 7 a protocol, 8 a normalization."""
    for key, group in groupby(columns, key=lambda column: column.table[:depth]):
        yield key, list(group)


def _screen(column: Column) -> list[str]:
    screen = column.entries[0].result.screen
    licence = column.entries[0].result.licence.get("screen", "unknown")
    wells = (
        f"Revision {text(screen.revision)}: {screen.n_wells} wells on {screen.n_plates} plates, "
        f"{screen.n_perturbations} perturbations; hash of the wells `{code(screen.sha256[:12])}`; licence "
        f"{text(licence)}."
    )
    return [f"## Screen {text(screen.id)}", wells]


def _task(columns: Sequence[Column]) -> list[str]:
    first = columns[0]
    licences = {
        name.removeprefix("annotations "): licence
        for column in columns
        for name, licence in column.entries[0].result.licence.items()
        if name.startswith("annotations ")
    }
    tables = "; ".join(f"{text(name)} {text(licence)}" for name, licence in sorted(licences.items()))
    return [
        f"### {text(first.screen)}: {text(first.task)} ({text(first.variant)})",
        f"Version {text(first.version)}: {text(first.summary)}."
        + (f" Licences of the annotations: {tables}." if tables else ""),
    ]


def _tables(columns: Sequence[Column]) -> list[str]:
    """One normalization: where there are several scores, what they have in sum and each of them to unfold."""
    first = columns[0]
    names = [_name(column, columns) for column in columns]
    title = f"#### {text(first.screen)}, {text(first.task)} ({text(first.variant)}), {text(first.normalization)}"
    details = [block for column, name in zip(columns, names, strict=True) for block in _details(column, name)]
    if len(columns) == 1:
        return [title, *details]
    return [
        title,
        "Value [95 % interval], rank, notes:",
        _overview(columns, names),
        f"<details><summary>{len(columns)} tables with chance, n, groups and notes</summary>",
        *details,
        "</details>",
    ]


def _name(column: Column, columns: Sequence[Column]) -> str:
    """Metric and subset, and the map where that is not enough."""
    name = column.metric if column.subset == "all" else f"{column.metric} {column.subset}"
    alike = [other for other in columns if (other.metric, other.subset) == (column.metric, column.subset)]
    return name if len(alike) == 1 else f"{name}, map of {column.map_n}"


def _overview(columns: Sequence[Column], names: Sequence[str]) -> str:
    cells = [{entry.label: entry for entry in column.entries} for column in columns]
    rows: list[list[str]] = []
    for section in SECTIONS:
        labels = dict.fromkeys(e.label for column in columns for e in column.entries if e.section == section)
        if labels and section != "models":
            rows.append([_heading(section), *[""] * len(columns)])
        rows += [[text(label), *(_short(of.get(label)) for of in cells)] for label in labels]
    rows.append(["*chance*", *map(_chance, columns)])
    directions = ["" if column.higher_is_better else " (lower is better)" for column in columns]
    heads = [text(name) + direction for name, direction in zip(names, directions, strict=True)]
    return _table(["model", *heads], rows)


def _details(column: Column, name: str) -> list[str]:
    rows: list[list[str]] = []
    for section in SECTIONS:
        own = [entry for entry in column.entries if entry.section == section]
        if own and section != "models":
            rows.append([_heading(section), *[""] * (len(_HEADER) - 1)])
        rows += map(_row, own)
    direction = "higher is better" if column.higher_is_better else "lower is better"
    missing = "; ".join(f"{text(one.label)} ({text(one.reason)})" for one in column.missing)
    return [
        f"**{text(name)}**, {direction}; map: {column.map_n} rows, {text(column.map_rows)}",
        _table(_HEADER, rows),
        *([f"No score: {missing}."] if missing else []),
    ]


def _row(entry: Entry) -> list[str]:
    score, weights = entry.score, entry.result.model.weights
    return [
        text(entry.label),
        f"{weights.kind} `{code(weights.sha256[:8])}`",
        _interval(entry),
        f"{score.chance:.3f}",
        f"{entry.above_chance:+.3f}",
        f"{score.n} {text(score.unit)}",
        _rank(entry),
        text(entry.group),
        _notes(entry),
        text(entry.licence),
    ]


def _heading(section: Section) -> str:
    return f"**{section}**"


def _interval(entry: Entry) -> str:
    return f"{entry.score.value:.3f} [{entry.score.ci_low:.3f}, {entry.score.ci_high:.3f}]"


def _rank(entry: Entry) -> str:
    if entry.rank is None:
        return ""
    best, worst = entry.rank
    return str(best) if best == worst else f"{best}-{worst}"


def _notes(entry: Entry) -> str:
    return " ".join(_SIGNS[mark] for mark in entry.marks)


def _short(entry: Entry | None) -> str:
    if entry is None:
        return "no score"
    return ", ".join(filter(None, [_interval(entry), _rank(entry), _notes(entry)]))


def _chance(column: Column) -> str:
    values = [f"{entry.score.chance:.3f}" for entry in column.entries]
    return min(values) if min(values) == max(values) else f"{min(values)} to {max(values)}"


def _published(paper: Paper, table: PublishedTable) -> list[str]:
    """One table of a paper, with all that is needed to know what it can be compared with."""
    variant = f" (nearest variant: {text(table.variant)})" if table.variant else ""
    source = f"**Published: {text(paper.title)}, {text(table.where)}, {text(table.screen)}**"
    protocol = (
        f"{text(table.metric)}, {table.unit}; map: {text(table.map)}; protocol: {text(table.protocol)}; "
        f"task here: {text(table.task)}{variant}; read: {table.grade}."
    )
    caution = f" Not comparable as it stands: {text(table.comparable)}." if table.comparable else ""
    rows = [[text(model), *table.printed(model)] for model in table.rows]
    return [
        f"{source} ({text(paper.version)}, <{paper.address}>)",
        protocol + caution,
        _table(["model", *map(text, table.subsets)], rows),
    ]


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def text(value: object) -> str:
    """Text from a result or a card as one line in which nothing is markup."""
    plain = one_line(value).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    escaped = re.sub(r"([\\`*_\[\]|~#$!])", r"\\\1", plain)
    # Nor an address that becomes a link by itself.
    return escaped.replace("://", "&#58;//")


def code(value: object) -> str:
    """Text for between backquotes, inside which nothing can be escaped."""
    return re.sub(r"[^\w.+@-]", "", one_line(value))
