"""RxRx3-core's compound-gene protocol: a compound's active genes among genes that are drawn for it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from zlib import crc32

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from phenobench.downloads import fetch_file
from phenobench.errors import InputError
from phenobench.files import cache_dir, sha256_of
from phenobench.metrics.pairing import encode
from phenobench.metrics.pools import pool_average_precision
from phenobench.metrics.related import mean_of_related
from phenobench.metrics.units import unit_rows
from phenobench.profiles import ROLES, Profiles
from phenobench.profiles.labels import number_of
from phenobench.tasks.card_table import read_card_table
from phenobench.tasks.outcome import FEW_PERTURBATIONS, Inputs, Outcome, Score, consensus
from phenobench.tasks.targets import perturbations

# The scale of the published figure: the best of all concentrations.
_BEST = "best dose"


class Interactions(BaseModel):
    """A CSV file of measured interactions, with the hash by which a result says what it rests on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Path
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class PublishedInteractions(BaseModel):
    """The same at a pinned address; a file is held to its first hash where the card has none."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str = Field(pattern=r"^https?://[^?#]+/[^/?#]+$")
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")


class Pools(BaseModel):
    """How the genes that a compound is ranked among are chosen.

    Attributes:
        active_nm: genes measured at or below are active.
        excluded_nm: genes measured above ``active_nm`` and up to here take no part.
        negatives_per_active: genes drawn for each active one.
        least_negatives: genes drawn at least.
        draws: how often they are drawn; a compound's score is the mean.
        dose: the column of the concentration; a compound's best one counts.
        compound: the column that names a compound whatever its dose; where the screen has none, it is the perturbation.
        interactions: the measured values; without this table a compound's targets are active.
        published: the table for screens that say nothing of targets.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    active_nm: float = Field(gt=0)
    excluded_nm: float = Field(gt=0)
    negatives_per_active: int = Field(ge=1)
    least_negatives: int = Field(ge=1)
    draws: int = Field(ge=1)
    dose: str
    compound: str = ROLES["perturbation"]
    interactions: Interactions | None = None
    published: PublishedInteractions | None = None


def score_pools(profiles: Profiles, pools: Pools, inputs: Inputs) -> Outcome:
    """Mean over compounds of the average precision of active genes by |cosine|, at the best dose and at each.

    RxRx3-core (``efaar_benchmarking``, compound-gene notebook). Negatives are genes of the table that
    were not measured as active, drawn by (seed, draw, compound), so that a compound's do not
    depend on the others; ties count by their expectation.

    Raises:
        InputError: no gene, a table that cannot be used, or no compound with an active gene and enough others.
    """
    genes, symbols, doses = _rows(profiles, pools.dose, pools.compound)
    truth, origin = _truth(profiles, pools)
    truth = truth[truth["gene"].isin(symbols)]
    everything = np.array(sorted(truth["gene"].unique()), dtype=object)
    place = {symbol: row for row, symbol in enumerate(symbols)}
    measured = {name: group.groupby("gene")["nm"].min() for name, group in truth.groupby("compound")}
    items = []
    for compound in sorted(doses):
        values = measured.get(compound, pd.Series(dtype=float))
        active = sorted(values.index[values <= pools.active_nm])
        excluded = values.index[values <= pools.excluded_nm]
        others = everything[~np.isin(everything, excluded)]
        n_negative = max(pools.negatives_per_active * len(active), pools.least_negatives)
        if not active or len(others) < n_negative:
            continue
        labels, vectors = doses[compound]
        cosines = np.abs(vectors @ genes.T)
        cosines[~vectors.any(axis=1)] = np.nan
        cosines[:, ~genes.any(axis=1)] = np.nan
        actives, inactives = ([place[gene] for gene in names] for names in (active, others))
        # The best dose of each gene, a NaN where no dose has one.
        for label, row in [(_BEST, np.fmax.reduce(cosines, axis=0)), *zip(labels, cosines, strict=True)]:
            drawn = [
                _precision(row, actives, inactives, n_negative, [inputs.seed, draw, crc32(compound.encode())])
                for draw in range(pools.draws)
            ]
            items.append((label, compound, active, len(active), n_negative, *np.mean(drawn, axis=0)))
    columns = ["dose", "perturbation", "active", "n_active", "n_negative", "average_precision", "expected"]
    table = pd.DataFrame(items, columns=columns)
    if table.empty:
        raise InputError(
            f"no compound has an active gene and {pools.least_negatives} other genes of the table in this screen; "
            "use the default variant, or name a table of interactions in the card"
        )
    skipped = len(doses) - table["perturbation"].nunique()
    warnings = [f"{skipped} compounds have no active gene or too few others, and take no part"] if skipped else []
    of_dose = {str(dose): group for dose, group in table.groupby("dose", sort=False)}
    by_dose = [_score(of_dose[dose], dose, inputs.seed) for dose in sorted(of_dose.keys() - {_BEST}, key=_amount)]
    return Outcome(
        scores=(_score(table[table["dose"] == _BEST], _BEST, inputs.seed),),
        items=table,
        map_rows="compounds by dose, and genes of the table of interactions",
        map_n=sum(len(labels) for labels, _ in doses.values()) + len(everything),
        secondary=tuple(by_dose) if len(by_dose) > 1 else (),
        warnings=(*warnings, origin, "negatives are genes not known to be active, drawn anew for each compound"),
    )


