from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import pytest

from phenobench.profiles import Profiles
from phenobench.tasks.outcome import Inputs, Outcome, Score
from phenobench.tasks.replicate_retrieval import Protocol, score

ACROSS = Protocol(summary="", negatives="treated", pos_diffby=("plate",), neg_sameby=("plate",))
CONTROLS = Protocol(summary="", negatives="controls", pos_diffby=("plate",), neg_sameby=("plate",))
ALL = Protocol(summary="", negatives="treated", pos_diffby=("plate",), neg_sameby=())
SAME_PLATE = Protocol(summary="", negatives="treated", pos_diffby=(), neg_sameby=("plate",))
OTHER_WELL = Protocol(summary="", negatives="treated", pos_diffby=("plate", "well"), neg_sameby=("plate",))
PROTOCOLS: Mapping[str, Protocol] = {"across": ACROSS, "controls": CONTROLS, "all": ALL, "other well": OTHER_WELL}


def screen(n: int = 60, plates: int = 3, controls: int = 10, active: int = 30, strength: float = 2.0) -> Profiles:
    """Shuffled wells; the first perturbations have an effect."""
    rng = np.random.default_rng(1)
    names = [*(f"p{i:02d}" for i in range(n)), *["DMSO"] * controls]
    effects = np.zeros((n + controls, 32))
    effects[:active] = strength * rng.standard_normal((active, 32))
    wells, rows = [], []
    for plate in range(plates):
        order = rng.permutation(n + controls)
        wells.append(
            pd.DataFrame(
                {
                    "Metadata_Plate": f"plate {plate}",
                    "Metadata_Well": [f"{'ABCDEFGH'[i // 12]}{i % 12 + 1:02d}" for i in range(n + controls)],
                    "Metadata_Perturbation": np.array(names)[order],
                    "Metadata_pert_type": np.where(order < n, "trt", "negcon"),
                }
            )
        )
        rows.append(effects[order] + rng.standard_normal((n + controls, 32)))
    return Profiles(pd.concat(wells, ignore_index=True), np.concatenate(rows).astype(np.float32))


def retrieved(outcome: Outcome) -> Score:
    return next(score for score in outcome.secondary if score.metric == "share retrieved")


def by_perturbation(outcome: Outcome) -> pd.DataFrame:
    tests = outcome.items.groupby("perturbation")[["p_value", "q_value"]]
    assert (tests.nunique(dropna=False) == 1).all().all()
    return tests.first()


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=PROTOCOLS)
def test_active_perturbations_are_retrieved_and_the_others_are_not(protocol: Protocol) -> None:
    outcome = score(screen(), protocol, Inputs())
    found = by_perturbation(outcome)
    is_active = found.index < "p30"
    assert (found.loc[is_active, "q_value"] < 0.05).all()
    # At a false discovery rate of 5 % few of the other 30 come along.
    assert (found.loc[~is_active, "q_value"] < 0.05).sum() <= 5
    share = retrieved(outcome)
    assert share.value == pytest.approx((found["q_value"] < 0.05).mean())
    assert share.ci_low <= share.value <= share.ci_high
    assert (share.n, share.unit, share.chance, share.too_few) == (60, "perturbations", 0.0, False)


def test_noise_is_not_retrieved() -> None:
    outcome = score(screen(active=0), ACROSS, Inputs())
    assert retrieved(outcome).value <= 1 / 60
    assert (by_perturbation(outcome)["p_value"] < 0.05).mean() < 0.15


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=PROTOCOLS)
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_constant_embedding_retrieves_nothing(protocol: Protocol, value: float) -> None:
    profiles = screen()
    constant = Profiles(profiles.metadata, np.full((len(profiles), 4), value, dtype=np.float32))
    outcome = score(constant, protocol, Inputs())
    assert (by_perturbation(outcome)["p_value"] == 1).all()
    assert (retrieved(outcome).value, retrieved(outcome).ci_low) == (0, 0)


@pytest.mark.parametrize("protocol", [ACROSS, CONTROLS], ids=["across", "controls"])
def test_the_order_of_rows_does_not_matter_and_the_seed_does(protocol: Protocol) -> None:
    profiles = screen(n=30, active=10, strength=0.4)
    first = by_perturbation(score(profiles, protocol, Inputs(seed=3)))
    order = np.random.default_rng(2).permutation(len(profiles))
    shuffled = Profiles(profiles.metadata.iloc[order], profiles.features[order])
    pd.testing.assert_frame_equal(by_perturbation(score(shuffled, protocol, Inputs(seed=3))), first, check_exact=True)
    assert not by_perturbation(score(profiles, protocol, Inputs(seed=4))).equals(first)


def test_perturbations_of_one_well_have_no_p_value_and_are_counted() -> None:
    profiles = screen(n=20, active=5)
    labels = profiles.metadata["Metadata_Perturbation"].to_numpy(dtype=object, copy=True)
    plate = profiles.metadata["Metadata_Plate"].to_numpy()
    labels[(labels == "p19") & (plate != "plate 0")] = "DMSO"
    types = np.where(labels == "DMSO", "negcon", "trt")
    metadata = profiles.metadata.assign(Metadata_Perturbation=labels, Metadata_pert_type=types)
    outcome = score(Profiles(metadata, profiles.features), ACROSS, Inputs())
    alone = outcome.items[outcome.items["perturbation"] == "p19"]
    assert len(alone) == 1
    assert alone[["average_precision", "p_value", "q_value"]].isna().all().all()
    assert retrieved(outcome).n == outcome.scores[0].n == 19
    assert any(warning.startswith("1 treated wells have no positive") for warning in outcome.warnings)


def test_a_screen_on_one_plate_is_tested_within_it() -> None:
    profiles = screen(n=20, plates=3, active=10)
    position = profiles.metadata["Metadata_Plate"].str[-1] + profiles.metadata["Metadata_Well"]
    wells = {name: f"{'ABCDEFGH'[i // 12]}{i % 12 + 1:02d}" for i, name in enumerate(sorted(position))}
    metadata = profiles.metadata.assign(Metadata_Plate="only", Metadata_Well=position.map(wells))
    found = by_perturbation(score(Profiles(metadata, profiles.features), SAME_PLATE, Inputs()))
    assert (found.loc[found.index < "p10", "q_value"] < 0.05).all()


def test_screens_that_are_too_large_have_no_p_values_and_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("phenobench.metrics.group_null", "phenobench.tasks.replicate_retrieval"):
        monkeypatch.setattr(f"{module}.MOST_ROWS", 100)
    outcome = score(screen(), ACROSS, Inputs())
    assert [score.metric for score in outcome.secondary] == ["normalized mAP"]
    assert outcome.items["p_value"].isna().all()
    assert "60 of 60 perturbations have no p-value, since 180 wells are more than 100" in outcome.warnings
