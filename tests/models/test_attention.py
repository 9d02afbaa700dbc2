"""Attention against its definition, in every type and layout that the network gives it."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from phenobench.models import attention as module
from phenobench.models.attention import attention


def inputs(dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(2, 3, 70, 16) each, as a projection gives them: heads next to each other in a token."""
    generator = torch.Generator().manual_seed(3)
    tokens = torch.randn((2, 70, 3 * 48), generator=generator).to(dtype)
    query, key, value = (part.reshape(2, 70, 3, 16).transpose(1, 2) for part in tokens.chunk(3, dim=2))
    return query, key, value


def defined(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    scores = query.double() @ key.double().transpose(2, 3) / 4
    return scores.softmax(dim=3) @ value.double()


@pytest.mark.parametrize("matrix_unit", [False, True])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
def test_it_is_the_softmax_of_products_times_values(
    monkeypatch: pytest.MonkeyPatch, matrix_unit: bool, dtype: torch.dtype, tolerance: float
) -> None:
    monkeypatch.setattr(module, "_has_matrix_unit", lambda: matrix_unit)
    given = inputs(dtype)
    with torch.inference_mode():
        found = attention(*given)
    assert found.shape == (2, 3, 70, 16)
    assert found.dtype == dtype
    assert (found.double() - defined(*given)).abs().max() < tolerance


def test_float32_is_torchs_own_to_the_bit_and_gradients_flow() -> None:
    given = inputs(torch.float32)
    assert torch.equal(attention(*given), functional.scaled_dot_product_attention(*given))
    query, key, value = (part.detach().requires_grad_() for part in inputs(torch.bfloat16))
    (gradient,) = torch.autograd.grad(attention(query, key, value).sum(), query)
    assert gradient.abs().max() > 0
