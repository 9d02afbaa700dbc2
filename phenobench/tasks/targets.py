"""Perturbations with what they act on, and how precisely they find those with the same target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from phenobench.metrics.pairing import encode, label_lists
from phenobench.metrics.related import mean_of_related
from phenobench.profiles import ROLES, Profiles
from phenobench.tasks.outcome import FEW_PERTURBATIONS, Score

Aggregate = Literal["mean", "median"]
Average = Literal["perturbations", "targets"]


@dataclass(frozen=True, eq=False)
class Perturbations:
    """One row a perturbation.

    Attributes:
        features: consensus over the perturbation's treated wells, float64 (n, d).
        metadata: n rows: ``perturbation``, ``targets`` (a sorted list, empty where nothing is known)
            and ``modality``, "genes" for a perturbation with a gene's symbol and "compounds" for others.
    """

    features: np.ndarray
    metadata: pd.DataFrame

    def __len__(self) -> int:
        return len(self.metadata)

    def select(self, keep: np.ndarray) -> Perturbations:
        """The rows where ``keep`` (n,) is true."""
        return Perturbations(self.features[keep], self.metadata[keep].reset_index(drop=True))


def perturbations(profiles: Profiles, aggregate: Aggregate, *, merge_guides: bool = False) -> Perturbations:
    """The consensus profile, targets and modality of each perturbation under test.

    The targets of a perturbation are those of any of its wells; a gene perturbation for which none
    is named targets its own gene.

    Args:
        profiles: with the roles ``perturbation`` and ``target``, and ``gene`` where there are genes.
        aggregate: over wells.
        merge_guides: one row a gene, over all its perturbations.

    Raises:
        InputError: no column for the perturbation or the target.
    """
    wells = profiles.select(profiles.treated & profiles.role("perturbation").notna().to_numpy())
    gene = wells.metadata.get(ROLES["gene"], pd.Series(None, index=wells.metadata.index, dtype=object))
    target = wells.role("target").where(wells.role("target").notna(), gene)
    names = wells.role("perturbation").astype(str)
    if merge_guides:
        names = names.where(gene.isna(), gene)
    modality = pd.Series(np.where(gene.notna(), "genes", "compounds"))
    # A compound may be named like a gene.
    by = [names.to_numpy(), modality.to_numpy()]
    lists = label_lists(target).groupby(by, sort=True).agg(lambda cells: sorted(set().union(*cells)))
    grouped = pd.DataFrame(wells.features.astype(np.float64)).groupby(by, sort=True)
    features = grouped.mean() if aggregate == "mean" else grouped.median()
    metadata = pd.DataFrame(
        {
            "perturbation": lists.index.get_level_values(0),
            "targets": lists.to_numpy(),
            "modality": lists.index.get_level_values(1),
        }
    )
    return Perturbations(features.to_numpy(), metadata)


def mean_precision(queries: pd.DataFrame, subset: str, average: Average, seed: int) -> Score:
    """Mean of the average precision of queries, over perturbations or over targets.

    Args:
        queries: one row a perturbation and label: ``perturbation``, ``modality``, ``label``, ``average_precision``
            and ``expected``, all defined.
        subset: what the score is called.
        average: "perturbations": first over a perturbation's labels, then over perturbations;
            "targets": first over the perturbations of a label, then over labels.
        seed: of the interval's resamples.
    """
    owner = queries.groupby(["perturbation", "modality"], sort=True).ngroup().to_numpy()
    group = owner if average == "perturbations" else queries.groupby("label", sort=True).ngroup().to_numpy()
    size = np.bincount(group)
    weight = 1.0 / (size[group] * len(size))
    precision, expected = queries["average_precision"].to_numpy(), queries["expected"].to_numpy()
    # Means of means, which are exact for a perfect and for an all-tied embedding.
    chance = float((np.bincount(group, weights=expected) / size).mean())
    value = float((np.bincount(group, weights=precision) / size).mean())
    n = int(owner.max()) + 1
    # What each perturbation adds to the mean; their own mean is the score.
    parts = value + n * np.bincount(owner, weights=weight * (precision - value))
    sets = encode(queries.groupby(owner)["label"].agg(list)).sets
    low, high = mean_of_related(parts, np.asarray(sets), seed)
    return Score(
        metric="mAP",
        subset=subset,
        value=value,
        chance=chance,
        ceiling=1.0,
        ci_low=max(0.0, min(low, value)),
        ci_high=min(1.0, max(high, value)),
        n=n,
        unit="perturbations",
        too_few=n < FEW_PERTURBATIONS,
    )
