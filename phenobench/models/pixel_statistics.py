"""Classical image statistics: a baseline on any images, without weights.

Intensity distribution, radial power spectrum, granularity, grey-level co-occurrence and local
contrast of each channel, correlations between channels, and, where a channel is named DNA, the
number, size, shape and intensities of nuclei. Intensities and sizes enter as logarithms, so that a
gain is an offset and all features are of order 1. Each image is computed alone and without BLAS:
the same values in any batch and with any number of threads.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import combinations

import numpy as np
from scipy import fft, ndimage

from phenobench.cards import ModelCard
from phenobench.errors import InputError
from phenobench.models.adapter import ImageAdapter

# 65,535 / 257 = 255: the full range of 16 bits becomes that of 8 bits.
_UINT16_SCALE = 1 / 257
_SMALLEST = 32
# Of either sign; sums of squares stay within float32.
_LARGEST = 1_000_000

_PERCENTILES = (1, 10, 25, 50, 75, 90, 99, 99.9)
# Upper ends of the spectrum's rings, in cycles per pixel; the first starts above 0, and 0.5 is Nyquist's frequency.
_RINGS = (1 / 96, 1 / 48, 1 / 32, 1 / 21, 1 / 14, 1 / 9, 1 / 6, 1 / 4, 0.75)
# Radii in pixels of the square openings; at 4 and beyond on an image of half the size.
_OPENINGS = (1, 2, 4, 8, 12)
_HALF_FROM = 4
_LEVELS = 8
_DISTANCES = (1, 3)
_BLOCK = 8
# Keeps ratios and logarithms of nothing finite, on the 0-255 scale.
_LITTLE = 1e-3

_INTENSITY = ("log_mean", "log_sd", "skew", *(f"log_p{p:g}" for p in _PERCENTILES))
_SPECTRUM = (*(f"log_power_above_{round(1 / end)}px" for end in _RINGS[:-1]), "log_power_rest")
_GRANULARITY = tuple(f"granularity_{radius}px" for radius in _OPENINGS)
_COOCCURRENCE = tuple(
    f"{name}_{distance}px" for distance in _DISTANCES for name in ("contrast", "homogeneity", "entropy", "similarity")
)
_CONTRAST = ("block_log_sd_mean", "block_log_sd_sd", "block_log_mean_sd", "block_mean_sd_correlation")
_CHANNEL = (*_INTENSITY, *_SPECTRUM, *_GRANULARITY, *_COOCCURRENCE, *_CONTRAST)
_PAIR = ("correlation", "coarse_correlation")

_NUCLEUS_CHANNEL = "DNA"
_NUCLEI = ("log_count", "cover", "log_area_mean", "log_area_sd", "eccentricity_mean", "eccentricity_sd", "fill")
_INSIDE = ("nucleus_log_mean", "nucleus_log_mean_sd", "nucleus_log_cv", "ring_log_mean", "ring_to_nucleus")
# Nuclei are brighter than what is between them by this many of its deviations; noise split in two reaches 2.7.
_CLEAR = 4.0
_SMALLEST_NUCLEUS = 30
# Two touching discs of radius R are two nuclei from a distance of about 1.6 R on.
_CORE = 0.75


def feature_names(channels: Sequence[str]) -> tuple[str, ...]:
    """The names of the features of ``pixel_statistics``, in its order."""
    names = [f"{channel}_{name}" for channel in channels for name in _CHANNEL]
    names += [f"{one}_{two}_{name}" for one, two in combinations(channels, 2) for name in _PAIR]
    if _NUCLEUS_CHANNEL in channels:
        names += [f"nuclei_{name}" for name in _NUCLEI]
        names += [f"{channel}_{name}" for channel in channels for name in _INSIDE]
    return tuple(names)


def pixel_statistics(images: np.ndarray, channels: Sequence[str]) -> np.ndarray:
    """Classical statistics of images.

    Intensities are on the 0-255 scale: uint8 and float32 as they are, uint16 divided by 257. A log
    is log(1 + x) of an intensity or a count, log10 of a share of power, and log of an area.

    Args:
        images: (n, c, h, w) uint8, uint16 or finite float32, h and w at least 32.
        channels: c different names, in the images' order; "DNA" is where nuclei are looked for.

    Returns:
        (n, d) float32, always finite, columns as in ``feature_names``. Without a nucleus its
        shape features are 0 and intensities inside and around are those of the whole field.

    Raises:
        InputError: another shape or dtype, too small an image, or a value that is not finite or
            beyond a million.
    """
    _check(images, channels)
    names = feature_names(channels)
    features = np.empty((len(images), len(names)), dtype=np.float32)
    for row, image in enumerate(images):
        features[row] = np.fromiter(_one(image, channels), dtype=np.float64, count=len(names))
    return features


def _check(images: np.ndarray, channels: Sequence[str]) -> None:
    if images.ndim != 4 or images.shape[1] != len(channels) or len(set(channels)) != len(channels) or not channels:
        raise InputError(
            f"images of shape {images.shape} with the channels {', '.join(channels)}; give (n, c, h, w) and c names"
        )
    if min(images.shape[2:]) < _SMALLEST:
        raise InputError(f"images of {images.shape[2]} x {images.shape[3]} pixels; at least {_SMALLEST} are needed")
    if images.dtype not in (np.uint8, np.uint16, np.float32):
        raise InputError(f"images are {images.dtype}; give uint8, uint16, or float32 on the 0-255 scale")
    if images.dtype == np.float32:
        for index, channel in enumerate(channels):
            if not (np.abs(images[:, index]) <= _LARGEST).all():
                raise InputError(
                    f"channel {channel} has values that are not finite or beyond {_LARGEST:,}; give the 0-255 scale"
                )


def _one(image: np.ndarray, channels: Sequence[str]) -> Iterator[float]:
    """The features of one image (c, h, w), in the order of ``feature_names``."""
    planes = image.astype(np.float32)
    if image.dtype == np.uint16:
        planes *= np.float32(_UINT16_SCALE)
    blocks = [_blocks(plane) for plane in planes]
    for plane, block in zip(planes, blocks, strict=True):
        yield from _of_channel(plane, block)
    fine = [_standardized(plane) for plane in planes]
    coarse = [_standardized(block.mean(axis=-1)) for block in blocks]
    for one, two in combinations(range(len(planes)), 2):
        yield _mean(fine[one] * fine[two])
        yield _mean(coarse[one] * coarse[two])
    if _NUCLEUS_CHANNEL in channels:
        yield from _of_nuclei(planes, channels.index(_NUCLEUS_CHANNEL))


def _of_channel(plane: np.ndarray, blocks: np.ndarray) -> Iterator[float]:
    ordered = np.sort(plane, axis=None)
    mean, deviation = _mean(plane), _deviation(plane)
    yield _log1p(mean)
    yield _log1p(deviation)
    standard = _standardized(plane)
    yield _mean(standard * standard * standard)
    # The smallest value that at least p percent of the pixels do not exceed.
    places = [max(int(np.ceil(p / 100 * plane.size)) - 1, 0) for p in _PERCENTILES]
    yield from (_log1p(float(ordered[place])) for place in places)
    yield from _spectrum(plane - np.float32(mean))
    yield from _granularity(plane - ordered[places[0]], mean - float(ordered[places[0]]))
    yield from _cooccurrence(plane, float(ordered[places[0]]), float(ordered[places[-2]]))
    yield from _block_contrast(blocks)


def _spectrum(centred: np.ndarray) -> np.ndarray:
    """log10 of each ring's share of the power, with a floor far below any camera's noise."""
    window, rings = _rings(*centred.shape)
    power = np.abs(fft.rfft2(centred * window, workers=1)) ** 2
    shares = np.bincount(rings, weights=power.ravel(), minlength=len(_RINGS) + 1)[1:]
    floor = _LITTLE**2 * centred.size
    return np.log10((shares + floor) / (shares.sum() + floor * len(shares)))


@lru_cache(maxsize=8)
def _rings(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """A Hann window and, for each frequency of the real transform, its ring from 1; 0 is none."""
    window = np.hanning(height)[:, None] * np.hanning(width)
    radius = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
    rings = np.searchsorted(_RINGS, radius) + 1
    rings[0, 0] = 0
    return window.astype(np.float32), rings.ravel()


def _granularity(plane: np.ndarray, total: float) -> Iterator[float]:
    """Shares of the intensity above the background that openings of growing size remove, one after the other."""
    half = _halved(plane)
    left = 1.0
    for radius in _OPENINGS:
        opened = _opened(plane, radius) if radius < _HALF_FROM else _opened(half, radius // 2)
        now = min(left, _mean(opened) / max(total, _LITTLE))
        yield left - now
        left = now


def _opened(plane: np.ndarray, radius: int) -> np.ndarray:
    """The opening by a square of 2 * radius + 1."""
    return _extreme(_extreme(plane, radius, np.minimum), radius, np.maximum)


def _extreme(plane: np.ndarray, radius: int, of: np.ufunc) -> np.ndarray:
    """Minimum or maximum over squares of 2 * radius + 1, by doubling; edges are repeated."""
    width = 2 * radius + 1
    plane = np.pad(plane, radius, mode="edge")
    for turned in (False, True):
        reach = 1
        while reach < width:
            step = min(reach, width - reach)
            plane = of(plane[:, step:], plane[:, :-step]) if turned else of(plane[step:], plane[:-step])
            reach += step
    return plane


def _cooccurrence(plane: np.ndarray, low: float, high: float) -> Iterator[float]:
    """Of pairs of grey levels at a distance: eight equal levels between two percentiles.

    Pairs to the right are taken in every second row and pairs downwards in every second column.
    """
    scaled = (plane - np.float32(low)) * np.float32(_LEVELS / max(high - low, _LITTLE))
    levels = np.minimum(np.maximum(scaled, 0, out=scaled), _LEVELS - 1, out=scaled).astype(np.uint8)
    rows, columns = levels[::2], np.ascontiguousarray(levels[:, ::2])
    first, second = np.divmod(np.arange(_LEVELS**2), _LEVELS)
    for distance in _DISTANCES:
        right = rows[:, distance:] * np.uint8(_LEVELS) + rows[:, :-distance]
        down = columns[distance:] * np.uint8(_LEVELS) + columns[:-distance]
        counts = np.bincount(right.ravel(), minlength=_LEVELS**2) + np.bincount(down.ravel(), minlength=_LEVELS**2)
        share = counts / counts.sum()
        apart = np.abs(first - second)
        middle = (share * (first + second)).sum() / 2
        spread = (share * ((first - middle) ** 2 + (second - middle) ** 2)).sum() / 2
        yield float(np.log1p((share * apart**2).sum()))
        yield float((share / (1 + apart)).sum())
        yield float(-(share[counts > 0] * np.log(share[counts > 0])).sum())
        # The correlation of the two levels; of a single level with itself it is 0 by decree.
        yield float((share * (first - middle) * (second - middle)).sum() / spread) if spread > 0 else 0.0


def _blocks(plane: np.ndarray) -> np.ndarray:
    """Blocks of 8 x 8 pixels: (rows, columns, 64); what is left at the right and below is left out."""
    rows, columns = plane.shape[0] // _BLOCK, plane.shape[1] // _BLOCK
    cut = plane[: rows * _BLOCK, : columns * _BLOCK].reshape(rows, _BLOCK, columns, _BLOCK)
    return cut.transpose(0, 2, 1, 3).reshape(rows, columns, _BLOCK**2)


def _block_contrast(blocks: np.ndarray) -> Iterator[float]:
    means = np.log1p(np.maximum(blocks.mean(axis=-1), 0))
    deviations = np.log1p(blocks.std(axis=-1))
    yield _mean(deviations)
    yield _deviation(deviations)
    yield _deviation(means)
    yield _mean(_standardized(means) * _standardized(deviations))


def _of_nuclei(planes: np.ndarray, dna: int) -> Iterator[float]:
    labels = segment_nuclei(planes[dna])
    inside = np.flatnonzero(labels)
    label = labels.ravel()[inside] - 1
    if not len(inside):
        yield from (0.0 for _ in _NUCLEI)
        for plane in planes:
            yield from (_log1p(_mean(plane)), 0.0, 0.0, _log1p(_mean(plane)), 0.0)
        return
    areas = np.bincount(label)
    eccentricities = _eccentricities(label, *np.divmod(inside, labels.shape[1]), areas)
    radius = float(np.sqrt(np.median(areas) / np.pi))
    yield float(np.log1p(len(areas)))
    yield len(inside) / labels.size
    yield _mean(np.log(areas))
    yield _deviation(np.log(areas))
    yield _mean(eccentricities[:, 0])
    yield _deviation(eccentricities[:, 0])
    yield _mean(eccentricities[:, 1])
    # A ring as wide as half the median nucleus's radius, without other nuclei.
    mask = labels > 0
    around = np.flatnonzero(_extreme(mask, max(2, round(radius / 2)), np.maximum) & ~mask)
    for plane in planes:
        values = plane.ravel()[inside].astype(np.float64)
        means = np.bincount(label, weights=values) / areas
        variances = np.bincount(label, weights=(values - means[label]) ** 2) / areas
        nucleus, ring = _mean(means), _mean(plane.ravel()[around]) if len(around) else _mean(plane)
        yield _log1p(nucleus)
        yield _deviation(np.log1p(np.maximum(means, 0)))
        yield _mean(np.log1p(np.sqrt(variances) / np.maximum(means, 1.0)))
        yield _log1p(ring)
        yield _log1p(ring) - _log1p(nucleus)


def segment_nuclei(plane: np.ndarray) -> np.ndarray:
    """Nuclei in the DNA channel: Otsu's threshold, touching ones parted at their necks.

    Args:
        plane: (h, w) float32.

    Returns:
        (h, w) integers, 0 outside nuclei and 1 to k inside; 0 everywhere where nothing stands out.
    """
    smooth = ndimage.gaussian_filter(plane, 1.0)
    mask = smooth > _otsu(smooth)
    between = smooth[~mask]
    if not mask.any() or _mean(smooth[mask]) - _mean(between) <= max(_CLEAR * _deviation(between), _LITTLE):
        return np.zeros(plane.shape, dtype=np.intp)
    labels = _grown(_cores(mask), mask)
    areas = np.bincount(labels.ravel())
    areas[0] = 0
    kept = areas >= _SMALLEST_NUCLEUS
    return np.where(kept, np.cumsum(kept), 0)[labels]


def _cores(mask: np.ndarray) -> np.ndarray:
    """Labels of what is deep inside: at least three quarters as deep as its connected region is."""
    regions, n = ndimage.label(mask)
    depth = ndimage.distance_transform_edt(np.pad(mask, 1, mode="edge"))[1:-1, 1:-1]
    deepest = np.zeros(n + 1)
    np.maximum.at(deepest, regions[mask], depth[mask])
    cores, _ = ndimage.label(mask & (depth >= _CORE * deepest[regions]))
    return cores


def _grown(cores: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Each pixel of the mask with the label of the nearest core, to two pixels."""
    few = _extreme(cores, 1, np.maximum)[::2, ::2]  # no core falls between
    nearest = ndimage.distance_transform_edt(few == 0, return_distances=False, return_indices=True)
    grown = few[tuple(nearest)].repeat(2, axis=0).repeat(2, axis=1)
    return np.where(mask, grown[: mask.shape[0], : mask.shape[1]], 0)


