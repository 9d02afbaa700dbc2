"""Demonstration weights: when they are taken, what results call them, and what a result says they saw."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import torch
from typer.testing import Result as Called

from phenobench.cards import find
from phenobench.demonstration import demo_weights
from phenobench.errors import InputError
from phenobench.models import load_model
from phenobench.models.cwa_msn import Checkpoint, random_checkpoint, write_checkpoint
from phenobench.models.networks import VitShape
from phenobench.request import Request, expand
from phenobench.results import Result, read_result
from phenobench.screens import load_screen
from phenobench.screens.simulated_images import load_simulated
from phenobench.sources import treated
from tests.folders import CHANNELS, make_folder
from tests.test_pipeline import phenobench

SHAPE = VitShape(image=32, patch=16, channels=3, width=24, depth=1, heads=3)
CARD = """
id = "tiny"
title = "Tiny"
summary = "for tests"
adapter = "phenobench.models.cwa_msn:CwaMsn"
input = "images"
status = "weights not published"
trained = true
revision = "test"
licence = "none"
crop = 32
[network]
image = 32
patch = 16
width = 24
depth = 1
heads = 3
[demo.model]
file = "demo/tiny.safetensors"
sha256 = "{sha256}"
"""
# "one" is a perturbation of the folder, the others are not.
SAW = {"screen": "elsewhere", "perturbations": ["one", "three", "four"], "steps": 5, "samples": 20, "seed": 7}


def written(path: Path, seed: int, kind: str = "demo", training: dict[str, Any] | None = SAW) -> Path:
    made = random_checkpoint(SHAPE, CHANNELS, seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_checkpoint(path, Checkpoint(made.state, SHAPE, CHANNELS, kind), training)  # type: ignore[arg-type]
    return path


@pytest.fixture(name="demo")
def own_demo() -> Path:
    """The demonstration's weights of a model ``tiny``, whose card is in reach of the current folder."""
    Path("benchmark.toml").write_text("")
    path = written(Path("models/demo/tiny.safetensors").absolute(), 1)
    Path("models/tiny.toml").write_text(CARD.format(sha256=hashlib.sha256(path.read_bytes()).hexdigest()))
    return path


@pytest.fixture(name="screen")
def own_screen(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "mine", dtype=np.uint8)


def run(screen: Path, *weights: object) -> Called:
    options = [option for given in weights for option in ("--weights", given)]
    task = ("--task", "replicate-retrieval", "--normalization", "none", "--device", "cpu")
    done = phenobench("run", "--screen", screen, "--model", "tiny", *task, *options)
    assert done.exit_code == 0, done.output
    return done


def result(label: str) -> Result:
    return read_result(Path(f"results/mine/{label}/none/replicate-retrieval.json"))


def test_runs_without_named_weights_take_the_demonstrations_and_say_so(demo: Path, screen: Path) -> None:
    said = " ".join(run(screen).stdout.split())
    found = result("tiny@demo")
    assert found.model.weights.kind == "demo"
    assert found.model.weights.sha256 == hashlib.sha256(demo.read_bytes()).hexdigest()
    note = "tiny: demonstration weights, trained on the screen elsewhere: they say nothing of the model's rank"
    assert note in found.warnings
    assert note in said
    run(screen, "random")
    assert "tiny: random weights; it has learnt nothing" in result("tiny@random").warnings
    assert sorted(path.name for path in Path("results/mine").iterdir()) == ["tiny@demo", "tiny@random"]


def test_a_result_says_what_its_weights_saw_and_how_much_of_that_is_scored(demo: Path, screen: Path) -> None:
    run(screen)
    found = result("tiny@demo")
    told = found.model.training
    assert told is not None
    assert told.model_dump() == {**SAW, "perturbations": 3, "overlap": 1}
    assert "tiny: the weights saw 1 of the 2 perturbations of mine in training" in found.warnings
    assert found.screen.n_perturbations == 2
    adapter = load_model("tiny")
    assert adapter.training is not None
    assert adapter.training.perturbations == {"one", "three", "four"}


def test_weights_that_saw_none_of_the_screen_or_do_not_say_have_no_such_warning(demo: Path, screen: Path) -> None:
    other = written(demo.parent / "other.safetensors", 2, "trained", {**SAW, "perturbations": ["DMSO", "five"]})
    silent = written(demo.parent / "silent.safetensors", 3, "trained", None)
    for path, overlap in ((other, 0), (silent, None)):
        run(screen, path)
        found = result(f"tiny@{hashlib.sha256(path.read_bytes()).hexdigest()[:8]}")
        assert (found.model.training and found.model.training.overlap) == overlap
        assert not [said for said in found.warnings if said.startswith("tiny")]


