"""Rows about normalization: typical variation normalization, and scaling by plate."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pandas as pd
import pycytominer

from benchmarks.speed.peers import efaar
from benchmarks.speed.row import Row, Work, sized
from phenobench.normalization import robust_standardize, standardize, tvn
from phenobench.profiles import Profiles

# One well in so many is a negative control.
_CONTROL_EVERY = 8


def profiles(n: int, features: int, plates: int) -> Profiles:
    """Correlated features with plate effects, an eighth of the wells negative controls."""
    rng = np.random.default_rng(0)
    plate = np.arange(n) * plates // n
    mixing = np.eye(features, dtype=np.float32) + rng.standard_normal((features, features), dtype=np.float32) / 40
    values = rng.standard_normal((n, features), dtype=np.float32) @ mixing
    values += rng.standard_normal((plates, features), dtype=np.float32)[plate]
    control = np.arange(n) % _CONTROL_EVERY == 0
    wells = {
        "Metadata_Plate": [f"plate {number:03d}" for number in plate],
        "Metadata_Perturbation": np.where(control, "control", "treatment"),
        "Metadata_pert_type": np.where(control, "negcon", "trt"),
    }
    return Profiles(pd.DataFrame(wells), values)


def tvn_by_batch(n: int, scale: float) -> Work:
    least = max(4, round(64 * scale))
    screen = profiles(sized(n, scale, 512), 384 if scale == 1 else 16, least)
    theirs = efaar("efaar").tvn_on_controls
    columns = {"pert_col": "Metadata_Perturbation", "control_key": "control", "batch_col": "Metadata_Plate"}
    return Work(
        lambda: tvn(screen, rank="full").features,
        lambda: theirs(screen.features, screen.metadata, **columns),
    )


def scaled(ours: Callable[..., Profiles], method: str, scale: float) -> Work:
    screen = profiles(sized(20_000, scale, 128), sized(1_500, scale, 8), sized(52, scale, 2))
    names = list(screen.feature_names)
    table = pd.concat([screen.metadata, pd.DataFrame(screen.features, columns=names)], axis=1)
    out = np.empty_like(screen.features)

    def theirs() -> np.ndarray:
        done = [
            pycytominer.normalize(
                plate,
                features=names,
                meta_features=list(screen.metadata.columns),
                samples="Metadata_pert_type == 'negcon'",
                method=method,
            )
            for _, plate in table.groupby("Metadata_Plate")
        ]
        return pd.concat(done, ignore_index=True)[names].to_numpy()

    return Work(lambda: ours(screen, by="plate").features, theirs, lambda: np.copyto(out, screen.features))


_EFAAR, _COPY = "efaar_benchmarking", "copy of the features"

ROWS = (
    Row("tvn-20k", "TVN, 20,000 x 384, 64 batches", partial(tvn_by_batch, 20_000), _EFAAR, faster=130),
    Row("tvn-100k", "TVN, 100,000 x 384, 64 batches", partial(tvn_by_batch, 100_000), _EFAAR, faster=60),
    Row(
        "standardize",
        "standardize by plate, 20,000 x 1,500",
        partial(scaled, standardize, "standardize"),
        "pycytominer",
        _COPY,
        faster=40,
    ),
    Row(
        "mad-robustize",
        "mad_robustize by plate, 20,000 x 1,500",
        partial(scaled, robust_standardize, "mad_robustize"),
        "pycytominer",
        _COPY,
        faster=20,
    ),
)
