"""The losses that bring images and texts into one space: CLIP's, and CWCL as CellCLIP has it.

From a description of CellCLIP (Lu et al. 2025, arXiv 2506.06290; suinleelab/CellCLIP @ 95d909b). Rows of images and of
texts are of unit length and in the same order: a row's counterpart is the row of its number.
"""

from __future__ import annotations

import torch
from torch.nn import functional

# Keeps a quotient finite where a norm or a sum is 0.
_EPSILON = 1e-8


def clip_loss(images: torch.Tensor, texts: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Half the mean cross-entropy of images over texts and half that of texts over images (Radford et al. 2021).

    Args:
        images: (n, d) float32.
        texts: (n, d) float32.
        scale: factor on cosines, a scalar.

    Returns:
        A scalar.
    """
    logits = scale * images @ texts.T
    own = torch.arange(len(images), device=images.device)
    return (functional.cross_entropy(logits, own) + functional.cross_entropy(logits.T, own)) / 2


def cwcl_loss(
    images: torch.Tensor, texts: torch.Tensor, similarities: torch.Tensor, scale: torch.Tensor
) -> torch.Tensor:
    """Continuously weighted contrastive loss (Srinivasa et al. 2023): an image is drawn to texts of images like it.

    The mean cross-entropy of texts over images, plus that of images over texts with the rows of ``similarities``,
    scaled to a sum of 1, in place of one right answer.

    Args:
        images: (n, d) float32.
        texts: (n, d) float32.
        similarities: (n, n) of the images, at least 0, see ``channel_similarities``.
        scale: factor on cosines, a scalar.

    Returns:
        A scalar.
    """
    logits = scale * images @ texts.T
    own = torch.arange(len(images), device=images.device)
    wanted = similarities / (similarities.sum(dim=1, keepdim=True) + _EPSILON)
    soft = -(wanted * logits.log_softmax(dim=1)).sum(dim=1).mean()
    return soft + functional.cross_entropy(logits.T, own)


def channel_similarities(wells: torch.Tensor) -> torch.Tensor:
    """How alike wells are, (n, n) from 0 to 1: half of 1 plus the mean over channels of the cosines.

    Args:
        wells: features of channels (n, c, d) float32. The reference has the embedding of each channel added in here by
            an operation in place; here they are the features alone.
    """
    unit = wells / (wells.norm(dim=2, keepdim=True) + _EPSILON)
    return (1 + torch.einsum("icd,jcd->ij", unit, unit) / wells.shape[1]) / 2
