"""Target matching: do perturbations of one target find each other among those of other targets?"""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict

from phenobench.errors import InputError
from phenobench.metrics.ranking import Similarity, average_precision
from phenobench.profiles import Profiles
from phenobench.tasks.gate import replicable
from phenobench.tasks.outcome import Inputs, Outcome, Score
from phenobench.tasks.targets import Aggregate, Average, Perturbations, mean_precision, perturbations

_MODALITIES = ("compounds", "genes")


class Protocol(BaseModel):
    """What a variant of the card may say."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    summary: str
    aggregate: Aggregate
    compounds: Similarity
    genes: Similarity
    average: Average
    gate: Literal["none", "replicable"]


def score(profiles: Profiles, protocol: Protocol, inputs: Inputs) -> Outcome:
    """Mean average precision with which perturbations find those that share a target, within a modality.

    CPJUMP1 (Chandrasekaran et al. 2024). A perturbation with several targets is a query for each:
    positives share that target, negatives share none. Perturbations without a known target take no
    part, since not knowing a target is no evidence of another one.

    Raises:
        InputError: no two perturbations of a modality share a target.
    """
    rows = perturbations(profiles, protocol.aggregate)
    known = rows.metadata["targets"].map(len).to_numpy() > 0
    warnings = [f"{(~known).sum()} perturbations have no known target and take no part"] if not known.all() else []
    if protocol.gate == "replicable":
        passed = replicable(profiles, rows.metadata, inputs.seed)
        warnings.append(f"gated: {(known & passed).sum()} of {known.sum()} perturbations are replicable and take part")
        known &= passed
    scores: list[Score] = []
    items: list[pd.DataFrame] = []
    skipped: dict[str, str] = {}
    for modality in _MODALITIES:
        part = rows.select(known & (rows.metadata["modality"] == modality).to_numpy())
        if not len(part):
            continue
        queries = _queries(part, protocol.compounds if modality == "compounds" else protocol.genes)
        scored = queries.dropna(subset=["average_precision"])
        if scored.empty:
            skipped[modality] = f"no two of {len(part)} share a target that others do not have"
            continue
        alone = len(part) - scored["perturbation"].nunique()
        if alone:
            warnings.append(f"{alone} of {len(part)} {modality} share no target with another and are not scored")
        scores.append(mean_precision(scored, modality, protocol.average, inputs.seed))
        items.append(queries)
    if not scores:
        found = "; ".join(f"{modality}: {why}" for modality, why in skipped.items()) or "none has a known target"
        raise InputError(
            f"target-matching needs perturbations of one modality that share a target ({found}); "
            "check the column of targets, --column target=NAME"
        )
    zero = int((~rows.features.any(axis=1) & known).sum())
    if zero:
        warnings.append(f"{zero} perturbations are zero vectors without a cosine; they take the worst rank")
    return Outcome(
        scores=tuple(scores),
        items=pd.concat(items, ignore_index=True),
        map_rows="perturbations with a known target, by modality",
        map_n=int(np.count_nonzero(known)),
        skipped=skipped,
        warnings=tuple(warnings),
    )


def _queries(rows: Perturbations, similarity: Similarity) -> pd.DataFrame:
    """One row a perturbation and target."""
    table = average_precision(
        rows.features,
        rows.metadata,
        pos_sameby=["targets"],
        pos_diffby=[],
        neg_sameby=[],
        neg_diffby=["targets"],
        similarity=similarity,
    )
    return rows.metadata[["perturbation", "modality"]].join(table, how="right").reset_index(drop=True)
