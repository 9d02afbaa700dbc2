"""Where wells lie before and after a normalization: kept by a run, drawn for papers, and on the page."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from sklearn.decomposition import PCA
from sklearn.metrics import silhouette_score

from phenobench.errors import InputError
from phenobench.normalization import normalize
from phenobench.profiles import Profiles
from phenobench.profiles.reading import Reading, read_profiles
from phenobench.projections import (
    Projection,
    complexes_of,
    principal_components,
    project,
    projection_path,
    read_projection,
    write_projection,
)
from tests.conftest import TRIOS, make_screen
from tests.test_pipeline import phenobench, run

PAIRS = {"trios": np.array([(a, b) for trio in TRIOS for a in trio for b in trio])}
KEPT = Path("results/projections/screen/mine/center.csv")
PLAIN = ("--normalization", "center", "--task", "replicate-retrieval")
OPTIONS = (*PLAIN, "--projections")


def profiles(table: pd.DataFrame) -> Profiles:
    metadata = [name for name in table if str(name).startswith("Metadata_")]
    return Profiles(table[metadata], table.drop(columns=metadata).to_numpy(dtype=np.float32))


def test_principal_components_are_those_of_scikit_learn_but_for_sign() -> None:
    features = np.random.default_rng(0).standard_normal((50, 8)) * np.arange(1, 9)
    theirs = PCA(2, svd_solver="full").fit_transform(features)
    ours = principal_components(features)
    np.testing.assert_allclose(np.abs(ours), np.abs(theirs), atol=1e-8)
    np.testing.assert_array_equal(ours, principal_components(features.copy()))


def test_one_feature_has_one_component() -> None:
    assert principal_components(np.arange(5.0)[:, None])[:, 1].tolist() == [0.0] * 5


def test_complexes_are_the_annotated_groups_and_share_no_gene() -> None:
    genes = [gene for trio in TRIOS for gene in trio] + ["ALONE", "PAIRED"]
    found = complexes_of(genes, {**PAIRS, "elsewhere": np.array([("ALONE", "NOT-HERE"), ("ALONE", "PAIRED")])})
    assert found == [", ".join(trio) for trio in TRIOS for _ in trio] + ["", ""]


def test_plates_stand_apart_before_and_mix_after() -> None:
    before = profiles(make_screen())
    found = project(before, normalize(before, "center"), PAIRS)
    assert found is not None
    assert set(found.plates) == {"P0", "P1", "P2", "P3"}
    assert set(found.complexes) == {", ".join(trio) for trio in TRIOS}
    assert silhouette_score(found.before, found.plates) > 0.1 > 0.0 > silhouette_score(found.after, found.plates)
    assert silhouette_score(found.after, found.complexes) > 0.3 > silhouette_score(found.before, found.complexes)
    assert np.abs(found.before).max() == np.abs(found.after).max() == 1.0


def test_of_a_large_screen_six_plates_and_the_complexes_are_shown_in_at_most_200_wells() -> None:
    screens = [make_screen(seed) for seed in range(10)]
    for seed, table in enumerate(screens):
        table["Metadata_Plate"] = f"S{seed:02d}" + table["Metadata_Plate"]
    before = profiles(pd.concat(screens, ignore_index=True))
    found = project(before, before, PAIRS)
    assert found is not None
    assert 100 < len(found.plates) <= 200
    assert len(found.complexes) - found.complexes.count("") >= 100
    shown = sorted(set(found.plates) - {""})
    # The first and the last of 40 plates are among them.
    assert len(shown) == 6
    assert (shown[0], shown[-1]) == ("S00P0", "S09P3")
    assert found.plates.count("") > 0


def test_wells_without_genes_or_plates_have_no_groups_and_two_wells_no_projection() -> None:
    table = make_screen(n_plates=1)
    bare = profiles(table.drop(columns=["Metadata_Symbol", "Metadata_Plate"]))
    found = project(bare, bare, PAIRS)
    assert found is not None
    assert set(found.complexes) == {""}
    assert set(found.plates) == {"all wells"}
    two = profiles(table[table["Metadata_pert_type"] == "trt"].head(2))
    assert project(two, two, PAIRS) is None


def test_a_run_keeps_it_where_that_is_asked_for_and_leaves_the_results_alone(
    screen_file: Path, annotations: Path
) -> None:
    assert run(screen_file, annotations, *PLAIN, "--task", "gene-gene").exit_code == 0
    results = {path: path.read_bytes() for path in Path("results").rglob("*") if path.is_file()}
    assert len(results) == 4
    assert run(screen_file, annotations, *OPTIONS, "--task", "gene-gene").exit_code == 0
    found = read_projection(KEPT)
    assert found is not None
    before = read_profiles([str(screen_file)], Reading())
    expected = project(before, normalize(before, "center"), PAIRS)
    assert expected is not None
    # A run has the wells in the order of their places.
    for one, other in ((found.before, expected.before), (found.after, expected.after)):
        np.testing.assert_allclose(np.sort(one, axis=0), np.sort(other, axis=0), atol=5e-4)
    groups = [sorted(zip(one.plates, one.complexes, strict=True)) for one in (found, expected)]
    assert groups[0] == groups[1]
    kept = {path: path.read_bytes() for path in Path("results").rglob("*") if path.is_file()}
    assert kept == results | {KEPT: KEPT.read_bytes()}
    # Annotations that a later run does not read are not forgotten.
    assert run(screen_file, annotations, *PLAIN).exit_code == 0
    assert {path: path.read_bytes() for path in Path("results").rglob("*") if path.is_file()} == kept


def test_labels_and_profiles_that_came_normalized_have_none(screen_file: Path, annotations: Path) -> None:
    assert run(screen_file, annotations, *OPTIONS, "--model", "random").exit_code == 0
    scored = phenobench("score", screen_file, "--task", "replicate-retrieval", "--model", "m", "--screen", "s")
    assert scored.exit_code == 0
    assert [path.parent.name for path in Path("results/projections").rglob("*.csv")] == ["mine"]


def test_other_features_give_another_with_overwrite(screen_file: Path, annotations: Path) -> None:
    run(screen_file, annotations, *OPTIONS)
    old = KEPT.read_bytes()
    make_screen(seed=1).to_parquet(screen_file)
    assert run(screen_file, annotations, *PLAIN, "--overwrite").exit_code == 0
    assert KEPT.read_bytes() != old


@pytest.mark.parametrize(
    "text",
    [
        "",
        "plate,complex\nP1,\n",
        "plate,complex,before_1,before_2,after_1,after_2\n",
        "plate,complex,before_1,before_2,after_1,after_2\nP1,,0,0,0\n",
        "plate,complex,before_1,before_2,after_1,after_2\nP1,,0,0,0,nan\n",
        "plate,complex,before_1,before_2,after_1,after_2\n" + 300 * "P1,,0,0,0,0\n",
        "plate,complex,before_1,before_2,after_1,after_2\n" + "".join(f"P{i},,0,0,0,0\n" for i in range(7)),
    ],
)
def test_a_file_that_is_none_is_one_sentence(tmp_path: Path, text: str) -> None:
    path = tmp_path / "center.csv"
    path.write_text(text)
    with pytest.raises(InputError, match="cannot be read as a projection"):
        read_projection(path)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    places = np.array([[0.25, -1.0], [0.0, -0.0004]])
    made = Projection(('a "plate", 1', ""), ("", "A, B, C + 1"), places, -places)
    path = projection_path(tmp_path, "s", "m", "none")
    write_projection(path, made)
    found = read_projection(path)
    assert found is not None
    assert (found.plates, found.complexes) == (made.plates, made.complexes)
    np.testing.assert_allclose(found.before, made.before, atol=5e-4)
    np.testing.assert_allclose(found.after, made.after, atol=5e-4)
    assert "-0," not in path.read_text()


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_figures_draw_it_with_the_same_bytes(screen_file: Path, annotations: Path, kind: str) -> None:
    run(screen_file, annotations, *OPTIONS, "--task", "gene-gene")
    for folder in ("one", "two"):
        assert phenobench("figures", "--out", folder, "--format", kind).exit_code == 0
    drawn = Path("one", f"screen.projection.center.{kind}")
    assert drawn.read_bytes() == Path("two", drawn.name).read_bytes()
    if kind == "svg":
        ElementTree.fromstring(drawn.read_text())
        for words in ("before, by plate", "after, by complex", "P3", "A1, A2, A3"):
            assert f"<!-- {words} -->" in drawn.read_text()
