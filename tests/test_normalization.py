from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.linalg import fractional_matrix_power

from phenobench import fitting, normalization
from phenobench.errors import InputError
from phenobench.normalization import (
    CHAINS,
    DEFAULT,
    center,
    chain,
    normalize,
    pca_center_scale,
    robust_standardize,
    sphere,
    standardize,
    tvn,
)
from phenobench.profiles import Profiles
from tests.shared import shared

GOLDENS = Path(__file__).parent / "goldens"
NAMES = [*CHAINS, DEFAULT, "center+sphere", "standardize+tvn"]
STEPS: dict[str, Callable[..., Profiles]] = {
    "center": center,
    "standardize": standardize,
    "robust_standardize": robust_standardize,
    "sphere": sphere,
    "pca_center_scale": pca_center_scale,
    "tvn": tvn,
}


def profiles_of(
    features: np.ndarray, control: np.ndarray, plate: np.ndarray, batch: np.ndarray | None = None
) -> Profiles:
    metadata = pd.DataFrame(
        {
            "Metadata_Plate": plate,
            "Metadata_Well": [f"A{i + 1:02d}" for i in range(len(features))],
            "Metadata_pert_type": np.where(control, "negcon", "trt"),
        }
    )
    if batch is not None:
        metadata["Metadata_Batch"] = batch
    return Profiles(metadata, features)


