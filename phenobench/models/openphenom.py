"""OpenPhenom: a channel-agnostic masked autoencoder's ViT-S/16, from its published file of weights to embeddings.

Kraus et al. 2024 (arXiv 2404.10242). Only what inference needs of the encoder is read: neither the decoder, nor the
position table, which is a formula, nor ``fc_norm``, which the model's own ``predict`` does not apply.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from phenobench.cards import ModelCard
from phenobench.errors import InputError
from phenobench.files import sha256_of
from phenobench.models.networks import VIT_SMALL
from phenobench.models.torch_adapter import TorchAdapter, single_file
from phenobench.models.weights import assemble, checked, random_state, read_tensors, skeleton
from phenobench.results import WeightsKind

# Every channel goes through the same convolution, as an image of its own.
_SHAPE = replace(VIT_SMALL, image=256, channels=1)
_SIDE = _SHAPE.image // _SHAPE.patch
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


def position_table() -> torch.Tensor:
    """Positions of a channel's patches in reading order, the same for all channels: float32 (256, 384).

    Sines and cosines of the row's 96 angles, then of the column's, at wavelengths up to 10000.
    """
    frequencies = _SHAPE.width // 4
    angles = torch.arange(_SIDE)[:, None] * 10000 ** (-torch.arange(frequencies) / frequencies)
    axis = torch.cat([angles.sin(), angles.cos()], dim=1)
    grid = [axis[:, None].expand(-1, _SIDE, -1), axis[None].expand(_SIDE, -1, -1)]
    return torch.cat(grid, dim=2).flatten(0, 1)


class ChannelAgnosticVit(nn.Module):
    """The encoder: patches of all channels are tokens of one sequence, told apart by their content alone.

    Written from a description of the published model; parameter names are those of its file.
    Parameters start as PyTorch makes them; see ``OpenPhenom`` for a network with weights.
    """

    def __init__(self) -> None:
        super().__init__()
        projection = nn.Conv2d(1, _SHAPE.width, kernel_size=_SHAPE.patch, stride=_SHAPE.patch)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, _SHAPE.width))
        self.patch_embed = nn.ModuleDict({"proj": projection})
        self.blocks = nn.ModuleList(_ParallelBlock() for _ in range(_SHAPE.depth))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Embed each channel in the context of all.

        Args:
            images: (n, c, 256, 256) as ``preprocess`` gives them, 1 to 11 channels.

        Returns:
            float32 (n, c, 384): the means of the channels' patch tokens, without a final norm. They
            change places with the channels, and their mean over channels is the model's embedding.
        """
        n, channels = images.shape[:2]
        tokens = self.embed(images)
        for block in self.blocks:
            tokens = block(tokens)
        return tokens[:, 1:].reshape(n, channels, _SIDE**2, _SHAPE.width).mean(dim=2)

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        """Tokens before the first block, (n, 1 + 256 c, 384): CLS, then patches by channel, row, column."""
        n, channels = images.shape[:2]
        patches = self.patch_embed["proj"](images.flatten(0, 1)[:, None]).flatten(2).transpose(1, 2)
        tokens = (patches + position_table().to(patches.device)).reshape(n, channels * _SIDE**2, _SHAPE.width)
        return torch.cat([self.cls_token.expand(n, -1, -1), tokens], dim=1)


