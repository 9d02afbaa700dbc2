"""May two results be compared? Only where protocol and data are the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from phenobench.results import Result

# What a normalization finds in the features: it differs between models under one protocol.
_FOUND = {"components", "rank_min", "n_features"}
_LONGEST = 40


def differing_field(first: Result, second: Result) -> tuple[str, str, str] | None:
    """The first field of protocol or data in which two results differ, and both its values; None where there is none.

    The hash of the weights is not among them: it is the question. Nor are the seed, and versions of
    software. Of the annotations, those sources count that both are scored on.
    """
    for name, one, other in _fields(first, second):
        if one != other:
            return (name, _short(one), _short(other))
    return None


def _fields(first: Result, second: Result) -> Iterator[tuple[str, Any, Any]]:
    for name in ("id", "version", "variant"):
        yield f"task.{name}", getattr(first.task, name), getattr(second.task, name)
    yield from _entries("task.protocol", first.task.protocol, second.task.protocol)
    yield "screen.id", first.screen.id, second.screen.id
    yield "screen.sha256", first.screen.sha256, second.screen.sha256
    subsets = {score.subset for score in first.scores} & {score.subset for score in second.scores}
    for source in sorted(subsets):
        tables = (first.annotations.get(source, {}), second.annotations.get(source, {}))
        for key in ("sha256", "n_pairs"):
            yield f"annotations.{source}.{key}", tables[0].get(key), tables[1].get(key)
    yield from _entries("texts", first.texts or {}, second.texts or {})
    yield "normalization.name", first.normalization.name, second.normalization.name
    steps = (first.normalization.steps, second.normalization.steps)
    yield "number of normalization.steps", len(steps[0]), len(steps[1])
    for number, (one, other) in enumerate(zip(*steps, strict=True)):
        yield from _entries(f"normalization.steps.{number}", one, other)
    yield "map.rows", first.map.rows, second.map.rows
    # Which perturbations pass a gate depends on the model; what both passed is compared.
    if first.task.protocol.get("gate", "none") == "none":
        yield "map.n", first.map.n, second.map.n


def _entries(name: str, one: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    for key in sorted((one.keys() | other.keys()) - _FOUND):
        yield f"{name}.{key}", one.get(key), other.get(key)


def _short(value: object) -> str:
    text = "nothing" if value is None else str(value)
    return text[:12] if len(text) == 64 and text.isalnum() else text[:_LONGEST]
