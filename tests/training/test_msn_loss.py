"""The loss and the schedules against the reference's outputs (tests/goldens/msn.npz)."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from phenobench.training.msn_loss import MsnLoss, MsnLossConfig, msn_loss, sinkhorn
from phenobench.training.schedules import cosine, linear, warmed_cosine

CASES: dict[str, dict[str, Any]] = {
    "plain": {"sinkhorn": False},
    "default_config": {},
    "label_smoothing0.1": {"label_smoothing": 0.1},
}


@cache
def golden(name: str) -> np.ndarray:
    with np.load(Path(__file__).parents[1] / "goldens" / "msn.npz") as stored:
        return stored[name]


def computed(**told: Any) -> tuple[MsnLoss, torch.Tensor, torch.Tensor]:
    """The loss of the goldens' inputs, and its gradients by anchors and prototypes."""
    anchors, targets, prototypes = (torch.from_numpy(golden(name)) for name in ("anchors", "targets", "prototypes"))
    anchors, prototypes = anchors.requires_grad_(), prototypes.requires_grad_()
    parts = msn_loss(anchors, targets, prototypes, MsnLossConfig(**told))
    torch.autograd.backward(parts.total)
    assert anchors.grad is not None
    assert prototypes.grad is not None
    return parts, anchors.grad, prototypes.grad


@pytest.mark.parametrize("case", CASES)
def test_loss_and_gradients_equal_the_reference(case: str) -> None:
    parts, by_anchors, by_prototypes = computed(**CASES[case])
    found = {
        "loss": parts.cross_entropy,
        "me_max": parts.me_max,
        "total_config_weights": parts.total,
        "anchor_probs": parts.anchors,
        "targets": parts.targets.repeat(3, 1),
        "grad_anchors": by_anchors,
        "grad_prototypes": by_prototypes,
    }
    if case != "plain":  # where the reference does not compute it
        found["entropy"] = parts.entropy
    for name, value in found.items():
        np.testing.assert_allclose(value.detach().numpy(), golden(f"{case}/{name}"), rtol=0, atol=1e-5, err_msg=name)


@pytest.mark.parametrize(
    ("told", "cross_entropy", "me_max", "entropy"),
    [
        ({"sinkhorn": False, "temperature": 0.2, "sharpening": 0.5}, 1.0447115, 0.1383038, 1.4242100),
        ({"sinkhorn": False, "me_max": 0.0, "entropy": 2.0}, 0.6550463, 0.3164434, 0.8426199),
    ],
)
def test_other_temperatures_and_weights(
    told: dict[str, Any], cross_entropy: float, me_max: float, entropy: float
) -> None:
    """Figures of the reference, to seven digits."""
    parts, _, _ = computed(**told)
    assert parts.cross_entropy.item() == pytest.approx(cross_entropy, abs=1e-6)
    assert parts.me_max.item() == pytest.approx(me_max, abs=1e-6)
    assert parts.entropy.item() == pytest.approx(entropy, abs=1e-6)
    weighted = cross_entropy + told.get("me_max", 1.0) * me_max + told.get("entropy", 0.0) * entropy
    assert parts.total.item() == pytest.approx(weighted, abs=1e-5)


def test_sinkhorn_equals_the_reference_and_its_rows_sum_to_one() -> None:
    found = sinkhorn(torch.from_numpy(golden("sinkhorn/in")).log()).exp()
    np.testing.assert_allclose(found.numpy(), golden("sinkhorn/out"), rtol=0, atol=1e-6)
    np.testing.assert_allclose(found.sum(dim=1).numpy(), 1, atol=1e-6)


def test_assignments_that_underflow_leave_the_loss_finite() -> None:
    """A temperature at which most probabilities are below the least float32."""
    parts, by_anchors, by_prototypes = computed(temperature=1e-3)
    assert math.isfinite(parts.total.item())
    assert torch.isfinite(by_anchors).all()
    assert torch.isfinite(by_prototypes).all()


def test_uniform_and_collapsed_assignments_are_told_apart_by_me_max() -> None:
    prototypes = torch.eye(4)
    spread = msn_loss(torch.eye(4), torch.eye(4), prototypes, MsnLossConfig(temperature=0.01, sinkhorn=False))
    one = torch.eye(4)[:1].repeat(4, 1)
    collapsed = msn_loss(one, one, prototypes, MsnLossConfig(temperature=0.01, sinkhorn=False))
    assert spread.me_max.item() == pytest.approx(0, abs=1e-5)
    assert collapsed.me_max.item() == pytest.approx(math.log(4), abs=1e-5)


def test_schedules_equal_the_reference() -> None:
    rates = [warmed_cosine(step, 50, 5, 2e-4, 1e-3, 1e-6) for step in range(40)]
    np.testing.assert_allclose(rates, golden("lr/warm5_T50"), rtol=0, atol=1e-12)
    decays = [cosine(step, 50, 0.04, 0.4) for step in range(40)]
    np.testing.assert_allclose(decays, golden("wd/T50"), rtol=0, atol=1e-12)
    momenta = [linear(step, 10 * 4 * 1.25, 0.996, 1.0) for step in range(51)]
    np.testing.assert_allclose(momenta, golden("ema/ipe10_epochs4"), rtol=0, atol=1e-12)


def test_schedules_stay_at_their_end() -> None:
    assert linear(9, 4, 1.0, 0.25) == 0.25
    assert linear(0, 0, 1.0, 0.25) == 0.25
    assert cosine(99, 50, 0.04, 0.4) == pytest.approx(0.4)
    assert warmed_cosine(3, 10, 10, 0.0, 1.0, 0.5) == pytest.approx(0.4)
