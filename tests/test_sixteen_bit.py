"""16-bit images on the 0-255 scale, against the reference preparation of CellCLIP's data."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from phenobench.images import to_eight_bit


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
