"""What image models that are torch networks have in common: device, precision, batches."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import nn

from phenobench.cards import ModelCard
from phenobench.errors import InputError
from phenobench.models.adapter import ImageAdapter
from phenobench.models.device import pick_device, pick_dtype
from phenobench.models.gpu_batches import GpuBatches
from phenobench.results import WeightsKind

# Images that a GPU is given at a time: about 340 crops of 256 x 256 pixels and six channels.
_GPU_BATCH_BYTES = 128 << 20


class TorchAdapter(ImageAdapter):
    """An image model whose network runs in torch; it is built at the first image.

    Attributes:
        device: where it runs.
        dtype: what matrix products are computed in; the card's precision where the device has it.
        batch: crops that go through the network at a time on a CPU. It is fixed: a CPU gains nothing from more, and the
            last bits of products depend on it. On a GPU it is where the search for the size begins.
    """

    batch = 32

    def __init__(
        self, card: ModelCard, build: Callable[[], nn.Module], kind: WeightsKind, sha256: str, device: str
    ) -> None:
        super().__init__(card)
        self.weights_kind = kind
        self.weights_sha256 = sha256
        self.device = pick_device(device)
        self.dtype = pick_dtype(card.precision, self.device)
        self.precision = str(self.dtype).removeprefix("torch.")
        # Asked here, before a loader may limit the threads of the processes that it starts.
        self.cores = torch.get_num_threads() if self.device.type == "cpu" else 0
        if self.device.type == "cuda":
            self.batch_bytes = _GPU_BATCH_BYTES
        self._build = build

    @cached_property
    def network(self) -> nn.Module:
        """The network on its device; embeddings that are there already need none."""
        return self._build().to(self.device)

    @cached_property
    def _gpu(self) -> GpuBatches:
        return GpuBatches(self.device, self.batch)

    @abstractmethod
    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        """Embeddings (n, d) of crops (n, c, crop, crop), uint8 or float32 on the 0-255 scale, on the device."""

    def embed_crops(self, crops: np.ndarray, channels: Sequence[str]) -> np.ndarray:
        """Embeddings float32 (n, d)."""
        return self.batched(self.forward, crops)

    def batched(self, function: Callable[..., torch.Tensor], *arrays: np.ndarray) -> np.ndarray:
        """A function of tensors on rows of arrays, a batch at a time, without gradients: float32."""
        if self.device.type == "cuda":
            with self._computing():
                return self._gpu.run(function, arrays)
        parts = []
        for start in range(0, len(arrays[0]), self.batch):
            # A view, such as a flipped one, has strides that tensors do not take.
            cut = (np.ascontiguousarray(array[start : start + self.batch]) for array in arrays)
            rows = [torch.tensor(array, device=self.device) for array in cut]
            with self._computing():
                parts.append(function(*rows).float().cpu().numpy())
        return np.concatenate(parts)

    @contextmanager
    def _computing(self) -> Iterator[None]:
        with torch.inference_mode(), torch.autocast(self.device.type, self.dtype, self.dtype != torch.float32):
            yield


def single_file(card: ModelCard, weights: Mapping[str, Path]) -> Path:
    """The file of a model that is made from one.

    Raises:
        InputError: other parts than "model" are named.
    """
    unknown = sorted(set(weights) - {"model"})
    if unknown:
        raise InputError(f"{card.id} has no part '{unknown[0]}' among its weights; give one file, --weights PATH")
    return weights["model"]
