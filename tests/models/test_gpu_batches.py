"""How many rows go through a GPU at a time. What needs one itself is not tested here."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from phenobench.errors import InputError
from phenobench.models import gpu_batches
from phenobench.models.gpu_batches import MOST_ROWS, fitting, halving


def test_rows_double_as_long_as_they_fit() -> None:
    assert fitting(free=1000, bytes_a_row=10, first=8) == 64  # 640 of 800 bytes, where 128 rows would take 1280
    assert fitting(free=10**15, bytes_a_row=10, first=8) == MOST_ROWS
    assert fitting(free=0, bytes_a_row=10, first=8) == 8


def limited(most: int) -> tuple[list[tuple[int, int]], object]:
    tried: list[tuple[int, int]] = []

    def call(start: int, stop: int) -> torch.Tensor:
        tried.append((start, stop))
        if stop - start > most:
            raise torch.OutOfMemoryError
        return torch.arange(start, stop)

    return tried, call


@pytest.mark.parametrize("n", [1, 7, 64, 65])
@pytest.mark.parametrize("most", [1, 3, 8, 100])
def test_every_row_comes_once_and_in_order_however_little_fits(n: int, most: int) -> None:
    tried, call = limited(most)
    parts, rows = halving(call, n, 64)  # type: ignore[arg-type]
    assert torch.cat(parts).tolist() == list(range(n))
    # No size is tried again once it did not fit.
    sizes = [stop - start for start, stop in tried]
    assert sorted(sizes, reverse=True) == sizes
    assert rows <= 64


def test_where_not_one_row_fits_it_says_so() -> None:
    _, call = limited(0)
    with pytest.raises(InputError, match="no memory for a single crop"):
        halving(call, 5, 4)  # type: ignore[arg-type]


class Plain:
    """In place of pinned buffers, which need a GPU: rows as they are."""

    def __init__(self, rows: np.ndarray, device: torch.device) -> None: ...

    def holds(self, rows: np.ndarray) -> bool:
        return True

    def moved(self, rows: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(rows))


def test_the_first_rows_are_measured_and_the_others_go_through_as_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[int] = []
    monkeypatch.setattr(gpu_batches, "_Pinned", Plain)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: measured.append(1))
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 1000)
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 1500)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 1000 + 8 * 10)  # ten bytes a row
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (500, 10**6))
    sizes: list[int] = []

    def function(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        sizes.append(len(one))
        return one.double() + other[:, None]

    batches = gpu_batches.GpuBatches(torch.device("cpu"), 8)
    one, other = np.arange(400, dtype=np.int64).reshape(200, 2)[::-1], np.arange(200, dtype=np.float32)
    for _ in range(2):
        found = batches.run(function, [one, other])
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, one + other[:, None])
    # Of the 1000 free bytes 800 count: 64 rows of ten bytes.
    assert sizes == [8, 64, 64, 64, 8, 64, 64, 64, 8]
    assert len(measured) == 1
