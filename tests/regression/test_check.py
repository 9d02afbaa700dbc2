"""check: what passes, what fails a pull request, and what cannot be compared, in a throw-away repository."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from phenobench.results import items_path
from phenobench.tasks.comparison import compare
from tests.regression.planted import GENES, phenobench, profiles, result_file, score

BOTH = ("gene-gene", "replicate-retrieval")


def check(results: str = "results", *more: object) -> tuple[int, str]:
    done = phenobench("check", "--results", results, *more)
    return done.exit_code, done.output


def edit(path: Path, *keys: str | int, to: Any) -> None:
    """Set one value of a result file."""
    whole = inner = json.loads(path.read_text())
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = to
    path.write_text(json.dumps(whole))


@pytest.fixture(scope="module", name="scored")
def scored_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A baseline, results of the same model, and results of one that is clearly worse."""
    folder = tmp_path_factory.mktemp("scored")
    with contextlib.chdir(folder):
        score(profiles(), "baseline")
        score(profiles(), "results")
        score(profiles(noise=3.0), "worse")
    return folder


@pytest.fixture(autouse=True)
def repository(own_folders: None, scored: Path) -> None:
    shutil.copytree(scored, ".", dirs_exist_ok=True)


# What passes and what fails


def test_an_unchanged_model_passes() -> None:
    # Scores are compared, and not bytes: when a run was, and how long it took, is in each result.
    edit(result_file("results"), "run", "seconds", to=1e6)
    code, output = check()
    assert code == 0
    assert "no score fell: 1 scores are equal, 0 differ" in output


def test_noise_passes_inside_the_interval_and_fails_beyond_it() -> None:
    codes, differences = [], []
    before = pd.read_parquet(items_path(result_file("baseline")))
    for noise in (0.05, 0.1, 0.2, 1.0, 3.0):
        score(profiles(noise=noise), "results", "--overwrite")
        after = pd.read_parquet(items_path(result_file("results")))
        differences.append(compare(after, before, "average_precision").difference)
        codes.append(check()[0])
    assert codes == [int(found.p_value < 0.005 and found.value < -0.01) for found in differences]
    assert (codes[0], codes[-2:]) == (0, [1, 1])
    assert differences[0].ci_low < 0 < differences[0].ci_high
    assert differences[-2].ci_high < 0


def test_the_genes_whose_replicates_are_destroyed_are_named() -> None:
    score(profiles(destroyed=GENES[8:18]), "results", "--overwrite")
    code, output = check()
    assert code == 1
    assert output.startswith("1 fell")
    line = next(line for line in output.splitlines() if "fell most" in line)
    named = [word.split()[0] for word in line.split("fell most: ")[1].split(", ")]
    assert len(named) == 5
    assert set(named) <= set(GENES[8:18])
    assert "not as in the baseline: weights" in output


