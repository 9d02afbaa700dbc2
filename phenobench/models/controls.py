"""Controls as models: what they score shows whether a task, a layout or a normalization can be believed.

Each is a function (wells, pairs, seed) -> float32 (n, d): one row a row of ``wells`` (columns as in
``profiles.ROLES``), made from labels alone. ``pairs`` maps a source to its annotated gene pairs (m, 2).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from phenobench.errors import InputError
from phenobench.metrics.pairing import encode, label_lists
from phenobench.profiles import ROLES

_DIMENSIONS = 32
# Fewer than the negative controls of most plates, so that their variance can be equal in all directions.
_NOISE_DIMENSIONS = 8
# Up to this many perturbations get an axis of their own; beyond it, nearly orthogonal directions.
_MOST_AXES = 2048
# The share of a perturbation's own direction: enough to tell perturbations of one gene apart.
_OWN = 0.1


def random(wells: pd.DataFrame, pairs: Mapping[str, np.ndarray], seed: int) -> np.ndarray:
    """Independent noise: at chance on every task.

    The negative controls of each plate (of all wells, where plates are not known) have mean zero and
    equal variance in all directions. Fitted on a few noisy controls, centring would give a plate's
    wells a common offset and whitening a common stretch: batch effects, which a task with negatives
    on the query's plate rightly counts against an embedding, and which would put noise below chance.
    """
    features = np.random.default_rng(seed).standard_normal((len(wells), _NOISE_DIMENSIONS), dtype=np.float32)
    control = np.flatnonzero(wells[ROLES["pert_type"]] == "negcon")
    plate = wells[ROLES["plate"]].to_numpy()[control] if ROLES["plate"] in wells else np.zeros(len(control))
    for name in pd.unique(plate):
        rows = control[plate == name]
        centred = features[rows] - features[rows].mean(axis=0)
        left, strength, right = np.linalg.svd(centred, full_matrices=False)
        rank = int((strength > 1e-5 * strength[0]).sum())
        features[rows] = np.sqrt(len(rows)) * left[:, :rank] @ right[:rank]
    return features


def constant(wells: pd.DataFrame, pairs: Mapping[str, np.ndarray], seed: int) -> np.ndarray:
    """The same for every well: a collapsed embedding, never above chance."""
    return np.ones((len(wells), _DIMENSIONS), dtype=np.float32)


def plate_only(wells: pd.DataFrame, pairs: Mapping[str, np.ndarray], seed: int) -> np.ndarray:
    """The plate and nothing else: above chance only where a task rewards batch effects.

    Raises:
        InputError: there is no column for the plate.
    """
    if ROLES["plate"] not in wells:
        raise InputError(
            "plate-only is made of the plate, and there is no column for it; name it with --column plate=NAME, take "
            "each file for one with --plate-from-file, or leave this control out"
        )
    codes, names = pd.factorize(wells[ROLES["plate"]], sort=True)
    return np.random.default_rng(seed).standard_normal((len(names) + 1, _DIMENSIONS), dtype=np.float32)[codes]


def oracle(wells: pd.DataFrame, pairs: Mapping[str, np.ndarray], seed: int) -> np.ndarray:
    """The labels themselves: replicates are equal, and annotated genes more alike than others.

    Genes get the rows of a root of I + c A, A the adjacency of all annotated pairs, so that the
    cosine of annotated genes is c and of others 0; a compound gets the rows of the genes that it
    targets; each perturbation adds a small direction of its own. Negative controls are zero: no
    effect, and nothing that a normalization could fit.
    """
    treated = ~wells[ROLES["pert_type"]].isin(["negcon", "empty"]).to_numpy()
    # Rows of genes may have no name but the gene's.
    labels = wells.get(ROLES["perturbation"], pd.Series(None, index=wells.index, dtype=object))
    perturbation, names = pd.factorize(labels.where(treated), sort=True)
    # The last row is that of wells without a perturbation, whose code is -1.
    own = np.pad(_directions(len(names), seed) * np.float32(_OWN), ((0, 1), (0, 0)))
    return np.hstack([own[perturbation], _acts_on(wells, treated, pairs)])


def _acts_on(wells: pd.DataFrame, treated: np.ndarray, pairs: Mapping[str, np.ndarray]) -> np.ndarray:
    """The direction of the genes that each well acts on, (n, n_genes), length 1 but for relations between them.

    A well with a gene's symbol acts on that gene, any other on its targets; zero where there is none.
    """
    named = pd.Series(None, index=wells.index, dtype=object)
    for role in ("gene", "target"):
        if ROLES[role] in wells:
            named = named.where(named.notna(), wells[ROLES[role]])
    # One product a label and not a well, so that replicates are equal to the last bit.
    codes, found = pd.factorize(named.where(treated), sort=True)
    if not len(found):
        return np.zeros((len(wells), 0), dtype=np.float32)
    labels = encode(label_lists(pd.Series(found)))
    sets = np.asarray(labels.sets, dtype=np.float32)
    directions = (sets / np.sqrt(sets.sum(axis=1, keepdims=True))) @ _related(list(labels.names), pairs)
    return np.where((codes >= 0)[:, None], directions[codes], np.float32(0))


def _directions(n: int, seed: int) -> np.ndarray:
    if n <= _MOST_AXES:
        return np.eye(n, dtype=np.float32)
    directions = np.random.default_rng(seed).standard_normal((n, _MOST_AXES // 2), dtype=np.float32)
    return directions / np.linalg.norm(directions, axis=1, keepdims=True)


def _related(genes: list[str], pairs: Mapping[str, np.ndarray]) -> np.ndarray:
    index = {gene: row for row, gene in enumerate(genes)}
    adjacency = np.zeros((len(genes), len(genes)))
    for annotated in pairs.values():
        for one, two in annotated:
            if one in index and two in index:
                adjacency[index[one], index[two]] = adjacency[index[two], index[one]] = 1.0
    values, vectors = np.linalg.eigh(adjacency)
    # The largest c for which I + c A has no negative eigenvalue, with a margin.
    strength = 0.9 / max(1.0, -values[0]) if len(genes) else 0.0
    return (vectors * np.sqrt(1.0 + strength * values)).astype(np.float32)
