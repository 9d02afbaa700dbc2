"""Files of weights: reading and writing tensors without running code, checking them, and random ones."""

from __future__ import annotations

import json
import pickle
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import safetensors
import torch
from pydantic import BaseModel, ConfigDict, Json
from safetensors.torch import save
from torch import nn

from phenobench.cards import validate
from phenobench.errors import InputError
from phenobench.files import atomic

# Standard deviation of random weights; they are cut off at twice that.
_SPREAD = 0.02
# A safetensors file starts with the length of its header in eight bytes, and then the header's JSON.
_HEADER = slice(8, 9)
# Zip files, and the pickles of torch before 1.6.
_ARCHIVES = (b"PK", b"\x80")

N = TypeVar("N", bound=nn.Module)


class Training(BaseModel):
    """How weights were made: ``training`` in the metadata of a file that a recipe wrote, JSON with more than this.

    Attributes:
        screen: the id of the screen.
        perturbations: the names that were seen there.
        steps: updates.
        samples: drawn in all.
        seed: of the training.
    """

    model_config = ConfigDict(frozen=True)

    screen: str
    perturbations: frozenset[str]
    steps: int
    samples: int
    seed: int


class _Metadata(BaseModel):
    training: Json[Training] | None = None


def read_training(path: Path) -> Training | None:
    """How the weights in a file were made; None where it does not say.

    Raises:
        InputError: what it says cannot be understood.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as handle:
            metadata = handle.metadata() or {}
    except (safetensors.SafetensorError, OSError):  # a torch archive has no metadata
        return None
    return validate(metadata, _Metadata, f"{path}, metadata").training


def read_tensors(path: Path) -> tuple[dict[str, torch.Tensor], Mapping[str, str]]:
    """Read a file of weights, safetensors or a torch archive: what is inside decides, not the file's suffix.

    Returns:
        Tensors by dotted name (nested dictionaries are joined), and the metadata of safetensors.

    Raises:
        InputError: no such file, a file that is neither or not whole, or a pickle with anything but data.
    """
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


def write_tensors(path: Path, state: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> None:
    """Write safetensors, whole or not at all; the same tensors and metadata give the same bytes."""
    content = save({key: value.contiguous() for key, value in state.items()}, dict(metadata))
    with atomic(path) as temporary:
        temporary.write_bytes(_in_order(content))


def skeleton(make: Callable[[], N]) -> N:
    """A network without memory for its parameters, to ask for names and shapes or to fill."""
    with torch.device("meta"):
        return make()


def checked(state: Mapping[str, torch.Tensor], network: nn.Module, origin: str) -> dict[str, torch.Tensor]:
    """The parameters that a network needs, float32, all there and of the right shape; others are ignored.

    Raises:
        InputError: some are missing or of another shape; the first five are named.
    """
    wanted = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    require(state, list(wanted), origin)
    wrong = [
        f"{key} {tuple(state[key].shape)} instead of {size}"
        for key, size in wanted.items()
        if tuple(state[key].shape) != size
    ]
    if wrong:
        raise InputError(f"{origin} has {len(wrong)} parameters of another shape: {_first(wrong)}")
    return {key: state[key].to(torch.float32) for key in wanted}


def require(state: Mapping[str, torch.Tensor], wanted: Sequence[str], origin: str) -> None:
    """Refuse a state that lacks parameters.

    Raises:
        InputError: naming the first five.
    """
    missing = [key for key in wanted if key not in state]
    if missing:
        raise InputError(f"{origin} lacks {len(missing)} parameters of the model: {_first(missing)}")


def assemble(make: Callable[[], N], state: Mapping[str, torch.Tensor], origin: str) -> N:
    """A network with these weights, in evaluation mode, on the CPU; errors as ``checked``."""
    network = skeleton(make)
    parameters = checked(state, network, origin)
    # Buffers that no file holds are made by the network itself, so not on the device without memory.
    built = make() if any(True for _ in network.buffers()) else network
    built.load_state_dict(parameters, assign=True)
    return built.eval().requires_grad_(False)


def random_state(network: nn.Module, seed: int) -> dict[str, torch.Tensor]:
    """Weights from a seed alone: the same on every call, whatever else draws random numbers.

    Matrices and tables are normal with deviation 0.02, cut off at two deviations; of vectors, scales
    (of norms and layers, DINOv2's ``lambda1`` among them) are 1 and biases 0.
    """
    generator = torch.Generator().manual_seed(seed)
    state: dict[str, torch.Tensor] = {}
    for key, like in network.state_dict().items():
        value = torch.empty(like.shape)
        if like.ndim > 1:
            value.normal_(std=_SPREAD, generator=generator).clamp_(-2 * _SPREAD, 2 * _SPREAD)
        else:
            value.fill_(1.0 if key.endswith(("weight", "gamma", "lambda1")) else 0.0)
        state[key] = value
    return state


def _in_order(content: bytes) -> bytes:
    """A safetensors file with its header's keys sorted; the library leaves them in a random order."""
    length = int.from_bytes(content[: _HEADER.start], "little")
    header = content[_HEADER.start :][:length]
    ordered = json.dumps(json.loads(header), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    ordered = ordered.ljust(-(-len(ordered) // 8) * 8)  # data start at a multiple of eight
    return len(ordered).to_bytes(_HEADER.start, "little") + ordered + content[_HEADER.start + length :]


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")


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
