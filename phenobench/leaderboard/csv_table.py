"""The leaderboard as CSV in long form: one row a score, primary and secondary ones."""

from __future__ import annotations

import csv
from functools import lru_cache
from io import StringIO

from phenobench.errors import one_line
from phenobench.leaderboard.board import Board, Column, Entry

Cell = str | int | float | None


def csv_table(board: Board) -> str:
    """All scores of a board, numbers in full; numbers of papers are not among them."""
    out = StringIO()
    rows = [_row(column, entry) for column in board.columns for entry in column.entries]
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(rows[0] if rows else [])
    writer.writerows([_safe(cell) if isinstance(cell, str) else cell for cell in row.values()] for row in rows)
    return out.getvalue()


def _row(column: Column, entry: Entry) -> dict[str, Cell]:
    result, score = entry.result, entry.score
    best, worst = entry.rank or (None, None)
    training = result.model.training
    return {
        "screen": column.screen,
        "screen_revision": column.screen_revision,
        "screen_sha256": column.screen_sha256,
        "task": column.task,
        "task_version": column.version,
        "variant": column.variant,
        "normalization": column.normalization,
        "map_rows": column.map_rows,
        "map_n": column.map_n,
        "metric": column.metric,
        "subset": column.subset,
        "level": "secondary" if column.secondary else "primary",
        "section": entry.section,
        "model": entry.label,
        "model_id": result.model.id,
        "model_revision": result.model.revision,
        "weights_kind": result.model.weights.kind,
        "weights_sha256": result.model.weights.sha256,
        "value": score.value,
        "ci_low": score.ci_low,
        "ci_high": score.ci_high,
        "chance": score.chance,
        "above_chance": entry.above_chance,
        "ceiling": score.ceiling,
        "n": score.n,
        "unit": score.unit,
        "higher_is_better": str(score.higher_is_better).lower(),
        "rank_best": best,
        "rank_worst": worst,
        "group": entry.group,
        "marks": "; ".join(entry.marks),
        "trained_on": training.screen if training else None,
        "training_overlap": training.overlap if training else None,
        "licence": entry.licence,
        "licence_screen": result.licence.get("screen"),
        "licence_annotations": result.licence.get(f"annotations {column.subset}"),
        "seed": result.seed,
        "phenobench_version": result.phenobench.get("version"),
        "phenobench_git": result.phenobench.get("git"),
        "provenance": result.provenance,
        "fingerprint": result.fingerprint,
        "result": entry.path,
    }


# Rows say the same of models and screens over and over.
@lru_cache(maxsize=4096)
def _safe(text: str) -> str:
    """One line, and nothing that a spreadsheet would take for a formula."""
    plain = one_line(text)
    return f"'{plain}" if plain.startswith(("=", "+", "-", "@")) else plain
