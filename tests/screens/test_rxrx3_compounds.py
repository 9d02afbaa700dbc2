"""Compounds of RxRx3-core: doses, measured interactions and texts, on a stand-in of its files with planted truth."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score
from typer.testing import CliRunner, Result

import phenobench as pb
from phenobench.cli import app
from phenobench.profiles.reading import Reading
from phenobench.results import read_result
from phenobench.screens import load_screen
from tests.serving import Server, serve

SCREEN = "rxrx3-core-openphenom"
DOSES = (0.0025, 0.01, 0.025, 0.1, 0.25, 1.0, 2.5, 10.0)
# As many as leave 20 beside a compound's active one and the one of middling activity.
GENES = [f"G{number:02d}" for number in range(22)]
COMPOUNDS = [f"Compound {letter}" for letter in "ABCDEF"]
D = 48
TABLE = "compound_gene_interactions.csv"


def wells() -> pd.DataFrame:
    """The columns of the published table: 2 gene experiments, and 1 with each compound twice at 8 concentrations."""
    rows = []
    for experiment in ("gene-001", "gene-002", "compound-001"):
        treated: list[tuple[str, float | None]] = []
        if experiment.startswith("gene"):
            # One gene is in no table of interactions.
            treated += [(f"{gene}_guide_{guide}", None) for gene in [*GENES, "UNMEASURED"] for guide in (1, 2)]
        else:
            names = [*COMPOUNDS, "Inactive one", "Unknown one"]
            treated += [(name, dose) for name in names for dose in DOSES for _ in range(2)]
            # What the published protocol leaves out.
            treated += [("Odd one", dose) for dose in (0.002, 0.026, 0.26, 2.6)] + [("CRISPR_control", None)]
        treated += [("EMPTY_control", None)] * 4
        for place, (treatment, dose) in enumerate(treated):
            address = f"{chr(65 + place // 20)}{place % 20 + 1:02d}"
            gene = treatment.partition("_guide")[0] if "_guide" in treatment else None
            rows.append(
                {
                    "well_id": f"{experiment}_1_{address}",
                    "experiment_name": experiment,
                    "plate": 1,
                    "address": address,
                    "gene": gene,
                    "treatment": treatment,
                    "SMILES": f"{'C' * (COMPOUNDS.index(treatment) + 1)}O |c:9|" if treatment in COMPOUNDS else None,
                    "concentration": dose,
                    "perturbation_type": "CRISPR" if experiment.startswith("gene") else "COMPOUND",
                    "cell_type": "HUVEC",
                }
            )
    return pd.DataFrame(rows)


def interactions() -> pd.DataFrame:
    """Compound i acts on gene i; it was measured on the others' too, to which it is as like as can be, as inactive."""
    rows = [(gene, 50000.0, "Inactive one") for gene in GENES]
    for number, compound in enumerate(COMPOUNDS):
        rows += [(GENES[number], 10.0, compound), (GENES[number + 6], 5000.0, compound)]
        rows += [(GENES[number + 12], 20000.0, compound)]
    table = pd.DataFrame(rows, columns=["gene_symbol", "nM_value", "treatment"])
    return table.assign(measurement_type="ic50", database="ChEMBL")


def embeddings(table: pd.DataFrame) -> pd.DataFrame:
    """Genes are apart; a compound is more like its gene, or its gene's opposite, the more there is of it."""
    rng = np.random.default_rng(5)
    axes = dict(zip([*GENES, "UNMEASURED"], np.eye(D), strict=False))
    features = 0.05 * rng.standard_normal((len(table), D))
    for row, well in enumerate(table.itertuples()):
        if isinstance(well.gene, str):
            features[row] += axes[well.gene]
        elif well.treatment in COMPOUNDS:
            number = COMPOUNDS.index(str(well.treatment))
            strength = DOSES.index(float(str(well.concentration))) / 7
            features[row] += (-1) ** number * strength * axes[GENES[number]]
            # More like the gene of middling activity, which takes no part, and as much like one that nobody measured.
            features[row] += 2 * strength * axes[GENES[number + 6]] + axes["UNMEASURED"]
    columns = pd.DataFrame(features.astype(np.float32)).add_prefix("feature_")
    return pd.concat([table[["well_id"]], columns], axis=1)


