"""Illumination functions: what an evenly lit field looks like in each channel of a plate, as CellProfiler writes it."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np

from phenobench.errors import InputError

# As many as two plates have.
_HELD = 16


def holding() -> Callable[[Path], np.ndarray]:
    """``read_function`` that holds the last few, for threads to share; what it gives is to be left as it is."""
    return lru_cache(_HELD)(read_function)


def read_function(path: Path) -> np.ndarray:
    """An illumination function, float (h, w), from a ``.npy`` file.

    Raises:
        InputError: the file cannot be read, or holds anything but positive numbers.
    """
    try:
        values: np.ndarray = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path} is no illumination function that can be read ({error}); leave it out") from error
    if values.dtype.kind != "f" or not (np.isfinite(values) & (values > 0)).all():
        raise InputError(f"{path} is no illumination function: it needs positive numbers; leave it out")
    return values


def corrected(image: np.ndarray, function: np.ndarray, path: Path) -> np.ndarray:
    """An image divided by its illumination function, rounded, in the image's own type.

    Raises:
        InputError: the function is of another size; ``path`` is the image's.
    """
    if function.shape != image.shape:
        raise InputError(
            f"{path} is {image.shape} and its illumination function {function.shape}; give it one of its own size, "
            "or use none"
        )
    return np.clip(np.rint(image / function), 0, np.iinfo(image.dtype).max).astype(image.dtype)
