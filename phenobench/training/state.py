"""The state of a training in a file: written whole or not at all, read without running code."""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from phenobench.errors import InputError
from phenobench.files import atomic

STATE = "state.pt"
# What torch stumbles over in a file that is cut short or is another's.
_DAMAGED = (pickle.UnpicklingError, RuntimeError, EOFError, OSError, LookupError, TypeError, ValueError, AttributeError)


@dataclass(frozen=True)
class Told:
    """What a training follows from; one that goes on must be told the same.

    Attributes:
        model: its id.
        images: what fixes the screen's images.
        config: without ``running``, as JSON has it.
    """

    model: str
    images: str
    config: Mapping[str, Any]


def save_state(
    folder: Path, step: int, told: Told, modules: Mapping[str, nn.Module], optimiser: torch.optim.Optimizer
) -> None:
    """Write the state after ``step`` updates.

    Raises:
        InputError: the folder cannot be written or the disk is full; the state before is still whole.
    """
    buffer = io.BytesIO()
    state = {
        "step": step,
        "told": json.dumps(vars(told), sort_keys=True),
        "modules": {name: module.state_dict() for name, module in modules.items()},
        "optimiser": optimiser.state_dict(),
    }
    torch.save(state, buffer)
    with atomic(folder / STATE) as temporary:
        temporary.write_bytes(buffer.getbuffer())


def load_state(folder: Path, told: Told, modules: Mapping[str, nn.Module], optimiser: torch.optim.Optimizer) -> int:
    """Take up a state; how many updates it has behind it.

    Raises:
        InputError: there is none, it is damaged, or it is of another model, screen or configuration.
    """
    path = folder / STATE
    if not path.is_file():
        raise InputError(f"{folder} has no {STATE} to resume from; leave --resume out to start")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        step, before = int(state["step"]), Told(**json.loads(state["told"]))
    except _DAMAGED as error:
        raise InputError(f"{path} is no whole state of a training; remove the folder and start again") from error
    difference = _difference(before, told)
    if difference:
        raise InputError(f"{path} is of a training with another {difference}; resume with the same, or start elsewhere")
    for name, module in modules.items():
        module.load_state_dict(state["modules"][name])
    optimiser.load_state_dict(state["optimiser"])
    return step


def _difference(before: Told, now: Told) -> str:
    """The first thing that differs, by name; empty where nothing does."""
    for name in ("model", "images"):
        if getattr(before, name) != getattr(now, name):
            return name
    one, two = _flat(before.config), _flat(now.config)
    return next((key for key in sorted(one.keys() | two.keys()) if one.get(key) != two.get(key)), "")


def _flat(values: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(values, Mapping):
        return {prefix.rstrip("."): values}
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= _flat(value, f"{prefix}{key}.")
    return found
