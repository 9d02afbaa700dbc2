"""Batch effect: do wells find their plate and batch rather than their biology?"""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from phenobench.errors import InputError
from phenobench.metrics.intervals import bootstrap_mean
from phenobench.metrics.mixing import graph_connectivity, jackknife_interval, silhouette_with_chance
from phenobench.metrics.neighbours import same_label_share
from phenobench.profiles import ROLES, Profiles, Role
from phenobench.tasks.outcome import FEW_PERTURBATIONS, Inputs, Outcome, Score


class Protocol(BaseModel):
    """What a variant of the card may say."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    summary: str
    neighbours: int = Field(ge=1)


def score(profiles: Profiles, protocol: Protocol, inputs: Inputs) -> Outcome:
    """Share of nearest neighbours with the query's plate and with its batch, mean over wells, then perturbations.

    Lower is better, and chance is best. Secondary: the silhouette of plates and of batches (lower is
    better), and the connectivity of perturbations in the graph of nearest neighbours (higher is better),
    as scib defines them (Luecken et al. 2022), but with chance.

    Raises:
        InputError: all treated wells are on one plate, or there are no more wells than neighbours.
    """
    wells = profiles.select(profiles.treated & profiles.role("perturbation").notna().to_numpy())
    if len(wells) <= protocol.neighbours:
        raise InputError(f"batch-effect needs more than {protocol.neighbours} treated wells and there are {len(wells)}")
    roles: tuple[Role, ...] = ("plate", "well", "perturbation")
    items = pd.DataFrame({role: wells.role(role).to_numpy() for role in roles if role != "well" or role in wells.roles})
    perturbations = pd.factorize(items["perturbation"], sort=True)[0]
    scores: list[Score] = []
    secondary: list[Score] = []
    skipped: dict[str, str] = {}
    groupings: list[Literal["plate", "batch"]] = ["plate"]
    if ROLES["batch"] in wells.metadata:
        groupings.append("batch")
    for by in groupings:
        codes, names = wells.groups(by)
        if len(names) < 2:
            skipped[by] = f"all treated wells are of one {by}"
            continue
        near = same_label_share(wells.features, codes, protocol.neighbours)
        items[f"same_{by}"], items[f"chance_{by}"] = near.share, near.chance
        scores.append(_share(near.share, near.chance, near.credit, perturbations, by, inputs.seed))
        width, chance, without = silhouette_with_chance(wells.features, codes, perturbations, inputs.seed)
        items[f"silhouette_{by}"] = width
        secondary.append(_silhouette(width, chance, without, perturbations, by))
    if not scores:
        raise InputError("batch-effect needs wells of two plates and all treated wells are on one")
    repeated = np.bincount(perturbations) > 1
    if repeated.any():
        plates = wells.groups("plate")[0]
        share, chance = graph_connectivity(wells.features, perturbations, plates, protocol.neighbours, inputs.seed)
        secondary.append(_connectivity(share[repeated], chance[repeated], inputs.seed))
    else:
        skipped["perturbation"] = "no perturbation has two wells to be connected"
    return Outcome(tuple(scores), items, "treated wells", len(wells), secondary=tuple(secondary), skipped=skipped)


def _share(
    share: np.ndarray, chance: np.ndarray, credit: np.ndarray, perturbations: np.ndarray, by: str, seed: int
) -> Score:
    own, expected, lent = (_means(values, perturbations) for values in (share, chance, credit))
    # Written as a difference from chance, so that an all-tied embedding is at chance to the last bit.
    value = float(expected.mean()) + float((own - expected).mean())
    # A perturbation moves the score as a query and as a neighbour; without the second, intervals cover 80 to 87 %.
    low, high = bootstrap_mean(own + lent - lent.mean(), seed)
    return _score("kNN share", by, value, float(expected.mean()), (low, high), len(own), floor=0.0)


def _silhouette(
    width: np.ndarray, chance: np.ndarray, without: np.ndarray, perturbations: np.ndarray, by: str
) -> Score:
    own, expected = _means(width, perturbations), _means(chance, perturbations)
    value = float(expected.mean()) + float((own - expected).mean())
    interval = jackknife_interval(value, without)
    return _score("silhouette", by, value, float(expected.mean()), interval, len(own), floor=-1.0)


def _connectivity(share: np.ndarray, chance: np.ndarray, seed: int) -> Score:
    value = float(chance.mean()) + float((share - chance).mean())
    interval = bootstrap_mean(share, seed)
    return _score(
        "connectivity", "perturbation", value, float(chance.mean()), interval, len(share), floor=0.0, higher=True
    )


def _means(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    return np.asarray(np.bincount(groups, weights=values) / np.bincount(groups))


def _score(
    metric: str,
    subset: str,
    value: float,
    chance: float,
    interval: tuple[float, float],
    n: int,
    *,
    floor: float,
    higher: bool = False,
) -> Score:
    return Score(
        metric=metric,
        subset=subset,
        value=value,
        chance=chance,
        ceiling=1.0,
        ci_low=max(floor, min(interval[0], value)),
        ci_high=min(1.0, max(interval[1], value)),
        n=n,
        unit="perturbations",
        higher_is_better=higher,
        too_few=n < FEW_PERTURBATIONS,
    )
