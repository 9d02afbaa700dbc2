"""The command that makes a result again, from what the result says and not from how it was called."""

from __future__ import annotations

import shlex
from functools import cache
from importlib.resources import files

from phenobench.normalization import CHAINS, DEFAULT
from phenobench.results import Result

# Stands for a file that a result knows by its hash alone.
FILE = "FILE"


def command(result: Result) -> str:
    """A line for a shell that gives this result from the same files; where they lie it cannot know."""
    return " ".join([start(result), model_options(result), table_options(result), result_options(result)])


def start(result: Result) -> str:
    """The command itself, with the file of embeddings where the screen does not bring them."""
    if result.normalization.name not in (*CHAINS, DEFAULT):
        return f"phenobench score {FILE}"
    given = result.model.weights.kind == "precomputed" and not _listed(result.screen.id)
    return f"phenobench run --profiles {FILE}" if given else "phenobench run"


def model_options(result: Result) -> str:
    """Which model, and from which weights."""
    model = result.model
    named = {"trained": FILE, "demo": "demo", "random": "random"}.get(model.weights.kind)
    weights = FILE if model.weights.by_path else named
    return f"--model {shlex.quote(model.id)}" + (f" --weights {weights}" if weights else "")


def table_options(result: Result) -> str:
    """Which screen, task and normalization."""
    variant, _, align = result.task.variant.partition("+")
    options = {
        "--screen": result.screen.id,
        "--task": result.task.id,
        "--variant": variant,
        "--align": align,
        "--normalization": result.normalization.name,
    }
    return " ".join(f"{name} {shlex.quote(value)}" for name, value in options.items() if value)


def result_options(result: Result) -> str:
    """The seed, and the file of texts where the screen does not bring them."""
    texts = f" --texts {FILE}" if result.texts and not _listed(result.screen.id) else ""
    return f"--seed {result.seed}{texts}"


def _listed(screen: str) -> bool:
    """Whether the package knows the screen by its id."""
    return f"{screen}.toml" in _cards()


@cache
def _cards() -> frozenset[str]:
    return frozenset(path.name for path in files("phenobench.screens").iterdir())
