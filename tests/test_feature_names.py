"""Which features a result is of, and a note where one of them is all that cosines see."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from phenobench.cli import app
from phenobench.profiles import Profiles
from phenobench.profiles.scales import notes_on_scales
from phenobench.results import ModelInfo, Weights, read_result
from tests.conftest import make_screen

NAMES = [f"f{i}" for i in range(8)]


def phenobench(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def model_of(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())["model"]
    return found


def run(path: Path, *more: object) -> None:
    done = phenobench("run", "--profiles", path, "--task", "replicate-retrieval", "--normalization", "center", *more)
    assert done.exit_code == 0, done.output


def test_a_result_has_the_hash_of_the_names_of_its_features(screen_file: Path) -> None:
    run(screen_file, "--model", "mine", "--model", "random")
    path = Path("results/screen/mine/center/replicate-retrieval.json")
    mine = model_of(path)
    assert mine["n_features"] == 8
    assert mine["feature_names_sha256"] == hashlib.sha256("\t".join(NAMES).encode()).hexdigest()
    # A control's features have the names that features have by default.
    noise = model_of(Path("results/screen/random/center/replicate-retrieval.json"))
    assert noise["feature_names_sha256"] == hashlib.sha256(b"\t".join(b"feature_%d" % i for i in range(8))).hexdigest()
    # A result of an earlier version still reads.
    old = json.loads(path.read_text())
    del old["model"]["feature_names_sha256"]
    path.write_text(json.dumps(old))
    assert read_result(path).model.feature_names_sha256 is None


def test_what_is_not_known_is_not_written() -> None:
    info = ModelInfo(id="a", revision="1", status="x", weights=Weights(kind="precomputed", sha256="0"), n_features=1)
    assert "feature_names_sha256" not in info.model_dump(mode="json")
    assert "precision" in info.model_dump(mode="json")


def test_normalize_says_which_features_came_of_it(screen_file: Path, tmp_path: Path) -> None:
    done = phenobench("normalize", screen_file, "--steps", "center", "--out", tmp_path / "out.parquet")
    assert done.exit_code == 0, done.output
    digest = hashlib.sha256("\t".join(NAMES).encode()).hexdigest()
    assert f"8 features, sha256 of their names {digest[:12]}\n" in done.stdout


def profiles(features: np.ndarray) -> Profiles:
    names = [f"f{i}" for i in range(features.shape[1])]
    return Profiles(pd.DataFrame({"Metadata_Perturbation": ["a"] * len(features)}), features, tuple(names))


def test_one_feature_that_is_most_of_every_profile_is_named() -> None:
    # Squares 1, 1, 98 of 100: f2 is 98 %.
    features = np.tile([1.0, -1.0, 98**0.5], (50, 1))
    (note,) = notes_on_scales(profiles(features))
    assert note == (
        "the feature f2 makes up 98 % of the squared length of a profile (median), so cosines follow it alone; scale "
        "features first, for example --normalization standardize, or leave the column out"
    )


@pytest.mark.parametrize(("others", "noted"), [(0, True), (10, True), (11, False), (50, False)])
def test_nine_profiles_of_ten_make_a_note(others: int, noted: bool) -> None:
    features = np.tile([3.0, 1.0, 1.0], (100, 1))
    features[:others] = [1.0, 3.0, 1.0]
    assert bool(notes_on_scales(profiles(features))) == noted
    assert bool(notes_on_scales(profiles(features[::-1].copy()))) == noted


def test_half_of_a_profile_is_not_most_of_it() -> None:
    assert notes_on_scales(profiles(np.tile([1.0, 1.0], (20, 1)))) == ()
    assert notes_on_scales(profiles(np.tile([1.001, 1.0], (20, 1)))) != ()


def test_embeddings_without_a_scale_have_no_note() -> None:
    for features in (np.ones((5, 1)), np.zeros((5, 4)), np.ones((5, 4)), np.empty((5, 0)), np.empty((0, 3))):
        assert notes_on_scales(profiles(features)) == ()
    assert notes_on_scales(profiles(np.random.default_rng(0).standard_normal((500, 20)))) == ()


def test_large_values_and_many_rows_are_told_too() -> None:
    """More rows than are looked at, in many blocks, with squares that float32 does not hold."""
    features = np.random.default_rng(0).standard_normal((25_000, 30)).astype(np.float32)
    features[:, 7] = 1e25
    (note,) = notes_on_scales(profiles(features))
    assert note.startswith("the feature f7 makes up 100 % of")


def test_a_result_of_raw_scales_says_so_and_one_of_standardized_ones_does_not(tmp_path: Path) -> None:
    raw = make_screen()
    raw["f3"] = 1000 + raw["f3"]
    raw.to_parquet(tmp_path / "raw.parquet")
    for normalization in ("none", "standardize"):
        done = phenobench(
            *("run", "--profiles", tmp_path / "raw.parquet", "--model", "mine", "--model", "constant", "--task"),
            *("replicate-retrieval", "--normalization", normalization),
        )
        assert done.exit_code == 0, done.output
        for model in ("mine", "constant"):
            found = read_result(Path(f"results/raw/{model}/{normalization}/replicate-retrieval.json"))
            noted = [warning for warning in found.warnings if "squared length" in warning]
            assert [note[:14] for note in noted] == (
                ["the feature f3"] if (model, normalization) == ("mine", "none") else []
            )
