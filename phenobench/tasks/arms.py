"""Chromosome arms: CRISPR knockouts on one arm look alike, related or not, and the published correction of it.

Cas9 cuts off what lies behind the cut now and then, so that each knockout of an arm's genes carries some of
the arm's loss (Lazar et al. 2024, Nature Genetics 56). What knockouts of genes that the cells do not
express show is this alone: their mean over an arm is subtracted from all of its genes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from phenobench.errors import InputError
from phenobench.tasks.card_table import read_card_table

NOT_CORRECTED = (
    "not corrected for chromosome arms: CRISPR knockouts of genes on one arm look alike, related or not, which raises "
    "this score where annotated genes are neighbours"
)


class Arms(BaseModel):
    """A CSV file that says where genes lie and whether the screen's cells express them.

    Attributes:
        path: columns ``gene``, ``arm`` (such as 17q) and ``zfpkm`` (expression, Hart et al. 2013).
        sha256: of the file; by it a result says what it rests on.
        unexpressed_below: zFPKM; -3 as published.
        more_than: an arm with no more unexpressed genes in the map is left as it is; 20 as published.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Path
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    unexpressed_below: float = -3.0
    more_than: int = Field(default=20, ge=0)


def centred_by_arm(features: np.ndarray, genes: Sequence[str], arms: Arms) -> tuple[np.ndarray, str]:
    """Rows of a map less the mean of the unexpressed genes of their arm (``proxbias``, recursionpharma).

    Args:
        features: (n, d); the rows of genes that the table does not have, and of arms with too few
            unexpressed ones, are left as they are.
        genes: n names.
        arms: the table.

    Returns:
        float64 (n, d), and what was done in one sentence.

    Raises:
        InputError: the table cannot be read, is another than the card means, lacks a column or has a gene twice,
            or no arm has enough unexpressed genes.
    """
    table = _read(arms)
    here = table.reindex(list(genes))
    unexpressed = (here["zfpkm"] < arms.unexpressed_below).to_numpy()
    of_arm = {str(arm): np.flatnonzero(here["arm"] == arm) for arm in sorted(table["arm"].unique())}
    centred = features.astype(np.float64)
    corrected = []
    for arm, rows in of_arm.items():
        silent = rows[unexpressed[rows]]
        if len(silent) > arms.more_than:
            centred[rows] -= features[silent].mean(axis=0, dtype=np.float64)
            corrected.append(arm)
    if not corrected:
        most = max((int(unexpressed[rows].sum()) for rows in of_arm.values()), default=0)
        raise InputError(
            f"{arms.path}: no chromosome arm has more than {arms.more_than} unexpressed genes in the map (at most "
            f"{most}); score without the correction"
        )
    return centred, (
        f"corrected for chromosome arms by the mean of unexpressed genes on {len(corrected)} of {len(of_arm)} arms; "
        f"{int(here['arm'].isna().sum())} of {len(genes)} rows of the map are on no arm of the table"
    )


def _read(arms: Arms) -> pd.DataFrame:
    table = read_card_table(arms.path, "arms", text=("gene", "arm"), numbers=("zfpkm",), sha256=arms.sha256)
    table = table.dropna(subset=["gene", "arm"])
    twice = table["gene"][table["gene"].duplicated()]
    if len(twice):
        raise InputError(f"{arms.path}: the gene {twice.iloc[0]} is there twice; give it one arm")
    return table.set_index("gene")
