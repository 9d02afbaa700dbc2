"""Figures for a paper: a forest plot for each screen, task and normalization, drawn from result files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from phenobench.errors import InputError
from phenobench.files import atomic
from phenobench.results import Result, find_results, read_result

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Format = Literal["png", "svg", "pdf"]
FORMATS: tuple[Format, ...] = ("png", "svg", "pdf")

# Okabe and Ito's colours keep apart for all kinds of colour vision.
_MODEL, _CONTROL, _CHANCE = "#0072B2", "#999999", "#D55E00"
_MOST_COLUMNS = 3


def draw_figures(results: Path, out: Path, kind: Format) -> list[Path]:
    """Draw every task of every screen below ``results``; each file is written whole.

    Raises:
        InputError: there is no result, one cannot be read, or ``out`` cannot be written.
    """
    found = [read_result(path) for path in find_results(results)]
    if not found:
        raise InputError(f"{results} holds no result; run phenobench run first, or name the folder with --results")
    groups: dict[tuple[str, str, str, str], list[Result]] = {}
    for result in found:
        key = (result.screen.id, result.task.id, result.task.variant, result.normalization.name)
        groups.setdefault(key, []).append(result)
    written = []
    for key, group in sorted(groups.items()):
        path = out / f"{'.'.join(key)}.{kind}"
        _forest(group, path, kind)
        written.append(path)
    return written


def _forest(results: Sequence[Result], path: Path, kind: Format) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # Models above controls, better ones first; the order is that of the primary score.
    models = sorted(results, key=lambda one: (one.model.status == "control", -one.scores[0].value, one.model.id))
    panels = list(dict.fromkeys((score.metric, score.subset) for one in models for score in one.scores))
    columns = min(len(panels), _MOST_COLUMNS)
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(1.6 + 2.4 * columns, 0.9 + rows * (0.9 + 0.28 * len(models))), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
    for axis, (metric, subset) in zip(axes, panels, strict=False):
        _panel(axis, models, metric, subset)
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    first = models[0]
    figure.suptitle(
        f"{first.screen.id}: {first.task.id} ({first.task.variant}), {first.normalization.name}\n"
        "value with 95 % interval; orange: exact chance; grey: controls",
        fontsize=9,
        x=0.01,
        ha="left",
    )
    # Neither a date nor a random id: the same results give the same bytes.
    metadata = {"png": {"Software": ""}, "svg": {"Date": ""}, "pdf": {"CreationDate": None}}[kind]
    with atomic(path) as temporary:
        import matplotlib as mpl

        with mpl.rc_context({"svg.hashsalt": "phenobench"}):
            figure.savefig(temporary, format=kind, dpi=200, metadata=metadata)


def _panel(axis: Axes, models: Sequence[Result], metric: str, subset: str) -> None:
    for place, one in enumerate(models):
        for score in one.scores:
            if (score.metric, score.subset) != (metric, subset):
                continue
            colour = _CONTROL if one.model.status == "control" else _MODEL
            axis.plot([score.ci_low, score.ci_high], [place, place], color=colour, linewidth=1.5)
            axis.plot(score.value, place, "o", color=colour, markersize=4)
            axis.plot([score.chance] * 2, [place - 0.35, place + 0.35], color=_CHANCE, linewidth=1.2)
    worse = "" if all(score.higher_is_better for one in models for score in one.scores) else " (lower is better)"
    axis.set_title(metric + ("" if subset == "all" else f" {subset}") + worse, fontsize=8)
    axis.set_yticks(range(len(models)), [one.model.label for one in models], fontsize=8)
    axis.set_ylim(len(models) - 0.5, -0.5)
    axis.tick_params(axis="x", labelsize=7)
    axis.set_xlim(left=0.0)
    axis.spines[["top", "right"]].set_visible(False)
