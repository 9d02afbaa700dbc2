"""Measure speed and memory, and write the report: ``python -m benchmarks [ROW ...]``."""

from __future__ import annotations

from typing import Annotated

import typer

from benchmarks import RESULTS
from benchmarks.report import REPORT, write_report
from benchmarks.speed.rows import ROWS, find
from benchmarks.speed.run import measure
from phenobench.errors import InputError


def main(
    rows: Annotated[
        list[str] | None, typer.Argument(help=f"All where none is named: {', '.join(r.name for r in ROWS)}.")
    ] = None,
) -> None:
    """Measure the rows that are named, or all, and make the report of everything measured so far."""
    try:
        chosen = [find(name) for name in rows] if rows else list(ROWS)
    except InputError as error:
        typer.echo(error, err=True)
        raise typer.Exit(2) from error
    for row in chosen:
        print(f"{row.name}: {row.work}", flush=True)
        measure(row, RESULTS)
        write_report()
    print(f"written: {REPORT}")


typer.run(main)
