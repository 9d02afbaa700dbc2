"""Compound-gene matching: do compounds and the genes that they act on find each other across modalities?"""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict

from phenobench.errors import InputError
from phenobench.metrics.ranking import Similarity, average_precision
from phenobench.profiles import Profiles
from phenobench.tasks.compound_pools import Pools, score_pools
from phenobench.tasks.gate import replicable
from phenobench.tasks.outcome import Inputs, Outcome
from phenobench.tasks.targets import Aggregate, Average, Perturbations, mean_precision, perturbations

_DIRECTIONS = {"compounds": "compound to gene", "genes": "gene to compound"}


class Protocol(BaseModel):
    """What a variant of the card may say; ``pools`` for the protocol that draws genes for each compound."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    summary: str
    aggregate: Aggregate
    similarity: Similarity
    average: Average
    gate: Literal["none", "replicable"]
    merge_guides: bool
    pools: Pools | None = None


def score(profiles: Profiles, protocol: Protocol, inputs: Inputs) -> Outcome:
    """Mean average precision of a compound's targets among the genes, and of a gene's compounds among the compounds.

    CPJUMP1 (Chandrasekaran et al. 2024), with every gene of the screen as a candidate: the
    positives of a compound and one of its targets are that gene's rows, the negatives all genes
    that it does not target. With ``pools``, RxRx3-core's protocol (see ``compound_pools``).

    Raises:
        InputError: the screen has no genes, or no compound's target is among them.
    """
    if protocol.pools is not None:
        return score_pools(profiles, protocol.pools, inputs)
    rows = perturbations(profiles, protocol.aggregate, merge_guides=protocol.merge_guides)
    if "gene" not in profiles.roles:
        raise InputError(
            "compound-gene needs perturbed genes beside the compounds; name their column, --column gene=NAME"
        )
    warnings = []
    if protocol.gate == "replicable":
        passed = replicable(profiles, rows.metadata, inputs.seed)
        warnings.append(f"gated: {passed.sum()} of {len(rows)} perturbations are replicable and take part")
        rows = rows.select(passed)
    rows, left_out = _shared_targets(rows)
    if left_out:
        warnings.append(f"{left_out} compounds have no target among the perturbed genes and take no part")
    queries = _queries(rows, protocol.similarity)
    scored = queries.dropna(subset=["average_precision"])
    if scored.empty:
        raise InputError(
            "no compound can be ranked: its target must be among at least two perturbed genes; check the column of "
            "targets, --column target=NAME"
        )
    zero = int((~rows.features.any(axis=1)).sum())
    if zero:
        warnings.append(f"{zero} perturbations are zero vectors without a cosine; they take the worst rank")
    skipped = {}
    scores = []
    for modality, direction in _DIRECTIONS.items():
        part = scored[scored["modality"] == modality]
        if part.empty:
            skipped[direction] = "no query has a candidate with another target"
        else:
            scores.append(mean_precision(part, direction, protocol.average, inputs.seed))
    secondary = (mean_precision(scored, "both directions", protocol.average, inputs.seed),)
    return Outcome(
        scores=tuple(scores),
        items=queries,
        map_rows="compounds with a target among the genes, and genes",
        map_n=len(rows),
        secondary=secondary,
        skipped=skipped,
        warnings=tuple(warnings),
    )


def _shared_targets(rows: Perturbations) -> tuple[Perturbations, int]:
    """Genes, and compounds with their targets cut to those genes; how many compounds lost all."""
    table = rows.metadata
    is_gene = (table["modality"] == "genes").to_numpy()
    genes = {label for labels in table["targets"][is_gene] for label in labels}
    cut = table.assign(targets=table["targets"].map(lambda labels: [label for label in labels if label in genes]))
    keep = cut["targets"].map(len).to_numpy() > 0
    return Perturbations(rows.features, cut).select(keep), int(np.count_nonzero(~keep))


def _queries(rows: Perturbations, similarity: Similarity) -> pd.DataFrame:
    """One row a compound or gene and target; genes that no compound targets are candidates alone."""
    table = average_precision(
        rows.features,
        rows.metadata,
        pos_sameby=["targets"],
        pos_diffby=["modality"],
        neg_sameby=[],
        neg_diffby=["targets", "modality"],
        similarity=similarity,
    )
    joined = rows.metadata[["perturbation", "modality"]].join(table, how="right")
    return joined[joined["n_pos_pairs"] > 0].reset_index(drop=True)
