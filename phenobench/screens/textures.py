"""Textures that rendered cells are filled with: filtered noise, made once a process, the same for all screens."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np

# A texture by name, as large as the field, taken from a new place each time.
Pick = Callable[[str], np.ndarray]

ORIENTATIONS = 16
_MOST_PICKS = 32  # in a field
SLACK = 64  # by how much a cell's window into the fibres can be moved


def picker(rng: np.random.Generator, size: int) -> Pick:
    """Textures at random places of the bank, mirrored at random."""
    bank = _bank(size)
    places = iter(rng.integers(0, (size + 1, size + 1, 2), (_MOST_PICKS, 3)).tolist())

    def pick(name: str) -> np.ndarray:
        row, column, down = next(places)
        return bank[name][row : row + size, column : column + size][:: 1 - 2 * down]

    return pick


def rounded(values: np.ndarray, parts: int) -> np.ndarray:
    """Float32 in whole parts, which hides how the last bits were computed."""
    return (np.rint(values * parts) / parts).astype(np.float32)


@lru_cache(maxsize=2)
def _bank(size: int) -> dict[str, np.ndarray]:
    """Textures float32 (2 size, 2 size), most with mean 0 and SD 1."""
    rng = np.random.default_rng(20)
    side = 2 * size

    def waves(fine: float, coarse: float) -> np.ndarray:
        return _noise(rng, side, _band(*_frequencies(side), fine, coarse))

    def ridges(noise: np.ndarray, width: float) -> np.ndarray:
        return np.clip(1 - np.abs(noise) / width, 0, 1)

    worms = ridges(waves(1.3, 4.5), 0.34) * np.clip(0.45 + waves(2.6, 7), 0, 1.3)
    worms += ridges(waves(1.5, 5), 0.26) * np.clip(0.2 + waves(2.6, 7), 0, 1.2)
    textures = {
        "cloud": waves(9, 22),
        "patches": waves(3, 9),
        "bundles": waves(4, 12),
        "lumps": waves(1.8, 4.2),
        "chromatin": 0.75 * waves(0.7, 1.8) + 0.65 * waves(1.5, 4),
        "net": _standard(_standard(ridges(waves(0.8, 2.2), 0.8)) + 0.6 * waves(0.5, 1.3)),
        "sheet": waves(1.6, 5),
        "worms": np.clip(worms, 0, 1.4),
        "dots": np.clip(waves(0.95, 2.0) - 0.9, 0, 1.8),
        "ribbons": _standard(ridges(waves(1.1, 3.0), 0.7)) + 0.6 * waves(1.2, 3),
        "noise": rng.standard_normal((side, side)),
    }
    return {name: rounded(texture, 1024) for name, texture in textures.items()}


@lru_cache(maxsize=2)
def fibre_bank(size: int) -> np.ndarray:
    """Fibres of each direction, uint8 (``ORIENTATIONS``, size + ``SLACK``, size + ``SLACK``) in 64ths.

    Noise without a wavelength of its own, slightly bent: fibres differ in width, length and distance.
    """
    rng = np.random.default_rng(21)
    side = size + SLACK
    row, column = _frequencies(side)
    angle = np.arctan2(row, column)
    bank = np.empty((ORIENTATIONS, side, side), dtype=np.uint8)
    here = np.arange(side)
    bend = _band(row, column, 16, 40)
    for number in range(ORIENTATIONS):
        across = np.pi * (number / ORIENTATIONS + 0.5)
        off = (angle - across + np.pi / 2) % np.pi - np.pi / 2
        total = np.zeros((side, side))
        for spread, coarse, limit in ((0.045, 6.0, 1.0), (0.075, 12.0, 1.35)):
            along = np.exp(-((off / spread) ** 2) / 2)
            noise = _noise(rng, side, along * _band(row, column, 0.75, coarse))
            total += np.clip(noise - limit, 0, 1.8)
        down, right = (np.rint(3.2 * _noise(rng, side, bend)).astype(int) for _ in range(2))
        bent = total[(here[:, None] + down) % side, (here + right) % side]
        bank[number] = np.rint(np.clip(bent * 64, 0, 255)).astype(np.uint8)
    return bank


def _frequencies(side: int) -> tuple[np.ndarray, np.ndarray]:
    row, column = np.meshgrid(np.fft.fftfreq(side), np.fft.rfftfreq(side), indexing="ij")
    return row, column


def _band(row: np.ndarray, column: np.ndarray, fine: float, coarse: float) -> np.ndarray:
    """Amplitudes of a difference of Gaussians, whose standard deviations are in pixels."""
    squared = 2 * np.pi**2 * (row**2 + column**2)
    return np.exp(-(fine**2) * squared) - np.exp(-(coarse**2) * squared)


def _noise(rng: np.random.Generator, side: int, amplitude: np.ndarray) -> np.ndarray:
    return _standard(np.fft.irfft2(np.fft.rfft2(rng.standard_normal((side, side))) * amplitude, (side, side)))


def _standard(noise: np.ndarray) -> np.ndarray:
    return (noise - noise.mean()) / noise.std()
