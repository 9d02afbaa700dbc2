"""Views: what is cut out of fields, and that it is what the network expects."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from phenobench.errors import InputError
from phenobench.models.networks import patchify
from phenobench.training.fields import Fields
from phenobench.training.views import Placement, ViewConfig, cut, kept_patches, placements
from tests.training.screens import CHANNELS, make_screen

STILL = Placement(0.0, 0.0, 0, False)


def fields(n: int = 3, size: int = 24) -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(0, 255, (n, 2, size, size)).astype(np.uint8))


def test_patches_that_are_kept_are_those_of_the_whole_view() -> None:
    keep = np.array([1, 4, 7])
    found = cut(fields(), [STILL] * 3, 24, 8, keep)
    whole = patchify(torch.from_numpy(np.stack(fields())), 8)
    assert torch.equal(found.values, whole[:, keep])
    assert (found.grid, found.keep.tolist()) == ((3, 3), [1, 4, 7])


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("flip", [False, True])
def test_turns_flips_and_places_are_those_of_the_field(turns: int, flip: bool) -> None:
    found = cut(fields(1), [Placement(0.5, 0.999, turns, flip)], 16, 8, np.arange(4))
    window = np.rot90(fields(1)[0][:, 4:20, 8:24], turns, (1, 2))
    window = window[:, :, ::-1] if flip else window
    assert torch.equal(found.values, patchify(torch.from_numpy(window[None].copy()), 8))


def test_all_places_turns_and_flips_occur() -> None:
    drawn = placements(np.random.default_rng(0), 400)
    assert {(place.turns, place.flip) for place in drawn} == {(t, f) for t in range(4) for f in (False, True)}
    assert min(place.down for place in drawn) < 0.05 < 0.95 < max(place.right for place in drawn)


@pytest.mark.parametrize(("keep", "wanted"), [(0.2, 51), (0.5, 128), (1.0, 256), (0.001, 1)])
def test_the_share_of_patches_that_is_kept(keep: float, wanted: int) -> None:
    kept = kept_patches(np.random.default_rng(0), ViewConfig(size=256, keep=keep), 16)
    assert len(set(kept.tolist())) == len(kept) == wanted
    assert 0 <= kept.min() <= kept.max() < 256


def test_a_field_below_the_view_is_refused() -> None:
    with pytest.raises(InputError, match="24 x 24 pixels is below the views of 32"):
        cut(fields(), [STILL] * 3, 32, 8, np.arange(2))


@pytest.mark.parametrize("kept_bytes", [0, 20_000, 10**9])
def test_fields_are_the_same_from_memory_and_read_again(kept_bytes: int) -> None:
    screen = make_screen()
    assert screen.images is not None
    wanted = {one.row: one.pixels for one in screen.images(screen.wells) if one.site == "1"}
    read = Fields(screen, range(len(screen.wells)), None, "full-range", kept_bytes).of([9, 2, 9])
    assert set(read) == {2, 9}
    for row, (_, second) in read.items():
        np.testing.assert_array_equal(second, wanted[row])


def test_channels_are_taken_by_name_and_sixteen_bits_come_to_255() -> None:
    screen = make_screen(dtype=np.uint16)
    assert screen.images is not None
    raw = next(screen.images(screen.wells)).pixels
    (found, _) = Fields(screen, [0], CHANNELS[::-1], "full-range", 0).of([0])[0]
    np.testing.assert_allclose(found, raw[::-1] / 257, rtol=1e-6)


def test_a_channel_too_few_is_refused_by_its_name() -> None:
    with pytest.raises(InputError, match=r"asks for the channel 'Golgi' and made has DNA, ER"):
        Fields(make_screen(), [0], ("DNA", "Golgi"), "full-range", 0)
