"""A channel-agnostic masked autoencoder in small, as OpenPhenom is one in large (Kraus et al. 2024, arXiv 2404.10242).

Three quarters of the patches of all channels together are masked; the encoder sees the rest as one sequence, and a
decoder fills in the pixels, each channel normalized as at inference. The encoder is the model's own. The decoder is
ours, of convolutions over the grid of patches: a transformer in its place first has to learn where a patch is, and in
a demonstration's few hundred steps it did not. There is no loss in Fourier space.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn
from torch.nn import functional

from phenobench.cards import ModelCard, SixteenBit
from phenobench.errors import InputError
from phenobench.models.networks import VitShape
from phenobench.models.openphenom import (
    ChannelAgnosticVit,
    Encoder,
    preprocess,
    random_encoder,
    write_encoder,
)
from phenobench.models.weights import random_state
from phenobench.screens import Screen
from phenobench.sources import treated
from phenobench.training import Pairs
from phenobench.training.config import TrainingConfig, read_config
from phenobench.training.cwa_msn import effective_rank
from phenobench.training.distributed import World
from phenobench.training.fields import Fields
from phenobench.training.mae_loss import draw_masks, masked_error, take
from phenobench.training.recipe import Outcome, Recipe, generator, provenance
from phenobench.training.views import cut, placements


class NetworkConfig(BaseModel):
    """``[network]``: sizes of the encoder, as in ``VitShape``, and of the decoder that only training has.

    Attributes:
        image: side of the field in pixels.
        patch: side of a patch in pixels.
        width: features of the embedding.
        depth: blocks.
        heads: attention heads.
        decoder_width: features of the decoder at each place.
        decoder_depth: its convolutions.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    image: int = Field(default=256, ge=1)
    patch: int = Field(default=16, ge=1)
    width: int = Field(default=384, ge=4, multiple_of=4)
    depth: int = Field(default=12, ge=1)
    heads: int = Field(default=6, ge=1)
    decoder_width: int = Field(default=512, ge=1)
    decoder_depth: int = Field(default=4, ge=1)


class MaeConfig(TrainingConfig):
    """The configuration of a channel-agnostic masked autoencoder.

    Attributes:
        network: sizes.
        mask: the share of patches that are masked, over all channels.
    """

    network: NetworkConfig = NetworkConfig()
    mask: float = Field(default=0.75, gt=0, lt=1)


