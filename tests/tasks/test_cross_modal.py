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
