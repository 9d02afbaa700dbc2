"""CellCLIP (Lu et al. 2025, arXiv 2506.06290) in training: wells and captions of perturbations into one space.

Written from a description of suinleelab/CellCLIP @ 95d909b. Features of channels are computed once, by DINOv2 or by a
small network with random weights, and both towers learn on them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from tokenizers import Tokenizer
from torch import nn
from torch.nn import functional

from phenobench.cards import ModelCard
from phenobench.errors import InputError
from phenobench.hub import fetch_command, official_weights
from phenobench.models.cellclip_checkpoint import CellClipSettings, write_checkpoint
from phenobench.models.cellclip_networks import build, random_weights
from phenobench.models.prompts import prompt
from phenobench.models.tokenizer import build_tokenizer, encode, read_tokenizer
from phenobench.profiles import ROLES
from phenobench.screens import Screen
from phenobench.training import Pairs
from phenobench.training.channel_features import see, spread
from phenobench.training.config import TrainingConfig, read_config
from phenobench.training.contrastive_loss import channel_similarities, clip_loss, cwcl_loss
from phenobench.training.cwa_msn import effective_rank
from phenobench.training.distributed import World, gather
from phenobench.training.pairs import PairsConfig, well_table
from phenobench.training.recipe import Outcome, Recipe, generator, provenance

# The temperature does not go below 0.01, as in CLIP.
_LARGEST_SCALE = float(np.log(100))


class CellClipConfig(TrainingConfig):
    """The configuration of CellCLIP.

    Attributes:
        network: as a card has it. ``dinov2`` is a card, whose published weights see the channels, or a table of sizes
            of a network with random weights, which goes into the file.
        loss: ``cwcl`` or ``clip``, see ``contrastive_loss``.
        sites: fields of a well that make a sample; one that has fewer repeats them.
    """

    network: CellClipSettings
    loss: Literal["cwcl", "clip"] = "cwcl"
    sites: int = Field(ge=1)

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights in the file."""
        return torch.float16 if self.precision == "float16" else torch.float32


