"""CWA-MSN (arXiv 2509.19896) and, with pairs of one well, plain MSN: a masked siamese network with prototypes.

Of the paper only the abstract and reviews were to be had. Known are the pairs (two distinct wells of a perturbation),
masked anchors against a target through an averaged encoder, the loss with its regularizer, and ViT-S/16. Everything
else is MSN's or our own choice, and configurable; the configurations say which.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import nn

from phenobench.cards import ModelCard, SixteenBit
from phenobench.errors import InputError
from phenobench.models.cwa_msn import Checkpoint, preprocess, random_checkpoint, write_checkpoint
from phenobench.models.networks import VisionTransformer, VitShape
from phenobench.models.weights import random_state
from phenobench.profiles import ROLES
from phenobench.screens import Screen
from phenobench.training import Pairs
from phenobench.training.config import TrainingConfig, read_config
from phenobench.training.distributed import World, gather
from phenobench.training.fields import Fields
from phenobench.training.msn_loss import MsnLoss, MsnLossConfig, msn_loss
from phenobench.training.pairs import PairsConfig, WellTable, draw, well_table
from phenobench.training.recipe import Outcome, Recipe, generator, provenance
from phenobench.training.schedules import linear
from phenobench.training.views import Patches, ViewConfig, cut, kept_patches, placements


class NetworkConfig(BaseModel):
    """``[network]``: sizes of the encoder, as in ``VitShape``, and of the head that only training has.

    Attributes:
        image: side of the position table's field in pixels.
        patch: side of a patch in pixels.
        width: features of the embedding.
        depth: blocks.
        heads: attention heads.
        head_hidden: features of the head's two hidden layers.
        head_out: features that are compared with prototypes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    image: int = Field(default=256, ge=1)
    patch: int = Field(default=16, ge=1)
    width: int = Field(default=384, ge=1)
    depth: int = Field(default=12, ge=1)
    heads: int = Field(default=6, ge=1)
    head_hidden: int = Field(default=2048, ge=1)
    head_out: int = Field(default=256, ge=1)


class CwaMsnConfig(TrainingConfig):
    """The configuration of CWA-MSN.

    Attributes:
        network: sizes.
        anchors: views of the anchor's field.
        target: the view of the target's field.
        pairs: which fields make a pair.
        loss: see ``MsnLossConfig``.
        momentum_start: of the average that the target's encoder is, at the first step.
        momentum_final: at the last, times ``optimisation.stretch``.
    """

    network: NetworkConfig = NetworkConfig()
    anchors: tuple[ViewConfig, ...] = Field(min_length=1)
    target: ViewConfig
    pairs: PairsConfig = PairsConfig()
    loss: MsnLossConfig = MsnLossConfig()
    momentum_start: float = Field(default=0.996, ge=0, le=1)
    momentum_final: float = Field(default=1.0, ge=0, le=1)

    @model_validator(mode="after")
    def _whole_patches(self) -> Self:
        for view in (*self.anchors, self.target):
            if view.size % self.network.patch:
                raise ValueError(f"a view of {view.size} pixels is no multiple of the patch of {self.network.patch}")
        return self


class Head(nn.Sequential):
    """Two hidden layers with batch normalization and GELU, then a linear one; as MSN's projection.

    Statistics are those of the batch at hand: the head is never used outside training.
    """

    def __init__(self, width: int, hidden: int, out: int) -> None:
        layers: list[nn.Module] = []
        for size in (width, hidden):
            norm = nn.BatchNorm1d(hidden, track_running_stats=False)
            layers += [nn.Linear(size, hidden), norm, nn.GELU()]
        super().__init__(*layers, nn.Linear(hidden, out))


