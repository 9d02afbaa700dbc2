"""DINOv2: equal to transformers' own forward pass, the published names of its parameters, channels, cards."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import Dinov2Config, Dinov2ForImageClassification, Dinov2Model

from phenobench.cards import find
from phenobench.errors import InputError
from phenobench.files import sha256_of
from phenobench.models import load_model
from phenobench.models.adapter import ImageAdapter
from phenobench.models.dinov2 import build, channel_features, config_of, random_network_state
from phenobench.models.weights import skeleton

SIZES: dict[str, Any] = {
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "mlp_ratio": 4,
    "use_swiglu_ffn": 0,
    "image_size": 70,
    "patch_size": 14,
}
GATED = SIZES | {"use_swiglu_ffn": 1}
CROP = 42  # nine patches, of a table for 25
DIM = 24
FOUR = ("DNA", "ER", "RNA", "Mito")


def write_card(folder: Path, sizes: dict[str, Any] = SIZES, **more: Any) -> Path:
    values = {
        "id": "tiny",
        "title": "Tiny",
        "summary": "DINOv2 of small sizes",
        "adapter": "phenobench.models.dinov2:Dinov2",
        "input": "images",
        "status": "weights published",
        "trained": True,
        "revision": "1",
        "licence": "Apache-2.0",
        "crop": CROP,
        "per_channel": True,
        **more,
    }
    lines = [
        f"{key} = {str(value).lower() if isinstance(value, bool) else repr(value)}" for key, value in values.items()
    ]
    lines += ["[network]", *(f"{key} = {value}" for key, value in sizes.items())]
    path = folder / "tiny.toml"
    path.write_text("\n".join(lines))
    return path


def reference(sizes: dict[str, Any] = SIZES, seed: int = 0) -> Dinov2Model:
    """transformers' own network with weights of some size, so that each block and each bias counts."""
    network = Dinov2Model(Dinov2Config(**{**sizes, "use_swiglu_ffn": bool(sizes["use_swiglu_ffn"])}))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in network.parameters():
            value.copy_(0.3 * torch.randn(value.shape, generator=generator))
    return network


def by_hand(network: Dinov2Model, image: np.ndarray) -> np.ndarray:
    """The CLS token of one channel (h, w), plane by plane: red, green and blue have constants of their own."""
    grey = image.astype(np.float64) / 255
    planes = [(grey - 0.485) / 0.229, (grey - 0.456) / 0.224, (grey - 0.406) / 0.225]
    with torch.no_grad():
        tokens = network(torch.from_numpy(np.stack(planes)[None].astype(np.float32))).last_hidden_state
    return tokens[0, 0].numpy()


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


@dataclass(frozen=True)
class Written:
    network: Dinov2Model
    file: Path

    def load(self, card: Path) -> ImageAdapter:
        return load_model(card, weights=self.file)


@pytest.fixture(name="written", params=[SIZES, GATED], ids=["mlp", "gated"])
def written_file(tmp_path: Path, request: pytest.FixtureRequest) -> Written:
    """A file as it is published; giant's is gated. transformers writes the names that the hub's files have."""
    network = reference(request.param)
    network.save_pretrained(tmp_path / "published")
    write_card(tmp_path, request.param)
    return Written(network, tmp_path / "published" / "model.safetensors")


def test_channels_side_by_side_are_those_of_transformers_one_by_one(tmp_path: Path, written: Written) -> None:
    images = noise(3, 4, CROP, CROP)
    model = written.load(tmp_path / "tiny.toml")
    found = model.embed_images(images, FOUR)
    assert found.shape == (3, 4 * DIM)
    assert found.dtype == np.float32
    for image in range(3):
        for channel in range(4):
            wanted = by_hand(written.network, images[image, channel])
            np.testing.assert_allclose(found[image, channel * DIM : (channel + 1) * DIM], wanted, atol=1e-5)
    assert np.abs(found[0, :DIM] - found[1, :DIM]).max() > 0.01
    assert (model.weights_kind, model.weights_sha256) == ("trained", sha256_of(written.file))


