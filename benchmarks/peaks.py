"""What a machine can do at most, measured: the yardstick for the speed of a network on the same machine."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

# Sides of the square matrices: large enough for the caches and cores of a CPU, and for a GPU.
_SIDES = {"cpu": (1024, 2048, 3072), "cuda": (4096, 8192, 16384), "mps": (2048, 4096)}


def shortest(call: Callable[[], object], device: torch.device, seconds: float) -> float:
    """The shortest of the times that a call takes, in seconds, called for so long after a first time.

    The shortest, since whatever else the machine does can only make a call longer.
    """
    call()
    _wait(device)
    times: list[float] = []
    end = time.perf_counter() + seconds
    while not times or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        _wait(device)
        times.append(time.perf_counter() - start)
    return min(times)


def matrix_peak(device: torch.device, dtype: torch.dtype, seconds: float) -> float:
    """The most operations a second in a product of square matrices, the best of a few sizes.

    A multiplication and an addition are two operations: 2 side^3 a product.
    """
    rates = []
    sides = _SIDES[device.type]
    for side in sides:
        one, two = (torch.ones((side, side), device=device, dtype=dtype) for _ in range(2))
        out = torch.empty_like(one)

        def product(one: torch.Tensor = one, two: torch.Tensor = two, out: torch.Tensor = out) -> torch.Tensor:
            return torch.mm(one, two, out=out)

        rates.append(2 * side**3 / shortest(product, device, seconds / len(sides)))
    return max(rates)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
