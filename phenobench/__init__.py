"""phenobench: one harness for Cell Painting embeddings, in which one number means one thing."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from phenobench import metrics, normalization
    from phenobench.errors import InputError
    from phenobench.models import load_model
    from phenobench.profiles import Profiles
    from phenobench.screens import Screen, load_screen

    __version__: str

__all__ = ["InputError", "Profiles", "Screen", "__version__", "load_model", "load_screen", "metrics", "normalization"]

# Public names are imported when they are used (PEP 562): the command line answers without numpy.
_LAZY = {
    "InputError": "phenobench.errors",
    "Profiles": "phenobench.profiles",
    "Screen": "phenobench.screens",
    "load_model": "phenobench.models",
    "load_screen": "phenobench.screens",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    if name in ("metrics", "normalization"):
        return import_module(f"phenobench.{name}")
    if name == "__version__":
        return import_module("importlib.metadata").version("phenobench")
    raise AttributeError(f"module 'phenobench' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
