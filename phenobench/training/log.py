"""The log of a training: a line of JSON for each step that is logged, and its curves as a picture."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from phenobench.errors import InputError
from phenobench.files import atomic, write_text

LOG = "log.jsonl"
CURVES = "loss.png"
_COLOUR = "#0072B2"


class Log:
    """Appends lines; a training that goes on from an earlier step forgets the lines after it."""

    def __init__(self, folder: Path, step: int) -> None:
        """Keep lines up to ``step`` of the log that is there.

        Raises:
            InputError: the folder cannot be written.
        """
        self.path = folder / LOG
        kept = [line for line in read_log(folder) if line["step"] <= step]
        write_text(self.path, "".join(json.dumps(line) + "\n" for line in kept))

    def add(self, figures: Mapping[str, float]) -> None:
        """Add a line.

        Raises:
            InputError: it cannot be written.
        """
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(figures) + "\n")
        except OSError as error:
            raise InputError(f"cannot write {self.path}: {error.strerror}; free some space and --resume") from error


def read_log(folder: Path) -> list[dict[str, float]]:
    """All whole lines of a log; none where there is no log."""
    found = []
    with suppress(FileNotFoundError):
        for line in (folder / LOG).read_text(encoding="utf-8").splitlines():
            with suppress(ValueError):  # the last line of a training that was killed
                found.append(json.loads(line))
    return found


def draw_curves(folder: Path) -> Path:
    """Draw the log: a panel for each figure that is not bookkeeping, over steps.

    Raises:
        InputError: the picture cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    lines = read_log(folder)
    names = [name for name in (lines[-1] if lines else {"loss": 0.0}) if name not in ("step", "seconds")]
    columns = min(4, len(names))
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(2.6 * columns, 1.9 * rows))
    FigureCanvasAgg(figure)
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True).ravel()
    figure.subplots_adjust(left=0.05, right=0.99, bottom=0.08, top=0.93, wspace=0.3, hspace=0.4)
    for panel in panels[len(names) :]:
        panel.set_visible(False)
    for panel, name in zip(panels, names, strict=False):
        panel.plot([line["step"] for line in lines], [line.get(name) for line in lines], color=_COLOUR, linewidth=0.8)
        panel.set_title(name.replace("_", " "), fontsize=8)
        panel.tick_params(labelsize=7)
        panel.spines[["top", "right"]].set_visible(False)
    path = folder / CURVES
    with atomic(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150, metadata={"Software": ""})
    return path
