from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest

import phenobench
from phenobench.downloads import fetch_file, fetch_wheel
from phenobench.errors import InputError
from tests.serving import Server, index, serve, wheel

BODY = bytes(range(256)) * 1000
SHA256 = hashlib.sha256(BODY).hexdigest()
FILE, WHEEL, WHEEL_SHA256 = wheel("tinytables", "1.0", {"tinytables/a.txt": "entity1,entity2\nA,B\n"})


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def server() -> Iterator[Server]:
    with serve({"/data/file.bin": BODY, **index("tinytables", FILE, WHEEL)}) as running:
        yield running


@pytest.fixture
def own_index(server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """The test's server as pip's only source, whatever the user's settings are."""
    for name in list(os.environ):
        if name.startswith("PIP_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", f"{server.address}/simple")
    return server


def contents(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.exists() else set()


def test_a_file_arrives_whole_and_is_kept(server: Server, tmp_path: Path) -> None:
    url, path = f"{server.address}/data/file.bin", tmp_path / "new" / "file.bin"
    assert fetch_file(url, path, SHA256) == path
    assert path.read_bytes() == BODY
    fetch_file(url, path, SHA256)
    assert server.asked == ["/data/file.bin"]
    assert contents(path.parent) == {"file.bin"}


def test_a_damaged_file_is_fetched_again(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(BODY[:-1])
    fetch_file(f"{server.address}/data/file.bin", path, SHA256)
    assert path.read_bytes() == BODY


def test_another_hash_is_refused_and_nothing_is_kept(server: Server, tmp_path: Path) -> None:
    url, path = f"{server.address}/data/file.bin", tmp_path / "file.bin"
    with pytest.raises(InputError) as caught:
        fetch_file(url, path, "0" * 64)
    for part in (url, SHA256, "0" * 64, str(path)):
        assert part in str(caught.value)
    assert contents(tmp_path) == set()


@pytest.mark.parametrize("known", [SHA256, None])
def test_a_cut_connection_leaves_nothing_behind(server: Server, tmp_path: Path, known: str | None) -> None:
    server.cut.add("/data/file.bin")
    path = tmp_path / "file.bin"
    with pytest.raises(InputError, match="cannot be downloaded"):
        fetch_file(f"{server.address}/data/file.bin", path, known)
    assert contents(tmp_path) == set()
    server.cut.clear()
    assert fetch_file(f"{server.address}/data/file.bin", path, known).read_bytes() == BODY


def test_an_absent_address_and_no_connection_say_what_to_do(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    with pytest.raises(InputError, match=r"HTTP status 404.*put the file yourself at .*file\.bin"):
        fetch_file(f"{server.address}/data/none.bin", path, SHA256)
    with serve({}) as gone:
        address = gone.address
    with pytest.raises(InputError, match=r"cannot be downloaded \(ConnectionError\).*put the file yourself at"):
        fetch_file(f"{address}/data/file.bin", path, SHA256)
    assert contents(tmp_path) == set()


def test_an_unwritable_place_is_one_sentence(server: Server, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file where a folder should be")
    with pytest.raises(InputError, match=r"cannot write .*taken"):
        fetch_file(f"{server.address}/data/file.bin", tmp_path / "taken" / "file.bin", SHA256)


def test_an_unpinned_file_is_held_to_its_first_hash(server: Server, tmp_path: Path) -> None:
    url, path = f"{server.address}/data/file.bin", tmp_path / "file.bin"
    record = tmp_path / "file.bin.sha256"
    fetch_file(url, path, None)
    assert record.read_text() == f"{SHA256}  file.bin\n"

    # Damaged here: the source's file, still the same, mends it.
    path.write_bytes(b"damaged")
    assert fetch_file(url, path, None).read_bytes() == BODY

    # Changed at the source: refused until the user accepts the new file.
    path.unlink()
    server.files["/data/file.bin"] = b"changed"
    with pytest.raises(InputError, match=r"recorded in .*delete file\.bin\.sha256"):
        fetch_file(url, path, None)
    assert not path.exists()
    record.unlink()
    assert fetch_file(url, path, None).read_bytes() == b"changed"
    assert record.read_text().split()[0] == hashlib.sha256(b"changed").hexdigest()


def test_a_file_put_there_by_hand_is_taken_without_a_connection(tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(BODY)
    assert fetch_file("https://127.0.0.1:1/file.bin", path, None) == path
    assert (tmp_path / "file.bin.sha256").read_text().split()[0] == SHA256


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    record = tmp_path / "file.bin.sha256"
    record.write_bytes(b"")
    with pytest.raises(InputError, match=r"file\.bin\.sha256 cannot be read .*delete it"):
        fetch_file("https://127.0.0.1:1/file.bin", tmp_path / "file.bin", None)


def test_only_a_slow_download_shows_its_progress(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes this as a terminal
    fetch_file(f"{server.address}/data/file.bin", tmp_path / "quick.bin", SHA256)
    assert capfd.readouterr() == ("", "")
    monkeypatch.setattr("phenobench.downloads._BAR_AFTER_SECONDS", -1.0)
    fetch_file(f"{server.address}/data/file.bin", tmp_path / "slow.bin", SHA256)
    out, err = capfd.readouterr()
    assert out == ""
    assert "slow.bin" in err
    assert "256.0" in err  # kB of the whole


def test_pip_downloads_one_wheel(own_index: Server, tmp_path: Path) -> None:
    path = fetch_wheel("tinytables", "1.0", FILE, WHEEL_SHA256, tmp_path)
    assert path == tmp_path / FILE
    assert path.read_bytes() == WHEEL


def test_a_pip_py_in_the_current_folder_is_not_run(
    own_index: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / "pip.py").write_text("raise SystemExit('not pip')")
    monkeypatch.chdir(folder)
    assert fetch_wheel("tinytables", "1.0", FILE, WHEEL_SHA256, tmp_path).exists()


def test_a_wheel_with_another_hash_is_refused(own_index: Server, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"{FILE} with sha256 {WHEEL_SHA256} in place of the pinned 0000"):
        fetch_wheel("tinytables", "1.0", FILE, "0" * 64, tmp_path)
    assert contents(tmp_path) == set()


def test_pips_own_last_line_is_the_reason(own_index: Server, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"No matching distribution found for tinytables==2\.0") as caught:
        fetch_wheel("tinytables", "2.0", "tinytables-2.0-py3-none-any.whl", "0" * 64, tmp_path)
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def python_without_pip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("venv")
    venv.create(folder, with_pip=False, symlinks=os.name != "nt")
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _fetch_elsewhere(python: Path, folder: Path, before: str = "", path: str = "") -> subprocess.CompletedProcess[str]:
    code = f"""
import sys, importlib.util
{before}
assert importlib.util.find_spec("pip") is None
from pathlib import Path
from phenobench.downloads import fetch_wheel
from phenobench.errors import InputError
try:
    fetch_wheel("tinytables", "1.0", {FILE!r}, {WHEEL_SHA256!r}, Path({str(folder)!r}))
except InputError as error:
    sys.exit(f"InputError: {{error}}")
"""
    checkout = Path(phenobench.__file__).parents[1]
    # The checkout is linked from an empty folder: the site-packages it may lie in hold a pip.
    link = folder / "only"
    link.mkdir(exist_ok=True)
    if not (link / "phenobench").exists():
        (link / "phenobench").symlink_to(checkout / "phenobench", target_is_directory=True)
    environment = {**os.environ, "PYTHONPATH": str(link), "PATH": path}
    return subprocess.run(
        [python, "-c", code], env=environment, capture_output=True, text=True, check=False, cwd=folder
    )


def test_an_environment_without_pip_uses_the_one_python_carries(
    own_index: Server, tmp_path: Path, python_without_pip: Path
) -> None:
    pytest.importorskip("ensurepip", reason="this Python carries no pip of its own")
    done = _fetch_elsewhere(python_without_pip, tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / FILE).read_bytes() == WHEEL


# What a Python without the bundled wheels looks like, as some distributions ship it.
NO_BUNDLED_PIP = """
import sysconfig
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "ensurepip" else found(name, *rest)
sysconfig.get_config_var = lambda name: None
"""


@pytest.mark.skipif(os.name == "nt", reason="the stand-in for pip is a shell script")
def test_else_the_pip_of_the_path(own_index: Server, tmp_path: Path, python_without_pip: Path) -> None:
    pytest.importorskip("pip", reason="the stand-in for the PATH's pip is this interpreter's")
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "pip3").write_text(f'#!/bin/sh\nunset PYTHONPATH\nexec "{sys.executable}" -m pip "$@"\n')
    (programs / "pip3").chmod(0o755)
    done = _fetch_elsewhere(python_without_pip, tmp_path, NO_BUNDLED_PIP, str(programs))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / FILE).read_bytes() == WHEEL


def test_no_pip_at_all_is_one_sentence(own_index: Server, tmp_path: Path, python_without_pip: Path) -> None:
    done = _fetch_elsewhere(python_without_pip, tmp_path, NO_BUNDLED_PIP)
    assert done.stderr.strip() == (
        "InputError: tinytables 1.0 is downloaded with pip, and none was found; "
        "install pip (python -m ensurepip) and try again"
    )
    assert done.returncode == 1
    assert own_index.asked == []
