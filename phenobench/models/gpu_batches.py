"""Rows through a network on a GPU: as many at a time as its memory holds, by pinned buffers that are used again."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from phenobench.errors import InputError

# More at a time make no GPU faster, and with so many as a rule the same bytes come out whatever else is in its memory.
MOST_ROWS = 256
# Of what is free, so much is taken: other kernels and fragments need some.
_SHARE = 0.8


def fitting(free: int, bytes_a_row: float, first: int) -> int:
    """Rows at a time: ``first`` doubled as long as they fit and are no more than the most, else ``first``.

    Args:
        free: bytes of the device's memory that can be had.
        bytes_a_row: what one row takes on its way.
        first: rows that did fit.
    """
    rows = first
    while 2 * rows <= MOST_ROWS and 2 * rows * bytes_a_row <= _SHARE * free:
        rows *= 2
    return rows


def halving(call: Callable[[int, int], torch.Tensor], n: int, rows: int) -> tuple[list[torch.Tensor], int]:
    """``call(start, stop)`` over n rows, so many at a time; half as many from where memory ran out.

    Returns:
        The parts, and the rows at a time that did fit in the end.

    Raises:
        InputError: not even one row fits.
    """
    parts: list[torch.Tensor] = []
    start = 0
    while start < n:
        stop = min(start + rows, n)
        try:
            parts.append(call(start, stop))
        except torch.OutOfMemoryError as error:
            rows = (stop - start) // 2
            if rows == 0:
                raise InputError(
                    "the GPU has no memory for a single crop; end what else runs on it, or use --device cpu"
                ) from error
            torch.cuda.empty_cache()
        else:
            start = stop
    return parts, rows


class GpuBatches:
    """Runs functions of tensors on a CUDA device; see the module. ``first`` rows go through to measure their memory."""

    def __init__(self, device: torch.device, first: int) -> None:
        self._device = device
        self._first = first
        self._rows: dict[tuple[object, ...], int] = {}
        self._buffers: dict[tuple[object, ...], _Pinned] = {}

    def run(self, function: Callable[..., torch.Tensor], arrays: Sequence[np.ndarray]) -> np.ndarray:
        """A function of tensors on rows of arrays: float32. Nothing is waited for but the last of its results."""
        kind = tuple((array.shape[1:], array.dtype) for array in arrays)

        def call(start: int, stop: int) -> torch.Tensor:
            rows = [self._moved(number, array[start:stop]) for number, array in enumerate(arrays)]
            return function(*rows).float()

        if kind not in self._rows:
            self._rows[kind] = self._measured(call, len(arrays[0]))
        parts, self._rows[kind] = halving(call, len(arrays[0]), self._rows[kind])
        found: np.ndarray = torch.cat(parts).cpu().numpy()
        return found

    def _measured(self, call: Callable[[int, int], torch.Tensor], n: int) -> int:
        """Rows at a time that fit. The first ones go through for their memory alone.

        Their results are not used: no row's may depend on whether it was the first of a run.
        """
        torch.cuda.reset_peak_memory_stats(self._device)
        before = torch.cuda.memory_allocated(self._device)
        parts, first = halving(call, min(self._first, n), self._first)
        taken = torch.cuda.max_memory_allocated(self._device) - before
        unused = torch.cuda.memory_reserved(self._device) - torch.cuda.memory_allocated(self._device)
        free = torch.cuda.mem_get_info(self._device)[0] + unused
        return fitting(free, taken / max(map(len, parts)), first)

    def _moved(self, number: int, rows: np.ndarray) -> torch.Tensor:
        kind = (number, rows.shape[1:], rows.dtype)
        if kind not in self._buffers or not self._buffers[kind].holds(rows):
            self._buffers[kind] = _Pinned(rows, self._device)
        return self._buffers[kind].moved(rows)


class _Pinned:
    """Two pinned buffers of rows of one kind, filled in turns: one is filled while the other is on its way."""

    def __init__(self, rows: np.ndarray, device: torch.device) -> None:
        self._device = device
        like = torch.from_numpy(np.empty((0, *rows.shape[1:]), rows.dtype))
        self._buffers = [torch.empty(rows.shape, dtype=like.dtype, pin_memory=True) for _ in range(2)]
        self._gone = [torch.cuda.Event() for _ in range(2)]  # type: ignore[no-untyped-call]
        self._turn = 0

    def holds(self, rows: np.ndarray) -> bool:
        return len(rows) <= len(self._buffers[0])

    def moved(self, rows: np.ndarray) -> torch.Tensor:
        self._turn = 1 - self._turn
        buffer, gone = self._buffers[self._turn][: len(rows)], self._gone[self._turn]
        gone.synchronize()
        np.copyto(buffer.numpy(), rows)
        moved = buffer.to(self._device, non_blocking=True)
        gone.record(torch.cuda.current_stream(self._device))
        return moved
