"""How rendering the simulated screen scales with cores: ``python -m benchmarks.rendering``.

Renders the default screen's images with one worker and with one a core, in turn and each into an
empty folder, and prints the ratio of each pair of runs and their median. A shared machine drifts by more than
the ratio's last digits, which is why pairs are compared and not sums.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from pathlib import Path

import typer

from phenobench.cards import find, load
from phenobench.screens.simulated import SimulatedCard, layout
from phenobench.screens.simulated_images import WORKERS_VARIABLE, field_images


def seconds(card: SimulatedCard, workers: int) -> float:
    """Wall-clock time for all fields, worker processes' start included."""
    os.environ[WORKERS_VARIABLE] = str(workers)
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        for _ in field_images(card, layout(card), Path(folder)):
            pass
        return time.perf_counter() - begun


def main(pairs: int = 5) -> None:
    """Print the time of each run and the ratios."""
    card = load(find().screens["simulated"], SimulatedCard)
    fields = len(layout(card)) * card.fields_per_well
    cores = os.cpu_count() or 1
    ratios = []
    for _ in range(pairs):
        one, many = seconds(card, 1), seconds(card, cores)
        ratios.append(one / many)
        print(
            f"{fields} fields: {one:.1f} s on one core ({1000 * one / fields:.1f} ms a field), "
            f"{many:.1f} s on {cores}: {ratios[-1]:.2f} x"
        )
    print(f"median {statistics.median(ratios):.2f} x")


if __name__ == "__main__":
    typer.run(main)
