"""CellCLIP (Lu et al. 2025, arXiv 2506.06290): wells and captions of perturbations in one space.

Each channel of a crop is a picture to DINOv2; a well's sites are pooled channel by channel, and a
transformer over the channels makes the well's embedding. Captions go through a BERT. Written anew from a
description of the model; parameter names and arithmetic are those of the published file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import nn
from transformers import Dinov2Model

from phenobench.cards import ModelCard, find, validate
from phenobench.errors import InputError, unknown
from phenobench.files import sha256_of
from phenobench.images import to_eight_bit
from phenobench.models import dinov2
from phenobench.models.adapter import TextAdapter
from phenobench.models.cellclip_checkpoint import CellClipSettings, Metadata
from phenobench.models.cellclip_networks import (
    CellClipNetwork,
    CellClipShape,
    build,
    infer_shape,
    mean_pooling,
    random_weights,
)
from phenobench.models.prompts import prompt
from phenobench.models.tokenizer import build_tokenizer, encode, parse_tokenizer, read_tokenizer
from phenobench.models.torch_adapter import TorchAdapter
from phenobench.models.weights import read_tensors
from phenobench.provenance import text_sha256
from phenobench.results import WeightsKind

if TYPE_CHECKING:
    from phenobench.descriptions import Description

__all__ = ["CellClip", "crop_windows", "prompt"]

# Side of the crops that DINOv2 sees: 16 x 16 patches of the published one.
CROP = 224
_PARTS = ("model", "dinov2", "tokenizer")


class CellClip(TorchAdapter, TextAdapter):
    """CellCLIP for images and texts; embeddings are float32 (n, 512), not normalized.

    The model's own file, DINOv2's and the tokenizer's are three parts; the second is loaded at the
    first image and the third at the first text.

    Attributes:
        settings: the card's ``[network]``, or that of a file that was trained here.
        shape: the sizes of the network.
    """

    # A crop is five pictures to DINOv2.
    batch = 8
    settings: CellClipSettings
    shape: CellClipShape
    _orders: Mapping[str, tuple[str, ...]]
    _parts: Mapping[str, Path]
    _seed: int | None = None
    _tokenizer: Tokenizer | None = None

    @classmethod
    def load(
        cls,
        card: ModelCard,
        *,
        weights: Mapping[str, Path],
        random_init: int | None,
        device: str,
        channels: tuple[str, ...] | None,
    ) -> CellClip:
        """From the model's own file, with DINOv2's and the tokenizer's where they are given, or from a seed.

        Raises:
            InputError: neither is given, a part is unknown or absent, the file does not fit, or there is no
                such device.
        """
        settings = validate(card.network, CellClipSettings, f"{card.id}, network")
        _require_files(card, weights, random_init)
        told = Metadata()
        shape: CellClipShape
        kind: WeightsKind
        if "model" in weights:
            origin = str(weights["model"])
            tensors, metadata = read_tensors(weights["model"])
            state = {key.removeprefix("module."): value for key, value in tensors.items()}
            told = validate(metadata, Metadata, f"{origin}, metadata")
            settings = told.network or settings
            shape = infer_shape(state, settings.vision_heads, origin)
            kind, made = told.kind, partial(build, shape, state, origin)
        else:
            shape, kind, made = settings, "random", partial(_random, settings, random_init or 0)
        # What the model's own file brings is taken from no other.
        digests = {part: sha256_of(path) for part, path in sorted(weights.items()) if part not in told.parts}
        if "model" not in weights:
            digests["model"] = text_sha256(f"random {random_init}", *map(str, sorted(card.network.items())))
        digest = digests["model"] if len(digests) == 1 else text_sha256(*map(" ".join, digests.items()))
        model = cls(card, made, kind, digest, device)
        model.settings, model.shape, model._seed = settings, shape, random_init
        model._orders = card.channel_orders if told.channels is None else {"trained": told.channels}
        model._parts = {**weights, **dict.fromkeys(told.parts, weights.get("model", Path()))}
        if told.tokenizer is not None:
            model._tokenizer = parse_tokenizer(told.tokenizer, f"the tokenizer in {origin}")
        encoder = digests.get("model" if "dinov2" in told.parts else "dinov2")
        if encoder is None and random_init is not None:
            encoder = f"random {random_init}"
        if encoder is not None:
            seen = (encoder, settings.dinov2, settings.crops, card.sixteen_bit, *model._orders.values())
            model.sites_sha256 = text_sha256(*map(str, seen))
        return model

    @cached_property
    def encoder(self) -> Dinov2Model:
        """DINOv2 on the device.

        Raises:
            InputError: its file is not given or does not fit, or it has another width than the model.
        """
        sees = self.settings.dinov2
        if isinstance(sees, str):
            name, config = sees, dinov2.config_of(find().model(sees))
        else:
            name, config = "network.dinov2", dinov2.as_config(sees)
        if config.hidden_size != self.shape.vision_width:
            raise InputError(
                f"{self.id}: {name} has {config.hidden_size} features and the model takes "
                f"{self.shape.vision_width}; name the DINOv2 that it was trained with in the card"
            )
        if self._seed is not None and "dinov2" not in self._parts:
            state = dinov2.random_network_state(config, self._seed)
        else:
            state = dinov2.read_network_state(config, self._part("dinov2", f"images need {name}"))
        network: nn.Module = dinov2.build(config, state)
        return cast(Dinov2Model, network.to(self.device))

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        """Embeddings (n, 512) of crops (n, c, 224, 224), each as a well of its own."""
        return self._encode_wells(dinov2.channel_features(self.encoder, crops)[:, None])

    def embed_images(self, images: np.ndarray, channels: Sequence[str]) -> np.ndarray:
        """Embeddings float32 (n, 512) of images, each a well of its own; arguments and errors as ``site_features``."""
        return self.embed_features(self.site_features(images, channels)[:, None])

    def site_features(
        self, images: np.ndarray, channels: Sequence[str], sites: Sequence[str] | None = None
    ) -> np.ndarray:
        """DINOv2's features of each channel, averaged over a site's crops.

        Args:
            images: (n, c, h, w) uint8, uint16, or finite float32 on the 0-255 scale.
            channels: c names; those of the first of the card's orders that are all there are taken.
            sites: n keys, such as screen/plate/well/site, that crops are drawn by; the same key gives the same
                crops, and None the same to all images.

        Returns:
            float32 (n, channels of the model, width).

        Raises:
            InputError: as ``ImageAdapter.embed_images``, no order fits the channels, or DINOv2's file is absent.
        """
        checked, given = self._select(images, channels)
        selected = checked[:, [given.index(name) for name in self._ordered(given)]]
        if selected.dtype == np.uint16 and self.sixteen_bit is not None:
            selected = to_eight_bit(selected, self.sixteen_bit)
        keys = [""] * len(selected) if sites is None else sites
        height, width = selected.shape[2:]
        crops = np.stack(
            [
                image[:, top : top + CROP, left : left + CROP]
                for image, key in zip(selected, keys, strict=True)
                for top, left in crop_windows(key, height, width, self.settings.crops)
            ]
        )
        features = self.batched(lambda some: dinov2.channel_features(self.encoder, some), crops)
        return features.reshape(len(selected), -1, *features.shape[1:]).mean(axis=1, dtype=np.float32)

    def pool(self, features: np.ndarray, well_index: np.ndarray) -> np.ndarray:
        """From sites (n, c, width) to wells: float32 (n_wells, 512), wells in ascending order of ``well_index``."""
        wells, codes, counts = np.unique(well_index, return_inverse=True, return_counts=True)
        order = np.argsort(codes, kind="stable")
        places = np.arange(len(codes)) - np.repeat(np.cumsum(counts) - counts, counts)
        padded = np.zeros((len(wells), counts.max(), *features.shape[1:]), np.float32)
        padded[codes[order], places] = features[order]
        return self.embed_features(padded)

    def embed_features(self, features: np.ndarray) -> np.ndarray:
        """Embeddings of wells from DINOv2's features.

        Args:
            features: (n, sites, channels, width); sites that are all zero in a channel are padding there.
                They are left as they are.

        Returns:
            float32 (n, 512), not normalized.

        Raises:
            InputError: another shape, or a well with a channel that has padding alone.
        """
        wanted = (self.shape.channels, self.shape.vision_width)
        if features.ndim != 4 or features.shape[2:] != wanted:
            raise InputError(
                f"{self.id}: features of shape {features.shape}; give (n, sites, {wanted[0]}, {wanted[1]})"
            )
        found = (features != 0).any(axis=(1, 3))
        if not found.all():
            well, channel = np.argwhere(~found)[0]
            raise InputError(f"{self.id}: well {well} has no site in channel {channel}; leave the well out")
        return self.batched(self._encode_wells, features.astype(np.float32, copy=False))

    def prompt(self, description: Description) -> str:
        """The caption of a perturbation, see ``prompt``."""
        return prompt(description.cell_type, description.kind, description.name, description.info)

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Embeddings float32 (n, 512) of texts, not normalized; equal texts have equal ones.

        Random weights have a tokenizer made from the first texts, see ``build_tokenizer``.

        Raises:
            InputError: the tokenizer's file is not given or is another model's, or a text is too long; it is named.
        """
        if self._tokenizer is None:
            self._tokenizer = (
                build_tokenizer(texts, self.shape.text_vocabulary)
                if self._seed is not None
                else read_tokenizer(self._part("tokenizer", "texts need its tokenizer"))
            )
        # Long ones first, so that a batch has little padding and one that is too long is found at once.
        unique = sorted(set(texts), key=lambda text: (-len(text), text))
        limits = {"vocabulary": self.shape.text_vocabulary, "positions": self.shape.text_positions}
        embedded = np.concatenate(
            [
                self.embed_token_ids(*encode(self._tokenizer, unique[start : start + self.batch], **limits))
                for start in range(0, len(unique), self.batch)
            ]
        )
        place = {text: number for number, text in enumerate(unique)}
        return embedded[[place[text] for text in texts]]

    def embed_token_ids(self, ids: np.ndarray, attention_mask: np.ndarray) -> np.ndarray:
        """Embeddings float32 (n, 512), not normalized, of token ids (n, length); the mask is 0 at padding.

        Raises:
            InputError: the mask has another shape, there are more tokens than positions, or an id is out of range.
        """
        if ids.ndim != 2 or ids.shape != attention_mask.shape or ids.shape[1] > self.shape.text_positions:
            raise InputError(
                f"{self.id}: token ids of shape {ids.shape} with a mask of {attention_mask.shape}; "
                f"give (n, at most {self.shape.text_positions}) for both"
            )
        if ids.size and not 0 <= ids.min() <= ids.max() < self.shape.text_vocabulary:
            raise InputError(
                f"{self.id}: token ids from {ids.min()} to {ids.max()} for a model of {self.shape.text_vocabulary} "
                "tokens; use the model's own tokenizer"
            )
        return self.batched(self._towers.encode_tokens, ids.astype(np.int64), attention_mask.astype(np.int64))

    @property
    def _towers(self) -> CellClipNetwork:
        return cast(CellClipNetwork, self.network)

    def _encode_wells(self, instances: torch.Tensor) -> torch.Tensor:
        pooling = self._towers.image_pool if self.settings.pooling == "mil" else mean_pooling
        embedded: torch.Tensor = self._towers.visual(pooling(instances))
        return embedded

    def _ordered(self, channels: Sequence[str]) -> tuple[str, ...]:
        """The channels in the order that the model takes them."""
        for names in self._orders.values():
            if set(names) <= set(channels):
                return names
        listed = "; ".join(f"{name}: {', '.join(names)}" for name, names in self._orders.items())
        raise InputError(
            f"{self.id} takes the channels of one of its orders ({listed}) and the images have "
            f"{', '.join(channels)}; rename channels, or add an order to the card"
        )

    def _part(self, name: str, reason: str) -> Path:
        if name not in self._parts:
            raise InputError(f"{self.id}: {reason}; give its file as the part '{name}' of the weights")
        return self._parts[name]


