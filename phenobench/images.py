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


class DamagedImageError(InputError):
    """An image that is there and cannot be used: the others can do without its field."""


def read_image(path: Path) -> np.ndarray:
    """One channel of one field, (h, w) uint8 or uint16.

    Raises:
        DamagedImageError: the file cannot be decoded, or is no greyscale image of 8 or 16 bit.
        InputError: the file is absent or may not be read, or its format is none that is read here.
    """
    import imagecodecs

    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(f"{path} is no image that is read here; use one of {', '.join(SUFFIXES)}")
    try:
        if suffix in (".tif", ".tiff"):
            image = _tiff(path)
        elif suffix == ".png":
            image = imagecodecs.png_decode(path.read_bytes())
        else:
            image = imagecodecs.jpeg2k_decode(path.read_bytes())
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; check the path column of screen.csv") from None
    except _DAMAGE as error:
        # What the disk refuses, such as for want of permission, is no fault of the image.
        refused = isinstance(error, OSError) and error.errno is not None
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise (InputError if refused else DamagedImageError)(
            f"{path} cannot be decoded ({reason}); it may be truncated or damaged"
        ) from error
    image = np.squeeze(np.asarray(image))
    if image.ndim != 2 or image.dtype not in (np.uint8, np.uint16):
        raise DamagedImageError(
            f"{path} is an image of shape {image.shape} and type {image.dtype}; "
            "give one channel a file, as 8 or 16 bit greyscale"
        )
    return image


def _tiff(path: Path) -> np.ndarray:
    """All pages of a TIFF: by libtiff, which is twice as fast with LZW, else by tifffile, which reads more kinds."""
    import imagecodecs
    import tifffile

    data = path.read_bytes()
    try:
        # To look for further pages takes libtiff a sixth of the time of decoding one.
        return np.asarray(imagecodecs.tiff_decode(data, index=0 if _has_one_page(data) else None))
    except (imagecodecs.TiffError, ValueError):
        # What is damaged fails here again, and with a better reason. Whoever decodes several files does so in threads.
        return tifffile.imread(path, maxworkers=1)


def _has_one_page(data: bytes) -> bool:
    """Whether a TIFF says that nothing follows its first page (TIFF 6.0, section 2); False where it is damaged."""
    order = {b"II": "<", b"MM": ">"}.get(data[:2], "")
    try:
        number, first = struct.unpack_from(f"{order}HI", data, 2)
        (entries,) = struct.unpack_from(f"{order}H", data, first)
        (following,) = struct.unpack_from(f"{order}I", data, first + 2 + 12 * entries)
    except struct.error:
        return False
    return bool(order) and number == 42 and following == 0


def to_eight_bit(images: np.ndarray, rule: SixteenBit) -> np.ndarray:
    """Fields uint16 (n, c, h, w) on the 0-255 scale.

    Args:
        images: left as they are.
        rule: "full-range" divides by 257, float32, the same for all images; "brightest" takes, in each
            field and channel, the smallest of the brightest 0.0028 % of pixels for white: uint8
            value * 256 / white, cut at 255, as CellCLIP's preparation of Bray and JUMP does. Where that
            share is no pixel, below about 134 x 134 (no model here takes such fields), its slice is of
            all pixels, so that the darkest is white; that is kept. "plate-percentiles" is no matter of
            single fields, see ``plate_scale.py``.

    Raises:
        InputError: the rule needs all images of a plate.
    """
    if rule == "plate-percentiles":
        raise InputError(
            "16-bit images come to 8 bits by percentiles of their whole plate under this model's card; embed the plate "
            "with run or embed, or set sixteen_bit in the card to full-range or brightest"
        )
    if rule == "full-range":
        return images / np.float32(257)
    n, c, height, width = images.shape
    flat = images.reshape(n, c, height * width)
    place = -round(height * width * _BRIGHTEST)
    white = np.partition(flat, place, axis=2)[..., place].astype(np.float64)
    scaled = flat * (256 / np.maximum(white, 1))[..., None]
    return np.minimum(scaled, 255).astype(np.uint8).reshape(images.shape)
