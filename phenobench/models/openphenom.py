"""OpenPhenom: a channel-agnostic masked autoencoder's ViT-S/16, from its published file of weights to embeddings.

Kraus et al. 2024 (arXiv 2404.10242). Only what inference needs of the encoder is read: neither the decoder, nor the
position table, which is a formula, nor ``fc_norm``, which the model's own ``predict`` does not apply.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from pydantic import BaseModel, Json, model_validator
from torch import nn
from torch.nn import functional

from phenobench.cards import ModelCard, validate
from phenobench.errors import InputError
from phenobench.files import sha256_of
from phenobench.models.attention import attention
from phenobench.models.networks import VIT_SMALL, PatchEmbedding, VitShape, patchify
from phenobench.models.torch_adapter import TorchAdapter, single_file
from phenobench.models.weights import assemble, checked, random_state, read_tensors, skeleton, write_tensors

Kind = Literal["demo", "trained", "random"]

# The published sizes. Every channel goes through the same patch embedding, as an image of its own.
SHAPE = replace(VIT_SMALL, image=256, channels=1)
# The file's position table has rows for so many.
_MOST_CHANNELS = 11
_LAYER_NORM_EPSILON = 1e-6
_INSTANCE_NORM_EPSILON = 1e-5


def preprocess(images: torch.Tensor) -> torch.Tensor:
    """Pixels to what the network is trained on: each channel of each crop to mean 0 and variance 1.

    A 255th of the pixels, without a clamp, is normalized by its own mean and biased variance + 1e-5;
    the constant counts for dim channels, and makes zeros of a channel without contrast.

    Args:
        images: (n, c, h, w) on the 0-255 scale, of any type.

    Returns:
        The same shape, float32.
    """
    return functional.instance_norm(images.to(torch.float32) / 255, eps=_INSTANCE_NORM_EPSILON)


def position_table(side: int, width: int) -> torch.Tensor:
    """Positions of a channel's patches in reading order, the same for all channels: float32 (side * side, width).

    Sines and cosines of the row's ``width / 4`` angles, then of the column's, at wavelengths up to 10000.
    """
    frequencies = width // 4
    angles = torch.arange(side)[:, None] * 10000 ** (-torch.arange(frequencies) / frequencies)
    axis = torch.cat([angles.sin(), angles.cos()], dim=1)
    grid = [axis[:, None].expand(-1, side, -1), axis[None].expand(side, -1, -1)]
    return torch.cat(grid, dim=2).flatten(0, 1)


class ChannelAgnosticVit(nn.Module):
    """The encoder: patches of all channels are tokens of one sequence, told apart by their content alone.

    Written from a description of the published model; parameter names are those of its file.
    Parameters start as PyTorch makes them; see ``OpenPhenom`` for a network with weights.
    """

    def __init__(self, shape: VitShape = SHAPE) -> None:
        super().__init__()
        self.shape = shape
        self.cls_token = nn.Parameter(torch.zeros(1, 1, shape.width))
        self.patch_embed = PatchEmbedding(shape)
        self.blocks = nn.ModuleList(_ParallelBlock(shape) for _ in range(shape.depth))

    @property
    def side(self) -> int:
        """Patches in a row of a channel."""
        return self.shape.image // self.shape.patch

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Embed each channel in the context of all.

        Args:
            images: (n, c, 256, 256) as ``preprocess`` gives them, 1 to 11 channels.

        Returns:
            float32 (n, c, 384): the means of the channels' patch tokens, without a final norm. They
            change places with the channels, and their mean over channels is the model's embedding.
        """
        n, channels = images.shape[:2]
        tokens = self.through(self.embed(images))
        return tokens[:, 1:].reshape(n, channels, self.side**2, self.shape.width).mean(dim=2)

    def through(self, tokens: torch.Tensor) -> torch.Tensor:
        """Tokens after the last block, of the shape of those before the first."""
        for block in self.blocks:
            tokens = block(tokens)
        return tokens

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        """Tokens before the first block, (n, 1 + 256 c, 384): CLS, then patches by channel, row, column."""
        n, channels = images.shape[:2]
        patches = patchify(images.flatten(0, 1)[:, None], self.shape.patch)
        places = torch.arange(self.side**2, device=images.device).repeat(n, channels)
        return self.embed_patches(patches.reshape(n, channels * self.side**2, -1), places)

    def embed_patches(self, patches: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """The same of any patches, of whichever channels.

        Args:
            patches: (n, k, patch * patch), rows of pixels one after the other.
            places: (n, k) where each is in its channel, from 0 in reading order.

        Returns:
            (n, 1 + k, width), CLS first.
        """
        table = position_table(self.side, self.shape.width).to(patches.device)
        tokens = self.patch_embed(patches) + table[places]
        return torch.cat([self.cls_token.expand(len(tokens), -1, -1).to(tokens.dtype), tokens], dim=1)


class _ParallelBlock(nn.Module):
    """Attention and MLP side by side on one norm and one projection (Dehghani et al. 2023, arXiv 2302.05442)."""

    def __init__(self, shape: VitShape) -> None:
        super().__init__()
        self._shape = shape
        width, hidden = shape.width, shape.hidden
        self.mlp_bias = nn.Parameter(torch.zeros(hidden))
        self.in_norm = nn.LayerNorm(width, eps=_LAYER_NORM_EPSILON)
        self.in_proj = nn.Linear(width, hidden + 3 * width, bias=False)
        self.q_norm = nn.LayerNorm(width // shape.heads, eps=_LAYER_NORM_EPSILON)
        self.k_norm = nn.LayerNorm(width // shape.heads, eps=_LAYER_NORM_EPSILON)
        self.attn_out_proj = nn.Linear(width, width)
        self.mlp_out_proj = nn.Linear(hidden, width)
        self.ls = nn.ParameterDict({"gamma": torch.ones(width)})

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        width, heads = self._shape.width, self._shape.heads
        # The weights were trained with timm before 1.0.25, which puts the MLP's bias on the last 1536 of the 2688
        # outputs, though the MLP's are the first: most of it lands on queries, keys and values.
        bias = functional.pad(self.mlp_bias, (3 * width, 0))
        projected = functional.linear(self.in_norm(tokens), self.in_proj.weight, bias)
        hidden, q, k, v = torch.split(projected, [self._shape.hidden, width, width, width], dim=-1)
        q, k, v = (split_heads(part, heads) for part in (q, k, v))
        mixed = attention(self.q_norm(q), self.k_norm(k), v)
        attended = self.attn_out_proj(mixed.transpose(1, 2).flatten(2))
        changed: torch.Tensor = tokens + self.ls["gamma"] * (attended + self.mlp_out_proj(functional.gelu(hidden)))
        return changed


def split_heads(tokens: torch.Tensor, heads: int) -> torch.Tensor:
    """(n, length, width) to (n, heads, length, width / heads)."""
    n, length, _ = tokens.shape
    return tokens.reshape(n, length, heads, -1).transpose(1, 2)


@dataclass(frozen=True)
class Encoder:
    """What it takes to build the network.

    Attributes:
        state: the parameters by name, float32; nothing else.
        shape: the sizes.
        kind: where the weights come from: the demonstration's, somebody's training, or a seed.
    """

    state: Mapping[str, torch.Tensor]
    shape: VitShape
    kind: Kind


class _Metadata(BaseModel):
    """The metadata of a file that was trained here; the published one has none of it, and the published sizes."""

    shape: Json[VitShape] = SHAPE
    kind: Kind = "trained"

    @model_validator(mode="after")
    def _one_channel_at_a_time(self) -> Self:
        if self.shape.channels != 1 or self.shape.width % 4:
            raise ValueError(
                f"{self.shape} is no channel-agnostic encoder's; channels must be 1, and width divide by 4"
            )
        return self


def read_encoder(path: Path) -> Encoder:
    """The encoder in the published file, in one with the same tensors, or in one that was trained here.

    The published file is named as safetensors and may be a torch archive: what is inside decides.
    Prefixes such as ``encoder.vit_backbone.`` are dropped; what inference does not need is ignored.

    Raises:
        InputError: no such file, a file that is neither, a pickle with anything but data, or
            parameters that are missing or misshapen, the first five of which are named.
    """
    tensors, metadata = read_tensors(path)
    known = validate(metadata, _Metadata, f"{path}, metadata")
    network = skeleton(partial(ChannelAgnosticVit, known.shape))
    wanted = network.state_dict()
    ends = [(key, name) for key in tensors for name in wanted if f".{key}".endswith(f".{name}")]
    # Of several prefixes (a decoder may have a parameter of the same name) the encoder's has the most parameters.
    prefixes = Counter(key.removesuffix(name) for key, name in ends)
    prefix = max(prefixes, key=prefixes.__getitem__, default="")
    state = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
    return Encoder(checked(state, network, str(path)), known.shape, known.kind)


def random_encoder(shape: VitShape, seed: int) -> Encoder:
    """Weights from a seed alone, as ``weights.random_state`` makes them."""
    return Encoder(random_state(skeleton(partial(ChannelAgnosticVit, shape)), seed), shape, "random")


def write_encoder(path: Path, encoder: Encoder, training: Mapping[str, Any]) -> None:
    """Write an encoder as safetensors, whole or not at all; the same encoder gives the same bytes.

    The file's metadata has ``shape`` and ``training`` (see ``weights.Training``) as JSON, and ``kind``.
    """
    metadata = {
        "shape": json.dumps(asdict(encoder.shape)),
        "kind": encoder.kind,
        "training": json.dumps(training),
    }
    write_tensors(path, encoder.state, metadata)


class OpenPhenom(TorchAdapter):
    """OpenPhenom as an image model for 1 to 11 channels in any order: the mean over the patches of all channels.

    Embeddings are float32 (n, width), 384 features in the published sizes, or (n, width c), channel by channel, where
    the card says ``per_channel``.
    """

    batch = 8

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
        """From a file of weights, or with random weights of the published sizes; ``channels`` decide nothing.

        Raises:
            InputError: neither is given, the file does not fit, the card's crop is another, or there
                is no such device.
        """
        if weights:
            path = single_file(card, weights)
            encoder, origin, digest = read_encoder(path), str(path), sha256_of(path)
        elif random_init is not None:
            encoder, origin = random_encoder(SHAPE, random_init), "random weights"
            digest = hashlib.sha256(f"OpenPhenom random {random_init} {SHAPE}".encode()).hexdigest()
        else:
            raise InputError(f"{card.id}: give its file of weights, or random_init=SEED for a network without")
        if card.crop != encoder.shape.image:
            raise InputError(
                f"{card.id}: the network looks at squares of {encoder.shape.image} pixels; set crop to that"
            )
        build = partial(assemble, partial(ChannelAgnosticVit, encoder.shape), encoder.state, origin)
        model = cls(card, build, encoder.kind, digest, device)
        model._per_channel = card.per_channel
        return model

    _per_channel: bool

    def embed_crops(self, crops: np.ndarray, channels: Sequence[str]) -> np.ndarray:
        """Embeddings float32 (n, width), or (n, width c) channel by channel."""
        if not 1 <= len(channels) <= _MOST_CHANNELS:
            raise InputError(
                f"{self.id}: the network takes 1 to {_MOST_CHANNELS} channels and the images have "
                f"{len(channels)} ({', '.join(channels)}); choose among them"
            )
        return super().embed_crops(crops, channels)

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        """The network on crops (n, c, 256, 256) on its device."""
        by_channel: torch.Tensor = self.network(preprocess(crops))
        return by_channel.flatten(1) if self._per_channel else by_channel.mean(dim=1)
