"""What phenobench costs and how right it is, measured; figures are kept in ``RESULTS`` and make ``RESULTS.md``."""

from pathlib import Path

RESULTS = Path(__file__).parent / "results"
