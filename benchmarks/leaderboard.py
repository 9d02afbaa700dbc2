"""How long do the leaderboard and the check take? ``python -m benchmarks.leaderboard [--results 3000]``.

The results are made from the committed ones in a temporary folder: other names, and values that are scaled
with their items, so that every paired comparison is done. Each command is a process of its own, as a user
starts it; ``check`` holds the results against a copy of themselves, once equal and once with all scores lower.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from functools import cache
from itertools import product
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer

from benchmarks import RESULTS
from benchmarks.markdown import table
from benchmarks.speed.run import machine
from phenobench.files import write_text
from phenobench.results import Result, find_results, items_path, read_result, result_path, write_result

FILE = "leaderboard.json"
# What the project asks for, in seconds.
AIMS = {"leaderboard markdown": 10.0, "leaderboard csv": 10.0, "leaderboard html": 10.0, "check": 3.0}
_KINDS = ("markdown", "csv", "html")
_COMMITTED = Path(__file__).parents[1] / "results"
# Together with two variants of each task, more cells than any number of results that is asked for here.
_SCREENS, _NORMALIZATIONS, _MODELS, _VARIANTS = 4, ("none", "center", "tvn", "center+tvn"), 30, ("default", "again")
_VALUES = ("value", "ci_low", "ci_high")
_INTRODUCTION = """## The leaderboard and the check on many results

`python -m benchmarks.leaderboard`: results are made from the committed ones with other names and numbers, and each
command is run as a process of its own; seconds are the median of the rounds, and the slowest round.
"""


def main(
    results: Annotated[int, typer.Option(help="How many result files.")] = 3000,
    rounds: Annotated[int, typer.Option(help="How often each command is run.")] = 3,
) -> None:
    """Make the results, time the commands, and keep the figures."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        made = make(root / "results", results)
        make(root / "lower", results, by=0.97)
        seconds: dict[str, list[float]] = {}
        commands = {
            **{f"leaderboard {kind}": ["leaderboard", "--format", kind, "--out", "board"] for kind in _KINDS},
            "check": ["check", "--baseline", "copy"],
            "check, all scores lower": ["check", "--baseline", "results", "--results", "lower"],
        }
        shutil.copytree(root / "results", root / "copy")
        for _, (name, command) in product(range(rounds), commands.items()):
            seconds.setdefault(name, []).append(_seconds(command, root))
        size = (root / "board").stat().st_size
    figures = {"machine": machine(), "results": made, "bytes": size, "seconds": seconds}
    write_text(RESULTS / FILE, json.dumps(figures, indent=1) + "\n")
    print(section(RESULTS))


def make(folder: Path, n: int, by: float = 1.0) -> int:
    """Write results with their items below a folder, every model's values lower than those of the one before.

    Args:
        folder: the folder of results.
        n: how many; fewer where there are not so many cells.
        by: what all values are multiplied with besides.

    Returns:
        How many there are.
    """
    bases = [paths for paths in _committed().values() if read_result(paths[0]).model.status != "control"]
    cells = product(range(_SCREENS), _NORMALIZATIONS, _VARIANTS, range(_MODELS))
    written = 0
    for screen, normalization, variant, model in cells:
        for path in bases[model % len(bases)]:
            if written == n:
                return written
            made, items = _scaled(path, by * (1 - model / 100))
            names: dict[str, dict[str, Any]] = {
                "model": {"id": f"model-{model}", "weights": {"kind": "official"}},
                "screen": {"id": f"screen-{screen}"},
                "normalization": {"name": normalization},
                "task": {"variant": variant},
            }
            for block, values in names.items():
                _set(made[block], values)
            made["fingerprint"] = f"{written:032d}{round(1e6 * by):032d}"
            result = Result.model_validate(made)
            label = None if variant == _VARIANTS[0] else variant
            place = result_path(folder, f"screen-{screen}", f"model-{model}", normalization, result.task.id, label)
            write_result(place, result, items)
            written += 1
    return written


def _committed() -> dict[Path, list[Path]]:
    """The results of each model's ``center``, which all tasks are scored on."""
    found: dict[Path, list[Path]] = {}
    for path in find_results(_COMMITTED):
        if path.parent.name == "center":
            found.setdefault(path.parent, []).append(path)
    return found


def _scaled(path: Path, factor: float) -> tuple[dict[str, Any], pd.DataFrame]:
    """A result and its items with smaller values: the means of the items are still the scores."""
    made, items = read_result(path).model_dump(mode="json"), _items(path).copy()
    for score in (*made["scores"], *made["secondary"]):
        score.update({name: factor * score[name] for name in _VALUES})
    items[items.columns[items.dtypes == np.float64]] *= factor
    return made, items


@cache
def _items(path: Path) -> pd.DataFrame:
    return pd.read_parquet(items_path(path))


def _set(block: dict[str, Any], values: dict[str, Any]) -> None:
    for name, value in values.items():
        if isinstance(value, dict):
            _set(block[name], value)
        else:
            block[name] = value


def _seconds(command: list[str], folder: Path) -> float:
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "phenobench", *command], cwd=folder, capture_output=True, check=False)
    if done.returncode not in (0, 1):
        raise RuntimeError(done.stderr.decode())
    return time.perf_counter() - start


def section(results: Path) -> str:
    """The section of the report; nothing where it was not measured."""
    path = results / FILE
    if not path.is_file():
        return ""
    figures = json.loads(path.read_text(encoding="utf-8"))
    rows = [
        (name, f"{median(found):.1f}", f"{max(found):.1f}", f"< {AIMS[name]:g}" if name in AIMS else "")
        for name, found in figures["seconds"].items()
    ]
    about = ", ".join(f"{name} {value}" for name, value in figures["machine"].items())
    head = table(("command", "median, s", "slowest, s", "asked"), rows)
    note = f"{figures['results']:,} results; the page has {figures['bytes'] / 1e6:.2f} MB. Machine: {about}.\n"
    return f"{_INTRODUCTION}\n{head}\n{note}"


if __name__ == "__main__":
    typer.run(main)
