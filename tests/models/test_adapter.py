"""What all image models share: channels by name, tiles, refusals, pooling; and making one from a card."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from phenobench.errors import InputError
from phenobench.files import sha256_of
from phenobench.models import load_model
from phenobench.models.adapter import ImageAdapter, tile
from phenobench.models.cwa_msn import random_checkpoint, write_checkpoint
from phenobench.models.networks import VitShape

FIVE = ("DNA", "ER", "RNA", "AGP", "Mito")


class Means(ImageAdapter):
    """The mean intensity of each channel; it keeps what it was given."""

    def __init__(self, channels: tuple[str, ...] | None = ("DNA", "Mito"), crop: int | None = 256) -> None:
        self.id = "means"
        self.channels = channels
        self.crop = crop
        self.given: list[tuple[tuple[int, ...], tuple[str, ...]]] = []

    def embed_crops(self, crops: np.ndarray, channels: Sequence[str]) -> np.ndarray:
        self.given.append((crops.shape, tuple(channels)))
        return crops.mean(axis=(2, 3), dtype=np.float64).astype(np.float32)


def noise(*shape: int, dtype: type[np.generic] = np.uint8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, shape).astype(dtype)


def refusal(adapter: ImageAdapter, images: np.ndarray, channels: Sequence[str]) -> str:
    with pytest.raises(InputError) as caught:
        adapter.embed_images(images, channels)
    assert adapter.id in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_channels_are_matched_by_name_and_never_by_place() -> None:
    images, model = noise(3, 5, 256, 256), Means()
    means = images.mean(axis=(2, 3))
    np.testing.assert_allclose(model.embed_images(images, FIVE), means[:, [0, 4]], rtol=1e-6)
    turned = model.embed_images(images[:, ::-1], FIVE[::-1])
    np.testing.assert_array_equal(turned, model.embed_images(images, FIVE))
    assert {names for _, names in model.given} == {("DNA", "Mito")}


def test_a_model_for_any_channels_takes_them_in_the_order_given() -> None:
    images, model = noise(2, 3, 40, 50), Means(channels=None, crop=None)
    found = model.embed_images(images, ["b", "a", "c"])
    np.testing.assert_allclose(found, images.mean(axis=(2, 3)), rtol=1e-6)
    assert model.given == [((2, 3, 40, 50), ("b", "a", "c"))]


def test_a_larger_field_is_the_average_of_its_tiles() -> None:
    images, model = noise(3, 2, 512, 512), Means()
    found = model.embed_images(images, ["DNA", "Mito"])
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, images.mean(axis=(2, 3)), rtol=1e-6)
    assert model.given == [((12, 2, 256, 256), ("DNA", "Mito"))]


def test_tiles_are_cut_from_the_centre_row_by_row() -> None:
    images = noise(2, 1, 11, 17)
    tiles = tile(images, 4)
    assert tiles.shape == (2, 8, 1, 4, 4)
    # 11 - 2 x 4 leaves 3 rows, one above; 17 - 4 x 4 leaves a column, none to the left.
    for number in range(8):
        top, left = 1 + number // 4 * 4, number % 4 * 4
        np.testing.assert_array_equal(tiles[:, number], images[:, :, top : top + 4, left : left + 4])


@pytest.mark.parametrize(
    ("images", "channels", "said"),
    [
        (noise(5, 256, 256), FIVE, "shape (5, 256, 256)"),
        (noise(1, 4, 256, 256), FIVE, "give (n, 5, h, w)"),
        (noise(1, 5, 256, 256, dtype=np.int32), FIVE, "type int32"),
        (noise(1, 5, 256, 256, dtype=np.float64), FIVE, "type float64"),
        (noise(1, 2, 256, 256), ("DNA", "ER"), "needs the channel 'Mito' and the images have DNA, ER"),
        (noise(1, 3, 256, 256), ("DNA", "Mito", "DNA"), "'DNA' occurs twice"),
        (noise(1, 5, 255, 600), FIVE, "255 x 600 are below its crop of 256"),
    ],
)
def test_what_does_not_fit_is_refused(images: np.ndarray, channels: tuple[str, ...], said: str) -> None:
    assert said in refusal(Means(), images, channels)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_pixels_that_are_no_numbers_are_refused_where_the_model_looks(value: float) -> None:
    images = noise(3, 5, 256, 256, dtype=np.float32)
    images[1, 2, 0, 0] = value
    whole = Means().embed_images(images, FIVE)
    assert np.isfinite(whole).all()
    images[2, 4, 9, 9] = value
    assert "channel 'Mito' of image 2" in refusal(Means(), images, FIVE)


def test_wells_are_the_means_of_their_sites() -> None:
    rng = np.random.default_rng(1)
    wells = rng.permutation(np.repeat([2, 5, 11, 40], [1, 4, 2, 6]))
    features = rng.standard_normal((len(wells), 7)).astype(np.float32)
    pooled = Means().pool(features, wells)
    assert pooled.dtype == np.float32
    expected = np.stack([features[wells == well].mean(axis=0) for well in (2, 5, 11, 40)])
    np.testing.assert_allclose(pooled, expected, atol=1e-6)


def test_load_model_refuses_in_one_sentence(tmp_path: Path) -> None:
    for arguments, said in (
        ({"id_or_card_path": "cwa-mns", "random_init": 0}, "did you mean cwa-msn"),
        ({"id_or_card_path": "oracle"}, "oracle takes no images"),
        ({"id_or_card_path": "cwa-msn", "weights": tmp_path / "a", "random_init": 0}, "exclude each other"),
        ({"id_or_card_path": "cwa-msn", "random_init": 0, "device": "abacus"}, "'abacus' is no device"),
        ({"id_or_card_path": "cwa-msn", "random_init": 0, "device": "cuda:99"}, "no device 'cuda:99' here"),
        ({"id_or_card_path": "dinov2-small"}, "random_init=SEED"),
        ({"id_or_card_path": "cwa-msn", "weights": tmp_path / "absent"}, "absent cannot be read"),
        ({"id_or_card_path": "pixel-statistics", "weights": tmp_path / "a"}, "has no weights"),
    ):
        with pytest.raises(InputError) as caught:
            load_model(**arguments)
        assert said in str(caught.value)
        assert "\n" not in str(caught.value)


def test_random_weights_follow_from_their_seed() -> None:
    images = noise(1, 6, 256, 256)
    one, same, other = (load_model("cwa-msn", random_init=seed) for seed in (0, 0, 1))
    assert one.channels is not None
    found = one.embed_images(images, one.channels)
    assert found.shape == (1, 384)
    assert found.dtype == np.float32
    assert (one.weights_kind, one.weights_sha256) == ("random", same.weights_sha256)
    assert same.weights_sha256 != other.weights_sha256
    np.testing.assert_array_equal(same.embed_images(images, one.channels), found)
    assert np.abs(other.embed_images(images, one.channels) - found).max() > 0.1


def test_a_checkpoint_brings_its_own_sizes_and_channels(tmp_path: Path) -> None:
    shape = VitShape(image=256, patch=32, channels=2, width=24, depth=2, heads=3, mlp_ratio=2.0)
    path = tmp_path / "tiny.safetensors"
    write_checkpoint(path, random_checkpoint(shape, ("Mito", "DNA"), 3))
    model = load_model("cwa-msn", weights=path)
    assert model.channels == ("Mito", "DNA")
    assert (model.weights_kind, model.weights_sha256) == ("random", sha256_of(path))
    images = noise(3, 5, 256, 256)
    found = model.embed_images(images, FIVE)
    assert found.shape == (3, 24)
    assert np.abs(found[0] - found[1]).max() > 1e-3
    np.testing.assert_array_equal(model.embed_images(images[:, [4, 0]], ("Mito", "DNA")), found)
    # The same picture through views, which torch does not take; and another one where the names change places.
    np.testing.assert_array_equal(model.embed_images(images[:, ::-1], FIVE[::-1]), found)
    np.testing.assert_array_equal(model.embed_images(images[::-1], FIVE), found[::-1])
    assert np.abs(model.embed_images(images, FIVE[::-1]) - found).max() > 1e-3
    assert "needs the channel 'Mito'" in refusal(model, images[:, :4], FIVE[:4])
    # uint16 is the same picture on a scale that is 257 times as long, and float32 on that of uint8.
    for like in (images.astype(np.uint16) * np.uint16(257), images.astype(np.float32)):
        np.testing.assert_allclose(model.embed_images(like, FIVE), found, atol=1e-5)


def test_a_tile_of_a_checkpoint_counts_as_its_mean(tmp_path: Path) -> None:
    shape = VitShape(image=256, patch=32, channels=1, width=24, depth=1, heads=3, mlp_ratio=2.0)
    write_checkpoint(tmp_path / "tiny.safetensors", random_checkpoint(shape, ("DNA",), 3))
    model = load_model("cwa-msn", weights=tmp_path / "tiny.safetensors")
    images = noise(1, 1, 512, 512)
    quarters = [images[:, :, top : top + 256, left : left + 256] for top in (0, 256) for left in (0, 256)]
    expected = np.mean([model.embed_images(quarter, ["DNA"]) for quarter in quarters], axis=0)
    np.testing.assert_allclose(model.embed_images(images, ["DNA"]), expected, atol=1e-5)


def test_pixel_statistics_takes_any_channels_and_sizes() -> None:
    model = load_model("pixel-statistics")
    assert model.channels is None
    found = model.embed_images(noise(2, 2, 70, 90, dtype=np.uint16), ["DNA", "something"])
    assert found.shape[0] == 2
    assert np.isfinite(found).all()
    assert model.weights_sha256
