"""Rows about annotated gene pairs: recall in the tails of a map, and its intervals."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.utils import Bunch

from benchmarks.speed.peers import efaar
from benchmarks.speed.row import Row, Work, gemm, sized
from phenobench.annotations import get_annotations, load_annotations
from phenobench.metrics.intervals import proportion_of_pairs
from phenobench.metrics.relationships import cosine_map, recall_in_map
from phenobench.metrics.units import unit_rows

FEATURES, TAILS = 384, (0.05, 0.95)
RESAMPLES, _NAIVE_RESAMPLES = 1_000, 4


def gene_map(n: int) -> tuple[Path, np.ndarray, list[str]]:
    """The folder of the five sources' tables, and noise for so many of their genes."""
    folder = get_annotations()
    pairs = load_annotations(folder).pairs
    known = np.unique(np.concatenate([table.ravel() for table in pairs.values()]))
    rng = np.random.default_rng(0)
    # A whole genome has genes that no source names.
    everything = np.concatenate([known, [f"unnamed {number}" for number in range(n - len(known))]])
    names = np.sort(rng.choice(everything, n, replace=False)).tolist()
    return folder, rng.standard_normal((n, FEATURES), dtype=np.float32), names


def tail_recall(n: int, scale: float) -> Work:
    folder, features, names = gene_map(sized(n, scale, 200))
    theirs = efaar("benchmarking").known_relationship_benchmark
    bunch = Bunch(features=pd.DataFrame(features), metadata=pd.DataFrame({"gene": names}))

    def ours() -> np.ndarray:
        cosines = cosine_map(features, names)
        found = load_annotations(folder).pairs
        return np.array([recall_in_map(cosines, pairs, tails=TAILS, ties="strict").recall for pairs in found.values()])

    def peer() -> np.ndarray:
        found = theirs(bunch, "gene", recall_thr_pairs=[TAILS], benchmark_data_dir=str(folder))
        return found[f"recall_{TAILS[0]}_{TAILS[1]}"].to_numpy()

    return Work(ours, peer, gemm(features, features))


def naive_bootstrap(features: np.ndarray, pairs: list[np.ndarray], resamples: int) -> np.ndarray:
    """Recall of each source in maps of resampled genes, each computed anew: (resamples, sources)."""
    units = unit_rows(features)
    rng = np.random.default_rng(0)
    recalls = np.empty((resamples, len(pairs)))
    for row in recalls:
        drawn = rng.integers(0, len(units), len(units))
        cosines = units[drawn] @ units[drawn].T
        one, two = np.triu_indices(len(drawn), k=1)
        # Copies of one gene make no pair.
        null = np.sort(cosines[one, two][drawn[one] != drawn[two]])
        low, high = null[[int(tail * (len(null) - 1)) for tail in TAILS]]
        weight = np.bincount(drawn, minlength=len(units))
        for source, rows in enumerate(pairs):
            found = np.einsum("ij,ij->i", units[rows[:, 0]], units[rows[:, 1]])
            together = weight[rows[:, 0]] * weight[rows[:, 1]]
            row[source] = np.average((found <= low) | (found >= high), weights=together)
    return recalls


def bootstrap(scale: float) -> Work:
    folder, features, names = gene_map(sized(5_000, scale, 400))
    cosines = cosine_map(features, names)
    recalls = [recall_in_map(cosines, pairs, tails=TAILS) for pairs in load_annotations(folder).pairs.values()]
    rows = [recall.pairs for recall in recalls]
    return Work(
        lambda: [proportion_of_pairs(recall.hits, recall.pairs) for recall in recalls],
        lambda: np.quantile(naive_bootstrap(features, rows, _NAIVE_RESAMPLES), [0.025, 0.975], axis=0),
        peer_share=_NAIVE_RESAMPLES / RESAMPLES,
    )


_EFAAR = "efaar_benchmarking"

ROWS = (
    Row("recall-736", "tail recall, 5 sources, 736 genes, tables read", partial(tail_recall, 736), _EFAAR, faster=10),
    Row("recall-5k", "tail recall, 5 sources, 5,000 genes", partial(tail_recall, 5_000), _EFAAR, faster=10),
    Row(
        "recall-18k",
        "tail recall, 5 sources, 18,000 genes",
        partial(tail_recall, 18_000),
        _EFAAR,
        faster=15,
        leaner=7,
        multiple=1.6,
    ),
    Row(
        "bootstrap",
        "intervals over genes as from 1,000 resamples, gene-gene, 5 sources, 5,000 genes",
        bootstrap,
        "naive recomputation",
        faster=50,
    ),
)
