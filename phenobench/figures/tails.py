"""Recall of annotated pairs against the width of the tails that count."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from phenobench.figures.drawing import CHANCE, CONTROL, LINES, MARKERS, panels
from phenobench.results import Result, ScoreInfo

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Percent between neighbours, so that their intervals do not cover each other.
_STEP = 0.08


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
    note = "recall against the width of each tail, models side by side at each; orange: exact chance; grey: controls"
    figure, axes = panels(len(shown), 3, 2.9, 2.4, f"{title}\n{note}")
    for axis, subset in zip(axes, shown, strict=True):
        _panel(axis, models, subset)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower left", fontsize=7, ncols=3, frameon=False)
    return figure


def _panel(axis: Axes, models: Sequence[Result], subset: str) -> None:
    styles = _styles(models)
    for place, (one, style) in enumerate(zip(models, styles, strict=True)):
        points = recall_by_tail(one, subset)
        widths = [width + _STEP * (place - (len(models) - 1) / 2) for width, _ in points]
        values = [score.value for _, score in points]
        below = [score.value - score.ci_low for _, score in points]
        above = [score.ci_high - score.value for _, score in points]
        bars = axis.errorbar(widths, values, yerr=[below, above], elinewidth=0.6, label=one.model.label)
        bars.lines[0].set(**style)
        for bar in bars.lines[2]:
            bar.set_color(style["color"])
    points = next(filter(None, (recall_by_tail(one, subset) for one in models)))
    chance = [0, *(score.chance for _, score in points)]
    axis.plot([0, *(width for width, _ in points)], chance, color=CHANCE, linestyle=":", linewidth=1.6, zorder=9)
    axis.set_title(subset, fontsize=8)
    axis.set_xlabel("width of each tail, %", fontsize=7)
    axis.set_ylim(0, 1.02)
    axis.set_xlim(left=0)


def _styles(models: Sequence[Result]) -> list[dict[str, Any]]:
    """Line and marker of each model: colours go round, then lines are dashed; controls are grey by their markers."""
    styles: list[dict[str, Any]] = []
    of_kind = {True: 0, False: 0}
    for one in models:
        control = one.model.status == "control"
        number = of_kind[control]
        of_kind[control] += 1
        styles.append(
            {
                "color": CONTROL if control else LINES[number % len(LINES)],
                "marker": MARKERS[number % len(MARKERS)] if control else "o",
                "linestyle": "-" if control or number < len(LINES) else "--",
                "linewidth": 0.8 if control else 1.2,
                "markersize": 3,
            }
        )
    return styles
