"""CWA-MSN: checkpoints to networks. The encoder is the vision transformer of masked siamese networks.

Three sources of weights: a checkpoint of our own recipe (safetensors with the sizes and channels in
its metadata), an MSN-style checkpoint (sizes inferred from its tensors), and a seed.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import BaseModel, Json

from phenobench.cards import ModelCard, validate
from phenobench.errors import InputError
from phenobench.files import sha256_of
from phenobench.models.networks import VisionTransformer, VitShape
from phenobench.models.torch_adapter import TorchAdapter, single_file
from phenobench.models.weights import assemble, checked, random_state, read_tensors, require, skeleton, write_tensors

Kind = Literal["demo", "trained", "random"]

# Recursion's six, for random weights where nothing says which channels.
_RECURSION = ("DNA", "ER", "Actin", "RNA", "Mito", "Golgi")

# All encoders of MSN have heads of this width, which no tensor shows.
_HEAD_WIDTH = 64
# Of 8-bit Cell Painting fields, roughly: 16 fields of LINCS (A549) have mean 23 and deviation 32 over all channels.
_PIXEL_MEAN = 32.0
_PIXEL_DEVIATION = 32.0
# Names of the encoder's parameters behind whatever prefix a checkpoint gives them.
_PARAMETER = re.compile(
    r"(?P<prefix>(?:.*?\.)?)(?:cls_token|pos_embed|patch_embed\.proj\.\w+|norm\.\w+"
    r"|blocks\.\d+\.(?:norm[12]|attn\.qkv|attn\.proj|mlp\.fc[12])\.\w+)"
)


@dataclass(frozen=True)
class Checkpoint:
    """What it takes to build the network.

    Attributes:
        state: the encoder's parameters by name, float32; nothing else.
        shape: the sizes.
        channels: channels by name in the order of the weights, or None where the file does not say.
        kind: where the weights come from: the demonstration's, somebody's training, or a seed.
    """

    state: Mapping[str, torch.Tensor]
    shape: VitShape
    channels: tuple[str, ...] | None
    kind: Kind


class _Metadata(BaseModel):
    """The metadata of a safetensors file of ours; a file of others has none of it."""

    shape: Json[VitShape] | None = None
    channels: Json[list[str]] | None = None
    kind: Kind = "trained"


def preprocess(images: torch.Tensor) -> torch.Tensor:
    """Pixels to what the network is trained on: (x - 32) / 32, the same for all images and channels.

    The two constants are about the mean and the deviation of 8-bit Cell Painting fields. They are fixed: a
    normalization of each image by its own statistics hides intensity, and training from other
    wells' views then collapsed. There is no clamp.

    Args:
        images: (n, c, h, w), or patches of them, uint8 or float32 on the 0-255 scale.

    Returns:
        The same shape, float32; the input is left as it is.
    """
    if images.dtype not in (torch.uint8, torch.float32):
        raise InputError(f"images are {images.dtype}; give uint8, or float32 on the 0-255 scale")
    return images.to(torch.float32).sub(_PIXEL_MEAN).div_(_PIXEL_DEVIATION)


def build(checkpoint: Checkpoint) -> VisionTransformer:
    """The network of a checkpoint, in evaluation mode, on the CPU.

    Raises:
        InputError: parameters are missing or of another shape; the first five are named.
    """
    return assemble(partial(VisionTransformer, checkpoint.shape), checkpoint.state, "the checkpoint")


def random_checkpoint(shape: VitShape, channels: Sequence[str], seed: int) -> Checkpoint:
    """Weights from a seed alone: the same on every call, whatever else draws random numbers.

    Weights, position table and CLS token are normal with deviation 0.02, cut off at two deviations;
    biases are 0 and norms 1.

    Raises:
        InputError: the channels are not as many as the shape's, or repeat a name.
    """
    names = _channels(channels, shape, "random weights")
    return Checkpoint(random_state(_skeleton(shape), seed), shape, names, "random")


def write_checkpoint(path: Path, checkpoint: Checkpoint, training: Mapping[str, Any] | None = None) -> None:
    """Write a checkpoint as safetensors, whole or not at all; the same checkpoint gives the same bytes.

    The file's metadata has ``shape``, ``channels`` and, where given, ``training`` (see ``weights.Training``) as JSON,
    and ``kind``.
    """
    metadata = {"shape": json.dumps(asdict(checkpoint.shape)), "kind": checkpoint.kind}
    if checkpoint.channels is not None:
        metadata["channels"] = json.dumps(checkpoint.channels)
    if training is not None:
        metadata["training"] = json.dumps(training)
    write_tensors(path, checkpoint.state, metadata)


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint of our recipe or an MSN-style one, as safetensors or as a torch archive.

    What is inside decides, not the file's suffix. Of an MSN-style checkpoint ``target_encoder`` is
    taken, else ``encoder``; prefixes such as ``module.`` are dropped, and what is not the encoder's
    (heads, prototypes, the optimiser) is ignored. Sizes come from the metadata, or else from the
    tensors; heads are then 64 wide, as all of MSN's are.

    Raises:
        InputError: no such file, a file that is neither, a pickle with anything but data, or an
            encoder with missing or misshapen parameters, the first five of which are named.
    """
    tensors, metadata = read_tensors(path)
    known = validate(metadata, _Metadata, f"{path}, metadata")
    state = _encoder(tensors)
    shape = known.shape or _infer_shape(state, path)
    channels = None if known.channels is None else _channels(known.channels, shape, str(path))
    return Checkpoint(checked(state, _skeleton(shape), str(path)), shape, channels, known.kind)


