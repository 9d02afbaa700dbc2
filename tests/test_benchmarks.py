"""Benchmarks: both sides of a row do the same work, and the report says what the figures say."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from benchmarks import RESULTS, calibration, coverage
from benchmarks.report import REPORT, write_report
from benchmarks.speed import reading, table
from benchmarks.speed.row import sized
from benchmarks.speed.rows import find
from phenobench.errors import InputError
from phenobench.profiles import Profiles

MACHINE = {"CPU": "a fast one", "copairs": "0.5.5"}


@pytest.mark.parametrize("name", ["ap-all", "ap-plate", "recall-at-k", "standardize", "mad-robustize"])
def test_ours_and_the_peers_numbers_agree(name: str) -> None:
    work = find(name).prepare(0.02)
    assert work.peer is not None
    ours, theirs = np.asarray(work.ours()), np.asarray(work.peer())
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("name", ["read-parquet", "read-csv"])
def test_ours_and_the_peer_read_the_same_table(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    work = find(name).prepare(0.0)
    assert work.peer is not None
    ours, theirs = cast(Profiles, work.ours()), cast(pa.Table | pd.DataFrame, work.peer())
    frame = theirs if isinstance(theirs, pd.DataFrame) else theirs.to_pandas()
    assert list(ours.feature_names) == reading.FEATURES
    np.testing.assert_allclose(ours.features, frame[reading.FEATURES].to_numpy(), rtol=1e-6)
    assert (
        ours.metadata[list(reading.METADATA)].to_numpy().tolist() == frame[list(reading.METADATA)].to_numpy().tolist()
    )


def test_a_row_that_is_not_there_is_named_with_its_nearest() -> None:
    with pytest.raises(InputError, match="unknown row 'ap-al'; did you mean ap-all"):
        find("ap-al")


def test_sizes_scale_down_to_the_least() -> None:
    assert [sized(24, scale, 3) for scale in (1.0, 0.5, 0.01)] == [24, 12, 3]


def figures(row: str, rounds: list[dict[str, Any]], skipped: str = "") -> dict[str, Any]:
    return {"row": row, "machine": MACHINE, "skipped": skipped, "rounds": rounds}


def side(seconds: list[float], memory: int, limit: list[float] | None = None, share: float = 1.0) -> dict[str, Any]:
    return {"seconds": seconds, "memory": memory, "held": 1024, "limit": limit, "share": share, "limit_share": 1.0}


def written(folder: Path, *rows: dict[str, Any]) -> str:
    for one in rows:
        (folder / "speed").mkdir(exist_ok=True)
        (folder / "speed" / f"{one['row']}.json").write_text(json.dumps(one))
    return table.section(folder)


def test_ratios_are_taken_within_a_round_and_held_against_their_aims(tmp_path: Path) -> None:
    # The second round was on a busy machine: both sides took ten times as long.
    rounds = [
        {"ours": side([0.5, 0.4, 0.6], 20 * 1024, [0.2]), "peer": side([125.0], 400 * 1024)},
        {"ours": side([5.0], 20 * 1024, [2.0]), "peer": side([1250.0], 400 * 1024)},
    ]
    lines = written(tmp_path, figures("ap-all", rounds)).splitlines()
    work = "| AP, other perturbations as negatives, n = 9,216, d = 384 |"
    found = [line.removeprefix(work).split("|")[:-1] for line in lines if line.startswith(work)]
    speed, limit, memory = ([cell.strip() for cell in cells] for cells in found)
    assert speed == ["copairs 0.5.5", "2.75", "688", "250", "200", "yes"]
    assert limit[3:] == ["2.5", "at most 2", "no"]
    assert memory == ["20", "400", "20", "25", "no"]


@pytest.mark.parametrize(("ours", "reached"), [(1.25, "yes"), (1.35, "no")])
def test_a_peer_that_is_not_to_be_beaten_is_to_be_kept_up_with(ours: float, reached: str, tmp_path: Path) -> None:
    one = figures("read-parquet", [{"ours": side([ours], 2048), "peer": side([1.0], 2048)}])
    aim = f"aim at most 1.3 x the peer's time; reached {reached}"
    assert written(tmp_path, one)
    assert table.summary(find("read-parquet"), tmp_path).endswith(aim)
    assert table.summary(find("read-csv"), tmp_path) == "not measured"


def test_what_was_scaled_or_not_measured_is_said(tmp_path: Path) -> None:
    rounds = [{"ours": side([0.1], 2048), "peer": side([50.0], 4096, share=0.004)}]
    text = written(tmp_path, figures("bootstrap", rounds), figures("tvn-20k", [], skipped="no network"))
    assert "0.40% of the peer's work were timed, and scaled" in text
    assert "- TVN, 20,000 x 384, 64 batches: not measured (no network)." in text
    assert "- Machine (all rows): CPU a fast one; copairs 0.5.5." in text


@pytest.mark.parametrize("section", [table.section, coverage.section, calibration.section])
def test_sections_without_figures_are_left_out(section: Any, tmp_path: Path) -> None:
    assert section(tmp_path) == ""


def test_intervals_that_cover_too_little_are_marked(tmp_path: Path) -> None:
    one = {"task": "t", "setting": "s", "metric": "m", "subset": "all", "screens": 2000, "truth": 0.2, "width": 0.1}
    missed = {**one, "coverage": 0.91, "above": 0.02, "below": 0.07}
    (tmp_path / coverage.FILE).write_text(json.dumps([missed, {**missed, "coverage": 0.95}]))
    text = coverage.section(tmp_path)
    assert "| 91.0% (!) | 2.0% | 7.0% |" in text
    assert "| 95.0% | 2.0% | 7.0% |" in text


def test_scores_of_few_values_are_told_from_intervals_that_fail(tmp_path: Path) -> None:
    # 0 to 3 hits in 36, 37, 19 and 8 %: an interval leaves out 3 hits, or nothing.
    hits = np.repeat([0.0, 1.0, 2.0, 3.0], [36, 37, 19, 8])
    assert coverage.nearest(hits) == pytest.approx(0.92)
    assert coverage.nearest(np.arange(1000.0)) == pytest.approx(0.95)
    one = {"task": "t", "setting": "s", "metric": "m", "subset": "all", "screens": 2000, "truth": 0.2, "width": 0.1}
    few = {**one, "coverage": 0.92, "above": 0.08, "below": 0.0, "attainable": coverage.nearest(hits)}
    (tmp_path / coverage.FILE).write_text(json.dumps([few]))
    assert "| 92.0% (d) | 8.0% | 0.0% |" in coverage.section(tmp_path)


@pytest.mark.parametrize("name", list(coverage.SETTINGS))
def test_each_setting_gives_scores_with_intervals_that_depend_on_the_seed_alone(name: str) -> None:
    found = coverage.intervals(name, 3)
    assert found == coverage.intervals(name, 3)
    assert any(found != coverage.intervals(name, seed) for seed in (4, 5))
    assert all(low <= value <= high for _, _, value, low, high in found)


def test_the_committed_report_is_what_the_committed_figures_say(tmp_path: Path) -> None:
    if not REPORT.exists():
        pytest.skip("nothing was measured")
    write_report(RESULTS, tmp_path / "again.md")
    assert (tmp_path / "again.md").read_text() == REPORT.read_text()