def crop_windows(key: str, height: int, width: int, count: int) -> list[tuple[int, int]]:
    """Top and left of a site's crops of 224 pixels, drawn by its key alone; no two are equal.

    There are fewer than ``count`` where a field has no more.
    """
    rows, columns = height - CROP + 1, width - CROP + 1
    rng = np.random.default_rng(int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "little"))
    drawn = rng.choice(rows * columns, min(count, rows * columns), replace=False)
    return [divmod(int(place), columns) for place in drawn]


def _require_files(card: ModelCard, weights: Mapping[str, Path], random_init: int | None) -> None:
    """Refuse parts that no CellCLIP has, files that are none, and weights without towers unless these are random."""
    for part, path in weights.items():
        if part not in _PARTS:
            raise unknown(f"part of {card.id}", part, _PARTS)
        if not path.is_file():
            raise InputError(f"{card.id}: {path} is no file; give one for the part '{part}' of the weights")
    if "model" in weights or random_init is not None:
        return
    if weights:
        raise InputError(f"{card.id}: the weights lack the part 'model'; give the model's own file")
    raise InputError(f"{card.id}: give the model's file of weights, or random_init=SEED for one without")


def _random(shape: CellClipShape, seed: int) -> CellClipNetwork:
    return build(shape, random_weights(shape, seed), "random weights")
