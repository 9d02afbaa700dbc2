"""What to run: ``benchmark.toml`` as frozen settings, with the environment above it and defaults below."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from phenobench.cards import nearest_suite, read_toml, validate

# PHENOBENCH_SEED=3 and the like; lists are separated by commas.
_ENVIRONMENT = "PHENOBENCH_"


class ScreenSettings(BaseModel):
    """``[screens.<id>]``: where a screen's files lie, in place of a download."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    root: Path


class LicenceSettings(BaseModel):
    """``[licences]``: ids of models and screens whose licences the user has read and accepts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    accept: tuple[str, ...] = ()


# A change of a score by less says nothing about a model, however sure it is.
DEFAULT_TOLERANCE = 0.01


class CheckSettings(BaseModel):
    """``[check]``: what results are held against.

    Attributes:
        baseline: a folder of results.
        tolerance: the drop of a score that is none yet, by the task's id; ``default`` is for the others.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    baseline: Path = Path("baseline")
    tolerance: Mapping[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]] = {}

    def tolerance_of(self, task: str) -> float:
        """The drop of a task's scores that is none yet."""
        return self.tolerance.get(task, self.tolerance.get("default", DEFAULT_TOLERANCE))


class Suite(BaseModel):
    """The settings of a run; each has a command-line option that goes before it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    screen: str = "simulated"
    models: tuple[str, ...] = ("all",)
    tasks: tuple[str, ...] = ("all",)
    # ``normalization.DEFAULT``, whose import would cost a second.
    normalizations: tuple[str, ...] = ("center+tvn",)
    annotations: Path | None = None
    results: Path = Path("results")
    seed: int = Field(default=0, ge=0)
    screens: Mapping[str, ScreenSettings] = {}
    licences: LicenceSettings = LicenceSettings()
    check: CheckSettings = CheckSettings()

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
    values = _absolute(read_toml(path), path.parent) if path else {}
    validate(values, Suite, path)
    for name in ("screen", "models", "tasks", "normalizations", "annotations", "results", "seed"):
        given = os.environ.get(_ENVIRONMENT + name.upper())
        if given:
            values[name] = tuple(given.split(",")) if name in ("models", "tasks", "normalizations") else given
    # The file alone is right, so what is wrong now is in the environment.
    return validate(values, Suite, f"the environment ({_ENVIRONMENT}...)")


def _absolute(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Paths of the file, which are relative to it, made absolute; what is no path is left to validation."""

    def absolute(value: object) -> object:
        return folder / Path(value).expanduser() if isinstance(value, str) else value

    paths: dict[str, object] = {name: absolute(values[name]) for name in ("annotations", "results") if name in values}
    screens = values.get("screens")
    if isinstance(screens, dict):
        paths["screens"] = {
            name: {**entry, "root": absolute(entry["root"])} if isinstance(entry, dict) and "root" in entry else entry
            for name, entry in screens.items()
        }
    check = values.get("check")
    if isinstance(check, dict) and "baseline" in check:
        paths["check"] = {**check, "baseline": absolute(check["baseline"])}
    return {**values, **paths}
