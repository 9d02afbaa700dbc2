"""Files of CellCLIP weights that were trained here: what they say besides tensors, and writing them.

Tensors have the names of the published file. Where the network that sees the channels was trained with the towers, its
parameters are in the same file, after a prefix; the published model has DINOv2 in a file of its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, Json, PositiveInt
from tokenizers import Tokenizer

from phenobench.models.cellclip_networks import CellClipShape
from phenobench.models.dinov2 import Dinov2Sizes
from phenobench.models.weights import write_tensors

# What ``dinov2.read_network_state`` finds the parameters by.
_ENCODER = "dinov2."


class CellClipSettings(CellClipShape):
    """A card's ``[network]``: the sizes for random weights, and what the published file does not say.

    Attributes:
        dinov2: the card whose network sees the channels, or the sizes of one that the file of weights holds.
        crops: crops of a site whose features are averaged.
        pooling: from sites to wells, by the model's attention or by the mean.
    """

    dinov2: str | Dinov2Sizes
    crops: PositiveInt
    pooling: Literal["mil", "mean"]


class Metadata(BaseModel):
    """The metadata of a file that was trained here; the published one has none of it.

    Attributes:
        kind: what the weights are called.
        network: in place of the card's.
        channels: by name, in the order of the weights.
        tokenizer: a ``tokenizer.json``.
    """

    kind: Literal["demo", "trained"] = "trained"
    network: Json[CellClipSettings] | None = None
    channels: Json[tuple[str, ...]] | None = None
    tokenizer: str | None = None

    @property
    def parts(self) -> frozenset[str]:
        """What else than the towers is in the file, by the names that parts of weights have."""
        held = {
            "tokenizer": self.tokenizer is not None,
            "dinov2": self.network is not None and not isinstance(self.network.dinov2, str),
        }
        return frozenset(part for part, there in held.items() if there)


def write_checkpoint(
    path: Path,
    towers: Mapping[str, torch.Tensor],
    encoder: Mapping[str, torch.Tensor],
    settings: CellClipSettings,
    channels: tuple[str, ...],
    tokenizer: Tokenizer,
    kind: Literal["demo", "trained"],
    training: Mapping[str, Any],
) -> None:
    """Write weights as safetensors, whole or not at all; the same arguments give the same bytes.

    Args:
        path: of the file.
        towers: the state of ``CellClipNetwork``.
        encoder: the state of the network that sees the channels; empty where it is that of a card.
        settings: as a card has them.
        channels: by name, in the order of the weights.
        tokenizer: of the text tower.
        kind: what the weights are called.
        training: see ``weights.Training``.

    Raises:
        InputError: the file cannot be written.
    """
    state = {**towers, **{_ENCODER + name: value for name, value in encoder.items()}}
    metadata = {
        "kind": kind,
        "network": settings.model_dump_json(),
        "channels": json.dumps(channels),
        "tokenizer": tokenizer.to_str(),
        "training": json.dumps(training),
    }
    write_tensors(path, state, metadata)
