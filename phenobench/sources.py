"""Where the profiles of a cell come from: the screen's own embeddings, a control, or an image model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from phenobench import provenance
from phenobench.cards import ModelCard
from phenobench.errors import InputError
from phenobench.files import cache_dir
from phenobench.hub import fetch_command, weights_are_here
from phenobench.profiles import ROLES, Profiles
from phenobench.registry import resolve
from phenobench.request import Request
from phenobench.results import ModelInfo, TrainingInfo, Weights
from phenobench.screens import Screen
from phenobench.texts import Texts, embed_texts

if TYPE_CHECKING:
    from phenobench.models.adapter import ImageAdapter
    from phenobench.pipeline import Watch


@dataclass(frozen=True)
class Embedded:
    """A model's profiles of a screen's wells, before normalization.

    Attributes:
        profiles: rows as in the screen's wells, but for wells without an image.
        texts: the other modality in the model's space.
        info: what a result says of the model.
        control: made from labels.
        seen: names of the perturbations that the weights were trained on; None where they do not say.
    """

    profiles: Profiles
    texts: Profiles | None
    info: ModelInfo
    control: bool
    seen: frozenset[str] | None = None


def embedded(
    model: str,
    card: ModelCard | None,
    screen: Screen,
    texts: Texts | None,
    pairs: Mapping[str, np.ndarray],
    request: Request,
    watch: Watch,
) -> Embedded:
    """The profiles of a model on a screen.

    Args:
        model: the card's id, or the label of the screen's own embeddings.
        card: None where the label has none.
        screen: brings wells, and embeddings or images.
        texts: the other modality, if a task needs it.
        pairs: annotated gene pairs, for controls that use them.
        request: has the seed, the weights and the device.
        watch: told of wells embedded.

    Raises:
        InputError: the screen does not have what the model needs.
    """
    if card is None or card.input == "profiles":
        return _given(model, card, screen, texts)
    if card.input == "images":
        return _from_images(card, screen, texts, request, watch)
    return _control(card, screen, texts, pairs, request.seed)


def _info(
    model: str,
    card: ModelCard | None,
    weights: Weights,
    profiles: Profiles,
    precision: str | None = None,
    training: TrainingInfo | None = None,
    sixteen_bit: Mapping[str, str | float] | None = None,
) -> ModelInfo:
    return ModelInfo(
        id=model,
        revision=card.revision if card else "given by path",
        status=card.status if card else "precomputed",
        weights=weights,
        n_features=profiles.features.shape[1],
        precision=precision,
        training=training,
        sixteen_bit=sixteen_bit,
        feature_names_sha256=provenance.names_sha256(profiles.feature_names),
    )


def _given(model: str, card: ModelCard | None, screen: Screen, texts: Texts | None) -> Embedded:
    profiles = screen.embeddings
    if profiles is None:
        raise InputError(f"the screen {screen.id} brings no embeddings; give them with --profiles")
    digest = provenance.features_sha256(profiles.features, profiles.feature_names)
    info = _info(model, card, Weights(kind="precomputed", sha256=digest), profiles)
    return Embedded(profiles, texts.rows if texts else None, info, control=False)


def _control(
    card: ModelCard, screen: Screen, texts: Texts | None, pairs: Mapping[str, np.ndarray], seed: int
) -> Embedded:
    """A control makes both sides of a cross-modal task, from the labels of both."""
    both = screen.wells
    if texts is not None:
        labels = pd.DataFrame(
            {
                ROLES["plate"]: "texts",
                ROLES["perturbation"]: texts.rows.role("perturbation"),
                ROLES["pert_type"]: np.where(texts.rows.treated, "trt", "empty"),
            }
        )
        both = pd.concat([screen.wells, labels.reindex(columns=screen.wells.columns)], ignore_index=True)
    features = resolve(card.adapter or "", card.id)(both, pairs, seed)
    n = len(screen.wells)
    profiles = Profiles(screen.wells, features[:n])
    # A control is fixed by its definition; its features follow from the labels and the seed.
    digest = provenance.text_sha256(card.id, card.revision)
    info = _info(card.id, card, Weights(kind="precomputed", sha256=digest), profiles)
    rows = None if texts is None else Profiles(texts.rows.metadata, features[n:])
    return Embedded(profiles, rows, info, control=True)


def _from_images(card: ModelCard, screen: Screen, texts: Texts | None, request: Request, watch: Watch) -> Embedded:
    from phenobench.embedding import embed
    from phenobench.models.adapter import TextAdapter

    adapter = image_model(card, screen, request)
    key = embedding_key(screen, card, adapter)
    folder = cache_dir() / "embeddings" / f"{card.id}-{key[:24]}"
    profiles = embed(screen, adapter, folder, key, watch.embedding, sites_folder(screen, adapter), watch.pace)
    # The only step that an embedding has; it is the model's, not the normalization's.
    sixteen_bit = {name: value for step in profiles.steps for name, value in step.items() if name != "step"} or None
    weights = Weights(kind=adapter.weights_kind, sha256=adapter.weights_sha256, by_path=adapter.weights_by_path)
    training = _training(adapter, screen)
    info = _info(card.id, card, weights, profiles, adapter.precision, training, sixteen_bit)
    profiles = replace(profiles, steps=(), notes=(*profiles.notes, *weights_notes(card, adapter, screen)))
    rows = texts.rows if texts else None
    if texts and not texts.embedded and isinstance(adapter, TextAdapter):
        rows = embed_texts(adapter, texts, cache_dir())
    seen = adapter.training.perturbations if adapter.training else None
    return Embedded(profiles, rows, info, control=False, seen=seen)


def _training(adapter: ImageAdapter, screen: Screen) -> TrainingInfo | None:
    """How an adapter's weights were made, as a result says it."""
    told = adapter.training
    if told is None:
        return None
    return TrainingInfo(
        screen=told.screen,
        perturbations=len(told.perturbations),
        steps=told.steps,
        samples=told.samples,
        seed=told.seed,
        overlap=len(told.perturbations & treated(screen.wells)),
    )


