"""Where the profiles of a cell come from: the screen's own embeddings, or a control."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from phenobench import provenance
from phenobench.cards import ModelCard
from phenobench.errors import InputError
from phenobench.profiles import ROLES, Profiles
from phenobench.registry import resolve
from phenobench.screens import Screen


@dataclass(frozen=True)
class Embedded:
    """A model's profiles of a screen's wells, before normalization.

    Attributes:
        profiles: rows as in the screen's wells.
        texts: the other modality in the model's space.
        info: what a result says of the model.
        folder: the model's folder in results.
        control: made from labels.
    """

    profiles: Profiles
    texts: Profiles | None
    info: Mapping[str, Any]
    folder: str
    control: bool


def embedded(
    model: str,
    card: ModelCard | None,
    screen: Screen,
    texts: Profiles | None,
    pairs: Mapping[str, np.ndarray],
    seed: int,
) -> Embedded:
    """The profiles of a model on a screen.

    Args:
        model: the card's id, or the label of the screen's own embeddings.
        card: None where the label has none.
        screen: brings wells, and may bring embeddings.
        texts: the other modality, if any.
        pairs: annotated gene pairs, for controls that use them.
        seed: of controls.

    Raises:
        InputError: the screen does not have what the model needs.
    """
    if card is None or card.input == "profiles":
        return _given(model, card, screen, texts)
    return _control(card, screen, texts, pairs, seed)


def _info(model: str, card: ModelCard | None, kind: str, sha256: str, profiles: Profiles) -> dict[str, Any]:
    return {
        "id": model,
        "revision": card.revision if card else "given by path",
        "status": card.status if card else "precomputed",
        "weights": {"kind": kind, "sha256": sha256},
        "n_features": profiles.features.shape[1],
    }


def _given(model: str, card: ModelCard | None, screen: Screen, texts: Profiles | None) -> Embedded:
    profiles = screen.embeddings
    if profiles is None:
        raise InputError(f"the screen {screen.id} brings no embeddings; give them with --profiles")
    digest = provenance.features_sha256(profiles.features, profiles.feature_names)
    return Embedded(profiles, texts, _info(model, card, "precomputed", digest, profiles), model, control=False)


def _control(
    card: ModelCard, screen: Screen, texts: Profiles | None, pairs: Mapping[str, np.ndarray], seed: int
) -> Embedded:
    """A control makes both sides of a cross-modal task, from the labels of both."""
    both = screen.wells
    if texts is not None:
        labels = pd.DataFrame(
            {
                ROLES["plate"]: "texts",
                ROLES["perturbation"]: texts.role("perturbation"),
                ROLES["pert_type"]: np.where(texts.treated, "trt", "empty"),
            }
        )
        both = pd.concat([screen.wells, labels.reindex(columns=screen.wells.columns)], ignore_index=True)
    features = resolve(card.adapter or "", card.id)(both, pairs, seed)
    n = len(screen.wells)
    profiles = Profiles(screen.wells, features[:n])
    # A control is fixed by its definition; its features follow from the labels and the seed.
    digest = provenance.text_sha256(card.id, card.revision)
    info = _info(card.id, card, "precomputed", digest, profiles)
    return Embedded(
        profiles, None if texts is None else Profiles(texts.metadata, features[n:]), info, card.id, control=True
    )
