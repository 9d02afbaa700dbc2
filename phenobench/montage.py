"""A picture of pictures: fields of every plate, channel by channel, so that one can see what is scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from phenobench.errors import InputError
from phenobench.files import atomic

# Colours by channel name, as microscopists know them; other channels get what is left.
_COLOURS: Mapping[str, tuple[float, float, float]] = {
    "DNA": (0.15, 0.35, 1.0),
    "ER": (0.0, 0.75, 0.35),
    "Actin": (1.0, 0.45, 0.1),
    "AGP": (1.0, 0.45, 0.1),
    "RNA": (0.55, 0.75, 0.0),
    "Mito": (0.95, 0.1, 0.25),
    "Golgi": (1.0, 0.95, 0.55),
}
_OTHERS = ((0.8, 0.2, 0.8), (0.2, 0.8, 0.8), (0.8, 0.8, 0.8))
_INCHES, _DPI = 1.9, 135
# Shares of pixels, over all plates, that are shown black and white.
_BLACK, _WHITE = 1.0, 99.7


def montage(images_by_plate: Mapping[str, Sequence[np.ndarray]], channels: Sequence[str], out: Path) -> None:
    """Draw fields as a PNG: a row a field, plate by plate; a column a channel, and one in colour.

    A channel is stretched alike on all plates, so that plates that differ in gain look different.

    Args:
        images_by_plate: plate -> images (c, h, w) of any dtype; all of one size.
        channels: c names.
        out: the PNG.

    Raises:
        InputError: there is no image, one does not fit the channels or the others, or ``out`` cannot be written.
    """
    rows = [(plate, np.asarray(image)) for plate, images in images_by_plate.items() for image in images]
    if not rows:
        raise InputError("there is no image to show; check the screen and its wells")
    shape = (len(channels), *rows[0][1].shape[1:])
    for plate, image in rows:
        if image.ndim != 3 or image.shape != shape:
            raise InputError(f"an image of plate {plate} has shape {image.shape} and not {shape}; preview equal images")
    shown = _stretched(np.stack([image for _, image in rows]))
    composites = _composites(shown, channels)
    _draw([plate for plate, _ in rows], shown, composites, channels, out)


def _stretched(images: np.ndarray) -> np.ndarray:
    """Images (n, c, h, w) from 0 to 1, each channel by its own percentiles over all images."""
    pixels = images.astype(np.float32)
    low, high = np.percentile(pixels, (_BLACK, _WHITE), axis=(0, 2, 3))
    span = np.where(high > low, high - low, 1.0)
    scaled = (pixels - low[:, None, None]) / span[:, None, None]
    return np.sqrt(np.clip(scaled, 0, 1)).astype(np.float32)


def _composites(shown: np.ndarray, channels: Sequence[str]) -> np.ndarray:
    """Colour images (n, h, w, 3) of all channels, each in its colour, laid over each other like light."""
    others = iter(_OTHERS * len(channels))
    colours = np.array([_COLOURS[name] if name in _COLOURS else next(others) for name in channels])
    # Squares undo the stretch's root, so that faint haze of six channels does not add up to grey.
    through = 1 - colours[None, :, None, None, :] * 0.85 * (shown**2)[..., None]
    return 1 - through.prod(axis=1)


def _draw(plates: Sequence[str], shown: np.ndarray, composites: np.ndarray, channels: Sequence[str], out: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    n, columns = len(plates), len(channels) + 1
    left, top, gap = 0.35, 0.3, 0.03
    high = _INCHES * shown.shape[2] / shown.shape[3]
    width, height = left + columns * (_INCHES + gap), top + n * (high + gap)
    figure = Figure(figsize=(width, height), facecolor="black")
    FigureCanvasAgg(figure)
    for row in range(n):
        bottom = height - top - (row + 1) * (high + gap)
        for column, name in enumerate([*channels, "composite"]):
            x = left + column * (_INCHES + gap)
            axes = figure.add_axes((x / width, bottom / height, _INCHES / width, high / height))
            axes.set_axis_off()
            picture = composites[row] if column == len(channels) else shown[row, column]
            axes.imshow(picture, cmap="gray", vmin=0, vmax=1, interpolation="antialiased")
            if row == 0:
                axes.set_title(name, color="white", fontsize=9, pad=3)
        if row == 0 or plates[row] != plates[row - 1]:
            same = sum(1 for plate in plates[row:] if plate == plates[row])
            middle = bottom + high - same * (high + gap) / 2
            figure.text(
                0.5 * left / width,
                middle / height,
                plates[row],
                color="white",
                fontsize=9,
                rotation=90,
                ha="center",
                va="center",
            )
    with atomic(out) as temporary:
        # No date and no version of the writer: the same images give the same bytes.
        figure.savefig(temporary, format="png", dpi=_DPI, facecolor="black", metadata={"Software": ""})