def treated(wells: pd.DataFrame) -> frozenset[str]:
    """The perturbations of a screen's wells but for negative controls and empty ones."""
    if ROLES["perturbation"] not in wells:
        return frozenset()
    kept = ~wells[ROLES["pert_type"]].isin(["negcon", "empty"])
    return frozenset(wells.loc[kept, ROLES["perturbation"]].dropna().astype(str))


def weights_notes(card: ModelCard, adapter: ImageAdapter, screen: Screen) -> tuple[str, ...]:
    """What a user of weights that are not the published ones should know."""
    notes = []
    better = f"; fetch the published ones with `{fetch_command(card)}`" if card.weights else ""
    if adapter.weights_kind == "random":
        notes.append(f"{card.id}: random weights" + (better or "; it has learnt nothing"))
    training = _training(adapter, screen)
    if adapter.weights_kind == "demo":
        made = f", trained on the screen {training.screen}" if training else ""
        notes.append(f"{card.id}: demonstration weights{made}: they say nothing of the model's rank{better}")
    if training and training.overlap:
        notes.append(
            f"{card.id}: the weights saw {training.overlap} of the {len(treated(screen.wells))} perturbations of "
            f"{screen.id} in training"
        )
    return tuple(notes)


def image_model(card: ModelCard, screen: Screen, request: Request) -> ImageAdapter:
    """The model that a run asks for: with the weights that it names, else the best that are here.

    Best are the published ones, then the demonstration's, then random ones; nothing is fetched.
    """
    from phenobench.models import load_adapter

    if screen.images is None:
        raise InputError(f"{card.id} embeds images and the screen {screen.id} has none; name another with --screen")
    parts = request.weights.parts if card.trained else {}
    there = not request.weights.random and (weights_are_here(card) or bool(card.demo))
    return load_adapter(
        card,
        weights=parts or None,
        random_init=request.seed if card.trained and not parts and not there else None,
        device=request.device,
        channels=screen.channels,
    )


def sites_folder(screen: Screen, adapter: ImageAdapter) -> Path | None:
    """Where the features of sites are kept, for a model that wants it: named by what they follow from."""
    if not adapter.sites_sha256:
        return None
    key = provenance.text_sha256(
        provenance.wells_sha256(screen.wells),
        screen.images_sha256 or "",
        ",".join(screen.channels),
        adapter.sites_sha256,
        adapter.precision,
    )
    return cache_dir() / "sites" / f"{adapter.id}-{key[:24]}"


def embedding_key(screen: Screen, card: ModelCard, adapter: ImageAdapter) -> str:
    """What embeddings of images follow from, as a hash: equal keys, equal bytes."""
    return provenance.text_sha256(
        provenance.wells_sha256(screen.wells),
        screen.images_sha256 or "",
        ",".join(screen.channels),
        card.model_dump_json(),
        adapter.weights_sha256,
        adapter.precision,
        str(provenance.phenobench_version()["version"]),
    )
