"""Decoding one image file (TIFF, PNG, JPEG 2000), and 16-bit pixels on the 8-bit scale."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from phenobench.errors import InputError

if TYPE_CHECKING:
    from phenobench.cards import SixteenBit

SUFFIXES = (".tif", ".tiff", ".png", ".jp2")
# Of a field's pixels in a channel, this share is above the 8-bit scale under "brightest" (0.0028 %).
_BRIGHTEST = 0.000028
# The codecs raise subclasses of RuntimeError and ValueError; tifffile stumbles over damaged headers in all these ways.
_DAMAGE = (
    OSError,
    ValueError,
    RuntimeError,
    LookupError,
    TypeError,
    ArithmeticError,
    MemoryError,
    struct.error,
)


def read_image(path: Path) -> np.ndarray:
    """One channel of one field, (h, w) uint8 or uint16.

    Raises:
        InputError: the file is absent, cannot be decoded, or is no greyscale image of 8 or 16 bit.
    """
    import imagecodecs
    import tifffile

    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(f"{path} is no image that is read here; use one of {', '.join(SUFFIXES)}")
    try:
        if suffix in (".tif", ".tiff"):
            image = tifffile.imread(path)
        elif suffix == ".png":
            image = imagecodecs.png_decode(path.read_bytes())
        else:
            image = imagecodecs.jpeg2k_decode(path.read_bytes())
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; check the path column of screen.csv") from None
    except _DAMAGE as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(f"{path} cannot be decoded ({reason}); it may be truncated or damaged") from error
    image = np.squeeze(np.asarray(image))
    if image.ndim != 2 or image.dtype not in (np.uint8, np.uint16):
        raise InputError(
            f"{path} is an image of shape {image.shape} and type {image.dtype}; "
            "give one channel a file, as 8 or 16 bit greyscale"
        )
    return image


def to_eight_bit(images: np.ndarray, rule: SixteenBit) -> np.ndarray:
    """Fields uint16 (n, c, h, w) on the 0-255 scale.

    Args:
        images: left as they are.
        rule: "full-range" divides by 257, float32, the same for all images; "brightest" takes, in each
            field and channel, the smallest of the brightest 0.0028 % of pixels for white: uint8
            value * 256 / white, cut at 255, as CellCLIP's preparation of Bray and JUMP does. Where that
            share is no pixel, below about 134 x 134 (no model here takes such fields), its slice is of
            all pixels, so that the darkest is white; that is kept.
    """
    if rule == "full-range":
        return images / np.float32(257)
    n, c, height, width = images.shape
    flat = images.reshape(n, c, height * width)
    place = -round(height * width * _BRIGHTEST)
    white = np.partition(flat, place, axis=2)[..., place].astype(np.float64)
    scaled = flat * (256 / np.maximum(white, 1))[..., None]
    return np.minimum(scaled, 255).astype(np.uint8).reshape(images.shape)
