"""The montage: what is on it, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from phenobench.errors import InputError
from phenobench.montage import _composites, _stretched, montage

CHANNELS = ("DNA", "ER", "Actin")


def image(level: int, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 20, (3, 48, 48))
    return (noise + level * (np.arange(48) > 24)).astype(np.uint8)


def test_a_montage_has_a_row_a_field_and_a_column_a_channel_and_one_in_colour(tmp_path: Path) -> None:
    small, large = tmp_path / "small.png", tmp_path / "large.png"
    montage({"P1": [image(100)]}, CHANNELS, small)
    montage({"P1": [image(100), image(90)], "P2": [image(50)]}, CHANNELS, large)
    one, three = imread(small), imread(large)
    assert one.shape[1] == three.shape[1]
    assert 2.5 < three.shape[0] / one.shape[0] < 3
    # Four square columns and a margin with labels.
    assert 3.9 < one.shape[1] / (one.shape[0] - 0.3 * 135) < 4.4
    # Only the last column has colour.
    spread = np.ptp(one[..., :3], axis=2).max(axis=0)
    assert spread[: int(one.shape[1] * 0.7)].max() < 0.02
    assert spread[int(one.shape[1] * 0.8) :].max() > 0.1


def test_gains_of_plates_stay_visible() -> None:
    shown = _stretched(np.stack([image(160), image(40)]))
    assert shown.min() >= 0
    assert shown.max() <= 1
    assert shown[0, 0, :, 30:].mean() > 1.5 * shown[1, 0, :, 30:].mean()


def test_an_empty_channel_is_black_and_not_an_error(tmp_path: Path) -> None:
    flat = image(100)
    flat[1] = 7
    assert _stretched(flat[None])[0, 1].max() == 0
    montage({"P1": [flat]}, CHANNELS, tmp_path / "flat.png")


def test_channels_without_a_colour_of_their_own_are_told_apart() -> None:
    shown = np.zeros((1, 2, 4, 4), dtype=np.float32)
    shown[0, 0, :2], shown[0, 1, 2:] = 1, 1
    composite = _composites(shown, ("one", "another"))
    assert composite.shape == (1, 4, 4, 3)
    assert np.abs(composite[0, 0, 0] - composite[0, 3, 0]).max() > 0.3


def test_the_same_images_give_the_same_bytes(tmp_path: Path) -> None:
    first, second = tmp_path / "first.png", tmp_path / "second.png"
    for out in (first, second):
        montage({"P1": [image(100)], "P2": [image(60)]}, CHANNELS, out)
    assert first.read_bytes() == second.read_bytes()


def test_sixteen_bit_images_are_shown(tmp_path: Path) -> None:
    montage({"P1": [image(100).astype(np.uint16) * 200]}, CHANNELS, tmp_path / "deep.png")
    assert (tmp_path / "deep.png").stat().st_size > 1000


def test_what_does_not_fit_is_refused_in_a_sentence(tmp_path: Path) -> None:
    out = tmp_path / "no.png"
    with pytest.raises(InputError, match="no image"):
        montage({"P1": []}, CHANNELS, out)
    with pytest.raises(InputError, match="plate P2"):
        montage({"P1": [image(100)], "P2": [image(100)[:2]]}, CHANNELS, out)
    with pytest.raises(InputError, match=r"plate P1 has shape \(48, 48\)"):
        montage({"P1": [image(100)[0]]}, CHANNELS, out)
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(InputError, match="cannot write"):
        montage({"P1": [image(100)]}, CHANNELS, blocked / "out.png")
    assert not out.exists()
