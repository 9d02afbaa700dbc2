"""Replicate retrieval: do wells of one perturbation find each other among other wells?"""

from __future__ import annotations

import warnings
from typing import Literal, TypedDict

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict

from phenobench.errors import InputError
from phenobench.metrics.group_null import MOST_ROWS, group_p_values
from phenobench.metrics.intervals import bootstrap_mean, share_discovered
from phenobench.metrics.ranking import average_precision
from phenobench.metrics.significance import benjamini_hochberg
from phenobench.profiles import Profiles
from phenobench.tasks.outcome import FEW_PERTURBATIONS, Check, Inputs, Outcome, Score

# The false discovery rate at which a perturbation counts as retrieved.
_RETRIEVED = 0.05


class Protocol(BaseModel):
    """What a variant of the card may say: copairs' pair rules, with roles for columns."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    summary: str
    negatives: Literal["treated", "controls"]
    pos_diffby: tuple[Literal["plate", "well"], ...]
    neg_sameby: tuple[Literal["plate"], ...]


def score(profiles: Profiles, protocol: Protocol, inputs: Inputs) -> Outcome:
    """Mean over wells, then over perturbations, of the average precision of replicate retrieval.

    Kalinin et al. 2024 (copairs) with exact expectations over ties. Items carry their perturbation's
    p-value (``metrics.group_null``) and q-value (Benjamini and Hochberg); the share of perturbations
    with q < 0.05 is a secondary score. Chance is 0 for it: where nothing is alike, nothing is
    retrieved in at least 95 % of screens. Above 50,000 wells, and for the largest perturbations
    where they would cost too much, there are no p-values, and a warning says so.

    Raises:
        InputError: no well has a positive and a negative under the protocol, or it asks for well positions and there
            are none; the message says why.
    """
    features, wells, is_query, rules = _ranked(profiles, protocol)
    table = average_precision(features, wells, **rules, device=inputs.device)
    items = pd.concat([wells.drop(columns="pert_type"), table], axis=1)[is_query]
    scored = items.dropna(subset=["average_precision"])
    if scored.empty:
        raise InputError(_why_empty(items, protocol))
    by = scored.groupby("perturbation", sort=True)[["average_precision", "expected", "normalized"]].mean()
    tests = _tests(features, wells, is_query, protocol, inputs.seed).reindex(by.index)
    return Outcome(
        scores=(_mean_score("mAP", by["average_precision"], by["expected"], inputs.seed),),
        secondary=(
            _mean_score("normalized mAP", by["normalized"], 0.0 * by["expected"], inputs.seed),
            *_share_retrieved(tests, inputs.seed),
        ),
        items=items.join(tests, on="perturbation").reset_index(drop=True),
        map_rows="treated wells and negative controls" if protocol.negatives == "controls" else "treated wells",
        map_n=len(wells),
        warnings=(*_warnings(profiles, items), *_untested(tests, len(wells))),
    )


def cross_check(profiles: Profiles, protocol: Protocol, outcome: Outcome) -> list[Check]:
    """The same mAP from copairs, which puts positives first among equals."""
    from importlib.metadata import version

    from copairs.map import average_precision as theirs

    features, wells, is_query, rules = _ranked(profiles, protocol)
    optimistic = average_precision(features, wells, **rules, ties="optimistic")["average_precision"]
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        # copairs divides by the length of zero vectors.
        warnings.simplefilter("ignore")
        given = theirs(wells, features, **rules, progress_bar=False)["average_precision"]
    # Queries without negatives get 1.0 from copairs and are not scored here: both sides on the same queries.
    scored = is_query & optimistic.notna().to_numpy()

    def mean(values: pd.Series) -> float:
        return float(values[scored].groupby(wells["perturbation"][scored], sort=True).mean().mean())

    score = outcome.scores[0]
    tool = f"copairs {version('copairs')}"
    return [Check(score.metric, score.subset, tool, score.value, mean(optimistic), mean(given.reset_index(drop=True)))]


class _Rules(TypedDict):
    pos_sameby: list[str]
    pos_diffby: list[str]
    neg_sameby: list[str]
    neg_diffby: list[str]


def _ranked(profiles: Profiles, protocol: Protocol) -> tuple[np.ndarray, pd.DataFrame, np.ndarray, _Rules]:
    """What is ranked: features, the columns that rules name, which rows are queries, and the rules."""
    if "well" in protocol.pos_diffby and "well" not in profiles.roles:
        raise InputError(
            "this protocol takes positives from other well positions (pos_diffby has well), and there is no column for "
            "the well; name it with --column well=NAME, or take a variant that does without"
        )
    against_controls = protocol.negatives == "controls"
    treated = profiles.treated & profiles.role("perturbation").notna().to_numpy()
    rows = treated | profiles.negative_controls if against_controls else treated
    rules = _Rules(
        pos_sameby=["perturbation", "pert_type"],
        pos_diffby=list(protocol.pos_diffby),
        neg_sameby=list(protocol.neg_sameby),
        neg_diffby=["pert_type"] if against_controls else ["perturbation"],
    )
    return profiles.features[rows], _rule_columns(profiles.select(rows)), treated[rows], rules


def _rule_columns(profiles: Profiles) -> pd.DataFrame:
    """The columns that pair rules may name; a plate of another source is another plate, and rows may be of no well."""
    codes, names = profiles.groups("plate")
    controls = profiles.negative_controls
    columns = {
        "plate": np.array([name.removeprefix("plate ") for name in names], dtype=object)[codes],
        "well": profiles.role("well").to_numpy() if "well" in profiles.roles else None,
        "perturbation": profiles.role("perturbation").to_numpy(),
        "pert_type": np.where(controls, "negcon", "treated"),
    }
    return pd.DataFrame({name: column for name, column in columns.items() if column is not None})


def _tests(
    features: np.ndarray, wells: pd.DataFrame, is_query: np.ndarray, protocol: Protocol, seed: int
) -> pd.DataFrame:
    """By perturbation: ``p_value`` of its mAP and ``q_value`` among all perturbations; NaN where left out."""
    # In this order the random groups are the same, however the rows of the file are sorted.
    places = [name for name in ("plate", "well") if name in wells]
    order = wells.sort_values([*places, "perturbation"], kind="stable").index.to_numpy()
    codes = {name: pd.factorize(wells[name].to_numpy()[order], sort=True)[0] for name in places}
    groups = np.full(len(wells), -1)
    treated = is_query[order]
    groups[treated], names = pd.factorize(wells["perturbation"].to_numpy()[order][treated], sort=True)
    test = group_p_values(
        features[order],
        codes["plate"],
        groups,
        pos_diffby=[codes[name] for name in protocol.pos_diffby],
        within_plate="plate" in protocol.neg_sameby,
        seed=seed,
    )
    p_values = pd.Series(test.p_value, index=pd.Index(names, name="perturbation"))
    return pd.DataFrame({"p_value": p_values, "q_value": benjamini_hochberg(test.p_value)})


def _share_retrieved(tests: pd.DataFrame, seed: int) -> tuple[Score, ...]:
    tested = tests.dropna(subset=["q_value"])
    if tested.empty:
        return ()
    share = float((tested["q_value"] < _RETRIEVED).mean())
    low, high = share_discovered(tested["p_value"].to_numpy(), _RETRIEVED, seed)
    return (
        Score(
            metric="share retrieved",
            subset="all",
            value=share,
            chance=0.0,
            ceiling=1.0,
            ci_low=min(low, share),
            ci_high=max(high, share),
            n=len(tested),
            unit="perturbations",
            too_few=len(tested) < FEW_PERTURBATIONS,
        ),
    )


def _untested(tests: pd.DataFrame, n_wells: int) -> tuple[str, ...]:
    untested = int(tests["p_value"].isna().sum())
    if not untested:
        return ()
    why = f"{n_wells} wells are more than {MOST_ROWS}" if n_wells > MOST_ROWS else "their random groups cost too much"
    return (f"{untested} of {len(tests)} perturbations have no p-value, since {why}",)


def _mean_score(metric: str, values: pd.Series, chance: pd.Series, seed: int) -> Score:
    low, high = bootstrap_mean(values.to_numpy(), seed)
    return Score(
        metric=metric,
        subset="all",
        value=float(values.mean()),
        chance=float(chance.mean()),
        ceiling=1.0,
        ci_low=max(low, -1.0 if metric.startswith("normalized") else 0.0),
        ci_high=min(high, 1.0),
        n=len(values),
        unit="perturbations",
        too_few=len(values) < FEW_PERTURBATIONS,
    )


def _why_empty(items: pd.DataFrame, protocol: Protocol) -> str:
    plates = items["plate"].nunique()
    if items["perturbation"].value_counts().max() < 2:
        return "no perturbation has two wells, so there are no replicates to retrieve; check the perturbation column"
    if "plate" in protocol.pos_diffby and (items["n_pos_pairs"] == 0).all():
        where = "all wells are on one plate" if plates == 1 else "no perturbation is on two plates"
        return f"{where} and this protocol needs replicates on other plates; use --variant same-plate"
    kind = "negative controls" if protocol.negatives == "controls" else "wells of other perturbations"
    return f"no well has {kind} to be ranked against on its own plate; check --negcon, or use --variant against-all"


def _warnings(profiles: Profiles, items: pd.DataFrame) -> tuple[str, ...]:
    found = []
    lost = items[items["average_precision"].isna()]
    if len(lost):
        found.append(
            f"{len(lost)} treated wells have no positive or no negative under this protocol and are not scored"
        )
    zero = int((~profiles.features.any(axis=1) & profiles.treated).sum())
    if zero:
        found.append(f"{zero} treated wells are zero vectors without a cosine; they take the worst rank")
    if "well" in items:
        places = items.dropna(subset=["well"]).groupby("perturbation")["well"].agg(["nunique", "size"])
        fixed = places[places["size"] > 1]
        if len(fixed) and (fixed["nunique"] == 1).mean() > 0.5:
            found.append(
                "most perturbations are at one well position on all plates, so position effects raise this score"
            )
    return tuple(found)
