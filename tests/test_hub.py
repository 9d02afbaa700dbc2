"""Published weights from a hub on this machine: fetched once, held to their hashes, and used by runs."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants
from typer.testing import CliRunner, Result

from phenobench.cards import find
from phenobench.cli import app
from phenobench.errors import InputError
from phenobench.hub import cached, hub_cache, official_weights
from phenobench.models import load_model
from phenobench.models.cwa_msn import random_checkpoint, write_checkpoint
from phenobench.models.networks import VitShape
from phenobench.results import read_result
from tests.folders import CHANNELS, make_folder
from tests.hub_server import COMMIT, Hub, serve_hub

FILE = "lab/tiny/weights/model.safetensors"
BODY = bytes(range(256)) * 64
SHA256 = hashlib.sha256(BODY).hexdigest()
GATED = "private/model/model.bin"
CARD = """
id = "{id}"
title = "Tiny"
summary = "small, for a test"
adapter = "phenobench.models.cwa_msn:CwaMsn"
input = "images"
status = "weights published"
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
[weights.model]
hub = "lab/tiny"
file = "weights/model.safetensors"
licence = "research only"
{more}
"""
TINY = VitShape(image=32, patch=16, channels=3, width=24, depth=1, heads=3)


def phenobench(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def write_card(id: str = "tiny", more: str = "", old: str = "", new: str = "") -> Path:
    """A card in the test's current folder, which has a suite file, so that its cards are found there."""
    Path("benchmark.toml").touch()
    path = Path("models") / f"{id}.toml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(CARD.format(id=id, more=more).replace(old, new))
    return path


def lock() -> dict[str, dict[str, str]]:
    return tomllib.loads(Path("phenobench.lock").read_text())


def contents() -> set[str]:
    """What the cache has of files and their contents, without the library's own marks and locks."""
    return {
        path.name for kind in ("blobs", "snapshots") for path in hub_cache().glob(f"*/{kind}/**/*") if path.is_file()
    }


