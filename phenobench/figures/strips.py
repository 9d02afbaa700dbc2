"""The best and the worst perturbations, genes or complexes of each model, with their items as dots."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from phenobench.figures.drawing import MODEL, panels
from phenobench.figures.items import Strip

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ENDS = 6


def strips(models: Sequence[tuple[str, Strip]], title: str) -> Figure:
    """A panel a model; all strips show the same."""
    about = models[0][1].about
    own = about.of == "perturbation"
    note = f"best and worst by {'their mean (bar)' if own else about.value}; dots: {about.dots}"
    # Names of complexes are long.
    columns, width = (2, 4.4) if about.of == "complex" else (3, 2.9)
    figure, axes = panels(len(models), columns, width, 0.8 + 0.17 * 2 * _ENDS, f"{title}\n{note}")
    for axis, (label, strip) in zip(axes, models, strict=True):
        _panel(axis, label, strip)
    return figure


def _panel(axis: Axes, label: str, strip: Strip) -> None:
    best, worst = strip.ends(_ENDS)
    rows = [*best, *worst]
    for place, row in enumerate(rows):
        # Whole also at the ends of the axis.
        own = axis.plot(row.dots, np.full(len(row.dots), place), "o", color=MODEL, alpha=0.5, clip_on=False)
        own[0].set(markersize=3, markeredgewidth=0)
        # Of pairs, the value is a share and the dots are cosines.
        if strip.about.of == "perturbation":
            axis.plot([row.value] * 2, [place - 0.35, place + 0.35], color=MODEL, linewidth=1.5)
    if worst:
        axis.axhline(len(best) - 0.5, color="black", linewidth=0.6, linestyle=":")
    axis.set_yticks(range(len(rows)), [f"{row.name}  {row.value:.2f}" for row in rows], fontsize=6)
    axis.set_ylim(len(rows) - 0.5, -0.5)
    axis.set_xlim(*strip.about.axis)
    axis.set_title(f"{label} (of {len(strip.order)})", fontsize=7)
