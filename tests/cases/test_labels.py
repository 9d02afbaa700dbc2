"""Labels are text as their owner wrote it, in every format, role and file."""

from __future__ import annotations

import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import phenobench as pb
from tests.cases.screen import (
    FORMATS,
    Score,
    assert_refused,
    assert_score,
    compound_numbers,
    every_format,
    make,
    pca_scaled,
    renamed,
    replicates,
    run,
    same,
    targets_score,
    write,
    write_h5ad,
    write_typed,
)

# Each would be the same as its neighbour, or another thing, if it went through a number or a date.
AWKWARD = ["12:30", "12:30:00", "2024-01-05", "05.01.2024", "1E1", "10E0", "012", "12", "10.0", "10", "00", "0"]
AWKWARD += ["+5", "5", "0x10", "16", "True", "1", "110000294999123401", "110000294999123402"]
TWENTY_DIGITS = ["20230415093012345671", "20230415093012345672", "20230415093012345673", "20230415093012345674"]
PLATE_NAMES = [
    ["012", "12", "12.0", "1.2E1"],
    TWENTY_DIGITS,
    ["1E1", "10", "10.0", "10.00"],
    ["0x10", "16", "016", "+16"],
]
WITH_DOSE = "--column perturbation=Metadata_Perturbation,Metadata_Dose"


@pytest.fixture(scope="module", name="table")
def small() -> pd.DataFrame:
    return make()


@pytest.fixture(scope="module", name="awkward")
def with_awkward_names() -> tuple[pd.DataFrame, Score]:
    plain = make(compounds=len(AWKWARD), plates=3, controls=4, seed=72)
    return renamed(plain, AWKWARD), replicates(plain)


# As text


@every_format
def test_awkward_names_stay_apart_and_whole_in_every_format(form: str, awkward: tuple[pd.DataFrame, Score]) -> None:
    table, right = awkward
    assert_score(run(FORMATS[form](table, "awkward")), right)


@pytest.mark.parametrize("form", ["csv", "pandas", "h5ad"])
def test_awkward_names_beside_wells_without_one_stay_whole(form: str, awkward: tuple[pd.DataFrame, Score]) -> None:
    """A gap is what turns integers into floats."""
    table, right = awkward
    gaps = table.assign(
        Metadata_Perturbation=table["Metadata_Perturbation"].where(table["Metadata_pert_type"] == "trt")
    )
    assert_score(run(FORMATS[form](gaps, "gaps")), right)


@pytest.mark.parametrize("form", ["csv", "tsv.gz", "dictionary", "h5ad", "partitioned"])
@pytest.mark.parametrize("names", PLATE_NAMES, ids=lambda names: names[0])
def test_plates_whose_names_are_one_number_are_several(
    names: list[str], form: str, table: pd.DataFrame, right: Score
) -> None:
    other = table.assign(
        Metadata_Plate=table["Metadata_Plate"].map(dict(zip(["Q1", "Q2", "Q3", "Q4"], names, strict=True)))
    )
    assert_score(run(FORMATS[form](other, "plates")), right)


@pytest.mark.parametrize("names", [("1E1", "10"), ("01", "1"), ("2024-01-05", "2024-01-05 00:00:00"), ("True", "1")])
def test_batches_whose_names_are_one_value_are_two(names: tuple[str, str], table: pd.DataFrame) -> None:
    batches = table["Metadata_Batch"].map(dict(zip(["week1", "week2"], names, strict=True)))
    right = replicates(table, X=pca_scaled(table, batches))
    assert not same(right, replicates(table, X=pca_scaled(table, ["one"] * len(table))))
    for name in ("batches.csv", "batches.h5ad"):
        assert_score(run(write(table.assign(Metadata_Batch=batches), name), how="pca-cs"), right)


def test_sources_tell_plates_of_one_name_apart(table: pd.DataFrame, right: Score) -> None:
    number = table["Metadata_Plate"].str[1:].astype(int)
    other = table.assign(
        Metadata_Plate=np.where(number % 2, "07", "7"), Metadata_Source=np.where(number > 2, "01", "1")
    ).drop(columns="Metadata_Batch")
    for name in ("sources.csv", "sources.parquet", "sources.h5ad"):
        assert_score(run(write(other, name)), right)


