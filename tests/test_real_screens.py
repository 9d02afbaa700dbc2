"""Real screens: the figures that copairs 0.5.5 gives on them, and the controls on LUAD.

The figures are those of the README beside the data: cosine, z-score on each plate's negative
controls, positives on other plates, mean over wells and then over perturbations.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from phenobench.cards import find, validate
from phenobench.metrics import group_null
from phenobench.models import controls
from phenobench.normalization import normalize
from phenobench.pipeline import run
from phenobench.profiles import Profiles
from phenobench.profiles.reading import Reading, read_profiles
from phenobench.registry import resolve
from phenobench.request import Request
from phenobench.results import Result
from phenobench.screens import Screen, load_screen, screen_of
from phenobench.tasks.cross_modal import Protocol
from phenobench.tasks.cross_modal import score as cross_modal
from phenobench.tasks.outcome import Inputs, Outcome
from tests.shared import shared

BBBC021 = Reading(
    columns={"perturbation": "Image_Metadata_Compound,Image_Metadata_Concentration"},
    prefixes=("Image_Metadata_",),
    negcon=("Image_Metadata_Compound=DMSO",),
)


def request(folder: str, results: Path, **more: Any) -> Request:
    settings: dict[str, Any] = {
        "models": ("cellprofiler",),
        "tasks": ("replicate-retrieval",),
        "normalizations": ("standardize",),
        "results": results,
        "root": shared("data", folder),
    }
    return Request(**{**settings, **more})


def only(results: tuple[Result, ...]) -> dict[str, float]:
    return {result.task.variant: result.scores[0].value for result in results}


@pytest.mark.parametrize(
    ("screen", "folder", "model", "figures"),
    [
        ("luad-orf", "luad_orf_layout_a", "cellprofiler", (0.798, 0.202)),
        ("cpjump1-compound-u2os-48h", "cpjump1_compound_u2os", "cellprofiler", (0.554, 0.268)),
        ("cpjump1-compound-u2os-24h", "cpjump1_compound_u2os", "cellprofiler", (0.681, 0.430)),
        ("nelisa-jump-target1", "nelisa_jump_target1_compounds", "nelisa", (0.451, 0.128)),
        ("varchamp-batch14", "varchamp_batch14", "cellprofiler", (0.938, 0.113)),
    ],
)
def test_a_screen_of_the_catalogue_gives_the_reference_figures(
    tmp_path: Path, screen: str, folder: str, model: str, figures: tuple[float, float]
) -> None:
    variants = ("against-controls", "against-all")
    report = run(request(folder, tmp_path, screen=screen, models=(model,), variants=variants))
    assert not report.failed
    found = only(tuple(done.result for done in report.done))
    assert [found[variant] for variant in variants] == pytest.approx(figures, abs=0.005)


def test_bbbc021_with_its_own_prefix_and_doses_as_perturbations(tmp_path: Path) -> None:
    profiles = str(shared("data", "bbbc021_ljosa", "profiles.parquet"))
    variants = ("against-controls", "against-all")
    report = run(request("bbbc021_ljosa", tmp_path, profiles=(profiles,), reading=BBBC021, variants=variants))
    found = only(tuple(done.result for done in report.done))
    assert [found[variant] for variant in variants] == pytest.approx((0.949, 0.155), abs=0.005)
    assert report.done[0].result.screen.n_perturbations == 103


def test_the_wild_type_alleles_of_luad_by_gene() -> None:
    """The README's second figure for LUAD: wild-type wells only, by gene."""
    columns = {"perturbation": "Metadata_gene_symbol", "gene": "Metadata_gene_symbol"}
    reading = Reading(
        columns=columns,
        negcon=("Metadata_pert_type=ctl_vector",),
        exclude=("Metadata_pert_type=EMPTY",),
        nan="drop-features",
    )
    profiles = read_profiles([str(shared("data", "luad_orf_layout_a", "profiles.parquet"))], reading)
    wild_type = profiles.metadata["Metadata_x_mutation_status"].astype(str).str.contains("_WT").to_numpy()
    profiles = normalize(profiles.select(wild_type | profiles.negative_controls), "standardize")
    found = [score("replicate-retrieval", variant, profiles) for variant in ("against-controls", "against-all")]
    assert [outcome.scores[0].value for outcome in found] == pytest.approx((0.734, 0.263), abs=0.005)
    assert found[0].scores[0].n == 69


