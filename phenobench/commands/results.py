"""Commands that read results: ``leaderboard``, ``figures``, ``compare`` and ``check``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from phenobench.options import Results, Screens


def leaderboard(
    results: Results = None,
    format: Annotated[str, typer.Option("--format", help="markdown, csv or html.")] = "markdown",
    out: Annotated[Path | None, typer.Option("--out", help="The file to write; without one it is printed.")] = None,
) -> None:
    """The leaderboard of all results: as text, as a table, or as one page that needs no network."""
    from phenobench.files import write_text
    from phenobench.leaderboard import render
    from phenobench.suite import load_suite

    text = render(results or load_suite().results, format)
    if out is None:
        typer.echo(text, nl=False)
    else:
        write_text(out, text)
        typer.echo(out)


def figures(
    out: Annotated[Path, typer.Option("--out", help="The folder to draw into.")],
    results: Results = None,
    format: Annotated[str, typer.Option("--format", help="png, svg or pdf.")] = "png",
) -> None:
    """Draw each task of each screen (values, intervals, chance, items), and wells before and after normalization."""
    from phenobench.errors import unknown
    from phenobench.figures import FORMATS, draw_figures
    from phenobench.suite import load_suite

    formats = {kind: kind for kind in FORMATS}
    if format not in formats:
        raise unknown("format", format, formats)
    for path in draw_figures(results or load_suite().results, out, formats[format]):
        typer.echo(path)


def compare(
    first: Annotated[str, typer.Argument(help="A model as its folder of results is called, such as cwa-msn@demo.")],
    second: Annotated[str, typer.Argument(help="The model that it is compared with.")],
    task: Annotated[str, typer.Option("--task", help="A task's id.")],
    screen: Screens = None,
    normalization: Annotated[
        str | None, typer.Option("--normalization", help="A normalization that both have results of.")
    ] = None,
    variant: Annotated[str | None, typer.Option("--variant", help="A variant that both have results of.")] = None,
    results: Results = None,
) -> None:
    """Which of two models is better on a task, by how much, and what moved most."""
    from phenobench.comparison.display import show_comparison
    from phenobench.comparison.two_models import compare_models
    from phenobench.suite import load_suite

    suite = load_suite()
    show_comparison(compare_models(first, second, task, screen, normalization, variant, suite, results))


def check(
    results: Results = None,
    baseline: Annotated[
        Path | None, typer.Option("--baseline", help="The folder of results to hold these against.")
    ] = None,
    update: Annotated[
        bool, typer.Option("--update", help="Make these results the baseline, and remove from it what is gone.")
    ] = False,
    format: Annotated[
        str, typer.Option("--format", help="text, github (annotations) or markdown (a summary).")
    ] = "text",
) -> None:
    """Has a score fallen below the baseline? Exit code 0: no; 1: yes; 2: they cannot be compared."""
    from phenobench.regression import check_results, show, update_baseline
    from phenobench.suite import load_suite

    suite = load_suite()
    found = check_results(results or suite.results, baseline or suite.check.baseline, suite.check, updating=update)
    show(found, format)
    if update:
        typer.echo(update_baseline(found), err=True)
    elif found.exit_code:
        raise typer.Exit(found.exit_code)
