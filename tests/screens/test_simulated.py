"""The simulated screen: its layout, what it plants, and its images from disk."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from phenobench.cards import find, load, read_toml, validate
from phenobench.errors import InputError
from phenobench.screens.optics import Optics
from phenobench.screens.rendering import PARAMETERS
from phenobench.screens.simulated import (
    SimulatedCard,
    compounds,
    layout,
    phenotypes,
    planted,
    render_well,
    surroundings,
)
from phenobench.screens.simulated_images import field_images

SCREENS = ("simulated", "simulated-small", "simulated-hard", "simulated-clean")


@pytest.fixture
def images_kept(tmp_path: Path) -> Path:
    """A cache of the test's own."""
    return tmp_path / "images"


def card(name: str = "simulated-small", **changes: Any) -> SimulatedCard:
    return load(find().screens[name], SimulatedCard).model_copy(update=changes)


def tiny() -> SimulatedCard:
    """Two plates of seven wells."""
    return card(complexes=1, single_genes=0, compounds=1, batches=1, controls_per_plate=2)


@pytest.mark.parametrize("name", SCREENS)
def test_every_plate_has_each_gene_once_and_enough_controls(name: str) -> None:
    wells = layout(card(name))
    genes, drugs, _ = planted(card(name))
    for _, plate in wells.groupby("Metadata_Plate"):
        counts = plate["Metadata_Perturbation"].value_counts()
        assert counts.pop("control") >= 16
        assert set(counts) == {1}
        assert set(counts.index) == {*genes["gene"], *drugs["compound"]}
        assert plate["Metadata_Well"].is_unique
    assert wells.groupby("Metadata_Batch")["Metadata_Plate"].nunique().tolist() == [2, 2]


@pytest.mark.parametrize("name", SCREENS)
def test_position_does_not_tell_the_perturbation(name: str) -> None:
    wells = layout(card(name))
    treated = wells[wells["Metadata_pert_type"] == "trt"]
    assert (treated.groupby("Metadata_Perturbation")["Metadata_Well"].nunique() > 1).all()
    # Two plates share a well of a perturbation about as often as chance has it.
    shared = treated.groupby(["Metadata_Perturbation", "Metadata_Well"]).size()
    assert (shared > 1).mean() < 0.02


def test_the_default_screen_has_the_size_that_is_promised() -> None:
    genes, drugs, pairs = planted(card("simulated"))
    assert (len(genes), len(drugs), len(pairs)) == (160, 24, 192)
    assert set(drugs["target"]) <= set(genes["gene"])
    assert len(layout(card("simulated"))) == 832
    assert card("simulated").fields_per_well == 2


def test_the_hard_screen_differs_by_doubled_batch_effects_alone() -> None:
    easy, hard = card("simulated"), card("simulated-hard")
    for name, value in easy.batch_effects:
        assert getattr(hard.batch_effects, name) == pytest.approx(2 * value)
    told = {"id", "title", "batch_effects"}
    assert easy.model_dump(exclude=told) == hard.model_dump(exclude=told)


def test_the_clean_screen_differs_by_absent_effects_alone() -> None:
    usual, clean = card("simulated"), card("simulated-clean")
    assert not any(value for effects in (clean.batch_effects, clean.edge_effect) for _, value in effects)
    assert clean.phenotype == usual.phenotype.model_copy(update={"well_sd": 0.0})
    told = {"id", "title", "batch_effects", "edge_effect", "phenotype"}
    assert usual.model_dump(exclude=told) == clean.model_dump(exclude=told)


def test_compounds_have_a_name_a_structure_and_a_mechanism() -> None:
    known = compounds(card("simulated"))
    assert list(known) == ["compound", "target", "mechanism", "smiles"]
    assert known.notna().all(axis=None)
    assert known["smiles"].is_unique
    for text in known["smiles"]:
        assert text.count("(") == text.count(")")
        assert all(text.count(digit) % 2 == 0 for digit in "123")


@pytest.mark.parametrize(
    ("table", "key", "value", "said"),
    [
        (None, "fields_per_well", 0, "fields_per_well"),
        ("phenotype", "penetrance", 1.5, "phenotype.penetrance"),
        ("batch_effects", "gain", -1.0, "batch_effects.gain"),
        ("edge_effect", "density", -1.0, "edge_effect.density"),
        ("phenotype", "penetrence", 0.5, "phenotype.penetrence"),
    ],
)
def test_a_card_with_a_wrong_value_is_refused_by_its_key(table: str | None, key: str, value: float, said: str) -> None:
    values = read_toml(find().screens["simulated-small"])
    (values if table is None else values[table])[key] = value
    with pytest.raises(InputError, match=rf"mine\.toml: {said}"):
        validate(values, SimulatedCard, "mine.toml")


