"""Values with their intervals and chance, a line a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from phenobench.figures.drawing import CHANCE, CONTROL, MODEL, panels
from phenobench.results import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLUMNS = 3


def forest(models: Sequence[Result], title: str) -> Figure:
    """A panel a score; the models in the order given."""
    shown = list(dict.fromkeys((score.metric, score.subset) for one in models for score in one.scores))
    note = "value with 95 % interval; orange: exact chance; grey: controls"
    figure, axes = panels(len(shown), _COLUMNS, 2.9, 0.7 + 0.28 * len(models), f"{title}\n{note}")
    for place, (axis, (metric, subset)) in enumerate(zip(axes, shown, strict=True)):
        _panel(axis, models, metric, subset)
        # All panels have the same lines: their names stand once a row.
        axis.set_yticks(range(len(models)), [one.model.label for one in models] if place % _COLUMNS == 0 else [])
    return figure


def _panel(axis: Axes, models: Sequence[Result], metric: str, subset: str) -> None:
    scores = [next((s for s in one.scores if (s.metric, s.subset) == (metric, subset)), None) for one in models]
    for place, (one, score) in enumerate(zip(models, scores, strict=True)):
        if score is not None:
            colour = CONTROL if one.model.status == "control" else MODEL
            axis.plot([score.ci_low, score.ci_high], [place, place], color=colour, linewidth=1.5)
            axis.plot(score.value, place, "o", color=colour, markersize=4)
            axis.plot([score.chance] * 2, [place - 0.35, place + 0.35], color=CHANCE, linewidth=1.2)
    worse = " (lower is better)" if any(score and not score.higher_is_better for score in scores) else ""
    axis.set_title(metric + ("" if subset == "all" else f" {subset}") + worse, fontsize=8)
    axis.set_ylim(len(models) - 0.5, -0.5)
    axis.set_xlim(left=min(0.0, axis.get_xlim()[0]) if any(s and s.ci_low < 0 for s in scores) else 0.0)
