"""What to run: ``benchmark.toml`` as frozen settings, with the environment above it and defaults below."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from phenobench.cards import nearest_suite, read_toml, validate
from phenobench.errors import InputError
from phenobench.normalization import DEFAULT

# PHENOBENCH_SEED=3 and the like; lists are separated by commas.
_ENVIRONMENT = "PHENOBENCH_"


class ScreenSettings(BaseModel):
    """``[screens.<id>]``: where a screen's files lie, in place of a download."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    root: Path


class Suite(BaseModel):
    """The settings of a run; each has a command-line option that goes before it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    screen: str = "simulated"
    models: tuple[str, ...] = ("all",)
    tasks: tuple[str, ...] = ("all",)
    normalizations: tuple[str, ...] = (DEFAULT,)
    annotations: Path | None = None
    results: Path = Path("results")
    seed: int = Field(default=0, ge=0)
    screens: Mapping[str, ScreenSettings] = {}

    def root(self, screen: str) -> Path | None:
        """The folder that holds a screen's files, if the suite names one."""
        return self.screens[screen].root if screen in self.screens else None


def load_suite() -> Suite:
    """The suite in force: environment over the nearest ``benchmark.toml`` over the defaults.

    Paths in the file are relative to it.

    Raises:
        InputError: an unknown key or a value of the wrong type, named.
    """
    path = nearest_suite()
    values: dict[str, Any] = read_toml(path) if path else {}
    if path:
        values = _absolute(values, path.parent)
    for name in ("screen", "models", "tasks", "normalizations", "annotations", "results", "seed"):
        given = os.environ.get(_ENVIRONMENT + name.upper())
        if given is not None:
            values[name] = tuple(given.split(",")) if name in ("models", "tasks", "normalizations") else given
    return validate(values, Suite, path or f"the environment ({_ENVIRONMENT}...)")


def _absolute(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    paths: dict[str, Any] = {name: folder / values[name] for name in ("annotations", "results") if name in values}
    screens = values.get("screens", {})
    if not isinstance(screens, dict) or not all(isinstance(entry, dict) for entry in screens.values()):
        raise InputError(f"{folder}: screens must be tables, [screens.<id>] with a root")
    rooted = {
        name: {**entry, "root": folder / entry["root"]} if "root" in entry else entry for name, entry in screens.items()
    }
    return {**values, **paths, **({"screens": rooted} if rooted else {})}