def _skeleton(shape: VitShape) -> VisionTransformer:
    return skeleton(partial(VisionTransformer, shape))


def _encoder(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The encoder's parameters without their prefix: the target's if there are two."""
    prefixes = Counter(match["prefix"] for key in tensors if (match := _PARAMETER.fullmatch(key)))
    if not prefixes:
        return {}

    def preference(prefix: str) -> tuple[bool, bool, int]:
        parts = prefix.split(".")
        return "target_encoder" in parts, "encoder" in parts, prefixes[prefix]

    chosen = max(prefixes, key=preference)
    return {key.removeprefix(chosen): value for key, value in tensors.items() if key.startswith(chosen)}


def _infer_shape(state: Mapping[str, torch.Tensor], path: Path) -> VitShape:
    require(state, ["cls_token", "pos_embed", "patch_embed.proj.weight", "blocks.0.mlp.fc1.weight"], str(path))
    projection, positions, hidden = (
        tuple(state[key].shape) for key in ("patch_embed.proj.weight", "pos_embed", "blocks.0.mlp.fc1.weight")
    )
    if len(projection) != 4 or len(positions) != 3 or len(hidden) != 2:
        raise InputError(
            f"{path}: patch_embed.proj.weight {projection}, pos_embed {positions} and blocks.0.mlp.fc1.weight "
            f"{hidden} are not those of a vision transformer; it is another model's"
        )
    width, channels, patch, _ = projection
    side = math.isqrt(max(positions[1] - 1, 0))
    if width % _HEAD_WIDTH or side**2 + 1 != positions[1]:
        raise InputError(
            f"{path}: heads of {_HEAD_WIDTH} do not divide a width of {width}, or {positions[1]} positions are no "
            "square and CLS; write it as safetensors with its shape in the metadata"
        )
    depth = 1 + max(int(key.split(".")[1]) for key in state if re.match(r"blocks\.\d+\.", key))
    return VitShape(side * patch, patch, channels, width, depth, width // _HEAD_WIDTH, hidden[0] / width)


def _channels(names: Sequence[str], shape: VitShape, origin: str) -> tuple[str, ...]:
    if len(names) != shape.channels or len(set(names)) != len(names):
        raise InputError(f"{origin}: {shape.channels} different channels are needed; these are {', '.join(names)}")
    return tuple(names)


class CwaMsn(TorchAdapter):
    """CWA-MSN (arXiv 2509.19896) as an image model: the CLS token of its encoder, float32 (n, width)."""

    @classmethod
    def load(
        cls,
        card: ModelCard,
        *,
        weights: Mapping[str, Path],
        random_init: int | None,
        device: str,
        channels: tuple[str, ...] | None,
    ) -> CwaMsn:
        """From a checkpoint, or with random weights for the given channels.

        Raises:
            InputError: neither is given, the checkpoint does not fit, or there is no such device.
        """
        if weights:
            path = single_file(card, weights)
            read = read_checkpoint(path)
            model = cls(card, partial(build, read), read.kind, sha256_of(path), device)
            model.channels, model._n_channels = read.channels, read.shape.channels
            return model
        if random_init is None:
            raise InputError(f"{card.id}: no weights are published; give a checkpoint, or random_init=SEED")
        names = channels or card.channels or _RECURSION
        shape = VitShape(channels=len(names), **{name: int(size) for name, size in card.network.items()})
        digest = hashlib.sha256(f"random {random_init} {shape} {names}".encode()).hexdigest()
        model = cls(card, lambda: build(random_checkpoint(shape, names, random_init)), "random", digest, device)
        model.channels, model._n_channels = names, len(names)
        return model

    _n_channels: int

    def embed_crops(self, crops: np.ndarray, channels: Sequence[str]) -> np.ndarray:
        """CLS tokens float32 (n, width)."""
        if len(channels) != self._n_channels:
            raise InputError(
                f"{self.id}: the checkpoint takes {self._n_channels} channels and the images have "
                f"{len(channels)} ({', '.join(channels)}); it does not name its own, so give as many"
            )
        return super().embed_crops(crops, channels)

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        """The network on crops (n, c, crop, crop) on its device."""
        embedded: torch.Tensor = self.network(preprocess(crops))
        return embedded
