"""Cross-modal retrieval: does a perturbation's image profile find its text (or other modality), and back?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict

from phenobench.errors import InputError
from phenobench.metrics.intervals import mean_reciprocal_rank, median_interval, share_of_hits
from phenobench.metrics.retrieval import CrossModalRecall, Direction, cross_modal_recall, diagonal_recall
from phenobench.profiles import ROLES, Profiles
from phenobench.profiles.alike import alike, shown
from phenobench.tasks.alignment import cross_fit
from phenobench.tasks.outcome import FEW_PERTURBATIONS, Inputs, Outcome, Score, consensus

# How a sentence names the perturbations that a variant is about.
_AMONG = {
    "genes": "the genes",
    "compounds": "the compounds",
    "seen": "those that the weights saw in training",
    "unseen": "those that the weights did not see in training",
}

# Labels that a sentence names of each side.
_EXAMPLES = 2

# One retrieval among the candidates of one fold (a single one without alignment): images, texts, their labels.
_Fold = tuple[np.ndarray, np.ndarray, list[str], list[str]]


class Protocol(BaseModel):
    """What a variant of the card may say."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    summary: str
    queries: Literal["perturbations", "wells"]
    ks: tuple[int, ...]
    candidates: Literal["all", "genes", "compounds", "seen", "unseen"] = "all"
    truth: Literal["perturbation", "row"] = "perturbation"


def score(profiles: Profiles, protocol: Protocol, inputs: Inputs) -> Outcome:
    """Recall@k between image profiles and texts matched by perturbation, in both directions.

    Candidates are unique: one text a perturbation, the mean of its rows where there are several.
    Only perturbations that both sides have take part; the others are counted in the warnings. Sentences call the other
    modality by its name, ``inputs.texts_name``; the scores' subsets call it text, whatever it is.

    Raises:
        InputError: no texts, no perturbation in common, no common space and no ``align``, or nothing is known of what
            the weights saw and the variant asks for it.
    """
    words = _words(inputs.texts_name)
    if inputs.texts is None:
        raise InputError("cross-modal needs the other modality; name its file with --texts FILE")
    if inputs.align is None and any(step.get("components") for step in profiles.steps):
        raise InputError(
            f"the images were rotated by their normalization and the {words.many} were not, so they share no space any "
            "more; use --normalization none (or center), or fit a common space with --align"
        )
    n_images, n_texts = profiles.features.shape[1], inputs.texts.features.shape[1]
    if inputs.align is None and n_images != n_texts:
        raise InputError(
            f"images have {n_images} dimensions and {words.many} {n_texts}; they need a common space "
            "(fit one with --align)"
        )
    images, texts, labels, warnings = _matched(profiles, inputs.texts, protocol, inputs.seen, words)
    text_rows, _ = consensus(texts.features, texts.role("perturbation"))
    wells, well_labels = images.features.astype(np.float64), images.role("perturbation").tolist()
    if protocol.queries == "perturbations":
        wells, well_labels = consensus(images.features, images.role("perturbation"))
    folds: list[_Fold] = [(wells, text_rows, well_labels, labels)]
    if inputs.align is not None:
        folds = cross_fit(wells, text_rows, well_labels, labels, inputs.align, inputs.seed)
        fitted = "scored in halves" if inputs.align == "identity" else f"common space by {inputs.align}, cross-fitted"
        warnings.append(
            f"{fitted}: each half of the perturbations is ranked by itself (a model's space is fitted on the other), "
            f"so each query has about {len(labels) // 2} candidates"
        )
    if protocol.truth == "row":
        folds = list(map(_by_row, folds))
        warnings.append(_published_loss(well_labels, max(protocol.ks), words))
    results = [(fold, _retrieve(fold, protocol)) for fold in folds]
    items = pd.concat(
        [_items(name, side, fold, protocol.ks) for fold, result in results for name, side in _directions(result, fold)],
        ignore_index=True,
    )
    directions = [(name, items[items["direction"] == name]) for name in ("image-to-text", "text-to-image")]
    # The largest k first: the primary score is the one with the least noise.
    scores = [_recall(rows, name, k, protocol) for k in sorted(protocol.ks, reverse=True) for name, rows in directions]
    secondary = [
        *(_reciprocal(rows, name, inputs.seed) for name, rows in directions),
        *(_median_rank(rows, name) for name, rows in directions),
    ]
    return Outcome(
        tuple(scores),
        items,
        f"{f'one {words.one} a well' if protocol.truth == 'row' else f'unique {words.many}'}, image {protocol.queries}",
        len(labels),
        secondary=tuple(secondary),
        warnings=tuple(warnings),
    )