def test_one_plate_with_doses_as_replicates(tmp_path: Path) -> None:
    settings = {"screen": "lincs-sq00015054", "variants": ("same-plate",)}
    report = run(request("lincs_sq00015054", tmp_path, **settings))
    # Against other compounds on the only plate, which is also against all.
    assert only(tuple(done.result for done in report.done))["same-plate"] == pytest.approx(0.273, abs=0.005)


def test_cell_painting_finds_secreted_proteins_of_the_same_compound(tmp_path: Path) -> None:
    texts = str(shared("data", "nelisa_jump_target1_compounds", "nelisa_profiles.parquet"))
    profiles = [str(shared("data", "cpjump1_compound_u2os")) + "/BR0011701*"]
    reading = Reading(columns={"perturbation": "Metadata_InChIKey"}, negcon=("Metadata_control_type=negcon",))
    settings = {
        "screen": "cpjump1-nelisa",
        "tasks": ("cross-modal",),
        "models": ("cellprofiler", "random"),
        "profiles": tuple(profiles),
        "texts": texts,
        "reading": reading,
    }
    report = run(request("cpjump1_compound_u2os", tmp_path, **settings))
    measured, noise = (done.result for done in report.done)
    assert measured.task.variant == "by-perturbation+ridge"
    assert measured.map.n == 304
    for score, none in zip(measured.scores, noise.scores, strict=True):
        assert score.n == 304
        assert score.ci_low > score.chance
        assert none.chance == score.chance
    at_ten = {score.subset: score for score in noise.scores if score.metric == "recall@10"}
    assert all(score.ci_low <= score.chance <= score.ci_high for score in at_ten.values())


def secreted_proteins(folder: Path) -> Path:
    """A root for the paired screen: each half's files under its id."""
    for id, name in (
        ("cpjump1-compound-u2os-48h", "cpjump1_compound_u2os"),
        ("nelisa-jump-target1", "nelisa_jump_target1_compounds"),
    ):
        (folder / id).symlink_to(shared("data", name))
    return folder


@pytest.mark.parametrize("align", ["ridge", "cca"])
def test_the_paired_screen_is_stable_under_another_split_and_shuffled_labels_are_at_chance(
    align: str, tmp_path: Path
) -> None:
    screen = load_screen("cpjump1-nelisa", secreted_proteins(tmp_path))
    assert screen.embeddings is not None
    assert screen.texts is not None
    profiles, texts = normalize(screen.embeddings, "standardize"), screen.texts.rows
    task = find().task("cross-modal")
    protocol = Protocol.model_validate(task.variants["by-perturbation"])
    first, second = (
        cross_modal(profiles, protocol, Inputs(texts=texts, align=align, seed=seed)).scores[:2] for seed in (0, 1)
    )
    for one, other in zip(first, second, strict=True):
        assert (one.metric, one.n) == ("recall@10", 299)
        assert one.ci_low > 3 * one.chance
        assert one.ci_low <= other.value <= one.ci_high
    names = texts.role("perturbation")
    new = dict(zip(names.unique(), np.random.default_rng(0).permutation(names.unique()), strict=True))
    shuffled = Profiles(texts.metadata.assign(Metadata_Perturbation=names.map(new)), texts.features)
    for score in cross_modal(profiles, protocol, Inputs(texts=shuffled, align=align)).scores:
        assert score.ci_low <= score.chance <= score.ci_high


@cache
def luad() -> Screen:
    return load_screen("luad-orf", shared("data", "luad_orf_layout_a"))


