"""Real data beside the checkout, for the tests that measure on it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def shared(*parts: str) -> Path:
    """A path in the shared folder; the test that asks is skipped where it is absent.

    The folder is ``$PHENOBENCH_SHARED``, else ``shared`` beside the checkout.
    """
    given = os.environ.get("PHENOBENCH_SHARED")
    root = Path(given) if given else Path(__file__).resolve().parents[2] / "shared"
    path = root.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"{path} is absent; set PHENOBENCH_SHARED to the folder with the real data")
    return path
