from __future__ import annotations

import gzip
import hashlib
import logging
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from phenobench import data
from phenobench.cards import find, load, read_toml
from phenobench.errors import InputError
from phenobench.profiles import PERT_TYPES, ROLES
from phenobench.profiles.formats import ColumnRules, read_table
from phenobench.profiles.left_out import joined
from phenobench.profiles.reading import Reading, read_profiles
from phenobench.screens import load_screen
from phenobench.screens.catalogue import ScreenCard, ScreenFile, fetch
from tests.serving import Server, serve
from tests.shared import shared

# The folder of each screen in the shared data, and what its README counts:
# wells, wells of the negative control, wells left out, perturbations outside these, genes outside these,
# features that are kept. A compound's target is no perturbed gene.
SCREENS = {
    "cpjump1-compound-u2os-24h": ("cpjump1_compound_u2os", 3 * 384, 3 * 64, 0, 302, None, 903),
    "cpjump1-compound-u2os-48h": ("cpjump1_compound_u2os", 4 * 384, 4 * 64, 0, 302, None, 903),
    "lincs-sq00015054": ("lincs_sq00015054", 384, 24, 0, 58, None, 452),
    "luad-orf": ("luad_orf_layout_a", 3072, 256, 160, 302, 72, 563),
    "nelisa-jump-target1": ("nelisa_jump_target1_compounds", 1525, 256, 0, 301, None, 191),
    "varchamp-batch14": ("varchamp_batch14", 2855, 128, 59, 641, 34, 852),
}
# Files that the shared data holds as their source publishes them.
UNCHANGED = {
    "cpjump1-compound-u2os-24h",
    "cpjump1-compound-u2os-48h",
    "nelisa-jump-target1",
    "varchamp-batch14",
}


def card(screen: str) -> ScreenCard:
    return load(find().screens[screen], ScreenCard)


def rules(one: ScreenCard) -> ColumnRules:
    return ColumnRules(metadata=frozenset(one.roles.values()))


def wells(screen: str) -> pd.DataFrame:
    """The metadata of a screen's shared copy, all files together."""
    one = card(screen)
    paths = fetch(one, shared("data", SCREENS[screen][0]))
    tables = [read_table(path, rules(one)).metadata.to_pandas() for path in paths]
    return pd.concat(tables, ignore_index=True)


def test_the_catalogue_is_what_is_tested_here() -> None:
    published = {name for name, path in find().screens.items() if read_toml(path)["kind"] == "profiles"}
    assert published == set(SCREENS)


@pytest.mark.parametrize("screen", sorted(SCREENS))
def test_addresses_are_pinned_and_roles_are_known(screen: str) -> None:
    one = card(screen)
    owner = one.source.removeprefix("https://github.com/")
    for file in one.files:
        assert file.url.startswith(f"https://raw.githubusercontent.com/{owner}/{one.revision}/")
        assert (file.sha256 is None) == (screen not in UNCHANGED)
    assert len({file.name for file in one.files}) == len(one.files)
    assert set(one.roles) <= set(ROLES)
    assert {text.rpartition(":")[2] for text in one.label} <= set(PERT_TYPES)
    assert one.licence


@pytest.mark.parametrize("screen", sorted(SCREENS))
def test_a_screen_loads_with_the_counts_of_its_source(screen: str) -> None:
    folder, n_wells, n_controls, n_left_out, n_perturbations, n_genes, n_features = SCREENS[screen]
    loaded = load_screen(screen, shared("data", folder))
    raw, one = wells(screen), card(screen)
    assert len(raw) == n_wells
    assert len(loaded.wells) == n_wells - n_left_out
    assert sum(loaded.dropped.values()) == n_left_out
    assert len(joined([loaded.left_out])) == n_left_out

    types = loaded.wells[ROLES["pert_type"]]
    treated = loaded.wells[types.isin(["trt", "poscon"])]
    assert (types == "negcon").sum() == n_controls
    assert len(treated) == len(loaded.wells) - n_controls
    assert treated[ROLES["perturbation"]].nunique() == n_perturbations
    assert (ROLES["gene"] in loaded.wells) == (n_genes is not None)
    if n_genes is not None:
        assert treated[ROLES["gene"]].nunique() == n_genes
    assert (types == "poscon").any() == bool(one.label)

    assert loaded.embeddings is not None
    assert loaded.embeddings.metadata.equals(loaded.wells)
    assert loaded.embeddings.features.shape == (len(loaded.wells), n_features)
    keys = loaded.wells[[ROLES["plate"], ROLES["well"]]]
    assert keys.equals(keys.sort_values([ROLES["plate"], ROLES["well"]], ignore_index=True))
    assert loaded.revision == one.revision
    assert loaded.licence == one.licence


