"""Progress of a training in the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from phenobench.training.trainer import Watch


@contextmanager
def training_progress(name: str) -> Iterator[Watch]:
    """A bar on stderr, where someone looks at it: steps, loss, rate and time left."""
    console = Console(stderr=True)
    columns = (
        TextColumn(f"training {name}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[figures]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    task = bar.add_task("training", total=None, figures="")

    def show(done: int, total: int, figures: Mapping[str, float]) -> None:
        bar.start()  # not before: rendering a screen has a bar of its own
        bar.update(task, completed=done, total=total)
        if figures:
            text = f"loss {figures['loss']:.3f}, {figures['images_per_second']:.0f} images/s"
            bar.update(task, figures=text)

    try:
        yield show
    finally:
        bar.stop()
