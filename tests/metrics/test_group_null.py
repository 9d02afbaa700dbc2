from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from phenobench.metrics import average_precision
from phenobench.metrics.group_null import DRAWS, FEWEST_DRAWS, GroupTest, group_p_values
from phenobench.metrics.ties import expected_average_precision


def screen(n_groups: int, n_plates: int, wells: int = 1, controls: int = 0) -> tuple[np.ndarray, np.ndarray]:
    plate = [*np.repeat(np.arange(n_groups), wells), *[-1] * controls]
    return np.repeat(np.arange(n_plates), len(plate)), np.tile(plate, n_plates)


def noise(rows: int, seed: int) -> np.ndarray:
    return np.random.default_rng([11, seed]).standard_normal((rows, 32))


def test_the_mean_average_precision_is_that_of_the_ranking() -> None:
    plates, groups = screen(6, 3, wells=2)
    features = np.random.default_rng(3).integers(-1, 2, (len(plates), 3)).astype(float)
    for within in (True, False):
        test = group_p_values(features, plates, groups, pos_diffby=[plates], within_plate=within, draws=99)
        table = average_precision(
            features,
            pd.DataFrame({"plate": plates, "group": groups}),
            pos_sameby=["group"],
            pos_diffby=["plate"],
            neg_sameby=["plate"] if within else [],
            neg_diffby=["group"],
        )
        wanted = table["average_precision"].groupby(groups).mean()
        np.testing.assert_allclose(test.mean_average_precision, wanted, atol=1e-12)


