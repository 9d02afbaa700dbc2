"""The leaderboard: Markdown, CSV, or one HTML file."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from phenobench.errors import unknown

FORMATS = ("markdown", "csv", "html")


def render(results: Path, format: str) -> str:
    """The leaderboard of a results folder as ``markdown``, ``csv`` or ``html``; the same results, the same bytes.

    Raises:
        InputError: another format, or the results cannot be read.
    """
    if format not in FORMATS:
        raise unknown("format", format, FORMATS)
    from threadpoolctl import threadpool_limits

    from phenobench.leaderboard.board import collect
    from phenobench.leaderboard.csv_table import csv_table
    from phenobench.leaderboard.markdown import markdown
    from phenobench.leaderboard.page import page

    # Products are small here: threads would only wait for each other, longest where others use the machine too.
    with _uncollected(), threadpool_limits(1, "blas"):
        if format == "html":
            return page(collect(results, drawn=True))
        board = collect(results)
        return markdown(board) if format == "markdown" else csv_table(board)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without the search for cycles: it goes through all results again and again, and they have none."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
