"""CWA-MSN: checkpoints to networks. The encoder is the vision transformer of masked siamese networks.

Three sources of weights: a checkpoint of our own recipe (safetensors with the sizes and channels in
its metadata), an MSN-style checkpoint (sizes inferred from its tensors), and a seed.
"""

from __future__ import annotations

import hashlib
import json
import math
import pickle
import re
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import safetensors
import torch
from pydantic import BaseModel, Json
from safetensors.torch import save
from torch import nn

from phenobench.cards import ModelCard, validate
from phenobench.errors import InputError
from phenobench.files import atomic, sha256_of
from phenobench.models.adapter import ImageAdapter
from phenobench.models.device import pick_device
from phenobench.models.networks import VisionTransformer, VitShape

Kind = Literal["demo", "trained", "random"]

# Recursion's six, for random weights where nothing says which channels.
_RECURSION = ("DNA", "ER", "Actin", "RNA", "Mito", "Golgi")
# Crops that go through the network at a time.
_BATCH = 32

# All encoders of MSN have heads of this width, which no tensor shows.
_HEAD_WIDTH = 64
# Standard deviation of random weights; they are cut off at twice that.
_SPREAD = 0.02
# Of 8-bit Cell Painting fields, roughly: 16 fields of LINCS (A549) have mean 23 and deviation 32 over all channels.
_PIXEL_MEAN = 32.0
_PIXEL_DEVIATION = 32.0
# Names of the encoder's parameters behind whatever prefix a checkpoint gives them.
_PARAMETER = re.compile(
    r"(?P<prefix>(?:.*?\.)?)(?:cls_token|pos_embed|patch_embed\.proj\.\w+|norm\.\w+"
    r"|blocks\.\d+\.(?:norm[12]|attn\.qkv|attn\.proj|mlp\.fc[12])\.\w+)"
)
# A safetensors file starts with the length of its header in eight bytes, and then the header's JSON.
_HEADER = slice(8, 9)
# Zip files, and the pickles of torch before 1.6.
_ARCHIVES = (b"PK", b"\x80")


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
    """The network of a checkpoint, in evaluation mode, on the CPU, with weights of its own.

    Raises:
        InputError: parameters are missing or of another shape; the first five are named.
    """
    state = _checked(checkpoint.state, checkpoint.shape, "the checkpoint")
    network = _skeleton(checkpoint.shape).to_empty(device="cpu")
    network.load_state_dict(state)
    return network.eval()