class _ParallelBlock(nn.Module):
    """Attention and MLP side by side on one norm and one projection (Dehghani et al. 2023, arXiv 2302.05442)."""

    def __init__(self) -> None:
        super().__init__()
        width, hidden = _SHAPE.width, _SHAPE.hidden
        self.mlp_bias = nn.Parameter(torch.zeros(hidden))
        self.in_norm = nn.LayerNorm(width, eps=_LAYER_NORM_EPSILON)
        self.in_proj = nn.Linear(width, hidden + 3 * width, bias=False)
        self.q_norm = nn.LayerNorm(width // _SHAPE.heads, eps=_LAYER_NORM_EPSILON)
        self.k_norm = nn.LayerNorm(width // _SHAPE.heads, eps=_LAYER_NORM_EPSILON)
        self.attn_out_proj = nn.Linear(width, width)
        self.mlp_out_proj = nn.Linear(hidden, width)
        self.ls = nn.ParameterDict({"gamma": torch.ones(width)})

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        width = _SHAPE.width
        # The weights were trained with timm before 1.0.25, which puts the MLP's bias on the last 1536 of the 2688
        # outputs, though the MLP's are the first: most of it lands on queries, keys and values.
        bias = functional.pad(self.mlp_bias, (3 * width, 0))
        projected = functional.linear(self.in_norm(tokens), self.in_proj.weight, bias)
        hidden, q, k, v = torch.split(projected, [_SHAPE.hidden, width, width, width], dim=-1)
        mixed = functional.scaled_dot_product_attention(self.q_norm(_heads(q)), self.k_norm(_heads(k)), _heads(v))
        attended = self.attn_out_proj(mixed.transpose(1, 2).flatten(2))
        changed: torch.Tensor = tokens + self.ls["gamma"] * (attended + self.mlp_out_proj(functional.gelu(hidden)))
        return changed


def _heads(tokens: torch.Tensor) -> torch.Tensor:
    """(n, length, width) to (n, heads, length, width / heads)."""
    n, length, _ = tokens.shape
    return tokens.reshape(n, length, _SHAPE.heads, -1).transpose(1, 2)


def read_encoder(path: Path) -> dict[str, torch.Tensor]:
    """The encoder's parameters by name, float32, from the published file or one with the same tensors.

    The published file is named as safetensors and may be a torch archive: what is inside decides.
    Prefixes such as ``encoder.vit_backbone.`` are dropped; what inference does not need is ignored.

    Raises:
        InputError: no such file, a file that is neither, a pickle with anything but data, or
            parameters that are missing or misshapen, the first five of which are named.
    """
    tensors, _ = read_tensors(path)
    network = skeleton(ChannelAgnosticVit)
    wanted = network.state_dict()
    ends = [(key, name) for key in tensors for name in wanted if f".{key}".endswith(f".{name}")]
    # Of several prefixes (a decoder may have a parameter of the same name) the encoder's has the most parameters.
    prefixes = Counter(key.removesuffix(name) for key, name in ends)
    prefix = max(prefixes, key=prefixes.__getitem__, default="")
    state = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
    return checked(state, network, str(path))


class OpenPhenom(TorchAdapter):
    """OpenPhenom as an image model for 1 to 11 channels in any order: the mean over the patches of all channels.

    Embeddings are float32 (n, 384), or (n, 384 c), channel by channel, where the card says ``per_channel``.
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
        """From the published file of weights, or with random weights; ``channels`` decide nothing.

        Raises:
            InputError: neither is given, the file does not fit, the card's crop is another, or there
                is no such device.
        """
        if card.crop != _SHAPE.image:
            raise InputError(f"{card.id}: the network looks at squares of {_SHAPE.image} pixels; set crop to that")
        kind: WeightsKind
        if weights:
            path = single_file(card, weights)
            state, origin, kind, digest = read_encoder(path), str(path), "trained", sha256_of(path)
        elif random_init is not None:
            state, origin, kind = random_state(skeleton(ChannelAgnosticVit), random_init), "random weights", "random"
            digest = hashlib.sha256(f"OpenPhenom random {random_init} {_SHAPE}".encode()).hexdigest()
        else:
            raise InputError(f"{card.id}: give its file of weights, or random_init=SEED for a network without")
        model = cls(card, partial(assemble, ChannelAgnosticVit, state, origin), kind, digest, device)
        model._per_channel = card.per_channel
        return model

    _per_channel: bool

    def embed_crops(self, crops: np.ndarray, channels: Sequence[str]) -> np.ndarray:
        """Embeddings float32 (n, 384), or (n, 384 c) channel by channel."""
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