def test_genes_of_a_complex_are_alike_and_compounds_are_like_their_targets() -> None:
    small = card("simulated")
    genes, drugs, pairs = planted(small)
    found = phenotypes(small)
    assert set(found) == {"control", *genes["gene"], *drugs["compound"]}
    assert not found["control"].mean.any()
    assert found["control"].penetrance == 0

    def cosine(one: str, two: str) -> float:
        a, b = found[one].mean, found[two].mean
        return float(a @ b / np.sqrt((a @ a) * (b @ b)))

    within = [cosine(one, two) for one, two in pairs]
    names = genes["gene"].tolist()
    between = [cosine(one, two) for one, two in zip(names, names[40:] + names[:40], strict=True)]
    assert np.median(within) > 0.7
    assert abs(np.median(between)) < 0.15
    assert np.median([cosine(*pair) for pair in zip(drugs["compound"], drugs["target"], strict=True)]) > 0.6
    lengths = [np.sqrt(found[name].mean @ found[name].mean) for name in names]
    assert np.mean(lengths) == pytest.approx(np.hypot(2.5, 1.2), rel=0.1)
    assert np.mean([found[name].penetrance for name in names]) == pytest.approx(0.6, abs=0.05)


def test_a_phenotype_does_not_depend_on_the_size_of_the_screen() -> None:
    small = card()
    assert small.complexes > 3
    few = phenotypes(card(complexes=3, compounds=0))
    for name, phenotype in few.items():
        np.testing.assert_array_equal(phenotype.mean, phenotypes(small)[name].mean)


def test_without_batch_and_edge_effects_all_plates_are_alike() -> None:
    none = card()
    for part in ("batch_effects", "edge_effect", "phenotype"):
        zero = dict.fromkeys(type(getattr(none, part)).model_fields, 0.0)
        none = none.model_copy(update={part: getattr(none, part).model_copy(update=zero)})
    for well in ("A01", "C07"):
        around = surroundings(none, "batch1", "batch1-plate1", well)
        assert around.optics == Optics()
        assert around.density == 1
        assert not around.shift.any()
    assert not any(phenotype.mean.any() for phenotype in phenotypes(none).values())


def test_plates_of_a_batch_share_half_of_the_variance() -> None:
    screens = [card(seed=seed) for seed in range(300)]

    def gains(batch: str, plate: str) -> np.ndarray:
        return np.array([np.log(surroundings(one, batch, plate, "C07").optics.gain) for one in screens]).ravel()

    first, sibling, other = gains("b1", "p1"), gains("b1", "p2"), gains("b2", "p3")
    assert first.std() == pytest.approx(0.22, rel=0.1)
    assert np.corrcoef(first, sibling)[0, 1] == pytest.approx(0.5, abs=0.1)
    assert abs(np.corrcoef(first, other)[0, 1]) < 0.1


def test_wells_at_the_edge_are_brighter_and_sparser() -> None:
    inner, *outer = (surroundings(card(), "b", "p", well) for well in ("B02", "A05", "P05", "C01", "C24"))
    for around in outer:
        assert around.density == pytest.approx(0.8 * inner.density)
        assert around.optics.gain[0] == pytest.approx(1.08 * inner.optics.gain[0])
        assert around.shift.shape == (len(PARAMETERS),)


def test_a_well_is_the_same_in_any_order_and_any_process() -> None:
    wells = layout(tiny())
    program = (
        "import hashlib\n"
        "from tests.screens.test_simulated import layout, render_well, tiny\n"
        "wells = layout(tiny())\n"
        "print([hashlib.sha256(f.tobytes()).hexdigest() for f in render_well(tiny(), wells.iloc[3])])\n"
    )
    root = str(Path(__file__).resolve().parents[2])
    for hash_seed in ("0", "1"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": root}
        done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, env=environment)
        fields = [render_well(tiny(), wells.iloc[row]) for row in (5, 3)][1]
        assert done.stdout.decode().strip() == str([hashlib.sha256(field.tobytes()).hexdigest() for field in fields])


