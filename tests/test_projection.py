"""Principal components of profiles, before and after a normalization."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from sklearn.decomposition import PCA

from phenobench.figures.projection import _complex_of, draw_projection, principal_components
from phenobench.reading import Reading, read_profiles
from tests.conftest import TRIOS


def test_principal_components_are_those_of_scikit_learn_but_for_sign() -> None:
    features = np.random.default_rng(0).standard_normal((50, 8)) * np.arange(1, 9)
    theirs = PCA(2, svd_solver="full").fit_transform(features)
    ours = principal_components(features)
    np.testing.assert_allclose(np.abs(ours), np.abs(theirs), atol=1e-8)
    np.testing.assert_array_equal(ours, principal_components(features.copy()))


def test_one_feature_has_one_component() -> None:
    assert principal_components(np.arange(5.0)[:, None])[:, 1].tolist() == [0.0] * 5


def test_complexes_are_the_annotated_groups_and_share_no_gene() -> None:
    genes = [gene for trio in TRIOS for gene in trio] + ["ALONE"]
    pairs = np.array([(a, b) for trio in TRIOS for a in trio for b in trio])
    found = _complex_of(genes, {"trios": pairs, "elsewhere": np.array([("ALONE", "NOT-HERE")])})
    assert found.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, -1]


def test_the_same_profiles_give_the_same_bytes(screen_file: Path, tmp_path: Path) -> None:
    profiles = read_profiles([str(screen_file)], Reading())
    for name in ("one", "two"):
        draw_projection(profiles, "center", {"trios": np.array(TRIOS)[:, :2]}, "title", tmp_path / name, "png")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
