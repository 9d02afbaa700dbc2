"""Cards: where they are found, which one counts, and what they may not say."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from phenobench import cards
from phenobench.cards import ModelCard, TaskCard, find, load, package_root
from phenobench.errors import InputError

MODEL = """
id = "mine"
title = "Mine"
summary = "A model"
input = "profiles"
status = "precomputed"
revision = "1"
licence = "MIT"
"""


def model(folder: Path, name: str = "mine", title: str = "Mine") -> Path:
    path = folder / "models" / f"{name}.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(MODEL.replace('"mine"', f'"{name}"').replace('"Mine"', f'"{title}"'))
    return path


def test_every_card_of_the_package_is_valid() -> None:
    found = find()
    assert {"random", "constant", "plate-only", "oracle"} <= set(found.models)
    assert {"replicate-retrieval", "gene-gene", "cross-modal"} <= set(found.tasks)
    for name in found.models:
        assert found.model(name).id == name
    for name in found.tasks:
        assert found.task(name).default in found.task(name).variants
    assert all(path.is_relative_to(package_root()) for path in [*found.models.values(), *found.tasks.values()])


def test_the_nearer_card_of_a_name_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    suite, given, plugin = tmp_path / "suite", tmp_path / "given", tmp_path / "phenobench_plugin"
    for folder in (given, suite, plugin):
        model(folder, "everywhere", folder.name)
    for folder in (suite, plugin):
        model(folder, "oracle", folder.name)
    model(plugin, "only-plugin", "plugin")
    (plugin / "__init__.py").write_text("")
    (suite / "benchmark.toml").write_text("")
    (suite / "below").mkdir()
    monkeypatch.chdir(suite / "below")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(cards, "entry_points", lambda group: [EntryPoint("mine", "phenobench_plugin", group)])

    found = find(given)
    titles = {name: found.model(name).title for name in ("everywhere", "oracle", "only-plugin")}
    assert titles == {"everywhere": "given", "oracle": "suite", "only-plugin": "plugin"}
    assert find().model("everywhere").title == "suite"
    assert "random" in find(given).models


def test_a_plugin_that_cannot_be_imported_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [EntryPoint("broken", "phenobench_no_such_plugin", cards.ENTRY_POINTS)]
    monkeypatch.setattr(cards, "entry_points", lambda group: points)
    with pytest.raises(InputError, match=r"the plugin broken cannot be imported \(No module named"):
        find()


def test_a_folder_without_cards_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no models/, tasks/ or screens/ folder"):
        find(tmp_path)


def test_unknown_names_are_suggested() -> None:
    with pytest.raises(InputError, match=r"unknown model 'orcale'; did you mean oracle\?"):
        find().model("orcale")
    with pytest.raises(InputError, match=r"unknown task 'gene-genes'; did you mean gene-gene"):
        find().task("gene-genes")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("title =", "titel =", r"mine\.toml: title: Field required"),
        ('licence = "MIT"', 'licence = "MIT"\ncolour = 1', r"colour: Extra inputs.*known keys: id, title"),
        ('input = "profiles"', 'input = "images!"', r"mine\.toml: input: Input should be 'labels'"),
        ('input = "profiles"', 'input = "labels"\nadapter = "no colon"', r"mine\.toml: adapter: String should match"),
        ('id = "mine"', 'id = "yours"', r"mine\.toml: the id must be the file's name, 'mine'"),
        ('id = "mine"', "id = mine", r"mine\.toml cannot be read as TOML \(Invalid value.*line 2"),
    ],
)
def test_a_wrong_card_is_named_with_its_key(tmp_path: Path, old: str, new: str, said: str) -> None:
    path = model(tmp_path)
    assert load(path, ModelCard).title == "Mine"
    path.write_text(MODEL.replace(old, new))
    with pytest.raises(InputError, match=said):
        load(path, ModelCard)


def test_a_task_needs_its_default_variant(tmp_path: Path) -> None:
    path = tmp_path / "t.toml"
    text = find().tasks["gene-gene"].read_text().replace('id = "gene-gene"', 'id = "t"')
    path.write_text(text)
    assert load(path, TaskCard).default == "genes-only"
    path.write_text(text.replace('default = "genes-only"', 'default = "no-such"'))
    with pytest.raises(InputError, match="default 'no-such' is not among the variants"):
        load(path, TaskCard)


def test_what_a_variant_needs_is_of_a_variant_that_there_is(tmp_path: Path) -> None:
    path = tmp_path / "t.toml"
    text = find().tasks["compound-gene"].read_text().replace('id = "compound-gene"', 'id = "t"')
    path.write_text(text)
    card = load(path, TaskCard)
    assert (card.needed("all-genes"), card.needed("rxrx3-core")) == (("perturbation", "target"), ("perturbation",))
    path.write_text(text.replace("variant_needs = { rxrx3-core =", "variant_needs = { rxrx3-cor ="))
    with pytest.raises(InputError, match="variant_needs names 'rxrx3-cor', which is not among all-genes, cpjump1"):
        load(path, TaskCard)
