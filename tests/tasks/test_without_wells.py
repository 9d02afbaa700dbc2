"""Rows that are no wells, one a compound, a source or a patient: only what uses plates and wells asks for them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from phenobench.cards import find
from phenobench.cli import app
from phenobench.errors import InputError
from phenobench.models import controls
from phenobench.normalization import center, tvn
from phenobench.profiles import Profiles
from phenobench.screens import screen_of
from phenobench.tasks import batch_effect, perturbation_consistency, replicate_retrieval, target_matching
from phenobench.tasks.outcome import Inputs
from tests.conftest import make_screen

PLATE, WELL, NAME, KIND = "Metadata_Plate", "Metadata_Well", "Metadata_Perturbation", "Metadata_pert_type"


def table(n: int = 12, copies: int = 3, plates: int = 1, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray]:
    """Metadata without wells, ``copies`` rows a perturbation and plate, and features with a weak signal."""
    rng = np.random.default_rng(seed)
    rows = [(f"P{p}", f"c{i:02d}") for p in range(plates) for i in range(n) for _ in range(copies)]
    own = rng.standard_normal((n, 6))
    features = np.array([own[int(name[1:])] for _, name in rows]) + 1.5 * rng.standard_normal((len(rows), 6))
    metadata = pd.DataFrame(rows, columns=[PLATE, NAME])
    return metadata.assign(**{KIND: "trt"}), features.astype(np.float32)


def protocol(variant: str, task: str = "replicate-retrieval") -> dict[str, Any]:
    return dict(find().task(task).variants[variant])


def brute_force_map(names: list[str], features: np.ndarray) -> float:
    """Mean over rows, then perturbations, of average precision among all other rows, by a loop in float64."""
    units = features.astype(np.float64) / np.linalg.norm(features.astype(np.float64), axis=1, keepdims=True)
    cosines = units @ units.T
    found: dict[str, list[float]] = {}
    for query, name in enumerate(names):
        others = sorted((row for row in range(len(names)) if row != query), key=lambda row: -cosines[query, row])
        right = [names[row] == name for row in others]
        precision = [sum(right[: k + 1]) / (k + 1) for k in range(len(others)) if right[k]]
        found.setdefault(name, []).append(sum(precision) / len(precision))
    return float(np.mean([np.mean(values) for values in found.values()]))


def test_replicates_are_retrieved_without_wells() -> None:
    metadata, features = table()
    rules = replicate_retrieval.Protocol.model_validate(protocol("same-plate"))
    found = replicate_retrieval.score(Profiles(metadata, features), rules, Inputs())
    assert found.scores[0].value == pytest.approx(brute_force_map(list(metadata[NAME]), features), abs=1e-6)
    assert list(found.items.columns[:2]) == ["plate", "perturbation"]
    assert "well" not in found.items
    assert not any("position" in warning for warning in found.warnings)
    assert found.items["p_value"].notna().all()


def test_a_column_of_wells_that_is_empty_is_none() -> None:
    metadata, features = table()
    rules = replicate_retrieval.Protocol.model_validate(protocol("same-plate"))
    without, empty = (
        replicate_retrieval.score(Profiles(wells, features), rules, Inputs())
        for wells in (metadata, metadata.assign(**{WELL: None}))
    )
    pd.testing.assert_frame_equal(without.items, empty.items, check_exact=True)


def test_fixed_positions_are_judged_where_the_well_is_known() -> None:
    metadata, features = table(plates=2, copies=1)
    places = [f"A{i + 1:02d}" for i in range(12)]
    rules = replicate_retrieval.Protocol.model_validate(protocol("across-plates"))
    for second, fixed in ((places, True), ([*places[1:], "A01"], False), ([None] * 12, False)):
        wells = pd.Series([*places, *second], dtype=object)
        found = replicate_retrieval.score(Profiles(metadata.assign(**{WELL: wells}), features), rules, Inputs())
        assert any("one well position" in warning for warning in found.warnings) == fixed
        assert list(found.items["well"].dropna()) == list(wells.dropna())


def test_other_well_positions_need_the_well() -> None:
    metadata, features = table()
    rules = replicate_retrieval.Protocol.model_validate({**protocol("same-plate"), "pos_diffby": ("well",)})
    with pytest.raises(InputError, match=r"other well positions .* --column well=NAME"):
        replicate_retrieval.score(Profiles(metadata, features), rules, Inputs())


def test_batch_effect_is_the_same_without_wells() -> None:
    metadata, features = table(plates=3)
    rules = batch_effect.Protocol(summary="", neighbours=5)
    wells = metadata.assign(**{WELL: [f"A{i % 36 + 1:02d}" for i in range(len(metadata))]})
    without, with_wells = (batch_effect.score(Profiles(one, features), rules, Inputs()) for one in (metadata, wells))
    assert without.scores == with_wells.scores
    assert without.secondary == with_wells.secondary
    pd.testing.assert_frame_equal(without.items, with_wells.items.drop(columns="well"), check_exact=True)


def test_consistency_against_control_perturbations_needs_no_plate() -> None:
    rng = np.random.default_rng(1)
    names = [f"n{i:02d}" for i in range(19) for _ in range(2)] + ["same", "same", "opposite", "opposite"]
    one = rng.standard_normal(8)
    # The cosine of replicates is 1 for "same" and -1 for "opposite": above and below all of 19 controls.
    features = np.vstack([rng.standard_normal((38, 8)), one, 2 * one, one, -one])
    metadata = pd.DataFrame({NAME: names, KIND: ["negcon"] * 38 + ["trt"] * 4})
    rules = perturbation_consistency.Protocol.model_validate(protocol("efaar", "perturbation-consistency"))
    found = perturbation_consistency.score(Profiles(metadata, features), rules, Inputs())
    assert dict(zip(found.items["perturbation"], found.items["p_value"], strict=True)) == {
        "opposite": 1.0,
        "same": 1 / 20,
    }
    assert "plate" not in find().task("perturbation-consistency").needed("efaar")
    assert "plate" in find().task("perturbation-consistency").needed("matched")


def test_the_gate_of_a_published_protocol_says_that_it_uses_plates() -> None:
    metadata, features = table()
    targets = metadata.drop(columns=PLATE).assign(Metadata_Target=[f"t{int(name[1:]) // 2}" for name in metadata[NAME]])
    ours, published = (
        target_matching.Protocol.model_validate(protocol(variant, "target-matching"))
        for variant in ("all-perturbations", "cpjump1")
    )
    assert target_matching.score(Profiles(targets, features), ours, Inputs()).scores[0].n == 12
    with pytest.raises(InputError, match=r"of their plates, and there is no column for the plate; .*--plate-from-file"):
        target_matching.score(Profiles(targets, features), published, Inputs())


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_rows_that_are_no_wells_are_ordered_by_their_labels_and_values(order: tuple[int, ...]) -> None:
    names = np.array(["b", "a", "a", "a"])
    features = np.array([[0, 0, 0], [1, 5, 0], [1, -5, 9], [-2, 7, 7]], dtype=np.float32)
    rows = list(order)
    screen = screen_of(Profiles(pd.DataFrame({NAME: names[rows]}), features[rows]), "mine", model="mine")
    assert list(screen.wells[NAME]) == ["a", "a", "a", "b"]
    assert screen.embeddings is not None
    assert screen.embeddings.features.tolist() == [[-2, 7, 7], [1, -5, 9], [1, 5, 0], [0, 0, 0]]


def test_equal_rows_go_by_their_other_labels() -> None:
    metadata = pd.DataFrame({PLATE: "P", NAME: "a", "Metadata_Batch": ["2", "1", "2", "1"]})
    features = np.array([[0, 2], [0, 1], [0, 1], [0, 1]], dtype=np.float32)
    screen = screen_of(Profiles(metadata, features), "mine", model="mine")
    assert list(screen.wells["Metadata_Batch"]) == ["1", "1", "2", "2"]
    assert screen.embeddings is not None
    assert screen.embeddings.features[:, 1].tolist() == [1, 1, 1, 2]


def test_wells_stay_in_the_order_of_plate_and_well() -> None:
    metadata = pd.DataFrame({PLATE: ["Q", "P", "P"], WELL: ["A01", "B01", "A02"], NAME: ["a", "b", "c"]})
    screen = screen_of(Profiles(metadata, np.arange(3, dtype=np.float32)[:, None]), "mine", model="mine")
    assert list(screen.wells[NAME]) == ["c", "b", "a"]


def test_random_takes_all_wells_for_one_plate_and_plate_only_needs_plates() -> None:
    metadata, _ = table()
    metadata = metadata.assign(**{KIND: ["negcon"] * 18 + ["trt"] * 18})
    drawn = controls.random(metadata.drop(columns=PLATE), {}, 0)
    assert np.array_equal(drawn, controls.random(metadata, {}, 0))
    assert np.allclose(drawn[:18].mean(axis=0), 0, atol=1e-5)
    with pytest.raises(InputError, match=r"plate-only is made of the plate.*--column plate=NAME.*--plate-from-file"):
        controls.plate_only(metadata.drop(columns=PLATE), {}, 0)


def test_a_step_by_plate_says_that_it_needs_one() -> None:
    metadata, features = table()
    bare = metadata.drop(columns=PLATE).assign(**{KIND: ["negcon"] * 18 + ["trt"] * 18})
    remedy = "no column for the plate; name it with --column plate=NAME, .*--plate-from-file, .*--normalization none"
    steps: list[tuple[Callable[..., Profiles], str]] = [(center, "plate"), (center, "batch"), (tvn, "batch")]
    for step, by in steps:
        with pytest.raises(InputError, match=f"^(center|tvn): this step is fitted by {by}.*{remedy}"):
            step(Profiles(bare, features), by=by)
    batches = bare.assign(Metadata_Batch=["one"] * 9 + ["two"] * 9 + ["one"] * 18)
    found = center(Profiles(batches, features), by="batch").features
    for batch in ("one", "two"):
        rows = (batches["Metadata_Batch"] == batch).to_numpy()
        mean = features[rows & (batches[KIND] == "negcon").to_numpy()].mean(axis=0)
        assert found[rows] == pytest.approx(features[rows] - mean, abs=1e-5)
    partly = batches.copy()
    partly.loc[0, "Metadata_Batch"] = None
    with pytest.raises(InputError, match="for which the plate stands where a well has none"):
        center(Profiles(partly, features), by="batch")


def phenobench(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def result(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return {name: value for name, value in found.items() if name != "run"}


def test_genes_are_scored_without_plate_and_well(tmp_path: Path, annotations: Path) -> None:
    full = make_screen()
    full.to_parquet(tmp_path / "full.parquet")
    full.drop(columns=[PLATE, WELL, "Metadata_Batch"]).to_parquet(tmp_path / "bare.parquet")
    for name in ("full", "bare"):
        done = phenobench(
            *("run", "--profiles", tmp_path / f"{name}.parquet", "--annotations", annotations, "--model", "mine"),
            *("--model", "random", "--task", "gene-gene", "--normalization", "none"),
        )
        assert done.exit_code == 0, done.output
    found = {name: result(Path(f"results/{name}/mine/none/gene-gene.json")) for name in ("full", "bare")}
    # Means are of the same rows in another order.
    for one, other in zip(found["full"]["scores"], found["bare"]["scores"], strict=True):
        assert one["value"] == pytest.approx(other["value"], abs=1e-6)
    assert (found["full"]["screen"]["n_plates"], found["bare"]["screen"]["n_plates"]) == (4, 0)
    refused = phenobench(
        *("run", "--profiles", tmp_path / "bare.parquet", "--annotations", annotations, "--model", "plate-only"),
        *("--task", "gene-gene", "--normalization", "none"),
    )
    assert refused.exit_code == 2
    assert "plate-only is made of the plate" in refused.stderr


def test_a_shuffled_file_without_wells_gives_the_same_bytes(tmp_path: Path) -> None:
    whole = make_screen().drop(columns=WELL)
    found = []
    for seed in (None, 1, 2):
        path = tmp_path / str(seed) / "mine.parquet"
        path.parent.mkdir()
        (whole if seed is None else whole.sample(frac=1, random_state=seed)).to_parquet(path)
        done = phenobench(
            *("run", "--profiles", path, "--model", "m", "--task", "replicate-retrieval", "--normalization", "center"),
            *("--results", path.parent / "results"),
        )
        assert done.exit_code == 0, done.output
        folder = path.parent / "results/mine/m/center"
        found.append(
            (result(folder / "replicate-retrieval.json"), (folder / "replicate-retrieval.items.parquet").read_bytes())
        )
    assert found[0] == found[1] == found[2]
    assert "p_value" in pd.read_parquet(folder / "replicate-retrieval.items.parquet")


def test_controls_make_both_sides_without_plates(tmp_path: Path, annotations: Path) -> None:
    metadata, features = table(n=20, copies=1)
    names = [f"f{i}" for i in range(features.shape[1])]
    bare = pd.concat([metadata[[NAME]], pd.DataFrame(features, columns=names)], axis=1)
    bare.to_parquet(tmp_path / "cells.parquet")
    bare.to_parquet(tmp_path / "proteins.parquet")
    done = phenobench(
        *("run", "--profiles", tmp_path / "cells.parquet", "--texts", tmp_path / "proteins.parquet", "--model", "mine"),
        *("--model", "oracle", "--model", "random", "--task", "cross-modal", "--normalization", "none"),
        *("--annotations", annotations),
    )
    assert done.exit_code == 0, done.output
    for model in ("mine", "oracle"):
        one = result(Path(f"results/cells/{model}/none/cross-modal.json"))
        assert [score["value"] for score in one["scores"]] == pytest.approx([1.0] * 6)
        assert one["map"]["rows"].startswith("unique rows of proteins, image ")