def random_checkpoint(shape: VitShape, channels: Sequence[str], seed: int) -> Checkpoint:
    """Weights from a seed alone: the same on every call, whatever else draws random numbers.

    Weights, position table and CLS token are normal with deviation 0.02, cut off at two deviations;
    biases are 0 and norms 1.

    Raises:
        InputError: the channels are not as many as the shape's, or repeat a name.
    """
    names = _channels(channels, shape, "random weights")
    generator = torch.Generator().manual_seed(seed)
    state: dict[str, torch.Tensor] = {}
    for key, like in _skeleton(shape).state_dict().items():
        value = torch.empty(like.shape)
        if like.ndim > 1:
            nn.init.trunc_normal_(value, std=_SPREAD, a=-2 * _SPREAD, b=2 * _SPREAD, generator=generator)
        else:
            value.fill_(1.0 if "norm" in key and key.endswith("weight") else 0.0)
        state[key] = value
    return Checkpoint(state, shape, names, "random")


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint as safetensors, whole or not at all; the same checkpoint gives the same bytes.

    The file's metadata has ``shape`` and ``channels`` as JSON and ``kind``.
    """
    metadata = {"shape": json.dumps(asdict(checkpoint.shape)), "kind": checkpoint.kind}
    if checkpoint.channels is not None:
        metadata["channels"] = json.dumps(checkpoint.channels)
    content = save({key: value.contiguous() for key, value in checkpoint.state.items()}, metadata)
    with atomic(path) as temporary:
        temporary.write_bytes(_in_order(content))


def _in_order(content: bytes) -> bytes:
    """A safetensors file with its header's keys sorted; the library leaves them in a random order."""
    length = int.from_bytes(content[: _HEADER.start], "little")
    header = content[_HEADER.start :][:length]
    ordered = json.dumps(json.loads(header), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    ordered = ordered.ljust(-(-len(ordered) // 8) * 8)  # data start at a multiple of eight
    return len(ordered).to_bytes(_HEADER.start, "little") + ordered + content[_HEADER.start + length :]


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
    tensors, metadata = _read(path)
    known = validate(metadata, _Metadata, f"{path}, metadata")
    state = _encoder(tensors)
    shape = known.shape or _infer_shape(state, path)
    channels = None if known.channels is None else _channels(known.channels, shape, str(path))
    return Checkpoint(_checked(state, shape, str(path)), shape, channels, known.kind)


def _skeleton(shape: VitShape) -> VisionTransformer:
    with torch.device("meta"):
        return VisionTransformer(shape)


def _checked(state: Mapping[str, torch.Tensor], shape: VitShape, origin: str) -> dict[str, torch.Tensor]:
    """The parameters that the network needs, float32, all there and of the right shape."""
    wanted = {key: tuple(value.shape) for key, value in _skeleton(shape).state_dict().items()}
    _require(state, list(wanted), origin)
    wrong = [
        f"{key} {tuple(state[key].shape)} instead of {size}"
        for key, size in wanted.items()
        if tuple(state[key].shape) != size
    ]
    if wrong:
        raise InputError(f"{origin} has {len(wrong)} parameters of another shape: {_first(wrong)}")
    return {key: state[key].to(torch.float32) for key in wanted}


def _require(state: Mapping[str, torch.Tensor], wanted: Sequence[str], origin: str) -> None:
    missing = [key for key in wanted if key not in state]
    if missing:
        raise InputError(f"{origin} lacks {len(missing)} parameters of the encoder: {_first(missing)}")


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")


def _read(path: Path) -> tuple[dict[str, torch.Tensor], Mapping[str, str]]:
    """Tensors by dotted name, and metadata."""
    try:
        with path.open("rb") as handle:
            start = handle.read(_HEADER.stop)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); give the file with the weights") from error
    if start[_HEADER] == b"{":
        return _read_safetensors(path)
    if start.startswith(_ARCHIVES):
        return _read_archive(path), {}
    raise InputError(f"{path} is neither safetensors nor a torch archive; give the file with the weights")


def _read_safetensors(path: Path) -> tuple[dict[str, torch.Tensor], Mapping[str, str]]:
    try:
        with safetensors.safe_open(path, framework="pt") as handle:
            return {key: handle.get_tensor(key) for key in handle.keys()}, handle.metadata() or {}  # noqa: SIM118
    except safetensors.SafetensorError as error:
        raise InputError(f"{path} is no whole safetensors file ({error}); fetch it again") from error


def _read_archive(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a torch archive by dotted name, without running anything that is in it."""
    try:
        # From a handle, since torch goes by the suffix of a path. Its warnings are about odd pickles, refused below.
        with path.open("rb") as handle, warnings.catch_warnings(action="ignore"):
            loaded = torch.load(handle, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path} is refused: it has code or objects other than tensors in it, which are never run; "
            "ask its author for the weights as safetensors"
        ) from error
    except (RuntimeError, EOFError, OSError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path} is no whole torch archive of tensors; fetch it again") from error
    return _flat(loaded)


def _flat(values: Any, prefix: str = "") -> dict[str, torch.Tensor]:
    if isinstance(values, torch.Tensor):
        return {prefix: values}
    found: dict[str, torch.Tensor] = {}
    if isinstance(values, Mapping):
        for key, value in values.items():
            found |= _flat(value, f"{prefix}.{key}" if prefix else str(key))
    return found


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
    _require(state, ["cls_token", "pos_embed", "patch_embed.proj.weight", "blocks.0.mlp.fc1.weight"], str(path))
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


class CwaMsn(ImageAdapter):
    """CWA-MSN (arXiv 2509.19896) as an image model: the CLS token of its encoder, float32 (n, width).

    Attributes:
        id: the card's id.
        channels: those of the checkpoint, by name.
        crop: the card's.
        weights_kind: "demo", "trained" or "random".
        weights_sha256: of the file, or of seed and sizes.
    """

    def __init__(
        self, card: ModelCard, shape: VitShape, channels: tuple[str, ...] | None, kind: Kind, sha256: str, device: str
    ) -> None:
        self.id = card.id
        self.channels = channels
        self.crop = card.crop
        self.weights_kind = kind
        self.weights_sha256 = sha256
        self._shape = shape
        self._device = pick_device(device)
        self._dtype = torch.bfloat16 if card.precision == "bfloat16" else torch.float32
        self._checkpoint: Callable[[], Checkpoint]

    @classmethod
    def load(
        cls,
        card: ModelCard,
        *,
        weights: Path | None,
        random_init: int | None,
        device: str,
        channels: tuple[str, ...] | None,
    ) -> CwaMsn:
        """From a checkpoint, or with random weights for the given channels.

        Raises:
            InputError: neither is given, the checkpoint does not fit, or there is no such device.
        """
        if weights is not None:
            checkpoint = read_checkpoint(weights)
            model = cls(card, checkpoint.shape, checkpoint.channels, checkpoint.kind, sha256_of(weights), device)
            model._checkpoint = lambda: checkpoint
            return model
        if random_init is None:
            raise InputError(f"{card.id}: no weights are published; give a checkpoint, or random_init=SEED")
        names = channels or card.channels or _RECURSION
        shape = VitShape(channels=len(names), **{name: int(size) for name, size in card.parameters.items()})
        digest = hashlib.sha256(f"random {random_init} {shape} {names}".encode()).hexdigest()
        model = cls(card, shape, names, "random", digest, device)
        model._checkpoint = lambda: random_checkpoint(shape, names, random_init)
        return model

    @cached_property
    def _network(self) -> VisionTransformer:
        """Built at the first image: embeddings that are there already need none."""
        return build(self._checkpoint()).to(self._device)

    def embed_crops(self, crops: np.ndarray, channels: Sequence[str]) -> np.ndarray:
        """CLS tokens float32 (n, width); uint16 is scaled to 0-255 by 257."""
        if len(channels) != self._shape.channels:
            raise InputError(
                f"{self.id}: the checkpoint takes {self._shape.channels} channels and the images have "
                f"{len(channels)} ({', '.join(channels)}); it does not name its own, so give as many"
            )
        parts = []
        for start in range(0, len(crops), _BATCH):
            batch = crops[start : start + _BATCH]
            pixels = batch if batch.dtype == np.uint8 else batch.astype(np.float32)
            if batch.dtype == np.uint16:
                pixels = pixels / np.float32(257)
            images = preprocess(torch.tensor(pixels, device=self._device))
            with torch.inference_mode(), torch.autocast(self._device.type, self._dtype, self._dtype != torch.float32):
                parts.append(self._network(images).float().cpu().numpy())
        return np.concatenate(parts)
