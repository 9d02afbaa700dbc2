"""The whole way: from files to results that are kept, refused, repeated and explained."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from phenobench.cli import app
from phenobench.results import read_result
from tests.conftest import make_screen

HEAVY = ("torch", "pandas", "numpy", "scipy", "transformers", "huggingface_hub", "sklearn", "pyarrow")


def phenobench(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def run(screen: Path, annotations: Path, *more: object) -> Result:
    return phenobench("run", "--profiles", screen, "--annotations", annotations, "--model", "mine", *more)


def scores(path: Path) -> dict[str, Any]:
    return {f"{s.metric} {s.subset}": s for s in read_result(path).scores}


def test_one_command_scores_two_tasks_and_the_planted_truth_is_found(screen_file: Path, annotations: Path) -> None:
    done = run(screen_file, annotations, "--task", "replicate-retrieval", "--task", "gene-gene")
    assert done.exit_code == 0, done.output
    folder = Path("results/screen/mine/center+tvn")
    assert {path.name for path in folder.iterdir()} == {
        "replicate-retrieval.json",
        "replicate-retrieval.items.parquet",
        "gene-gene.json",
        "gene-gene.items.parquet",
    }
    replicate = scores(folder / "replicate-retrieval.json")["mAP all"]
    assert replicate.ci_low > replicate.chance
    assert replicate.n == 12
    recall = scores(folder / "gene-gene.json")["recall Trios"]
    # 66 pairs have 3 places in each tail, so 6 of the 12 annotated pairs can be found at most.
    assert recall.ceiling == pytest.approx(0.5)
    assert recall.chance == pytest.approx(6 / 66)
    assert recall.value > 2 * recall.chance
    items = pd.read_parquet(folder / "gene-gene.items.parquet")
    assert len(items) == 12
    assert items["hit"].mean() == pytest.approx(recall.value)


def test_the_mean_of_the_items_is_the_score(screen_file: Path, annotations: Path) -> None:
    run(screen_file, annotations, "--task", "replicate-retrieval", "--normalization", "center")
    folder = Path("results/screen/mine/center")
    items = pd.read_parquet(folder / "replicate-retrieval.items.parquet")
    by = items.groupby("perturbation")[["average_precision", "expected"]].mean()
    score = scores(folder / "replicate-retrieval.json")["mAP all"]
    assert score.value == pytest.approx(by["average_precision"].mean())
    assert score.chance == pytest.approx(by["expected"].mean())


def test_a_result_says_what_it_is_of(screen_file: Path, annotations: Path) -> None:
    run(screen_file, annotations, "--task", "gene-gene", "--exclude", "Metadata_Perturbation=D3", "--seed", 3)
    result = read_result(Path("results/screen/mine/center+tvn/gene-gene.json"))
    assert result.screen.dropped == {"excluded Metadata_Perturbation=D3": 4}
    assert (result.screen.n_wells, result.screen.n_plates, result.screen.n_perturbations) == (92, 4, 11)
    assert [step["step"] for step in result.normalization.steps] == ["center", "tvn"]
    assert result.normalization.steps[0]["by"] == "plate"
    assert result.normalization.steps[1]["n_fitted"] == 48
    assert result.map.n == 11
    assert result.seed == 3
    assert result.annotations["Trios"]["licence"] == "given by path"
    assert result.model.weights.kind == "precomputed"
    assert result.environment["numpy"] == np.__version__


def test_the_screen_hash_is_over_labels_and_the_weights_hash_over_features(tmp_path: Path, annotations: Path) -> None:
    def hashes(table: pd.DataFrame, name: str) -> tuple[str, str]:
        path = tmp_path / f"{name}.parquet"
        table.to_parquet(path)
        assert run(path, annotations, "--task", "replicate-retrieval").exit_code == 0
        result = read_result(Path(f"results/{name}/mine/center+tvn/replicate-retrieval.json"))
        return result.screen.sha256, result.model.weights.sha256

    table = make_screen()
    same = hashes(table, "same")
    assert hashes(table.sample(frac=1, random_state=1), "shuffled") == same
    assert hashes(table.assign(Metadata_remark="x"), "remark") == same
    other = hashes(table.assign(f0=table["f0"] + 0.5), "features")
    assert other[0] == same[0]
    assert other[1] != same[1]
    relabelled = table.replace({"Metadata_Perturbation": {"A1": "renamed"}})
    assert hashes(relabelled, "labels")[0] != same[0]


def test_the_same_run_again_keeps_what_is_there_and_another_embedding_is_refused(
    screen_file: Path, annotations: Path
) -> None:
    path = Path("results/screen/mine/center+tvn/replicate-retrieval.json")
    run(screen_file, annotations, "--task", "replicate-retrieval")
    first = path.read_bytes()
    again = run(screen_file, annotations, "--task", "replicate-retrieval")
    assert "were there already" in again.output
    assert path.read_bytes() == first

    make_screen(seed=1).to_parquet(screen_file)
    refused = run(screen_file, annotations, "--task", "replicate-retrieval")
    assert refused.exit_code == 2
    assert "another weights" in refused.stderr
    assert "--overwrite" in refused.stderr
    assert path.read_bytes() == first
    assert run(screen_file, annotations, "--task", "replicate-retrieval", "--overwrite").exit_code == 0
    assert path.read_bytes() != first


def test_another_seed_is_the_same_identity_and_scored_again(screen_file: Path, annotations: Path) -> None:
    path = Path("results/screen/mine/center+tvn/replicate-retrieval.json")
    run(screen_file, annotations, "--task", "replicate-retrieval", "--seed", 1)
    run(screen_file, annotations, "--task", "replicate-retrieval", "--seed", 2)
    assert read_result(path).seed == 2


def test_a_damaged_result_is_not_taken_for_one(screen_file: Path, annotations: Path) -> None:
    path = Path("results/screen/mine/center+tvn/replicate-retrieval.json")
    run(screen_file, annotations, "--task", "replicate-retrieval")
    path.write_text(path.read_text()[:200])
    refused = run(screen_file, annotations, "--task", "replicate-retrieval")
    assert refused.exit_code == 2
    assert str(path) in refused.stderr


def test_results_are_byte_identical_in_processes_with_other_hash_seeds(
    tmp_path: Path, screen_file: Path, annotations: Path
) -> None:
    texts = tmp_path / "texts.parquet"
    table = make_screen(seed=5)
    table.to_parquet(texts)
    for hash_seed in ("0", "1"):
        command = [sys.executable, "-m", "phenobench", "run", "--profiles", str(screen_file)]
        command += ["--annotations", str(annotations), "--results", str(tmp_path / hash_seed), "--texts", str(texts)]
        command += ["--model", "mine", "--model", "random", "--model", "oracle", "--task", "all"]
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        subprocess.run(command, check=True, capture_output=True, env=environment)
    first = sorted(path for path in (tmp_path / "0").rglob("*") if path.is_file())
    assert len(first) == 2 * 3 * 5
    for path in first:
        twin = tmp_path / "1" / path.relative_to(tmp_path / "0")
        if path.suffix == ".json":
            one, two = (json.loads(p.read_text()) for p in (path, twin))
            assert one.pop("run") != two.pop("run")
            assert json.dumps(one) == json.dumps(two)
        else:
            assert path.read_bytes() == twin.read_bytes()


def test_the_order_of_rows_in_the_file_changes_no_byte(tmp_path: Path, annotations: Path) -> None:
    written = []
    for name, table in (("a", make_screen()), ("b", make_screen().sample(frac=1, random_state=3))):
        path = tmp_path / f"{name}.parquet"
        table.to_parquet(path)
        run(path, annotations, "--screen", "s", "--results", tmp_path / name)
        result = json.loads((tmp_path / name / "s/mine/center+tvn/replicate-retrieval.json").read_text())
        written.append({key: value for key, value in result.items() if key != "run"})
    assert written[0] == written[1]


def test_normalize_then_score_gives_what_run_gives(tmp_path: Path, screen_file: Path, annotations: Path) -> None:
    run(screen_file, annotations, "--task", "gene-gene", "--task", "replicate-retrieval")
    out = tmp_path / "normalized.parquet"
    assert phenobench("normalize", screen_file, "--steps", "center+tvn", "--out", out).exit_code == 0
    arguments = ("--task", "gene-gene", "--task", "replicate-retrieval", "--annotations", annotations)
    done = phenobench(
        "score", out, "--model", "again", "--screen", "screen", "--normalization", "center+tvn", *arguments
    )
    assert done.exit_code == 0, done.output
    for task in ("gene-gene", "replicate-retrieval"):
        one, two = (read_result(Path(f"results/screen/{m}/center+tvn/{task}.json")) for m in ("mine", "again"))
        assert one.scores == two.scores
        # The record of normalization travels in the file.
        assert one.normalization == two.normalization


def test_without_a_name_the_model_is_called_as_the_file(screen_file: Path, annotations: Path) -> None:
    done = phenobench("run", "--profiles", screen_file, "--annotations", annotations, "--task", "replicate-retrieval")
    assert done.exit_code == 0, done.output
    assert [path.name for path in Path("results/screen").iterdir()] == ["screen"]


def test_controls_beside_a_model(screen_file: Path, annotations: Path) -> None:
    done = run(screen_file, annotations, "--model", "oracle", "--model", "constant", "--normalization", "none")
    assert done.exit_code == 0, done.output
    oracle = scores(Path("results/screen/oracle/none/replicate-retrieval.json"))["mAP all"]
    assert oracle.value == 1.0
    recall = scores(Path("results/screen/oracle/none/gene-gene.json"))["recall Trios"]
    assert recall.value >= 0.95 * 3 / 12
    constant = scores(Path("results/screen/constant/none/gene-gene.json"))["recall Trios"]
    assert constant.value == constant.chance


def test_all_skips_what_does_not_apply_and_a_name_must(screen_file: Path, annotations: Path) -> None:
    done = run(screen_file, annotations, "--normalization", "all", "--task", "replicate-retrieval")
    assert done.exit_code == 0, done.output
    assert len(list(Path("results/screen/mine").iterdir())) == 9
    table = make_screen().drop(columns="Metadata_Symbol")
    table.to_parquet(screen_file)
    assert run(screen_file, annotations, "--task", "all", "--screen", "b").exit_code == 0
    refused = run(screen_file, annotations, "--task", "gene-gene", "--screen", "b")
    assert refused.exit_code == 2
    assert "--column gene=NAME" in refused.stderr


def test_a_cell_that_fails_leaves_the_others_done(tmp_path: Path, annotations: Path) -> None:
    path = tmp_path / "one.parquet"
    table = make_screen(n_plates=2)
    wells = [f"{row}{column:02d}" for row in "ABCDEFGH" for column in range(1, 13)]
    table.assign(Metadata_Plate="P", Metadata_Well=wells[: len(table)]).to_parquet(path)
    done = run(path, annotations, "--task", "replicate-retrieval", "--task", "gene-gene")
    assert done.exit_code == 2
    assert "--variant same-plate" in done.stderr
    assert Path("results/one/mine/center+tvn/gene-gene.json").exists()
    assert not Path("results/one/mine/center+tvn/replicate-retrieval.json").exists()


def test_variants_have_files_of_their_own(screen_file: Path, annotations: Path) -> None:
    run(
        screen_file, annotations, "--task", "replicate-retrieval", "--variant", "against-all", "--variant", "same-plate"
    )
    names = {path.name for path in Path("results/screen/mine/center+tvn").glob("*.json")}
    assert names == {"replicate-retrieval.against-all.json", "replicate-retrieval.same-plate.json"}
    unknown = run(screen_file, annotations, "--task", "replicate-retrieval", "--variant", "same-plates")
    assert unknown.exit_code == 2
    assert "did you mean same-plate" in unknown.stderr


def test_the_suite_file_and_the_environment(
    screen_file: Path, annotations: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("benchmark.toml").write_text('tasks = ["replicate-retrieval"]\nnormalizations = ["center"]\nseed = 4\n')
    run(screen_file, annotations)
    assert read_result(Path("results/screen/mine/center/replicate-retrieval.json")).seed == 4
    monkeypatch.setenv("PHENOBENCH_SEED", "5")
    run(screen_file, annotations)
    assert read_result(Path("results/screen/mine/center/replicate-retrieval.json")).seed == 5
    run(screen_file, annotations, "--seed", 6)
    assert read_result(Path("results/screen/mine/center/replicate-retrieval.json")).seed == 6


def test_the_default_run_scores_the_controls_and_skips_what_it_cannot_fetch(monkeypatch: pytest.MonkeyPatch) -> None:
    # An index that is not there stands for a machine without a network.
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    monkeypatch.setenv("PIP_RETRIES", "0")
    controls = [part for name in ("constant", "oracle", "plate-only", "random") for part in ("--model", name)]
    done = phenobench("run", "--screen", "simulated-small", *controls)
    assert done.exit_code == 0, done.output
    for control in ("constant", "oracle", "plate-only", "random"):
        result = read_result(Path(f"results/simulated-small/{control}/center+tvn/gene-gene.json"))
        assert [score.subset for score in result.scores] == ["planted"]
        assert set(result.skipped) == {"CORUM", "HuMAP", "Reactome", "SIGNOR", "StringDB"}
        assert result.screen.n_plates == 4


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["list", "models"], ["list", "screens"]])
def test_help_and_lists_import_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys; sys.argv = ['phenobench', *sys.argv[1:]]\n"
        "from phenobench.cli import app\n"
        "try:\n    app()\n"
        "except SystemExit as end:\n    assert not end.code\n"
        f"print([m for m in {HEAVY} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    assert done.stdout.rstrip().endswith("[]")


def test_every_list_has_what_is_there() -> None:
    for what, name in [
        ("models", "oracle"),
        ("tasks", "gene-gene"),
        ("screens", "luad-orf"),
        ("normalizations", "center+tvn"),
        ("annotations", "CORUM"),
    ]:
        done = phenobench("list", what)
        assert done.exit_code == 0
        assert name in done.output
    assert phenobench("list", "model").exit_code == 2