@pytest.mark.parametrize("names", [("1E1", "10", "10.0"), ("012", "12", "0012"), ("2-Mar", "2024-03-02", "Mar-2")])
def test_genes_and_targets_whose_names_are_one_value_are_several(names: tuple[str, str, str]) -> None:
    table = make(compounds=12, plates=2, controls=3, seed=73)
    numbers = compound_numbers(table)
    of = {f"c{i:02d}": [names[i % 3]] for i in range(12)}
    genes = {name: of[name] for name in [*of][6:]}
    table["Metadata_Target"] = [names[i % 3] if 0 <= i < 6 else None for i in numbers]
    table["Metadata_Symbol"] = [names[i % 3] if i >= 6 else None for i in numbers]
    compounds = {name: of[name] for name in [*of][:6]}
    for name in ("named.csv", "named.parquet"):
        done = run(write(table, name), task="target-matching")
        assert_score(done, targets_score(table, compounds), "compounds")
        assert_score(done, targets_score(table, genes), "genes")


def test_blanks_at_the_ends_are_cut_and_those_inside_stay(table: pd.DataFrame, right: Score) -> None:
    odd = (table["Metadata_Plate"] > "Q2").tolist()
    names = [f"\u00a0{name} \t" if cut else name for name, cut in zip(table["Metadata_Perturbation"], odd, strict=True)]
    for name in ("blanks.csv", "blanks.parquet", "blanks.h5ad"):
        assert_score(run(write(table.assign(Metadata_Perturbation=names), name)), right)


def test_a_condition_names_a_label_as_it_is_written(awkward: tuple[pd.DataFrame, Score]) -> None:
    table, _ = awkward
    rest = table[table["Metadata_Perturbation"] != "012"].reset_index(drop=True)
    for name in ("text.csv", "text.parquet"):
        done = run(write(table, name), "--exclude Metadata_Perturbation=012")
        assert_score(done, replicates(rest))
        assert sum(done.dropped.values()) == 3, done.dropped
    assert_refused(run("text.csv", "--exclude Metadata_Perturbation=0012"), "0012")


@pytest.mark.parametrize("control", ["00", "1E0", "+5"])
def test_controls_are_named_as_they_are_written(control: str, table: pd.DataFrame, right: Score) -> None:
    other = renamed(table, ["0", "1", "5", *[f"{i:03d}" for i in range(3, 10)]], control)
    path = write(other.drop(columns="Metadata_pert_type"), "named.csv")
    assert_score(run(path, f"--negcon Metadata_Perturbation={control}"), right)


# As numbers, which have no spelling of their own


@pytest.mark.parametrize(
    "kind",
    [
        pa.int8(),
        pa.uint64(),
        pa.float32(),
        pa.float64(),
        pa.decimal128(20, 0),
        pa.decimal128(22, 3),
        pa.dictionary(pa.int8(), pa.int64()),
    ],
    ids=str,
)
def test_whole_numbers_are_one_label_whatever_their_type(kind: pa.DataType, table: pd.DataFrame, right: Score) -> None:
    numbered = renamed(table, range(10), None)
    first = table["Metadata_Plate"] <= "Q2"
    write_typed(numbered[~first], "b.parquet", Metadata_Perturbation=pa.int32())
    if pa.types.is_dictionary(kind):
        of = numbered[first]["Metadata_Perturbation"].tolist()
        parts = numbered[first].drop(columns="Metadata_Perturbation")
        whole = pa.Table.from_pandas(parts, preserve_index=False)
        pa.parquet.write_table(
            whole.append_column("Metadata_Perturbation", pa.array(of, pa.int64()).dictionary_encode()), "a.parquet"
        )
    else:
        write_typed(numbered[first], "a.parquet", Metadata_Perturbation=kind)
    assert_score(run(["a.parquet", "b.parquet"]), right)


@pytest.mark.parametrize("dtype", ["Int64", "UInt64", "string"])
def test_identifiers_of_eighteen_digits_beside_a_gap_stay_whole(dtype: str, table: pd.DataFrame, right: Score) -> None:
    digits = [110000294999123400 + i for i in range(10)]
    labels = [None if i < 0 else digits[i] for i in compound_numbers(table)]
    text = dtype == "string"
    column = pd.Series([str(label) if text and label is not None else label for label in labels], dtype=dtype)
    assert_score(run(write(table.assign(Metadata_Perturbation=column), "ids.parquet")), right)


def test_unsigned_and_decimal_identifiers_beyond_64_bits_stay_whole(table: pd.DataFrame, right: Score) -> None:
    plates = dict(zip(["Q1", "Q2", "Q3", "Q4"], TWENTY_DIGITS, strict=True))
    decimals = table.assign(Metadata_Plate=table["Metadata_Plate"].map(plates).map(Decimal))
    path = write_typed(decimals, "decimals.parquet", Metadata_Plate=pa.decimal128(20, 0))
    assert_score(run(path), right)
    large = renamed(table, [2**64 - 1 - i for i in range(10)], None)
    assert_score(run(write_typed(large, "large.parquet", Metadata_Perturbation=pa.uint64())), right)


