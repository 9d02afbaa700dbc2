"""What all figures for a paper share: colours, the grid of panels, and files that are the same for the same results."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from phenobench.files import atomic

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

Format = Literal["png", "svg", "pdf"]
FORMATS: tuple[Format, ...] = ("png", "svg", "pdf")

# Okabe and Ito's colours keep apart for all kinds of colour vision.
MODEL, CONTROL, CHANCE = "#0072B2", "#999999", "#D55E00"
LINES = ("#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
# For those who cannot tell these apart either, and for print.
MARKERS = ("o", "s", "^", "D", "v", "P")
# Inches; a title needs as much.
_LEAST_WIDTH = 5.0
# Inches, of a letter of a title.
_LETTER = 0.075


def panels(n: int, columns: int, width: float, height: float, title: str) -> tuple[Figure, np.ndarray]:
    """A figure with a title and its first n panels, row by row; panels of a size in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(n, columns)
    rows = -(-n // columns)
    wide = max(_LEAST_WIDTH, width * columns + 0.3)
    lines = [part for line in title.splitlines() for part in textwrap.wrap(line, int(wide / _LETTER))]
    figure = Figure(figsize=(wide, height * rows + 0.3 + 0.15 * len(lines)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes[n:]:
        axis.set_visible(False)
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=7)
    figure.suptitle("\n".join(lines), fontsize=9, x=0.01, ha="left")
    return figure, axes[:n]


def save(figure: Figure, path: Path, kind: Format) -> None:
    """Write a figure whole, with neither a date nor a random id: the same results give the same bytes.

    Raises:
        InputError: the file cannot be written.
    """
    import matplotlib as mpl

    metadata = {"png": {"Software": ""}, "svg": {"Date": ""}, "pdf": {"CreationDate": None}}[kind]
    with atomic(path) as temporary, mpl.rc_context({"svg.hashsalt": "phenobench"}):
        figure.savefig(temporary, format=kind, dpi=200, metadata=metadata)
