"""Decoding one image file: TIFF (8 or 16 bit), PNG, JPEG 2000."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from phenobench.errors import InputError

SUFFIXES = (".tif", ".tiff", ".png", ".jp2")
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
