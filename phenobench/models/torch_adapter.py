"""What image models that are torch networks have in common: device, precision, batches."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import nn

from phenobench.cards import ModelCard
from phenobench.errors import InputError
from phenobench.models.adapter import ImageAdapter
from phenobench.models.device import pick_device, pick_dtype
from phenobench.results import WeightsKind


class TorchAdapter(ImageAdapter):
    """An image model whose network runs in torch; it is built at the first image.

    Attributes:
        device: where it runs.
        dtype: what matrix products are computed in; the card's precision where the device has it.
        batch: crops that go through the network at a time.
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
        self._build = build

    @cached_property
    def network(self) -> nn.Module:
        """The network on its device; embeddings that are there already need none."""
        return self._build().to(self.device)

    @abstractmethod
    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        """Embeddings (n, d) of crops (n, c, crop, crop), uint8 or float32 on the 0-255 scale, on the device."""

    def embed_crops(self, crops: np.ndarray, channels: Sequence[str]) -> np.ndarray:
        """Embeddings float32 (n, d)."""
        return self.batched(self.forward, crops)

    def batched(self, function: Callable[..., torch.Tensor], *arrays: np.ndarray) -> np.ndarray:
        """A function of tensors on rows of arrays, a batch at a time, without gradients: float32."""
        parts = []
        for start in range(0, len(arrays[0]), self.batch):
            # A view, such as a flipped one, has strides that tensors do not take.
            cut = (np.ascontiguousarray(array[start : start + self.batch]) for array in arrays)
            rows = [torch.tensor(array, device=self.device) for array in cut]
            with torch.inference_mode(), torch.autocast(self.device.type, self.dtype, self.dtype != torch.float32):
                parts.append(function(*rows).float().cpu().numpy())
        return np.concatenate(parts)


def single_file(card: ModelCard, weights: Mapping[str, Path]) -> Path:
    """The file of a model that is made from one.

    Raises:
        InputError: other parts than "model" are named.
    """
    unknown = sorted(set(weights) - {"model"})
    if unknown:
        raise InputError(f"{card.id} has no part '{unknown[0]}' among its weights; give one file, --weights PATH")
    return weights["model"]
