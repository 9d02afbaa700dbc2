"""Projects of the Cell Painting Gallery that are laid out otherwise than its pilot, and the card of CPJUMP1."""

from __future__ import annotations

import gzip
import hashlib
import io
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import phenobench as pb
from phenobench.cards import load
from phenobench.errors import InputError
from phenobench.screens.gallery_card import GalleryCard, Table
from phenobench.screens.gallery_wells import wells_of
from tests.screens.gallery_bucket import (
    BATCH,
    BUCKET,
    CARD,
    PILOT,
    Gallery,
    fields,
    name_of,
    pixels,
    screen,
    tiff,
    write_card,
)
from tests.shared import shared


@pytest.mark.parametrize(
    "names",
    [("DNA", "ER", "RNA", "AGP", "Mito"), ("Hoechst", "ERSyto", "ERSytoBleed", "PhGolgi", "Mito")],
    ids=["stains", "filters"],
)
def test_bray_2017_is_read_by_its_own_card(gallery: Gallery, names: tuple[str, ...]) -> None:
    """Lower-case wells, paths of the machine that CellProfiler ran on, plates of the barcode table, size 520 x 696."""
    project = "cpg0012-wawer-bioactivecompoundprofiling/broad"
    columns = ("DNA", "ER", "RNA", "AGP", "Mito")
    rows = []
    for well in ("a01", "a02"):
        row: dict[str, object] = {}
        for number, (channel, column) in enumerate(zip(columns, names, strict=True), start=1):
            name = f"cdp2bioactives_{well}_s1_w{number}27df6541-0b3c-4f3a-8a7b-0123456789ab.tif"
            row[f"FileName_Orig{column}"] = name
            row[f"PathName_Orig{column}"] = "/home/ubuntu/bucket/projects/2015_Bray_GigaScience/CDRP/images/24277"
            gallery.put(
                f"{project}/images/CDRP/images/24277/{name}",
                tiff(pixels("24277", well.upper(), 1, channel, (520, 696))),
            )
        rows.append({**row, "Metadata_Plate": "24277", "Metadata_Well": well, "Metadata_Site": 1})
    gallery.put(f"{project}/workspace/load_data_csv/CDRP/24277/load_data.csv", pd.DataFrame(rows).to_csv(index=False))
    platemaps = f"{project}/workspace/metadata/platemaps/CDRP"
    gallery.put(f"{platemaps}/barcode_platemap.csv", "Assay_Plate_Barcode,Plate_Map_Name\n24277,H-BIOA-004-3\n")
    gallery.put(
        f"{platemaps}/platemap/H-BIOA-004-3.txt",
        "plate_map_name\twell_position\tbroad_sample\tmg_per_ml\tmmoles_per_liter\tsolvent\n"
        "H-BIOA-004-3\tA01\tBRD-K18250272-003-03-7\t1.2\t5.0\tDMSO\nH-BIOA-004-3\tA02\t\t0\t0\tDMSO\n",
    )
    loaded = pb.load_screen("bray2017")
    assert loaded.wells["Metadata_Well"].tolist() == ["A01", "A02"]
    assert loaded.wells["Metadata_pert_type"].tolist() == ["trt", "negcon"]
    assert loaded.wells["Metadata_Perturbation"][0] == "BRD-K18250272-003-03-7"
    for (plate, well, site), image in fields(loaded).items():
        for place, channel in enumerate(loaded.channels):
            np.testing.assert_array_equal(image[place], pixels(plate, well, int(site), channel, (520, 696)))


