"""``--weights`` on the command line: refused where nothing takes it, and named in what it makes."""

from __future__ import annotations

from pathlib import Path

from tests.folders import make_folder
from tests.test_pipeline import phenobench


def test_weights_that_no_model_takes_are_refused(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "screen")
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(b"x")
    arguments = ("run", "--screen", folder, "--model", "pixel-statistics", "--task", "batch-effect")
    refused = phenobench(*arguments, "--weights", weights)
    assert refused.exit_code == 2
    assert "no model of this run takes weights" in refused.stderr
    absent = phenobench(*arguments, "--weights", tmp_path / "absent")
    assert absent.exit_code == 2
    assert "there is no such file" in absent.stderr