def test_the_demonstrations_file_given_by_path_is_the_demonstration_and_another_never_takes_its_place(
    demo: Path, screen: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copy(demo, tmp_path / "copy.safetensors"))
    others = [written(tmp_path / f"{kind}.safetensors", 5, kind) for kind in ("demo", "random", "trained")]
    run(screen, copy)
    for path in others:
        run(screen, path)
    kinds = {folder.name: result(folder.name).model.weights.kind for folder in Path("results/mine").iterdir()}
    digests = [hashlib.sha256(path.read_bytes()).hexdigest()[:8] for path in others]
    hashed = dict(zip((f"tiny@{digest}" for digest in digests), ("demo", "random", "trained"), strict=True))
    assert kinds == {"tiny@demo": "demo", **hashed}


def test_profiles_are_embedded_with_the_demonstrations_weights(demo: Path, screen: Path) -> None:
    done = phenobench("embed", "--screen", screen, "--model", "tiny", "--out", "out")
    assert done.exit_code == 0, done.output
    assert "demonstration weights, trained on the screen elsewhere" in " ".join(done.output.split())


def test_all_means_a_model_with_a_demonstration_where_its_published_weights_are_not_here(
    demo: Path, screen: Path
) -> None:
    card = Path("models/tiny.toml")
    published = '[weights.model]\nhub = "lab/tiny"\nfile = "model.safetensors"\nlicence = "none"\n'
    card.write_text(card.read_text() + published)
    said = " ".join(run(screen).stdout.split())
    assert "rank; fetch the published ones with `phenobench data get tiny`" in said

    def of_all() -> set[str]:
        request = Request(("all",), ("replicate-retrieval",), ("none",), Path("results"))
        return {cell.model for cell in expand(request, find(), load_screen(str(screen)), None)}

    assert "tiny" in of_all()
    text = card.read_text()
    card.write_text(text[: text.index("[demo.model]")] + published)
    assert "tiny" not in of_all()


def test_models_are_listed_with_their_demonstration(demo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    rows = [line.split() for line in phenobench("list", "models").stdout.splitlines()]
    assert next(row for row in rows if row[:1] == ["tiny"])[-3:] == ["not", "published;", "demo"]


def test_a_demonstration_that_is_absent_or_changed_is_refused(demo: Path) -> None:
    demo.write_bytes(demo.read_bytes() + b" ")
    with pytest.raises(InputError, match=r"tiny\.safetensors has another sha256 than the card of tiny says"):
        load_model("tiny")
    demo.unlink()
    with pytest.raises(InputError, match=r"tiny\.safetensors is absent and the card of tiny names it"):
        load_model("tiny")
    assert load_model("tiny", random_init=0).weights_kind == "random"


@pytest.mark.parametrize(
    ("training", "said"),
    [({"screen": "x"}, "training.perturbations: Field required"), ({**SAW, "steps": "many"}, "training.steps")],
)
def test_what_a_file_says_of_its_training_is_checked(
    demo: Path, tmp_path: Path, training: dict[str, Any], said: str
) -> None:
    path = written(tmp_path / "odd.safetensors", 1, "trained", training)
    with pytest.raises(InputError, match=rf"odd\.safetensors, metadata: {said}"):
        load_model("tiny", weights=path)


def test_the_packages_demonstrations_are_small_and_saw_nothing_of_the_screens_that_are_scored() -> None:
    cards = find()
    scored = [load_simulated(cards.screens[name]) for name in ("simulated", "simulated-hard", "simulated-small")]
    shown = [cards.model(name) for name in cards.models if cards.model(name).demo]
    for card in shown:
        for part, path in demo_weights(card).items():
            assert path.stat().st_size < 5_000_000, (card.id, part)
            with safetensors.safe_open(path, framework="pt") as file:
                dtypes = {file.get_tensor(key).dtype for key in file.keys()}  # noqa: SIM118
            assert dtypes <= {torch.float16, torch.int64}
        adapter = load_model(card.id)
        assert adapter.weights_kind == "demo"
        assert adapter.training is not None
        if not card.texts:  # texts of perturbations that were never seen cannot be matched
            assert not any(adapter.training.perturbations & treated(screen.wells) for screen in scored)