def refused(done: Result) -> str:
    """The one sentence of a command that was refused."""
    assert done.exit_code == 2, done.output
    sentences = [line for line in done.stderr.splitlines() if line.startswith("phenobench: ")]
    assert len(sentences) == 1
    assert done.stderr.endswith(sentences[0] + "\n")
    return sentences[0]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("HF_", "HUGGINGFACE_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def point_to(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the library, which reads its environment when it is imported, talk to another hub; programs started too."""
    monkeypatch.setenv("HF_ENDPOINT", address)
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", os.devnull)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with serve_hub({FILE: BODY, GATED: BODY}) as running:
        point_to(running.address, monkeypatch)
        yield running


def test_weights_are_fetched_once_and_their_commit_and_hash_are_recorded(hub: Hub) -> None:
    write_card()
    done = phenobench("data", "get", "tiny")
    assert done.exit_code == 0, done.output
    path = Path(done.stdout.strip())
    assert path == cached(find().model("tiny").weights["model"], COMMIT)
    assert path.read_bytes() == BODY
    assert "research only" in done.stderr
    assert lock() == {FILE: {"revision": COMMIT, "sha256": SHA256}}

    before = len(hub.asked)
    again = phenobench("data", "get", "tiny")
    assert again.stdout == done.stdout
    assert again.stderr == ""
    assert len(hub.asked) == before


def test_a_card_that_pins_everything_leaves_no_lock(hub: Hub) -> None:
    write_card(more=f'revision = "{COMMIT}"\nsha256 = "{SHA256}"')
    assert phenobench("data", "get", "tiny").exit_code == 0
    assert not Path("phenobench.lock").exists()
    assert hub.got() == [f"GET /lab/tiny/resolve/{COMMIT}/weights/model.safetensors"]


def test_the_lock_is_sorted_and_entries_of_others_stay(hub: Hub) -> None:
    pin = f'revision = "{COMMIT}"\nsha256 = "{SHA256}"\n'
    Path("phenobench.lock").write_text(f'["z/z/f"]\n{pin}["a/a/f"]\n{pin}')
    write_card()
    phenobench("data", "get", "tiny")
    assert list(lock()) == ["a/a/f", FILE, "z/z/f"]


def test_without_a_suite_file_the_lock_is_in_the_users_cache(hub: Hub, tmp_path: Path) -> None:
    write_card().rename(tmp_path / "tiny.toml")
    Path("benchmark.toml").unlink()
    (tmp_path / "models").mkdir()
    (tmp_path / "tiny.toml").rename(tmp_path / "models" / "tiny.toml")
    assert phenobench("data", "get", "tiny", "--cards", tmp_path).exit_code == 0
    assert FILE in (Path(os.environ["PHENOBENCH_CACHE"]) / "phenobench.lock").read_text()


@pytest.mark.parametrize("text", ["[[", '["lab/tiny/weights/model.safetensors"]\nrevision = "main"\nsha256 = "1"\n'])
def test_a_lock_that_is_damaged_is_named(hub: Hub, text: str) -> None:
    write_card()
    Path("phenobench.lock").write_text(text)
    assert "phenobench.lock" in refused(phenobench("data", "get", "tiny"))
    assert hub.asked == []


def test_the_commit_of_the_lock_is_asked_for_and_not_the_branch(hub: Hub) -> None:
    write_card()
    Path("phenobench.lock").write_text(f'["{FILE}"]\nrevision = "{"a" * 40}"\nsha256 = "{SHA256}"\n')
    assert "HTTP status 404" in refused(phenobench("data", "get", "tiny"))
    assert {path.split("/")[4] for path in hub.asked} == {"a" * 40}


def test_a_connection_that_is_cut_goes_on_where_it_was(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1000)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    write_card()
    hub.cut.add(FILE)
    done = phenobench("data", "get", "tiny")
    assert done.exit_code == 0, done.output
    assert Path(done.stdout.strip()).read_bytes() == BODY
    first, second = hub.got()
    assert "bytes=" not in first
    assert second.endswith("bytes=8000-")


@pytest.mark.parametrize("small", [False, True])
def test_another_hash_than_the_cards_is_refused_and_nothing_is_kept(hub: Hub, small: bool) -> None:
    if small:
        hub.small.add(FILE)
    write_card(more=f'sha256 = "{"0" * 64}"')
    for _ in range(2):  # the second try fetches again
        said = refused(phenobench("data", "get", "tiny"))
        for part in (FILE, SHA256, f"the card's {'0' * 64}", "--weights"):
            assert part in said
        assert contents() == set()
    assert len(hub.got()) == 2
    assert not Path("phenobench.lock").exists()
    assert "to fetch" in phenobench("list", "models").stdout


def test_another_hash_than_the_locks_says_how_to_accept_the_new_file(hub: Hub) -> None:
    write_card()
    Path("phenobench.lock").write_text(f'["{FILE}"]\nrevision = "{COMMIT}"\nsha256 = "{"0" * 64}"\n')
    said = refused(phenobench("data", "get", "tiny"))
    assert f"recorded in {Path('phenobench.lock').absolute()}" in said
    assert "remove its table there" in said
    assert contents() == set()
    Path("phenobench.lock").unlink()
    assert phenobench("data", "get", "tiny").exit_code == 0
    assert lock()[FILE]["sha256"] == SHA256


@pytest.mark.parametrize("small", [False, True])
def test_a_file_that_is_damaged_in_the_cache_is_fetched_again(hub: Hub, small: bool) -> None:
    if small:
        hub.small.add(FILE)
    write_card()
    path = Path(phenobench("data", "get", "tiny").stdout.strip())
    path.resolve().write_bytes(BODY[:-1])
    if small:
        with pytest.raises(InputError, match=r"is damaged; fetch it again with `phenobench data get tiny`"):
            official_weights(find().model("tiny"))
    done = phenobench("data", "get", "tiny")
    assert "is damaged and is fetched again" in done.stderr
    assert path.read_bytes() == BODY


def test_a_file_that_another_program_fetched_is_hashed_and_recorded(hub: Hub) -> None:
    from huggingface_hub import hf_hub_download

    write_card()
    hf_hub_download("lab/tiny", "weights/model.safetensors", cache_dir=hub_cache())
    assert official_weights(find().model("tiny")) == {}
    assert len(hub.got()) == 1
    assert phenobench("data", "get", "tiny").exit_code == 0
    assert len(hub.got()) == 1
    assert lock() == {FILE: {"revision": COMMIT, "sha256": SHA256}}


def test_a_licence_that_asks_for_it_is_accepted_first(hub: Hub) -> None:
    write_card(more="accept = true")
    write_card("other", more="accept = true")
    said = refused(phenobench("data", "get", "tiny"))
    for part in (
        "tiny",
        "research only",
        "https://huggingface.co/lab/tiny",
        "--accept-licence tiny",
        '[licences] accept = ["tiny"]',
    ):
        assert part in said
    refused(phenobench("data", "get", "tiny", "--accept-licence", "other"))
    assert "did you mean tiny" in refused(phenobench("data", "get", "tiny", "--accept-licence", "tinny"))
    assert hub.asked == []
    done = phenobench("data", "get", "tiny", "--accept-licence", "other", "--accept-licence", "tiny")
    assert done.exit_code == 0, done.output


def test_a_licence_is_accepted_in_the_suite_file(hub: Hub) -> None:
    write_card(more="accept = true")
    Path("benchmark.toml").write_text('[licences]\naccept = ["other", "tiny"]\n')
    assert phenobench("data", "get", "tiny").exit_code == 0
    Path("benchmark.toml").write_text("[licences]\nagree = ['tiny']\n")
    assert "licences.agree" in refused(phenobench("data", "get", "tiny"))


def test_a_repository_that_its_owner_guards_needs_a_token(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.gated.add("private/model")
    write_card(
        old='hub = "lab/tiny"\nfile = "weights/model.safetensors"', new='hub = "private/model"\nfile = "model.bin"'
    )
    for token, status in ((None, 401), ("hf_of_somebody_else", 403)):
        if token:
            monkeypatch.setenv("HF_TOKEN", token)
        said = refused(phenobench("data", "get", "tiny"))
        assert f"HTTP status {status}" in said
        assert "ask for access at https://huggingface.co/private/model and set HF_TOKEN" in said
    monkeypatch.setenv("HF_TOKEN", hub.token)
    assert phenobench("data", "get", "tiny").exit_code == 0


def test_what_is_not_on_the_hub_or_not_published_is_one_sentence(hub: Hub) -> None:
    write_card(old="weights/model.safetensors", new="none.bin")
    said = refused(phenobench("data", "get", "tiny"))
    assert "lab/tiny/none.bin cannot be downloaded (HTTP status 404)" in said
    assert "there is nothing to fetch for pixel-statistics: no weights needed" in refused(
        phenobench("data", "get", "pixel-statistics")
    )
    assert "unknown data set 'tinny'; did you mean tiny" in refused(phenobench("data", "get", "tinny"))


def test_a_hub_that_is_down_is_one_sentence_at_once(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    write_card()
    with serve_hub({}) as gone:
        address = gone.address
    point_to(address, monkeypatch)
    monkeypatch.setattr("time.sleep", lambda seconds: pytest.fail("it waits and tries again"))
    said = refused(phenobench("data", "get", "tiny"))
    assert f"{FILE} cannot be downloaded (" in said
    assert "check the network, or give the file with --weights" in said

    # The branch's commit as the cache saw it last is enough for a file that is there.
    point_to(hub.address, monkeypatch)
    assert phenobench("data", "get", "tiny").exit_code == 0
    Path("phenobench.lock").unlink()
    branch = hub_cache() / "models--lab--tiny" / "refs" / "main"
    branch.parent.mkdir(exist_ok=True)
    branch.write_text(COMMIT)
    point_to(address, monkeypatch)
    assert phenobench("data", "get", "tiny").exit_code == 0
    assert lock() == {FILE: {"revision": COMMIT, "sha256": SHA256}}


def test_the_settings_of_the_hubs_own_library_hold(hub: Hub, tmp_path: Path) -> None:
    """As a user meets them: in the environment of a program, offline at last."""

    def program(**environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "phenobench", "data", "get", "tiny"],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    write_card()
    absent = program(HF_HUB_OFFLINE="1")
    assert absent.returncode == 2
    assert absent.stderr == (
        f"phenobench: {FILE} is not in the cache {tmp_path / 'hf' / 'hub'}, and HF_HUB_OFFLINE is set; "
        "unset it, or give the file with --weights\n"
    )
    assert hub.asked == []
    fetched = program()
    assert fetched.returncode == 0, fetched.stderr
    assert Path(fetched.stdout.strip()).is_relative_to(tmp_path / "hf" / "hub")
    assert len(hub.got()) == 1
    there = program(HF_HUB_OFFLINE="1")
    assert (there.returncode, there.stdout) == (0, fetched.stdout)


@pytest.mark.parametrize(
    ("settings", "place"),
    [
        ({"HF_HUB_CACHE": "/a", "HUGGINGFACE_HUB_CACHE": "/b"}, "/a"),
        ({"HUGGINGFACE_HUB_CACHE": "/b"}, "/b"),
        ({}, "/h/hub"),
        ({"HF_HOME": "~/x"}, "~/x/hub"),
        ({"HF_HOME": "$PLACE/x", "PLACE": "/p"}, "/p/x/hub"),
        ({"HF_HOME": "", "XDG_CACHE_HOME": "/c"}, "/c/huggingface/hub"),
        ({"HF_HOME": ""}, "~/.cache/huggingface/hub"),
    ],
)
def test_the_cache_is_where_the_hubs_own_library_has_it(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], place: str
) -> None:
    monkeypatch.setenv("HF_HOME", "/h")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    for name, value in settings.items():
        if value:
            monkeypatch.setenv(name, value)
        else:
            monkeypatch.delenv(name)
    code = "from huggingface_hub import constants; print(constants.HF_HUB_CACHE)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert str(hub_cache()) == done.stdout.strip() == os.path.expanduser(place)  # noqa: PTH111


@pytest.fixture
def published(hub: Hub, tmp_path: Path) -> Path:
    """A checkpoint for the images of ``make_folder``, on the hub and in a file."""
    path = tmp_path / "published.safetensors"
    write_checkpoint(path, random_checkpoint(TINY, CHANNELS, 0))
    hub.files[FILE] = path.read_bytes()
    return path


def test_runs_take_the_published_weights_once_they_are_there(hub: Hub, published: Path, tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "mine")
    write_card(more="accept = true")
    command = ("run", "--screen", folder, "--model", "tiny", "--task", "replicate-retrieval", "--normalization", "none")

    def made() -> set[str]:
        return {path.name for path in Path("results/mine").iterdir()}

    # Nothing is there, and a run fetches nothing.
    done = phenobench(*command, "--accept-licence", "tiny")
    assert done.exit_code == 0, done.output
    assert hub.asked == []
    assert made() == {"tiny@random"}
    flat = " ".join(done.stdout.split())
    assert (
        "tiny: random weights; fetch the published ones with `phenobench data get tiny --accept-licence tiny`" in flat
    )

    assert phenobench("data", "get", "tiny", "--accept-licence", "tiny").exit_code == 0
    done = phenobench(*command)
    assert done.exit_code == 0, done.output
    assert "random weights" not in done.stdout
    assert made() == {"tiny@random", "tiny"}
    weights = read_result(Path("results/mine/tiny/none/replicate-retrieval.json")).model.weights
    assert (weights.kind, weights.sha256) == ("official", hashlib.sha256(published.read_bytes()).hexdigest())

    # Random ones only if they are asked for.
    assert "tiny@random" in phenobench(*command, "--weights", "random").stdout
    assert "unknown model or screen 'tinny'" in refused(phenobench(*command, "--accept-licence", "tinny"))


def test_a_file_given_by_path_is_never_gated_and_official_if_its_hash_is(
    hub: Hub, published: Path, tmp_path: Path
) -> None:
    own = tmp_path / "own.safetensors"
    write_checkpoint(own, random_checkpoint(TINY, CHANNELS, 1))
    write_card(more=f'accept = true\nsha256 = "{hashlib.sha256(published.read_bytes()).hexdigest()}"')
    assert load_model("tiny", weights=published).weights_kind == "official"
    assert load_model("tiny", weights={"model": own}).weights_kind == "random"  # what its metadata says
    assert load_model("tiny", random_init=0).weights_kind == "random"
    with pytest.raises(InputError, match=r"tiny: .* fetch the published ones with `phenobench data get tiny --acc"):
        load_model("tiny")
    assert hub.asked == []


def test_models_are_listed_with_what_is_there_of_their_weights(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    write_card(
        more="[parameters]\nencoder = 21_378_048", old="crop = 32", new='crop = 32\ndim = 24\nchannels = ["DNA", "ER"]'
    )

    def row(model: str) -> str:
        lines = phenobench("list", "models").stdout.splitlines()
        return " ".join(next(line for line in lines if line.split()[:1] == [model]).split())

    assert row("tiny") == "tiny 21.4 M 24 DNA, ER none to fetch"
    assert row("pixel-statistics").startswith("pixel-statistics any ")
    assert row("pixel-statistics").endswith(" none needed")
    # A long path is folded.
    assert f"cardsin{Path('models').absolute()}" in "".join(phenobench("list", "models").stdout.split())
    phenobench("data", "get", "tiny")
    assert row("tiny").endswith(" present")
