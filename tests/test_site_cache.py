"""Features of sites that are kept: whole or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from phenobench.site_cache import Sites, keep_sites, read_sites

PLAIN = Sites(np.array([0, 0, 1]), np.arange(12, dtype=np.float32).reshape(3, 4))
FULL = Sites(PLAIN.rows, PLAIN.features, ((4, "site 2"), (7, "1")), sixteen_bit=True)


@pytest.mark.parametrize("sites", [PLAIN, FULL])
def test_what_is_kept_is_read_again(tmp_path: Path, sites: Sites) -> None:
    path = tmp_path / "sub" / "plate.npz"
    assert read_sites(path) is None
    keep_sites(path, sites)
    there = read_sites(path)
    assert there is not None
    assert there.rows.tolist() == [0, 0, 1]
    assert there.features.dtype == np.float32
    assert there.features.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    assert (there.damaged, there.sixteen_bit) == (sites.damaged, sites.sixteen_bit)
    assert [file.name for file in path.parent.iterdir()] == ["plate.npz"]


def test_a_file_without_damage_and_of_8_bits_is_what_it_was_before_there_were_others(tmp_path: Path) -> None:
    keep_sites(tmp_path / "new.npz", PLAIN)
    np.savez(tmp_path / "old.npz", rows=PLAIN.rows, features=PLAIN.features)
    assert (tmp_path / "new.npz").read_bytes() == (tmp_path / "old.npz").read_bytes()


def test_a_damaged_file_counts_as_none(tmp_path: Path) -> None:
    path = tmp_path / "plate.npz"
    keep_sites(path, PLAIN)
    content = path.read_bytes()
    for damaged in (content[: len(content) // 2], b"", b"no archive"):
        path.write_bytes(damaged)
        assert read_sites(path) is None


def test_without_a_place_nothing_is_kept() -> None:
    keep_sites(None, PLAIN)
    assert read_sites(None) is None