@dataclass(frozen=True)
class _Words:
    """What sentences call the other modality: as a whole, one row of it and all of its rows."""

    name: str
    one: str
    many: str


def _words(name: str) -> _Words:
    if name == "texts":
        return _Words(name, "text", "texts")
    return _Words(name, f"row in {name}", f"rows of {name}")


def _matched(
    profiles: Profiles, texts: Profiles, protocol: Protocol, seen: frozenset[str] | None, words: _Words
) -> tuple[Profiles, Profiles, list[str], list[str]]:
    """The rows of the perturbations that both sides have, those perturbations, and what was left out."""
    images = profiles.select(profiles.treated & profiles.role("perturbation").notna().to_numpy())
    texts = texts.select(texts.treated & texts.role("perturbation").notna().to_numpy())
    if protocol.candidates in ("seen", "unseen"):
        if seen is None:
            raise InputError(
                "nothing says which perturbations these weights were trained on, so none is known to be "
                f"{protocol.candidates}; use the variant by-perturbation"
            )
        images, texts = (
            side.select((side.role("perturbation").isin(seen) == (protocol.candidates == "seen")).to_numpy())
            for side in (images, texts)
        )
    elif protocol.candidates != "all":
        is_gene = images.metadata.get(ROLES["gene"], pd.Series(index=images.metadata.index, dtype=object)).notna()
        images = images.select((is_gene == (protocol.candidates == "genes")).to_numpy())
        # A text is of the kind of the wells that it describes.
        texts = texts.select(texts.role("perturbation").isin(images.role("perturbation")).to_numpy())
    of_images, of_texts = (set(side.role("perturbation")) for side in (images, texts))
    labels = sorted(of_images & of_texts)
    only_images, only_texts = sorted(of_images - of_texts), sorted(of_texts - of_images)
    if not labels:
        which = "" if protocol.candidates == "all" else f" among {_AMONG[protocol.candidates]}"
        raise InputError(
            f"images and {words.name} have no perturbation in common{which}; name the column both share, "
            f"--column perturbation=NAME{_what_each_has(only_images, only_texts, words)}"
        )
    warnings = _unmatched(only_images, only_texts, words)
    if protocol.candidates in ("seen", "unseen"):
        warnings.append(f"{len(labels)} perturbations, {_AMONG[protocol.candidates]}")
    images = images.select(images.role("perturbation").isin(labels).to_numpy())
    return images, texts.select(texts.role("perturbation").isin(labels).to_numpy()), labels, warnings


def _by_row(fold: _Fold) -> _Fold:
    """Each image with a text of its own, repeated where images share one."""
    images, texts, image_labels, text_labels = fold
    place = {label: row for row, label in enumerate(text_labels)}
    return images, texts[[place[label] for label in image_labels]], image_labels, image_labels


def _published_loss(labels: list[str], k: int, words: _Words) -> str:
    """What counting a repeated text as wrong takes from a perfect embedding."""
    repeats = pd.Series(labels).map(pd.Series(labels).value_counts())
    best = float((np.minimum(k, repeats) / repeats).mean())
    return (
        f"as published: {len(labels)} rows have {len(set(labels))} different {words.many}, and a row's {words.one} is "
        f"right only in that row: a perfect embedding reaches a recall@{k} of {best:.3f}; dot products are raw, so "
        "lengths move ranks"
    )


def _retrieve(fold: _Fold, protocol: Protocol) -> CrossModalRecall:
    if protocol.truth == "row":
        return diagonal_recall(fold[0], fold[1], ks=protocol.ks)
    return cross_modal_recall(*fold, ks=protocol.ks)


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
    columns["rank"], columns["chance_rank"] = direction.rank, direction.expected_rank
    columns["reciprocal_rank"], columns["chance_reciprocal_rank"] = direction.reciprocal, direction.expected_reciprocal
    return pd.DataFrame(columns)


