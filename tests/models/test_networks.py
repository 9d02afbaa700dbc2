"""The vision transformer against the reference's outputs (tests/goldens/msn.npz) and its own promises.

Weights of the goldens come from their key names, and images from seeds.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from phenobench.errors import InputError
from phenobench.models.networks import VIT_SMALL, VisionTransformer, VitShape, patchify

GOLDENS = Path(__file__).parents[1] / "goldens"
TINY = VitShape(image=32, patch=8, channels=2, width=24, depth=2, heads=3)


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def golden_weight(key: str, shape: tuple[int, ...]) -> torch.Tensor:
    seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "little")
    value = np.random.default_rng(seed).standard_normal(shape).astype(np.float32) * np.float32(0.02)
    norm = key.endswith(("norm.weight", "norm1.weight", "norm2.weight"))
    return torch.from_numpy(value + np.float32(1.0) if norm else value)


def with_golden_weights(shape: VitShape) -> VisionTransformer:
    network = VisionTransformer(shape).eval()
    network.load_state_dict({key: golden_weight(key, tuple(v.shape)) for key, v in network.state_dict().items()})
    return network


@cache
def golden(name: str) -> np.ndarray:
    with np.load(GOLDENS / "msn.npz") as stored:
        return stored[name]


@cache
def five_channels() -> VisionTransformer:
    return with_golden_weights(replace(VIT_SMALL, channels=5))


def noise(seed: int, channels: int, size: int) -> torch.Tensor:
    values = np.random.default_rng(seed).standard_normal((2, channels, size, size))
    return torch.from_numpy(values.astype(np.float32))


def test_keys_and_shapes_are_those_of_the_reference() -> None:
    wanted = json.loads((GOLDENS / "msn_vit_keys.json").read_text())
    state = VisionTransformer(VIT_SMALL).state_dict()
    assert {key: list(value.shape) for key, value in state.items()} == wanted
    assert sum(value.numel() for value in state.values()) == 21_665_664


@pytest.mark.parametrize(("case", "seed", "size"), [("img224", 55, 224), ("img96", 65, 96)])
def test_embeddings_equal_the_reference(case: str, seed: int, size: int) -> None:
    wanted = golden(f"vit_in5/{case}")
    found = five_channels()(noise(seed, 5, size)).numpy()
    assert found.dtype == np.float32
    assert np.abs(found - wanted).max() < 1e-5


def test_embeddings_at_half_contrast_equal_the_reference() -> None:
    wanted = golden("vit_in5/list_224_96_96")[4:6]
    assert np.abs(five_channels()(0.5 * noise(65, 5, 96)).numpy() - wanted).max() < 1e-5


def test_dropped_patches_equal_the_reference_and_matter() -> None:
    keep = torch.from_numpy(golden("drop_perm_seed7")) - 1
    found = five_channels()(noise(55, 5, 224), keep).numpy()
    assert np.abs(found - golden("vit_in5/drop0.15_seed7")).max() < 1e-5
    assert np.abs(found - golden("vit_in5/img224")).max() > 0.1


def test_the_position_table_resized_for_96_pixels_equals_the_reference() -> None:
    found = five_channels().positions((6, 6))[0, [0, 1, 7, 36]].numpy()
    assert np.abs(found - golden("pos_interp_96_rows_0_1_7_36")).max() < 1e-7


@pytest.mark.parametrize("channels", [1, 3, 6, 11])
def test_any_number_of_channels(channels: int) -> None:
    network = with_golden_weights(replace(TINY, channels=channels))
    assert network(noise(1, channels, 32)).shape == (2, 24)


def test_an_image_alone_has_the_embedding_it_has_in_a_batch() -> None:
    images = torch.cat([noise(seed, 5, 96) for seed in range(3)])
    together = five_channels()(images)
    alone = torch.cat([five_channels()(image[None]) for image in images])
    assert (together - alone).abs().max() < 1e-5


def test_other_sizes_than_the_position_tables() -> None:
    network = with_golden_weights(TINY)
    assert network.positions((4, 4)) is network.pos_embed
    assert network.positions((2, 5)).shape == (1, 11, 24)
    assert network(noise(1, 2, 64)).shape == (2, 24)


def test_patches_are_in_reading_order_and_hold_channel_row_column() -> None:
    images = torch.arange(2 * 3 * 4 * 6).reshape(2, 3, 4, 6)
    cut = patchify(images, 2)
    assert cut.shape == (2, 6, 12)
    assert torch.equal(cut[1, 4].reshape(3, 2, 2), images[1, :, 2:4, 2:4])


def test_embedding_patches_is_the_convolution_of_the_checkpoints() -> None:
    network = with_golden_weights(TINY)
    images = noise(3, 2, 32)
    found = network.patch_embed(patchify(images, 8))
    wanted = network.patch_embed.proj(images).flatten(2).transpose(1, 2)
    assert (found - wanted).abs().max() < 1e-5


def test_bfloat16_is_close_to_float32() -> None:
    images = noise(55, 5, 224)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = five_channels()(images)
    cosine = torch.nn.functional.cosine_similarity(half.float(), five_channels()(images))
    assert (1 - cosine).max() < 1e-3


@pytest.mark.parametrize(
    ("channels", "height", "width", "said"),
    [(3, 32, 32, "images of 3 channels for a network of 2"), (2, 32, 30, "32 x 30"), (2, 0, 32, "0 x 32")],
)
def test_images_that_do_not_fit_are_refused(channels: int, height: int, width: int, said: str) -> None:
    with pytest.raises(InputError, match=said):
        with_golden_weights(TINY)(torch.zeros(1, channels, height, width))


@pytest.mark.parametrize("wrong", [{"image": 33}, {"heads": 5}, {"depth": 0}, {"channels": -1}])
def test_shapes_that_are_none_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(InputError):
        replace(TINY, **wrong)
