"""Recall of annotated pairs against the width of the tails that count."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from phenobench.figures.drawing import CHANCE, CONTROL, LINES, panels
from phenobench.results import Result, ScoreInfo

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def recall_by_tail(result: Result, subset: str) -> list[tuple[float, ScoreInfo]]:
    """The recalls of a source by the width of each tail in percent, narrow ones first."""
    tails = result.task.protocol.get("tails")
    found = []
    for score in (*result.scores, *result.secondary):
        width = re.fullmatch(r"recall ([\d.]+) %", score.metric)
        if score.subset == subset and width is not None:
            found.append((float(width[1]), score))
        elif score.subset == subset and score.metric == "recall" and tails:
            found.append((100 * float(tails[0]), score))
    return sorted(found, key=lambda pair: pair[0])


def tail_widths(models: Sequence[Result], title: str) -> Figure | None:
    """A panel a source, a line a model, dashed where it repeats a colour; None where there is one width only."""
    subsets = list(dict.fromkeys(score.subset for one in models for score in one.scores))
    shown = [subset for subset in subsets if any(len(recall_by_tail(one, subset)) > 1 for one in models)]
    if not shown:
        return None
    note = "recall against the width of each tail; orange: exact chance; grey: controls"
    figure, axes = panels(len(shown), 3, 2.9, 2.4, f"{title}\n{note}")
    for axis, subset in zip(axes, shown, strict=True):
        _panel(axis, models, subset)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower left", fontsize=7, ncols=3, frameon=False)
    return figure


def _panel(axis: Axes, models: Sequence[Result], subset: str) -> None:
    line = 0
    for one in models:
        points = recall_by_tail(one, subset)
        widths = [width for width, _ in points]
        control = one.model.status == "control"
        colour = CONTROL if control else LINES[line % len(LINES)]
        style = "-" if line < len(LINES) or control else "--"
        line += not control
        values = [score.value for _, score in points]
        below = [score.value - score.ci_low for _, score in points]
        above = [score.ci_high - score.value for _, score in points]
        axis.errorbar(
            widths,
            values,
            yerr=[below, above],
            color=colour,
            linestyle=style,
            linewidth=1.2,
            elinewidth=0.6,
            marker="o",
            markersize=3,
            label=one.model.label,
        )
        if one is models[0]:
            axis.plot([0, *widths], [0, *(score.chance for _, score in points)], color=CHANCE, linewidth=1.2, zorder=0)
    axis.set_title(subset, fontsize=8)
    axis.set_xlabel("width of each tail, %", fontsize=7)
    axis.set_ylim(0, 1.02)
    axis.set_xlim(left=0)
