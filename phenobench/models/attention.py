"""Attention of a network, by whichever way the device is fastest at."""

from __future__ import annotations

from functools import cache

import torch
from torch.nn import functional


def attention(queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Softmax of the scaled products of queries and keys, times values.

    torch's fused kernel does so everywhere but in bfloat16 on a CPU that has instructions for it and no matrix unit:
    there it leaves the instructions unused, and plain products head by head take half the time.

    Args:
        queries: (n, heads, length, width).
        keys: as the queries.
        values: as the queries.

    Returns:
        (n, heads, length, width), of the type of the values.
    """
    if queries.device.type != "cpu" or queries.dtype != torch.bfloat16 or queries.requires_grad or _has_matrix_unit():
        return functional.scaled_dot_product_attention(queries, keys, values)
    n, heads, length, width = queries.shape
    # In the order of tokens, as the projection that follows takes it.
    mixed = torch.empty((n, length, heads, width), dtype=values.dtype)
    # Those of one head stay in the cache.
    scores = torch.empty((1, length, length), dtype=queries.dtype)
    for image in range(n):
        for head in range(heads):
            query, key = queries[image, head : head + 1], keys[image, head : head + 1]
            torch.baddbmm(scores, query, key.transpose(1, 2), beta=0, alpha=width**-0.5, out=scores)
            torch.softmax(scores, dim=-1, out=scores)
            mixed[image, :, head] = scores[0] @ values[image, head]
    return mixed.transpose(1, 2)


@cache
def _has_matrix_unit() -> bool:
    return bool(torch.cpu.get_capabilities().get("amx_bf16"))