def _otsu(plane: np.ndarray) -> float:
    """The threshold between two classes of least variance, of 256 equal steps."""
    low, high = float(plane.min()), float(plane.max())
    if high <= low:
        return high
    steps = ((plane - np.float32(low)) * np.float32(255 / (high - low))).astype(np.uint8)
    counts = np.bincount(steps.ravel(), minlength=256).astype(np.float64)
    below = np.cumsum(counts)[:-1]
    moment = np.cumsum(counts * np.arange(256))
    above = plane.size - below
    between = (moment[-1] * below - plane.size * moment[:-1]) ** 2 / np.maximum(below * above, 1)
    # In the middle of the gap, where there is one.
    best = np.flatnonzero(between == between.max())
    return low + (float(best.mean()) + 1) * (high - low) / 255


def _eccentricities(label: np.ndarray, y: np.ndarray, x: np.ndarray, areas: np.ndarray) -> np.ndarray:
    """Of each nucleus, its ellipse of equal moments: eccentricity, and share of that ellipse's area that is filled."""
    y = y - (np.bincount(label, weights=y) / areas)[label]
    x = x - (np.bincount(label, weights=x) / areas)[label]
    # 1/12 is the variance of a pixel.
    yy = np.bincount(label, weights=y * y) / areas + 1 / 12
    xx = np.bincount(label, weights=x * x) / areas + 1 / 12
    xy = np.bincount(label, weights=x * y) / areas
    root = np.sqrt((xx - yy) ** 2 + 4 * xy**2)
    large, small = (xx + yy + root) / 2, (xx + yy - root) / 2
    fill = areas / (4 * np.pi * np.sqrt(large * small))
    return np.stack([np.sqrt(np.clip(1 - small / large, 0, 1)), fill], axis=1)


