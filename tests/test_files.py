"""Files that are whole or not there."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from phenobench.errors import InputError
from phenobench.files import atomic, cache_dir, sha256_of, write_text


def test_a_file_appears_whole_with_its_folders(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "c.txt"
    with atomic(path) as temporary:
        temporary.write_text("half")
        assert not path.exists()
        assert temporary.parent == path.parent
    assert path.read_text() == "half"
    assert list(path.parent.iterdir()) == [path]


def test_an_error_keeps_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old é")

    def fail() -> None:
        with atomic(path) as temporary:
            temporary.write_text("new")
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        fail()
    assert path.read_text(encoding="utf-8") == "old é"
    assert list(tmp_path.glob("*a.txt*")) == [path]


def test_others_may_read_what_is_written(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "a.txt", "x")
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(before)
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("below", ["x.txt", "folder/x.txt"])
def test_where_nothing_can_be_written_one_sentence_says_so(tmp_path: Path, below: str) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    with pytest.raises(InputError, match=rf"^cannot write {file}/{below}: .*; choose another folder"):
        write_text(file / below, "x")
    assert file.read_text() == "mine"


def test_a_folder_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match=r"cannot write .*folder"):
        write_text(tmp_path / "folder", "x")
    assert list(tmp_path.glob("*folder*")) == [tmp_path / "folder"]


def test_the_hash_is_that_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"\x00abc")
    assert sha256_of(tmp_path / "a") == hashlib.sha256(b"\x00abc").hexdigest()


def test_the_cache_is_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHENOBENCH_CACHE", str(tmp_path / "here"))
    assert cache_dir() == tmp_path / "here"
    assert not cache_dir().exists()
    monkeypatch.delenv("PHENOBENCH_CACHE")
    assert cache_dir().name == "phenobench"
