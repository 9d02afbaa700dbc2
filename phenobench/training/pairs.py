"""Which two fields make a pair: two wells of one perturbation (CWA-MSN), or one field twice (plain MSN)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from phenobench.errors import InputError
from phenobench.profiles import ROLES


class PairsConfig(BaseModel):
    """``[pairs]``: the share of pairs that are one field twice, which goes linearly from start to end.

    From a cold start pairs of wells alone make a network collapse or learn slowly.

    Attributes:
        same_well_start: the share at the first step.
        same_well_end: the share at ``until`` and after.
        until: when the end is reached, as a share of the training.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    same_well_start: float = Field(default=1.0, ge=0, le=1)
    same_well_end: float = Field(default=0.0, ge=0, le=1)
    until: float = Field(default=0.3, ge=0, le=1)

    @property
    def alone(self) -> bool:
        """No pair is of two wells: plain MSN."""
        return self.same_well_start == self.same_well_end == 1


@dataclass(frozen=True)
class WellTable:
    """The wells that pairs are drawn from.

    Attributes:
        wells: rows of the screen's wells for each perturbation, (m,) each, at least two where pairs cross wells.
        plates: code of the plate by row of the screen's wells.
        batches: code of the batch likewise.
    """

    wells: tuple[np.ndarray, ...]
    plates: np.ndarray
    batches: np.ndarray


def well_table(wells: pd.DataFrame, pairs: PairsConfig, screen: str) -> WellTable:
    """The treated wells of a screen by perturbation; controls have no phenotype to align and are left out.

    Raises:
        InputError: no perturbation has two wells and pairs are to cross wells, or none has any.
    """
    rows = wells.reset_index(drop=True)
    treated = rows[rows[ROLES["perturbation"]].notna()]
    if ROLES["pert_type"] in treated:
        treated = treated[treated[ROLES["pert_type"]].isin(["trt", "poscon"])]
    groups = [group.to_numpy() for _, group in treated.index.to_series().groupby(treated[ROLES["perturbation"]])]
    if not groups:
        raise InputError(f"{screen} has no treated well with a perturbation; name the column, or take another screen")
    if not pairs.alone:
        groups = [group for group in groups if len(group) > 1]
        if not groups:
            raise InputError(
                f"no perturbation of {screen} has two wells, so no pair crosses wells; use --pairs same-well"
            )
    plates = pd.factorize(_key(rows, "source", "plate"))[0]
    batches = pd.factorize(_key(rows, "source", "batch" if ROLES["batch"] in rows else "plate"))[0]
    return WellTable(tuple(groups), plates, batches)


def _key(rows: pd.DataFrame, *roles: Literal["source", "batch", "plate"]) -> pd.Series:
    columns = [rows[ROLES[role]].astype(str) for role in roles if ROLES[role] in rows]
    key = columns[0]
    for column in columns[1:]:
        key = key + "\x1f" + column
    return key


def draw(table: WellTable, rng: np.random.Generator, n: int, same_well: float) -> list[tuple[int, int]]:
    """Draw the anchor's and the target's well of n pairs.

    Perturbations are drawn alike, none again before all had their turn; an anchor is any of their wells.

    Args:
        table: of wells.
        rng: of the step.
        n: pairs.
        same_well: the chance of a pair to be of one well.
    """
    rounds = -(-n // len(table.wells))
    order = np.concatenate([rng.permutation(len(table.wells)) for _ in range(rounds)])[:n]
    pairs = []
    for perturbation in order:
        wells = table.wells[perturbation]
        anchor = int(rng.choice(wells))
        same = rng.random() < same_well
        pairs.append((anchor, anchor if same else int(rng.choice(partners(table, wells, anchor)))))
    return pairs


def partners(table: WellTable, wells: np.ndarray, anchor: int) -> Sequence[int] | np.ndarray:
    """The wells that an anchor's target may come from: of other batches, else other plates, else the plate's others."""
    for codes in (table.batches, table.plates):
        others = wells[codes[wells] != codes[anchor]]
        if len(others):
            return others
    return wells[wells != anchor]
