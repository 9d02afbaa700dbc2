"""16-bit images of a plate on the 8-bit scale, by percentiles of all its sites."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from phenobench.cards import SixteenBit

# Of all pixels of a plate's channel, in percent: what is not above the first is black, what is not below the second
# white. Few enough that no cell is cut off, and more than the hot pixels and dust of a camera.
LOW, HIGH = 0.1, 99.9
_VALUES = 1 << 16


@dataclass(frozen=True, eq=False)
class PlateScale:
    """The two percentiles of each channel of a plate, int (c,) each, and what every value becomes, uint8 (c, 65536)."""

    low: np.ndarray
    high: np.ndarray
    table: np.ndarray

    def to_eight_bit(self, pixels: np.ndarray) -> np.ndarray:
        """A field (c, h, w) as uint8: 255 (x - low) / (high - low), rounded and cut; one of 8 bits as it is."""
        if pixels.dtype != np.uint16:
            return pixels
        return np.stack([of_channel.take(plane) for of_channel, plane in zip(self.table, pixels, strict=True)])


def value_counts(pixels: np.ndarray) -> np.ndarray:
    """How often each value occurs in each channel of a field (c, h, w), int64 (c, 65536); 0 in one of 8 bits."""
    if pixels.dtype != np.uint16:
        return np.zeros((len(pixels), _VALUES), np.int64)
    return np.stack([np.bincount(plane.ravel(), minlength=_VALUES) for plane in pixels])


def plate_scale(counts: np.ndarray) -> PlateScale:
    """The scale of a plate.

    Args:
        counts: the sum of its fields' ``value_counts``, (c, 65536).

    Returns:
        The smallest values that at least 0.1 % and 99.9 % of a channel's pixels do not exceed, and the scale between
        them. A channel of one value is black.
    """
    upto = np.cumsum(counts, axis=1)
    # In whole numbers: a share of pixels is not rounded.
    low, high = (
        np.array([np.searchsorted(1000 * row, round(10 * percent) * row[-1]) for row in upto])
        for percent in (LOW, HIGH)
    )
    span = np.maximum(high - low, 1)[:, None]
    scaled = np.rint((np.arange(_VALUES) - low[:, None]) * 255 / span)
    return PlateScale(low, high, np.clip(scaled, 0, 255).astype(np.uint8))


def sixteen_bit_record(rule: SixteenBit | None) -> Mapping[str, Any]:
    """How 16-bit images came to 8 bits, as the record of profiles says it; without a rule the model sees to it."""
    record: dict[str, Any] = {"step": "sixteen-bit", "rule": rule or "the model's own"}
    if rule == "plate-percentiles":
        record |= {"low": LOW, "high": HIGH, "fitted_on": "all sites", "by": "plate"}
    return record