def test_what_a_float_has_lost_is_said_with_the_column(table: pd.DataFrame) -> None:
    numbers = [np.nan if i < 0 else 110000294999123400.0 + i for i in compound_numbers(table)]
    done = run(write(table.assign(Metadata_Perturbation=numbers), "floats.parquet"))
    assert "Metadata_Perturbation" in done.output
    assert done.code == 2 or done.said("Metadata_Perturbation"), done.output
    plates = table["Metadata_Plate"].map({f"Q{i}": 2.0**53 + 4 * i for i in range(1, 5)})
    done = run(write(table.assign(Metadata_Plate=plates), "plates.parquet"))
    assert done.said("Metadata_Plate"), done.warnings


def test_what_a_float_has_not_lost_is_not_said(table: pd.DataFrame, right: Score) -> None:
    numbers = [np.nan if i < 0 else 9000000.0 + i for i in compound_numbers(table)]
    done = run(write(table.assign(Metadata_Perturbation=numbers), "floats.parquet"))
    assert_score(done, right)
    assert not done.said("digits"), done.warnings


@pytest.mark.parametrize("values", [(0.1, 10.0, 2.5), (1e-7, 3.3333333, 7.0), (0.3, 1e6, 0.05)])
def test_a_dose_is_one_label_in_float32_and_float64(
    values: tuple[float, ...], table: pd.DataFrame, right: Score
) -> None:
    doses = [None if i < 0 else values[i % 3] for i in compound_numbers(table)]
    dosed = table.assign(Metadata_Dose=pd.array(doses, "Float64"))
    first = dosed["Metadata_Plate"] <= "Q2"
    narrow = dosed[first].assign(Metadata_Dose=dosed[first]["Metadata_Dose"].astype("Float32"))
    assert_score(run([write(narrow, "a.parquet"), write(dosed[~first], "b.parquet")], WITH_DOSE), right)


@pytest.mark.parametrize("spelled", ["{:.1f}", "{:.2f}", "{:g}"])
def test_a_number_takes_the_spelling_of_a_text_elsewhere(spelled: str, table: pd.DataFrame, right: Score) -> None:
    doses = [np.nan if i < 0 else (10.0, 1.0, 2.0)[i % 3] for i in compound_numbers(table)]
    dosed = table.assign(Metadata_Dose=doses)
    first = dosed["Metadata_Plate"] <= "Q2"
    texts = [None if value != value else spelled.format(value) for value in dosed[~first]["Metadata_Dose"]]
    for name in ("a.parquet", "a.h5ad"):
        files = [
            write(dosed[first], name),
            write(dosed[~first].assign(Metadata_Dose=np.array(texts, dtype=object)), "b.csv"),
        ]
        assert_score(run(files, WITH_DOSE), right)


def test_padded_identifiers_are_those_that_another_file_keeps_as_integers(table: pd.DataFrame, right: Score) -> None:
    first = table["Metadata_Plate"] <= "Q2"
    integers = renamed(table, range(1, 11), None)
    padded = renamed(table, [f"{i:05d}" for i in range(1, 11)], "")
    files = [
        write_typed(integers[first], "a.parquet", Metadata_Perturbation=pa.int64()),
        write(padded[~first], "b.csv"),
    ]
    assert_score(run(files), right)


def test_a_number_that_two_texts_equal_takes_neither(table: pd.DataFrame) -> None:
    """Where "10" and "10.0" are two doses, nothing says which of them the number is: it has its own spelling."""
    numbers = compound_numbers(table)
    plates = table["Metadata_Plate"].tolist()
    texts = ["" if i < 0 else ("10" if plate == "Q2" else "10.0") for i, plate in zip(numbers, plates, strict=True)]
    dosed = table.assign(Metadata_Dose=texts)
    floats = table.assign(Metadata_Dose=[np.nan if i < 0 else 10.0 for i in numbers])
    first = table["Metadata_Plate"] == "Q1"
    done = run([write(floats[first], "a.parquet"), write(dosed[~first], "b.csv")], WITH_DOSE)
    labels = [
        f"{name} {'10' if plate == 'Q2' else '10.0'}"
        for name, plate in zip(table["Metadata_Perturbation"], plates, strict=True)
    ]
    assert_score(done, replicates(table, labels))


def test_two_spellings_in_text_are_two_labels(table: pd.DataFrame) -> None:
    odd = table["Metadata_Plate"] > "Q2"
    texts = np.where(odd, "10", "10.0")
    dosed = table.assign(Metadata_Dose=texts)
    right = replicates(table, table["Metadata_Perturbation"] + texts)
    assert right[1] == 20
    assert_score(run(write(dosed, "whole.csv"), WITH_DOSE), right)
    assert_score(run([write(dosed[~odd], "a.csv"), write(dosed[odd], "b.csv")], WITH_DOSE), right)


