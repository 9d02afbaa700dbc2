"""CellCLIP's sites: channels in the order of a data set, crops drawn by a site's key, features of DINOv2."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from phenobench.errors import InputError
from phenobench.images import to_eight_bit
from phenobench.models.cellclip import CellClip, crop_windows
from phenobench.models.dinov2 import channel_features
from phenobench.models.weights import write_tensors
from tests.tiny_cellclip import (
    JUMP,
    RECURSION,
    golden_state,
    noise,
    tiny,
    write_cards,
    write_tiny,
    write_weights,
)


@pytest.fixture(scope="module", name="written")
def written_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_weights(tmp_path_factory.mktemp("weights"))


@pytest.fixture(name="files")
def tiny_files(written: dict[str, Path]) -> dict[str, Path]:
    """The weights; the cards are in the current folder."""
    write_cards()
    return written


def features_of(model: CellClip, pixels: np.ndarray) -> np.ndarray:
    """DINOv2's features of each channel of crops (n, c, 224, 224)."""
    with torch.inference_mode():
        return channel_features(model.encoder, torch.from_numpy(pixels)).numpy()


@pytest.mark.parametrize(
    ("channels", "order", "wanted"),
    [
        (JUMP, None, ("RNA", "DNA", "AGP", "Mito", "ER")),
        (JUMP[::-1], "bray2017", ("Mito", "ER", "RNA", "AGP", "DNA")),
        (RECURSION, None, ("ER", "RNA", "Mito", "DNA", "Actin")),
        ((*RECURSION, "AGP"), None, ("RNA", "DNA", "AGP", "Mito", "ER")),
    ],
)
def test_channels_go_by_name_into_the_order_of_a_data_set(
    files: dict[str, Path], channels: tuple[str, ...], order: str | None, wanted: tuple[str, ...]
) -> None:
    if order is not None:
        write_tiny(orders=[order])
    model, images = tiny(files), noise(2, len(channels), 224, 224)
    seen = features_of(model, images)
    assert np.abs(seen[:, 0] - seen[:, 1]).max() > 0.1
    found = model.site_features(images, channels)
    np.testing.assert_allclose(found, seen[:, [channels.index(name) for name in wanted]], atol=1e-5)


def test_channels_of_no_order_are_refused(files: dict[str, Path]) -> None:
    with pytest.raises(InputError, match=r"rxrx3-core: ER, RNA, Mito, DNA, Actin.* the images have a, b, c"):
        tiny(files).site_features(noise(1, 3, 224, 224), ("a", "b", "c"))


def test_what_fixes_the_features_of_sites(files: dict[str, Path]) -> None:
    """Neither the model's own file nor its pooling; without DINOv2 there are none."""
    known = tiny(files).sites_sha256
    write_tiny(pooling="mean")
    write_tensors(Path("other.safetensors"), golden_state(), {})
    assert tiny({**files, "model": "other.safetensors"}).sites_sha256 == known
    assert tiny(files["model"]).sites_sha256 == ""
    write_tiny(crops=1)
    assert tiny(files).sites_sha256 != known
    write_tiny(orders=["bray2017"])
    assert tiny(files).sites_sha256 != known


def test_crops_are_drawn_by_the_key_alone_and_differ() -> None:
    windows = crop_windows("screen/plate/A01/1", 300, 500, 40)
    assert crop_windows("screen/plate/A01/1", 300, 500, 40) == windows
    assert len(set(windows)) == 40
    assert crop_windows("screen/plate/A01/2", 300, 500, 40) != windows
    tops, lefts = np.transpose(windows)
    assert 0 <= tops.min() < 20 < 56 < tops.max() <= 300 - 224
    assert 0 <= lefts.min() < 40 < 236 < lefts.max() <= 500 - 224
    assert crop_windows("any", 224, 224, 5) == [(0, 0)]
    assert sorted(crop_windows("any", 225, 225, 5)) == [(0, 0), (0, 1), (1, 0), (1, 1)]


def test_a_site_is_the_mean_over_its_crops_whatever_the_batch(files: dict[str, Path]) -> None:
    model, images, keys = tiny(files), noise(3, 5, 260, 250), ["p/A01/1", "p/A01/2", "p/A01/1"]
    ordered = images[:, [JUMP.index(name) for name in ("RNA", "DNA", "AGP", "Mito", "ER")]]
    found = model.site_features(images, JUMP, keys)
    assert found.shape == (3, 5, 64)
    assert found.dtype == np.float32
    for site, key in enumerate(keys):
        windows = crop_windows(key, 260, 250, 2)
        crops = np.stack([ordered[site, :, top : top + 224, left : left + 224] for top, left in windows])
        np.testing.assert_allclose(found[site], features_of(model, crops).mean(axis=0), atol=1e-5)
        alone = model.site_features(images[site : site + 1], JUMP, [key])
        np.testing.assert_allclose(alone[0], found[site], atol=1e-5)
    other = model.site_features(images[:1], JUMP, ["p/B01/1"])
    assert np.abs(other - found[:1]).max() > 1e-3


def test_an_image_alone_is_a_well_of_one_site(files: dict[str, Path]) -> None:
    model, images = tiny(files), noise(3, 5, 240, 230)
    found = model.embed_images(images, JUMP)
    features = model.site_features(images, JUMP)
    np.testing.assert_array_equal(found, model.pool(features, np.arange(3)))
    np.testing.assert_allclose(model.embed_images(images[2:], JUMP), found[2:], atol=1e-5)
    squares = noise(2, 5, 224, 224)
    ordered = squares[:, [JUMP.index(name) for name in ("RNA", "DNA", "AGP", "Mito", "ER")]]
    np.testing.assert_allclose(model.embed_crops(ordered, ()), model.embed_images(squares, JUMP), atol=1e-5)


def test_sixteen_bit_fields_come_to_eight_by_their_brightest_pixels(files: dict[str, Path]) -> None:
    model = tiny(files)
    wide = np.random.default_rng(1).gamma(2, 600, (2, 5, 250, 250)).astype(np.uint16)
    found = model.site_features(wide, JUMP)
    np.testing.assert_array_equal(found, model.site_features(to_eight_bit(wide, "brightest"), JUMP))


def test_fields_below_the_crop_are_refused(files: dict[str, Path]) -> None:
    with pytest.raises(InputError, match="223 x 300 are below its crop of 224"):
        tiny(files).site_features(noise(1, 5, 223, 300), JUMP)
