"""Networks in plain PyTorch that more than one adapter or recipe builds on."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from phenobench.errors import InputError

_EPSILON = 1e-6


@dataclass(frozen=True)
class VitShape:
    """The sizes of a vision transformer; the names are the keys of the JSON in our checkpoints.

    Attributes:
        image: side in pixels of the field that the position table was made for.
        patch: side in pixels of a patch.
        channels: image channels.
        width: features of a token, and of the embedding.
        depth: blocks.
        heads: attention heads, each ``width / heads`` wide.
        mlp_ratio: hidden features of a block's MLP, in widths.
    """

    image: int
    patch: int
    channels: int
    width: int
    depth: int
    heads: int
    mlp_ratio: float = 4.0

    def __post_init__(self) -> None:
        if min(self.image, self.patch, self.channels, self.width, self.depth, self.heads, self.mlp_ratio) <= 0:
            raise InputError(f"{self} has a size that is not positive; give sizes of at least 1")
        if self.image % self.patch or self.width % self.heads:
            raise InputError(f"{self}: image must be a multiple of patch, and width a multiple of heads")

    @property
    def hidden(self) -> int:
        """Hidden features of a block's MLP."""
        return round(self.width * self.mlp_ratio)


# The encoder of the paper, but for its number of channels: 22 M parameters.
VIT_SMALL = VitShape(image=224, patch=16, channels=3, width=384, depth=12, heads=6)


def patchify(images: torch.Tensor, patch: int) -> torch.Tensor:
    """Cut images into patches, in reading order.

    Args:
        images: (n, c, h, w) of any dtype, h and w multiples of ``patch``.
        patch: side of a patch in pixels.

    Returns:
        (n, h/patch * w/patch, c * patch * patch), same dtype; a patch's values run by channel, row, column.
    """
    n, channels, height, width = images.shape
    if height % patch or width % patch or not height or not width:
        raise InputError(f"images of {height} x {width} pixels do not divide into patches of {patch}; crop or pad them")
    rows, columns = height // patch, width // patch
    cut = images.reshape(n, channels, rows, patch, columns, patch).permute(0, 2, 4, 1, 3, 5)
    return cut.reshape(n, rows * columns, channels * patch * patch)


class VisionTransformer(nn.Module):
    """A pre-norm vision transformer read out at its CLS token, any number of channels.

    Written from a description of the encoder of masked siamese networks (Assran et al. 2022):
    learnt positions and CLS, biases everywhere, exact GELU, LayerNorm with epsilon 1e-6, no
    layer scale, no dropout. Parameter names are those of its checkpoints. Parameters start as
    PyTorch makes them; see ``cwa_msn.build`` for a network with weights.
    """

    def __init__(self, shape: VitShape) -> None:
        super().__init__()
        self.shape = shape
        tokens = 1 + (shape.image // shape.patch) ** 2
        self.cls_token = nn.Parameter(torch.zeros(1, 1, shape.width))
        self.pos_embed = nn.Parameter(torch.zeros(1, tokens, shape.width))
        self.patch_embed = PatchEmbedding(shape)
        self.blocks = nn.ModuleList(_Block(shape) for _ in range(shape.depth))
        self.norm = nn.LayerNorm(shape.width, eps=_EPSILON)

    def forward(self, images: torch.Tensor, keep: torch.Tensor | None = None) -> torch.Tensor:
        """Embed images.

        Args:
            images: (n, c, h, w) floating, already normalized; h and w multiples of the patch. The
                position table is resized for sizes other than its own.
            keep: (k,) integer indices of the patches that are used, from 0 in reading order, the
                same for all images (masking by dropping patches); all of them if None.

        Returns:
            (n, width): the CLS token after the final norm.
        """
        patches = patchify(images, self.shape.patch)
        grid = (images.shape[2] // self.shape.patch, images.shape[3] // self.shape.patch)
        return self.embed_patches(patches if keep is None else patches[:, keep], grid, keep)

    def embed_patches(
        self, patches: torch.Tensor, grid: tuple[int, int], keep: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Embed images that are already cut into patches, some of which may be missing.

        Args:
            patches: (n, k, c * patch * patch) floating, as ``patchify`` orders them.
            grid: rows and columns of patches of the whole image.
            keep: (k,) which of the grid's patches these are; all, in reading order, if None.

        Returns:
            (n, width): the CLS token after the final norm.
        """
        wanted = self.shape.channels * self.shape.patch**2
        if patches.shape[-1] != wanted:
            given = patches.shape[-1] / self.shape.patch**2
            raise InputError(f"images of {given:g} channels for a network of {self.shape.channels}; give its own")
        positions = self.positions(grid)
        places = positions[:, 1:] if keep is None else positions[:, 1:][:, keep]
        tokens = self.patch_embed(patches) + places
        start = (self.cls_token + positions[:, :1]).expand(len(tokens), -1, -1)
        tokens = torch.cat([start.to(tokens.dtype), tokens], dim=1)
        for block in self.blocks:
            tokens = block(tokens)
        readout: torch.Tensor = self.norm(tokens[:, 0])
        return readout

    def positions(self, grid: tuple[int, int]) -> torch.Tensor:
        """The position table for a grid of patches: (1, 1 + rows * columns, width), CLS first.

        For another grid than the table's own, bicubic interpolation with unaligned corners.
        """
        side = self.shape.image // self.shape.patch
        if grid == (side, side):
            return self.pos_embed
        table = self.pos_embed[:, 1:].reshape(1, side, side, -1).permute(0, 3, 1, 2)
        resized = functional.interpolate(table, size=grid, mode="bicubic", align_corners=False)
        return torch.cat([self.pos_embed[:, :1], resized.flatten(2).transpose(1, 2)], dim=1)


class PatchEmbedding(nn.Module):
    """The convolution of patch by patch, as one matrix product over patches."""

    def __init__(self, shape: VitShape) -> None:
        super().__init__()
        self.proj = nn.Conv2d(shape.channels, shape.width, kernel_size=shape.patch, stride=shape.patch)

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        """Tokens (..., width) of patches (..., c * patch * patch) as ``patchify`` orders them."""
        return functional.linear(patches, self.proj.weight.flatten(1), self.proj.bias)


class _Block(nn.Module):
    def __init__(self, shape: VitShape) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(shape.width, eps=_EPSILON)
        self.attn = _Attention(shape)
        self.norm2 = nn.LayerNorm(shape.width, eps=_EPSILON)
        self.mlp = _Mlp(shape)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        tokens = tokens + self.attn(self.norm1(tokens))
        changed: torch.Tensor = tokens + self.mlp(self.norm2(tokens))
        return changed


class _Attention(nn.Module):
    def __init__(self, shape: VitShape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.qkv = nn.Linear(shape.width, 3 * shape.width)
        self.proj = nn.Linear(shape.width, shape.width)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        n, length, width = tokens.shape
        # (n, length, 3 * width) -> 3 x (n, heads, length, width / heads)
        split = self.qkv(tokens).reshape(n, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(split[0], split[1], split[2])
        projected: torch.Tensor = self.proj(mixed.transpose(1, 2).reshape(n, length, width))
        return projected


class _Mlp(nn.Module):
    def __init__(self, shape: VitShape) -> None:
        super().__init__()
        self.fc1 = nn.Linear(shape.width, shape.hidden)
        self.fc2 = nn.Linear(shape.hidden, shape.width)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        changed: torch.Tensor = self.fc2(functional.gelu(self.fc1(tokens)))
        return changed
