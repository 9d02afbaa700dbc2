"""Labels that look alike: a warning names two of them, and nothing is merged unasked."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import pytest

from tests.cases.screen import Run, assert_score, make, replicates, run, write

# Two spellings of a name that a reader takes for one.
PAIRS: dict[str, tuple[Callable[[str], str], Callable[[str], str]]] = {
    "micro": (lambda name: f"{name} 10 \u00b5M", lambda name: f"{name} 10 \u03bcM"),
    "accent": (lambda name: f"\u00e9{name}", lambda name: f"e\u0301{name}"),
    "ring": (lambda name: f"{name}\u00c5", lambda name: f"{name}\u212b"),
    "zero-width space": (lambda name: name, lambda name: f"{name}\u200b"),
    "zero-width joiner": (lambda name: name, lambda name: f"{name[0]}\u200d{name[1:]}"),
    "byte order mark": (lambda name: name, lambda name: f"\ufeff{name}"),
    "soft hyphen": (lambda name: name, lambda name: f"{name[0]}\u00ad{name[1:]}"),
    "two blanks": (lambda name: f"a {name}", lambda name: f"a  {name}"),
    "non-breaking blank": (lambda name: f"a {name}", lambda name: f"a\u00a0{name}"),
    "narrow blank": (lambda name: f"a {name}", lambda name: f"a\u202f{name}"),
    "tab": (lambda name: f"a {name}", lambda name: f"a\t{name}"),
    "case": (lambda name: f"cpd{name}", lambda name: f"CPD{name}"),
    "full width": (lambda name: f"{name}1", lambda name: f"{name}\uff11"),
    "subscript": (lambda name: f"{name}H2O", lambda name: f"{name}H\u2082O"),
    "ligature": (lambda name: f"fi{name}", lambda name: f"\ufb01{name}"),
}


@pytest.fixture(scope="module", name="table")
def small() -> pd.DataFrame:
    return make(seed=82)


def shown(label: str, warning: str) -> bool:
    """Whether a warning has a label, as it is or with what nobody sees written out."""
    spelled = {label, ascii(label)[1:-1], repr(label)[1:-1], label.encode("unicode_escape").decode()}
    codes = [f"U+{ord(letter):04X}" for letter in label if not (letter.isascii() and letter.isprintable())]
    return any(text in warning for text in spelled) or (bool(codes) and all(code in warning for code in codes))


def named(done: Run, pairs: list[tuple[str, str]]) -> bool:
    """Whether a warning says "look alike" and has two such labels."""
    alike = [warning for warning in done.warnings if "look alike" in warning]
    return any(shown(one, warning) and shown(other, warning) for warning in alike for one, other in pairs)


@pytest.mark.parametrize("kind", PAIRS)
@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_two_spellings_of_a_perturbation_are_two_and_named(kind: str, form: str, table: pd.DataFrame) -> None:
    plain, odd = PAIRS[kind]
    spelled = [
        name if name == "DMSO" else (odd if plate > "Q2" else plain)(name)
        for name, plate in zip(table["Metadata_Perturbation"], table["Metadata_Plate"], strict=True)
    ]
    right = replicates(table, spelled)
    assert right[1] == 20
    done = run(write(table.assign(Metadata_Perturbation=spelled), f"two.{form}"))
    assert_score(done, right)
    assert named(done, [(plain(f"c{i:02d}"), odd(f"c{i:02d}")) for i in range(10)]), done.warnings


@pytest.mark.parametrize("column", ["Metadata_Plate", "Metadata_Batch", "Metadata_Source", "Metadata_Symbol"])
def test_other_roles_are_looked_at_too(column: str, table: pd.DataFrame) -> None:
    names = table["Metadata_Plate"].map({"Q1": "q1", "Q2": "Q1", "Q3": "Q3", "Q4": "Q4"})
    values = {"Metadata_Symbol": table["Metadata_Perturbation"].replace({"c01": "egfr", "c02": "EGFR"})}
    done = run(write(table.drop(columns="Metadata_Batch").assign(**{column: values.get(column, names)}), "two.csv"))
    assert_score(done, replicates(table))
    pair = ("egfr", "EGFR") if column == "Metadata_Symbol" else ("q1", "Q1")
    assert named(done, [pair]), done.warnings


def test_two_spellings_in_two_files_are_named(table: pd.DataFrame) -> None:
    first = table["Metadata_Plate"] <= "Q2"
    files = [
        write(table[first], "a.csv"),
        write(table[~first].assign(Metadata_Perturbation=table["Metadata_Perturbation"].str.upper()), "b.parquet"),
    ]
    done = run(files)
    assert done.score[1] == 20
    assert named(done, [(f"c{i:02d}", f"C{i:02d}") for i in range(10)]), done.warnings


def test_labels_that_differ_to_the_eye_are_no_warning(table: pd.DataFrame) -> None:
    names = ["cpd1", "cpd01", "cpd-1", "cpd_1", "1E1", "11", "12.0", "a b", "ab", "\u03b1b"]
    spelled = [name if name == "DMSO" else names[int(name[1:])] for name in table["Metadata_Perturbation"]]
    done = run(write(table.assign(Metadata_Perturbation=spelled), "plain.csv"))
    assert_score(done, replicates(table))
    assert not done.said("look alike"), done.warnings


def test_blanks_at_the_ends_are_no_two_spellings(table: pd.DataFrame) -> None:
    odd = table["Metadata_Plate"] > "Q2"
    names = table["Metadata_Perturbation"].mask(odd, table["Metadata_Perturbation"] + " \u00a0")
    done = run(write(table.assign(Metadata_Perturbation=names), "ends.csv"))
    assert_score(done, replicates(table))
    assert not done.said("look alike"), done.warnings