def test_a_column_of_digits_is_typed_for_all_files_at_once(table: pd.DataFrame, right: Score) -> None:
    """In two files digits alone, in two beside a text."""
    named = renamed(table, [f"{i:05d}" for i in range(10)])
    named["Metadata_Dose"] = ["vehicle" if i < 0 else ["1.0", "10.0", "2.50"][i % 3] for i in compound_numbers(table)]
    Path("files").mkdir()
    for i, (_, rows) in enumerate(named.groupby("Metadata_Plate")):
        if i < 2:
            control = rows["Metadata_pert_type"] == "negcon"
            columns = ["Metadata_Perturbation", "Metadata_Dose"]
            rows = rows.assign(**{name: rows[name].mask(control, "") for name in columns})
        write(rows, f"files/{i}{['.csv', '.tsv', '.csv.gz', '.parquet'][i]}")
    assert_score(run("files"), right)
    assert_score(run("files", WITH_DOSE), right)


@pytest.mark.parametrize("kind", ["date", "timestamp", "time", "boolean", "duration"])
def test_dates_times_and_truths_are_labels(kind: str, table: pd.DataFrame) -> None:
    days = [datetime.date(2024, 1, 5), datetime.date(2024, 5, 1)]
    values: dict[str, list[Any]] = {
        "date": days,
        "timestamp": [datetime.datetime(2024, 1, 5, 12, 30), datetime.datetime(2024, 1, 5, 12, 30, 1)],  # noqa: DTZ001
        "time": [datetime.time(12, 30), datetime.time(12, 31)],
        "boolean": [True, False],
        "duration": [datetime.timedelta(hours=24), datetime.timedelta(hours=48)],
    }
    right = replicates(table, X=pca_scaled(table, table["Metadata_Batch"]))
    batches = [values[kind][int(name[-1]) - 1] for name in table["Metadata_Batch"]]
    whole = pa.Table.from_pandas(table.drop(columns="Metadata_Batch"), preserve_index=False)
    pa.parquet.write_table(whole.append_column("Metadata_Batch", pa.array(batches)), "batches.parquet")
    assert_score(run("batches.parquet", how="pca-cs"), right)


def test_a_date_is_the_text_that_csv_has_of_it(table: pd.DataFrame, right: Score) -> None:
    days = [datetime.date(2024, 1, 1 + i) for i in range(10)]
    first = table["Metadata_Plate"] <= "Q2"
    dated = renamed(table, days, None)
    a = write_typed(dated[first], "a.parquet", Metadata_Perturbation=pa.date32())
    b = write(renamed(table, [day.isoformat() for day in days], "")[~first], "b.csv")
    assert_score(run([a, b]), right)
    c = write_typed(dated[first], "c.parquet", Metadata_Perturbation=pa.timestamp("ns"))
    assert_score(run([c, b]), right)


@pytest.mark.parametrize("values", [range(10), [i / 10 for i in range(10)], [f"{i:02d}" for i in range(10)]], ids=str)
def test_categories_of_h5ad_are_labels_whatever_they_are_of(values: Any, table: pd.DataFrame, right: Score) -> None:
    named = renamed(table, [*values], None)
    column = named["Metadata_Perturbation"].infer_objects().astype("category")
    assert_score(run(write_h5ad(named.assign(Metadata_Perturbation=column), "a.h5ad")), right)


# Tables other than profiles


def test_a_folder_of_images_keeps_labels_as_they_are_written() -> None:
    folder = Path("images")
    folder.mkdir()
    (folder / "a.png").write_bytes(imagecodecs.png_encode(np.arange(4096, dtype=np.uint8).reshape(64, 64)))
    names = ["1E1", "10", "10.0", "012", "12:30", "110000294999123401", "N/A"]
    rows = [
        {
            "Metadata_Plate": plate,
            "Metadata_Well": f"A{i + 1}",
            "Metadata_Site": "1",
            "channel": "DNA",
            "path": "a.png",
            "Metadata_Perturbation": name,
            "Metadata_Batch": plate + ".0",
        }
        for plate in ("07", "7")
        for i, name in enumerate(names)
    ]
    pd.DataFrame(rows).to_csv(folder / "screen.csv", index=False)
    wells = pb.load_screen(str(folder)).wells
    assert sorted(set(wells["Metadata_Plate"])) == ["07", "7"]
    assert sorted(set(wells["Metadata_Batch"])) == ["07.0", "7.0"]
    assert sorted(wells["Metadata_Perturbation"].dropna()) == sorted(2 * names[:-1])
