"""A training that stops anywhere goes on as if it had not, and what is on disk is whole."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from phenobench.errors import InputError
from phenobench.training import train
from phenobench.training.cwa_msn import CwaMsnRecipe
from phenobench.training.log import read_log
from phenobench.training.state import STATE
from tests.training.screens import make_config, make_screen

ROOT = Path(__file__).resolve().parents[2]
# A process that dies in the middle of step 5, when three updates are kept and a fourth is lost.
KILLED = """
import os, signal, sys
from pathlib import Path
from phenobench.training import train
from phenobench.training.cwa_msn import CwaMsnRecipe
from tests.training.screens import make_screen

loss = CwaMsnRecipe.loss
def dies(self, network, batch, step, device):
    if step == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    return loss(self, network, batch, step, device)
CwaMsnRecipe.loss = dies
train("cwa-msn", make_screen(), Path(sys.argv[1]), Path(sys.argv[2]))
"""


def figures(folder: Path) -> list[dict[str, float]]:
    """The log without what depends on the clock."""
    return [{k: v for k, v in line.items() if k not in ("images_per_second", "seconds")} for line in read_log(folder)]


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_killed_in_mid_epoch_and_resumed_ends_at_the_same_bits_as_unbroken(tmp_path: Path) -> None:
    config = make_config(tmp_path, save_steps="save_steps = 3", accumulate="", batch="batch = 4\naccumulate = 2")
    whole = train("cwa-msn", make_screen(), tmp_path / "whole", config)
    command = [sys.executable, "-c", KILLED, str(tmp_path / "cut"), str(config)]
    ended = subprocess.run(command, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert [line["step"] for line in read_log(tmp_path / "cut")] == [1, 2, 3, 4]
    resumed = train("cwa-msn", make_screen(), tmp_path / "cut", config, resume=True)
    assert whole.weights is not None
    assert resumed.weights is not None
    assert resumed.weights.read_bytes() == whole.weights.read_bytes()
    assert figures(tmp_path / "cut") == figures(tmp_path / "whole")
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_after_the_step_at_hand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sent: signal.Signals
) -> None:
    config = make_config(tmp_path, save_steps="save_steps = 1000")
    whole = train("cwa-msn", make_screen(), tmp_path / "whole", config)
    loss = CwaMsnRecipe.loss

    def signalled(self: CwaMsnRecipe, network, batch, step, device):  # type: ignore[no-untyped-def]
        if step == 2:
            signal.raise_signal(sent)
        return loss(self, network, batch, step, device)

    before = signal.getsignal(sent)
    with monkeypatch.context() as patched:
        patched.setattr(CwaMsnRecipe, "loss", signalled)
        stopped = train("cwa-msn", make_screen(), tmp_path / "cut", config)
    assert (stopped.steps, stopped.total, stopped.weights) == (3, 6, None)
    assert signal.getsignal(sent) == before
    resumed = train("cwa-msn", make_screen(), tmp_path / "cut", config, resume=True)
    assert whole.weights is not None
    assert resumed.weights is not None
    assert resumed.weights.read_bytes() == whole.weights.read_bytes()


def test_a_training_is_not_written_over_and_is_not_resumed_as_another(tmp_path: Path) -> None:
    config = make_config(tmp_path)
    with pytest.raises(InputError, match=r"has no state\.pt to resume from"):
        train("cwa-msn", make_screen(), tmp_path / "out", config, resume=True)
    train("cwa-msn", make_screen(), tmp_path / "out", config)
    with pytest.raises(InputError, match="holds a training already; add --resume"):
        train("cwa-msn", make_screen(), tmp_path / "out", config)
    with pytest.raises(InputError, match=r"another pairs\.same_well_end"):
        train("cwa-msn", make_screen(), tmp_path / "out", config, pairs="same-well", resume=True)
    with pytest.raises(InputError, match=r"another optimisation\.clip"):
        train("cwa-msn", make_screen(), tmp_path / "out", make_config(tmp_path, clip="clip = 9.0"), resume=True)
    # What changes no weight may change.
    quiet = make_config(tmp_path, save_steps="save_steps = 7", log_steps="log_steps = 5")
    assert train("cwa-msn", make_screen(), tmp_path / "out", quiet, resume=True).weights is not None


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short", b"hello"])
def test_a_damaged_state_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / STATE).write_bytes(content)
    with pytest.raises(InputError, match="is no whole state of a training"):
        train("cwa-msn", make_screen(), tmp_path, make_config(tmp_path), resume=True)


def test_a_state_with_code_in_it_is_refused_and_not_run(tmp_path: Path) -> None:
    torch.save({"step": Path(tmp_path)}, tmp_path / STATE)
    with pytest.raises(InputError, match="is no whole state of a training"):
        train("cwa-msn", make_screen(), tmp_path, make_config(tmp_path), resume=True)


def test_a_full_disk_is_one_sentence_and_the_last_state_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_config(tmp_path)
    out = tmp_path / "out"
    written: list[int] = []
    write = Path.write_bytes

    def full(self: Path, data: bytes) -> int:
        if STATE in self.name:
            written.append(len(data))
            if len(written) > 1:
                write(self, data[: len(data) // 2])
                raise OSError(28, "No space left on device")
        return write(self, data)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", full)
        with pytest.raises(InputError, match=r"cannot write .*state\.pt: No space left on device"):
            train("cwa-msn", make_screen(), out, config)
    assert not list(out.glob("*.tmp"))
    resumed = train("cwa-msn", make_screen(), out, config, resume=True)
    whole = train("cwa-msn", make_screen(), tmp_path / "whole", config)
    assert resumed.weights is not None
    assert whole.weights is not None
    assert resumed.weights.read_bytes() == whole.weights.read_bytes()


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        train("cwa-msn", make_screen(), tmp_path / "file" / "out", make_config(tmp_path))
