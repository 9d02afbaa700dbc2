"""The screen that scores what simulated-training trains: its perturbations elsewhere, and compounds like its own."""

from __future__ import annotations

import numpy as np
import pandas as pd

from phenobench.cards import find, load
from phenobench.screens.simulated import SimulatedCard, compounds, descriptions, layout, phenotypes, planted
from phenobench.screens.simulated_images import load_simulated


def card(name: str) -> SimulatedCard:
    return load(find().screens[name], SimulatedCard)


TRAINING, HELDOUT = "simulated-training", "simulated-heldout"


def perturbations(name: str) -> set[str]:
    wells = layout(card(name))
    return set(wells.loc[wells["Metadata_pert_type"] == "trt", "Metadata_Perturbation"])


def test_what_was_trained_on_does_the_same_on_plates_of_another_batch() -> None:
    seen = perturbations(TRAINING)
    assert seen < perturbations(HELDOUT)
    there, here = phenotypes(card(TRAINING)), phenotypes(card(HELDOUT))
    for name in seen:
        np.testing.assert_array_equal(there[name].mean, here[name].mean)
        assert there[name].penetrance == here[name].penetrance
    trained, held = layout(card(TRAINING)), layout(card(HELDOUT))
    for column in ("Metadata_Plate", "Metadata_Batch"):
        assert not set(trained[column]) & set(held[column])
    # Places are drawn anew: a well's place says no more of its perturbation than chance has it.
    places = trained.merge(held, on="Metadata_Perturbation").query("Metadata_Perturbation != 'control'")
    assert (places["Metadata_Well_x"] == places["Metadata_Well_y"]).mean() < 0.01


def test_each_unseen_compound_shares_target_mechanism_and_a_part_of_its_text_with_a_seen_one() -> None:
    known = compounds(card(HELDOUT)).set_index("compound")
    unseen = perturbations(HELDOUT) - perturbations(TRAINING)
    assert len(unseen) == 52
    seen = known.drop(index=list(unseen)).set_index("target")
    said = {one.perturbation: one for one in descriptions(card(HELDOUT))}
    for name in unseen:
        target = known["target"][name]
        assert known["mechanism"][name] == seen["mechanism"][target]
        assert said[name].name == f"{seen.loc[target, 'mechanism']} {name}"
        assert said[name].info != seen["smiles"][target]
    assert pd.Series([one.info for one in said.values()]).is_unique


def test_no_name_is_in_a_screen_that_others_are_scored_on() -> None:
    for name in ("simulated", "simulated-hard", "simulated-small", "simulated-clean"):
        assert not perturbations(HELDOUT) & perturbations(name)


def test_a_batch_has_the_same_places_whatever_batch_a_screen_begins_with() -> None:
    whole = card(TRAINING)
    last = whole.model_copy(update={"first_batch": 4, "batches": 1})
    wanted = layout(whole).query("Metadata_Batch == 'batch4'").reset_index(drop=True)
    pd.testing.assert_frame_equal(layout(last), wanted)


def test_images_that_were_rendered_before_there_was_more_than_one_such_screen_are_still_those() -> None:
    assert load_simulated(find().screens[TRAINING]).images_sha256 == "2e4d5e7ac9863705"
    assert len(planted(card(TRAINING))[1]) == 24