class Decoder(nn.Module):
    """Fills in patches from what was seen at the same place, in any channel, and around it."""

    def __init__(self, sizes: NetworkConfig, channels: int) -> None:
        super().__init__()
        self._side, self._channels = sizes.image // sizes.patch, channels
        width = sizes.decoder_width
        self.norm = nn.LayerNorm(sizes.width)
        # The encoder is not told which channel a patch is of; to fill in another the decoder has to be.
        self.seen = nn.Linear(channels * sizes.width, width)
        self.around = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(sizes.decoder_depth))
        self.pixels = nn.Linear(width, channels * sizes.patch**2)

    def forward(self, encoded: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        """Pixels of all patches.

        Args:
            encoded: (n, k, width of the encoder) of the patches that were seen.
            seen: (n, k) which these are, by channel, row and column.

        Returns:
            (n, c * places, patch * patch), by channel, row and column.
        """
        n, _, width = encoded.shape
        channels, side = self._channels, self._side
        normed = self.norm(encoded)
        known = normed.new_zeros(n, channels * side**2, width)
        known = known.scatter(1, seen[..., None].expand(-1, -1, width), normed)
        by_place = self.seen(known.reshape(n, channels, side**2, width).transpose(1, 2).flatten(2))
        grid = by_place.transpose(1, 2).reshape(n, -1, side, side)
        for convolution in self.around:
            grid = grid + functional.gelu(convolution(grid))
        filled: torch.Tensor = self.pixels(grid.flatten(2).transpose(1, 2))
        return filled.reshape(n, side**2, channels, -1).transpose(1, 2).flatten(1, 2)


class MaskedAutoencoder(nn.Module):
    """What learns: encoder and decoder."""

    def __init__(self, shape: VitShape, config: MaeConfig, channels: int) -> None:
        super().__init__()
        self.encoder = ChannelAgnosticVit(shape)
        self.encoder.load_state_dict(random_encoder(shape, config.seed).state)
        self.decoder = Decoder(config.network, channels)
        self.decoder.load_state_dict(random_state(self.decoder, config.seed + 1))

    def forward(
        self, fields: torch.Tensor, seen: torch.Tensor, masked: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The loss of fields, and their embeddings by what was seen of them.

        Args:
            fields: (n, c, p, patch * patch) pixels of all patches on the 0-255 scale.
            seen: (n, k) from 0 to c p - 1, by channel, then by patch.
            masked: (n, m) the others.

        Returns:
            A scalar, and float32 (n, width).
        """
        patches = preprocess(fields).flatten(1, 2)
        tokens = self.encoder.embed_patches(take(patches, seen), seen % fields.shape[2])
        encoded = self.encoder.through(tokens)[:, 1:]
        filled = self.decoder(encoded, seen)
        return masked_error(filled.float(), patches, masked), encoded.float().mean(dim=1)


@dataclass(frozen=True)
class Batch:
    """Arguments of ``MaskedAutoencoder``."""

    fields: torch.Tensor
    seen: torch.Tensor
    masked: torch.Tensor


class MaeRecipe(Recipe[Batch]):
    """A channel-agnostic masked autoencoder in training; its encoder becomes the weights."""

    config: MaeConfig
    network: MaskedAutoencoder
    images = 1

    def __init__(self, config: MaeConfig, screen: Screen, sixteen_bit: SixteenBit = "full-range") -> None:
        """Build the network and read the screen; labels are not used, and all wells are.

        Raises:
            InputError: the screen has no images, or lacks a channel.
        """
        self.config = config
        self._screen = screen
        kept_bytes = int(config.running.kept_gb * 1e9)
        self._fields = Fields(screen, range(len(screen.wells)), config.channels, sixteen_bit, kept_bytes)
        sizes = config.network.model_dump(include={"image", "patch", "width", "depth", "heads"})
        self.shape = VitShape(channels=1, **sizes)
        self.network = MaskedAutoencoder(self.shape, config, len(self._fields.channels))
        self.clipped = self.network
        self.kept = {"network": self.network}

    @classmethod
    def make(cls, card: ModelCard, screen: Screen, config: Path | None, pairs: Pairs | None) -> MaeRecipe:
        """From a configuration; a masked autoencoder has no pairs."""
        if pairs is not None:
            raise InputError(f"{card.id} is trained on single fields; leave --pairs out")
        return cls(read_config(config, card.id, MaeConfig), screen, card.sixteen_bit)

    def undecayed(self) -> set[str]:
        """The encoder's CLS token."""
        return {"encoder.cls_token"}

    def batch(self, step: int, part: int, world: World) -> Batch:
        """This process's share of a part of a step's batch, on the CPU: a field of each of some wells."""
        rules, sizes = self.config.optimisation, self.config.network
        n = rules.batch // rules.accumulate
        mine = world.share(n)
        rng = generator(self.config, step, part, 0)
        rows = rng.integers(0, len(self._screen.wells), n)[mine].tolist()
        chances, placed = rng.random(n)[mine], placements(rng, n)[mine]
        places, channels = (sizes.image // sizes.patch) ** 2, len(self._fields.channels)
        seen, masked = draw_masks(rng, n, places * channels, self.config.mask)
        read = self._fields.of(rows)
        fields = [read[row][int(chance * len(read[row]))] for row, chance in zip(rows, chances, strict=True)]
        values = cut(fields, placed, sizes.image, sizes.patch, np.arange(places)).values
        by_channel = values.reshape(len(fields), places, channels, -1).transpose(1, 2)
        return Batch(by_channel.contiguous(), torch.from_numpy(seen[mine]), torch.from_numpy(masked[mine]))

    def loss(self, network: nn.Module, batch: Batch, step: int, device: torch.device) -> Outcome:
        """The error of the masked patches."""
        moved = (part.to(device, non_blocking=True) for part in (batch.fields, batch.seen, batch.masked))
        loss, embeddings = network(*moved)
        return Outcome(loss, lambda: {"embedding_rank": effective_rank(embeddings.detach())})

    def write(self, path: Path, steps: int) -> None:
        """Write the encoder, as ``models.openphenom.read_encoder`` takes it."""
        dtype = torch.float16 if self.config.precision == "float16" else torch.float32
        state = {name: value.to("cpu", dtype) for name, value in self.network.encoder.state_dict().items()}
        saw = provenance(self._screen, self.config, sorted(treated(self._screen.wells)), steps)
        write_encoder(path, Encoder(state, self.shape, self.config.kind), saw)
