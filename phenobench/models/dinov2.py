"""DINOv2 (Oquab et al. 2023, arXiv 2304.07193) on fluorescence channels, each as a grey picture of its own.

The network is transformers' ``Dinov2Model``, from the files that its authors published. It was
trained on colour photographs; a channel goes in as three equal planes, and the channels' features
are put side by side or averaged.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Literal, cast

import torch
from pydantic import BaseModel, ConfigDict
from transformers import Dinov2Config, Dinov2Model

from phenobench.cards import ModelCard, validate
from phenobench.errors import InputError
from phenobench.files import sha256_of
from phenobench.models.torch_adapter import TorchAdapter, single_file
from phenobench.models.weights import assemble, checked, random_state, read_tensors, skeleton

# ImageNet's, red, green and blue, on the scale from 0 to 1: what the network was trained with.
_MEAN = (0.485, 0.456, 0.406)
_DEVIATION = (0.229, 0.224, 0.225)

# Before it stands the prefix that a file gives all its parameters.
_FIRST = "embeddings.cls_token"
# The published files have the names of transformers 4; version 5 has others, and splits one matrix of giant's.
_RENAMED = {
    ".attention.attention.query.": ".attention.q_proj.",
    ".attention.attention.key.": ".attention.k_proj.",
    ".attention.attention.value.": ".attention.v_proj.",
    ".attention.output.dense.": ".attention.o_proj.",
    ".mlp.weights_out.": ".mlp.down_proj.",
}
_GATED = ".mlp.weights_in."
_GATED_PARTS = (".mlp.gate_proj.", ".mlp.up_proj.")


class Dinov2Sizes(BaseModel):
    """A card's ``[network]``; the names are those of the ``config.json`` that is published with the weights.

    ``num_channels`` are planes of a picture: the published ones see three, one is enough for a network made here.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    mlp_ratio: int
    use_swiglu_ffn: bool
    image_size: int
    patch_size: int
    num_channels: Literal[1, 3] = 3


def config_of(card: ModelCard) -> Dinov2Config:
    """The sizes of a card's ``[network]``, see ``as_config``.

    Raises:
        InputError: a size is missing or unknown; it is named.
    """
    return as_config(validate(card.network, Dinov2Sizes, f"{card.id}, network"))


def as_config(sizes: Dinov2Sizes) -> Dinov2Config:
    """Sizes as transformers takes them, without the mask token of training."""
    return Dinov2Config(use_mask_token=False, **sizes.model_dump())


def read_network_state(config: Dinov2Config, path: Path) -> dict[str, torch.Tensor]:
    """The parameters in a published file, float32, by the names of the installed transformers.

    A prefix such as ``dinov2.``, a mask token and the parameters of heads are left out.

    Raises:
        InputError: no file of weights, or not of these sizes; the first five parameters are named.
    """
    tensors, _ = read_tensors(path)
    network = skeleton(partial(Dinov2Model, config))
    prefix = next((key.removesuffix(_FIRST) for key in tensors if key.endswith(_FIRST)), "")
    state = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
    if any(".q_proj." in key for key in network.state_dict()):
        state = _renamed(state)
    return checked(state, network, str(path))


def random_network_state(config: Dinov2Config, seed: int) -> dict[str, torch.Tensor]:
    """Parameters from a seed, as ``weights.random_state`` makes them."""
    return random_state(skeleton(partial(Dinov2Model, config)), seed)


def build(config: Dinov2Config, state: Mapping[str, torch.Tensor]) -> Dinov2Model:
    """The network with these parameters, in evaluation mode, on the CPU.

    Raises:
        InputError: parameters are missing or of another shape; the first five are named.
    """
    return assemble(partial(Dinov2Model, config), state, "the state of DINOv2")


def preprocess(crops: torch.Tensor, planes: int = 3) -> torch.Tensor:
    """Each channel as equal planes, times 1/255, minus ImageNet's mean over its deviation.

    Args:
        crops: (n, c, h, w), uint8 or float32 on the 0-255 scale.
        planes: three, or the first of them alone.

    Returns:
        (n * c, planes, h, w) float32, channels of an image next to each other; planes differ by the two constants.
    """
    mean, deviation = (
        torch.tensor(values[:planes], device=crops.device).reshape(-1, 1, 1) for values in (_MEAN, _DEVIATION)
    )
    # One pass over the planes, in place of one for each operation.
    return torch.addcmul(-mean / deviation, crops.flatten(0, 1).unsqueeze(1).to(torch.float32), 1 / (255 * deviation))


def channel_features(network: Dinov2Model, crops: torch.Tensor) -> torch.Tensor:
    """The CLS token after the final norm, of each channel alone.

    The position table is resized, bicubic, from the 37 x 37 patches of its training to those of a crop.

    Args:
        network: from ``build``, on the crops' device.
        crops: (n, c, h, w), uint8 or float32 on the 0-255 scale; h and w multiples of the patch.

    Returns:
        (n, c, dim).
    """
    features: torch.Tensor = network(preprocess(crops, network.config.num_channels)).pooler_output
    return features.reshape(*crops.shape[:2], -1)


class Dinov2(TorchAdapter):
    """DINOv2 as an image model: channel by channel, side by side if the card says ``per_channel``, else averaged."""

    # Each channel is a picture to the network.
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
    ) -> Dinov2:
        """From the published file, or with random weights; any channels do.

        Raises:
            InputError: neither is given, the file does not fit, or there is no such device.
        """
        config = config_of(card)
        if weights:
            path = single_file(card, weights)
            state, digest = read_network_state(config, path), sha256_of(path)
            model = cls(card, partial(build, config, state), "trained", digest, device)
        elif random_init is not None:
            digest = hashlib.sha256(f"random {random_init} {sorted(card.network.items())}".encode()).hexdigest()
            model = cls(card, partial(_random, config, random_init), "random", digest, device)
        else:
            raise InputError(f"{card.id} needs its file of weights, or random_init=SEED")
        model._side_by_side = card.per_channel
        return model

    _side_by_side: bool

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        """Features (n, c * dim), channel after channel in the order of the crops, or their mean over channels."""
        features = channel_features(cast(Dinov2Model, self.network), crops)
        return features.flatten(1) if self._side_by_side else features.mean(dim=1)


def _random(config: Dinov2Config, seed: int) -> Dinov2Model:
    return build(config, random_network_state(config, seed))


def _renamed(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Parameters under the names of transformers 5; those that have them already stay as they are."""
    renamed: dict[str, torch.Tensor] = {}
    for key, value in state.items():
        if _GATED in key:
            halves = value.chunk(2)
            renamed |= {key.replace(_GATED, part): half for part, half in zip(_GATED_PARTS, halves, strict=True)}
            continue
        for old, new in _RENAMED.items():
            key = key.replace(old, new)
        renamed[key] = value
    return renamed
