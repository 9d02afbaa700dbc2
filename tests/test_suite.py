"""benchmark.toml: the nearest one counts, the environment goes before it, and mistakes are named where they are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from phenobench.errors import InputError
from phenobench.normalization import DEFAULT
from phenobench.suite import load_suite

NAMES = ("SCREEN", "MODELS", "TASKS", "NORMALIZATIONS", "ANNOTATIONS", "RESULTS", "SEED")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in NAMES:
        monkeypatch.delenv(f"PHENOBENCH_{name}", raising=False)
    below = tmp_path / "suite" / "a" / "b"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    return tmp_path / "suite"


def test_without_a_file_the_defaults_hold() -> None:
    suite = load_suite()
    assert (suite.screen, suite.models, suite.tasks, suite.seed) == ("simulated", ("all",), ("all",), 0)
    assert suite.normalizations == (DEFAULT,)
    assert suite.root("simulated") is None


def test_the_nearest_file_counts_and_its_paths_are_relative_to_it(folder: Path) -> None:
    (folder / "benchmark.toml").write_text(
        'screen = "luad-orf"\nmodels = ["random", "oracle"]\nresults = "out"\nannotations = "/pairs"\nseed = 7\n'
        '[screens.luad-orf]\nroot = "data/luad"\n'
    )
    suite = load_suite()
    assert (suite.screen, suite.models, suite.seed) == ("luad-orf", ("random", "oracle"), 7)
    assert suite.results == folder / "out"
    assert suite.annotations == Path("/pairs")
    assert suite.root("luad-orf") == folder / "data" / "luad"
    assert suite.root("simulated") is None
    (folder / "a" / "benchmark.toml").write_text("seed = 8\n")
    assert (load_suite().seed, load_suite().screen) == (8, "simulated")


def test_the_environment_goes_before_the_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "benchmark.toml").write_text('seed = 7\nmodels = ["random"]\nresults = "out"\n')
    monkeypatch.setenv("PHENOBENCH_SEED", "3")
    monkeypatch.setenv("PHENOBENCH_MODELS", "oracle,constant")
    monkeypatch.setenv("PHENOBENCH_RESULTS", "elsewhere")
    monkeypatch.setenv("PHENOBENCH_TASKS", "")
    suite = load_suite()
    assert (suite.seed, suite.models, suite.results) == (3, ("oracle", "constant"), Path("elsewhere"))
    assert suite.tasks == ("all",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("scren = 'x'", "scren: Extra inputs are not permitted; known keys: screen, models"),
        ("screen = 3", "screen: Input should be a valid string"),
        ("models = 'all'", "models: Input should be a valid tuple"),
        ("seed = -1", "seed: Input should be greater than or equal to 0"),
        ("results = 3", "results: Input is not a valid path"),
        ("annotations = [1]", "annotations: Input is not a valid path"),
        ("screens = ['x']", "screens: Input should be a valid"),
        ("screens.x = 3", "screens.x: Input should be a valid dictionary"),
        ("[screens.x]\nroot = 3", "screens.x.root: Input is not a valid path"),
        ("[screens.x]\n", "screens.x.root: Field required"),
        ("seed = = 3", "cannot be read as TOML (Invalid value (at line 1, column 8))"),
    ],
)
def test_a_mistake_in_the_file_is_named(folder: Path, text: str, said: str) -> None:
    (folder / "benchmark.toml").write_text(text)
    with pytest.raises(InputError, match=rf"^{re.escape(str(folder))}/benchmark\.toml(:)? {re.escape(said)}"):
        load_suite()


def test_a_file_that_is_no_text_is_named(folder: Path) -> None:
    (folder / "benchmark.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match=r"benchmark\.toml cannot be read as TOML"):
        load_suite()


def test_a_mistake_in_the_environment_is_not_blamed_on_the_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "benchmark.toml").write_text("seed = 7\n")
    monkeypatch.setenv("PHENOBENCH_SEED", "seven")
    with pytest.raises(
        InputError, match=r"^the environment \(PHENOBENCH_\.\.\.\): seed: Input should be a valid integer"
    ):
        load_suite()
