"""What changes over a training: learning rate, weight decay, the average's momentum, and shares of anything.

Formulas as in masked siamese networks (Assran et al. 2022, facebookresearch/msn @ 4388dc1). Steps count from 0, and a
value is that of the update at this step. ``total`` may exceed the steps that are taken, which ends a schedule early.
"""

from __future__ import annotations

import math


def cosine(step: int, total: float, start: float, final: float) -> float:
    """From ``start`` to ``final`` along half a cosine, which is at ``final`` after ``total`` steps."""
    return final + (start - final) * (1 + math.cos(math.pi * min(1.0, (step + 1) / total))) / 2


def warmed_cosine(step: int, total: float, warmup: float, start: float, peak: float, final: float) -> float:
    """Linear from ``start`` to ``peak`` over ``warmup`` steps, then along half a cosine to ``final``."""
    if step + 1 < warmup:
        return start + (peak - start) * (step + 1) / warmup
    # A warm-up that takes all the steps leaves none for the cosine.
    return cosine(step - math.ceil(warmup), total - warmup, peak, final) if total > warmup else peak


def linear(step: int, total: float, start: float, final: float) -> float:
    """From ``start`` at the first step to ``final`` at step ``total`` and after."""
    return start + (final - start) * (min(1.0, step / total) if total else 1.0)
