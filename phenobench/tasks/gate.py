"""The gate of published protocols: which perturbations are replicable, and so are asked for their target at all."""

from __future__ import annotations

import numpy as np
import pandas as pd

from phenobench.errors import InputError
from phenobench.metrics.ranking import average_precision
from phenobench.metrics.significance import average_precision_null, benjamini_hochberg, p_value
from phenobench.profiles import ROLES, Profiles

_ALPHA = 0.05


def replicable(profiles: Profiles, perturbations: pd.DataFrame, seed: int) -> np.ndarray:
    """Whether the replicates of each perturbation find each other among the negative controls of their plates.

    CPJUMP1's replicability: mean average precision of all wells of a perturbation, its p-value
    against random rankings, Benjamini-Hochberg below 0.05. As in copairs, the wells of a
    perturbation share their random rankings, which makes the test conservative.

    Args:
        profiles: the wells, negative controls among them.
        perturbations: rows with a column ``perturbation``.
        seed: of the random rankings.

    Returns:
        One value a row of ``perturbations``, boolean (n,); false where it has no replicate.

    Raises:
        InputError: there is no column for the plate, or no perturbation has replicates and negative controls on their
            plates.
    """
    if ROLES["plate"] not in profiles.metadata:
        raise InputError(
            "this variant keeps perturbations whose replicates find each other among the negative controls of their "
            "plates, and there is no column for the plate; name it with --column plate=NAME, take each file for one "
            "with --plate-from-file, or use the default variant"
        )
    treated = profiles.treated & profiles.role("perturbation").notna().to_numpy()
    wells = profiles.select(treated | profiles.negative_controls)
    columns = pd.DataFrame(
        {
            "plate": wells.groups("plate")[0],
            "perturbation": wells.role("perturbation").to_numpy(),
            "treated": wells.treated,
        }
    )
    table = average_precision(
        wells.features,
        columns,
        pos_sameby=["perturbation", "treated"],
        pos_diffby=[],
        neg_sameby=["plate"],
        neg_diffby=["treated"],
    )
    table = table.assign(perturbation=columns["perturbation"].astype(str))[columns["treated"]].dropna()
    if table.empty:
        raise InputError(
            "this variant keeps perturbations that are replicable, and none has replicates and negative controls on "
            "their plates; check --negcon, or use the default variant"
        )
    pairs = list(zip(table["n_pos_pairs"], table["n_total_pairs"], strict=True))
    nulls = {pair: average_precision_null(*pair, seed=seed) for pair in set(pairs)}
    groups = table.assign(pair=pd.Series(pairs, index=table.index)).groupby("perturbation", sort=True)
    means = groups["average_precision"].mean()
    p_values = [
        p_value(means[name], np.mean([nulls[pair] for pair in group["pair"]], axis=0)) for name, group in groups
    ]
    significant = means.index[benjamini_hochberg(np.array(p_values)) < _ALPHA]
    return perturbations["perturbation"].isin(significant).to_numpy()
