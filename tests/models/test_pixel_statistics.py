"""Classical statistics on images whose answers are known."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from phenobench.errors import InputError
from phenobench.models.pixel_statistics import feature_names, pixel_statistics, segment_nuclei

SIX = ("DNA", "ER", "Actin", "RNA", "Mito", "Golgi")
CENTRES = ((40, 50), (60, 150), (130, 60), (140, 170), (200, 110), (210, 210))


def measured(*planes: np.ndarray, channels: tuple[str, ...] = ("ER",)) -> dict[str, float]:
    features = pixel_statistics(np.stack(planes)[None], channels)
    assert np.isfinite(features).all()
    return dict(zip(feature_names(channels), features[0].tolist(), strict=True))


def discs(radius: float, centres: tuple[tuple[int, int], ...] = CENTRES, value: float = 100.0) -> np.ndarray:
    y, x = np.mgrid[:256, :256]
    inside = np.zeros((256, 256), dtype=bool)
    for row, column in centres:
        inside |= (y - row) ** 2 + (x - column) ** 2 <= radius**2
    return np.where(inside, np.float32(value), np.float32(5))


def cells(seed: int, channels: int = 6) -> np.ndarray:
    """Discs in noise, in all channels: (c, 256, 256) uint8."""
    rng = np.random.default_rng(seed)
    planes = [discs(rng.uniform(6, 14), value=rng.uniform(60, 200)) for _ in range(channels)]
    return np.clip(np.stack(planes) + rng.normal(0, 3, (channels, 256, 256)), 0, 255).astype(np.uint8)


def test_names_fit_the_features_and_nuclei_need_a_channel_named_dna() -> None:
    features = pixel_statistics(np.stack([cells(0), cells(1)]), SIX)
    names = feature_names(SIX)
    assert features.shape == (2, len(names))
    assert features.dtype == np.float32
    assert len(set(names)) == len(names)
    others = ("Hoechst", *SIX[1:])
    assert not [name for name in feature_names(others) if "nucle" in name]
    assert pixel_statistics(cells(0)[None], others).shape == (1, len(feature_names(others)))
    assert pixel_statistics(np.empty((0, 6, 64, 64), dtype=np.uint8), SIX).shape == (0, len(names))


def test_intensities_of_two_equal_halves() -> None:
    plane = np.full((64, 64), 30, dtype=np.uint8)
    plane[:, 32:] = 90
    found = measured(plane)
    assert np.expm1(found["ER_log_mean"]) == pytest.approx(60, rel=1e-5)
    assert np.expm1(found["ER_log_sd"]) == pytest.approx(30, rel=1e-5)
    assert found["ER_skew"] == pytest.approx(0, abs=1e-5)
    assert np.expm1([found[f"ER_log_p{p}"] for p in ("1", "25", "50")]) == pytest.approx(30, rel=1e-5)
    assert np.expm1([found[f"ER_log_p{p}"] for p in ("75", "99", "99.9")]) == pytest.approx(90, rel=1e-5)


def test_percentiles_are_values_of_the_image() -> None:
    plane = np.random.default_rng(0).gamma(2.0, 20.0, (100, 90)).astype(np.float32)
    found = measured(plane)
    for p in (1, 10, 25, 50, 75, 90, 99, 99.9):
        wanted = np.percentile(plane, p, method="inverted_cdf")
        assert np.expm1(found[f"ER_log_p{p:g}"]) == pytest.approx(wanted, rel=1e-5)


def test_a_wave_has_its_power_in_the_ring_of_its_period() -> None:
    wave = np.broadcast_to(100 + 50 * np.sin(2 * np.pi * np.arange(256) / 7.5), (256, 256)).astype(np.float32)
    for plane in (wave, wave.T):
        powers = {name: value for name, value in measured(plane).items() if "power" in name}
        assert powers.pop("ER_log_power_above_6px") == pytest.approx(0, abs=0.01)  # from 9 to 6 pixels
        assert max(powers.values()) < -2


def test_squares_are_removed_by_the_first_opening_larger_than_they() -> None:
    plane = np.full((256, 256), 10, dtype=np.float32)
    for row, column in CENTRES:
        plane[row - 2 : row + 3, column - 2 : column + 3] = 200
    found = measured(plane)
    shares = [found[f"ER_granularity_{radius}px"] for radius in (1, 2, 4, 8, 12)]
    assert shares == pytest.approx([0, 0, 1, 0, 0], abs=1e-5)


def test_a_checkerboard_is_unlike_its_neighbours() -> None:
    y, x = np.mgrid[:64, :64]
    found = measured(np.where((y + x) % 2, np.uint8(20), np.uint8(200)))
    for distance in (1, 3):
        assert found[f"ER_similarity_{distance}px"] == pytest.approx(-1)
        assert np.expm1(found[f"ER_contrast_{distance}px"]) == pytest.approx(49, rel=1e-5)
        assert found[f"ER_homogeneity_{distance}px"] == pytest.approx(1 / 8)
        assert found[f"ER_entropy_{distance}px"] == pytest.approx(np.log(2), abs=1e-3)


def test_local_contrast_of_flat_blocks_is_none() -> None:
    values = np.random.default_rng(0).integers(20, 200, (8, 8))
    found = measured(values.repeat(8, axis=0).repeat(8, axis=1).astype(np.uint8))
    assert found["ER_block_log_sd_mean"] == found["ER_block_log_sd_sd"] == 0
    assert found["ER_block_log_mean_sd"] == pytest.approx(np.log1p(values).std(), rel=1e-4)


def test_correlations_of_all_pairs() -> None:
    rng = np.random.default_rng(0)
    one = rng.uniform(10, 100, (64, 64)).astype(np.float32)
    other = rng.uniform(10, 100, (64, 64)).astype(np.float32)
    planes: dict[str, np.ndarray] = {
        "a": one,
        "b": 2 * one + 3,
        "c": 200 - one,
        "d": np.full_like(one, 7),
        "e": other,
    }
    found = measured(*planes.values(), channels=tuple(planes))
    wanted = {
        ("a", "b"): 1.0,
        ("a", "c"): -1.0,
        ("b", "c"): -1.0,
        ("a", "e"): np.corrcoef(one.ravel(), other.ravel())[0, 1],
    }
    for pair in combinations(planes, 2):
        assert f"{pair[0]}_{pair[1]}_coarse_correlation" in found
        if pair in wanted:
            assert found[f"{pair[0]}_{pair[1]}_correlation"] == pytest.approx(wanted[pair], abs=1e-5)
        if "d" in pair:
            assert found[f"{pair[0]}_{pair[1]}_correlation"] == 0


@pytest.mark.parametrize("radius", [6, 9, 14])
def test_planted_discs_are_counted_and_measured(radius: int) -> None:
    er = discs(radius, value=70.0)
    er[discs(1.3 * radius) != discs(radius)] = 40  # a ring around each
    found = measured(discs(radius), er, channels=("DNA", "ER"))
    assert np.expm1(found["nuclei_log_count"]) == pytest.approx(len(CENTRES), rel=1e-5)
    assert np.exp(found["nuclei_log_area_mean"]) == pytest.approx(np.pi * radius**2, rel=0.05)
    assert found["nuclei_cover"] == pytest.approx(len(CENTRES) * np.pi * radius**2 / 256**2, rel=0.05)
    assert found["nuclei_log_area_sd"] == pytest.approx(0, abs=0.02)
    assert found["nuclei_eccentricity_mean"] < 0.2
    assert found["nuclei_fill"] == pytest.approx(1, abs=0.03)
    assert np.expm1(found["DNA_nucleus_log_mean"]) == pytest.approx(100, rel=0.03)
    assert np.expm1(found["ER_nucleus_log_mean"]) == pytest.approx(70, rel=0.03)
    assert found["ER_nucleus_log_mean_sd"] < 0.03
    assert 5 < np.expm1(found["ER_ring_log_mean"]) <= 40
    assert found["ER_ring_to_nucleus"] < -0.5


def test_the_eccentricity_of_an_ellipse() -> None:
    y, x = np.mgrid[:256, :256]
    plane = np.where(((y - 128) / 10) ** 2 + ((x - 100) / 20) ** 2 <= 1, np.uint8(150), np.uint8(8))
    found = measured(plane, channels=("DNA",))
    assert found["nuclei_eccentricity_mean"] == pytest.approx(np.sqrt(0.75), abs=0.01)
    assert found["nuclei_fill"] == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize(("distance", "count"), [(10, 1), (18, 2), (21, 2), (40, 2)])
def test_touching_nuclei_are_parted_and_one_is_not(distance: int, count: int) -> None:
    labels = segment_nuclei(discs(10, ((100, 100), (100, 100 + distance))))
    assert labels.max() == count
    areas = np.bincount(labels.ravel())[1:]
    assert areas.max() < 1.05 * areas.min()


def test_nuclei_at_the_edge_and_in_noise_are_counted() -> None:
    centres = (*CENTRES, (0, 100), (255, 30))
    noise = np.random.default_rng(0).normal(0, 4, (256, 256))
    assert segment_nuclei((discs(10, centres) + noise).astype(np.float32)).max() == len(centres)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("value", [0, 1, 255])
def test_blank_images_have_finite_features_and_no_nuclei(dtype: type, value: int) -> None:
    found = measured(*np.full((6, 96, 80), value, dtype=dtype), channels=SIX)
    assert found["nuclei_log_count"] == found["nuclei_cover"] == found["DNA_ER_correlation"] == 0
    assert found["ER_nucleus_log_mean"] == found["ER_ring_log_mean"] == found["ER_log_mean"]


def test_odd_images_have_finite_features() -> None:
    hot = np.zeros((6, 33, 47), dtype=np.uint8)
    hot[:, 5, 7] = 255
    assert measured(*hot, channels=SIX)["nuclei_log_count"] == 0
    noise = np.random.default_rng(0).normal(20, 3, (6, 64, 64)).astype(np.float32)
    assert measured(*noise, channels=SIX)["nuclei_log_count"] == 0
    measured(*-noise, channels=SIX)
    measured(*(noise * 1e4), channels=SIX)
    full = np.full((6, 64, 64), 255, dtype=np.uint8)
    full[:, :2] = 0
    measured(*full, channels=SIX)


def test_sixteen_bits_are_scaled_to_eight_and_floats_taken_as_they_are() -> None:
    image = cells(0)[None]
    eight = pixel_statistics(image, SIX)
    sixteen = pixel_statistics(image.astype(np.uint16) * np.uint16(257), SIX)
    assert np.abs(sixteen - eight).max() < 1e-3
    assert np.array_equal(pixel_statistics(image.astype(np.float32), SIX), eight)
    # A camera that uses 12 of its 16 bits: dim, but no rounding to 8 bits.
    dim = measured(*(image[0].astype(np.uint16) * np.uint16(16)), channels=SIX)
    assert np.expm1(dim["ER_log_mean"]) == pytest.approx(image[0, 1].mean() * 16 / 257, rel=1e-4)
    assert np.expm1(dim["nuclei_log_count"]) == pytest.approx(len(CENTRES), rel=1e-5)


def test_an_image_has_the_same_bytes_in_any_batch_and_layout() -> None:
    images = np.stack([cells(seed) for seed in range(4)])
    together = pixel_statistics(images, SIX)
    order = np.array([2, 0, 3, 1])
    assert np.array_equal(pixel_statistics(images[order], SIX), together[order])
    assert np.array_equal(pixel_statistics(images[2:3], SIX), together[2:3])
    laid = np.asfortranarray(images)
    laid.setflags(write=False)
    assert np.array_equal(pixel_statistics(laid, SIX), together)
    assert len(np.unique(together, axis=0)) == 4


def test_a_channels_features_follow_its_name() -> None:
    image = cells(0)[None]
    one = dict(zip(feature_names(SIX), pixel_statistics(image, SIX)[0], strict=True))
    order = [3, 1, 5, 0, 2, 4]
    channels = [SIX[index] for index in order]
    two = dict(zip(feature_names(channels), pixel_statistics(image[:, order], channels)[0], strict=True))
    shared = [name for name in one if "correlation" not in name or "block" in name]
    assert {name: one[name] for name in shared} == {name: two[name] for name in shared}


@pytest.mark.parametrize(
    ("images", "channels", "said"),
    [
        (np.zeros((1, 2, 64, 64), np.uint8), ("DNA",), "shape"),
        (np.zeros((2, 64, 64), np.uint8), ("DNA", "ER"), "shape"),
        (np.zeros((1, 2, 64, 64), np.uint8), ("DNA", "DNA"), "shape"),
        (np.zeros((1, 1, 64, 31), np.uint8), ("DNA",), "64 x 31"),
        (np.zeros((1, 1, 64, 64), np.float64), ("DNA",), "float64"),
        (np.full((1, 1, 64, 64), np.nan, np.float32), ("DNA",), "channel DNA"),
        (np.full((1, 1, 64, 64), -np.inf, np.float32), ("DNA",), "channel DNA"),
    ],
)
def test_what_is_no_image_is_refused(images: np.ndarray, channels: tuple[str, ...], said: str) -> None:
    with pytest.raises(InputError, match=said):
        pixel_statistics(images, channels)