def _halved(plane: np.ndarray) -> np.ndarray:
    even = plane[: plane.shape[0] // 2 * 2, : plane.shape[1] // 2 * 2]
    return (even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]) * np.float32(0.25)


def _standardized(values: np.ndarray) -> np.ndarray:
    """Mean 0 and deviation 1; all 0 where all values are equal (up to rounding)."""
    deviation = _deviation(values)
    if deviation < _LITTLE:
        return np.zeros(values.shape, dtype=np.float32)
    return ((values - values.dtype.type(_mean(values))) / values.dtype.type(deviation)).astype(np.float32)


def _mean(values: np.ndarray) -> float:
    return float(values.mean(dtype=np.float64))


def _deviation(values: np.ndarray) -> float:
    return float(np.sqrt(((values - values.dtype.type(_mean(values))) ** 2).mean(dtype=np.float64)))


def _log1p(intensity: float) -> float:
    return float(np.log1p(max(intensity, 0.0)))


class PixelStatistics(ImageAdapter):
    """``pixel_statistics`` as an image model: any channels, whole fields, no weights."""

    def __init__(self, card: ModelCard) -> None:
        super().__init__(card)
        # ``pixel_statistics`` scales them itself.
        self.sixteen_bit = None

    def embed_crops(self, crops: np.ndarray, channels: Sequence[str]) -> np.ndarray:
        """Features float32 (n, d) of fields of one size."""
        return pixel_statistics(crops, channels)
