"""RxRx3-core from a hub on this machine that holds a small stand-in of the data set, in its layout and under its names.

The true data set is not here: layout, columns and counts are those of its page and of its published benchmark.
"""

from __future__ import annotations

import io
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from zlib import crc32

import imagecodecs
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.decomposition import PCA
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.preprocessing import StandardScaler
from typer.testing import CliRunner, Result

from phenobench.cli import app
from phenobench.errors import InputError
from phenobench.lock import lock_path
from phenobench.profiles.reading import Reading
from phenobench.results import read_result
from phenobench.screens import Screen, load_screen
from tests.hub_server import COMMIT, Hub, serve_hub
from tests.test_hub import point_to

REPOSITORY = "recursionpharma/rxrx3-core"
METADATA = "metadata_rxrx3_core.csv"
EMBEDDINGS = "OpenPhenom_rxrx3_core_embeddings.parquet"
SHARDS = [f"data/train-{number:05d}-of-00035.parquet" for number in range(35)]
GENES = [f"G{number}" for number in range(12)]
SIDE = 64
ACCEPT = ("--accept-licence", "rxrx3-core")


def phenobench(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def refused(done: Result) -> str:
    assert done.exit_code == 2, done.output
    (sentence,) = [line for line in done.stderr.splitlines() if line.startswith("phenobench: ")]
    return sentence


def refusal(screen: str, root: Path) -> str:
    with pytest.raises(InputError) as caught:
        load_screen(screen, root)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def make_table() -> pd.DataFrame:
    """The columns of the published table: 2 gene experiments of 2 plates, and one of compounds of 1 plate."""
    rows = []
    for experiment, plates in (("compound-001", 1), ("gene-001", 2), ("gene-002", 2)):
        genes = experiment.startswith("gene")
        treated: list[tuple[str, str | None, float | None]] = []
        if genes:
            treated += [(f"{gene}_guide_{guide}", gene, None) for gene in GENES for guide in (1, 2)]
        else:
            treated += [(name, None, dose) for name in ("Phloretin", "BI 2536") for dose in (0.25, 10.0)]
            treated += [("Odd one", None, dose) for dose in (0.002, 0.026, 0.26, 2.6)]
            treated += [("CRISPR_control", None, None)] * 3
        treated += [("EMPTY_control", "EMPTY_control" if genes else None, None)] * 6
        for plate in range(1, plates + 1):
            for place, (treatment, gene, dose) in enumerate(treated):
                address = f"{['B', 'Z', 'AA'][place % 3]}{place // 3 + 2:02d}"
                rows.append(
                    {
                        "well_id": f"{experiment}_{plate}_{address}",
                        "experiment_name": experiment,
                        "plate": plate,
                        "address": address,
                        "gene": gene,
                        "treatment": treatment,
                        "SMILES": "CCO |c:9|" if dose else None,
                        "concentration": dose,
                        "perturbation_type": "CRISPR" if genes else "COMPOUND",
                        "cell_type": "HUVEC",
                        "well_type_label": "Query guides" if genes else None,
                    }
                )
    # The published table is in no order.
    return pd.DataFrame(rows).sample(frac=1, random_state=3, ignore_index=True)


TABLE = make_table()


def make_pixels(number: int, channel: int) -> np.ndarray:
    """Of the well in a row of the table: no two are the same, and those of a treatment have one brightness."""
    treatment = crc32(str(TABLE["treatment"].iloc[number]).encode())
    darkest = np.random.default_rng([treatment, channel]).integers(100)
    noise = np.random.default_rng([number, channel]).integers(0, 100, (SIDE, SIDE))
    return (darkest + noise).astype(np.uint8)


def encode(pixels: np.ndarray) -> bytes:
    return bytes(imagecodecs.jpeg2k_encode(pixels, codecformat="jp2", reversible=True))


def make_images(table: pd.DataFrame) -> list[tuple[str, bytes]]:
    """Keys and encoded images, in the order of the keys."""
    images = [
        (
            f"{well.experiment_name}/Plate{well.plate}/{well.address}_s1_{channel}",
            encode(make_pixels(number, channel)),
        )
        for number, well in enumerate(table.itertuples())
        for channel in range(1, 7)
    ]
    return sorted(images)


def make_shards(images: list[tuple[str, bytes]], *, bare: bool = False) -> dict[str, bytes]:
    """Shards as the hub writes images, cut wherever it falls: inside wells, and a row group is no well either."""
    shards = {}
    for name, part in zip(SHARDS, np.array_split(np.arange(len(images)), len(SHARDS)), strict=True):
        keys, encoded = zip(*(images[place] for place in part), strict=True)
        column = pa.array(
            [{"bytes": image, "path": f"{key}.jp2"} for key, image in zip(keys, encoded, strict=True)],
            pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
        )
        if bare:
            column = pa.array(encoded, pa.binary())
        buffer = io.BytesIO()
        pq.write_table(pa.table({"__key__": pa.array(keys, pa.string()), "jp2": column}), buffer, row_group_size=4)
        shards[name] = buffer.getvalue()
    return shards


def make_embeddings(table: pd.DataFrame) -> pd.DataFrame:
    """16 features of each well: of its gene or compound and dose, of its experiment, and of nothing."""
    rng = np.random.default_rng(4)
    names = table["treatment"].str.split("_guide").str[0] + table["concentration"].astype(str)
    parts = [names, table["experiment_name"]]
    means = sum(rng.standard_normal((column.nunique(), 16))[pd.factorize(column, sort=True)[0]] for column in parts)
    features = pd.DataFrame(means + 0.5 * rng.standard_normal((len(table), 16)), dtype=np.float32)
    features.columns = [f"feature_{number}" for number in range(16)]
    return pd.concat([table[["well_id"]], features], axis=1).sort_values("well_id", ignore_index=True)


IMAGES = make_images(TABLE)
VECTORS = make_embeddings(TABLE)
FILES = {
    METADATA: TABLE.to_csv(index=False).encode(),
    EMBEDDINGS: VECTORS.to_parquet(index=False),
    **make_shards(IMAGES),
}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # of the hub's client between two tries
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serve_hub({f"datasets/{REPOSITORY}/{name}": body for name, body in FILES.items()}) as running:
        point_to(running.address, monkeypatch)
        yield running


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The files as a user would have them who fetched them in another way."""
    folder = tmp_path / "rxrx3-core"
    (folder / "data").mkdir(parents=True)
    for name, body in FILES.items():
        (folder / name).write_bytes(body)
    return folder


def rewrite(root: Path, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    change(TABLE).to_csv(root / METADATA, index=False)


def reshard(root: Path, images: list[tuple[str, bytes]]) -> None:
    for name, body in make_shards(images).items():
        (root / name).write_bytes(body)


def key_of(screen: Screen, row: int) -> str:
    well = screen.wells.iloc[row]
    plate = well["Metadata_Plate"].rpartition("_")[2]
    return f"{well['Metadata_Batch']}/Plate{plate}/{well['Metadata_Well']}"


def check_pixels(screen: Screen, rows: pd.DataFrame) -> None:
    assert screen.images is not None
    number = {well: place for place, well in enumerate(TABLE["well_id"])}
    found = list(screen.images(rows))
    assert [(image.row, image.site) for image in found] == [(row, "1") for row in rows.index]
    for image in found:
        place = number[screen.wells["Metadata_well_id"].iloc[image.row]]
        expected = np.stack([make_pixels(place, channel) for channel in range(1, 7)])
        assert np.array_equal(image.pixels, expected)


def test_nothing_is_asked_of_the_hub_before_the_licence_is_accepted(hub: Hub) -> None:
    said = refused(phenobench("data", "get", "rxrx3-core"))
    for part in ("non-commercial", f"https://huggingface.co/datasets/{REPOSITORY}", "--accept-licence rxrx3-core"):
        assert part in said
    assert "--accept-licence rxrx3-core" in refused(phenobench("data", "get", "rxrx3-core-openphenom"))
    said = refused(phenobench("run", "--screen", "rxrx3-core", "--model", "random", *ACCEPT))
    assert "36" in said
    assert "`phenobench data get rxrx3-core --accept-licence rxrx3-core`" in said
    assert hub.asked == []


def test_a_screen_that_was_fetched_has_its_files_at_one_commit_and_is_scored(hub: Hub) -> None:
    done = phenobench("data", "get", "rxrx3-core", *ACCEPT)
    assert done.exit_code == 0, done.output
    paths = [Path(line) for line in done.stdout.splitlines()]
    assert [path.read_bytes() for path in paths] == [FILES[name] for name in (METADATA, *SHARDS)]
    assert len(hub.got()) == 36
    screen = load_screen("rxrx3-core")
    assert screen.revision == COMMIT
    check_pixels(screen, screen.wells)

    hub.asked.clear()
    run = ("run", "--screen", "rxrx3-core", "--model", "pixel-statistics", "--task", "replicate-retrieval")
    done = phenobench(*run, "--normalization", "center", "--results", "results")
    assert done.exit_code == 0, done.output
    (path,) = Path("results").rglob("replicate-retrieval.json")
    result = read_result(path)
    assert result.screen.revision == COMMIT
    assert result.screen.n_plates == 5
    # The images of a guide's wells are alike in brightness, on all plates.
    assert result.scores[0].n == 2 * len(GENES)
    assert result.scores[0].ci_low > 2 * result.scores[0].chance
    assert hub.asked == []


def test_another_file_than_the_recorded_one_is_not_kept(hub: Hub) -> None:
    done = phenobench("data", "get", "rxrx3-core-openphenom", *ACCEPT)
    metadata, embeddings = map(Path, done.stdout.splitlines())
    assert metadata.read_bytes() == FILES[METADATA]
    assert set(tomllib.loads(lock_path().read_text())) == {f"{REPOSITORY}/{METADATA}", f"{REPOSITORY}/{EMBEDDINGS}"}
    embeddings.resolve().unlink()
    embeddings.unlink()
    hub.files[f"datasets/{REPOSITORY}/{EMBEDDINGS}"] = FILES[EMBEDDINGS] + b"more"
    said = refused(phenobench("data", "get", "rxrx3-core-openphenom", *ACCEPT))
    assert f"the hub gave {REPOSITORY}/{EMBEDDINGS} with sha256" in said
    assert "recorded in" in said
    assert "has not been fetched" in refused(phenobench("run", "--screen", "rxrx3-core-openphenom"))


def test_a_shard_that_was_damaged_in_the_cache_is_named_and_fetched_again(hub: Hub) -> None:
    shard = Path(phenobench("data", "get", "rxrx3-core", *ACCEPT).stdout.splitlines()[4])
    shard.resolve().write_bytes(FILES[SHARDS[3]][:-100])
    with pytest.raises(InputError, match=r"train-00003-of-00035\.parquet cannot be read as parquet .* fetch it again"):
        load_screen("rxrx3-core")
    hub.asked.clear()
    # The connection ends half-way once more.
    hub.cut.add(f"datasets/{REPOSITORY}/{SHARDS[3]}")
    assert phenobench("data", "get", "rxrx3-core", *ACCEPT).exit_code == 0
    assert {request.split()[1].rpartition("/")[2] for request in hub.got()} == {Path(SHARDS[3]).name}
    screen = load_screen("rxrx3-core")
    check_pixels(screen, screen.wells.iloc[:9])


def test_wells_have_their_roles_and_those_left_out_are_counted(root: Path) -> None:
    screen = load_screen("rxrx3-core", root)
    assert screen.channels == ("DNA", "ER", "Actin", "RNA", "Mito", "Golgi")
    assert screen.dropped == {
        "excluded Metadata_Treatment=CRISPR_control": 3,
        **{f"excluded Metadata_Concentration={dose}": 1 for dose in ("0.002", "0.026", "0.26", "2.6")},
    }
    wells = screen.wells.set_index("Metadata_well_id")
    assert len(wells) == len(TABLE) - 7
    truth = TABLE.set_index("well_id").loc[wells.index]
    assert (wells["Metadata_Plate"] == truth["experiment_name"] + "_" + truth["plate"].astype(str)).all()
    assert (wells["Metadata_Batch"] == truth["experiment_name"]).all()
    assert (wells["Metadata_Well"] == truth["address"]).all()
    controls = truth["treatment"] == "EMPTY_control"
    assert ((wells["Metadata_pert_type"] == "negcon") == controls).all()
    genes = truth["gene"].where(~controls)
    assert wells["Metadata_Symbol"].fillna("").tolist() == genes.fillna("").tolist()
    compounds = wells.loc[truth["perturbation_type"] == "COMPOUND", "Metadata_Perturbation"]
    assert set(compounds) == {"Phloretin,0.25", "Phloretin,10.0", "BI 2536,0.25", "BI 2536,10.0", "EMPTY_control"}
    assert set(wells.loc[genes.notna(), "Metadata_Perturbation"]) == {f"{g}_guide_{n}" for g in GENES for n in (1, 2)}
    keys = screen.wells[["Metadata_Plate", "Metadata_Well"]]
    assert keys.equals(keys.sort_values(["Metadata_Plate", "Metadata_Well"], ignore_index=True))


def test_images_of_some_wells_are_read_without_the_others(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = load_screen("rxrx3-core", root)
    read: list[int] = []
    original = pq.ParquetFile.read_row_group

    def counted(self: pq.ParquetFile, i: int, columns: list[str]) -> pa.Table:
        read.append(i)
        return original(self, i, columns=columns)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", counted)
    check_pixels(screen, screen.wells.iloc[[40]])
    # Six images lie in at most three row groups of four, or four where a shard ends between.
    assert 2 <= len(read) <= 4
    check_pixels(screen, screen.wells.iloc[[70, 3, 69]])


def test_bytes_without_a_struct_around_them_are_read_as_well(root: Path) -> None:
    for name, body in make_shards(IMAGES, bare=True).items():
        (root / name).write_bytes(body)
    screen = load_screen("rxrx3-core", root)
    check_pixels(screen, screen.wells.iloc[::9])


def test_exclusions_of_ones_own_are_added_to_the_cards(root: Path) -> None:
    whole = load_screen("rxrx3-core", root)
    screen = load_screen("rxrx3-core", root, reading=Reading(exclude=("Metadata_Batch=gene-002",)))
    assert set(screen.wells["Metadata_Batch"]) == {"compound-001", "gene-001"}
    assert screen.dropped == {**whole.dropped, "excluded Metadata_Batch=gene-002": 2 * (2 * len(GENES) + 6)}
    check_pixels(screen, screen.wells.iloc[::20])


def test_a_block_of_wells_ends_where_memory_is_to(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("phenobench.screens.rxrx3_core._WELLS_AT_ONCE", 7)
    screen = load_screen("rxrx3-core", root)
    check_pixels(screen, screen.wells)


def test_a_folder_and_the_hub_are_the_same_screen(hub: Hub, root: Path) -> None:
    assert phenobench("data", "get", "rxrx3-core", *ACCEPT).exit_code == 0
    fetched, given = load_screen("rxrx3-core"), load_screen("rxrx3-core", root)
    assert fetched.wells.equals(given.wells)
    assert fetched.images_sha256 == given.images_sha256
    # Another pixel is another screen.
    place = 100
    other = encode(np.zeros((SIDE, SIDE), np.uint8))
    reshard(root, [*IMAGES[:place], (IMAGES[place][0], other), *IMAGES[place + 1 :]])
    assert load_screen("rxrx3-core", root).images_sha256 != given.images_sha256


def test_wells_without_images_and_images_without_wells_are_counted(root: Path) -> None:
    whole = load_screen("rxrx3-core", root)
    lost = key_of(whole, 5)
    kept = [image for image in IMAGES if not image[0].startswith(f"{lost}_")]
    # Keys of another form, and of a channel that there is not.
    reshard(root, [*kept, ("notes", IMAGES[0][1]), (f"{key_of(whole, 6)}_s1_7", IMAGES[0][1])])
    unknown = TABLE["well_id"] == whole.wells["Metadata_well_id"].iloc[80]
    rewrite(root, lambda table: table[~unknown])
    screen = load_screen("rxrx3-core", root)
    assert screen.dropped == {**whole.dropped, "metadata without images": 1, "images without metadata": 3}
    assert len(screen.wells) == len(whole.wells) - 2
    check_pixels(screen, screen.wells)
    assert screen.left_out is not None
    listed = {
        str(reason): of_reason[["Metadata_Plate", "Metadata_Well"]].to_numpy().tolist()
        for reason, of_reason in screen.left_out.groupby("reason")
    }
    without = whole.wells.iloc[5]
    assert listed["metadata without images"] == [[without["Metadata_Plate"], without["Metadata_Well"]]]
    assert listed["images without metadata"][-1] == key_of(whole, 80).rsplit("/", 1)
    excluded = TABLE.loc[TABLE["treatment"] == "CRISPR_control", "address"]
    assert [well for _, well in listed["excluded Metadata_Treatment=CRISPR_control"]] == sorted(excluded)


def test_an_image_that_cannot_be_decoded_is_damage_of_its_well_alone(root: Path) -> None:
    whole = load_screen("rxrx3-core", root)
    colour = bytes(imagecodecs.jpeg2k_encode(np.zeros((SIDE, SIDE, 3), np.uint8), codecformat="jp2"))
    smaller = encode(np.zeros((SIDE, SIDE // 2), np.uint8))
    broken = {5: (3, IMAGES[0][1][:60]), 30: (6, b""), 31: (1, colour), 32: (2, smaller)}
    keys = {f"{key_of(whole, row)}_s1_{channel}": body for row, (channel, body) in broken.items()}
    reshard(root, [(key, keys.get(key, image)) for key, image in IMAGES])
    screen = load_screen("rxrx3-core", root)
    assert screen.images is not None
    damaged = {field.row: field.damage for field in screen.images(screen.wells) if field.damage}
    assert list(damaged) == list(broken)
    for row, (channel, _) in broken.items():
        assert str(damaged[row]).startswith(f"{screen.channels[channel - 1]} of {key_of(whole, row)} ")
    check_pixels(screen, screen.wells.drop(index=list(broken)))


def test_a_well_that_lacks_a_channel_is_named(root: Path) -> None:
    well = key_of(load_screen("rxrx3-core", root), 9)
    reshard(root, [image for image in IMAGES if image[0] != f"{well}_s1_4"])
    said = refusal("rxrx3-core", root)
    assert f"the well {well} has no image of the channel RNA" in said
    assert "(1 such wells)" in said


def test_an_image_that_is_there_twice_is_refused(root: Path) -> None:
    reshard(root, [*IMAGES, IMAGES[7]])
    assert "data/train-00034-of-00035.parquet has an image that is there already" in refusal("rxrx3-core", root)


@pytest.mark.parametrize(
    ("name", "body", "said"),
    [
        (SHARDS[3], FILES[SHARDS[3]][:-40], r"train-00003-of-00035\.parquet cannot be read as parquet .* truncated"),
        (SHARDS[3], b"", r"train-00003-of-00035\.parquet cannot be read as parquet"),
        (SHARDS[3], FILES[EMBEDDINGS], r"train-00003-of-00035\.parquet has no column '__key__' \(it has well_id"),
        (METADATA, b"", r"metadata_rxrx3_core\.csv is empty"),
        (METADATA, FILES[METADATA].replace(b"address", b"adress", 1), r"has no column 'address'; it has well_id"),
        (METADATA, FILES[METADATA] + FILES[METADATA].splitlines(keepends=True)[-1], r"the well \S+ is there twice"),
    ],
)
def test_a_damaged_file_is_named(root: Path, name: str, body: bytes, said: str) -> None:
    (root / name).write_bytes(body)
    with pytest.raises(InputError, match=said):
        load_screen("rxrx3-core", root)


def test_a_damaged_table_of_embeddings_is_named(root: Path) -> None:
    path = root / EMBEDDINGS
    path.write_bytes(FILES[EMBEDDINGS][:-50])
    assert f"{path} cannot be read" in refusal("rxrx3-core-openphenom", root)
    pd.concat([VECTORS, VECTORS.tail(1)]).to_parquet(path)
    assert "is there twice" in refusal("rxrx3-core-openphenom", root)
    VECTORS.rename(columns={"well_id": "well"}).drop(columns="well").to_parquet(path)
    assert "has no column 'well_id'" in refusal("rxrx3-core-openphenom", root)
    VECTORS.assign(well_id=[f"x{n}" for n in range(len(VECTORS))]).to_parquet(path)
    assert "no well of" in refusal("rxrx3-core-openphenom", root)


def test_a_folder_that_lacks_files_is_told_which(root: Path) -> None:
    for name in SHARDS[2:4]:
        (root / name).unlink()
    assert f"{root / SHARDS[2]} is not there, one of 2 absent files of rxrx3-core" in refusal("rxrx3-core", root)
    # Embeddings need no images.
    assert load_screen("rxrx3-core-openphenom", root).embeddings is not None


def test_embeddings_are_of_the_wells_that_the_images_are_of(root: Path) -> None:
    images, screen = load_screen("rxrx3-core", root), load_screen("rxrx3-core-openphenom", root)
    assert screen.wells.equals(images.wells)
    assert screen.dropped == images.dropped
    assert screen.model == "openphenom-precomputed"
    assert screen.embeddings is not None
    expected = VECTORS.set_index("well_id").loc[screen.wells["Metadata_well_id"]]
    assert screen.embeddings.feature_names == tuple(expected.columns)
    assert np.array_equal(screen.embeddings.features, expected.to_numpy())
    # One well less, and a row of no well.
    lost = screen.wells["Metadata_well_id"].iloc[11]
    VECTORS.replace({"well_id": {lost: "gene-999_1_B02"}}).to_parquet(root / EMBEDDINGS)
    fewer = load_screen("rxrx3-core-openphenom", root)
    assert fewer.dropped == {**screen.dropped, "metadata without embeddings": 1, "embeddings without metadata": 1}
    assert len(fewer.wells) == len(screen.wells) - 1


def published(pairs: list[tuple[str, str]], *, controls: bool) -> tuple[float, int]:
    """The published protocol in its own tools: recall in the 5 % tails of all cosines of the map, and the map's rows.

    The map of the published figures has one more row than here: the untreated wells of gene experiments.
    """
    wells = TABLE.merge(VECTORS, on="well_id")
    columns = [str(name) for name in wells if str(name).startswith("feature_")]
    control = wells["treatment"] == "EMPTY_control"
    features = wells[columns].to_numpy(np.float64)
    features = PCA().fit(features[control]).transform(features)
    for experiment in wells["experiment_name"].unique():
        of_experiment = (wells["experiment_name"] == experiment).to_numpy()
        scaler = StandardScaler().fit(features[of_experiment & control.to_numpy()])
        features[of_experiment] = scaler.transform(features[of_experiment])
    wells[columns] = features
    wells["perturbation"] = [name if "_control" in name else name.split("_")[0] for name in wells["treatment"]]
    of_control = wells["perturbation"].str.contains("_control")
    wells = wells[~of_control if not controls else ~of_control | (wells["perturbation_type"] == "CRISPR")]
    keys = ["perturbation_type", "perturbation", "concentration"]
    rows = wells.groupby(keys, dropna=False)[columns].mean().reset_index()
    rows = rows[rows["concentration"].isin([0.0025, 0.01, 0.025, 0.1, 0.25, 1, 2.5, 10]) | rows["concentration"].isna()]
    cosines = cosine_similarity(rows[columns])
    null = np.sort(cosines[np.triu_indices(len(rows), 1)])
    place = {name: at for at, name in enumerate(rows["perturbation"])}
    values = np.array([cosines[place[a], place[b]] for a, b in pairs])
    low = np.searchsorted(null, values, "right") / len(null) <= 0.05
    high = np.searchsorted(null, values, "left") / len(null) >= 0.95
    return float((low | high).mean()), len(rows)


def test_the_example_gives_what_the_published_protocol_gives(hub: Hub, tmp_path: Path) -> None:
    pairs = [(a, b) for i, a in enumerate(GENES) for b in GENES[i + 1 :]]
    folder = tmp_path / "pairs"
    folder.mkdir()
    (folder / "Mine.txt").write_text("entity1,entity2\n" + "".join(f"{a},{b}\n" for a, b in pairs))
    example = Path(__file__).parents[2] / "examples" / "rxrx3-core-openphenom.sh"
    get, run = [
        line.removeprefix("phenobench ").split()
        for line in example.read_text().replace("\\\n", "").splitlines()
        if line.startswith("phenobench ")
    ]
    done = phenobench(*get)
    assert done.exit_code == 0, done.output
    done = phenobench(*run, "--annotations", folder, "--results", "results")
    assert done.exit_code == 0, done.output
    (path,) = Path("results/rxrx3-core-openphenom/openphenom-precomputed/pca-cs").glob("*.json")
    assert path.name == "gene-gene.all-perturbations.json"
    result = read_result(path)
    recall, rows = published(pairs, controls=False)
    assert result.scores[0].value == pytest.approx(recall, abs=1e-12)
    assert result.map.n == rows
    assert 0.05 < recall < 0.95
    assert rows == len(GENES) + 4
    assert published(pairs, controls=True)[1] == rows + 1
    assert result.licence["screen"].startswith("Recursion EULA")
    assert result.model.status == "precomputed"
