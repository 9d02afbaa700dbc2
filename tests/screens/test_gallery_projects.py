"""Projects of the Cell Painting Gallery that are laid out otherwise than its pilot, and the card of CPJUMP1."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np
import pandas as pd

import phenobench as pb
from phenobench.cards import load
from phenobench.screens.gallery_card import GalleryCard
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


def test_bray_2017_is_read_by_its_own_card(gallery: Gallery) -> None:
    """Lower-case wells, paths of the machine that CellProfiler ran on, plates of the barcode table, size 520 x 696."""
    project = "cpg0012-wawer-bioactivecompoundprofiling/broad"
    columns = ("DNA", "ER", "RNA", "AGP", "Mito")
    rows = []
    for well in ("a01", "a02"):
        row: dict[str, object] = {}
        for number, channel in enumerate(columns, start=1):
            name = f"cdp2bioactives_{well}_s1_w{number}27df6541-0b3c-4f3a-8a7b-0123456789ab.tif"
            row[f"FileName_Orig{channel}"] = name
            row[f"PathName_Orig{channel}"] = "/home/ubuntu/bucket/projects/2015_Bray_GigaScience/CDRP/images/24277"
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