class Student(nn.Module):
    """What learns: encoder, head and prototypes."""

    def __init__(self, shape: VitShape, config: CwaMsnConfig, channels: Sequence[str]) -> None:
        super().__init__()
        sizes, seed = config.network, config.seed
        self.encoder = VisionTransformer(shape)
        self.encoder.load_state_dict(random_checkpoint(shape, channels, seed).state)
        self.head = Head(sizes.width, sizes.head_hidden, sizes.head_out)
        self.head.load_state_dict(random_state(self.head, seed + 1))
        bound = 1 / math.sqrt(sizes.head_out)
        start = torch.rand((config.loss.prototypes, sizes.head_out), generator=torch.Generator().manual_seed(seed + 2))
        self.prototypes = nn.Parameter((2 * start - 1) * bound)
        self._loss = config.loss

    def forward(self, anchors: Sequence[Sequence[Patches]], targets: torch.Tensor) -> MsnLoss:
        """The loss of anchors, of this process, against targets (b, head_out), of all processes.

        Views are grouped by kind: each group is a batch of its own to the head, as MSN's resolutions are.
        """
        projected = []
        for group in anchors:
            encoded = torch.stack([encode(self.encoder, view) for view in group], dim=1)  # (n, views, width)
            together = gather(encoded).transpose(0, 1).flatten(0, 1)  # view by view
            projected.append(self.head(together))
        with torch.autocast(targets.device.type, enabled=False):
            return msn_loss(torch.cat(projected).float(), targets.float(), self.prototypes, self._loss)


def encode(encoder: VisionTransformer, view: Patches) -> torch.Tensor:
    """CLS tokens (n, width) float32 of views that are cut into patches."""
    return encoder.embed_patches(preprocess(view.values), view.grid, view.keep).float()


@dataclass(frozen=True)
class Batch:
    """Anchors' views by kind, and the targets'."""

    anchors: tuple[tuple[Patches, ...], ...]
    target: Patches