def _precision(
    similarity: np.ndarray, active: list[int], others: list[int], n_negative: int, key: list[int]
) -> tuple[float, float]:
    drawn = np.random.default_rng(key).choice(others, n_negative, replace=False)
    return pool_average_precision(similarity[[*active, *drawn]], np.arange(len(active) + n_negative) < len(active))


def _dose(value: object) -> str:
    """A dose as a score calls it: the same amount in all spellings, and what is no number as it is."""
    number = number_of(str(value))
    return str(value) if number is None else f"{float(number):g}"


def _amount(dose: str) -> tuple[float, str]:
    """Doses by amount; what is no number comes last."""
    try:
        return float(dose), dose
    except ValueError:
        return np.inf, dose


def _rows(
    profiles: Profiles, dose: str, compound: str
) -> tuple[np.ndarray, list[str], dict[str, tuple[list[str], np.ndarray]]]:
    """Unit rows of the genes, their symbols, and for each compound its doses and their unit rows."""
    wells = profiles.select(profiles.treated & profiles.role("perturbation").notna().to_numpy())
    gene = wells.metadata.get(ROLES["gene"], pd.Series(None, index=wells.metadata.index, dtype=object))
    if gene.isna().all():
        raise InputError(
            "compound-gene needs perturbed genes beside the compounds; name their column, --column gene=NAME"
        )
    rows, symbols = consensus(wells.features, gene)
    drugs = wells.select(gene.isna().to_numpy())
    names = _named(drugs, compound)
    level = drugs.metadata.get(dose, pd.Series(["one dose"] * len(drugs))).map(_dose)
    found = {}
    for name, part in drugs.metadata.groupby(names.astype(str).to_numpy(), sort=True):
        at = part.index.to_numpy()
        vectors, labels = consensus(drugs.features[at], level.iloc[at].reset_index(drop=True))
        found[str(name)] = (labels, unit_rows(vectors))
    return unit_rows(rows), symbols, found


def _named(profiles: Profiles, compound: str) -> pd.Series:
    """The compound of each well, whatever its dose; else the perturbation."""
    perturbation = profiles.role("perturbation")
    named = profiles.metadata.get(compound, perturbation)
    return named.where(named.notna(), perturbation)


def _truth(profiles: Profiles, pools: Pools) -> tuple[pd.DataFrame, str]:
    """What acts on what at how many nM, and where that is from."""
    if pools.interactions is not None:
        path = pools.interactions.path.expanduser()
        return _measured(path, pools.interactions.sha256), f"active genes are those of {path.name}"
    if "target" in profiles.roles:
        return _targets(profiles, pools.compound), "active genes are the targets that the screen names"
    if pools.published is None:
        raise InputError(
            "nothing says what compounds act on; name the column of targets, --column target=NAME, or a table of "
            "interactions in the card"
        )
    path = cache_dir() / "interactions" / pools.published.url.rpartition("/")[2]
    fetch_file(pools.published.url, path, pools.published.sha256)
    return _measured(path), f"active genes are those of {path.name} (sha256 {sha256_of(path)})"


def _targets(profiles: Profiles, compound: str) -> pd.DataFrame:
    """What the screen says its compounds target, as activities of 0 nM."""
    by_name = replace(
        profiles, metadata=profiles.metadata.assign(**{ROLES["perturbation"]: _named(profiles, compound)})
    )
    rows = perturbations(by_name, "mean").metadata
    listed = rows[rows["modality"] == "compounds"].explode("targets").dropna(subset=["targets"])
    return pd.DataFrame({"compound": listed["perturbation"], "gene": listed["targets"], "nm": 0.0})


def _measured(path: Path, sha256: str | None = None) -> pd.DataFrame:
    """Compound, gene and nM of each interaction that has all three."""
    text, numbers = ("treatment", "gene_symbol"), ("nM_value",)
    table = read_card_table(path, "interactions", text=text, numbers=numbers, sha256=sha256)
    return table.set_axis(["compound", "gene", "nm"], axis=1).dropna().astype({"nm": float})


def _score(items: pd.DataFrame, subset: str, seed: int) -> Score:
    precision, expected = items["average_precision"].to_numpy(), items["expected"].to_numpy()
    value = float(precision.mean())
    low, high = mean_of_related(precision, np.asarray(encode(items["active"]).sets), seed)
    return Score(
        metric="mAP",
        subset=subset,
        value=value,
        chance=float(expected.mean()),
        ceiling=1.0,
        ci_low=max(0.0, min(low, value)),
        ci_high=min(1.0, max(high, value)),
        n=len(items),
        unit="perturbations",
        too_few=len(items) < FEW_PERTURBATIONS,
    )