def test_jump_is_read_by_its_keys_and_its_table_of_controls(gallery: Gallery) -> None:
    """``well.csv.gz`` in place of platemaps, controls by ``perturbation_control``, a parquet table with S3 folders."""
    project = "cpg0016-jump/source_4"
    folder = f"{project}/images/2021_08_23_Batch12/images/BR00126114__2021-08-28T08_30_56-Measurement1/Images"
    rows = []
    for well in ("A01", "A02"):
        gallery.put(f"{folder}/{name_of(well, 1, 'DNA')}", tiff(pixels("BR00126114", well, 1, "DNA")))
        rows.append(
            {
                "Metadata_Source": "source_4",
                "Metadata_Plate": "BR00126114",
                "Metadata_Well": well,
                "Metadata_Site": "1",
                "FileName_OrigDNA": name_of(well, 1, "DNA"),
                "PathName_OrigDNA": f"s3://{BUCKET}/{folder}/",
            }
        )
    buffer = io.BytesIO()
    pd.DataFrame(rows).to_parquet(buffer)
    workspace = f"{project}/workspace/load_data_csv/2021_08_23_Batch12/BR00126114"
    gallery.put(f"{workspace}/load_data_with_illum.parquet", buffer.getvalue())
    tables = "cpg0016-jump/metadata"
    gallery.put(
        f"{tables}/well.csv",
        "Metadata_Source,Metadata_Plate,Metadata_Well,Metadata_JCP2022\nsource_4,BR00126114,A01,JCP2022_085227\n"
        "source_4,BR00126114,A02,JCP2022_033924\nsource_4,BR00126114,A03,JCP2022_999999\n"
        "source_9,BR00126114,A04,JCP2022_085227\n",
    )
    gallery.put(
        f"{tables}/perturbation_control.csv",
        "Metadata_JCP2022,Metadata_pert_type,Metadata_Name,Metadata_modality\nJCP2022_999999,empty,Empty,any\n"
        "JCP2022_033924,negcon,DMSO,compound\nJCP2022_085227,poscon,aloxistatin,compound\n",
    )
    start = CARD.index("[[tables]]")
    card = (
        CARD[:start]
        .replace('id = "pilot"', 'id = "jump"')
        .replace(PILOT, "cpg0016-jump")
        .replace(BATCH, "2021_08_23_Batch12")
        .replace('["BR00116991", "BR00116992"]', '["BR00126114"]')
        .replace('layout = "load-data"', 'layout = "load-data"\ntable = "load_data_with_illum.parquet"')
    )
    card = (
        card[: card.index("ER =")]
        + f"""
[wells]
key = "{tables}/well.csv"
on = {{ Metadata_Source = "Metadata_Source", Metadata_Plate = "Metadata_Plate", Metadata_Well = "Metadata_Well" }}

[[tables]]
key = "{tables}/perturbation_control.csv"
on = {{ Metadata_JCP2022 = "Metadata_JCP2022" }}

[roles]
perturbation = "Metadata_JCP2022"

[controls]
"""
    )
    write_card(card, "jump")
    loaded = screen("jump")
    assert loaded.wells["Metadata_pert_type"].tolist() == ["poscon", "negcon"]
    assert loaded.wells["Metadata_Source"].tolist() == ["source_4", "source_4"]
    assert loaded.dropped == {"marked empty": 1}
    np.testing.assert_array_equal(fields(loaded)["BR00126114", "A02", "1"][0], pixels("BR00126114", "A02", 1, "DNA"))


def test_the_card_of_cpjump1_labels_the_wells_of_its_plates() -> None:
    """Against the published tables: 384 wells a plate, 64 of them DMSO where there are compounds."""
    folder = shared("data", "jump_metadata", "cpjump1")
    card = load(Path(pb.__file__).parent / "screens/cpjump1.toml", GalleryCard)
    for table in card.tables:
        assert table.url is not None
        path = folder / table.url.partition("040170fff115b4cb407069cb9d4ccae20d0549ea/")[2]
        assert hashlib.sha256(path.read_bytes()).hexdigest() == table.sha256
    wells = wells_of(
        card,
        lambda key: folder / key.partition("workspace/")[2],
        lambda table: folder / str(table.url).partition("040170fff115b4cb407069cb9d4ccae20d0549ea/")[2],
    )
    plates = wells.groupby(["Metadata_Perturbation", "Metadata_Plate"])
    assert plates.size().tolist() == [384] * 40
    assert plates.ngroups == len({plate for batch in card.batches for plate in batch.plates}) == 40
    compounds = wells[(wells["Metadata_Perturbation"] == "compound") & (wells["Metadata_control_type"] == "negcon")]
    assert compounds.groupby("Metadata_Plate").size().tolist() == [64] * 16
    assert set(wells["Metadata_Cell_line"][wells["Metadata_Perturbation"] == "compound"]) == {"Parental"}
    assert wells["Metadata_gene"][wells["Metadata_Perturbation"] == "compound"].eq("").all()
    genes = wells["Metadata_gene"][
        (wells["Metadata_Perturbation"] == "crispr") & (wells["Metadata_pert_type"] == "trt")
    ]
    assert genes.ne("").all()


