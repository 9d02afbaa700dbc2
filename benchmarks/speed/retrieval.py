"""Rows about ranking: average precision, its p-values, and recall@k."""

from __future__ import annotations

import tempfile
from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
from copairs import map as copairs

from benchmarks.speed.row import Row, Work, gemm, gpu_gemm, sized
from phenobench.metrics import average_precision, cross_modal_recall
from phenobench.metrics.group_null import group_p_values
from phenobench.metrics.significance import average_precision_p_values

FEATURES, NULL_SIZE = 384, 10_000
KS = (1, 5, 10)
# Rows of the product that is timed in place of all of RxRx3-core's.
_SAMPLED_ROWS = 4_096

AGAINST_ALL = {"pos_sameby": ["perturbation"], "pos_diffby": [], "neg_sameby": [], "neg_diffby": ["perturbation"]}
WITHIN_PLATE = {**AGAINST_ALL, "pos_diffby": ["plate"], "neg_sameby": ["plate"]}
WITHIN_EXPERIMENT = {**AGAINST_ALL, "neg_sameby": ["plate"]}


def screen(plates: int, perturbations: int) -> tuple[np.ndarray, pd.DataFrame]:
    """Weak effects and noise, float32: each perturbation has one well on each plate."""
    rng = np.random.default_rng(0)
    codes = np.tile(np.arange(perturbations), plates)
    features = rng.standard_normal((len(codes), FEATURES), dtype=np.float32)
    features += 0.3 * rng.standard_normal((perturbations, FEATURES), dtype=np.float32)[codes]
    wells = pd.DataFrame({"plate": np.repeat(np.arange(plates), perturbations), "perturbation": codes})
    return features, wells.astype(str)


def jump_like(scale: float) -> tuple[np.ndarray, pd.DataFrame]:
    """24 plates of 384 wells, which are 9,216."""
    return screen(sized(24, scale, 3), sized(384, scale, 8))


