from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from phenobench.errors import InputError
from phenobench.metrics import perturbation_consistency
from tests.shared import shared


def test_agrees_with_efaar() -> None:
    golden = np.load(shared("goldens", "efaar.npz"))
    genes = np.isin(golden["gene"], golden["genes"])
    got = perturbation_consistency(
        golden["tvn_batch"][genes], list(golden["gene"][genes]), null_labels=list(golden["cons_neg"])
    ).set_index("perturbation")
    assert len(got) == len(golden["genes"])
    got = got.loc[list(golden["cons_pert"])]
    np.testing.assert_allclose(got["consistency"], golden["cons_avgcossim"], atol=1e-12)
    # EFAAR divides r by n where we divide r + 1 by n + 1.
    n = len(golden["cons_neg"])
    r = got["p_value"].to_numpy() * (n + 1) - 1
    np.testing.assert_allclose(r, golden["cons_pval"] * n, atol=1e-9)


def test_agrees_with_brute_force() -> None:
    rng = np.random.default_rng(1)
    features = rng.standard_normal((150, 5))
    features[::17] = 0
    labels = [f"p{i:02d}" for i in rng.permutation(np.arange(150) % 29)]
    null = [f"p{i:02d}" for i in range(8)]
    got = perturbation_consistency(features, labels, null_labels=null).set_index("perturbation")
    assert list(got.index) == sorted(set(labels))
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    units = np.divide(features, lengths, out=np.zeros_like(features), where=lengths > 0)
    means = {}
    for name in set(labels):
        rows = [i for i, label in enumerate(labels) if label == name]
        assert got.loc[name, "n_replicates"] == len(rows)
        means[name] = float(np.mean([units[i] @ units[j] for i, j in combinations(rows, 2)]))
    assert got["consistency"].to_dict() == pytest.approx(means, abs=1e-12)
    for name, mean in means.items():
        p = np.nan if name in null else (sum(means[other] >= mean for other in null) + 1) / (len(null) + 1)
        assert got.loc[name, "p_value"] == pytest.approx(p, nan_ok=True)


def test_a_single_replicate_has_no_consistency() -> None:
    features = np.random.default_rng(2).standard_normal((7, 3))
    got = perturbation_consistency(features, list("AABNNMC"), null_labels=["N", "M"])
    assert got["perturbation"].tolist() == ["A", "B", "C", "M", "N"]
    assert got["consistency"].isna().tolist() == [False, True, True, True, False]
    assert got["p_value"].isna().tolist() == [False, True, True, True, True]


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_constant_embedding_is_never_significant(value: float) -> None:
    # An irrational direction in groups of unequal size: sums of equal vectors differ in their last bits.
    rng = np.random.default_rng(3)
    sizes = rng.integers(2, 20, 60)
    labels = list(np.repeat([f"p{i:02d}" for i in range(60)], sizes))
    features = value * np.repeat(rng.standard_normal((1, 31)), len(labels), axis=0)
    got = perturbation_consistency(features, labels, null_labels=[f"p{i:02d}" for i in range(20)])
    assert got["consistency"].to_numpy() == pytest.approx(np.full(60, value), abs=1e-12)
    assert (got["p_value"].dropna() == 1).all()
    assert got["p_value"].notna().sum() == 40


def test_p_values_of_noise_are_uniform() -> None:
    rng = np.random.default_rng(4)
    labels = list(np.repeat([f"p{i:03d}" for i in range(220)], 4))
    below = []
    for _ in range(30):
        got = perturbation_consistency(
            rng.standard_normal((880, 6)), labels, null_labels=[f"p{i:03d}" for i in range(19)]
        )
        # 19 null perturbations: p takes the values 0.05, 0.10, ... 1 with equal probability.
        below.append(float((got["p_value"].dropna() <= 0.2 + 1e-9).mean()))
    assert abs(np.mean(below) - 0.2) < 3.5 * np.std(below, ddof=1) / np.sqrt(30)


def test_bad_input_is_named() -> None:
    features = np.eye(4)
    with pytest.raises(InputError, match="3 labels for 4 rows"):
        perturbation_consistency(features, list("ABC"), null_labels=["A"])
    with pytest.raises(InputError, match="no null perturbation has two replicates"):
        perturbation_consistency(features, list("AABC"), null_labels=["B"])
    labels: list[str] = ["A", "A", None, "B"]  # type: ignore[list-item]
    with pytest.raises(InputError, match="row 3 has no perturbation label"):
        perturbation_consistency(features, labels, null_labels=["A"])
