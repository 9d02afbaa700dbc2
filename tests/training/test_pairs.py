"""Which wells make a pair."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd
import pytest

from phenobench.errors import InputError
from phenobench.training.pairs import PairsConfig, draw, partners, well_table
from tests.training.screens import make_wells

CROSS = PairsConfig(same_well_start=0.0, same_well_end=0.0)


def drawn(
    wells: pd.DataFrame, n: int = 400, same_well: float = 0.0, seed: int = 0
) -> list[tuple[pd.Series, pd.Series]]:
    pairs = draw(well_table(wells, CROSS, "made"), np.random.default_rng(seed), n, same_well)
    return [(wells.iloc[anchor], wells.iloc[target]) for anchor, target in pairs]


def test_a_pair_is_two_wells_of_one_perturbation_and_never_a_control() -> None:
    for wells in (make_wells(copies=2), make_wells(batches=1, plates=1, copies=3), make_wells(batches=1)):
        for anchor, target in drawn(wells):
            assert anchor.name != target.name
            assert anchor["Metadata_Perturbation"] == target["Metadata_Perturbation"] != "control"


@pytest.mark.parametrize(
    ("batches", "plates", "other"),
    [(2, 2, "Metadata_Batch"), (1, 2, "Metadata_Plate"), (3, 1, "Metadata_Batch")],
)
def test_other_batches_come_before_other_plates_before_other_wells(batches: int, plates: int, other: str) -> None:
    for anchor, target in drawn(make_wells(batches, plates, copies=2)):
        assert anchor[other] != target[other]


def test_without_a_column_for_the_batch_other_plates_are_taken() -> None:
    for anchor, target in drawn(make_wells(copies=2).drop(columns="Metadata_Batch")):
        assert anchor["Metadata_Plate"] != target["Metadata_Plate"]


def test_plates_of_one_name_in_two_sources_are_two_plates() -> None:
    wells = pd.concat([make_wells(1, 1, 2).assign(Metadata_Source=name) for name in "ab"], ignore_index=True)
    for anchor, target in drawn(wells.drop(columns="Metadata_Batch")):
        assert anchor["Metadata_Source"] != target["Metadata_Source"]


def test_perturbations_are_drawn_alike_and_all_their_partners_too() -> None:
    wells = make_wells()
    pairs = drawn(wells, 4000)
    perturbations = Counter(anchor["Metadata_Perturbation"] for anchor, _ in pairs)
    assert set(perturbations.values()) == {800}
    ways = Counter((anchor["Metadata_Plate"], target["Metadata_Plate"]) for anchor, target in pairs)
    assert len(ways) == 8  # 4 plates, 2 of the other batch each
    assert max(ways.values()) < 1.3 * min(ways.values())


def test_the_share_of_pairs_of_one_well_is_what_was_asked_for() -> None:
    same = [anchor.name == target.name for anchor, target in drawn(make_wells(), 4000, same_well=0.3)]
    assert np.mean(same) == pytest.approx(0.3, abs=0.03)
    assert all(anchor.name == target.name for anchor, target in drawn(make_wells(), same_well=1.0))


def test_a_perturbation_with_one_well_is_only_in_pairs_of_one_well() -> None:
    wells = pd.concat(
        [make_wells(), make_wells(1, 1).head(1).assign(Metadata_Perturbation="lonely")], ignore_index=True
    )
    assert "lonely" not in {anchor["Metadata_Perturbation"] for anchor, _ in drawn(wells)}
    table = well_table(wells, PairsConfig(same_well_start=1.0, same_well_end=1.0), "made")
    assert len(table.wells) == 6


def test_partners_leave_out_the_anchor() -> None:
    table = well_table(make_wells(1, 1, 3), CROSS, "made")
    assert set(partners(table, table.wells[0], int(table.wells[0][1]))) == {table.wells[0][0], table.wells[0][2]}


def test_a_screen_without_pairs_is_refused() -> None:
    single = make_wells(1, 1)
    with pytest.raises(InputError, match=r"no perturbation of made has two wells.*same-well"):
        well_table(single, CROSS, "made")
    with pytest.raises(InputError, match="no treated well"):
        well_table(single[single["Metadata_pert_type"] == "negcon"], CROSS, "made")