@pytest.mark.parametrize("screen", sorted(UNCHANGED))
def test_hashes_are_those_of_the_published_files(screen: str) -> None:
    one = card(screen)
    folder = shared("data", SCREENS[screen][0])
    for file in one.files:
        published = (folder / file.name).read_bytes()
        assert hashlib.sha256(published).hexdigest() == file.sha256
        assert len(published) == file.size


def test_time_points_are_not_mixed() -> None:
    plates = {h: set(wells(f"cpjump1-compound-u2os-{h}")["Metadata_Plate"]) for h in ("24h", "48h")}
    assert plates["24h"] == {"BR00117024", "BR00117025", "BR00117026"}
    assert plates["48h"] == {"BR00117010", "BR00117011", "BR00117012", "BR00117013"}


def test_the_derived_gene_is_the_one_in_the_shared_copy(tmp_path: Path) -> None:
    """The source's files have no gene symbol; the shared copy has one that was joined from elsewhere."""
    one = card("luad-orf")
    (path,) = fetch(one, shared("data", SCREENS["luad-orf"][0]))
    given = read_table(path, rules(one))
    without = tmp_path / "without.parquet"
    table = given.metadata.to_pandas()
    metadata = table.drop(columns="Metadata_gene_symbol").assign(feature=1.0)
    metadata.to_parquet(without)
    made = read_profiles([str(without)], reading(one)).metadata
    expected = table["Metadata_gene_symbol"].astype(object).replace("", None)
    assert expected.nunique() == 72
    assert made[ROLES["gene"]].fillna("").tolist() == expected.fillna("").tolist()


def reading(one: ScreenCard) -> Reading:
    return Reading(columns=one.roles, derive={name: (rule.column, rule.pattern) for name, rule in one.derive.items()})


