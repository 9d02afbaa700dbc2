"""Fixtures that several rooms use: a small screen on disk, small annotations, and a cache of the test's own."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

# 12 genes in 4 trios: 12 planted pairs of 66.
TRIOS = [("A1", "A2", "A3"), ("B1", "B2", "B3"), ("C1", "C2", "C3"), ("D1", "D2", "D3")]


@pytest.fixture(autouse=True)
def own_folders(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or fills the user's caches, nor the suite file of the folder it happens to run in."""
    monkeypatch.setenv("PHENOBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setenv("HF_HOME", str(tmp_path_factory.mktemp("huggingface")))
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path_factory.mktemp("work"))


@pytest.fixture(autouse=True)
def quiet_log() -> Iterator[None]:
    """The command line lets the package's log reach stderr; the next test starts without."""
    yield
    logging.getLogger("phenobench").handlers.clear()


@pytest.fixture(name="annotations")
def annotation_folder(tmp_path: Path) -> Path:
    """A folder with one source, ``Trios``, of the pairs within ``TRIOS``."""
    folder = tmp_path / "annotations"
    folder.mkdir()
    lines = [f"{a},{b}" for trio in TRIOS for i, a in enumerate(trio) for b in trio[i + 1 :]]
    (folder / "Trios.txt").write_text("entity1,entity2\n" + "\n".join(lines) + "\n")
    return folder


def make_screen(seed: int = 0, n_plates: int = 4, n_controls: int = 12, effect: float = 2.0) -> pd.DataFrame:
    """Profiles with planted truth: each gene is its trio's direction plus its own, every plate adds an offset."""
    rng = np.random.default_rng(seed)
    genes = [gene for trio in TRIOS for gene in trio]
    trio_effect = {
        gene: vector for trio, vector in zip(TRIOS, rng.standard_normal((4, 8)), strict=True) for gene in trio
    }
    own_effect = dict(zip(genes, 0.2 * rng.standard_normal((12, 8)), strict=True))
    rows = []
    for plate in range(n_plates):
        offset = 2.0 * rng.standard_normal(8)
        content = [*genes, *["control"] * n_controls]
        places = rng.permutation(96)[: len(content)]
        for name, place in zip(content, places, strict=True):
            mean = effect * (trio_effect[name] + own_effect[name]) if name != "control" else np.zeros(8)
            rows.append(
                {
                    "Metadata_Plate": f"P{plate}",
                    "Metadata_Well": f"{chr(65 + place // 12)}{place % 12 + 1:02d}",
                    "Metadata_Batch": f"B{plate // 2}",
                    "Metadata_Perturbation": name,
                    "Metadata_Symbol": None if name == "control" else name,
                    "Metadata_pert_type": "negcon" if name == "control" else "trt",
                    **{f"f{i}": value for i, value in enumerate(mean + offset + rng.standard_normal(8))},
                }
            )
    return pd.DataFrame(rows)


@pytest.fixture
def screen_file(tmp_path: Path) -> Path:
    """``make_screen()`` as parquet."""
    path = tmp_path / "screen.parquet"
    make_screen().to_parquet(path)
    return path
