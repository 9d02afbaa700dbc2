"""What the cases share: the right score of a module's own ``table``."""

from __future__ import annotations

import pandas as pd
import pytest

from tests.cases.screen import Score, replicates


@pytest.fixture(scope="module", name="right")
def brute_force(table: pd.DataFrame) -> Score:
    return replicates(table)
