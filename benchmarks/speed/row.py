"""What a row of the table is: some work, who does it besides, and what is to be reached."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch

# Rows, and columns, of the product at a time: squares of 16 MiB in float32, as a product is fastest.
_BLOCK = 2**11
# On a GPU, where a product has to be large.
_GPU_BLOCK_CELLS = 2**28


# In place of a side: files are written, and nothing is measured.
FILES = "files"


@dataclass(frozen=True)
class Work:
    """Inputs that are ready, bound to the calls that are measured.

    Attributes:
        ours: phenobench's way.
        peer: the peer's way, or as much of it as ``peer_share`` says.
        limit: what the hardware cannot do faster, or as much of it as ``limit_share`` says.
        peer_share: the part of the work that ``peer`` does, where all of it would take too long.
        limit_share: the same of ``limit``.
    """

    ours: Callable[[], object]
    peer: Callable[[], object] | None = None
    limit: Callable[[], object] | None = None
    peer_share: float = 1.0
    limit_share: float = 1.0


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        name: as the command line has it.
        work: what is done, for a reader.
        prepare: makes the inputs; 1.0 is the table's size, and less is for trying.
        peer: the distribution that is measured against, or what stands in for one.
        limit: what the limit is.
        faster: how many times faster than the peer is to be reached.
        within: how many times the peer's time it may take, where being faster is not the aim.
        leaner: to which part of the peer's memory (a 25th is 25).
        multiple: how many times the limit it may take.
        most_gib: memory in GiB that it must stay below.
        once: whether the first call is what counts, as of a file that a process reads once.
        files: whether ``prepare`` writes files, which a process that measures nothing does first.
        unavailable: why it cannot be measured; empty where it can.
    """

    name: str
    work: str
    prepare: Callable[[float], Work]
    peer: str = ""
    limit: str = "GEMM"
    faster: float | None = None
    within: float | None = None
    leaner: float | None = None
    multiple: float | None = None
    most_gib: float | None = None
    files: bool = False
    once: bool = False
    unavailable: str = ""


def sized(full: int, scale: float, least: int) -> int:
    """A size of the table, scaled."""
    return max(least, round(full * scale))


def gemm(left: np.ndarray, right: np.ndarray) -> Callable[[], object]:
    """The float32 product of all rows with all rows, square by square into one buffer.

    Both factors are copies of their own, since a product of a matrix with itself takes another and slower way in BLAS.
    They are made at the first call, so that they are not there when memory is measured.
    """

    @cache
    def factors() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return left.astype(np.float32), right.astype(np.float32), np.empty(_BLOCK**2, dtype=np.float32)

    def product() -> None:
        rows, columns, buffer = factors()
        for top in range(0, len(rows), _BLOCK):
            some = rows[top : top + _BLOCK]
            for first in range(0, len(columns), _BLOCK):
                others = columns[first : first + _BLOCK]
                np.matmul(some, others.T, out=buffer[: len(some) * len(others)].reshape(len(some), -1))

    return product


def gpu_gemm(left: np.ndarray, right: np.ndarray) -> Callable[[], object]:
    """``gemm`` on a GPU, which is done when it returns; both factors are there from the first call on.

    As torch has it by default, float32 is float32 there and not TF32.
    """
    step = max(1, _GPU_BLOCK_CELLS // len(right))

    @cache
    def factors() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        rows, columns = (torch.tensor(rows, dtype=torch.float32, device="cuda") for rows in (left, right))
        return rows, columns, rows.new_empty((min(step, len(rows)), len(columns)))

    def product() -> None:
        rows, columns, buffer = factors()
        for start in range(0, len(rows), step):
            block = rows[start : start + step]
            torch.matmul(block, columns.T, out=buffer[: len(block)])
        torch.cuda.synchronize()

    return product