class CwaMsnRecipe(Recipe[Batch]):
    """CWA-MSN in training; the average of its encoder becomes the weights."""

    config: CwaMsnConfig
    network: Student
    images = 2

    def __init__(self, config: CwaMsnConfig, screen: Screen, sixteen_bit: SixteenBit = "full-range") -> None:
        """Build the networks and read the screen.

        Raises:
            InputError: the screen has no pairs, or lacks a channel.
        """
        self.config = config
        self._screen = screen
        self._table: WellTable = well_table(screen.wells, config.pairs, screen.id)
        rows = [int(row) for wells in self._table.wells for row in wells]
        kept_bytes = int(config.running.kept_gb * 1e9)
        self._fields = Fields(screen, rows, config.channels, sixteen_bit, kept_bytes)
        sizes = config.network.model_dump(exclude={"head_hidden", "head_out"})
        self.shape = VitShape(channels=len(self._fields.channels), **sizes)
        self.network = Student(self.shape, config, self._fields.channels)
        self.clipped = nn.ModuleList([self.network.encoder, self.network.head])
        self._encoder = copy.deepcopy(self.network.encoder).requires_grad_(False)
        self._head = copy.deepcopy(self.network.head).requires_grad_(False)
        self._averages = nn.ModuleList([self._encoder, self._head])
        self.kept = {"network": self.network, "averages": self._averages}

    @classmethod
    def make(cls, card: ModelCard, screen: Screen, config: Path | None, pairs: Pairs | None) -> CwaMsnRecipe:
        """From a configuration, with its pairs or, for "same-well", plain MSN's."""
        told = read_config(config, card.id, CwaMsnConfig)
        if pairs == "same-well":
            alone = PairsConfig(same_well_start=1.0, same_well_end=1.0)
            told = told.model_copy(update={"pairs": alone})
        elif pairs == "cross-well" and told.pairs.alone:
            raise InputError("the configuration has pairs of one well alone; change its [pairs] for --pairs cross-well")
        return cls(told, screen, card.sixteen_bit)

    def undecayed(self) -> set[str]:
        """The prototypes."""
        return {"prototypes"}

    def same_well(self, step: int) -> float:
        """The share of pairs that are one field twice."""
        pairs = self.config.pairs
        until = pairs.until * self.config.optimisation.steps
        return linear(step, until, pairs.same_well_start, pairs.same_well_end)

    def batch(self, step: int, part: int, world: World) -> Batch:
        """This process's share of a part of a step's batch, on the CPU."""
        rules, patch = self.config.optimisation, self.config.network.patch
        n = rules.batch // rules.accumulate
        mine = world.share(n)
        rng = generator(self.config, step, part, 0)
        pairs = draw(self._table, rng, n, self.same_well(step))
        chances = rng.random((n, 2))
        read = self._fields.of([row for pair in pairs[mine] for row in pair])
        anchors, targets = [], []
        for (anchor, target), (one, other) in zip(pairs[mine], chances[mine], strict=True):
            anchors.append(_pick(read[anchor], one))
            targets.append(anchors[-1] if anchor == target else _pick(read[target], other))

        def view(fields: Sequence[np.ndarray], kind: ViewConfig) -> Patches:
            # Drawn for the whole batch: however many processes there are, a sample has the same views.
            placed = placements(rng, n)
            return cut(fields, placed[mine], kind.size, patch, kept_patches(rng, kind, patch))

        groups = tuple(tuple(view(anchors, kind) for _ in range(kind.count)) for kind in self.config.anchors)
        return Batch(groups, view(targets, self.config.target))

    def loss(self, network: nn.Module, batch: Batch, step: int, device: torch.device) -> Outcome:
        """Anchors against targets."""
        with torch.no_grad():
            encoded = gather(encode(self._encoder, batch.target.to(device)))
            targets = self._head(encoded)
        anchors = [[view.to(device) for view in group] for group in batch.anchors]
        parts: MsnLoss = network(anchors, targets)
        return Outcome(parts.total, lambda: self._figures(parts, encoded, step))

    def after_update(self, step: int) -> None:
        """Move the target's average towards the encoder and the head."""
        config = self.config
        total = config.optimisation.steps * config.optimisation.stretch
        momentum = linear(step, total, config.momentum_start, config.momentum_final)
        with torch.no_grad():
            for average, value in zip(self._averages.parameters(), self.clipped.parameters(), strict=True):
                average.lerp_(value, 1 - momentum)

    def write(self, path: Path, steps: int) -> None:
        """Write the averaged encoder, as ``models.cwa_msn.read_checkpoint`` takes it."""
        dtype = torch.float16 if self.config.precision == "float16" else torch.float32
        state = {name: value.to("cpu", dtype) for name, value in self._encoder.state_dict().items()}
        firsts = np.array([wells[0] for wells in self._table.wells])
        perturbations = self._screen.wells[ROLES["perturbation"]].iloc[firsts].astype(str).tolist()
        checkpoint = Checkpoint(state, self.shape, self._fields.channels, self.config.kind)
        write_checkpoint(path, checkpoint, provenance(self._screen, self.config, perturbations, steps))

    def _figures(self, parts: MsnLoss, encoded: torch.Tensor, step: int) -> Mapping[str, float]:
        """Parts of the loss, and what tells a collapse: entropies in nats, at most the log of the prototypes."""
        with torch.no_grad():
            targets, mean = parts.targets, parts.anchors.mean(dim=0)
            return {
                "cross_entropy": parts.cross_entropy.item(),
                "me_max": parts.me_max.item(),
                "target_entropy": -torch.xlogy(targets, targets).sum(dim=1).mean().item(),
                "prototype_entropy": -torch.xlogy(mean, mean).sum().item(),
                "embedding_rank": effective_rank(encoded),
                "same_well": self.same_well(step),
            }


def effective_rank(embeddings: torch.Tensor) -> float:
    """How many directions centred embeddings (n, d) fill: 1 in a collapse, at most d (Roy and Vetterli 2007).

    The exponential of the entropy of the singular values' shares.
    """
    values = torch.linalg.svdvals((embeddings - embeddings.mean(dim=0)).float())
    if not values.sum() > 0:
        return 0.0
    shares = values / values.sum()
    return float(torch.exp(-torch.xlogy(shares, shares).sum()))


def _pick(fields: Sequence[np.ndarray], chance: float) -> np.ndarray:
    return fields[int(chance * len(fields))]