def score(task: str, variant: str, profiles: Profiles, pairs: dict[str, Any] | None = None, seed: int = 0) -> Outcome:
    cards = find()
    card = cards.task(task)
    protocol = validate(card.variants[variant], resolve(card.protocol, card.id), card.id)
    outcome: Outcome = resolve(card.function, card.id)(profiles, protocol, Inputs(pairs=pairs or {}, seed=seed))
    return outcome


def random_pairs(n: int, seed: int) -> dict[str, Any]:
    """A source of ``n`` pairs of LUAD's genes; the field's own tables need a network."""
    genes = np.array(sorted(luad().wells["Metadata_Symbol"].dropna().unique()))
    rows = np.random.default_rng(seed).choice(len(genes), (4 * n, 2))
    distinct = sorted({(min(a, b), max(a, b)) for a, b in rows.tolist() if a != b})
    return {"some": genes[np.array(distinct)[np.random.default_rng(seed).permutation(len(distinct))[:n]]]}


def control(name: str, normalization: str, pairs: dict[str, Any], seed: int = 0) -> Profiles:
    features = getattr(controls, name)(luad().wells, pairs, seed)
    return normalize(Profiles(luad().wells, features), normalization)


def test_the_oracle_is_perfect_on_luad() -> None:
    pairs = random_pairs(100, seed=1)
    profiles = control("oracle", "none", pairs)
    assert score("replicate-retrieval", "across-plates", profiles).scores[0].value == 1.0
    recall = score("gene-gene", "genes-only", profiles, pairs).scores[0]
    assert recall.value >= 0.95 * recall.ceiling


@pytest.mark.parametrize("normalization", ["none", "center+tvn"])
@pytest.mark.parametrize(
    ("task", "variant"),
    [
        ("replicate-retrieval", "across-plates"),
        ("replicate-retrieval", "against-controls"),
        ("replicate-retrieval", "against-all"),
        ("replicate-retrieval", "same-plate"),
        ("gene-gene", "genes-only"),
        ("gene-gene", "all-perturbations"),
    ],
)
def test_a_constant_is_exactly_at_chance(normalization: str, task: str, variant: str) -> None:
    pairs = random_pairs(100, seed=1)
    found = score(task, variant, control("constant", normalization, pairs), pairs).scores[0]
    assert found.value == found.chance


def test_the_plate_alone_is_at_chance_after_centring_and_below_it_before() -> None:
    centred = score("replicate-retrieval", "across-plates", control("plate_only", "center", {})).scores[0]
    assert centred.value == centred.chance
    raw = score("replicate-retrieval", "across-plates", control("plate_only", "none", {})).scores[0]
    assert raw.value < raw.chance


@pytest.mark.parametrize(
    ("task", "variant", "normalization"),
    [
        ("replicate-retrieval", "across-plates", "none"),
        ("replicate-retrieval", "across-plates", "center+tvn"),
        ("gene-gene", "genes-only", "none"),
    ],
)
def test_intervals_of_noise_cover_chance(
    task: str, variant: str, normalization: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over 100 seeds as often as 95 % intervals do: within the binomial 99 % band."""
    # The p-values of perturbations, which are not asked here, would take most of the time.
    monkeypatch.setattr(group_null, "MOST_ROWS", 0)
    pairs = random_pairs(34, seed=2)  # as many as StringDB has among these genes
    low, high = stats.binom.interval(0.99, 100, 0.95)
    covered = 0
    for seed in range(100):
        found = score(task, variant, control("random", normalization, {}, seed), pairs, seed).scores[0]
        covered += found.ci_low <= found.chance <= found.ci_high
    assert low <= covered <= high


def test_screens_of_unlabelled_wells_count_them() -> None:
    folder = shared("data", "varchamp_batch14")
    reading = Reading(
        columns={"perturbation": "Metadata_gene_allele"}, negcon=("Metadata_node_type=NC",), nan="drop-features"
    )
    screen = screen_of(read_profiles([str(folder)], reading), "varchamp", model="x")
    assert screen.dropped == {"no perturbation label": 59}