CARD = """
id = "mine"
title = "Mine"
kind = "profiles"
revision = "0123456789abcdef0123456789abcdef01234567"
licence = "CC0 1.0"
source = "https://example.org/mine"
model = "cellprofiler"
[[files]]
url = "https://example.org/mine/0123456789abcdef0123456789abcdef01234567/a.csv.gz"
[roles]
plate = "Metadata_Plate"
"""


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("title =", "titel =", r"mine\.toml: title: Field required"),
        ('model = "cellprofiler"', 'model = "cellprofiler"\nextra = 1', r"toml: extra: Extra inputs.*known keys: id"),
        ("https://example.org/mine/0", "http://example.org/mine/0", r"mine\.toml: files\.0\.url: String should match"),
        ("0123456789abcdef0123456789abcdef01234567", "main", r"mine\.toml: revision: String should match"),
        ('id = "mine"', 'id = "yours"', r"mine\.toml: the id must be the file's name, 'mine'"),
        ('id = "mine"', "id = mine", r"mine\.toml cannot be read as TOML \(Invalid value.*line 2"),
        (
            "[roles]",
            "[derive.Metadata_x]\ncolumn = 'Metadata_y'\npattern = '(a)(b)'\n[roles]",
            r"derive\.Metadata_x\.pattern: .*2 groups and needs one",
        ),
        (
            "[roles]",
            "[derive.Metadata_x]\ncolumn = 'Metadata_y'\npattern = '(a'\n[roles]",
            r"derive\.Metadata_x\.pattern: .*no regular expression",
        ),
    ],
)
def test_a_wrong_card_is_named_with_its_key(tmp_path: Path, old: str, new: str, said: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(CARD)
    assert load(path, ScreenCard).title == "Mine"
    path.write_text(CARD.replace(old, new))
    with pytest.raises(InputError, match=said):
        load(path, ScreenCard)


FILES = {"/a.csv.gz": gzip.compress(b"Metadata_Plate,f\n1,2\n"), "/b.csv.gz": gzip.compress(b"Metadata_Plate,f\n2,3\n")}


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("PHENOBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serve(FILES) as running:
        yield running


def small_card(server: Server, tmp_path: Path, *, pinned: bool) -> ScreenCard:
    """A card of two files on this machine's server, which speaks no https."""
    path = tmp_path / "mine.toml"
    path.write_text(CARD)
    files = tuple(
        ScreenFile.model_construct(
            url=f"{server.address}{name}", sha256=hashlib.sha256(body).hexdigest() if pinned else None, size=len(body)
        )
        for name, body in FILES.items()
    )
    return load(path, ScreenCard).model_copy(update={"files": files})


@pytest.mark.parametrize("pinned", [True, False])
def test_files_are_downloaded_into_the_cache(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture, pinned: bool
) -> None:
    one = small_card(server, tmp_path, pinned=pinned)
    with caplog.at_level(logging.INFO, "phenobench"):
        paths = fetch(one)
    assert [path.read_bytes() for path in paths] == list(FILES.values())
    assert [path.relative_to(tmp_path / "cache").as_posix() for path in paths] == [
        "screens/mine/a.csv.gz",
        "screens/mine/b.csv.gz",
    ]
    assert "licence CC0 1.0" in caplog.text
    server.asked.clear()
    assert fetch(one) == paths
    assert server.asked == []


def test_a_download_that_fails_names_the_address(server: Server, tmp_path: Path) -> None:
    server.files.pop("/b.csv.gz")
    with pytest.raises(InputError, match=rf"{server.address}/b\.csv\.gz cannot be downloaded \(HTTP status 404\)"):
        fetch(small_card(server, tmp_path, pinned=True))


def test_a_users_folder_takes_the_place_of_a_download(server: Server, tmp_path: Path) -> None:
    one, root = small_card(server, tmp_path, pinned=True), tmp_path / "root"
    with pytest.raises(InputError, match="root is no folder"):
        fetch(one, root)
    root.mkdir()
    with pytest.raises(InputError, match=r"root lacks a\.csv\.gz, one of 2 absent files of mine"):
        fetch(one, root)
    (root / "all.parquet").write_bytes(b"whatever")
    (root / "README.md").write_text("no profiles")
    assert fetch(one, root) == [root / "all.parquet"]

    # Two tables that the card does not name: which is meant cannot be known.
    (root / "other.csv").write_bytes(b"whatever")
    with pytest.raises(InputError, match=r"root lacks a\.csv\.gz"):
        fetch(one, root)

    (root / "b.csv.gz").write_bytes(FILES["/b.csv.gz"])
    with pytest.raises(InputError, match=r"root lacks a\.csv\.gz, one of 1 absent"):
        fetch(one, root)
    (root / "a.csv.gz").write_bytes(FILES["/a.csv.gz"])
    assert fetch(one, root) == [root / "a.csv.gz", root / "b.csv.gz"]
    (root / "a.csv.gz").write_bytes(FILES["/b.csv.gz"])
    with pytest.raises(InputError, match=rf"a\.csv\.gz is not the file that mine names .*{server.address}/a\.csv\.gz"):
        fetch(one, root)
    assert server.asked == []


def test_get_knows_its_names() -> None:
    with pytest.raises(InputError, match=r"unknown data set 'luad-orff'; did you mean luad-orf"):
        data.get("luad-orff")
    with pytest.raises(InputError, match=r"unknown data set 'anotations'; did you mean annotations"):
        data.get("anotations")


def test_get_fetches_a_screen(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = small_card(server, tmp_path, pinned=False)
    monkeypatch.setattr("phenobench.cards.load", lambda path, kind: one)
    assert [path.name for path in data.get("luad-orf")] == ["a.csv.gz", "b.csv.gz"]


def test_data_get_of_a_paired_screen_fetches_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("phenobench.screens.catalogue.fetch", lambda card: [Path(file.name) for file in card.files])
    names = [path.name for path in data.get("cpjump1-nelisa")]
    assert len(names) == 5
    assert names[-1] == "nelisa_profiles.parquet"


def test_exclusions_of_ones_own_are_added_to_the_cards_and_named() -> None:
    root = shared("data", SCREENS["luad-orf"][0])
    whole = load_screen("luad-orf", root)
    screen = load_screen("luad-orf", root, reading=Reading(exclude=("Metadata_Plate=52649",)))
    assert set(screen.wells[ROLES["plate"]]) == set(whole.wells[ROLES["plate"]]) - {"52649"}
    assert sum(screen.dropped.values()) == len(whole.wells) + sum(whole.dropped.values()) - len(screen.wells)
    reason = "excluded Metadata_Plate=52649"
    named = joined([screen.left_out])
    named = named[named["reason"] == reason]
    assert len(named) == screen.dropped[reason]
    assert set(named[ROLES["plate"]]) == {"52649"}
