"""Groups of wells that a normalization is fitted in, statistics of their controls, and rows changed group by group."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np

from phenobench.compiled import compiled_to_the_bit
from phenobench.errors import InputError
from phenobench.metrics.threads import in_threads
from phenobench.profiles import ROLES, Profiles

By = Literal["plate", "batch"] | None
Controls = Literal["negcon", "all"]
# From rows, which it may write over, to rows, for which the second argument has room.
Change = Callable[[np.ndarray, np.ndarray], np.ndarray]
Statistics = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]

# Features held in float64 at a time, of one thread: 2**18 are 2 MiB, and for a statistic of whole columns 32 MiB.
_BLOCK_CELLS, _COLUMN_CELLS = 2**18, 2**22
# Columns of so many controls' features are worth a thread.
_PART_CELLS = 2**20


@dataclass(frozen=True)
class Fit:
    """The groups a step is fitted in: for each, its rows and the rows it is fitted on, both ascending."""

    rows: list[np.ndarray]
    fitted: list[np.ndarray]
    record: dict[str, Any]


def fit_groups(profiles: Profiles, step: str, by: By, controls: Controls) -> Fit:
    """The groups of a step, and what the record says of them.

    Raises:
        InputError: no column for the plate where the step needs it, no negative control, or fewer than two in a group.
    """
    if by is not None:
        _require_plates(profiles, step, by)
    codes, names = profiles.groups(by)
    usable = np.ones(len(profiles), dtype=bool) if controls == "all" else profiles.negative_controls
    if not usable.any():
        raise InputError(
            f"{step}: there is no negative control to fit on; name them with --negcon Column=Value "
            "(or --label Column=Value:negcon), or use --normalization none"
        )
    counts = np.bincount(codes[usable], minlength=len(names))
    if counts.min() < 2:
        group = names[int(counts.argmin())]
        raise InputError(
            f"{step}: {group} has {counts.min()} negative controls and needs at least 2; name more with --negcon, "
            "leave the wells out with --exclude, or use a normalization that is fitted on larger groups"
        )
    order = np.argsort(codes, kind="stable")
    rows = np.split(order, np.cumsum(np.bincount(codes, minlength=len(names)))[:-1])
    record = {
        "step": step,
        "fitted_on": "all wells" if controls == "all" else "negative controls",
        "by": by or "all wells together",
        "n_groups": len(names),
        "n_fitted": int(counts.sum()),
        "n_fitted_min": int(counts.min()),
    }
    return Fit(rows, [index[usable[index]] for index in rows], record)


def _require_plates(profiles: Profiles, step: str, by: Literal["plate", "batch"]) -> None:
    """Refuse a step that needs plates where no column names them; batches stand in only where every well has one."""
    batches = profiles.metadata.get(ROLES["batch"])
    by_batch = by == "batch" and batches is not None and batches.notna().all()
    if ROLES["plate"] in profiles.metadata or by_batch:
        return
    needs = "plate" if by == "plate" else "batch, for which the plate stands where a well has none"
    raise InputError(
        f"{step}: this step is fitted by {needs}, and there is no column for the plate; name it with "
        "--column plate=NAME, take each file for one with --plate-from-file, or use --normalization none"
    )


def change_groups(
    features: np.ndarray,
    fit: Fit,
    width: int,
    change_of: Callable[[np.ndarray], Change],
    precision: type[np.floating[Any]] = np.float64,
) -> np.ndarray:
    """All rows, each through what ``change_of`` makes of the rows its group is fitted on, float32 (n, width).

    Computed in ``precision`` by blocks of rows, so that memory holds the features and what becomes of them. Each thread
    keeps its two blocks: memory that is new to the process costs as much as what is computed in it.
    """
    d = features.shape[1]
    changed = np.empty((len(features), width), dtype=np.float32)
    step = max(1, _BLOCK_CELLS // max(1, d))
    held = threading.local()

    def work(group: int) -> None:
        rows, change = fit.rows[group], change_of(fit.fitted[group])
        if not hasattr(held, "blocks"):
            held.blocks = np.empty((step, d), precision), np.empty((step, width), precision)
        for start in range(0, len(rows), step):
            block = _in_one_piece(rows[start : start + step])
            before, after = (each[: len(rows) - start] for each in held.blocks)
            before[:] = features[block]
            changed[block] = change(before, after)

    in_threads(work, range(len(fit.rows)))
    return changed


def _in_one_piece(rows: np.ndarray) -> np.ndarray | slice:
    """Ascending rows as a slice where none is left out, so that they need not be gathered."""
    return slice(rows[0], rows[-1] + 1) if rows[-1] - rows[0] == len(rows) - 1 else rows


def shift_and_scale(profiles: Profiles, fit: Fit, statistics: Statistics) -> np.ndarray:
    """(x - location) / scale within each group, float32 (n, d); ``statistics`` of rows are location and scale (d,)."""
    d = profiles.features.shape[1]

    def change_of(fitted: np.ndarray) -> Change:
        parts = max(1, min(d, -(-d * len(fitted) // _COLUMN_CELLS)))
        found = [
            statistics(profiles.values[fitted[:, None], columns].astype(np.float64))
            for columns in np.array_split(np.arange(d), parts)
        ]
        location, scale = (np.concatenate(each) for each in zip(*found, strict=True))
        return partial(_shifted_and_scaled, location, scale)

    return change_groups(profiles.values, fit, d, change_of)


def _shifted_and_scaled(location: np.ndarray, scale: np.ndarray, block: np.ndarray, _: np.ndarray) -> np.ndarray:
    block -= location
    block /= scale
    return block


def varying(scale: np.ndarray, location: np.ndarray) -> np.ndarray:
    """``scale`` with 1 where the controls do not vary beyond rounding (scikit-learn's convention)."""
    return np.where(scale > 10 * np.finfo(np.float32).eps * np.abs(location), scale, 1.0)


def mean_sd(controls: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation by column (d,), 1 where it is rounding."""
    mean, scale, _ = mean_sd_varied(controls)
    return mean, scale


def mean_sd_varied(controls: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """``mean_sd``, and whether a column varies beyond rounding (d,)."""
    mean, deviation = controls.mean(axis=0), controls.std(axis=0)
    scale = varying(deviation, mean)
    return mean, scale, scale == deviation


@compiled_to_the_bit
def _center(rows: np.ndarray, mean: np.ndarray, squares: np.ndarray) -> None:
    """Subtract the mean by column from float64 rows (c, d), fill it in (d,), and the squares of what is left (d,)."""
    for row in rows:
        for column in range(len(row)):
            mean[column] += row[column]
    for column in range(len(mean)):
        mean[column] /= len(rows)
    for row in rows:
        for column in range(len(row)):
            row[column] -= mean[column]
            squares[column] += row[column] * row[column]


def standardize_in_place(controls: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Subtract the ``mean_sd_varied`` mean of float64 controls (c, d), divide by the deviation, and return the three.

    Columns in parts, each in a thread; the parts depend on the shape alone.
    """
    d = controls.shape[1]
    parts = np.array_split(np.arange(d), max(1, min(d, controls.size // _PART_CELLS)))

    def work(columns: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        part = controls[:, columns[0] : columns[-1] + 1]
        mean, squares = np.zeros((2, len(columns)))
        _center(part, mean, squares)
        deviation = np.sqrt(squares / len(part))
        scale = varying(deviation, mean)
        part /= scale
        return mean, scale, scale == deviation

    mean, scale, varied = (np.concatenate(each) for each in zip(*in_threads(work, parts), strict=True))
    return mean, scale, varied
