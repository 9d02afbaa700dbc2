"""Cross-modal retrieval among perturbations that weights saw in training, and among those that they did not."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from phenobench.cards import find
from phenobench.errors import InputError
from phenobench.profiles import Profiles
from phenobench.tasks.cross_modal import Protocol, score
from phenobench.tasks.outcome import Inputs, Outcome

NAMES = [f"p{i:02d}" for i in range(20)]
SEEN = frozenset(NAMES[:14]) | {"elsewhere"}


def side(features: np.ndarray) -> Profiles:
    table = pd.DataFrame({"Metadata_Plate": "one", "Metadata_Perturbation": NAMES, "Metadata_pert_type": "trt"})
    return Profiles(table, features.astype(np.float32))


def scored(variant: str, seen: frozenset[str] | None) -> Outcome:
    """Texts that are their images for what was seen, and of the next perturbation's image for the others."""
    images = np.random.default_rng(0).standard_normal((20, 16))
    texts = np.concatenate([images[:14], np.roll(images[14:], 1, axis=0)])
    protocol = Protocol.model_validate(find().task("cross-modal").variants[variant])
    return score(side(images), protocol, Inputs(texts=side(texts), seen=seen))


def test_seen_and_unseen_perturbations_are_ranked_apart() -> None:
    for variant, n, value in (("seen", 14, 1.0), ("unseen", 6, 0.0)):
        found = scored(variant, SEEN)
        first = {score.subset: score for score in found.scores if score.metric == "recall@1"}
        assert {name: (one.n, one.value) for name, one in first.items()} == {
            "image-to-text": (n, value),
            "text-to-image": (n, value),
        }
        assert first["image-to-text"].chance == pytest.approx(1 / n)
        assert set(found.items["perturbation"]) == set(NAMES[:14] if variant == "seen" else NAMES[14:])
        assert any(f"{n} perturbations, those that the weights" in warning for warning in found.warnings)


def test_all_perturbations_are_ranked_together_whatever_was_seen() -> None:
    assert scored("by-perturbation", SEEN).scores == scored("by-perturbation", None).scores
    assert scored("by-perturbation", SEEN).map_n == 20


def test_weights_that_do_not_say_what_they_saw_are_refused() -> None:
    with pytest.raises(InputError, match="none is known to be unseen; use the variant by-perturbation"):
        scored("unseen", None)


def test_a_screen_without_any_perturbation_of_the_kind_is_refused() -> None:
    with pytest.raises(InputError, match="in common among those that the weights did not see in training"):
        scored("unseen", frozenset(NAMES))


def named(labels: list[str], features: np.ndarray) -> Profiles:
    return Profiles(pd.DataFrame({"Metadata_Perturbation": labels}), features.astype(np.float32))


def matched(images: list[str], others: list[str], name: str) -> Outcome:
    """Each label has an axis of its own on both sides."""
    axes = {label: axis for axis, label in enumerate(sorted({*images, *others}))}
    eye = np.eye(len(axes))
    protocol = Protocol.model_validate(find().task("cross-modal").variants["by-perturbation"])
    one, two = (named(labels, eye[[axes[label] for label in labels]]) for labels in (images, others))
    return score(one, protocol, Inputs(texts=two, texts_name=name))


def test_rows_of_another_modality_go_by_their_name() -> None:
    images, others = ["a", "b", *"pqr"], ["a", "b", "z"]
    texts, proteins = (matched(images, others, name) for name in ("texts", "nelisa_profiles"))
    assert texts.warnings == (
        "3 perturbations have images and no text, and are left out: for example 'p', 'q'",
        "1 perturbations have a text and no image, and are left out: 'z'",
    )
    assert proteins.warnings == (
        "3 perturbations have images and no row in nelisa_profiles, and are left out: for example 'p', 'q'",
        "1 perturbations have a row in nelisa_profiles and no image, and are left out: 'z'",
    )
    assert texts.map_rows == "unique texts, image perturbations"
    assert proteins.map_rows == "unique rows of nelisa_profiles, image perturbations"
    assert texts.scores == proteins.scores
    assert {one.subset for one in proteins.scores} == {"image-to-text", "text-to-image"}


def test_labels_that_look_alike_on_the_two_sides_are_named() -> None:
    # A non-breaking hyphen on the one side.
    found = matched(["a", "drug-1"], ["a", "drug\u20111"], "texts").warnings[-1]
    assert found.startswith("'drug-1' of the images and 'drug\u2011(U+2011)1' of the texts look alike")
    assert not any("look alike" in each for each in matched(["a", "b"], ["a", "c"], "texts").warnings)
    # What matches needs no other match.
    assert not any("look alike" in each for each in matched(["a", "b"], ["a", "b", "B"], "texts").warnings)


def test_sides_without_a_common_label_say_what_they_have() -> None:
    with pytest.raises(InputError, match=r"images and texts have no perturbation in common; name .* perturbation=NAME"):
        matched(["a", "b"], ["c"], "texts")
    with pytest.raises(
        InputError,
        match=r"images and assay have .*; images have 'a-1'; rows of assay have for example 'a.*1', 'x'; 'a-1' of the "
        "images and 'a.*1' of the rows of assay look alike",
    ):
        matched(["a-1"], ["a\u20111", "x", "y"], "assay")


def test_sides_of_other_dimensions_are_named() -> None:
    protocol = Protocol.model_validate(find().task("cross-modal").variants["by-perturbation"])
    with pytest.raises(InputError, match=r"images have 3 dimensions and rows of assay 2; .*--align"):
        score(named(["a"], np.ones((1, 3))), protocol, Inputs(texts=named(["a"], np.ones((1, 2))), texts_name="assay"))