def test_images_come_in_the_order_of_the_wells_asked_for(images_kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHENOBENCH_WORKERS", "1")
    wells = layout(tiny()).sample(frac=0.5, random_state=0)
    got = list(field_images(tiny(), wells, images_kept))
    assert [(position, site) for position, site, _ in got] == [(i, s) for i in range(len(wells)) for s in (1, 2)]
    for position, site, image in got:
        assert image.dtype == np.uint8
        assert not image.flags.writeable
        np.testing.assert_array_equal(image, render_well(tiny(), wells.iloc[position])[site - 1])


def plate_files(cache: Path) -> list[Path]:
    return sorted((cache / "screens").rglob("*.npy"))


def test_workers_make_the_same_files_and_what_is_there_is_read(
    images_kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wells = layout(tiny())
    for number, cache in (("1", images_kept), ("2", tmp_path / "two")):
        monkeypatch.setenv("PHENOBENCH_WORKERS", number)
        assert len(list(field_images(tiny(), wells, cache))) == 2 * len(wells)
    one, two = plate_files(images_kept), plate_files(tmp_path / "two")
    assert [path.name for path in one] == ["batch1-plate1.npy", "batch1-plate2.npy"]
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two]
    assert not list(images_kept.rglob("*.tmp"))

    before = [path.stat().st_mtime_ns for path in one]
    list(field_images(tiny(), wells, images_kept))
    assert [path.stat().st_mtime_ns for path in one] == before


def test_only_the_plates_asked_for_are_rendered_and_a_damaged_one_again(
    images_kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PHENOBENCH_WORKERS", "1")
    wells = layout(tiny())
    second = wells[wells["Metadata_Plate"] == "batch1-plate2"]
    list(field_images(tiny(), second, images_kept))
    (path,) = plate_files(images_kept)
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], whole[:20], b"", b"not an array" * 9):
        path.write_bytes(damaged)
        list(field_images(tiny(), second, images_kept))
        assert path.read_bytes() == whole


def test_another_strength_is_another_folder(images_kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHENOBENCH_WORKERS", "1")
    strong = tiny().model_copy(update={"phenotype": tiny().phenotype.model_copy(update={"complex": 4.0})})
    for one in (tiny(), strong, tiny().model_copy(update={"title": "renamed"})):
        wells = layout(one)
        next(field_images(one, wells[wells["Metadata_Plate"] == "batch1-plate1"], images_kept))
    assert len(plate_files(images_kept)) == 2


def test_a_well_that_is_not_there_and_a_strange_number_of_workers_are_refused(
    images_kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wells = layout(tiny())
    with pytest.raises(InputError, match="has no well Z99"):
        next(field_images(tiny(), wells.assign(Metadata_Well="Z99"), images_kept))
    monkeypatch.setenv("PHENOBENCH_WORKERS", "many")
    with pytest.raises(InputError, match="PHENOBENCH_WORKERS is 'many'"):
        next(field_images(tiny(), wells, images_kept))


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_a_run_that_is_cut_keeps_finished_plates_and_leaves_no_half_one(
    images_kept: Path, tmp_path: Path, sent: signal.Signals
) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import signal, sys\n"
        "from pathlib import Path\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)  # what is started in the background ignores it\n"
        "from tests.screens.test_simulated import card, field_images, layout\n"
        'if __name__ == "__main__":\n'
        "    list(field_images(card(), layout(card()), Path(sys.argv[1])))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2]), "PHENOBENCH_WORKERS": "2"}
    command = [sys.executable, str(script), str(images_kept)]
    # On a busy machine the signal can come when all plates are done; then once more, from the start.
    for _ in range(5):
        _cut(command, environment, images_kept, sent)
        finished = plate_files(images_kept)
        if len(finished) < 4:
            break
        for path in finished:
            path.unlink()
    assert 1 <= len(finished) < 4
    if sent == signal.SIGINT:
        assert not list(images_kept.rglob("*.tmp"))
    for path in finished:
        assert np.load(path, mmap_mode="r").shape == (70, 2, 6, 256, 256)


def _cut(command: list[str], environment: dict[str, str], images_kept: Path, sent: signal.Signals) -> None:
    """Start a run and send it the signal when the first plate is there; nothing of it lives on."""
    with subprocess.Popen(command, env=environment, start_new_session=True, stderr=subprocess.PIPE) as process:
        end = time.monotonic() + 120
        while not plate_files(images_kept) and time.monotonic() < end and process.poll() is None:
            time.sleep(0.02)
        if sent == signal.SIGINT:
            os.killpg(process.pid, sent)  # as Ctrl-C reaches the whole group
        else:
            process.send_signal(sent)
        process.communicate(timeout=60)
        # Workers end with the run that started them.
        end = time.monotonic() + 60
        while _group_lives(process.pid) and time.monotonic() < end:
            time.sleep(0.05)
        assert not _group_lives(process.pid)


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_the_layout_is_the_same_as_ever() -> None:
    """Results name wells by plate and place: a change of layout would be another screen."""
    first = layout(card("simulated")).iloc[[0, 100, 831]]
    assert isinstance(first, pd.DataFrame)
    assert first["Metadata_Well"].tolist() == ["F14", "G18", "M15"]
    assert first["Metadata_Perturbation"].tolist() == ["PSMA1", "NDUFS1", "control"]