def test_the_mean_over_channels_is_a_matter_of_the_card(tmp_path: Path, written: Written) -> None:
    images = noise(2, 4, CROP, CROP)
    apart = written.load(tmp_path / "tiny.toml").embed_images(images, FOUR)
    sizes = GATED if written.network.config.use_swiglu_ffn else SIZES
    found = written.load(write_card(tmp_path, sizes, per_channel=False)).embed_images(images, FOUR)
    assert found.shape == (2, DIM)
    np.testing.assert_allclose(found, apart.reshape(2, 4, DIM).mean(axis=1), atol=1e-6)


def test_a_published_file_has_names_that_are_not_the_networks_own(written: Written) -> None:
    """The names in facebook/dinov2-*. Were they those of the network, the tests above would try no renaming."""
    with safe_open(written.file, framework="pt") as handle:
        names = set(handle.keys())
    gated = written.network.config.use_swiglu_ffn
    for name in ("attention.attention.query.weight", "attention.output.dense.bias"):
        assert f"encoder.layer.1.{name}" in names
    assert ("encoder.layer.1.mlp.weights_in.weight" if gated else "encoder.layer.1.mlp.fc1.weight") in names
    assert "embeddings.mask_token" in names


def test_the_same_parameters_in_other_files_embed_equally(tmp_path: Path) -> None:
    network, card, images = reference(GATED), write_card(tmp_path, GATED), noise(2, 2, CROP, CROP)
    wanted = np.stack([[by_hand(network, channel) for channel in image] for image in images]).reshape(2, -1)
    own = {key: value.contiguous() for key, value in network.state_dict().items()}
    without = {key: value for key, value in own.items() if key != "embeddings.mask_token"}
    head = {"classifier.weight": torch.zeros(2, 2 * DIM)}
    for state in (own, without, {f"dinov2.{key}": value for key, value in own.items()} | head):
        save_file(state, tmp_path / "w.safetensors")
        torch.save(state, tmp_path / "w.pth")
        for name in ("w.safetensors", "w.pth"):
            found = load_model(card, weights=tmp_path / name).embed_images(images, ("DNA", "ER"))
            np.testing.assert_allclose(found, wanted, atol=1e-5)
    config = Dinov2Config(**{**GATED, "use_swiglu_ffn": True})
    classifier = Dinov2ForImageClassification(config)
    classifier.dinov2.load_state_dict(network.state_dict())
    classifier.save_pretrained(tmp_path / "classifier")
    found = load_model(card, weights=tmp_path / "classifier" / "model.safetensors").embed_images(images, ("DNA", "ER"))
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_channels_are_matched_by_name_where_the_card_has_them(tmp_path: Path) -> None:
    images = noise(2, 4, CROP, CROP)
    model = load_model(write_card(tmp_path, channels=["ER", "DNA"]), random_init=0)
    found = model.embed_images(images, FOUR)
    assert found.shape == (2, 2 * DIM)
    np.testing.assert_array_equal(model.embed_images(images[:, ::-1], FOUR[::-1]), found)
    alone = load_model(write_card(tmp_path), random_init=0).embed_images(images[:, :1], ("DNA",))
    np.testing.assert_allclose(found[:, DIM:], alone, atol=1e-5)


def test_the_mean_over_channels_does_not_depend_on_their_order(tmp_path: Path) -> None:
    images = noise(2, 4, CROP, CROP)
    model = load_model(write_card(tmp_path, per_channel=False), random_init=0)
    turned = model.embed_images(images[:, ::-1], FOUR[::-1])
    np.testing.assert_allclose(turned, model.embed_images(images, FOUR), atol=1e-5)


def test_a_field_of_256_is_its_centre(tmp_path: Path) -> None:
    images = noise(1, 2, CROP + 32, CROP + 32)
    model = load_model(write_card(tmp_path), random_init=0)
    centre = model.embed_images(images[:, :, 16:-16, 16:-16], ("DNA", "ER"))
    np.testing.assert_array_equal(model.embed_images(images, ("DNA", "ER")), centre)


