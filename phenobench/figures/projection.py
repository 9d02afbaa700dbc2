"""Where wells lie before and after a normalization: principal components, by plate and by complex."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from phenobench.figures.drawing import CONTROL, LINES, MARKERS, panels
from phenobench.projections import Projection

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def projections(models: Sequence[tuple[str, Projection]], title: str) -> Figure:
    """A row a model: before and after, each by plate and by complex. A group has one colour in all rows.

    Args:
        models: labels and projections, at least one.
        title: of the figure.
    """
    note = "treated wells on two principal components, each on its own scale; grey: other plates, other genes"
    figure, axes = panels(4 * len(models), 4, 2.0, 1.9, f"{title}\n{note}")
    of_plates = sorted({name for _, shown in models for name in shown.plates if name})
    of_complexes = sorted({name for _, shown in models for name in shown.complexes if name})
    for row, (label, shown) in enumerate(models):
        panels_of_row = (
            (shown.before, "before, by plate", shown.plates, of_plates),
            (shown.before, "before, by complex", shown.complexes, of_complexes),
            (shown.after, "after, by plate", shown.plates, of_plates),
            (shown.after, "after, by complex", shown.complexes, of_complexes),
        )
        for axis, (places, said, names, known) in zip(axes[4 * row : 4 * row + 4], panels_of_row, strict=True):
            _scatter(axis, places, np.array(names), known)
            axis.set_title(said, fontsize=7)
        axes[4 * row].set_ylabel(label, fontsize=7)
    if of_plates:
        figure.legend(_handles(of_plates), of_plates, loc="outside lower left", fontsize=6, ncols=2, frameon=False)
    if of_complexes:
        figure.legend(
            _handles(of_complexes), of_complexes, loc="outside lower right", fontsize=6, ncols=2, frameon=False
        )
    return figure


def _scatter(axis: Axes, places: np.ndarray, names: np.ndarray, known: Sequence[str]) -> None:
    for number, name in [(-1, ""), *enumerate(known)]:
        own = places[names == name]
        if len(own):
            axis.plot(own[:, 0], own[:, 1], **_style(number))
    axis.set_xticks([])
    axis.set_yticks([])


def _handles(known: Sequence[str]) -> list[Artist]:
    from matplotlib.lines import Line2D

    return [Line2D([], [], **_style(number)) for number in range(len(known))]


def _style(number: int) -> dict[str, Any]:
    """Colour and marker of a group; -1 are the wells of no group."""
    colour, marker = (CONTROL, "o") if number < 0 else (LINES[number % len(LINES)], MARKERS[number % len(MARKERS)])
    size = 2.0 if number < 0 else 3.0
    return {"color": colour, "marker": marker, "linestyle": "", "markersize": size, "markeredgewidth": 0, "alpha": 0.8}
