"""``compare``: the results of two models that are meant, and what differs between them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from phenobench.comparison.comparable import differing_field
from phenobench.comparison.differences import ScoreDifference, score_difference, score_name
from phenobench.errors import InputError, unknown
from phenobench.item_values import read_values
from phenobench.metrics.significance import holm
from phenobench.results import Result, find_results, read_result
from phenobench.suite import Suite


@dataclass(frozen=True)
class ComparedModels:
    """Two models on one task.

    Attributes:
        labels: of the two, as their folders are called.
        result: of the first; screen, task and normalization are those of both.
        differences: one a score that both have, the task's primary score first.
        p_values: Holm's, over these scores.
        only_one: scores that only one of the two has.
    """

    labels: tuple[str, str]
    result: Result
    differences: tuple[ScoreDifference, ...]
    p_values: tuple[float, ...]
    only_one: tuple[str, ...]


@dataclass(frozen=True)
class _Place:
    """Where a result lies, apart from its model."""

    screen: str
    normalization: str
    name: str


def compare_models(
    first: str,
    second: str,
    task: str,
    screen: str | None,
    normalization: str | None,
    variant: str | None,
    suite: Suite,
    results: Path | None = None,
) -> ComparedModels:
    """Compare two models on a task; what is not named is what both have, and of several what the suite says.

    Args:
        first: a model as its folder of results is called, such as ``cwa-msn@demo``.
        second: another.
        task: its id.
        screen: the screen's id.
        normalization: the chain's name.
        variant: the task's variant; without one the default.
        suite: whose screen, normalization and results are the defaults.
        results: the folder of results.

    Raises:
        InputError: a model or task without results, no or several results that could be meant, or
            two results that cannot be compared, naming the field.
    """
    results = results or suite.results
    found = {label: _places(results, label, task) for label in (first, second)}
    both = [place for place in found[first] if place in found[second]]
    both = _narrow(both, "screen", screen, suite.screen, results)
    both = _narrow(both, "normalization", normalization, suite.normalizations[0], results)
    both = _of_variant(results, first, task, both, variant)
    place = both[0]
    paths = [results / place.screen / label / place.normalization / place.name for label in (first, second)]
    one, other = map(read_result, paths)
    field = differing_field(one, other)
    if field:
        raise InputError(
            f"{first} and {second} cannot be compared: {field[0]} is {field[1]} and {field[2]}; score both alike"
        )
    of_one, of_other = read_values(paths[0], one), read_values(paths[1], other)
    scores, twins = ({score_name(score): score for score in result.scores} for result in (one, other))
    differences = [
        score_difference(
            score,
            twins[name],
            of_one.get((score.metric, score.subset)),
            of_other.get((score.metric, score.subset)),
            seed=one.seed,
        )
        for name, score in scores.items()
        if name in twins
    ]
    if not differences:
        raise InputError(f"{first} and {second} have no score of {task} in common; score both on the same subsets")
    return ComparedModels(
        labels=(first, second),
        result=one,
        differences=tuple(differences),
        p_values=tuple(map(float, holm([difference.difference.p_value for difference in differences]))),
        only_one=tuple(sorted(scores.keys() ^ twins.keys())),
    )


def _places(results: Path, label: str, task: str) -> list[_Place]:
    paths = find_results(results)
    if not paths:
        raise InputError(f"{results} holds no result; run phenobench run first, or name the folder with --results")
    of_model = [path for path in paths if path.parts[-3] == label]
    if not of_model:
        raise unknown("model in the results", label, {path.parts[-3] for path in paths})
    tasks = {path.name.removesuffix(".json").split(".")[0] for path in of_model}
    if task not in tasks:
        raise unknown(f"task in the results of {label}", task, tasks)
    return [
        _Place(path.parts[-4], path.parts[-2], path.name)
        for path in of_model
        if path.name == f"{task}.json" or path.name.startswith(f"{task}.")
    ]


def _narrow(places: list[_Place], what: str, asked: str | None, default: str, results: Path) -> list[_Place]:
    """The places of one screen, or of one normalization."""
    there = list(dict.fromkeys(getattr(place, what) for place in places))
    if not there:
        raise InputError(f"the two models have no result in common in {results}; score both on the same")
    if asked is not None and asked not in there:
        raise unknown(f"{what} that both have results of", asked, there)
    wanted = asked or (there[0] if len(there) == 1 else default)
    if wanted not in there:
        raise InputError(f"both models have results of the {what}s {', '.join(there)}; name one with --{what}")
    return [place for place in places if getattr(place, what) == wanted]


def _of_variant(results: Path, label: str, task: str, places: list[_Place], variant: str | None) -> list[_Place]:
    """The place of a variant; the default's file has no variant in its name."""
    default = [place for place in places if place.name == f"{task}.json"]
    if variant is None:
        if default or len(places) == 1:
            return default or places
        raise InputError(
            f"both models have results of the variants {', '.join(_variants(places, task))}; name one with --variant"
        )
    for place in places:
        if place.name == f"{task}.{variant}.json":
            return [place]
    for place in default:
        if read_result(results / place.screen / label / place.normalization / place.name).task.variant == variant:
            return [place]
    raise unknown("variant that both have results of", variant, _variants(places, task))


def _variants(places: Iterable[_Place], task: str) -> list[str]:
    names = [place.name.removeprefix(task).removesuffix(".json").removeprefix(".") for place in places]
    return [name or "the default" for name in names]
