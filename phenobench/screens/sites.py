"""One field from the images of its channels, or why it cannot be used."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from phenobench.images import DamagedImageError
from phenobench.screens import SiteImage


def site_of(row: int, site: str, names: Sequence[object], images: Iterable[np.ndarray]) -> SiteImage:
    """A field of a well; marked as damaged where an image is, or is of another size or type than the first.

    Args:
        row: the well.
        site: the field's name within its well.
        names: what the images of the channels are called, for the sentence.
        images: (h, w) each, as ``read_image`` gives them; a damaged one raises ``DamagedImageError`` at its turn.
    """
    damaged = np.empty((len(names), 0, 0), np.uint8)
    pixels = damaged
    try:
        # Each image is put in its place at once: its memory is warm for the next one then.
        for place, (name, image) in enumerate(zip(names, images, strict=True)):
            if place == 0:
                pixels = np.empty((len(names), *image.shape), image.dtype)
            if (image.shape, image.dtype) != (pixels.shape[1:], pixels.dtype):
                raise DamagedImageError(
                    f"{name} is {image.shape} {image.dtype} and {names[0]} of the same site {pixels.shape[1:]} "
                    f"{pixels.dtype}; give the channels of a site in one size and type"
                )
            pixels[place] = image
    except DamagedImageError as error:
        return SiteImage(row, site, damaged, str(error))
    return SiteImage(row, site, pixels)
