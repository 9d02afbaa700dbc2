"""``--weights`` on the command line: refused where nothing takes it, and named in what it makes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from phenobench.errors import InputError
from phenobench.models import load_model
from tests.folders import make_folder
from tests.test_pipeline import phenobench


def test_weights_that_no_model_takes_are_refused(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "screen")
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(b"x")
    arguments = ("run", "--screen", folder, "--model", "pixel-statistics", "--task", "batch-effect")
    refused = phenobench(*arguments, "--weights", weights)
    assert refused.exit_code == 2
    assert f"--weights {weights} was given and no model of this run takes weights" in refused.stderr


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["absent"], "--weights absent: there is no such file"),
        (["model=absent"], "--weights model=absent: there is no such file"),
        (["random", "a=b.bin"], "--weights random: there is no such file; give a path, PART=PATH, or 'random' alone"),
        (["a=b.bin", "model=a=b.bin"], "--weights model=a=b.bin: the part 'model' is given twice"),
        (["vision=a=b.bin"], "cwa-msn has no part 'vision' among its weights"),
        (["a=b.bin"], "a=b.bin is neither safetensors nor a torch archive"),
        (["model=a=b.bin"], "a=b.bin is neither safetensors nor a torch archive"),
    ],
)
def test_weights_are_files_by_part(tmp_path: Path, given: list[str], said: str) -> None:
    Path("a=b.bin").write_bytes(b"no weights")
    folder = make_folder(tmp_path / "screen")
    options = [part for text in given for part in ("--weights", text)]
    refused = phenobench("embed", "--screen", folder, "--model", "cwa-msn", "--out", tmp_path / "out", *options)
    assert refused.exit_code == 2
    assert refused.stderr.startswith("phenobench: ")
    assert said in refused.stderr


class _Code:
    """What runs ``touch`` where it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Callable[..., object], tuple[Path]]:
        return Path.touch, (self.target,)


@pytest.mark.parametrize("model", ["openphenom", "cwa-msn", "dinov2-small"])
@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_file_of_weights_is_refused_and_not_run(tmp_path: Path, model: str, zipped: bool) -> None:
    # As OpenPhenom's published file may be: a torch archive under the name of a safetensors file.
    path, ran = tmp_path / "model.safetensors", tmp_path / "the code has run"
    stored = {"state_dict": {"encoder.vit_backbone.cls_token": torch.zeros(1, 1, 384)}, "config": _Code(ran)}
    torch.save(stored, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(InputError, match=r"model\.safetensors is refused: it has code"):
        load_model(model, weights=path)
    assert not ran.exists()
    # The file does run code where it is let: otherwise this test could not fail.
    with path.open("rb") as handle:
        torch.load(handle, weights_only=False)
    assert ran.exists()
