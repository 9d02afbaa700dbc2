"""Measuring a row: both sides in turn, each time in a fresh process, and what machine it was."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from threadpoolctl import threadpool_info

from benchmarks.speed.row import FILES, Row
from phenobench.annotations import WHEEL
from phenobench.files import write_text

# Ours, peer, ours, peer ... so often; no new round is begun after so many seconds.
_ROUNDS, _SECONDS = 3, 40.0
_PACKAGES = ("phenobench", "numpy", "scipy", "pandas", "pyarrow", "torch", "copairs", "pycytominer")


def measure(row: Row, results: Path) -> None:
    """Measure a row and keep its figures in ``results``."""
    figures: dict[str, Any] = {"row": row.name, "machine": machine(), "skipped": row.unavailable}
    if not figures["skipped"]:
        sides = ("ours", "peer") if row.peer else ("ours",)
        rounds: list[dict[str, Any]] = []
        with tempfile.TemporaryDirectory() as folder:
            if row.files:
                _in_a_process(row, FILES, folder)
            begun = time.monotonic()
            while not rounds or (len(rounds) < _ROUNDS and time.monotonic() - begun < _SECONDS):
                rounds.append({side: _in_a_process(row, side, folder) for side in sides})
        figures["rounds"] = rounds
    write_text(results / "speed" / f"{row.name}.json", json.dumps(figures, indent=1) + "\n")


def _in_a_process(row: Row, side: str, folder: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.speed.measure", row.name, side]
    root = Path(__file__).parents[2]
    env = {**_own_kernels(), "TMPDIR": folder}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, cwd=root, env=env)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _own_kernels() -> dict[str, str]:
    """The environment, but for what tells OpenBLAS to take another processor's kernels than this one's."""
    return {name: value for name, value in os.environ.items() if name not in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")}


def machine() -> dict[str, str]:
    """Hardware and versions, each as a reader wants it."""
    blas = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    of_numpy = [f"{pool['internal_api']} {pool['version']} ({pool['num_threads']} threads)" for pool in blas]
    return {
        "CPU": f"{_cpu()}, {os.cpu_count()} cores",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "GPU": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "OS": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        "BLAS": ", ".join(of_numpy),
        **{name: _version(name) for name in _PACKAGES},
        WHEEL.name: WHEEL.version,
    }


def _cpu() -> str:
    found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else platform.processor()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"
