"""Figures for a paper: values with intervals, recall by tail width, what lies behind them, and where wells lie."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from phenobench.errors import InputError
from phenobench.figures.drawing import FORMATS, Format
from phenobench.results import Result, as_label, find_results, read_result

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["FORMATS", "Format", "draw_figures"]


def draw_figures(results: Path, out: Path, kind: Format) -> list[Path]:
    """Draw every task of every screen below ``results``; each file is written whole.

    Raises:
        InputError: there is no result, one cannot be read, or ``out`` cannot be written.
    """
    from phenobench.figures.drawing import save

    found = [(path, read_result(path)) for path in find_results(results)]
    if not found:
        raise InputError(f"{results} holds no result; run phenobench run first, or name the folder with --results")
    groups: dict[tuple[str, str, str, str], list[tuple[Path, Result]]] = {}
    for path, result in found:
        key = (result.screen.id, result.task.id, result.task.variant, result.normalization.name)
        groups.setdefault(key, []).append((path, result))
    written = []
    for key, group in sorted(groups.items()):
        # Models above controls, better ones first; the order is that of the primary score.
        sign = -1 if group[0][1].scores[0].higher_is_better else 1
        group.sort(
            key=lambda one: (one[1].model.status == "control", sign * one[1].scores[0].value, one[1].model.label)
        )
        for name, figure in _figures(key, group):
            path = out / f"{'.'.join(map(as_label, key))}{name}.{kind}"
            save(figure, path, kind)
            written.append(path)
    for name, figure in _of_wells(results, found):
        save(figure, out / f"{name}.{kind}", kind)
        written.append(out / f"{name}.{kind}")
    return written


def _of_wells(results: Path, found: list[tuple[Path, Result]]) -> Iterator[tuple[str, Figure]]:
    """The wells of each screen before and after each normalization, where a run has kept them."""
    from phenobench.figures.projection import projections
    from phenobench.projections import projection_path, read_projection

    cells = sorted({(one.screen.id, one.normalization.name, one.model.label) for _, one in found})
    for (screen, normalization), group in groupby(cells, key=lambda cell: cell[:2]):
        paths = {model: projection_path(results, screen, model, normalization) for _, _, model in group}
        read = [(model, read_projection(path)) for model, path in paths.items()]
        shown = [(model, projection) for model, projection in read if projection is not None]
        if shown:
            yield f"{screen}.projection.{normalization}", projections(shown, f"{screen}: wells, {normalization}")


def _figures(key: tuple[str, str, str, str], group: list[tuple[Path, Result]]) -> Iterator[tuple[str, Figure]]:
    """What is drawn of a task, with what its file's name ends in."""
    from phenobench.figures.density import densities
    from phenobench.figures.forest import forest
    from phenobench.figures.items import About, Strip, read_strips
    from phenobench.figures.strips import strips
    from phenobench.figures.tails import tail_widths

    screen, task, variant, normalization = key
    title = f"{screen}: {task} ({variant}), {normalization}"
    models = [result for _, result in group]
    yield "", forest(models, title)
    tails = tail_widths(models, title)
    if tails is not None:
        yield ".tails", tails
    by_about: dict[About, list[tuple[str, Strip]]] = {}
    for path, result in group:
        if result.model.status != "control":
            for strip in read_strips(path, result):
                by_about.setdefault(strip.about, []).append((result.model.label, strip))
    for about, shown in by_about.items():
        subset = "" if about.subset == "all" else f"{as_label(about.subset)}-"
        yield f".{subset}{about.of}", strips(shown, f"{title}, {about.subset}")
        if about.of == "gene":
            yield f".{subset}density", densities(shown, f"{title}, {about.subset}")
