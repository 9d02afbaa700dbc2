"""Batch effect: do wells find their plate and batch rather than their biology? Lower is better."""

from __future__ import annotations

from typing import Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from phenobench.errors import InputError
from phenobench.metrics.intervals import bootstrap_mean
from phenobench.metrics.neighbours import same_label_share
from phenobench.profiles import ROLES, Profiles
from phenobench.tasks.outcome import FEW_PERTURBATIONS, Inputs, Outcome, Score


class Protocol(BaseModel):
    """What a variant of the card may say."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    summary: str
    neighbours: int = Field(ge=1)


def score(profiles: Profiles, protocol: Protocol, inputs: Inputs) -> Outcome:
    """Share of nearest neighbours with the query's plate and with its batch, mean over wells, then perturbations.

    Raises:
        InputError: all treated wells are on one plate, or there are no more wells than neighbours.
    """
    wells = profiles.select(profiles.treated & profiles.role("perturbation").notna().to_numpy())
    if len(wells) <= protocol.neighbours:
        raise InputError(f"batch-effect needs more than {protocol.neighbours} treated wells and there are {len(wells)}")
    items = pd.DataFrame({role: wells.role(role).to_numpy() for role in ("plate", "well", "perturbation")})
    scores: list[Score] = []
    skipped: dict[str, str] = {}
    groupings: list[Literal["plate", "batch"]] = ["plate"]
    if ROLES["batch"] in wells.metadata:
        groupings.append("batch")
    for by in groupings:
        codes, names = wells.groups(by)
        if len(names) < 2:
            skipped[by] = f"all treated wells are of one {by}"
            continue
        share, chance = same_label_share(wells.features, codes, protocol.neighbours)
        items[f"same_{by}"], items[f"chance_{by}"] = share, chance
        scores.append(_score(items, by, inputs.seed))
    if not scores:
        raise InputError("batch-effect needs wells of two plates and all treated wells are on one")
    return Outcome(tuple(scores), items, "treated wells", len(wells), skipped=skipped)


def _score(items: pd.DataFrame, by: str, seed: int) -> Score:
    means = items.groupby("perturbation", sort=True)[[f"same_{by}", f"chance_{by}"]].mean()
    chance = float(means[f"chance_{by}"].mean())
    # Written as a difference from chance, so that an all-tied embedding is at chance to the last bit.
    value = chance + float((means[f"same_{by}"] - means[f"chance_{by}"]).mean())
    low, high = bootstrap_mean(means[f"same_{by}"].to_numpy(), seed)
    return Score(
        metric="kNN share",
        subset=by,
        value=value,
        chance=chance,
        ceiling=1.0,
        ci_low=max(0.0, min(low, value)),
        ci_high=min(1.0, max(high, value)),
        n=len(means),
        unit="perturbations",
        higher_is_better=False,
        too_few=len(means) < FEW_PERTURBATIONS,
    )