@pytest.mark.parametrize(
    ("kind", "source", "n_plates", "controls"),
    [
        ("ORF", "source_4", 251, {"JCP2022_915128": "negcon", "JCP2022_915132": "poscon"}),
        ("CRISPR", "source_13", 148, {"JCP2022_800001": "negcon", "JCP2022_805264": "poscon"}),
    ],
)
def test_the_cards_of_jump_find_their_plates_and_controls(
    tmp_path: Path, kind: str, source: str, n_plates: int, controls: dict[str, str]
) -> None:
    """Against the published tables; for that of the wells, which is too large, five wells a plate stand in."""
    folder = shared("data", "jump_metadata", "cpg0016_datasets")
    card = load(Path(pb.__file__).parent / "screens" / f"cpg0016-{kind.lower()}.toml", GalleryCard)
    plates = pd.read_csv(folder / "plate.csv.gz", dtype=str)
    reagents = pd.read_csv(folder / f"{kind.lower()}.csv.gz", dtype=str)
    canonical = pd.read_csv(folder / "perturbation_control.csv", dtype=str)["Metadata_JCP2022"]
    one = reagents.loc[~reagents["Metadata_JCP2022"].isin(canonical), "Metadata_JCP2022"].iloc[0]
    content = [*controls, one, "JCP2022_999999", "JCP2022_033924"]
    wells = plates.merge(pd.DataFrame({"Metadata_Well": list("ABCDE"), "Metadata_JCP2022": content}), how="cross")
    wells["Metadata_Well"] += "01"
    columns = ["Metadata_Source", "Metadata_Plate", "Metadata_Well", "Metadata_JCP2022"]
    (tmp_path / "well.csv.gz").write_bytes(gzip.compress(wells[columns].to_csv(index=False).encode()))

    def table_of(table: Table) -> Path:
        path = folder / str(table.url).rpartition("/")[2]
        if path.name == "well.csv.gz":
            return tmp_path / path.name
        assert hashlib.sha256(path.read_bytes()).hexdigest() == table.sha256
        return path

    found = wells_of(card, lambda key: pytest.fail(f"{key} is asked for"), table_of)
    wanted = plates[(plates["Metadata_Source"] == source) & (plates["Metadata_PlateType"] == kind)]
    assert len(wanted) == n_plates
    mine = found[found["Metadata_PlateType"] == kind]
    assert set(mine["Metadata_Plate"]) == set(wanted["Metadata_Plate"])
    # The folder of a plate's images is named by its batch.
    batch = dict(zip(wanted["Metadata_Plate"], wanted["Metadata_Batch"], strict=True))
    assert (mine["Metadata_Batch"] == mine["Metadata_Plate"].map(batch)).all()
    assert set(found["Metadata_Source"]) == {source}
    left_out = {f"Metadata_PlateType={other}" for other in set(found["Metadata_PlateType"]) - {kind}}
    assert left_out == set(card.exclude)
    types = mine.drop_duplicates("Metadata_JCP2022").set_index("Metadata_JCP2022")["Metadata_pert_type"]
    assert {name: types[name] for name in controls} == controls
    assert types["JCP2022_999999"] == "empty"
    assert types[one] in ("trt", "")
    assert mine.loc[mine["Metadata_JCP2022"] == one, "Metadata_Symbol"].ne("").all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (('name = "20220914_Run1"', 'name = "20220914_Run9"'), r"has no plate of batch 20220914_Run9 of source_13"),
        (("[plates]", "[[tables]]"), r"batches need plates, or the card a table of plates"),
    ],
)
def test_a_batch_without_plates_is_named(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    text = (Path(pb.__file__).parent / "screens/cpg0016-crispr.toml").read_text()
    (tmp_path / "cpg0016-crispr.toml").write_text(text.replace(*change))
    plates = "Metadata_Source,Metadata_Batch,Metadata_Plate\n" + "".join(
        f"source_13,{name},P{number}\n" for number, name in enumerate(re.findall(r'name = "(.*)"', text))
    )
    (tmp_path / "plate.csv").write_text(plates)
    with pytest.raises(InputError, match=message):
        wells_of(
            load(tmp_path / "cpg0016-crispr.toml", GalleryCard),
            lambda key: tmp_path,
            lambda table: tmp_path / "plate.csv",
        )
