"""The simulated screen: real gene names in planted relations, laid out on plates at random, the same for every user."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from phenobench.profiles import ROLES

_ROWS, _COLUMNS = 16, 24


class SimulatedCard(BaseModel):
    """Sizes of a simulated screen; the layout follows from them and the seed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    title: str
    kind: Literal["simulated"]
    revision: str
    licence: str
    seed: int = Field(ge=0)
    complexes: int = Field(ge=1)
    single_genes: int = Field(ge=0)
    compounds: int = Field(ge=0)
    batches: int = Field(ge=1)
    plates_per_batch: int = Field(ge=1)
    controls_per_plate: int = Field(ge=2)


def planted(card: SimulatedCard) -> tuple[pd.DataFrame, pd.DataFrame, np.ndarray]:
    """The truth: genes with their complex, compounds with their target, and the pairs within complexes.

    The complexes are real ones, so that CORUM, StringDB and the like have something to say about
    them, and so few that the pairs of no source fill more than a third of a 5 % tail.
    """
    folder = Path(__file__).parent
    genes = pd.read_csv(folder / "simulated_genes.csv")
    names = genes["complex"].dropna().unique()[: card.complexes]
    grouped = genes[genes["complex"].isin(names)]
    genes = pd.concat([grouped, genes[genes["complex"].isna()].head(card.single_genes)], ignore_index=True)
    compounds = pd.read_csv(folder / "simulated_compounds.csv")
    compounds = compounds[compounds["target"].isin(genes["gene"])].head(card.compounds).reset_index(drop=True)
    members = [sorted(group) for _, group in grouped.groupby("complex", sort=True)["gene"]]
    pairs = sorted(pair for group in members for pair in combinations(group, 2))
    return genes, compounds, np.array(pairs)


def layout(card: SimulatedCard) -> pd.DataFrame:
    """One row a well: every gene and compound once a plate, at a place drawn anew for each plate."""
    genes, compounds, _ = planted(card)
    rng = np.random.default_rng(card.seed)
    treated = pd.DataFrame(
        {
            ROLES["perturbation"]: [*genes["gene"], *compounds["compound"]],
            ROLES["gene"]: [*genes["gene"], *[None] * len(compounds)],
            ROLES["pert_type"]: "trt",
            "Metadata_Target": [*[None] * len(genes), *compounds["target"]],
        }
    )
    controls = pd.DataFrame(
        {ROLES["perturbation"]: ["control"] * card.controls_per_plate, ROLES["pert_type"]: "negcon"}
    )
    content = pd.concat([treated, controls], ignore_index=True)
    places = np.array(
        [f"{chr(ord('A') + row)}{column:02d}" for row in range(_ROWS) for column in range(1, _COLUMNS + 1)]
    )
    plates = []
    for batch in range(1, card.batches + 1):
        for plate in range(1, card.plates_per_batch + 1):
            wells = content.copy()
            wells[ROLES["batch"]] = f"batch{batch}"
            wells[ROLES["plate"]] = f"batch{batch}-plate{plate}"
            wells[ROLES["well"]] = rng.permutation(places)[: len(content)]
            plates.append(wells)
    columns = [ROLES[role] for role in ("batch", "plate", "well", "perturbation", "gene", "pert_type")]
    return pd.concat(plates, ignore_index=True)[[*columns, "Metadata_Target"]]
