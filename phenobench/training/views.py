"""Views of fields: crops, flips, turns, and dropped patches, cut before anything is computed on them.

A view is a function of its seed. What is dropped is never converted nor embedded, which makes a training on few patches
several times as fast.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field

from phenobench.errors import InputError


class ViewConfig(BaseModel):
    """A kind of view.

    Attributes:
        count: how many of a field.
        size: side in pixels of the square that is cut out, at a random place, without a change of scale (the size of
            a cell is a phenotype); a multiple of the network's patch.
        keep: the share of its patches that is kept, the others are dropped at random.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    count: int = Field(default=1, ge=1)
    size: int = Field(ge=1)
    keep: float = Field(default=1.0, gt=0, le=1)


@dataclass(frozen=True)
class Patches:
    """One view of each field of a batch, as ``VisionTransformer.embed_patches`` takes it.

    Attributes:
        values: (n, k, c * patch * patch), as the fields' pixels.
        grid: rows and columns of patches in the view.
        keep: (k,) which of the grid's patches these are; the same for the whole batch, as in MSN.
    """

    values: torch.Tensor
    grid: tuple[int, int]
    keep: torch.Tensor

    def to(self, device: torch.device) -> Patches:
        """The same on a device."""
        return Patches(self.values.to(device, non_blocking=True), self.grid, self.keep.to(device, non_blocking=True))


class Placement(NamedTuple):
    """What is random in a view of one field: the place of the crop from 0 to 1, quarter turns, a flip."""

    down: float
    right: float
    turns: int
    flip: bool


def placements(rng: np.random.Generator, n: int) -> list[Placement]:
    """Placements of n fields."""
    places, turns, flips = rng.random((n, 2)), rng.integers(0, 4, n), rng.integers(0, 2, n)
    return [
        Placement(float(down), float(right), int(turn), bool(flip))
        for (down, right), turn, flip in zip(places, turns, flips, strict=True)
    ]


def kept_patches(rng: np.random.Generator, view: ViewConfig, patch: int) -> np.ndarray:
    """Which patches of a view are kept, (k,) in ascending order: floor of the share, and at least one."""
    patches = (view.size // patch) ** 2
    return np.sort(rng.permutation(patches)[: max(1, math.floor(patches * view.keep))])


def cut(fields: Sequence[np.ndarray], placed: Sequence[Placement], size: int, patch: int, keep: np.ndarray) -> Patches:
    """Cut the same patches out of a view of each field.

    Args:
        fields: (c, h, w) each, of one type; left as they are.
        placed: as many.
        size: side of the view in pixels.
        patch: side of a patch in pixels.
        keep: (k,) indices into the view's grid of patches.

    Raises:
        InputError: a field is smaller than the view.
    """
    side, channels = size // patch, len(fields[0])
    rows, columns = np.divmod(keep, side)
    values = np.empty((len(fields), len(keep), channels, patch, patch), dtype=fields[0].dtype)
    for field, place, out in zip(fields, placed, values, strict=True):
        _, height, width = field.shape
        if min(height, width) < size:
            raise InputError(
                f"a field of {height} x {width} pixels is below the views of {size}; configure smaller ones"
            )
        top, left = int(place.down * (height - size + 1)), int(place.right * (width - size + 1))
        window = np.rot90(field[:, top : top + size, left : left + size], place.turns, axes=(1, 2))
        if place.flip:
            window = window[:, :, ::-1]
        # All of this is one view of the field's memory until the index copies what is kept.
        grid = window.reshape(channels, side, patch, side, patch).transpose(1, 3, 0, 2, 4)
        out[:] = grid[rows, columns]
    return Patches(torch.from_numpy(values.reshape(len(fields), len(keep), -1)), (side, side), torch.from_numpy(keep))
