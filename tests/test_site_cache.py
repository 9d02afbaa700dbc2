"""Features of sites that are kept: computed once, whole or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from phenobench.site_cache import Sites, kept_sites


def test_sites_are_computed_once_and_a_damaged_file_is_made_again(tmp_path: Path) -> None:
    path, calls = tmp_path / "sub" / "plate.npz", []

    def compute() -> Sites:
        calls.append(1)
        return np.array([0, 0, 1]), np.arange(12, dtype=np.float32).reshape(3, 4)

    for _ in range(2):
        rows, features = kept_sites(path, compute)
        assert rows.tolist() == [0, 0, 1]
        assert features.dtype == np.float32
        assert features.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    assert len(calls) == 1
    content = path.read_bytes()
    for damaged in (content[: len(content) // 2], b"", b"no archive"):
        path.write_bytes(damaged)
        kept_sites(path, compute)
        assert path.read_bytes() == content
    assert len(calls) == 4
    assert [file.name for file in path.parent.iterdir()] == ["plate.npz"]


def test_without_a_place_nothing_is_kept() -> None:
    values = iter([1.0, 2.0])

    def compute() -> Sites:
        return np.zeros(1), np.full(1, next(values))

    assert [kept_sites(None, compute)[1].item() for _ in range(2)] == [1.0, 2.0]