def rxrx3_like(scale: float) -> tuple[np.ndarray, pd.DataFrame]:
    """222,601 wells of 14,128 perturbations, spread at random over 180 experiments."""
    rng = np.random.default_rng(0)
    n, perturbations = sized(222_601, scale, 60), sized(14_128, scale, 8)
    features = rng.standard_normal((n, FEATURES), dtype=np.float32)
    wells = {"plate": np.arange(n) * sized(180, scale, 3) // n, "perturbation": rng.integers(0, perturbations, n)}
    return features, pd.DataFrame(wells).astype(str)


def _ours(features: np.ndarray, wells: pd.DataFrame, rules: dict[str, list[str]], device: str = "cpu") -> np.ndarray:
    table = average_precision(
        features,
        wells,
        pos_sameby=rules["pos_sameby"],
        pos_diffby=rules["pos_diffby"],
        neg_sameby=rules["neg_sameby"],
        neg_diffby=rules["neg_diffby"],
        device=device,
    )
    return table["average_precision"].to_numpy()


def _theirs(features: np.ndarray, wells: pd.DataFrame, rules: dict[str, list[str]]) -> np.ndarray:
    found = copairs.average_precision(wells, features, **rules, progress_bar=False)
    return found["average_precision"].to_numpy()


def _gemm_of_groups(features: np.ndarray, codes: np.ndarray) -> Callable[[], object]:
    products = [gemm(features[codes == code], features[codes == code]) for code in np.unique(codes)]
    return lambda: [product() for product in products]


def ap_all(scale: float) -> Work:
    features, wells = jump_like(scale)
    return Work(
        lambda: _ours(features, wells, AGAINST_ALL),
        lambda: _theirs(features, wells, AGAINST_ALL),
        gemm(features, features),
    )


def ap_plate(scale: float) -> Work:
    features, wells = jump_like(scale)
    return Work(
        lambda: _ours(features, wells, WITHIN_PLATE),
        lambda: _theirs(features, wells, WITHIN_PLATE),
        _gemm_of_groups(features, wells["plate"].to_numpy()),
    )


def ap_core_experiment(scale: float) -> Work:
    features, wells = rxrx3_like(scale)
    limit = _gemm_of_groups(features, wells["plate"].to_numpy())
    return Work(lambda: _ours(features, wells, WITHIN_EXPERIMENT), limit=limit)


def ap_core_all(scale: float) -> Work:
    features, wells = rxrx3_like(scale)
    sample = features[:_SAMPLED_ROWS]
    limit, share = gemm(sample, features), len(sample) / len(features)
    return Work(lambda: _ours(features, wells, AGAINST_ALL), limit=limit, limit_share=share)


def ap_core_all_cuda(scale: float) -> Work:
    features, wells = rxrx3_like(scale)
    return Work(lambda: _ours(features, wells, AGAINST_ALL, "cuda"), limit=gpu_gemm(features, features))


def _their_p_values(table: pd.DataFrame) -> object:
    # A folder of its own each time: null distributions are kept from run to run otherwise.
    with tempfile.TemporaryDirectory() as folder:
        return copairs.mean_average_precision(
            table, ["perturbation"], NULL_SIZE, threshold=0.05, seed=0, progress_bar=False, cache_dir=folder
        )


def _scored(scale: float) -> tuple[np.ndarray, pd.DataFrame]:
    features, wells = jump_like(scale)
    table = average_precision(
        features, wells, pos_sameby=["perturbation"], pos_diffby=[], neg_sameby=[], neg_diffby=["perturbation"]
    )
    return features, pd.concat([wells, table.rename(columns={"normalized": "normalized_average_precision"})], axis=1)


def p_queries(scale: float) -> Work:
    _, table = _scored(scale)
    columns = ("average_precision", "n_pos_pairs", "n_total_pairs")
    precision, positives, total = (table[name].to_numpy() for name in columns)
    return Work(
        lambda: average_precision_p_values(precision, positives, total, size=NULL_SIZE),
        lambda: _their_p_values(table),
    )


def p_groups(scale: float) -> Work:
    features, table = _scored(scale)
    plates, groups = (table[name].astype(int).to_numpy() for name in ("plate", "perturbation"))
    return Work(
        lambda: group_p_values(features, plates, groups, within_plate=False, draws=NULL_SIZE),
        lambda: _their_p_values(table),
    )


def argsorted_recall(images: np.ndarray, texts: np.ndarray) -> np.ndarray:
    """Recall@k of both directions, images to texts first, by a full argsort of each row as in open_clip."""
    logits = torch.from_numpy(images) @ torch.from_numpy(texts).T
    truth = torch.arange(len(texts)).view(-1, 1)
    recalls = []
    for direction in (logits, logits.T):
        places = torch.where(torch.argsort(direction, descending=True) == truth)[1]
        recalls += [float((places < k).double().mean()) for k in KS]
    return np.array(recalls)


def recall_at_k(scale: float) -> Work:
    rng = np.random.default_rng(0)
    n = sized(10_000, scale, 30)
    images, texts = (rng.standard_normal((n, 512), dtype=np.float32) for _ in range(2))
    texts += 0.2 * images
    images, texts = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (images, texts))
    labels = [str(row) for row in range(n)]

    def ours() -> np.ndarray:
        found = cross_modal_recall(images, texts, labels, labels, ks=KS)
        return np.array([side.recall[k] for side in (found.image_to_text, found.text_to_image) for k in KS])

    return Work(ours, lambda: argsorted_recall(images, texts), gemm(images, texts))


ROWS = (
    Row(
        "ap-all",
        "AP, other perturbations as negatives, n = 9,216, d = 384",
        ap_all,
        "copairs",
        faster=200,
        leaner=25,
        multiple=2,
    ),
    Row("ap-plate", "AP, negatives within the plate, n = 9,216", ap_plate, "copairs", faster=60, multiple=2),
    Row(
        "p-queries",
        "p-values of queries, null of 10,000 sampled by position, n = 9,216",
        p_queries,
        "copairs",
        faster=20,
    ),
    # More work than the peer's, and calibrated where that is not (``benchmarks.calibration``): no ratio is aimed at.
    Row("p-groups", "calibrated p-values of mAP, 10,000 random groups, n = 9,216", p_groups, "copairs"),
    Row(
        "ap-core-experiment",
        "AP, n = 222,601, negatives within the experiment",
        ap_core_experiment,
        multiple=2,
        most_gib=4,
    ),
    Row("ap-core-all", "AP, n = 222,601, against all", ap_core_all, multiple=2, most_gib=4),
    Row(
        "ap-core-all-cuda",
        "AP, n = 222,601, against all, on a GPU",
        ap_core_all_cuda,
        limit="GPU's GEMM",
        multiple=2,
        unavailable="" if torch.cuda.is_available() else "no GPU here",
    ),
    Row(
        "recall-at-k",
        "recall@k, 10,000 x 10,000 x 512",
        recall_at_k,
        "argsort as open_clip does",
        faster=30,
        multiple=2,
    ),
)
