"""Work in as many threads as a matrix product would take, each with products of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

from threadpoolctl import ThreadpoolController

T = TypeVar("T")
R = TypeVar("R")


def in_threads(function: Callable[[T], R], tasks: Sequence[T]) -> list[R]:
    """Results of the function for all tasks, in their order.

    Small products in threads of our own keep their blocks in each core's cache, and what is between
    the products runs on all cores too. One task alone leaves the threads to its products.
    """
    threads = min(_blas_threads(), len(tasks))
    if threads < 2:
        return [function(task) for task in tasks]
    with _controller().limit(limits=1, user_api="blas"), ThreadPoolExecutor(threads) as pool:
        return list(pool.map(function, tasks))


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()


def _blas_threads() -> int:
    return max((library["num_threads"] for library in _controller().select(user_api="blas").info()), default=1)