def test_the_genes_and_the_complex_that_lost_their_relations_are_named() -> None:
    def screen(**changes: Any) -> pd.DataFrame:
        return profiles(genes=80, effect=1.6, **changes)

    score(screen(), "old", tasks=("gene-gene",))
    score(screen(destroyed=GENES[:60]), "new", tasks=("gene-gene",))
    code, output = check("new", "--baseline", "old")
    assert code == 1, output
    fell, group = (line for line in output.splitlines() if "fell most" in line or "among them" in line)
    named = [word.split()[0] for word in fell.split("fell most: ")[1].split(", ")]
    assert set(named) <= set(GENES[:60])
    # The four of one family, with all of their six pairs.
    members = group.split(": ")[0].split("among them ")[1].replace(" with", ",").split(", ")
    assert len({GENES.index(member) // 4 for member in members}) == 1
    assert len(members) == 4
    assert "of 6 pairs" in group


def test_a_better_score_is_said_and_passes() -> None:
    score(profiles(effect=2.4), "results", "--overwrite")
    code, output = check()
    assert code == 0
    assert "1 are better, 0 fell" in output
    assert "rose most: " in output


def test_lower_is_better_where_the_score_says_so() -> None:
    def offset(by: float) -> pd.DataFrame:
        table = profiles()
        # Controls do not have it, so that no correction takes it away.
        treated = table["Metadata_pert_type"] == "trt"
        return table.assign(f0=table["f0"] + by * table["Metadata_Plate"].str[1].astype(int) * treated)

    score(offset(0), "before", tasks=("batch-effect",))
    score(offset(6), "after", tasks=("batch-effect",))
    code, output = check("after", "--baseline", "before")
    assert code == 1
    assert "kNN share plate" in output
    assert "lower is better" in output
    assert check("before", "--baseline", "after")[0] == 0


def test_a_drop_within_the_tasks_tolerance_is_none() -> None:
    assert check("worse")[0] == 1
    Path("benchmark.toml").write_text("[check.tolerance]\nreplicate-retrieval = 0.9\n")
    assert check("worse")[0] == 0
    Path("benchmark.toml").write_text("[check.tolerance]\ndefault = 0.9\n")
    assert check("worse")[0] == 0
    Path("benchmark.toml").write_text("[check.tolerance]\ndefault = 0.9\nreplicate-retrieval = 0.0\n")
    assert check("worse")[0] == 1
    Path("benchmark.toml").write_text("[check.tolerance]\nreplicate-retreival = 0.9\n")
    code, output = check("worse")
    assert code == 2
    assert "did you mean replicate-retrieval" in output


def test_the_same_inputs_on_the_same_machine_give_the_same_score_or_it_fell() -> None:
    path = result_file("results")
    value = json.loads(path.read_text())["scores"][0]["value"]
    edit(path, "scores", 0, "value", to=value - 1e-6)
    code, output = check()
    assert code == 1
    assert "the same inputs were scored on the same machine" in output
    # On another machine the last digits may differ.
    edit(path, "run", "host", to="elsewhere")
    assert check()[0] == 0


def test_without_items_the_intervals_are_compared_and_that_is_said() -> None:
    items_path(result_file("baseline")).unlink()
    code, output = check("worse")
    assert code == 1
    assert "compared by the two intervals" in output
    assert "fell most" not in output
    # Intervals alone see less than pairs do.
    score(profiles(noise=0.5), "results", "--overwrite")
    assert check()[0] == 0


def test_items_that_are_not_those_of_the_score_prove_nothing() -> None:
    score(profiles(noise=0.5), "results", "--overwrite")
    items = items_path(result_file("baseline"))
    table = pd.read_parquet(items)
    table["average_precision"] = np.minimum(1.0, table["average_precision"] + 0.3)
    table.to_parquet(items)
    code, output = check()
    assert code == 0
    assert "by their intervals alone" in output


# What cannot be compared


def test_a_changed_annotation_file_is_other_data() -> None:
    score(profiles(), "baseline", tasks=("gene-gene",))
    table = Path("annotations/Families.txt")
    table.write_text("\n".join(table.read_text().splitlines()[:-1]) + "\n")
    score(profiles(), "results", tasks=BOTH)
    code, output = check()
    assert code == 2
    assert "gene-gene: annotations.Families.sha256 was " in output
    assert output.count(" was ") == 1


def test_another_chain_under_the_same_name_is_another_protocol() -> None:
    for steps, results in (("center", "before"), ("standardize", "after")):
        phenobench("normalize", "screen.parquet", "--steps", steps, "--out", "normalized.parquet")
        arguments = ["--task", "replicate-retrieval", "--model", "mine", "--screen", "screen", "--results", results]
        assert phenobench("score", "normalized.parquet", *arguments).exit_code == 0
    code, output = check("after", "--baseline", "before")
    assert code == 2
    assert "normalization.steps.0.step was center and is standardize" in output


@pytest.mark.parametrize(
    ("keys", "value", "field"),
    [
        (("task", "version"), "99", "task.version"),
        (("task", "protocol", "negatives"), "controls", "task.protocol.negatives"),
        (("screen", "sha256"), "0" * 64, "screen.sha256"),
        (("map", "n"), 7, "map.n"),
        (("map", "rows"), "other wells", "map.rows"),
        (("texts",), {"sha256": "1" * 64}, "texts.sha256"),
    ],
)
def test_the_field_that_differs_is_named(keys: tuple[str, ...], value: Any, field: str) -> None:
    edit(result_file("worse"), *keys, to=value)
    code, output = check("worse")
    assert code == 2
    assert f"{field} was " in output
    assert "0 fell" in output


def test_what_a_chain_finds_in_the_features_is_no_protocol() -> None:
    edit(result_file("results"), "normalization", "steps", 0, "components", to=3)
    assert check()[0] == 0


def test_a_missing_result_and_a_missing_score_are_named() -> None:
    score(profiles(), "baseline", tasks=("gene-gene",))
    score(profiles(), "results", tasks=BOTH)
    result_file("results").unlink()
    code, output = check()
    assert code == 2
    assert "screen / mine / center / replicate-retrieval: the result is not there" in output

    path = result_file("results", "gene-gene")
    edit(path, "scores", 0, "subset", to="Others")
    edit(path, "skipped", to={"Families": "could not be fetched"})
    code, output = check()
    assert code == 2
    assert "the score recall Families (could not be fetched) is not there" in output


def test_what_the_baseline_does_not_have_is_new_and_passes() -> None:
    score(profiles(), "results", tasks=BOTH)
    code, output = check()
    assert code == 0
    assert "screen / mine / center / gene-gene is not in the baseline" in output


# The baseline


def test_update_makes_the_results_the_baseline() -> None:
    score(profiles(), "baseline", model="gone")
    score(profiles(), "baseline", tasks=("gene-gene",))
    kept = result_file("baseline", "gene-gene").read_bytes()
    score(profiles(), "worse", tasks=("gene-gene",))
    assert check("worse")[0] == 2
    code, output = check("worse", "--update")
    assert code == 0
    assert "1 written, 1 as they were, 1 removed" in output
    assert check("worse")[0] == 0
    assert not result_file("baseline", model="gone").exists()
    assert not items_path(result_file("baseline", model="gone")).exists()
    for path in (result_file, lambda root: items_path(result_file(root))):
        assert path("baseline").read_bytes() == path("worse").read_bytes()
    # Only the time and the host differ, which is no reason for a commit.
    assert result_file("baseline", "gene-gene").read_bytes() == kept


def test_update_makes_a_first_baseline_too() -> None:
    refused = phenobench("check", "--results", "baseline", "--baseline", "new")
    assert refused.exit_code == 2
    assert "--update" in refused.stderr
    assert check("baseline", "--baseline", "new", "--update")[0] == 0
    assert check("baseline", "--baseline", "new")[0] == 0


def test_a_folder_is_no_baseline_of_itself() -> None:
    refused = phenobench("check", "--results", "baseline", "--baseline", "./baseline")
    assert refused.exit_code == 2
    assert "is both results and baseline" in refused.stderr


def test_the_suite_names_the_baseline() -> None:
    Path("baseline").rename("committed")
    Path("benchmark.toml").write_text('[check]\nbaseline = "committed"\n')
    assert check()[0] == 0


# Files that are no results


@pytest.mark.parametrize("where", ["results", "baseline"])
@pytest.mark.parametrize(
    ("keys", "value", "said"),
    [
        (("schema_version",), 0, "has schema_version 0"),
        (("schema_version",), 99, "has schema_version 99"),
        (("model", "id"), "<script>alert(1)</script>", "model.id: String should match"),
        (("screen", "id"), "../../etc", "screen.id: String should match"),
        (("scores", 0, "value"), "NaN", "scores.0.value"),
        (("scores",), [], "scores"),
        (("surprise",), 1, "surprise"),
    ],
)
def test_old_broken_and_hostile_results_are_refused(
    where: str, keys: tuple[str | int, ...], value: Any, said: str
) -> None:
    edit(result_file(where), *keys, to=value)
    done = phenobench("check")
    assert done.exit_code == 2
    assert said in done.stderr
    assert str(result_file(where)) in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_file_cut_short_and_items_that_are_none_are_refused() -> None:
    items_path(result_file("worse")).write_bytes(b"PAR1 no")
    done = phenobench("check", "--results", "worse")
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    assert "cannot be read as items" in done.stderr
    result_file("results").write_text(result_file("results").read_text()[:300])
    done = phenobench("check")
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    assert "cannot be read as a result" in done.stderr


def test_a_model_that_was_trained_again_is_checked_against_its_former_weights() -> None:
    for root, weights in (("baseline", "0a1b2c3d"), ("worse", "ffffffff")):
        edit(result_file(root), "model", "weights", to={"kind": "trained", "sha256": weights * 8})
        result_file(root).parents[1].rename(result_file(root, model=f"mine@{weights}").parents[1])
    code, output = check("worse")
    assert code == 1
    assert "screen / mine@ffffffff / center / replicate-retrieval: mAP from " in output
    assert "weights 0a1b2c3d0a1b -> ffffffffffff" in output
    assert "1 written, 0 as they were, 1 removed" in check("worse", "--update")[1]
    assert [path.name for path in Path("baseline/screen").iterdir() if any(path.rglob("*.json"))] == ["mine@ffffffff"]
