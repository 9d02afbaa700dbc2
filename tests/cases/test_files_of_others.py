"""Real files of other laboratories, scored by what their owner would type; figures by brute force and copairs."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from phenobench.cli import app
from phenobench.results import read_result
from tests.shared import shared

INJURY = (
    *("--column", "plate=Plate", "--column", "well=Well", "--column", "perturbation=Compound Name"),
    *("--column", "target=injury_type", "--negcon", "Control Type=Negative"),
)
BY_FEATURES = ("--feature-prefix", "Cells_", "--feature-prefix", "Nuclei_", "--feature-prefix", "Cytoplasm_")
ORF = (
    *("--column", "plate=Metadata_det_plate", "--column", "well=Metadata_det_well"),
    *("--column", "perturbation=Metadata_pert_iname", "--column", "gene=Metadata_pert_mfc_desc"),
    *("--negcon", "Metadata_pert_type=ctl_vector", "--exclude", "Metadata_pert_type=ctl_untrt"),
)
JUMP = (
    *("--column", "plate=Metadata_Source", "--column", "perturbation=Metadata_JCP2022"),
    *("--negcon", "Metadata_JCP2022=JCP2022_033924"),
)
NF1 = (
    *("--plate-from-file", "--column", "perturbation=Metadata_treatment,Metadata_dose"),
    *("--negcon", "Metadata_treatment=DMSO"),
)


def run(folder: Path, *options: str) -> tuple[int, str]:
    arguments = ("run", "--profiles", str(folder), "--model", "theirs", "--screen", "theirs", "--results", "results")
    done = CliRunner().invoke(app, [*arguments, "--task", "replicate-retrieval", *options])
    return done.exit_code, done.stderr


@pytest.mark.parametrize(
    ("name", "options", "normalization", "value", "n"),
    [
        ("injury_plates", (*INJURY, *BY_FEATURES), "none", 0.492, 30),
        ("injury_plates", (*INJURY, *BY_FEATURES), "center", 0.495, 30),
        ("injury_wells", (*INJURY, *BY_FEATURES), "none", 0.8953, 51),
        ("injury_wells", (*INJURY, *BY_FEATURES), "standardize", 0.759, 51),
        ("orf_l1000", ORF, "none", 0.063, 318),
        ("orf_l1000", ORF, "standardize", 0.050, 318),
        ("jump_source_means", JUMP, "none", 0.2015, 100),
        ("nf1_organoids", NF1, "none", 0.181, 20),
    ],
)
def test_a_file_is_scored_as_its_owner_means_it(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    options: tuple[str, ...],
    normalization: str,
    value: float,
    n: int,
) -> None:
    folder = shared("cases", "files", name)
    monkeypatch.chdir(tmp_path)
    assert run(folder, *options, "--normalization", normalization) == (0, "")
    (path,) = Path("results").glob(f"*/*/{normalization}/replicate-retrieval.json")
    score = read_result(path).scores[0]
    assert score.value == pytest.approx(value, abs=1e-3)
    assert score.n == n


def test_the_first_try_names_the_option_of_the_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Text columns without a prefix: the sentence says what features start with."""
    folder = shared("cases", "files", "injury_plates")
    monkeypatch.chdir(tmp_path)
    code, said = run(folder, *INJURY, "--normalization", "none")
    assert code == 2
    for start in BY_FEATURES[1::2]:
        assert f"--feature-prefix {start}" in said
    code, said = run(shared("cases", "files", "nf1_organoids"), *NF1[1:], "--normalization", "none")
    assert code == 2
    assert "--plate-from-file" in said