def screen(seed: int = 0, d: int = 6, n_plates: int = 4, n_wells: int = 40, n_controls: int = 16) -> Profiles:
    """Correlated features with an offset and a scale a plate; two plates a batch."""
    rng = np.random.default_rng(seed)
    plate = np.repeat(np.arange(n_plates), n_wells)
    mixing = np.eye(d) + 0.4 * rng.standard_normal((d, d))
    features = rng.standard_normal((len(plate), d)) @ mixing * rng.uniform(0.5, 2, (n_plates, d))[plate]
    features += 3 * rng.standard_normal((n_plates, d))[plate]
    control = np.tile(np.arange(n_wells) < n_controls, n_plates)
    features[~control] += rng.standard_normal((int((~control).sum()), d))
    return profiles_of(features, control, plate, plate // 2)


def controls_of(profiles: Profiles, column: str = "Metadata_Plate") -> list[np.ndarray]:
    groups = profiles.metadata[column].to_numpy()
    return [
        profiles.features[profiles.negative_controls & (groups == group)].astype(np.float64)
        for group in np.unique(groups)
    ]


# Against pycytominer 1.7.1


def golden_profiles(key: str = "X", n_controls: int | None = None) -> tuple[Any, Profiles]:
    golden = np.load(GOLDENS / "pycytominer_normalize.npz")
    control = golden["pert"] == "negcon"
    if n_controls is not None:
        control &= np.cumsum(control) <= n_controls
    return golden, profiles_of(golden[key], control, golden["plate"])


def assert_close(ours: np.ndarray, theirs: np.ndarray) -> None:
    """Equal to 1e-5 of the spread of each feature: profiles hold float32."""
    assert (np.abs(ours - theirs).max(axis=0) <= 1e-5 * theirs.std(axis=0)).all()


@pytest.mark.parametrize(
    ("step", "key"),
    [
        (partial(standardize, by="plate"), "plate_negcon_standardize"),
        (partial(standardize, controls="all"), "all_standardize"),
        (partial(robust_standardize, by="plate"), "plate_negcon_mad_robustize"),
        (partial(robust_standardize, controls="all"), "all_mad_robustize"),
        (sphere, "spherize_ZCA-cor"),
    ],
)
def test_agrees_with_pycytominer(step: Callable[[Profiles], Profiles], key: str) -> None:
    golden, profiles = golden_profiles()
    assert_close(step(profiles).features, golden[key])


def test_sphere_with_fewer_controls_than_features_agrees_with_pycytominer() -> None:
    golden, profiles = golden_profiles(n_controls=16)
    got = sphere(profiles)
    assert_close(got.features, golden["spherize_small_n16_ZCA-cor"])
    assert got.steps[-1]["rank_min"] == 15
    assert got.notes == (
        "sphere: 16 negative controls for 30 features, so the whitening is not determined by the data",
    )


def test_a_feature_without_deviation_stays_unscaled() -> None:
    golden, profiles = golden_profiles("X_mad0")
    got = robust_standardize(profiles, by="plate").features
    rest = np.arange(30) != 7
    assert_close(got[:, rest], golden["mad0_plate_negcon_mad_robustize"][:, rest])
    # There pycytominer has values of 1e19; the median of column 7 is 0 on every plate.
    assert np.abs(golden["mad0_plate_negcon_mad_robustize"][:, 7]).max() > 1e18
    np.testing.assert_array_equal(got[:, 7], profiles.features[:, 7])


@pytest.mark.parametrize(("method", "step"), [("standardize", standardize), ("mad_robustize", robust_standardize)])
def test_agrees_with_the_installed_pycytominer(method: str, step: Callable[..., Profiles]) -> None:
    from pycytominer import normalize as theirs_of

    profiles = screen(1)
    names = list(profiles.feature_names)
    got = step(profiles, by="plate")
    for plate in range(4):
        rows = (profiles.metadata["Metadata_Plate"] == plate).to_numpy()
        table = pd.concat(
            [
                profiles.metadata[rows],
                pd.DataFrame(profiles.features[rows], columns=names).set_index(np.flatnonzero(rows)),
            ],
            axis=1,
        ).astype(dict.fromkeys(names, "float64"))
        theirs = theirs_of(table, features=names, samples="Metadata_pert_type == 'negcon'", method=method)
        assert_close(got.features[rows], theirs[names].to_numpy())


# Against EFAAR 1.0


def efaar() -> tuple[Any, Profiles]:
    golden = np.load(shared("goldens", "efaar.npz"))
    return golden, profiles_of(golden["X"], golden["gene"] == "CTRL", golden["batch"], golden["batch"])


def assert_same_gram(ours: np.ndarray, theirs: np.ndarray) -> None:
    """The principal axes have no sign, so inner products are compared."""
    rows = ours.astype(np.float64)
    wanted = theirs @ theirs.T
    length = np.sqrt(np.diag(wanted))
    assert (np.abs(rows @ rows.T - wanted) <= 1e-5 * np.outer(length, length)).all()


@pytest.mark.parametrize("rank", ["full", "auto"])
def test_tvn_agrees_with_efaar(rank: str) -> None:
    golden, profiles = efaar()
    got = tvn(profiles, rank=rank)  # type: ignore[arg-type]
    assert_same_gram(got.features, golden["tvn_batch"])
    assert (got.steps[-1]["components"], got.steps[-1]["n_fitted"], got.steps[-1]["n_groups"]) == (48, 360, 6)
    assert_same_gram(tvn(profiles, rank=rank, by=None).features, golden["tvn_nobatch"])  # type: ignore[arg-type]
    assert_same_gram(normalize(profiles, "tvn-efaar" if rank == "full" else "tvn").features, golden["tvn_batch"])


def test_standardize_agrees_with_efaar() -> None:
    golden, profiles = efaar()
    assert_close(standardize(profiles).features, golden["centerscale_on_controls"])
    assert_close(standardize(profiles, by="batch").features, golden["centerscale_on_controls_batch"])


# What each step promises of the controls


@pytest.mark.parametrize("by", [None, "plate", "batch"])
def test_controls_are_centred_by_group(by: Any) -> None:
    profiles = screen(2)
    columns = {"plate": "Metadata_Plate", "batch": "Metadata_Batch"}
    for step in (center, standardize):
        got = step(profiles, by=by)
        groups = controls_of(got, columns[by]) if by else [got.features[got.negative_controls].astype(np.float64)]
        for controls in groups:
            np.testing.assert_allclose(controls.mean(axis=0), 0, atol=1e-6)
            if step is standardize:
                np.testing.assert_allclose(controls.std(axis=0), 1, atol=1e-6)
    # Differences within a group are left alone by centring.
    np.testing.assert_allclose(
        np.diff(center(profiles, by=by).features[:40], axis=0), np.diff(profiles.features[:40], axis=0), atol=1e-5
    )


def test_robust_controls_have_median_zero_and_deviation_one() -> None:
    for controls in controls_of(robust_standardize(screen(3), by="plate")):
        np.testing.assert_allclose(np.median(controls, axis=0), 0, atol=1e-6)
        deviation = 1.4826 * np.median(np.abs(controls), axis=0)
        np.testing.assert_allclose(deviation, 1, atol=1e-5)


def test_sphere_makes_the_controls_white() -> None:
    for step in (sphere, partial(sphere, by="plate")):
        got = step(screen(4))
        groups = controls_of(got) if "by" in getattr(step, "keywords", {}) else [got.features[got.negative_controls]]
        for controls in groups:
            np.testing.assert_allclose(np.cov(controls, rowvar=False), np.eye(6), atol=1e-4)
            np.testing.assert_allclose(controls.mean(axis=0), 0, atol=1e-5)


def test_sphere_stays_close_to_the_axes_of_the_features() -> None:
    profiles = screen(5)
    controls = profiles.negative_controls
    got = sphere(profiles).features[controls]
    before = profiles.features[controls]
    correlation = np.corrcoef(got, before, rowvar=False)[:6, 6:]
    assert (correlation.argmax(axis=1) == np.arange(6)).all()


def test_tvn_without_a_ridge_makes_each_batch_white() -> None:
    for controls in controls_of(tvn(screen(6), ridge=0.0), "Metadata_Batch"):
        np.testing.assert_allclose(np.cov(controls, rowvar=False), np.eye(6), atol=1e-4)


def test_tvn_shrinks_by_its_ridge() -> None:
    # Whatever the data, (C + r I)^(-1/2) takes the eigenvalues c of a batch's covariance to c / (c + r).
    profiles = screen(7)
    before = controls_of(tvn(profiles, by=None), "Metadata_Batch")
    after = controls_of(tvn(profiles, ridge=2.0), "Metadata_Batch")
    for one, two in zip(before, after, strict=True):
        values = np.linalg.eigvalsh(np.cov(one, rowvar=False))
        np.testing.assert_allclose(np.linalg.eigvalsh(np.cov(two, rowvar=False)), values / (values + 2), atol=1e-5)


def test_pca_center_scale_agrees_with_an_svd() -> None:
    profiles = screen(8)
    got = pca_center_scale(profiles)
    assert got.feature_names == tuple(f"PC{i}" for i in range(1, 7))
    for controls in controls_of(got, "Metadata_Batch"):
        np.testing.assert_allclose(controls.mean(axis=0), 0, atol=1e-5)
        np.testing.assert_allclose(controls.std(axis=0), 1, atol=1e-5)
    features = profiles.features.astype(np.float64)
    control, batch = profiles.negative_controls, profiles.metadata["Metadata_Batch"].to_numpy()
    features -= features[control].mean(axis=0)
    rotated = features @ np.linalg.svd(features[control], full_matrices=False)[2].T
    for group in (0, 1):
        rows = batch == group
        fitted = rotated[rows & control]
        rotated[rows] = (rotated[rows] - fitted.mean(axis=0)) / fitted.std(axis=0)
    np.testing.assert_allclose(np.abs(got.features), np.abs(rotated), atol=1e-4)


@pytest.mark.parametrize("n_controls", [3, 12, 16])
def test_whitening_by_few_controls_is_that_of_their_covariance(n_controls: int) -> None:
    # Two plates a batch: fewer controls than features in a batch, as many, and more.
    profiles = screen(31, d=24, n_plates=12, n_controls=n_controls)
    before, after = tvn(profiles, by=None), tvn(profiles, ridge=0.3)
    components = after.features.shape[1]
    for batch in range(6):
        rows = (profiles.metadata["Metadata_Batch"] == batch).to_numpy()
        features = before.features[rows].astype(np.float64)
        covariance = np.cov(features[profiles.negative_controls[rows]], rowvar=False) + 0.3 * np.eye(components)
        wanted = features @ fractional_matrix_power(covariance, -0.5)
        np.testing.assert_allclose(after.features[rows], wanted, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_blocks_do_not_matter(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    profiles = screen(32)
    wanted = normalize(profiles, name)
    monkeypatch.setattr(fitting, "_BLOCK_CELLS", 50)
    monkeypatch.setattr(fitting, "_COLUMN_CELLS", 100)
    got = normalize(profiles, name)
    np.testing.assert_allclose(got.features, wanted.features, rtol=1e-6, atol=1e-6)
    assert got.steps == wanted.steps


# Many wells


@pytest.mark.parametrize("by", ["batch", None])
@pytest.mark.parametrize("n_controls", [4, 16, 30])
def test_many_wells_are_whitened_in_single_precision_as_closely_as_the_contract_asks(
    by: Any, n_controls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Far from 0, where the mean of what is rounded to float32 would be lost.
    profiles = screen(33, d=24, n_plates=12, n_controls=n_controls)
    profiles = Profiles(profiles.metadata, profiles.features + np.float32(300))
    wanted = tvn(profiles, by=by)
    monkeypatch.setattr(normalization, "_MANY", 0)
    got = tvn(profiles, by=by)
    assert not np.array_equal(got.features, wanted.features)
    assert_same_gram(got.features, wanted.features.astype(np.float64))
    assert got.steps == wanted.steps


@pytest.mark.parametrize("ridge", [0.5, 0.0])
def test_many_wells_of_nearly_collinear_features_stay_in_double_precision(
    ridge: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    profiles = screen(34)
    if ridge:
        # A component with a 3,000th of the deviation of the others.
        close = profiles.features[:, :1] * (1 + 1e-3 * profiles.features[:, 1:2] / np.abs(profiles.features).max())
        profiles = Profiles(profiles.metadata, np.hstack([profiles.features, close]))
    wanted = tvn(profiles, ridge=ridge)
    monkeypatch.setattr(normalization, "_MANY", 0)
    np.testing.assert_array_equal(tvn(profiles, ridge=ridge).features, wanted.features)


def test_columns_standardized_in_parts_are_those_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    controls = np.random.default_rng(35).normal(3, 2, (50, 7))
    controls[:, 2] = 4.0
    whole, parts = controls.copy(), controls.copy()
    wanted = fitting.standardize_in_place(whole)
    monkeypatch.setattr(fitting, "_PART_CELLS", 50)
    for one, two in zip((*wanted, whole), (*fitting.standardize_in_place(parts), parts), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-13)
    np.testing.assert_array_equal(wanted[2], np.arange(7) != 2)
    np.testing.assert_allclose(whole.std(axis=0), np.arange(7) != 2, atol=1e-12)


# Treated wells


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(NAMES),
    st.integers(0, 3),
    st.integers(16, 39),
    st.lists(st.floats(-1e4, 1e4, width=32), min_size=6, max_size=6),
)
def test_a_treated_well_never_shapes_the_fit(name: str, plate: int, place: int, values: list[float]) -> None:
    profiles = screen(9)
    row = 40 * plate + place
    assert not profiles.negative_controls[row]
    features = profiles.features.copy()
    features[row] = values
    before = normalize(profiles, name)
    after = normalize(Profiles(profiles.metadata, features), name)
    others = np.arange(len(profiles)) != row
    np.testing.assert_array_equal(after.features[others], before.features[others])
    assert after.steps == before.steps


@pytest.mark.parametrize("controls", ["negcon", "all"])
def test_all_wells_are_fitted_on_only_when_asked(controls: Any) -> None:
    profiles = screen(10)
    changed = Profiles(profiles.metadata, np.where(profiles.negative_controls[:, None], profiles.features, 0))
    before, after = center(profiles, controls=controls), center(changed, controls=controls)
    control = profiles.negative_controls
    same = np.array_equal(before.features[control], after.features[control])
    assert same == (controls == "negcon")
    assert before.steps[0]["fitted_on"] == ("negative controls" if controls == "negcon" else "all wells")
    assert before.steps[0]["n_fitted"] == (64 if controls == "negcon" else 160)


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_rows_does_not_matter(name: str) -> None:
    profiles = screen(11)
    order = np.random.default_rng(12).permutation(len(profiles))
    shuffled = Profiles(profiles.metadata.iloc[order], profiles.features[order])
    wanted, got = normalize(profiles, name), normalize(shuffled, name)
    np.testing.assert_allclose(got.features, wanted.features[order], atol=2e-4)
    assert got.steps == wanted.steps


@pytest.mark.parametrize("name", NAMES)
def test_the_input_is_left_alone(name: str) -> None:
    profiles = screen(13)
    features = profiles.features.copy()
    got = normalize(profiles, name)
    np.testing.assert_array_equal(profiles.features, features)
    assert profiles.steps == ()
    assert got.features.dtype == np.float32
    pd.testing.assert_frame_equal(got.metadata, profiles.metadata)


# Rank


def test_rank_auto_drops_copies_and_components_below_rounding() -> None:
    profiles = screen(14)
    rng = np.random.default_rng(15)
    copy = 2 * profiles.features[:, :1] - 1
    # Differs from the sum of two features by 1e-6 of their spread: beyond float32, and noise once scaled up.
    tiny = profiles.features[:, 1:2] + profiles.features[:, 2:3] + 1e-6 * rng.standard_normal((len(profiles), 1))
    wider = Profiles(profiles.metadata, np.hstack([profiles.features, copy, tiny]))
    got = tvn(wider)
    assert got.features.shape == (160, 6)
    assert (got.steps[-1]["components"], got.steps[-1]["n_features"]) == (6, 8)
    assert got.feature_names == ("PC1", "PC2", "PC3", "PC4", "PC5", "PC6")
    assert np.abs(got.features).max() < 50
    full = tvn(wider, rank="full")
    assert full.features.shape == (160, 8)
    assert full.steps[-1]["components"] == 8


def test_rank_auto_keeps_what_few_controls_span() -> None:
    profiles = screen(16, d=30, n_controls=4)
    got = tvn(profiles)
    # 16 controls span 15 dimensions around their mean.
    assert got.steps[-1]["components"] == 15
    assert got.notes == ("tvn: 16 negative controls for 30 features, so the whitening is not determined by the data",)
    assert tvn(screen(16)).notes == ()


def test_treated_wells_do_not_decide_what_varies() -> None:
    # The controls of one feature differ by rounding alone; its treated wells spread widely.
    profiles = screen(30)
    features = profiles.features.copy()
    control = profiles.negative_controls
    features[control, 4] = np.float32(1e4) + np.float32(2**-10) * (np.arange(64) % 2)
    features[~control, 4] += 1e4
    assert len(np.unique(features[control, 4])) == 2
    got = tvn(Profiles(profiles.metadata, features))
    assert got.steps[-1]["components"] == 5
    assert np.abs(got.features).max() < 50


# The record


def test_each_step_records_what_it_was_fitted_on() -> None:
    got = normalize(screen(17), "center+tvn")
    fitted = {"fitted_on": "negative controls", "n_fitted": 64}
    assert list(got.steps) == [
        {"step": "center", **fitted, "by": "plate", "n_groups": 4, "n_fitted_min": 16},
        {
            "step": "tvn",
            **fitted,
            "by": "batch",
            "n_groups": 2,
            "n_fitted_min": 32,
            "rank": "auto",
            "ridge": 0.5,
            "components": 6,
            "n_features": 6,
        },
    ]
    assert [step["step"] for step in normalize(screen(17), "pca-cs").steps] == ["pca", "pca_center_scale"]
    assert normalize(screen(17), "pca-cs").steps[0]["components"] == 6
    assert normalize(screen(17), "sphere").steps[0]["rank_min"] == 6


def test_the_smallest_group_is_recorded() -> None:
    profiles = screen(18)
    fewer = profiles.select(np.arange(160) >= 9)
    assert standardize(fewer, by="plate").steps[0]["n_fitted_min"] == 7


def test_plates_stand_in_for_absent_batches() -> None:
    profiles = screen(19)
    alone = Profiles(profiles.metadata.drop(columns="Metadata_Batch"), profiles.features)
    assert tvn(alone).steps[0]["n_groups"] == 4


def test_plates_of_other_sources_are_other_plates() -> None:
    profiles = screen(20)
    metadata = profiles.metadata.assign(
        Metadata_Source=np.repeat(["a", "b"], 80), Metadata_Plate=np.arange(160) // 40 % 2
    )
    got = center(Profiles(metadata, profiles.features), by="plate")
    assert got.steps[0]["n_groups"] == 4
    np.testing.assert_array_equal(got.features, center(profiles, by="plate").features)


# Chains


def test_a_chain_is_its_parts_in_order() -> None:
    profiles = screen(21)
    assert chain("none") == ()
    assert normalize(profiles, "none") is profiles
    assert chain("center+tvn") == (*chain("center"), *chain("tvn"))
    got = normalize(profiles, "center+standardize+sphere")
    wanted = sphere(standardize(center(profiles, by="plate"), by="plate"))
    np.testing.assert_array_equal(got.features, wanted.features)
    assert got.steps == wanted.steps
    assert DEFAULT == "center+tvn"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("standardise", "unknown normalization 'standardise'; did you mean standardize?"),
        ("center+tnv", "unknown normalization 'tnv'; did you mean tvn"),
        ("", "unknown normalization ''; known: center, center+tvn"),
        ("center+", "unknown normalization ''"),
    ],
)
def test_an_unknown_chain_is_named(name: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        normalize(screen(22), name)
    assert said in str(caught.value)


# Edges


@pytest.mark.parametrize("value", [0.0, 1.0, -3.3e5, 1e-20, 1e20])
@pytest.mark.parametrize("d", [1, 6])
@pytest.mark.parametrize("name", NAMES)
def test_a_constant_embedding_passes_as_zeros(name: str, d: int, value: float) -> None:
    profiles = screen(23, d=d)
    got = normalize(Profiles(profiles.metadata, np.full((160, d), value)), name)
    assert (got.features == (np.float32(value) if name == "none" else 0)).all()


@pytest.mark.parametrize("name", NAMES)
def test_one_constant_feature_among_others_harms_nothing(name: str) -> None:
    profiles = screen(24)
    features = profiles.features.copy()
    features[:, 2] = 7.3
    # Constant among the controls alone: centred, and neither blown up nor lost to a division by zero.
    features[profiles.negative_controls, 4] = -2.0
    got = normalize(Profiles(profiles.metadata, features), name)
    assert np.isfinite(got.features).all()
    if name != "none":
        assert np.abs(got.features).max() < 100


@pytest.mark.parametrize("name", NAMES)
def test_one_feature_is_enough(name: str) -> None:
    got = normalize(screen(25, d=1), name)
    assert got.features.shape == (160, 1)
    assert np.ptp(got.features) > 0.1


# Bad input


@pytest.mark.parametrize("step", STEPS)
def test_without_controls_nothing_is_fitted(step: str) -> None:
    profiles = screen(26)
    none = profiles_of(profiles.features, np.zeros(160, dtype=bool), profiles.metadata["Metadata_Plate"].to_numpy())
    with pytest.raises(InputError, match=r"there is no negative control to fit on; name them with --negcon"):
        STEPS[step](none)
    untyped = Profiles(profiles.metadata.drop(columns="Metadata_pert_type"), profiles.features)
    with pytest.raises(InputError, match="there is no negative control"):
        STEPS[step](untyped)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("left", [0, 1])
def test_a_group_needs_two_controls(step: str, left: int) -> None:
    profiles = screen(27)
    plate = profiles.metadata["Metadata_Plate"].to_numpy()
    control = profiles.negative_controls & ((plate != 2) | (np.arange(160) < 80 + left))
    few = profiles_of(profiles.features, control, plate, plate)
    with pytest.raises(InputError, match=rf"{step}: batch 2 has {left} negative controls and needs at least 2"):
        STEPS[step](few, by="batch")
    # Fitted on all wells together, the plate does not matter.
    assert len(STEPS[step](few, by=None)) == 160


def test_sphere_refuses_collinear_features() -> None:
    profiles = screen(28)
    for extra in (2 * profiles.features[:, :1] + 1, profiles.features.sum(axis=1, keepdims=True)):
        wider = Profiles(profiles.metadata, np.hstack([profiles.features, extra]))
        with pytest.raises(InputError, match=r"the 7 features of 64 controls span only 6 dimensions"):
            sphere(wider)


def test_a_ridge_is_not_negative_and_zero_needs_enough_controls() -> None:
    with pytest.raises(InputError, match=r"tvn: the ridge is -0\.1"):
        tvn(screen(29), ridge=-0.1)
    with pytest.raises(InputError, match="without a ridge; give a ridge above 0"):
        tvn(screen(29, n_controls=2), by="plate", ridge=0.0)
