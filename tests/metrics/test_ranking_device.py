"""Counting with torch gives what the CPU's own loops give, bit for bit; here torch runs on the CPU, too."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from phenobench.cli import app
from phenobench.errors import InputError
from phenobench.metrics import average_precision, device_counting, ranking
from phenobench.metrics.cosines import Cosines
from phenobench.metrics.device_counting import DeviceCounting
from phenobench.metrics.similarity import LEVELS

HERE = torch.device("cpu")
SIMILARITIES: tuple[ranking.Similarity, ...] = ("cosine", "abs_cosine")
TIES: tuple[ranking.Ties, ...] = ("expected", "optimistic", "pessimistic")
# With and without multi-label columns, positives among the candidates, and negatives of the same or another kind.
RULES: dict[str, Any] = {
    "against all": {"pos_sameby": ["pert"], "pos_diffby": [], "neg_sameby": [], "neg_diffby": ["pert"]},
    "within plate": {"pos_sameby": ["pert"], "pos_diffby": ["plate"], "neg_sameby": ["plate"], "neg_diffby": ["pert"]},
    "controls": {
        "pos_sameby": ["pert", "control"], "pos_diffby": [], "neg_sameby": ["plate"], "neg_diffby": ["control"],
    },
    "two columns": {"pos_sameby": ["pert"], "pos_diffby": [], "neg_sameby": [], "neg_diffby": ["pert", "plate"]},
    "positives overlap": {"pos_sameby": ["plate"], "pos_diffby": ["pert"], "neg_sameby": [], "neg_diffby": ["pert"]},
    "any other": {
        "pos_sameby": ["pert"], "pos_diffby": [], "neg_sameby": [], "neg_diffby": {"any": ["plate", "control"]},
    },
    "labels": {"pos_sameby": ["targets"], "pos_diffby": [], "neg_sameby": [], "neg_diffby": ["targets"]},
    "labels within": {"pos_sameby": ["pert"], "pos_diffby": [], "neg_sameby": ["targets"], "neg_diffby": []},
}  # fmt: skip


@contextmanager
def torch_counts(**constants: float) -> Iterator[None]:
    """Counting with torch, with other constants than a GPU's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranking, "_counter", lambda cosines, rules, _: DeviceCounting(cosines, rules, HERE).count)
        for name, value in constants.items():
            patch.setattr(device_counting, name, value)
        yield


def screen(seed: int, n: int, d: int) -> tuple[np.ndarray, pd.DataFrame]:
    """Few directions with steps about every resolution, zero vectors, and labels of which some are missing."""
    rng = np.random.default_rng(seed)
    step = rng.choice([0.0, 1e-15, 2.0**-24, 1e-7, 2.0**-23, 2.0**-22, 1e-6, 1e-3, 1.0], (n, 1))
    features = rng.standard_normal((4, d))[rng.integers(0, 4, n)] + step * rng.standard_normal((n, d))
    features[rng.random(n) < 0.05] = 0
    labels = {name: rng.integers(0, k, n).astype(object) for name, k in (("pert", 6), ("plate", 3), ("control", 2))}
    for values in labels.values():
        values[rng.random(n) < 0.05] = None
    targets = [sorted(rng.choice(["a", "b", "c"], rng.integers(0, 3), replace=False)) for _ in range(n)]
    return features, pd.DataFrame({**labels, "targets": pd.Series(targets, dtype=object)})


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 10**6),
    n=st.integers(6, 60),
    d=st.sampled_from([1, 2, 7, 50]),
    kind=st.sampled_from(list(RULES)),
    similarity=st.sampled_from(SIMILARITIES),
    queries=st.integers(1, 70),
    candidates=st.integers(1, 70),
)
@example(seed=1, n=60, d=50, kind="against all", similarity="cosine", queries=64, candidates=64)
def test_torch_counts_as_the_loops_do(
    seed: int, n: int, d: int, kind: str, similarity: ranking.Similarity, queries: int, candidates: int
) -> None:
    features, metadata = screen(seed, n, d)
    wanted = average_precision(features, metadata, **RULES[kind], similarity=similarity)
    shape = {"_QUERIES": queries, "_CANDIDATES": candidates, "_PAIRS": 4 * queries}
    # All that is open is decided one by one, or nothing is, or it is given up in between.
    for most_open in (1, 0, 1 / 4):
        with torch_counts(**shape, _MOST_OPEN=most_open):
            got = average_precision(features, metadata, **RULES[kind], similarity=similarity)
        pd.testing.assert_frame_equal(got, wanted, check_exact=True)


@pytest.mark.parametrize("kind", list(RULES))
def test_tiles_as_large_as_on_a_gpu(kind: str) -> None:
    features, metadata = screen(7, 400, 30)
    metadata["pert"] = np.random.default_rng(7).integers(0, 60, 400)
    for ties in TIES:
        wanted = average_precision(features, metadata, **RULES[kind], ties=ties)
        with torch_counts():
            got = average_precision(features, metadata, **RULES[kind], ties=ties)
        pd.testing.assert_frame_equal(got, wanted, check_exact=True)


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_products_on_a_device_may_be_off_by_the_margin(
    similarity: ranking.Similarity, monkeypatch: pytest.MonkeyPatch
) -> None:
    features, metadata = screen(3, 300, 20)
    rng = np.random.default_rng(3)
    metadata["pert"] = rng.integers(0, 40, 300)
    rules = RULES["against all"]
    wanted = average_precision(features, metadata, **rules, similarity=similarity)
    block, estimated = device_counting._Counting._block, []

    def off(self: Any, tile: Any, factor: torch.Tensor) -> torch.Tensor:
        found = block(self, tile, factor)
        estimated.append(found.dtype == torch.float32)
        defined = found > 1.5 * -LEVELS
        # An estimate's own error is far less than the level that is left of the margin.
        noise = torch.from_numpy(rng.uniform(-1, 1, tuple(found.shape)) * (self.on.margin - 1)).float()
        return torch.where(defined, found + noise, found)

    monkeypatch.setattr(device_counting._Counting, "_block", off)
    with torch_counts(_MOST_OPEN=1, _QUERIES=70, _CANDIDATES=100):
        got = average_precision(features, metadata, **rules, similarity=similarity)
    pd.testing.assert_frame_equal(got, wanted, check_exact=True)
    assert all(estimated)


