"""``--cross-check``: the field's tools agree where they are right, and ties explain where they are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from phenobench.pipeline import Report, run
from phenobench.request import Request


def checked(screen_file: Path, annotations: Path, normalization: str = "center") -> Report:
    return run(
        Request(
            models=("mine", "constant"),
            tasks=("replicate-retrieval", "gene-gene"),
            normalizations=(normalization,),
            results=Path("results"),
            profiles=(str(screen_file),),
            annotations=annotations,
            variants=("across-plates", "against-controls"),
            cross_check=True,
        )
    )


def test_tools_agree_on_a_real_embedding_and_ties_explain_a_constant(screen_file: Path, annotations: Path) -> None:
    report = checked(screen_file, annotations)
    assert not report.failed
    checks = [(done.result.model.id, check) for done in report.done for check in done.checks]
    assert len(checks) == 2 * 3
    for model, check in checks:
        assert check.theirs == pytest.approx(check.ours_their_way, abs=1e-5)
        if model == "mine":
            assert check.ours == pytest.approx(check.theirs, abs=1e-5)
    by_tool = {check.tool.split()[0]: check for model, check in checks if model == "constant"}
    # Positives first among equals: a collapsed embedding is perfect to copairs. To EFAAR a tied block is in no tail.
    assert by_tool["copairs"].theirs == 1.0
    assert by_tool["copairs"].ours < 0.5
    assert by_tool["EFAAR's"].theirs == 0.0


def test_a_result_that_is_there_is_checked_all_the_same(screen_file: Path, annotations: Path) -> None:
    checked(screen_file, annotations)
    again = checked(screen_file, annotations)
    assert all(done.checks for done in again.done)
