"""Are p-values what they say? Rejections at 0.05 where nothing is there, and power where something is.

``python -m benchmarks.calibration [--groups 12000] [--pairs 5000]``

Everything is simulated, from fixed seeds. Perturbations: groups of wells of pure noise, or with a planted
effect, under three nulls: whole random groups (phenobench), one null ranking for all wells of a
group (copairs 0.5.5) and independent ones. Comparisons: pairs of models that are two noisy versions of one
embedding, so equal by construction, or of which the second has more noise; paired, and as if
the two had been scored on different perturbations or genes.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer
from scipy import stats

from benchmarks import RESULTS
from benchmarks.markdown import table
from benchmarks.processes import in_processes
from phenobench.files import write_text
from phenobench.metrics import average_precision
from phenobench.metrics.group_null import group_p_values
from phenobench.metrics.intervals import proportion_of_pairs
from phenobench.metrics.paired import difference_of_pairs
from phenobench.metrics.significance import average_precision_null, p_value
from phenobench.metrics.units import unit_rows
from phenobench.tasks.comparison import compare

FILE = "calibration.json"
FEATURES = 64
# Names, counts (int) and shares that reject at 0.05 (float).
Row = tuple[str | int | float, ...]
_INTRODUCTION = """## Calibration of p-values

`python -m benchmarks.calibration`: the share of p-values below 0.05 where nothing is there, which should be 5 %, and
where something is. Groups of wells are tested against whole random groups (phenobench), one null ranking for all wells
of a group (copairs 0.5.5) and independent ones. Models are two noisy versions of one embedding, with equal noise or
not; the comparison is paired (`compare`), or as if they had been scored on different perturbations or genes.
"""


@dataclass(frozen=True)
class Layout:
    """Perturbations with so many wells on each of some plates, ranked against controls where a plate has any."""

    perturbations: int
    plates: int
    wells: int = 1
    controls: int = 0

    @property
    def name(self) -> str:
        against = f", {self.controls} controls a plate" if self.controls else ""
        return f"{self.perturbations} x {self.plates * self.wells} wells on {self.plates} plates{against}"

    def codes(self) -> tuple[np.ndarray, np.ndarray]:
        """Plate and perturbation of each row; controls are -1."""
        plate = [*np.repeat(np.arange(self.perturbations), self.wells), *[-1] * self.controls]
        return np.repeat(np.arange(self.plates), len(plate)), np.tile(plate, self.plates)

    def counts(self) -> tuple[int, int, int]:
        """Wells that are scored, positives of each, and length of its list."""
        positives = self.wells * (self.plates - 1)
        negatives = self.controls or self.wells * (self.perturbations - 1)
        return self.plates * self.wells, positives, positives + negatives


LAYOUTS = (
    Layout(184, 4),
    Layout(60, 2),
    Layout(40, 3, wells=2),
    Layout(30, 8),
    Layout(12, 3),
    Layout(40, 4, controls=24),
)
STRENGTHS = (0.3, 0.5, 0.8)


def embedding(
    layout: Layout, rng: np.random.Generator, plate_effect: float = 0.3, active: float = 0.0, strength: float = 0.0
) -> np.ndarray:
    """Noise around plate effects, and around effects of the first of the perturbations."""
    plates, groups = layout.codes()
    effects = np.zeros((layout.perturbations + 1, FEATURES))
    n_active = int(active * layout.perturbations)
    effects[:n_active] = strength * rng.standard_normal((n_active, FEATURES))
    shift = plate_effect * rng.standard_normal((layout.plates, FEATURES))
    return effects[groups] + shift[plates] + rng.standard_normal((len(plates), FEATURES))


def p_values(layout: Layout, features: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """By null: one p-value a perturbation."""
    plates, groups = layout.codes()
    test = group_p_values(features, plates, groups, pos_diffby=[plates], seed=seed)
    size, positives, total = layout.counts()
    shared = average_precision_null(positives, total, seed=seed)
    rng = np.random.default_rng(seed)
    independent = np.sort(np.mean([rng.permutation(shared) for _ in range(size)], axis=0))
    return {
        "whole groups": test.p_value,
        "one ranking": p_value(test.mean_average_precision, shared),
        "independent": p_value(test.mean_average_precision, independent),
    }


def null_groups(n_groups: int) -> list[Row]:
    """Rejections of groups of pure noise, by layout, without and with plate effects."""
    rows: list[Row] = []
    screens: list[dict[str, np.ndarray]] = []
    for plate_effect in (0.0, 0.3):
        for layout in LAYOUTS:
            found = _repeat(layout, -(-n_groups // len(LAYOUTS) // 2 // layout.perturbations), plate_effect)
            name = f"{layout.name}{', plate effects' if plate_effect else ''}"
            rows.append((name, len(found["whole groups"]), *(_share(p) for p in found.values())))
            screens.append(found)
    together = _together(screens)
    return [*rows, ("all of these", len(together["whole groups"]), *(_share(p) for p in together.values()))]


def planted_groups(n_groups: int) -> list[Row]:
    """Power, and rejections of the inactive half of a screen whose other half is active."""
    rows: list[Row] = []
    for layout in (Layout(184, 4), Layout(40, 3)):
        for strength in STRENGTHS:
            screens = max(4, n_groups // layout.perturbations // 6)
            found = _repeat(layout, screens, 0.3, active=0.5, strength=strength)
            active = np.tile(np.arange(layout.perturbations) < layout.perturbations // 2, screens)
            power = (_share(p[active]) for p in found.values())
            rows.append((f"{layout.name}, strength {strength}", *power, *(_share(p[~active]) for p in found.values())))
    return rows


def _repeat(
    layout: Layout, screens: int, plate_effect: float, active: float = 0.0, strength: float = 0.0
) -> dict[str, np.ndarray]:
    simulate = partial(_screen, layout, plate_effect=plate_effect, active=active, strength=strength)
    return _together(in_processes(simulate, range(screens)))


def _screen(layout: Layout, seed: int, plate_effect: float, active: float, strength: float) -> dict[str, np.ndarray]:
    rng = np.random.default_rng([seed, layout.perturbations, int(10 * plate_effect)])
    return p_values(layout, embedding(layout, rng, plate_effect, active, strength), seed)


def _together(found: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.concatenate([each[name] for each in found]) for name in found[0]}


def _share(p: np.ndarray) -> float:
    return float((p < 0.05).mean())


def compared_retrieval(seed: int, noise: tuple[float, float]) -> tuple[float, float]:
    """Paired and unpaired p-value of a difference in mAP: two noisy versions of 60 perturbations on 3 plates."""
    rng = np.random.default_rng([seed, 1])
    layout = Layout(60, 3)
    plates, groups = layout.codes()
    base = embedding(layout, rng, active=0.7, strength=0.7)
    wells = pd.DataFrame({"plate": plates, "perturbation": groups})
    scored = []
    for scale in noise:
        found = average_precision(
            base + scale * rng.standard_normal(base.shape),
            wells,
            pos_sameby=["perturbation"],
            pos_diffby=["plate"],
            neg_sameby=["plate"],
            neg_diffby=["perturbation"],
        )
        scored.append(pd.concat([wells, found], axis=1))
    paired = compare(scored[0], scored[1], "average_precision", seed=seed).difference.p_value
    means = [items.groupby("perturbation")["average_precision"].mean() for items in scored]
    return paired, float(stats.ttest_ind(*means, equal_var=False).pvalue)


def compared_genes(seed: int, noise: tuple[float, float]) -> tuple[float, float]:
    """Paired and unpaired p-value of a difference in recall: two noisy versions of 100 genes in 20 complexes."""
    rng = np.random.default_rng([seed, 2])
    complexes = np.repeat(np.arange(20), 5)
    base = 0.5 * rng.standard_normal((20, 32))[complexes] + rng.standard_normal((100, 32))
    pairs = np.array([pair for pair in combinations(range(100), 2) if complexes[pair[0]] == complexes[pair[1]]])
    hits = []
    for scale in noise:
        units = unit_rows(base + scale * rng.standard_normal(base.shape))
        cosines = units @ units.T
        low, high = np.quantile(cosines[np.triu_indices(100, 1)], [0.05, 0.95])
        found = cosines[pairs[:, 0], pairs[:, 1]]
        hits.append(((found <= low) | (found >= high)).astype(np.float64))
    normal = stats.norm.ppf(0.975)
    errors = [(high - low) / (2 * normal) for low, high in (proportion_of_pairs(each, pairs) for each in hits)]
    unpaired = 2 * stats.norm.sf(abs(hits[0].mean() - hits[1].mean()) / np.hypot(errors[0], errors[1]))
    return difference_of_pairs(hits[0], hits[1], pairs).p_value, float(unpaired)


def compared_models(n_pairs: int) -> list[Row]:
    """Rejections with equal models, and with a second model of more noise (a fifth of the pairs of models)."""
    rows: list[Row] = []
    ways: dict[str, Callable[..., tuple[float, float]]] = {
        "replicate retrieval, 60 perturbations": compared_retrieval,
        "gene-gene, 200 pairs of 100 genes": compared_genes,
    }
    for name, way in ways.items():
        for noise in ((0.7, 0.7), (0.7, 0.9), (0.7, 1.2)):
            n = n_pairs if noise[0] == noise[1] else n_pairs // 5
            found = np.array(in_processes(partial(way, noise=noise), range(n)))
            rows.append((name, f"{noise[0]} and {noise[1]}", n, _share(found[:, 0]), _share(found[:, 1])))
    return rows


def section(results: Path) -> str:
    """The tables; nothing where they were not measured."""
    path = results / FILE
    if not path.exists():
        return ""
    parts = [_INTRODUCTION]
    for one in json.loads(path.read_text(encoding="utf-8")):
        rows = [[f"{cell:.1%}" if isinstance(cell, float) else str(cell) for cell in row] for row in one["rows"]]
        parts.append(f"### {one['title']}\n\n" + table(one["header"], rows))
    return "\n".join(parts)


def main(
    groups: Annotated[int, typer.Option(help="Groups of pure noise in all.")] = 12000,
    pairs: Annotated[int, typer.Option(help="Pairs of equal models for each task.")] = 5000,
) -> None:
    """Rejections at 0.05 under the null, and power."""
    nulls = ("whole groups", "one ranking", "independent")
    active, inactive = (tuple(f"{name} ({which})" for name in nulls) for which in ("active", "inactive"))
    tables = (
        ("Groups of pure noise", ("layout", "groups", *nulls), null_groups(groups)),
        ("Half of the groups active", ("layout", *active, *inactive), planted_groups(groups)),
        ("Two models", ("task", "noise", "pairs of models", "paired", "unpaired"), compared_models(pairs)),
    )
    figures = [{"title": title, "header": header, "rows": rows} for title, header, rows in tables]
    write_text(RESULTS / FILE, json.dumps(figures, indent=1) + "\n")
    print(section(RESULTS))


if __name__ == "__main__":
    typer.run(main)
