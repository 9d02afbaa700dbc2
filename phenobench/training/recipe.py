"""What the trainer asks of a model's recipe."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import nn

from phenobench.cards import ModelCard
from phenobench.screens import Screen
from phenobench.training import Pairs
from phenobench.training.config import TrainingConfig
from phenobench.training.distributed import World

B = TypeVar("B")


@dataclass(frozen=True)
class Outcome:
    """The loss of a batch, a scalar with a gradient, and what computes figures for the log where they are wanted."""

    loss: torch.Tensor
    figures: Callable[[], Mapping[str, float]]


class Recipe(ABC, Generic[B]):
    """A model in training.

    Batches are a pure function of seed and step, so that a training can stop anywhere and go on as if it had not.

    Attributes:
        config: what it was told.
        network: what learns; ``loss`` calls it once, and all that it computes is inside that call.
        kept: all modules whose state a checkpoint holds, ``network`` among them.
        clipped: what the norm of the gradient is taken and clipped of.
        images: fields that go into one sample.
    """

    config: TrainingConfig
    network: nn.Module
    kept: Mapping[str, nn.Module]
    clipped: nn.Module
    images: int

    @classmethod
    @abstractmethod
    def make(cls, card: ModelCard, screen: Screen, config: Path | None, pairs: Pairs | None) -> Recipe[Any]:
        """Build the model and read the screen, on the CPU.

        Raises:
            InputError: the configuration or the screen does not do.
        """

    @abstractmethod
    def undecayed(self) -> set[str]:
        """Names of ``network``'s parameters that are not decayed besides vectors."""

    @abstractmethod
    def batch(self, step: int, part: int, world: World) -> B:
        """This process's share of a part of a step's batch."""

    @abstractmethod
    def loss(self, network: nn.Module, batch: B, step: int, device: torch.device) -> Outcome:
        """The loss of a batch; ``network`` is the recipe's, wrapped where there are several processes."""

    def after_update(self, step: int) -> None:
        """Called when the weights have been updated; an average of them moves here."""

    @abstractmethod
    def write(self, path: Path, steps: int) -> None:
        """Write the final weights after so many steps."""


def generator(config: TrainingConfig, step: int, part: int, purpose: int) -> np.random.Generator:
    """Chance that follows from seed, step and part alone; purposes do not share any."""
    return np.random.default_rng((config.seed, step, part, purpose))


def provenance(screen: Screen, config: TrainingConfig, perturbations: list[str], steps: int) -> dict[str, Any]:
    """What the weights saw, for the metadata of their file."""
    return {
        "screen": screen.id,
        "screen_revision": screen.revision,
        "images_sha256": screen.images_sha256,
        "perturbations": sorted(perturbations),
        "steps": steps,
        "samples": steps * config.optimisation.batch,
        "seed": config.seed,
        "config": config.model_dump(mode="json", exclude={"running"}),
    }