def test_where_everything_is_open_a_device_decides_in_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    metadata = pd.DataFrame({"pert": np.arange(300) % 30})
    one_by_one, pairs = Cosines.pair_levels, []

    def counted(self: Cosines, rows: Any, start: Any, others: np.ndarray, order: Any) -> np.ndarray:
        pairs.append(len(others))
        return one_by_one(self, rows, start, others, order)

    monkeypatch.setattr(Cosines, "pair_levels", counted)
    with torch_counts():
        found = average_precision(np.ones((300, 4)), metadata, **RULES["against all"])
    np.testing.assert_allclose(found["normalized"], 0, atol=1e-12)
    # Those of the positives alone: 30 groups of 10.
    assert sum(pairs) == 300 * 9


@pytest.fixture
def tf32(request: pytest.FixtureRequest) -> Iterator[str]:
    """TF32 allowed by a switch of torch, or by none."""
    matmul = torch.backends.cuda.matmul
    if request.param == "the newer" and not hasattr(matmul, "fp32_precision"):
        pytest.skip("this torch has no such switch")
    if request.param == "the older":
        torch.set_float32_matmul_precision("medium")
    elif request.param == "the newer":
        matmul.fp32_precision = "tf32"
    yield request.param
    if request.param == "the newer":
        matmul.fp32_precision = "ieee"
    torch.set_float32_matmul_precision("highest")


@pytest.mark.parametrize("tf32", ["none", "the older", "the newer"], indirect=True)
def test_products_are_not_in_tf32_and_what_was_set_is_set_again(tf32: str, monkeypatch: pytest.MonkeyPatch) -> None:
    matmul = torch.backends.cuda.matmul
    block, seen = device_counting._Counting._block, []

    def watched(*arguments: Any) -> torch.Tensor:
        seen.append(matmul.allow_tf32)
        return block(*arguments)

    monkeypatch.setattr(device_counting._Counting, "_block", watched)
    features, metadata = screen(9, 30, 5)
    with torch_counts():
        average_precision(features, metadata, **RULES["against all"])
    assert seen
    assert not any(seen)
    if tf32 == "the newer":
        assert matmul.fp32_precision == "tf32"
    else:
        assert torch.get_float32_matmul_precision() == ("highest" if tf32 == "none" else "medium")
        assert matmul.allow_tf32 == (tf32 != "none")


@pytest.mark.parametrize(("device", "message"), [("gpu", "'gpu' is no device"), ("cuda:99", "no device 'cuda:99'")])
def test_a_device_that_is_not_here_is_an_error(device: str, message: str) -> None:
    features, metadata = screen(9, 30, 5)
    with pytest.raises(InputError, match=message):
        average_precision(features, metadata, **RULES["against all"], device=device)


@pytest.mark.parametrize(("device", "pairs", "looks"), [("auto", 900, True), ("auto", 901, False), ("mps", 901, True)])
def test_auto_looks_for_a_gpu_where_there_are_many_pairs(
    device: str, pairs: int, looks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(device_counting, "gpu", asked.append)
    monkeypatch.setattr(ranking, "_WORTH_A_GPU", pairs)
    features, metadata = screen(9, 30, 5)
    wanted = average_precision(features, metadata, **RULES["against all"])
    got = average_precision(features, metadata, **RULES["against all"], device=device)
    pd.testing.assert_frame_equal(got, wanted, check_exact=True)
    assert asked == [device] * looks


def test_the_device_of_the_command_line_is_that_of_replicate_retrieval(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {"Metadata_Plate": ["1", "2"] * 4, "Metadata_Perturbation": list("aabbccdd"), "f": np.arange(8.0), "g": 1.0}
    )
    table.assign(Metadata_Well=[f"A{number:02}" for number in range(1, 9)]).to_csv(tmp_path / "mine.csv", index=False)
    command = ["run", "--profiles", str(tmp_path / "mine.csv"), "--model", "mine", "--task", "replicate-retrieval"]
    command += ["--normalization", "none", "--results", str(tmp_path / "results"), "--device"]
    refused = CliRunner().invoke(app, [*command, "cuda:99"])
    assert (refused.exit_code, "there is no device 'cuda:99' here" in " ".join(refused.output.split())) == (2, True)
    assert CliRunner().invoke(app, [*command, "cpu"]).exit_code == 0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
@pytest.mark.parametrize("estimating", [True, False])
@pytest.mark.parametrize("kind", list(RULES))
def test_a_gpu_gives_the_cpus_scores(kind: str, estimating: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_counting, "_FAST_DOUBLES", set() if estimating else {torch.cuda.get_device_capability()})
    features, metadata = screen(11, 3000, 64)
    metadata["pert"] = np.random.default_rng(11).integers(0, 300, 3000)
    wanted = average_precision(features, metadata, **RULES[kind])
    got = average_precision(features, metadata, **RULES[kind], device="cuda")
    pd.testing.assert_frame_equal(got, wanted, check_exact=True)