def test_random_weights_follow_from_their_seed_and_let_every_block_count(tmp_path: Path) -> None:
    card, images = write_card(tmp_path), noise(2, 2, CROP, CROP)
    one, same, other = (load_model(card, random_init=seed) for seed in (0, 0, 1))
    found = one.embed_images(images, ("DNA", "ER"))
    np.testing.assert_array_equal(same.embed_images(images, ("DNA", "ER")), found)
    assert np.abs(other.embed_images(images, ("DNA", "ER")) - found).max() > 0.1
    assert one.weights_kind == "random"
    assert one.weights_sha256 == same.weights_sha256 != other.weights_sha256
    config = Dinov2Config(**{**SIZES, "use_swiglu_ffn": False}, use_mask_token=False)
    state = random_network_state(config, 0)
    crops = torch.from_numpy(images)
    whole = channel_features(build(config, state), crops)
    for block in range(2):
        removed = {key: value * 0 if f"layer.{block}.mlp.fc2" in key else value for key, value in state.items()}
        assert (channel_features(build(config, removed), crops) - whole).abs().max() > 1e-4


@pytest.mark.parametrize("name", ["dinov2-small", "dinov2-base", "dinov2-large", "dinov2-giant"])
def test_cards_have_the_published_sizes(name: str) -> None:
    card = find().model(name)
    network = skeleton(lambda: Dinov2Model(config_of(card)))
    assert card.dim == network.config.hidden_size
    assert card.parameters["encoder"] == sum(value.numel() for value in network.parameters())
    # With the mask token, which the files have besides.
    stored = {"small": 22_056_576, "base": 86_580_480, "large": 304_368_640, "giant": 1_136_480_768}
    assert card.parameters["file"] == stored[name.removeprefix("dinov2-")]
    assert card.weights["model"].hub == f"facebook/{name}"
    assert tuple(network.embeddings.position_embeddings.shape) == (1, 1 + 37**2, card.dim)


def test_bfloat16_is_close_to_float32() -> None:
    images = torch.from_numpy(noise(1, 2, 112, 112))
    config = config_of(find().model("dinov2-small"))
    network = build(config, random_network_state(config, 0))
    with torch.inference_mode():
        exact = channel_features(network, images)
        with torch.autocast("cpu", torch.bfloat16):
            close = channel_features(network, images).float()
    assert exact.shape == (1, 2, 384)
    assert not torch.equal(close, exact)
    assert torch.nn.functional.cosine_similarity(close, exact, dim=-1).min() > 1 - 1e-3


def test_a_file_of_another_size_is_refused_with_the_first_five(tmp_path: Path) -> None:
    reference(SIZES | {"hidden_size": 48}).save_pretrained(tmp_path / "wide")
    reference(SIZES | {"num_hidden_layers": 1}).save_pretrained(tmp_path / "short")
    save_file({"conv1": torch.zeros(3)}, tmp_path / "other.safetensors")
    card = write_card(tmp_path)
    for file, said in (
        (
            "wide/model.safetensors",
            "parameters of another shape: embeddings.cls_token (1, 1, 48) instead of (1, 1, 24)",
        ),
        ("short/model.safetensors", "lacks 18 parameters of the model: encoder.layer.1.norm1.weight"),
        ("other.safetensors", "lacks 42 parameters of the model: embeddings.cls_token"),
    ):
        with pytest.raises(InputError) as caught:
            load_model(card, weights=tmp_path / file)
        assert said in str(caught.value)
        assert file in str(caught.value)
        assert str(caught.value).endswith(", ...")
        assert "\n" not in str(caught.value)


def test_what_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="tiny needs its file of weights, or random_init=SEED"):
        load_model(write_card(tmp_path))
    with pytest.raises(InputError, match="has no part 'vision'"):
        load_model(write_card(tmp_path), weights={"vision": tmp_path / "w"})
    with pytest.raises(InputError, match="tiny, network: patch_size: Field required"):
        load_model(write_card(tmp_path, {k: v for k, v in SIZES.items() if k != "patch_size"}), random_init=0)
    with pytest.raises(InputError, match="tiny, network: width: Extra inputs"):
        load_model(write_card(tmp_path, SIZES | {"width": 3}), random_init=0)
