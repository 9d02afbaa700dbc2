"""Measure speed and memory, and write the report: ``python -m benchmarks [ROW ...] [--results FOLDER]``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmarks import RESULTS
from benchmarks.report import REPORT, write_report
from benchmarks.speed.rows import ROWS, find
from benchmarks.speed.run import measure
from benchmarks.speed.table import summary
from phenobench.errors import InputError


def main(
    rows: Annotated[
        list[str] | None, typer.Argument(help=f"All where none is named: {', '.join(r.name for r in ROWS)}.")
    ] = None,
    results: Annotated[
        Path, typer.Option(help="Where figures are kept; with another folder the report is written there too.")
    ] = RESULTS,
) -> None:
    """Measure the rows that are named, or all, and make the report of everything measured so far."""
    try:
        chosen = [find(name) for name in rows] if rows else list(ROWS)
    except InputError as error:
        typer.echo(error, err=True)
        raise typer.Exit(2) from error
    report = REPORT if results == RESULTS else results / REPORT.name
    for row in chosen:
        print(f"{row.name}: {row.work}", flush=True)
        measure(row, results)
        print(f"  {summary(row, results)}", flush=True)
        write_report(results, report)
    print(f"written: {report}")


typer.run(main)
