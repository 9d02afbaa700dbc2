"""Single results with known values of perturbations, for tests of the leaderboard's data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from phenobench.results import Result, result_path, write_result
from tests.leaderboard.boards import about, score, shared


def perturbations(n: int, seed: int = 0, lift: float = 0.0, noise: float = 0.05) -> dict[str, float]:
    """Values of perturbations: what is easy and what is hard is shared by all seeds."""
    easy = 0.2 + 0.4 * np.random.default_rng(99).random(n)
    values = easy + lift + noise * np.random.default_rng(seed).standard_normal(n)
    return {f"p{number:03d}": float(value) for number, value in enumerate(values)}


def write(
    results: Path,
    model: str,
    values: Mapping[str, float],
    *,
    kind: str = "official",
    status: str = "weights published",
    screen: str = "screen-one",
    change: Callable[[dict[str, Any]], None] = lambda made: None,
) -> Path:
    """A result of replicate retrieval with one item a perturbation; ``change`` may alter it before it is written."""
    mean = float(np.mean(list(values.values())))
    made: dict[str, Any] = {
        **shared(model, kind, status, screen, "center"),
        "task": about("replicate-retrieval"),
        "scores": [{**score("mAP", "all", mean, 0.07, len(values), "perturbations"), "too_few": False}],
        "secondary": [score("normalized mAP", "all", mean / 2, 0.0, len(values), "perturbations")],
        "map": {"rows": "treated wells", "n": len(values)},
        "skipped": {},
        "warnings": [],
    }
    change(made)
    result = Result.model_validate(made)
    path = result_path(
        results, result.screen.id, result.model.label, result.normalization.name, result.task.id, result.task.variant
    )
    write_result(path, result, pd.DataFrame({"perturbation": list(values), "average_precision": list(values.values())}))
    return path
