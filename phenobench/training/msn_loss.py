"""The loss of masked siamese networks (Assran et al. 2022), from a description of facebookresearch/msn @ 4388dc1.

Anchors and targets are compared by how they are assigned to prototypes that are learnt with the network.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch.nn import functional

_SINKHORN_ITERATIONS = 3


class MsnLossConfig(BaseModel):
    """``[loss]``; defaults are MSN's.

    Attributes:
        prototypes: how many.
        temperature: of the assignments of anchors and targets.
        sharpening: assignments of targets are raised to the power 1 / ``sharpening``.
        sinkhorn: assignments of targets are made to use all prototypes alike.
        me_max: weight of the regularizer by which anchors use all prototypes alike (mean-entropy maximisation).
        entropy: weight of the mean entropy of an anchor's assignment.
        label_smoothing: share of every assignment that is spread over all prototypes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    prototypes: int = Field(default=1024, ge=2)
    temperature: float = Field(default=0.1, gt=0)
    sharpening: float = Field(default=0.25, gt=0)
    sinkhorn: bool = True
    me_max: float = Field(default=1.0, ge=0)
    entropy: float = Field(default=0.0, ge=0)
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)


@dataclass(frozen=True)
class MsnLoss:
    """The loss and its parts, scalars.

    Attributes:
        total: what is minimised.
        cross_entropy: of anchors against their targets.
        me_max: log K minus the entropy of the anchors' mean assignment; 0 where all prototypes are used alike.
        entropy: mean entropy of an anchor's assignment.
        targets: assignments (b, K) of the targets, after sharpening and Sinkhorn.
        anchors: assignments (v * b, K) of the anchors.
    """

    total: torch.Tensor
    cross_entropy: torch.Tensor
    me_max: torch.Tensor
    entropy: torch.Tensor
    targets: torch.Tensor
    anchors: torch.Tensor


def msn_loss(anchors: torch.Tensor, targets: torch.Tensor, prototypes: torch.Tensor, config: MsnLossConfig) -> MsnLoss:
    """Cross-entropy between the assignments of anchors and of their targets, with its regularizers.

    Args:
        anchors: (v * b, d) float32, view by view, each in the order of ``targets``.
        targets: (b, d) float32; no gradient goes there.
        prototypes: (K, d) float32.
        config: ``prototypes`` in there is not used.
    """
    log_p = _log_assignments(anchors, prototypes, config)
    p = log_p.exp()
    with torch.no_grad():
        log_wanted = _log_assignments(targets, prototypes, config) / config.sharpening
        log_wanted = log_wanted.log_softmax(dim=1)
        wanted = (sinkhorn(log_wanted) if config.sinkhorn else log_wanted).exp()
    cross_entropy = -(wanted.repeat(len(anchors) // len(targets), 1) * log_p).sum(dim=1).mean()
    # From logarithms: a prototype that no anchor is assigned to has no finite gradient otherwise.
    log_mean = log_p.logsumexp(dim=0) - math.log(len(anchors))
    me_max = (log_mean.exp() * log_mean).sum() + math.log(len(prototypes))
    entropy = -(p * log_p).sum(dim=1).mean()
    total = cross_entropy + config.me_max * me_max + config.entropy * entropy
    return MsnLoss(total, cross_entropy, me_max, entropy, wanted, p)


def sinkhorn(log_assignments: torch.Tensor) -> torch.Tensor:
    """Scale columns to sum to b / K and rows to 1, in turn, three times; the rows come last.

    Args:
        log_assignments: (b, K) logarithms, in which what a prototype gets of the whole batch may be below the least
            float32; so is the result.
    """
    scaled = log_assignments
    for _ in range(_SINKHORN_ITERATIONS):
        scaled = (scaled - scaled.logsumexp(dim=0, keepdim=True)).log_softmax(dim=1)
    return scaled


def _log_assignments(embeddings: torch.Tensor, prototypes: torch.Tensor, config: MsnLossConfig) -> torch.Tensor:
    cosines = functional.normalize(embeddings) @ functional.normalize(prototypes).T
    log_p = functional.log_softmax(cosines / config.temperature, dim=1)
    if not config.label_smoothing:
        return log_p
    spread = config.label_smoothing
    return torch.log((1 - spread) * log_p.exp() + spread / len(prototypes))
