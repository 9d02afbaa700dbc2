"""What every image model has in common: checking images, matching channels by name, tiles, pooling."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from phenobench.cards import ModelCard, SixteenBit
from phenobench.descriptions import Description
from phenobench.errors import InputError
from phenobench.images import to_eight_bit
from phenobench.results import WeightsKind

if TYPE_CHECKING:
    from phenobench.models.weights import Training


class ImageAdapter(ABC):
    """An image model: images of sites in, embeddings out.

    A model of one's own subclasses this, and its card names the class. One without weights needs ``embed_crops``
    and nothing else.

    Attributes:
        id: the card's id, named in errors.
        channels: the channels it needs, by name and in its order; None takes any in the order given.
        crop: side of the square it looks at; larger fields are tiled, None takes a whole field.
        sixteen_bit: how 16-bit images come to the 0-255 scale; None where it takes them as they are.
        precision: what it computes in; part of what a result says of the model.
        cores: of this machine that it keeps busy; the others decode images meanwhile.
        batch_bytes: of images that it is given at a time; activations of the networks here are of the same order.
        sites_sha256: what fixes the features of sites, where these are worth keeping besides the wells'.
        weights_kind: "official", "trained", "demo" or "random".
        weights_sha256: what fixes its arithmetic: the hash of its weights, or of its definition.
        weights_by_path: they were given by path, and are neither the published nor the demonstration's.
        training: how they were made, where their file says it.
    """

    id: str
    channels: tuple[str, ...] | None = None
    crop: int | None = None
    sixteen_bit: SixteenBit | None = None
    precision: str = "float32"
    cores: int = 1
    batch_bytes: int = 16 << 20
    sites_sha256: str = ""
    weights_kind: WeightsKind = "official"
    weights_sha256: str = ""
    weights_by_path: bool = False
    training: Training | None = None

    def __init__(self, card: ModelCard) -> None:
        self.id = card.id
        self.channels = card.channels
        self.crop = card.crop
        self.sixteen_bit = card.sixteen_bit
        self.weights_sha256 = hashlib.sha256(f"{card.id} {card.revision}".encode()).hexdigest()

    @classmethod
    def load(
        cls,
        card: ModelCard,
        *,
        weights: Mapping[str, Path],
        random_init: int | None,
        device: str,
        channels: tuple[str, ...] | None,
    ) -> Self:
        """A model without weights, on the CPU; one with weights has a ``load`` of its own.

        Args:
            card: what the model is.
            weights: files by part.
            random_init: a seed for weights.
            device: as ``load_model``'s.
            channels: those of the screen, for a network that is built from a seed.

        Raises:
            InputError: weights were given.
        """
        if weights:
            raise InputError(f"{card.id} has no weights; leave them out")
        return cls(card)

    @abstractmethod
    def embed_crops(self, crops: np.ndarray, channels: Sequence[str]) -> np.ndarray:
        """Embeddings float32 (n, d) of crops (n, c, crop, crop), channels selected and in order."""

    def embed_images(self, images: np.ndarray, channels: Sequence[str]) -> np.ndarray:
        """Embed one image a site.

        Fields larger than the crop are cut into as many whole crops as fit, centred, and the
        embeddings of the crops are averaged.

        Args:
            images: (n, c, h, w) uint8, uint16, or finite float32 on the 0-255 scale.
            channels: c names.

        Returns:
            float32 (n, d).

        Raises:
            InputError: another shape or type, a channel that is missing, an image below the crop,
                NaN or infinite pixels; the message names the channel and the card.
        """
        selected, names = self._select(images, channels)
        if selected.dtype == np.uint16 and self.sixteen_bit is not None:
            selected = to_eight_bit(selected, self.sixteen_bit)
        # A view, such as a flipped one, has strides that a network's tensors do not take.
        selected = np.ascontiguousarray(selected)
        if self.crop is None or selected.shape[2:] == (self.crop, self.crop):
            return self.embed_crops(selected, names)
        tiles = tile(selected, self.crop)
        n, per_image = tiles.shape[:2]
        embedded = self.embed_crops(tiles.reshape(n * per_image, *tiles.shape[2:]), names)
        return embedded.reshape(n, per_image, -1).mean(axis=1, dtype=np.float32)

    def site_features(
        self, images: np.ndarray, channels: Sequence[str], sites: Sequence[str] | None = None
    ) -> np.ndarray:
        """What is kept of each site until wells are pooled, float32 (n, ...); images as in ``embed_images``.

        Args:
            images: one image a site.
            channels: their channels.
            sites: a name for each site that is unique in its screen, for models that draw random numbers.
        """
        return self.embed_images(images, channels)

    def pool(self, features: np.ndarray, well_index: np.ndarray) -> np.ndarray:
        """From sites to wells by their mean: float32 (n_wells, d), wells in ascending order of ``well_index``."""
        wells, codes = np.unique(well_index, return_inverse=True)
        pooled = np.zeros((len(wells), *features.shape[1:]), dtype=np.float64)
        np.add.at(pooled, codes, features)
        sites = np.bincount(codes).reshape(-1, *[1] * (features.ndim - 1))
        return (pooled / sites).astype(np.float32)

    def _select(self, images: np.ndarray, channels: Sequence[str]) -> tuple[np.ndarray, tuple[str, ...]]:
        names = tuple(channels)
        if images.ndim != 4 or images.shape[1] != len(names):
            raise InputError(
                f"{self.id}: images of shape {images.shape} for {len(names)} channels; give (n, {len(names)}, h, w)"
            )
        if images.dtype not in (np.uint8, np.uint16, np.float32):
            raise InputError(f"{self.id}: images of type {images.dtype}; give uint8, uint16 or float32 from 0 to 255")
        if len(set(names)) != len(names):
            repeated = next(name for name in names if names.count(name) > 1)
            raise InputError(f"{self.id}: the channel '{repeated}' occurs twice; name each once")
        wanted = self.channels or names
        for name in wanted:
            if name not in names:
                raise InputError(
                    f"{self.id}: its card needs the channel '{name}' and the images have {', '.join(names)}; "
                    "rename a channel, or use a model that takes these"
                )
        selected = images if wanted == names else images[:, [names.index(name) for name in wanted]]
        if self.crop is not None and min(selected.shape[2:]) < self.crop:
            height, width = selected.shape[2:]
            raise InputError(
                f"{self.id}: images of {height} x {width} are below its crop of {self.crop}; give larger ones"
            )
        if selected.dtype == np.float32 and not np.isfinite(selected).all():
            image, channel = np.argwhere(~np.isfinite(selected))[0][:2]
            raise InputError(f"{self.id}: channel '{wanted[channel]}' of image {image} has NaN or infinite pixels")
        return selected, wanted


class TextAdapter(ImageAdapter):
    """An image model that embeds texts in the same space."""

    @abstractmethod
    def prompt(self, description: Description) -> str:
        """What the model is told of a perturbation."""

    @abstractmethod
    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Embeddings float32 (n, d) of texts, in the space of ``embed_images``.

        Raises:
            InputError: a text is too long, named by its start, or there is no tokenizer.
        """


def tile(images: np.ndarray, crop: int) -> np.ndarray:
    """As many whole crops as fit, centred: (n, c, h, w) to (n, tiles, c, crop, crop)."""
    n, c, height, width = images.shape
    rows, columns = height // crop, width // crop
    top, left = (height - rows * crop) // 2, (width - columns * crop) // 2
    kept = images[:, :, top : top + rows * crop, left : left + columns * crop]
    cut = kept.reshape(n, c, rows, crop, columns, crop).transpose(0, 2, 4, 1, 3, 5)
    return cut.reshape(n, rows * columns, c, crop, crop)
