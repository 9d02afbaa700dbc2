"""compare: which of two models is better, in words, and when that cannot be said."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from phenobench.comparison.two_models import compare_models
from phenobench.results import items_path
from phenobench.suite import Suite
from phenobench.tasks.comparison import compare
from tests.regression.planted import GENES, phenobench, profiles, result_file, score

DESTROYED = GENES[8:20]


def run(*more: object, first: str = "good", second: str = "bad") -> tuple[int, str]:
    done = phenobench("compare", first, second, *more)
    return done.exit_code, done.output


@pytest.fixture(scope="module", name="scored")
def scored_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scored")
    with contextlib.chdir(folder):
        score(profiles(), "results", model="good")
        score(profiles(destroyed=DESTROYED), "results", model="bad")
    return folder


@pytest.fixture(autouse=True)
def two_models(own_folders: None, scored: Path) -> None:
    shutil.copytree(scored, ".", dirs_exist_ok=True)


def test_the_difference_is_that_of_the_paired_comparison() -> None:
    found = compare_models("good", "bad", "replicate-retrieval", None, None, None, Suite())
    (difference,) = found.differences
    items = [pd.read_parquet(items_path(result_file("results", model=model))) for model in ("good", "bad")]
    wanted = compare(items[0], items[1], "average_precision")
    assert difference.difference.value == pytest.approx(wanted.difference.value)
    assert difference.difference.ci_low == pytest.approx(wanted.difference.ci_low)
    assert (difference.first.value, difference.second.value) == pytest.approx((wanted.first, wanted.second))
    assert found.p_values[0] <= wanted.difference.p_value


def test_who_is_better_and_on_which_perturbations_is_said() -> None:
    code, output = run("--task", "replicate-retrieval")
    assert code == 0
    assert "good is better on mAP." in output
    line = next(line for line in output.splitlines() if "good is better most on" in line)
    named = [word.split()[0] for word in line.split(" most on ")[1].split(", ")]
    assert len(named) == 5
    assert set(named) <= set(DESTROYED)
    assert "good is better on mAP." in run("--task", "replicate-retrieval", first="bad", second="good")[1]


def test_a_model_cannot_be_told_from_itself() -> None:
    code, output = run("--task", "replicate-retrieval", second="good")
    assert code == 0
    assert "They cannot be told apart on mAP." in output
    assert "better most on" not in output


def test_each_source_is_a_score_with_holms_correction_over_all() -> None:
    table = Path("annotations/Families.txt").read_text().splitlines()
    Path("annotations/Half.txt").write_text("\n".join([table[0], *table[1::2]]) + "\n")
    for model, destroyed in (("good", ()), ("bad", GENES[:32])):
        score(profiles(destroyed=destroyed), "results", model=model, tasks=("gene-gene",))
    found = compare_models("good", "bad", "gene-gene", None, None, None, Suite())
    assert [difference.name for difference in found.differences] == ["recall Families", "recall Half"]
    assert [difference.difference.n for difference in found.differences] == [48, 24]
    raw = [difference.difference.p_value for difference in found.differences]
    assert found.p_values[raw.index(min(raw))] == pytest.approx(2 * min(raw))
    code, output = run("--task", "gene-gene")
    assert code == 0
    assert "found of 3 pairs" in output


def test_what_is_not_named_is_what_both_have() -> None:
    for model, destroyed in (("good", ()), ("bad", DESTROYED)):
        table = profiles(destroyed=destroyed)
        score(table, "results", "--variant", "against-all", "--normalization", "none", model=model)
        score(table, "results", "--variant", "across-plates", "--normalization", "none", model=model)
    refused = phenobench("compare", "good", "bad", "--task", "replicate-retrieval")
    assert refused.exit_code == 2
    assert "name one with --normalization" in refused.stderr
    Path("benchmark.toml").write_text('normalizations = ["none"]\n')
    assert "replicate-retrieval (across-plates), none" in run("--task", "replicate-retrieval")[1]
    center = ("--task", "replicate-retrieval", "--normalization", "center")
    assert "(across-plates), center" in run(*center)[1]
    assert "(across-plates), center" in run(*center, "--variant", "across-plates")[1]
    assert "(against-all), center" in run(*center, "--variant", "against-all")[1]
    assert "(against-all), center" in run(*center, "--screen", "screen", "--variant", "against-all")[1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("good", "bda", "--task", "replicate-retrieval"), "did you mean bad"),
        (("good", "../bad", "--task", "replicate-retrieval"), "unknown model"),
        (("good", "bad", "--task", "replicate-retreival"), "did you mean replicate-retrieval"),
        (("good", "bad", "--task", "replicate-retrieval", "--screen", "other"), "unknown screen"),
        (("good", "bad", "--task", "replicate-retrieval", "--normalization", "tvn"), "unknown normalization"),
        (("good", "bad", "--task", "replicate-retrieval", "--variant", "same"), "unknown variant"),
        (("good", "bad", "--task", "replicate-retrieval", "--results", "elsewhere"), "holds no result"),
    ],
)
def test_what_is_not_there_is_one_sentence(arguments: tuple[str, ...], said: str) -> None:
    done = phenobench("compare", *arguments)
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    assert said in done.stderr


@pytest.mark.parametrize(
    ("keys", "value", "field"),
    [
        (("task", "version"), "99", "task.version"),
        (("screen", "sha256"), "0" * 64, "screen.sha256"),
        (("map", "n"), 3, "map.n"),
        (("normalization", "name"), "other", "normalization.name"),
    ],
)
def test_two_protocols_are_not_compared(keys: tuple[str, str], value: object, field: str) -> None:
    path = result_file("results", model="bad")
    result = json.loads(path.read_text())
    result[keys[0]][keys[1]] = value
    path.write_text(json.dumps(result))
    done = phenobench("compare", "good", "bad", "--task", "replicate-retrieval")
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    assert f"good and bad cannot be compared: {field} is " in done.stderr


def test_without_items_the_intervals_speak_and_that_is_said() -> None:
    items_path(result_file("results", model="bad")).unlink()
    code, output = run("--task", "replicate-retrieval")
    assert code == 0
    assert "Not paired" in output
    assert "better most on" not in output
