"""Several processes that train one network: started by torchrun, each with its share of every batch."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import distributed


@dataclass(frozen=True)
class World:
    """This process among all of them.

    Attributes:
        rank: its number; the one with 0 writes files.
        size: how many there are.
    """

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """This process writes files and shows progress."""
        return self.rank == 0

    def share(self, n: int) -> slice:
        """Which of n samples are this process's; n is a multiple of the size."""
        return slice(self.rank * n // self.size, (self.rank + 1) * n // self.size)

    def any(self, flag: bool) -> bool:
        """Whether the flag is up in any process."""
        if self.size == 1:
            return flag
        # On the CPU, so that no GPU is waited for.
        flags = torch.tensor(int(flag))
        distributed.all_reduce(flags, op=distributed.ReduceOp.MAX)
        return bool(flags)

    def wait(self) -> None:
        """Until all processes are here."""
        self.any(False)


@contextmanager
def joined() -> Iterator[World]:
    """The processes that torchrun started, or this one alone."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield World()
        return
    distributed.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield World(distributed.get_rank(), distributed.get_world_size())
    finally:
        distributed.destroy_process_group()


def local_device(device: torch.device) -> torch.device:
    """This process's own GPU, where torchrun started one process for each."""
    if str(device) == "cuda" and "LOCAL_RANK" in os.environ:
        return torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    return device


def gather(rows: torch.Tensor) -> torch.Tensor:
    """The rows (n, ...) of all processes, (size * n, ...) by rank: what follows sees the whole batch on each.

    Every process then computes the same loss, and its gradient reaches its own rows times the number of processes,
    since DistributedDataParallel takes the mean of the processes' gradients.
    """
    if not distributed.is_initialized():
        return rows
    gathered: torch.Tensor = _Gather.apply(rows)  # type: ignore[no-untyped-call]
    return gathered


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, rows: torch.Tensor) -> torch.Tensor:
        parts = [torch.empty_like(rows) for _ in range(distributed.get_world_size())]
        distributed.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, gradient: torch.Tensor) -> torch.Tensor:
        size, rank = distributed.get_world_size(), distributed.get_rank()
        return gradient.chunk(size)[rank] * size