def test_two_wells_agree_with_enumeration() -> None:
    # 8 groups on 2 plates: the 56 pairs of wells of different groups, and the group itself.
    plates, groups = screen(8, 2)
    features = noise(16, 1)
    units = features / np.linalg.norm(features, axis=1, keepdims=True)
    cosines = units @ units.T

    def precision(query: int, positive: int) -> float:
        rivals = [row for row in range(16) if row // 8 == query // 8 and row != query]
        return 1 / (1 + sum(cosines[query, row] > cosines[query, positive] for row in rivals))

    def mean_precision(one: int, other: int) -> float:
        return (precision(one, other) + precision(other, one)) / 2

    null = np.array([mean_precision(one, 8 + other) for one in range(8) for other in range(8) if one != other])
    observed = np.array([mean_precision(group, 8 + group) for group in range(8)])
    exact = (1 + (null >= observed[:, None] - 1e-9).sum(axis=1)) / 57
    test = group_p_values(features, plates, groups, pos_diffby=[plates])
    np.testing.assert_allclose(test.mean_average_precision, observed)
    assert (np.abs(test.p_value - exact) < 4.5 * np.sqrt(exact * (1 - exact) / test.n_draws) + 1e-3).all()


@pytest.mark.parametrize(
    ("n_groups", "n_plates", "wells", "controls"),
    [(60, 2, 1, 0), (30, 3, 2, 0), (60, 4, 1, 0), (5, 4, 1, 0), (30, 3, 1, 12)],
)
def test_groups_of_noise_are_rejected_as_often_as_the_level_says(
    n_groups: int, n_plates: int, wells: int, controls: int
) -> None:
    plates, groups = screen(n_groups, n_plates, wells, controls)
    p = np.concatenate(
        [
            group_p_values(noise(len(plates), seed), plates, groups, pos_diffby=[plates], draws=999, seed=seed).p_value
            for seed in range(-(-900 // n_groups))
        ]
    )
    # Groups of one screen are almost independent: twice the binomial variance is on the safe side.
    for level in (0.05, 0.2):
        assert abs((p <= level).mean() - level) < 3 * np.sqrt(2 * level * (1 - level) / len(p))


def planted(strength: float, seed: int) -> GroupTest:
    plates, groups = screen(40, 4)
    effects = strength * np.random.default_rng([seed, 5]).standard_normal((40, 32))
    effects[20:] = 0
    return group_p_values(effects[groups] + noise(160, seed), plates, groups, pos_diffby=[plates], draws=1999)


def test_planted_effects_are_found_and_the_others_are_not() -> None:
    p = np.stack([planted(1.0, seed).p_value for seed in range(10)])
    assert (p[:, :20] < 0.05).mean() > 0.9
    # A screen's other effects widen the null of an inactive perturbation, and never narrow it.
    assert (p[:, 20:] < 0.05).mean() < 0.05 + 3 * np.sqrt(2 * 0.05 * 0.95 / 200)


def test_stronger_effects_have_smaller_p_values() -> None:
    found = [
        np.mean([(planted(strength, seed).p_value[:20] < 0.05).mean() for seed in range(5)]) for strength in (0.3, 0.6)
    ]
    assert 0.05 < found[0] < found[1]


def test_p_values_follow_the_seed_and_not_the_order_of_groups() -> None:
    plates, groups = screen(20, 3)
    features = noise(60, 3)
    first = group_p_values(features, plates, groups, pos_diffby=[plates], draws=499)
    again = group_p_values(features, plates, 19 - groups, pos_diffby=[plates], draws=499)
    np.testing.assert_array_equal(first.p_value, again.p_value[::-1])
    other = group_p_values(features, plates, groups, pos_diffby=[plates], draws=499, seed=1)
    assert not np.array_equal(first.p_value, other.p_value)


def test_p_values_do_not_depend_on_the_shape_of_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    plates, groups = screen(12, 3, wells=2, controls=4)
    features = noise(len(plates), 4)
    whole = group_p_values(features, plates, groups, pos_diffby=[plates], draws=299)
    monkeypatch.setattr("phenobench.metrics.group_null._BLOCK_CELLS", 5 * len(plates))
    blocks = group_p_values(features, plates, groups, pos_diffby=[plates], draws=299)
    np.testing.assert_array_equal(whole.p_value, blocks.p_value)


def test_a_batch_has_the_p_values_that_it_has_alone() -> None:
    # Rows of the second batch come first, so that a batch's rows and columns are not those of the screen.
    plates, groups = screen(12, 3, wells=2)
    features = noise(2 * len(plates), 12)
    both = group_p_values(
        features,
        np.concatenate([plates + 3, plates]),
        np.concatenate([groups + 12, groups]),
        pos_diffby=[np.concatenate([plates + 3, plates])],
        draws=299,
    )
    alone = group_p_values(features[len(plates) :], plates, groups, pos_diffby=[plates], draws=299)
    np.testing.assert_array_equal(both.p_value[:12], alone.p_value)
    np.testing.assert_array_equal(both.mean_average_precision[:12], alone.mean_average_precision)
    assert not np.isnan(both.p_value[12:]).any()


# Edges


@pytest.mark.parametrize("value", [0.0, 1.0])
@pytest.mark.parametrize("controls", [0, 5])
def test_a_constant_embedding_is_never_significant(value: float, controls: int) -> None:
    plates, groups = screen(10, 3, controls=controls)
    test = group_p_values(np.full((len(plates), 4), value), plates, groups, pos_diffby=[plates], draws=199)
    np.testing.assert_array_equal(test.p_value, 1.0)


def test_equal_plates_leave_nothing_to_chance_but_the_position() -> None:
    # The same features on every plate: each well finds its own copies first, and no random group does so well.
    plates, groups = screen(20, 4)
    test = group_p_values(np.tile(noise(20, 5), (4, 1)), plates, groups, pos_diffby=[plates], draws=999)
    np.testing.assert_allclose(test.mean_average_precision, 1.0)
    assert (test.p_value < 0.005).all()


def test_groups_of_one_well_and_of_one_plate_have_no_p_value() -> None:
    plates, groups = screen(10, 2)
    groups[plates == 1] = np.where(groups[plates == 1] == 9, 10, groups[plates == 1])
    test = group_p_values(noise(20, 6), plates, groups, pos_diffby=[plates], draws=99)
    assert np.flatnonzero(np.isnan(test.p_value)).tolist() == [9, 10]
    assert test.n_draws.tolist() == [99] * 9 + [0, 0]


def test_one_perturbation_alone_has_no_negatives_and_no_p_value() -> None:
    plates, groups = screen(1, 4, wells=3)
    test = group_p_values(noise(12, 7), plates, groups, pos_diffby=[plates], draws=99)
    assert np.isnan(test.p_value).all()


def test_wells_without_negatives_on_their_plate_are_not_scored() -> None:
    # Plate 2 holds group 0 alone.
    plates = np.array([0] * 6 + [1] * 6 + [2])
    groups = np.array([*range(6), *range(6), 0])
    test = group_p_values(noise(13, 8), plates, groups, pos_diffby=[plates], draws=199)
    assert not np.isnan(test.p_value).any()


def test_zero_vectors_take_the_worst_rank() -> None:
    plates, groups = screen(15, 3)
    features = np.tile(noise(15, 9), (3, 1))
    features[groups == 4] = 0
    test = group_p_values(features, plates, groups, pos_diffby=[plates], draws=499)
    # All wells are tied at the worst rank for the query, so its group is at the chance of a tie.
    (chance,) = expected_average_precision(np.array([2]), np.array([16]))
    assert test.mean_average_precision[4] == pytest.approx(chance)
    assert test.p_value[4] > 0.05 > test.p_value[3]


def test_few_wells_cannot_look_significant_by_drawing_the_same_sets_again() -> None:
    # 4 perturbations on 2 plates: 12 other sets, so no p below 1 / 13 however many draws.
    plates, groups = screen(4, 2)
    test = group_p_values(np.tile(np.eye(4), (2, 1)), plates, groups, pos_diffby=[plates])
    assert (test.p_value >= 1 / 13).all()
    assert test.p_value == pytest.approx(1 / 13, abs=0.01)


def test_groups_that_cost_too_much_are_left_out_and_the_others_are_not() -> None:
    plates, groups = screen(12, 3, wells=1)
    groups = np.concatenate([groups, np.full(150, 12)])
    plates = np.concatenate([plates, np.repeat([0, 1, 2], 50)])
    test = group_p_values(noise(len(plates), 10), plates, groups, pos_diffby=[plates])
    assert test.n_draws[12] == 0
    assert np.isnan(test.p_value[12])
    assert not np.isnan(test.p_value[:12]).any()


def test_against_controls_only_what_may_be_significant_gets_all_draws() -> None:
    plates, groups = screen(12, 3, controls=10)
    effects = np.zeros((13, 32))
    effects[:3] = 3 * np.random.default_rng(11).standard_normal((3, 32))
    test = group_p_values(effects[groups] + noise(len(plates), 11), plates, groups, pos_diffby=[plates])
    assert (test.n_draws[:3] == DRAWS).all()
    assert (test.p_value[:3] < 0.01).all()
    assert set(test.n_draws) == {FEWEST_DRAWS, DRAWS}
    assert (test.p_value[test.n_draws == FEWEST_DRAWS] >= 0.1).all()
