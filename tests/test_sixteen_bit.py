"""16-bit images on the 0-255 scale, against the reference preparation of CellCLIP's data."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from phenobench.errors import InputError
from phenobench.images import to_eight_bit
from phenobench.plate_scale import plate_scale, value_counts


def reference_input(seed: int, shape: tuple[int, int]) -> np.ndarray:
    return (np.random.default_rng(seed).gamma(2.0, 600.0, shape) + 100).astype(np.uint16)


def sha256(image: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(image).tobytes()).hexdigest()


def test_full_range_keeps_proportions_and_fractions() -> None:
    images = np.array([0, 257, 300, 65535], np.uint16).reshape(1, 1, 2, 2)
    found = to_eight_bit(images, "full-range")
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.ravel(), [0, 1, 300 / 257, 255], rtol=1e-6)


@pytest.mark.parametrize(
    ("seed", "shape", "expected"),
    [
        (61, (520, 696), "4593648de5bbd2f4dbf64a66e052e4fd952c21789c0c843a708dfb5c59debb0a"),
        (62, (1080, 1080), "2d6fe6ce3474a63a0ad41c15daf7763ecbddae72046fdd16baefa66cb0e9c6ec"),
        (64, (256, 256), "d907fe42dc4a4fb012cfd60abe937ee45262674d53b71fe3f464794cdeed0ae2"),
    ],
)
def test_the_brightest_pixels_rule_gives_the_bytes_of_the_reference(
    seed: int, shape: tuple[int, int], expected: str
) -> None:
    image = reference_input(seed, shape)
    # Beside another field and another channel, each of which has its own white.
    images = np.stack([np.stack([image, image // 2]), np.stack([image * 3, image])])
    found = to_eight_bit(images, "brightest")
    assert sha256(found[0, 0]) == expected
    assert sha256(found[1, 1]) == expected


def test_a_field_too_small_for_the_share_is_white_as_in_the_reference() -> None:
    found = to_eight_bit(reference_input(63, (100, 100))[None, None], "brightest")
    assert sha256(found[0, 0]) == "2bf7158cb3d8f419f1e19ee71df61927cc17017f37ea8820f3bd719d2b4f88f8"


def test_a_black_field_stays_black() -> None:
    assert not to_eight_bit(np.zeros((1, 1, 300, 300), np.uint16), "brightest").any()


def test_the_percentiles_of_a_plate_are_those_of_all_its_pixels_together() -> None:
    # Two sites of very different brightness and size, two channels.
    sites = [
        np.stack([reference_input(71, (60, 50)), reference_input(72, (60, 50)) * 3]),
        np.stack([reference_input(73, (90, 40)) * 9, reference_input(74, (90, 40))]),
    ]
    scale = plate_scale(np.sum([value_counts(site) for site in sites], axis=0))
    for channel in range(2):
        pixels = np.concatenate([site[channel].ravel() for site in sites])
        low, high = np.percentile(pixels, [0.1, 99.9], method="inverted_cdf")
        assert (scale.low[channel], scale.high[channel]) == (low, high)
        for site in sites:
            expected = np.clip(np.rint((site[channel].astype(np.float64) - low) * 255 / (high - low)), 0, 255)
            np.testing.assert_array_equal(scale.to_eight_bit(site)[channel], expected.astype(np.uint8))


def test_order_is_kept_and_both_ends_are_used() -> None:
    scale = plate_scale(value_counts(reference_input(75, (200, 200))[None]))
    table = scale.table[0].astype(int)
    assert (np.diff(table) >= 0).all()
    assert (table[scale.low[0]], table[scale.high[0]]) == (0, 255)
    assert (table[0], table[-1]) == (0, 255)


def test_a_plate_of_one_value_is_black_and_8_bits_stay() -> None:
    constant = np.full((1, 30, 30), 700, np.uint16)
    scale = plate_scale(value_counts(constant))
    assert not scale.to_eight_bit(constant).any()
    eight = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    assert scale.to_eight_bit(eight) is eight
    assert not value_counts(eight).any()


def test_single_fields_have_no_plate() -> None:
    with pytest.raises(InputError, match="percentiles of their whole plate"):
        to_eight_bit(np.zeros((1, 1, 30, 30), np.uint16), "plate-percentiles")
