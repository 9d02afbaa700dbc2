"""``benchmarks/RESULTS.md`` from what was measured: ``python -m benchmarks.report``.

Each study keeps its figures as JSON in ``RESULTS`` and has a function that makes a section of them
(nothing, where they are not there yet). A new section is that function and a line in ``SECTIONS``.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks import RESULTS, calibration, coverage, cross_well_alignment, embedding
from benchmarks.speed import table
from phenobench.files import write_text

REPORT = Path(__file__).with_name("RESULTS.md")
SECTIONS = (table.section, coverage.section, calibration.section, cross_well_alignment.section, embedding.section)
_HEAD = """# Benchmarks

Made by `python -m benchmarks.report` from the figures in `benchmarks/results/`, which the commands below write.
"""


def write_report(results: Path = RESULTS, report: Path = REPORT) -> None:
    """Write all sections whose figures are there."""
    sections = (section(results) for section in SECTIONS)
    write_text(report, "\n".join([_HEAD, *filter(None, sections)]))


if __name__ == "__main__":
    write_report()
