from __future__ import annotations

from pathlib import Path

from phenobench.regression.cells import pair_up


def touch(root: str, *models: str) -> Path:
    for model in models:
        path = Path(root, "s", model, "center", "gene-gene.json")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return Path(root)


def names(old: Path, new: Path) -> list[tuple[str | None, str | None]]:
    def model(path: Path | None) -> str | None:
        return None if path is None else path.parts[-3]

    return [(model(cell.baseline), model(cell.result)) for cell in pair_up(old, new)]


def test_files_at_the_same_place_are_one_cell() -> None:
    old, new = touch("old", "a", "b@demo"), touch("new", "b@demo", "c")
    assert names(old, new) == [("a", None), ("b@demo", "b@demo"), (None, "c")]


def test_a_model_that_was_trained_again_is_held_against_its_former_weights() -> None:
    old, new = touch("old", "m@0a1b2c3d", "m"), touch("new", "m@ffffffff", "m")
    assert names(old, new) == [("m", "m"), ("m@0a1b2c3d", "m@ffffffff")]


def test_which_of_two_trainings_is_meant_is_not_guessed() -> None:
    old, new = touch("old", "m@0a1b2c3d"), touch("new", "m@ffffffff", "m@eeeeeeee")
    assert names(old, new) == [("m@0a1b2c3d", None), (None, "m@eeeeeeee"), (None, "m@ffffffff")]
    # A file that is the same in both is its own counterpart.
    assert names(old, touch("new", "m@0a1b2c3d"))[0] == ("m@0a1b2c3d", "m@0a1b2c3d")
