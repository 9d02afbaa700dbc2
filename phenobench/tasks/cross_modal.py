"""Cross-modal retrieval: does a perturbation's image profile find its text (or other modality), and back?"""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict

from phenobench.errors import InputError
from phenobench.metrics.intervals import bootstrap_mean
from phenobench.metrics.retrieval import CrossModalRecall, Direction, cross_modal_recall
from phenobench.profiles import Profiles
from phenobench.tasks.alignment import cross_fit
from phenobench.tasks.outcome import FEW_PERTURBATIONS, Inputs, Outcome, Score, consensus

# One retrieval among the candidates of one fold (a single one without alignment): images, texts, their labels.
_Fold = tuple[np.ndarray, np.ndarray, list[str], list[str]]


class Protocol(BaseModel):
    """What a variant of the card may say."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    summary: str
    queries: Literal["perturbations", "wells"]
    ks: tuple[int, ...]


def score(profiles: Profiles, protocol: Protocol, inputs: Inputs) -> Outcome:
    """Recall@k between image profiles and texts matched by perturbation, in both directions.

    Candidates are unique: one text a perturbation, the mean of its rows where there are several.
    Only perturbations that both sides have take part; the others are counted in the warnings.

    Raises:
        InputError: no texts, no perturbation in common, or no common space and no ``align``.
    """
    if inputs.texts is None:
        raise InputError("cross-modal needs the other modality; name its file with --texts FILE")
    if inputs.align is None and any(step.get("components") for step in profiles.steps):
        raise InputError(
            "the images were rotated by their normalization and the texts were not, so they share no space any more; "
            "use --normalization none (or center), or fit a common space with --align"
        )
    images = profiles.select(profiles.treated & profiles.role("perturbation").notna().to_numpy())
    texts = inputs.texts.select(inputs.texts.treated & inputs.texts.role("perturbation").notna().to_numpy())
    labels = sorted(set(images.role("perturbation")) & set(texts.role("perturbation")))
    if not labels:
        raise InputError(
            "images and texts have no perturbation in common; name the column both share, --column perturbation=NAME"
        )
    warnings = _coverage(images, texts, len(labels))
    images = images.select(images.role("perturbation").isin(labels).to_numpy())
    texts = texts.select(texts.role("perturbation").isin(labels).to_numpy())
    text_rows, _ = consensus(texts.features, texts.role("perturbation"))
    wells, well_labels = images.features.astype(np.float64), images.role("perturbation").tolist()
    if protocol.queries == "perturbations":
        wells, well_labels = consensus(images.features, images.role("perturbation"))
    folds: list[_Fold] = [(wells, text_rows, well_labels, labels)]
    if inputs.align is not None:
        folds = cross_fit(wells, text_rows, well_labels, labels, inputs.align, inputs.seed)
        warnings.append(
            f"the common space was fitted ({inputs.align}) on half of the perturbations and scored on the other, "
            f"in turn, so each query has about {len(labels) // 2} candidates"
        )
    results = [(fold, cross_modal_recall(*fold, ks=protocol.ks)) for fold in folds]
    items = pd.concat(
        [_items(name, side, fold, protocol.ks) for fold, result in results for name, side in _directions(result, fold)],
        ignore_index=True,
    )
    # The largest k first: the primary score is the one with the least noise.
    scores = [
        _score(items[items["direction"] == name], name, k, inputs.seed)
        for k in sorted(protocol.ks, reverse=True)
        for name in ("image-to-text", "text-to-image")
    ]
    return Outcome(
        tuple(scores), items, f"unique texts, image {protocol.queries}", len(labels), warnings=tuple(warnings)
    )


def _directions(result: CrossModalRecall, fold: _Fold) -> list[tuple[str, tuple[Direction, list[str]]]]:
    _, _, image_labels, text_labels = fold
    return [
        ("image-to-text", (result.image_to_text, image_labels)),
        ("text-to-image", (result.text_to_image, text_labels)),
    ]


def _items(name: str, side: tuple[Direction, list[str]], fold: _Fold, ks: tuple[int, ...]) -> pd.DataFrame:
    direction, labels = side
    columns: dict[str, object] = {
        "direction": name,
        "perturbation": [labels[row] for row in direction.queries],
        "n_candidates": direction.n_candidates,
    }
    for i, k in enumerate(ks):
        columns[f"hit@{k}"] = direction.hits[:, i]
        columns[f"chance@{k}"] = direction.expected[:, i]
    return pd.DataFrame(columns)


def _score(items: pd.DataFrame, direction: str, k: int, seed: int) -> Score:
    """Mean over queries; the interval resamples perturbations, whose wells rise and fall together."""
    hits, chance = items[f"hit@{k}"], items[f"chance@{k}"]
    # Written as a difference from chance, so that an all-tied embedding is at chance to the last bit.
    value = float(chance.mean() + (hits - chance).mean())
    by = hits.groupby(items["perturbation"]).mean()
    low, high = bootstrap_mean(by.to_numpy(), seed)
    return Score(
        metric=f"recall@{k}",
        subset=direction,
        value=value,
        chance=float(chance.mean()),
        ceiling=1.0,
        ci_low=max(0.0, min(low, value)),
        ci_high=min(1.0, max(high, value)),
        n=len(hits),
        unit="queries",
        too_few=len(by) < FEW_PERTURBATIONS,
    )


def _coverage(images: Profiles, texts: Profiles, shared: int) -> list[str]:
    only_images = images.role("perturbation").nunique() - shared
    only_texts = texts.role("perturbation").nunique() - shared
    warnings = []
    if only_images:
        warnings.append(f"{only_images} perturbations have images and no text, and are left out")
    if only_texts:
        warnings.append(f"{only_texts} perturbations have a text and no image, and are left out")
    return warnings