class Student(nn.Module):
    """What learns: both towers."""

    def __init__(self, config: CellClipConfig, channel_means: torch.Tensor) -> None:
        super().__init__()
        settings = config.network
        state = spread(random_weights(settings, config.seed))
        # What is the same in all wells is taken off at first: embeddings that are all alike would stay so.
        state["visual.channel_embed"] = -channel_means
        # No dropout, whose chance would not be the step's.
        self.towers = build(settings, state, "random weights").requires_grad_(True)
        self._loss = config.loss

    def forward(
        self, sites: torch.Tensor, ids: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The loss of wells against captions, those of all processes, and the embeddings (n, output) of both.

        Args:
            sites: features (n, m, c, width) of the channels of this process's wells.
            ids: tokens (n, length) of their captions.
            mask: 0 at padding.
        """
        pooled = self.towers.image_pool(sites)
        embedded = self.towers.visual(pooled), self.towers.encode_tokens(ids, mask)
        images, texts = (functional.normalize(gather(rows.float())) for rows in embedded)
        scale = self.towers.logit_scale.exp()
        with torch.autocast(sites.device.type, enabled=False):
            if self._loss == "clip":
                return clip_loss(images, texts, scale), images, texts
            # Weights of a loss are constants: the pooling gains nothing by making wells alike.
            similarities = channel_similarities(gather(pooled.detach().float()))
            return cwcl_loss(images, texts, similarities, scale), images, texts


@dataclass(frozen=True)
class Batch:
    """What ``Student`` takes, on the CPU."""

    sites: torch.Tensor
    ids: torch.Tensor
    mask: torch.Tensor


class CellClipRecipe(Recipe[Batch]):
    """CellCLIP in training: each sample is a well of another perturbation, with its caption."""

    config: CellClipConfig
    network: Student

    def __init__(self, card: ModelCard, config: CellClipConfig, screen: Screen) -> None:
        """Build the networks and read the screen.

        Raises:
            InputError: the screen has no captions or too few for a batch, or lacks a channel; DINOv2 is not here.
        """
        self.config = config
        self.images = config.sites
        self._screen = screen
        self._channels = config.channels or screen.channels
        if len(self._channels) != config.network.channels:
            raise InputError(
                f"the configuration has network.channels = {config.network.channels} and there are "
                f"{len(self._channels)}: {', '.join(self._channels)}; name as many with channels"
            )
        captions = _captions(screen)
        groups = well_table(screen.wells, PairsConfig(same_well_start=1, same_well_end=1), screen.id).wells
        names = screen.wells[ROLES["perturbation"]].astype(str).to_numpy()
        self._wells = {name: rows for rows in groups if (name := names[rows[0]]) in captions}
        self._perturbations = sorted(self._wells)
        n = config.optimisation.batch // config.optimisation.accumulate
        if len(self._wells) < n:
            raise InputError(
                f"{screen.id} has {len(self._wells)} perturbations with a caption and a batch compares {n} at a time; "
                "lower optimisation.batch"
            )
        told = [captions[name] for name in self._perturbations]
        self._tokenizer = _tokenizer(card, told, config.network)
        sizes = {"vocabulary": config.network.text_vocabulary, "positions": config.network.text_positions}
        self._ids, self._mask = encode(self._tokenizer, told, **sizes)
        self._seen = see(card, config, screen, self._channels)
        means = np.concatenate([self._seen.features[row] for rows in self._wells.values() for row in rows]).mean(axis=0)
        self.network = Student(config, torch.from_numpy(means))
        self.kept = {"network": self.network}
        self.clipped = self.network

    @classmethod
    def make(cls, card: ModelCard, screen: Screen, config: Path | None, pairs: Pairs | None) -> CellClipRecipe:
        """From a configuration; there are no pairs."""
        if pairs is not None:
            raise InputError(f"{card.id} pairs wells with captions, not with wells; leave --pairs out")
        return cls(card, read_config(config, card.id, CellClipConfig), screen)

    def undecayed(self) -> set[str]:
        """None besides vectors."""
        return set()

    def batch(self, step: int, part: int, world: World) -> Batch:
        """This process's share of a part of a step's batch, on the CPU."""
        rules = self.config.optimisation
        n = rules.batch // rules.accumulate
        rng = generator(self.config, step, part, 0)
        chosen = rng.permutation(len(self._perturbations))[:n]
        wells = [int(rng.choice(self._wells[self._perturbations[place]])) for place in chosen]
        seeds = rng.integers(2**63, size=n)
        mine = world.share(n)
        mask = self._mask[chosen[mine]]
        longest = int(mask.sum(axis=1).max())
        return Batch(
            self._sites(wells[mine], seeds[mine]),
            torch.from_numpy(self._ids[chosen[mine], :longest]),
            torch.from_numpy(mask[:, :longest]),
        )

    def loss(self, network: nn.Module, batch: Batch, step: int, device: torch.device) -> Outcome:
        """Wells against captions."""
        loss, images, texts = network(batch.sites.to(device), batch.ids.to(device), batch.mask.to(device))
        return Outcome(loss, lambda: self._figures(images.detach(), texts.detach()))

    def after_update(self, step: int) -> None:
        """Keep the temperature where it may be."""
        with torch.no_grad():
            self.network.towers.logit_scale.clamp_(0, _LARGEST_SCALE)

    def write(self, path: Path, steps: int) -> None:
        """Write both towers, the tokenizer, and the network that sees the channels if it is a random one."""
        towers, config = self.network.towers.state_dict(), self.config
        state = {name: value.to("cpu", config.dtype) for name, value in towers.items()}
        training = provenance(self._screen, config, self._perturbations, steps)
        write_checkpoint(
            path, state, self._seen.encoder, config.network, self._channels, self._tokenizer, config.kind, training
        )

    def _sites(self, wells: list[int], seeds: np.ndarray) -> torch.Tensor:
        """Features of sites of each well, drawn by its seed."""
        samples = []
        for well, seed in zip(wells, seeds, strict=True):
            there = self._seen.features[well]
            order = np.random.default_rng(seed).permutation(len(there))
            samples.append(there[np.resize(order, self.config.sites)])
        return torch.from_numpy(np.stack(samples))

    def _figures(self, images: torch.Tensor, texts: torch.Tensor) -> Mapping[str, float]:
        """How many wells find their captions in the batch, and what tells a collapse."""
        found = (images @ texts.T).argmax(dim=1).cpu() == torch.arange(len(images))
        return {
            "batch_recall": found.float().mean().item(),
            "embedding_rank": effective_rank(images),
            "logit_scale": self.network.towers.logit_scale.exp().item(),
        }


def _captions(screen: Screen) -> dict[str, str]:
    """What is said of each perturbation."""
    if screen.texts is None or screen.texts.embedded:
        raise InputError(f"{screen.id} does not say what its perturbations are; train on a screen with descriptions")
    return {
        one.perturbation: one.text or prompt(one.cell_type, one.kind, one.name, one.info)
        for one in screen.texts.descriptions
    }


def _tokenizer(card: ModelCard, captions: list[str], settings: CellClipSettings) -> Tokenizer:
    """The published one where the towers are of the published vocabulary, else one made from the captions."""
    published = official_weights(card).get("tokenizer")
    if settings.text_vocabulary == card.network.get("text_vocabulary") and "tokenizer" in card.weights:
        if published is None:
            raise InputError(f"{card.id} needs its tokenizer; fetch it with `{fetch_command(card)}`")
        return read_tokenizer(published)
    return build_tokenizer(captions, settings.text_vocabulary)
