"""Features of channels that CellCLIP's towers learn on: computed once for each site, and kept between trainings.

They are those of a published DINOv2, or of a small network of the same kind with random weights. A random one is scaled
by what it sees: its last norm gives each feature a deviation of 1 between the sites of a channel, where it would else
give nearly the same vector for every picture.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import torch

from phenobench.cards import ModelCard, find
from phenobench.embedding import features_of_sites
from phenobench.errors import InputError
from phenobench.hub import fetch_command, official_weights
from phenobench.models import dinov2
from phenobench.models.cellclip import CellClip
from phenobench.models.weights import write_tensors
from phenobench.screens import Screen
from phenobench.sources import sites_folder

if TYPE_CHECKING:
    from phenobench.training.cellclip import CellClipConfig

_SCALE, _SHIFT = "layernorm.weight", "layernorm.bias"


@dataclass(frozen=True, eq=False)
class Seen:
    """What a network makes of a screen.

    Attributes:
        features: float32 (sites, channels, width) by row of the screen's wells.
        encoder: the network's parameters, where they are in no file of a card.
    """

    features: Mapping[int, np.ndarray]
    encoder: Mapping[str, torch.Tensor]


def see(card: ModelCard, config: CellClipConfig, screen: Screen, channels: tuple[str, ...]) -> Seen:
    """The features of all sites of a screen.

    Raises:
        InputError: the screen has no images or lacks a channel, or the weights of DINOv2 have not been fetched.
    """
    sizes = config.network.dinov2
    if isinstance(sizes, str):
        sees = find().model(sizes)
        files = official_weights(sees)
        if "model" not in files:
            raise InputError(f"{card.id} needs the weights of {sees.id}; fetch them with `{fetch_command(sees)}`")
        return Seen(_of_sites(card, config, screen, channels, files["model"]), {})
    state = spread(dinov2.random_network_state(dinov2.as_config(sizes), config.seed))
    # As they will be read from the file.
    rounded = {name: value.to(config.dtype) for name, value in state.items()}
    with TemporaryDirectory() as folder:
        path = Path(folder, "dinov2.safetensors")
        write_tensors(path, rounded, {})
        found = _of_sites(card, config, screen, channels, path)
    everything = np.concatenate(list(found.values()))
    deviation = torch.from_numpy(everything.std(axis=0).mean(axis=0))
    scale = (1 / deviation.clamp_min(1e-6)).to(config.dtype)
    shift = -torch.from_numpy(everything.mean(axis=(0, 1))) * scale
    rounded |= {_SCALE: scale, _SHIFT: shift.to(config.dtype)}
    factor, offset = rounded[_SCALE].float().numpy(), rounded[_SHIFT].float().numpy()
    return Seen({row: features * factor + offset for row, features in found.items()}, rounded)


def spread(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Random weights, matrices scaled to a deviation of 1 / sqrt(inputs): a small network is else near a constant."""

    def scaled(value: torch.Tensor) -> torch.Tensor:
        matrix = value.ndim in (2, 4) and len(value) > 1
        return value * (value[0].numel() ** -0.5 / value.std()) if matrix else value

    return {name: scaled(value) for name, value in state.items()}


def _of_sites(
    card: ModelCard, config: CellClipConfig, screen: Screen, channels: tuple[str, ...], encoder: Path
) -> dict[int, np.ndarray]:
    """By the model as it will be used, so that features are those of an embedding, and kept with them."""
    network = config.network.model_dump(mode="json")
    told = card.model_copy(update={"network": network, "channel_orders": {"trained": channels}})
    weights, device = {"dinov2": encoder}, config.running.device
    adapter = CellClip.load(told, weights=weights, random_init=config.seed, device=device, channels=None)
    found: dict[int, np.ndarray] = {}
    for rows, features in features_of_sites(screen, adapter, sites_folder(screen, adapter)):
        found |= {int(row): features[rows == row] for row in np.unique(rows)}
    return found
