"""CellCLIP against the reference's outputs (tests/goldens/cellclip.npz); its files, wells and texts."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from phenobench.cards import find
from phenobench.descriptions import Description
from phenobench.errors import InputError
from phenobench.files import sha256_of
from phenobench.models import load_model
from phenobench.models.cellclip import CellClip
from phenobench.models.cellclip_networks import CellClipNetwork, CellClipShape
from phenobench.models.weights import skeleton, write_tensors
from tests.shared import shared
from tests.tiny_cellclip import (
    JUMP,
    RECURSION,
    TINY_KEYS,
    golden,
    golden_state,
    instances,
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


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


# The arithmetic


def test_both_towers_equal_the_reference(files: dict[str, Path]) -> None:
    model = tiny(files["model"])
    images = model.embed_features(instances())
    texts = model.embed_token_ids(golden("input_ids"), golden("attention_mask"))
    assert images.dtype == texts.dtype == np.float32
    np.testing.assert_allclose(images, golden("image_raw"), atol=1e-5)
    np.testing.assert_allclose(texts, golden("text_raw"), atol=1e-5)
    np.testing.assert_allclose(unit(images), golden("image_norm"), atol=1e-6)
    np.testing.assert_allclose(unit(texts), golden("text_norm"), atol=1e-6)
    network = model.network
    assert isinstance(network, CellClipNetwork)
    logits = float(network.logit_scale.exp()) * unit(images) @ unit(texts).T
    np.testing.assert_allclose(logits, golden("logits_per_image"), atol=1e-5)
    with torch.inference_mode():
        pooled = network.image_pool(torch.from_numpy(instances()))
        # The reference's mean counts the padding.
        mean = network.visual(torch.from_numpy(instances().mean(axis=1)))
    np.testing.assert_allclose(pooled.numpy(), golden("pooled"), atol=1e-6)
    np.testing.assert_allclose(mean.numpy(), golden("image_raw_mean_instances"), atol=1e-5)


def test_the_features_stay_as_they_are_and_a_second_call_gives_the_same(files: dict[str, Path]) -> None:
    model, given = tiny(files["model"]), instances().copy()
    first = model.embed_features(given)
    np.testing.assert_array_equal(given, instances())
    np.testing.assert_array_equal(model.embed_features(given), first)


def keys_and_shapes(network: CellClipNetwork) -> dict[str, list[int]]:
    return {key: list(value.shape) for key, value in network.state_dict().items()}


def test_parameters_have_the_names_and_shapes_of_the_tiny_model(files: dict[str, Path]) -> None:
    network = tiny(files["model"]).network
    assert isinstance(network, CellClipNetwork)
    assert keys_and_shapes(network) == TINY_KEYS


def test_the_default_sizes_are_the_published_models() -> None:
    wanted = json.loads(shared("goldens", "cellclip_keys.json").read_text())
    network = skeleton(partial(CellClipNetwork, CellClipShape()))
    assert keys_and_shapes(network) == wanted
    card = find().model("cellclip")
    sizes = {key: value for key, value in card.network.items() if key in CellClipShape.model_fields}
    assert CellClipShape.model_validate(sizes) == CellClipShape()
    assert sum(value.numel() for value in network.parameters()) == card.parameters["file"]


@pytest.mark.parametrize("name", ["cellclip", "cellclip-small"])
def test_a_card_counts_the_parameters_that_there_are(name: str) -> None:
    card = find().model(name)
    sizes = {key: value for key, value in card.network.items() if key in CellClipShape.model_fields}
    network = skeleton(partial(CellClipNetwork, CellClipShape.model_validate(sizes)))
    seen = find().model(str(card.network["dinov2"])).parameters["encoder"]
    of_images = [*network.visual.parameters(), *network.image_pool.parameters()]
    assert card.parameters["encoder"] == seen + sum(value.numel() for value in of_images)
    assert card.parameters["file"] == sum(value.numel() for value in network.parameters())
    assert card.dim == card.network["output"]


# Files


def test_a_prefix_and_further_keys_make_no_difference(files: dict[str, Path]) -> None:
    more = {"bias": torch.zeros(1), "visual.extra": torch.zeros(3)}
    save_file({f"module.{key}": value for key, value in {**golden_state(), **more}.items()}, "other.safetensors")
    np.testing.assert_array_equal(
        tiny("other.safetensors").embed_features(instances()), tiny(files["model"]).embed_features(instances())
    )


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"visual.ln_post.bias": None, "text_proj.bias": None}, "lacks 2 parameters.*visual.ln_post.bias, text_proj"),
        ({"visual.proj": None}, "lacks 1 parameters of the model: visual.proj"),
        ({"visual.proj": torch.zeros(64)}, "another model's"),
        ({"visual.ln_post.bias": torch.zeros(65)}, r"visual.ln_post.bias \(65,\) instead of \(64,\)"),
        ({"text.embeddings.word_embeddings.weight": torch.zeros(1000, 100)}, "do not make a CellCLIP"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(
    files: dict[str, Path], changed: dict[str, torch.Tensor | None], said: str
) -> None:
    state = {key: value for key, value in {**golden_state(), **changed}.items() if value is not None}
    save_file(state, "other.safetensors")
    with pytest.raises(InputError, match=said) as caught:
        tiny("other.safetensors").embed_features(instances())
    assert "other.safetensors" in str(caught.value)


def test_the_heads_of_the_card_must_divide_the_width(files: dict[str, Path]) -> None:
    write_tiny(vision_heads=7)
    with pytest.raises(InputError, match=r"tiny, network: .*7 heads must divide the width 64"):
        tiny(files["model"])
    write_tiny(vision_width=1536, vision_heads=24)
    with pytest.raises(InputError, match="do not make a CellCLIP"):
        tiny(files["model"])


def test_the_hash_is_the_files_or_that_of_all_parts(files: dict[str, Path]) -> None:
    alone, both = tiny(files["model"]), tiny(files)
    assert (alone.weights_kind, alone.weights_sha256) == ("trained", sha256_of(files["model"]))
    assert len({alone.weights_sha256, both.weights_sha256, tiny(dict(reversed(files.items()))).weights_sha256}) == 2


def test_a_demonstration_says_so_in_its_metadata(files: dict[str, Path]) -> None:
    write_tensors(Path("other.safetensors"), golden_state(), {"kind": "demo"})
    assert tiny("other.safetensors").weights_kind == "demo"


def test_parts_that_are_unknown_or_absent_are_named(files: dict[str, Path]) -> None:
    with pytest.raises(InputError, match="unknown part of tiny 'dino'; did you mean dinov2"):
        tiny({**files, "dino": files["model"]})
    with pytest.raises(InputError, match="lack the part 'model'"):
        tiny({"dinov2": files["dinov2"]})
    with pytest.raises(InputError, match=r"nowhere is no file.*'dinov2'"):
        tiny({**files, "dinov2": "nowhere"})


def test_dinov2_and_the_tokenizer_are_read_when_they_are_needed(files: dict[str, Path]) -> None:
    for name in ("d", "t"):
        Path(name).write_text("no weights")
    model = tiny({"model": files["model"], "dinov2": "d", "tokenizer": "t"})
    np.testing.assert_allclose(model.embed_features(instances()), golden("image_raw"), atol=1e-5)
    with pytest.raises(InputError, match="d is neither safetensors"):
        model.embed_images(noise(1, 5, 224, 224), JUMP)
    with pytest.raises(InputError, match=r"t lacks \[PAD\]"):
        model.embed_texts(["a"])
    bare = tiny(files["model"])
    with pytest.raises(InputError, match="images need tiny-dinov2; give its file as the part 'dinov2'"):
        bare.embed_images(noise(1, 5, 224, 224), JUMP)
    with pytest.raises(InputError, match="texts need its tokenizer; give its file as the part 'tokenizer'"):
        bare.embed_texts(["a"])


def test_a_dinov2_of_another_width_is_refused(files: dict[str, Path]) -> None:
    write_tiny(dinov2="dinov2-small")
    with pytest.raises(InputError, match="dinov2-small has 384 features and the model takes 64"):
        tiny(files).embed_images(noise(1, 5, 224, 224), JUMP)


# From sites to wells


@pytest.mark.parametrize("pooling", ["mil", "mean"])
def test_padding_changes_nothing(files: dict[str, Path], pooling: str) -> None:
    write_tiny(pooling=pooling)
    model = tiny(files["model"])
    padded = np.concatenate([instances(), np.zeros((4, 3, 5, 64), np.float32)], axis=1)[:, ::-1]
    found, wanted = model.embed_features(padded), model.embed_features(instances())
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_the_mean_in_place_of_attention(files: dict[str, Path]) -> None:
    write_tiny(pooling="mean")
    found = tiny(files["model"]).embed_features(instances())
    # Wells without padding are the reference's; with one site only, attention and mean are the same.
    np.testing.assert_allclose(found[[0, 3]], golden("image_raw_mean_instances")[[0, 3]], atol=1e-5)
    np.testing.assert_allclose(found[2], golden("image_raw")[2], atol=1e-5)
    assert np.abs(found[0] - golden("image_raw")[0]).max() > 0.01


def test_sites_come_to_their_wells_in_whatever_order(files: dict[str, Path]) -> None:
    wells = np.repeat([7, 20, 31, 40], [6, 4, 1, 6])
    sites = np.concatenate([instances()[0], instances()[1, :4], instances()[2, :1], instances()[3]])
    shuffled = np.random.default_rng(0).permutation(len(wells))
    found = tiny(files["model"]).pool(sites[shuffled], wells[shuffled])
    np.testing.assert_allclose(found, golden("image_raw"), atol=1e-5)


def test_a_well_without_a_site_is_named(files: dict[str, Path]) -> None:
    features = instances().copy()
    features[2, :, 3] = 0
    with pytest.raises(InputError, match="well 2 has no site in channel 3"):
        tiny(files["model"]).embed_features(features)


@pytest.mark.parametrize("shape", [(4, 5, 64), (4, 6, 6, 64), (4, 6, 5, 65)])
def test_features_of_another_shape_are_refused(files: dict[str, Path], shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"give \(n, sites, 5, 64\)"):
        tiny(files["model"]).embed_features(np.ones(shape, np.float32))


# Texts


def test_token_ids_out_of_range_and_masks_of_another_shape(files: dict[str, Path]) -> None:
    model, ones = tiny(files["model"]), np.ones((2, 9), np.int64)
    with pytest.raises(InputError, match="token ids from 1 to 1000 for a model of 1000 tokens"):
        model.embed_token_ids(np.where(np.arange(9) == 3, 1000, ones), ones)
    with pytest.raises(InputError, match="with a mask of"):
        model.embed_token_ids(ones, ones[:1])
    with pytest.raises(InputError, match="at most 64"):
        model.embed_token_ids(np.ones((1, 65), np.int64), np.ones((1, 65), np.int64))


def test_texts_are_embedded_as_their_tokens_are(files: dict[str, Path]) -> None:
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "treat", "##ed", "with", "cells"]
    Path("vocab.txt").write_text("\n".join(tokens) + "\n")
    model = tiny({"model": files["model"], "tokenizer": "vocab.txt"})
    texts = ["cells treated with", "with", "cells treated with", "treated"]
    found = model.embed_texts(texts)
    wanted = [[2, 7, 4, 5, 6, 3], [2, 6, 3], [2, 7, 4, 5, 6, 3], [2, 4, 5, 3]]
    for row, ids in zip(found, wanted, strict=True):
        given = np.array([ids])
        np.testing.assert_allclose(row, model.embed_token_ids(given, np.ones_like(given))[0], atol=1e-5)
    np.testing.assert_array_equal(found[0], found[2])
    with pytest.raises(InputError, match=r"text 'with with .*' has 65 tokens and the model takes 64"):
        model.embed_texts(["cells", "with " * 63])


def test_descriptions_become_captions(files: dict[str, Path]) -> None:
    given = Description("c1", cell_type="U2OS", kind="compound", name="aspirin", info="CC(=O)Oc1ccccc1C(=O)O")
    wanted = "U2OS cells treated with compound: aspirin, SMILES: CC(=O)Oc1ccccc1C(=O)O"
    assert tiny(files["model"]).prompt(given) == wanted


# Random weights


def test_random_weights_embed_images_and_texts_by_their_seed(files: dict[str, Path]) -> None:
    images, texts = noise(2, 6, 230, 230), ["HUVEC cells treated with crispr ,targeting genes: TP53", "control"]
    one, two, other = (load_model("tiny", random_init=seed) for seed in (3, 3, 4))
    assert isinstance(one, CellClip)
    assert isinstance(two, CellClip)
    assert one.weights_kind == "random"
    assert one.weights_sha256 == two.weights_sha256 != other.weights_sha256
    found = one.embed_images(images, RECURSION)
    assert found.shape == (2, 512)
    np.testing.assert_array_equal(found, two.embed_images(images, RECURSION))
    assert np.abs(found[0] - found[1]).max() > 0
    said = one.embed_texts(texts)
    np.testing.assert_array_equal(said, two.embed_texts(texts))
    assert np.abs(said[0] - said[1]).max() > 1e-5


def test_without_weights_or_a_seed_there_is_no_model() -> None:
    with pytest.raises(InputError, match="random_init=SEED"):
        load_model("cellclip-small")
