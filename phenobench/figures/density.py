"""How alike annotated pairs are, beside all pairs of the map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from phenobench.figures.drawing import CONTROL, MODEL, panels
from phenobench.figures.items import Strip

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def densities(models: Sequence[tuple[str, Strip]], title: str) -> Figure:
    """A panel a model: cosines of annotated pairs, and of all pairs where the result has their histogram."""
    note = "cosines; blue: annotated pairs; grey: all pairs of the map"
    figure, axes = panels(len(models), 3, 2.9, 1.7, f"{title}\n{note}")
    for axis, (label, strip) in zip(axes, models, strict=True):
        edges = np.linspace(*strip.about.axis, 1 + (41 if strip.others is None else len(strip.others)))
        if strip.others is not None:
            axis.stairs(_density(strip.others, edges), edges, color=CONTROL, fill=True, alpha=0.5)
        axis.stairs(_density(np.histogram(strip.dots, edges)[0], edges), edges, color=MODEL, linewidth=1.2)
        axis.set_title(f"{label} ({len(strip.dots)} pairs)", fontsize=8)
        axis.set_xticks(np.linspace(*strip.about.axis, 5))
        axis.set_yticks([])
    return figure


def _density(counts: np.ndarray, edges: np.ndarray) -> np.ndarray:
    return np.asarray(counts / (counts.sum() * np.diff(edges)))
