"""Perturbation consistency: of how many perturbations are the replicates more alike than chance has it?"""

from __future__ import annotations

from math import fsum
from typing import Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from phenobench.errors import InputError
from phenobench.metrics.consistency import perturbation_consistency
from phenobench.metrics.intervals import wilson
from phenobench.metrics.matched_null import matched_consistency
from phenobench.metrics.similarity import LEVELS
from phenobench.profiles import Profiles
from phenobench.tasks.outcome import FEW_PERTURBATIONS, Inputs, Outcome, Score


class Protocol(BaseModel):
    """What a variant of the card may say; ``draws`` is of the matched groups alone."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    summary: str
    null: Literal["matched groups", "control perturbations"]
    alpha: float = Field(gt=0, lt=1)
    draws: int = Field(default=0, ge=0)


def score(profiles: Profiles, protocol: Protocol, inputs: Inputs) -> Outcome:
    """Share of perturbations whose replicates' mean cosine has p at most alpha (EFAAR, Celik et al. 2024).

    p = (r + 1) / (n + 1) for the r of n null values that are at least as large; a perturbation that
    ties with null values counts by the probability that it is significant in a random order.

    Raises:
        InputError: no perturbation has replicates, or the null is too small for any p at most alpha.
    """
    if protocol.null == "matched groups":
        treated = profiles.select(profiles.treated & profiles.role("perturbation").notna().to_numpy())
        codes, names = pd.factorize(treated.role("perturbation"), sort=True)
        table = matched_consistency(
            treated.features, codes, treated.groups("plate")[0], draws=protocol.draws, seed=inputs.seed
        )
        items = table.assign(perturbation=np.asarray(names, dtype=object)[table["code"]]).drop(columns="code")
        n_wells, n_null, rows, n_all = len(treated), protocol.draws, "treated wells", len(names)
    else:
        items, n_null, n_wells, n_all = _against_controls(profiles)
        rows = "treated wells and negative controls"
    places = int(np.floor(protocol.alpha * (n_null + 1) + 1e-9))
    if not places:
        raise InputError(
            f"with {n_null} null values no p-value is at most {protocol.alpha} (the smallest is 1 / {n_null + 1}); "
            "use the default variant, or name more negative-control perturbations"
        )
    # Of the ranks that a random order of the tied values can give, those that are significant.
    hit = ((places - items["n_above"]) / (items["n_equal"] + 1.0)).clip(0.0, 1.0)
    items["p_value"] = (items["n_above"] + items["n_equal"] + 1.0) / (n_null + 1.0)
    items["significant"] = hit
    columns = ["perturbation", "n_replicates", "consistency", "p_value", "significant"]
    single = n_all - len(items)
    zero = int((~profiles.features.any(axis=1) & profiles.treated).sum())
    warnings = []
    if single:
        warnings.append(f"{single} perturbations have a single well and are not scored")
    if zero:
        warnings.append(f"{zero} treated wells are zero vectors; their cosines count as 0")
    return Outcome(
        scores=(_share(hit.to_numpy(), places / (n_null + 1.0)),),
        items=items[columns].reset_index(drop=True),
        map_rows=rows,
        map_n=n_wells,
        warnings=tuple(warnings),
    )


def _against_controls(profiles: Profiles) -> tuple[pd.DataFrame, int, int, int]:
    """The perturbations with their place among the control perturbations; how many of those, wells, and perturbations.

    A control perturbation is a label of negative controls; a screen with one kind of control has one alone.
    """
    wells = profiles.select(profiles.role("perturbation").notna().to_numpy())
    keep = wells.treated | wells.negative_controls
    kinds = pd.Series(np.where(wells.negative_controls, "control", "treated"), dtype=object)
    labels = kinds.str.cat(wells.role("perturbation").astype(str), sep=" ")[keep]
    controls = sorted(set(labels[kinds == "control"]))
    if not controls:
        raise InputError("this variant needs negative-control perturbations; name them, --negcon COLUMN=VALUE")
    table = perturbation_consistency(wells.features[keep], labels.tolist(), null_labels=controls)
    level = np.rint(table["consistency"] * LEVELS).to_numpy()
    is_null = table["perturbation"].isin(controls).to_numpy()
    null = np.sort(level[is_null & ~np.isnan(level)])
    items = table[~is_null & (table["n_replicates"] > 1).to_numpy()]
    if items.empty:
        raise InputError("no perturbation has two wells, so there are no replicates to compare; check its column")
    below, upto = (null.searchsorted(level[items.index], side) for side in ("left", "right"))
    items = items.assign(
        perturbation=items["perturbation"].str.removeprefix("treated "),
        n_above=len(null) - upto,
        n_equal=upto - below,
    )
    return items.reset_index(drop=True), len(null), int(keep.sum()), int((~is_null).sum())


def _share(hit: np.ndarray, chance: float) -> Score:
    # Summed exactly and as a difference from chance, so that an all-tied embedding is at chance to the last bit.
    value = chance + fsum(hit - chance) / len(hit)
    low, high = wilson(value, len(hit))
    return Score(
        metric="consistent share",
        subset="all",
        value=value,
        chance=chance,
        ceiling=1.0,
        ci_low=min(low, value),
        ci_high=max(high, value),
        n=len(hit),
        unit="perturbations",
        too_few=len(hit) < FEW_PERTURBATIONS,
    )
