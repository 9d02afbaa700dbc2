"""A throw-away repository with a model: planted families of genes, embedded with noise of one's choice."""

from __future__ import annotations

from collections.abc import Collection
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from typer.testing import CliRunner, Result

from phenobench.cli import app

GENES = [f"G{i:02d}" for i in range(80)]
_FAMILY, _PLATES, _CONTROLS, _DIM, _COLUMNS = 4, 4, 24, 16, 24


def profiles(
    rerun: int = 0, noise: float = 0.0, destroyed: Collection[str] = (), genes: int = 32, effect: float = 1.2
) -> pd.DataFrame:
    """Wells of one screen: each gene is its family's direction and its own, wells and plates add noise.

    ``rerun`` draws the noise of wells anew, ``noise`` adds more of it to what is otherwise the same, and
    wells of ``destroyed`` genes have nothing in common.
    """
    truth, wells = np.random.default_rng(1), np.random.default_rng([2, rerun])
    family, own = truth.standard_normal((genes // _FAMILY, _DIM)), truth.standard_normal((genes, _DIM))
    offsets = 2 * truth.standard_normal((_PLATES, _DIM))
    names = [*GENES[:genes], *["control"] * _CONTROLS]
    rows, means = [], []
    for plate in range(_PLATES):
        for place, name in enumerate(names):
            treated = place < genes
            mean = effect * (0.8 * family[place // _FAMILY] + 0.6 * own[place]) if treated else np.zeros(_DIM)
            means.append((0.0 if name in destroyed else 1.0) * mean + offsets[plate])
            rows.append(
                {
                    "Metadata_Plate": f"P{plate}",
                    "Metadata_Well": f"{chr(65 + place // _COLUMNS)}{place % _COLUMNS + 1:02d}",
                    "Metadata_Batch": f"B{plate // 2}",
                    "Metadata_Perturbation": name,
                    "Metadata_Symbol": name if treated else None,
                    "Metadata_pert_type": "trt" if treated else "negcon",
                }
            )
    features = np.array(means) + wells.standard_normal((len(rows), _DIM))
    features += noise * np.random.default_rng([3, rerun]).standard_normal(features.shape)
    return pd.concat([pd.DataFrame(rows), pd.DataFrame(features, columns=[f"f{i}" for i in range(_DIM)])], axis=1)


def annotate(folder: Path = Path("annotations")) -> Path:
    """A folder with the planted pairs as the source ``Families``."""
    folder.mkdir(exist_ok=True)
    families = [GENES[i : i + _FAMILY] for i in range(0, len(GENES), _FAMILY)]
    lines = [f"{a},{b}" for family in families for a, b in combinations(family, 2)]
    (folder / "Families.txt").write_text("entity1,entity2\n" + "\n".join(lines) + "\n")
    return folder


def phenobench(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def score(
    table: pd.DataFrame,
    results: str,
    *more: object,
    model: str = "mine",
    tasks: Collection[str] = ("replicate-retrieval",),
) -> None:
    """Score an embedding into a folder of results, as a model's CI does."""
    table.to_parquet("screen.parquet")
    if not Path("annotations").is_dir():
        annotate()
    chosen = [part for task in tasks for part in ("--task", task)]
    done = phenobench(
        "run",
        "--profiles",
        "screen.parquet",
        "--annotations",
        "annotations",
        "--model",
        model,
        "--normalization",
        "center",
        "--results",
        results,
        *chosen,
        *more,
    )
    assert done.exit_code == 0, done.output


def result_file(results: str, task: str = "replicate-retrieval", model: str = "mine") -> Path:
    return Path(results, "screen", model, "center", f"{task}.json")