def _recall(items: pd.DataFrame, direction: str, k: int, protocol: Protocol) -> Score:
    ceiling = 1.0
    if protocol.truth == "row":
        repeats = items["perturbation"].map(items["perturbation"].value_counts())
        ceiling = float((np.minimum(k, repeats) / repeats).mean())
    hits, chance = items[f"hit@{k}"], items[f"chance@{k}"]
    return _mean(f"recall@{k}", hits, chance, items["perturbation"], direction, share_of_hits, ceiling)


def _reciprocal(items: pd.DataFrame, direction: str, seed: int) -> Score:
    values, chance = items["reciprocal_rank"], items["chance_reciprocal_rank"]
    # Wells of a perturbation are all right where one is: as many perturbations compete as there are, or as in a fold.
    candidates = min(int(items["n_candidates"].median()), items["perturbation"].nunique())
    interval = partial(mean_reciprocal_rank, candidates=candidates, seed=seed)
    return _mean("MRR", values, chance, items["perturbation"], direction, interval)


def _mean(
    metric: str,
    values: pd.Series,
    chance: pd.Series,
    perturbations: pd.Series,
    direction: str,
    interval: Callable[[np.ndarray], tuple[float, float]],
    ceiling: float = 1.0,
) -> Score:
    """Mean over queries; the interval is of perturbations, whose wells rise and fall together."""
    # Written as a difference from chance, so that an all-tied embedding is at chance to the last bit.
    value = float(chance.mean() + (values - chance).mean())
    by = values.groupby(perturbations).mean()
    low, high = interval(by.to_numpy())
    return Score(
        metric=metric,
        subset=direction,
        value=value,
        chance=float(chance.mean()),
        ceiling=ceiling,
        ci_low=max(0.0, min(low, value)),
        ci_high=min(1.0, max(high, value)),
        n=len(values),
        unit="queries",
        too_few=len(by) < FEW_PERTURBATIONS,
    )


def _median_rank(items: pd.DataFrame, direction: str) -> Score:
    """Median over perturbations of the rank of their first correct candidate."""
    by = items.groupby("perturbation")[["rank", "chance_rank"]].median()
    value = float(by["rank"].median())
    low, high = median_interval(by["rank"].to_numpy(), unit=1.0)
    return Score(
        metric="median rank",
        subset=direction,
        value=value,
        chance=float(by["chance_rank"].median()),
        ceiling=1.0,
        ci_low=max(1.0, min(low, value)),
        ci_high=max(high, value),
        n=len(by),
        unit="perturbations",
        higher_is_better=False,
        too_few=len(by) < FEW_PERTURBATIONS,
    )


def _unmatched(only_images: list[str], only_texts: list[str], words: _Words) -> list[str]:
    """How many perturbations one side alone has, with examples, and a pair that was perhaps meant to match."""
    found = []
    if only_images:
        found.append(
            f"{len(only_images)} perturbations have images and no {words.one}, and are left out{_examples(only_images)}"
        )
    if only_texts:
        found.append(
            f"{len(only_texts)} perturbations have a {words.one} and no image, and are left out{_examples(only_texts)}"
        )
    return [*found, *_look_alike(only_images, only_texts, words)]


def _look_alike(only_images: list[str], only_texts: list[str], words: _Words) -> list[str]:
    pairs = alike(only_images, only_texts) if only_images and only_texts else []
    if not pairs:
        return []
    (image, text), more = pairs[0], len(pairs) - 1
    rest = f", as do {more} more pairs" if more else ""
    of_both = f"{shown(image)} of the images and {shown(text)} of the {words.many}"
    return [f"{of_both} look alike{rest}; they are not matched, so spell them as one if they are the same"]


def _what_each_has(only_images: list[str], only_texts: list[str], words: _Words) -> str:
    """The end of a sentence: what the labels are of sides that have none in common."""
    sides = [("images have", only_images), (f"{words.many} have", only_texts)]
    told = [f"{side}{_examples(labels).removeprefix(':')}" for side, labels in sides if labels]
    return "".join(f"; {each}" for each in [*told, *_look_alike(only_images, only_texts, words)])


def _examples(labels: list[str]) -> str:
    named = ", ".join(shown(label) for label in labels[:_EXAMPLES])
    return f": {'for example ' if len(labels) > _EXAMPLES else ''}{named}"
