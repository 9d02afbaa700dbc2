"""From light to camera counts: what microscope and staining do to the planes of a rendered field."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from phenobench.screens.textures import Pick


@dataclass(frozen=True)
class Optics:
    """What a plate's microscope and staining do to a picture, by channel; the default does nothing.

    Attributes:
        gain: factor of the signal.
        background: grey levels added everywhere.
        gradient_x: relative change of illumination from the centre to the right edge.
        gradient_y: the same to the lower edge.
        vignetting: relative loss of illumination from the centre to the corners.
        blur: weight added to the point spread of the outer pixels, from -0.1 (sharp) to 0.1.
    """

    gain: tuple[float, ...] = (1.0,) * 6
    background: tuple[float, ...] = (0.0,) * 6
    gradient_x: tuple[float, ...] = (0.0,) * 6
    gradient_y: tuple[float, ...] = (0.0,) * 6
    vignetting: tuple[float, ...] = (0.0,) * 6
    blur: tuple[float, ...] = (0.0,) * 6


def expose(planes: list[np.ndarray], optics: Optics, pick: Pick) -> np.ndarray:
    """What the camera sees: haze, blur, illumination, background and noise, in whole grey levels."""
    size = planes[0].shape[0]
    x = (2 * np.arange(size, dtype=np.float32) + 1) / size - 1
    corner = 0.5 * (x[:, None] ** 2 + x**2)
    uneven = 1 + np.float32(0.06) * pick("cloud")
    image = np.empty((len(planes), size, size), dtype=np.uint8)
    settings = (optics.gain, optics.background, optics.gradient_x, optics.gradient_y, optics.vignetting, optics.blur)
    for channel, (plane, *values) in enumerate(zip(planes, *settings, strict=True)):
        # Coarse steps hide how the last bits of a setting were computed.
        gain, base, right, down, loss, blur = np.round(values, 4).astype(np.float32)
        weight = np.clip(_BLUR[channel] + blur, 0, np.float32(0.3))
        light = _blurred(plane, weight)
        light += _haze(plane)
        illumination = right * x + (1 + down * x[:, None])
        illumination -= loss * corner
        light *= np.clip(illumination, 0.2, None, out=illumination)
        light *= gain
        light += _DARK + base * uneven
        noise = np.sqrt(light)
        noise *= pick("noise")
        noise *= _NOISE
        light += noise
        light += np.float32(0.5)
        image[channel] = np.clip(light, 0, 255, out=light)
    return image


_DARK, _NOISE = np.float32(5), np.float32(0.3)
_BLUR = np.array([0.22, 0.19, 0.16, 0.20, 0.16, 0.18], dtype=np.float32)


def _blurred(plane: np.ndarray, weight: np.float32) -> np.ndarray:
    """A symmetric kernel of three pixels along both axes."""
    middle = 1 - 2 * weight
    for _ in range(2):
        side = weight * plane
        plane = middle * plane
        plane[1:] += side[:-1]
        plane[:-1] += side[1:]
        plane[0] += side[0]
        plane[-1] += side[-1]
        plane = plane.T
    return plane


def _haze(plane: np.ndarray) -> np.ndarray:
    """Light from out of focus: a share of the plane, blurred widely on a grid of every eighth pixel."""
    small = plane
    for _ in range(3):
        small = small[: len(small) // 2 * 2, : len(small) // 2 * 2]
        rows = small[::2] + small[1::2]
        small = rows[:, ::2] + rows[:, 1::2]
    for _ in range(3):
        small = _blurred(small, np.float32(0.25))
    small = small * np.float32(_HAZE / 64)
    place = np.clip((np.arange(len(plane), dtype=np.float32) - 3.5) / 8, 0, len(small) - 1)
    low = np.minimum(place.astype(np.intp), len(small) - 2)
    share = place - low.astype(np.float32)
    wide = small[:, low] + share * (small[:, low + 1] - small[:, low])
    tall = wide[low + 1]
    wide = wide[low]
    tall -= wide
    tall *= share[:, None]
    tall += wide
    return tall


_HAZE = 0.11
