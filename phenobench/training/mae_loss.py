"""Masks over the patches of all channels, and the loss of a masked autoencoder (He et al. 2022, arXiv 2111.06377)."""

from __future__ import annotations

import numpy as np
import torch


def draw_masks(rng: np.random.Generator, n: int, patches: int, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Which patches of each field the network sees and which it has to fill in, drawn without regard to channels.

    Args:
        rng: chance.
        n: fields.
        patches: of a field, all channels together.
        share: of the patches that are masked, rounded down; one at least is masked and one is seen.

    Returns:
        Seen (n, k) and masked (n, patches - k), ascending int64.
    """
    masked = min(max(1, int(patches * share)), patches - 1)
    order = rng.random((n, patches)).argsort(axis=1)
    return np.sort(order[:, masked:], axis=1), np.sort(order[:, :masked], axis=1)


def take(tokens: torch.Tensor, which: torch.Tensor) -> torch.Tensor:
    """Of tokens (n, t, d) those at (n, k): (n, k, d)."""
    return tokens.gather(1, which[..., None].expand(-1, -1, tokens.shape[-1]))


def masked_error(predicted: torch.Tensor, patches: torch.Tensor, masked: torch.Tensor) -> torch.Tensor:
    """The mean squared error over the pixels of masked patches; those that the network saw count for nothing.

    Args:
        predicted: (n, t, pixels) float32, all patches of a field.
        patches: (n, t, pixels) what they are, each channel normalized.
        masked: (n, m) which of them were not seen.

    Returns:
        A scalar: 1 for the prediction of zeros, the channels' means.
    """
    return take(predicted - patches, masked).square().mean()
