"""Many small simulations at once: a process a core, each with one thread."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

import torch
from threadpoolctl import threadpool_limits

R = TypeVar("R")


def in_processes(function: Callable[[int], R], seeds: Iterable[int]) -> list[R]:
    """Results of the function, which other processes can import, for all seeds, in their order."""
    with ProcessPoolExecutor(os.cpu_count(), initializer=_one_thread) as pool:
        return list(pool.map(function, seeds, chunksize=20))


def _one_thread() -> None:
    threadpool_limits(1)
    torch.set_num_threads(1)
