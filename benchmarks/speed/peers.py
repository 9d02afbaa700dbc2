"""EFAAR's own functions, taken from its wheel as it is and without what it would install."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

from phenobench.annotations import WHEEL
from phenobench.downloads import fetch_wheel
from phenobench.files import cache_dir

# What its modules import for functions that are not measured: an autoencoder and optimal transport.
_NOT_NEEDED = {"scvi": (), "scvi.model": ("SCVI",), "geomloss": ("SamplesLoss",)}


def efaar(module: str) -> Any:
    """``efaar_benchmarking.<module>`` of the pinned wheel, which is fetched once and never installed.

    Installing it takes a hundred packages (an autoencoder's, a cluster's file system), and some of them
    need other versions than phenobench is tested with.

    Raises:
        InputError: the wheel is not there and cannot be fetched.
    """
    folder = cache_dir() / "benchmarks"
    wheel = folder / WHEEL.file
    if not wheel.exists():
        folder.mkdir(parents=True, exist_ok=True)
        fetch_wheel(WHEEL.name, WHEEL.version, WHEEL.file, WHEEL.sha256, folder)
    if str(wheel) not in sys.path:
        sys.path.append(str(wheel))
        for name, members in _NOT_NEEDED.items():
            stand_in = ModuleType(name)
            stand_in.__dict__.update(dict.fromkeys(members))
            sys.modules.setdefault(name, stand_in)
    return importlib.import_module(f"efaar_benchmarking.{module}")