@pytest.fixture(name="server")
def published(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """The official files below a suite's root, and the official card with another address of the interactions."""
    root = Path("rxrx3")
    root.mkdir()
    table = wells()
    table.to_csv(root / "metadata_rxrx3_core.csv", index=False)
    embeddings(table).to_parquet(root / "OpenPhenom_rxrx3_core_embeddings.parquet", index=False)
    Path("benchmark.toml").write_text(f'[screens.{SCREEN}]\nroot = "rxrx3"\n')
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serve({f"/{TABLE}": interactions().to_csv(index=False).encode()}) as running:
        card = (Path(pb.__file__).parents[1] / "tasks/compound-gene.toml").read_text()
        (address,) = [line for line in card.splitlines() if line.startswith("url = ")]
        assert address.endswith(f'/{TABLE}"')
        Path("cards/tasks").mkdir(parents=True)
        elsewhere = f'url = "{running.address}/{TABLE}"'
        Path("cards/tasks/compound-gene.toml").write_text(card.replace(address, elsewhere))
        yield running


def run(*options: str) -> Result:
    arguments = ["run", "--screen", SCREEN, "--cards", "cards", "--normalization", "none", *options]
    return CliRunner().invoke(app, arguments)


COMPOUND_GENE = ("--task", "compound-gene", "--variant", "rxrx3-core")


def expected() -> dict[str, float]:
    """The published protocol by the field's tools; with 20 genes left all are drawn, so nothing is left to chance."""
    table = wells().merge(embeddings(wells()), on="well_id")
    columns = [name for name in table if str(name).startswith("feature_")]
    genes = table.dropna(subset="gene").groupby("gene")[columns].mean().loc[GENES]
    doses = table.groupby(["treatment", "concentration"])[columns].mean()
    truth = interactions()
    found: dict[str, list[float]] = {}
    for compound in COMPOUNDS:
        measured = truth[truth["treatment"] == compound].set_index("gene_symbol")["nM_value"]
        active = set(measured.index[measured <= 1000])
        pool = [gene for gene in GENES if not 1000 < measured.get(gene, np.inf) <= 10000]
        a = doses.loc[compound].to_numpy()
        b = genes.loc[pool].to_numpy()
        cosines = np.abs((a / np.linalg.norm(a, axis=1, keepdims=True)) @ (b / np.linalg.norm(b, axis=1)[:, None]).T)
        labels = [gene in active for gene in pool]
        assert len(labels) == 21
        for dose, row in [*zip(doses.loc[compound].index, cosines, strict=True), ("best dose", cosines.max(axis=0))]:
            found.setdefault(f"{dose:g}" if dose != "best dose" else dose, []).append(
                float(average_precision_score(labels, row))
            )
    return {dose: float(np.mean(values)) for dose, values in found.items()}


def test_compounds_find_their_genes_at_each_dose_as_by_the_published_protocol(server: Server) -> None:
    done = run(*COMPOUND_GENE)
    assert done.exit_code == 0, done.output
    (path,) = Path("results", SCREEN, "openphenom-precomputed", "none").glob("*.json")
    assert path.name == "compound-gene.rxrx3-core.json"
    result = read_result(path)
    got = {score.subset: score.value for score in (*result.scores, *result.secondary)}
    assert got == pytest.approx(expected(), abs=1e-9)
    assert [score.subset for score in result.secondary] == [f"{dose:g}" for dose in DOSES]
    assert result.scores[0].subset == "best dose"
    # What was planted: with much of a compound its gene is first, with little of it anything is.
    assert got["10"] == got["2.5"] == 1.0
    assert got["0.0025"] < 0.5
    assert [score.n for score in (*result.scores, *result.secondary)] == [len(COMPOUNDS)] * 9
    assert any("2 compounds have no active gene" in line for line in result.warnings)
    assert any(line.startswith(f"active genes are those of {TABLE} (sha256 ") for line in result.warnings)
    # The table is fetched once, and held to what it was.
    assert server.asked == [f"/{TABLE}"]
    assert run(*COMPOUND_GENE, "--overwrite").exit_code == 0
    assert server.asked == [f"/{TABLE}"]


def test_random_embeddings_are_at_chance_there(server: Server) -> None:
    done = run(*COMPOUND_GENE, "--model", "random")
    assert done.exit_code == 0, done.output
    (path,) = Path("results", SCREEN, "random", "none").glob("*.json")
    result = read_result(path)
    # The mean reciprocal rank of one among 21.
    assert result.scores[0].chance == pytest.approx(np.mean(1 / np.arange(1, 22)))
    assert result.scores[0].ci_low <= result.scores[0].chance <= result.scores[0].ci_high


def test_without_targets_the_default_variant_names_the_one_that_does_without(server: Server) -> None:
    done = run("--task", "compound-gene")
    assert done.exit_code == 2
    assert "compound-gene needs the target, which rxrx3-core-openphenom does not have" in done.stderr
    assert "--variant rxrx3-core" in done.stderr
    server.files.clear()
    done = run(*COMPOUND_GENE)
    assert done.exit_code == 2
    assert f"{TABLE} cannot be downloaded (HTTP status 404)" in done.stderr


def test_genes_and_compounds_have_texts_where_each_is_a_perturbation() -> None:
    root = Path("rxrx3")
    root.mkdir()
    wells().to_csv(root / "metadata_rxrx3_core.csv", index=False)
    embeddings(wells()).to_parquet(root / "OpenPhenom_rxrx3_core_embeddings.parquet", index=False)
    # Guides of a gene and doses of a compound would share a text.
    assert load_screen(SCREEN, root).texts is None
    screen = load_screen(SCREEN, root, reading=Reading(columns={"perturbation": "Metadata_Name"}))
    assert screen.texts is not None
    said = {one.perturbation: one for one in screen.texts.descriptions}
    names = [*GENES, "UNMEASURED", *COMPOUNDS, "Inactive one", "Unknown one"]
    assert sorted(said) == sorted(names)
    treated = screen.wells["Metadata_pert_type"] == "trt"
    assert set(screen.wells.loc[treated, "Metadata_Perturbation"]) == set(names)
    assert {one.cell_type for one in said.values()} == {"HUVEC"}
    assert (said["Compound B"].kind, said["Compound B"].info) == ("compound", "CCO")
    assert said["Unknown one"].info is None
    assert (said["G03"].kind, said["G03"].name) == ("crispr", "G03")


def test_cross_modal_runs_there_and_the_oracle_finds_every_text(server: Server) -> None:
    # The oracle is made from annotations, too.
    Path("pairs").mkdir()
    Path("pairs/Mine.txt").write_text("entity1,entity2\nG00,G01\n")
    options = ("--task", "cross-modal", "--model", "oracle", "--annotations", "pairs")
    done = run("--column", "perturbation=Metadata_Name", *options)
    assert done.exit_code == 0, done.output
    (path,) = Path("results", SCREEN, "oracle", "none").glob("*.json")
    result = read_result(path)
    assert result.map.n == len(GENES) + 1 + len(COMPOUNDS) + 2
    assert [score.value for score in result.scores if score.metric == "recall@1"] == pytest.approx([1.0, 1.0])
    assert "cross-modal needs the texts" in run(*options).stderr
