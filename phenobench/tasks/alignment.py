"""A common space for two modalities that have none, fitted on other perturbations than it is scored on."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from phenobench.errors import InputError, unknown
from phenobench.tasks.outcome import consensus

# Both sides are reduced to this many principal components before canonical correlation.
_COMPONENTS = 20
_RIDGES = np.logspace(0, 6, 13)

_Map = Callable[[np.ndarray], np.ndarray]


def cross_fit(
    images: np.ndarray, texts: np.ndarray, image_labels: list[str], text_labels: list[str], method: str, seed: int
) -> list[tuple[np.ndarray, np.ndarray, list[str], list[str]]]:
    """Fit a common space on one half of the perturbations and map the other half into it, in turn.

    Args:
        images: (n, d) rows, several a perturbation or one.
        texts: (m, e) rows, one a perturbation.
        image_labels: n perturbations.
        text_labels: m distinct perturbations.
        method: "ridge" (regress texts on images, penalty by leave-one-out) or "cca" (canonical
            correlation of the first principal components); "identity" leaves both as they are
            (controls, whose sides share a space).
        seed: of the split.

    Returns:
        For each half: its images, its texts, their labels.

    Raises:
        InputError: an unknown method, or fewer than eight perturbations.
    """
    if method not in METHODS:
        raise unknown("alignment", method, METHODS)
    if len(text_labels) < 8:
        raise InputError(f"--align needs at least 8 perturbations on both sides and there are {len(text_labels)}")
    import pandas as pd

    order = np.random.default_rng(seed).permutation(len(text_labels))
    first = {text_labels[row] for row in order[: len(order) // 2]}
    in_first = np.array([label in first for label in text_labels])
    image_in_first = np.array([label in first for label in image_labels])
    folds = []
    for texts_held, images_held in ((in_first, image_in_first), (~in_first, ~image_in_first)):
        labels = pd.Series([label for label, held in zip(image_labels, images_held, strict=True) if not held])
        mean, names = consensus(images[~images_held], labels)
        index = {label: row for row, label in enumerate(text_labels)}
        to_space, text_to_space = METHODS[method](mean, texts[[index[name] for name in names]])
        folds.append(
            (
                to_space(images[images_held]),
                text_to_space(texts[texts_held]),
                [label for label, held in zip(image_labels, images_held, strict=True) if held],
                [label for label, held in zip(text_labels, texts_held, strict=True) if held],
            )
        )
    return folds


def _ridge(images: np.ndarray, texts: np.ndarray) -> tuple[_Map, _Map]:
    from sklearn.linear_model import RidgeCV
    from sklearn.preprocessing import StandardScaler

    scale_images, scale_texts = StandardScaler().fit(images), StandardScaler().fit(texts)
    model = RidgeCV(alphas=_RIDGES).fit(scale_images.transform(images), scale_texts.transform(texts))
    return lambda rows: model.predict(scale_images.transform(rows)), scale_texts.transform


def _cca(images: np.ndarray, texts: np.ndarray) -> tuple[_Map, _Map]:
    from sklearn.decomposition import PCA
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    # Canonical correlation needs more perturbations than axes: a quarter keeps it determined.
    kept = max(1, min(_COMPONENTS, len(images) // 4, images.shape[1], texts.shape[1]))
    left = make_pipeline(StandardScaler(), PCA(kept, whiten=True, svd_solver="full")).fit(images)
    right = make_pipeline(StandardScaler(), PCA(kept, whiten=True, svd_solver="full")).fit(texts)
    u, strength, vt = np.linalg.svd(left.transform(images).T @ right.transform(texts) / len(images))
    # Axes weigh as much as they correlate, so that chance axes do not drown the real ones.
    return lambda rows: left.transform(rows) @ u * strength, lambda rows: right.transform(rows) @ vt.T * strength


def _identity(images: np.ndarray, texts: np.ndarray) -> tuple[_Map, _Map]:
    return np.asarray, np.asarray


METHODS: Mapping[str, Callable[[np.ndarray, np.ndarray], tuple[_Map, _Map]]] = {
    "ridge": _ridge,
    "cca": _cca,
    "identity": _identity,
}
