"""Result files for tests of the page: two screens, three tasks, every kind of weights, with items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from phenobench.results import Result, result_path, write_result

GENES = [f"GENE{number}" for number in range(12)]
# Kind of weights, status, and how good the model is.
MODELS: Mapping[str, tuple[str, str, float]] = {
    "alpha": ("official", "weights published", 0.9),
    "beta": ("trained", "weights published", 0.7),
    "gamma": ("precomputed", "precomputed", 0.5),
    "delta": ("demo", "weights not published", 0.6),
    "epsilon": ("random", "weights published", 0.2),
    "oracle": ("precomputed", "control", 1.0),
}
HOST = "a-host-of-mine"


def write_board(
    results: Path,
    models: Mapping[str, tuple[str, str, float]] = MODELS,
    screens: Sequence[str] = ("screen-one", "screen-two"),
    normalizations: Sequence[str] = ("center", "none"),
    revision: str = "7",
) -> None:
    """Results below a folder; ``gamma`` was not run on the second screen's gene-gene."""
    for screen in screens:
        for number, (model, (kind, status, quality)) in enumerate(models.items()):
            for normalization in normalizations:
                for task, made in (
                    ("gene-gene", gene_gene),
                    ("replicate-retrieval", replicates),
                    ("batch-effect", batch),
                ):
                    if (model, screen, task) == ("gamma", "screen-two", "gene-gene"):
                        continue
                    values, items = made(quality, np.random.default_rng(number))
                    result = Result.model_validate(
                        {**shared(model, kind, status, screen, normalization, revision), **values, "task": about(task)}
                    )
                    path = result_path(results, screen, result.model.label, normalization, task, None)
                    write_result(path, result, items)


def gene_gene(quality: float, rng: np.random.Generator) -> tuple[dict[str, Any], pd.DataFrame]:
    pairs = [
        (a, b)
        for start in range(0, 12, 4)
        for i, a in enumerate(GENES[start : start + 4])
        for b in GENES[start + i + 1 : start + 4]
    ]
    items = pd.DataFrame(pairs, columns=["entity1", "entity2"])
    items.insert(0, "source", "CORUM")
    items["cosine"] = np.clip(rng.normal(quality - 0.3, 0.2, len(items)), -1, 1)
    items["hit"] = (rng.random(len(items)) < quality).astype(float)
    items.attrs["cosines"] = np.histogram(rng.normal(0, 0.25, 66), np.linspace(-1, 1, 41))[0].tolist()
    recall = float(items["hit"].mean())
    scores = [score("recall", "CORUM", recall, 0.1, len(items), "pairs")]
    secondary = [
        score(f"recall {tail} %", "CORUM", recall * tail / 10, tail / 50, len(items), "pairs") for tail in (1, 10)
    ]
    return {
        "scores": scores,
        "secondary": secondary,
        "map": {"rows": "genes", "n": 12},
        "skipped": {"SIGNOR": "no annotated pair has both genes in this screen"},
        "warnings": ["not corrected for chromosome arms"],
    }, items


def replicates(quality: float, rng: np.random.Generator) -> tuple[dict[str, Any], pd.DataFrame]:
    items = pd.DataFrame({"perturbation": np.repeat(GENES, 3)})
    items["average_precision"] = np.clip(rng.normal(quality - 0.1, 0.1, len(items)), 0, 1)
    value = float(items.groupby("perturbation")["average_precision"].mean().mean())
    scores = [score("mAP", "all", value, 0.07, 12, "perturbations")]
    return {
        "scores": scores,
        "secondary": [],
        "map": {"rows": "treated wells", "n": 36},
        "skipped": {},
        "warnings": [],
    }, items


def batch(quality: float, rng: np.random.Generator) -> tuple[dict[str, Any], pd.DataFrame]:
    items = pd.DataFrame({"perturbation": np.repeat(GENES, 3)})
    items["same_plate"] = np.clip(rng.normal(1 - quality, 0.1, len(items)), 0, 1)
    value = float(items.groupby("perturbation")["same_plate"].mean().mean())
    scores = [score("kNN share", "plate", value, 0.25, 12, "perturbations", higher=False)]
    return {
        "scores": scores,
        "secondary": [],
        "map": {"rows": "treated wells", "n": 36},
        "skipped": {},
        "warnings": [],
    }, items


def score(
    metric: str, subset: str, value: float, chance: float, n: int, unit: str, higher: bool = True
) -> dict[str, Any]:
    return {
        "metric": metric,
        "subset": subset,
        "value": value,
        "chance": chance,
        "ceiling": 1.0,
        "ci_low": max(0.0, value - 0.08),
        "ci_high": min(1.0, value + 0.05),
        "n": n,
        "unit": unit,
        "higher_is_better": higher,
        "too_few": True,
    }


def about(task: str) -> dict[str, Any]:
    protocols: dict[str, dict[str, Any]] = {
        "gene-gene": {"summary": "one row a gene", "tails": [0.05, 0.95]},
        "replicate-retrieval": {"summary": "positives on other plates", "negatives": "treated"},
        "batch-effect": {"summary": "the 15 nearest wells", "neighbours": 15},
    }
    return {"id": task, "version": "1", "variant": "default", "protocol": protocols[task]}


def shared(model: str, kind: str, status: str, screen: str, normalization: str, revision: str = "7") -> dict[str, Any]:
    steps = [{"step": "center", "fitted_on": "negative controls", "by": "plate", "n_groups": 4}]
    return {
        "schema_version": 1,
        "model": {
            "id": model,
            "revision": revision,
            "status": status,
            "weights": {"kind": kind, "sha256": f"{len(model):02d}" + 62 * "a"},
            "n_features": 32,
            "training": {"screen": screen, "perturbations": 90, "steps": 100, "samples": 6400, "seed": 3, "overlap": 12}
            if kind == "demo"
            else None,
        },
        "screen": {
            "id": screen,
            "revision": "1",
            "sha256": f"{len(screen):02d}" + 62 * "c",
            "n_wells": 48,
            "n_plates": 4,
            "n_perturbations": 12,
            "dropped": {"empty": 3},
        },
        "normalization": {"name": normalization, "steps": steps if normalization == "center" else []},
        "annotations": {"CORUM": {"licence": "CC BY-NC 4.0", "origin": "a table", "sha256": 64 * "b"}},
        "texts": None,
        "seed": 5,
        "environment": {"python": "3.11.7", "numpy": "2.4.6"},
        "phenobench": {"version": "0.1.0", "git": "0123456789ab"},
        "licence": {"model": "BSD 3-Clause", "screen": "CC0 1.0", "annotations CORUM": "CC BY-NC 4.0"},
        "provenance": "measured",
        "fingerprint": 64 * "f",
        "run": {"host": HOST, "command": "phenobench run --results /home/somebody/results", "seconds": 1.5},
    }
