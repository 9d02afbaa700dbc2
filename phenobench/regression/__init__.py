"""Has a score fallen? Results are held against a baseline, which is a folder of results that somebody committed."""

from __future__ import annotations

from phenobench.regression.baseline import update_baseline
from phenobench.regression.checking import check_results
from phenobench.regression.output import show

__all__ = ["check_results", "show", "update_baseline"]
