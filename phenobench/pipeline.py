"""``run``: the one place where screen, model, normalization, task and result meet."""

from __future__ import annotations

import dataclasses
import platform
import shlex
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from phenobench import provenance
from phenobench.annotations import Annotations, load_annotations
from phenobench.background import Pace
from phenobench.cards import Cards, find, validate
from phenobench.errors import InputError
from phenobench.normalization import normalize
from phenobench.profiles import ROLES, Profiles
from phenobench.profiles.reading import Reading, label_spellings, read_profiles
from phenobench.profiles.scales import notes_on_scales
from phenobench.projections import project, projection_path, write_projection
from phenobench.registry import resolve
from phenobench.request import Cell, Request, expand
from phenobench.results import (
    Result,
    as_label,
    fingerprint,
    read_result,
    refuse_other_identity,
    require_label,
    result_path,
    write_result,
)
from phenobench.screens import Screen, load_screen, screen_of
from phenobench.sources import Embedded, embedded, embedding_key, image_model, sites_folder, treated, weights_notes
from phenobench.tasks.outcome import Check, Inputs, Outcome
from phenobench.texts import Texts, read_texts

_OWN_LICENCE = "BSD 3-Clause"


@dataclass(frozen=True)
class Watch:
    """Who is told how far a run is: ``scoring`` with cells done and in all, ``embedding`` with wells.

    ``pace`` is told where the time of embedding goes.
    """

    scoring: Callable[[int, int], None] = lambda done, total: None
    embedding: Callable[[int, int], None] = lambda done, total: None
    pace: Pace = field(default_factory=Pace)


_UNWATCHED = Watch()


@dataclass(frozen=True)
class Done:
    """A result of this run, or one that was there already."""

    path: Path
    result: Result
    kept: bool
    checks: tuple[Check, ...] = ()


@dataclass(frozen=True)
class Report:
    """What a run did.

    Attributes:
        done: results, in the order of the cells.
        skipped: cells of an "all" that do not apply, with the reason.
        failed: cells that were asked for by name and could not be scored, with the reason.
    """

    done: tuple[Done, ...]
    skipped: Mapping[str, str]
    failed: Mapping[str, str]


@dataclass(frozen=True)
class _Setting:
    """What all cells of a run share."""

    request: Request
    cards: Cards
    screen: Screen
    annotations: Annotations
    texts: Texts | None
    shared: Mapping[str, Any]


def run(request: Request, watch: Watch = _UNWATCHED) -> Report:
    """Score every cell of a request; what is there already and follows from the same inputs is kept.

    Raises:
        InputError: the request or its files cannot be understood. A cell that fails later is
            reported, and the others are done.
    """
    if request.texts_columns and not request.texts:
        raise InputError(
            "--texts-column says how to read the file of --texts, and there is none; name it, or leave it out"
        )
    cards = find(request.cards)
    screen = _screen(request, cards)
    texts = _texts(request, screen) if request.texts else screen.texts
    cells = expand(request, cards, screen, texts)
    if not any("texts" in cell.task.needs for cell in cells):
        texts = None
    if request.weights.parts and not any(cell.card is not None and cell.card.trained for cell in cells):
        given = ", ".join(map(str, request.weights.parts.values()))
        raise InputError(f"--weights {given} was given and no model of this run takes weights; leave it out")
    setting = _setting(request, cards, screen, texts, cells)
    done: list[Done] = []
    skipped: dict[str, str] = {}
    failed: dict[str, str] = {}

    # Cells of one model and of one normalization come together: the last of each is held.
    @lru_cache(maxsize=1)
    def of_model(model: str) -> Embedded:
        card = next(cell.card for cell in cells if cell.model == model)
        return embedded(model, card, screen, texts, setting.annotations.pairs, request, watch)

    @lru_cache(maxsize=1)
    def normalized(model: str, name: str) -> Profiles:
        profiles = of_model(model).profiles
        return profiles if request.scored_as else normalize(profiles, name)

    projected: set[tuple[str, str]] = set()
    for number, cell in enumerate(cells):
        watch.scoring(number, len(cells))
        try:
            embedding = of_model(cell.model)
            after = partial(normalized, cell.model, cell.normalization)
            done.append(_score(cell, setting, embedding, after))
            if (cell.model, cell.normalization) not in projected:
                projected.add((cell.model, cell.normalization))
                _keep_projection(cell, setting, embedding, after)
        except InputError as error:
            (failed if cell.wanted else skipped)[cell.name] = str(error)
    watch.scoring(len(cells), len(cells))
    if not done and not failed:
        raise InputError(f"nothing could be scored: {next(iter(skipped.values()))}")
    return Report(tuple(done), skipped, failed)


def embed_images(request: Request, out: Path, watch: Watch = _UNWATCHED) -> Profiles:
    """Embed a screen with an image model: one file of profiles a plate in ``out``, nothing else.

    Raises:
        InputError: the model takes no images, the screen has none, or ``out`` holds other embeddings.
    """
    from phenobench.embedding import embed

    cards = find(request.cards)
    screen = _screen(request, cards)
    card = cards.model(request.models[0])
    adapter = image_model(card, screen, request)
    key = embedding_key(screen, card, adapter)
    profiles = embed(screen, adapter, out, key, watch.embedding, sites_folder(screen, adapter), watch.pace)
    return dataclasses.replace(profiles, notes=(*profiles.notes, *weights_notes(card, adapter, screen)))


def _screen(request: Request, cards: Cards) -> Screen:
    if not request.profiles:
        if request.screen is None:
            raise InputError("no screen was named; give one with --screen, or embeddings with --profiles")
        return load_screen(request.screen, request.root, cards=request.cards, reading=request.reading)
    profiles = read_profiles(request.profiles, _spelled_as_texts(request))
    first = Path(request.profiles[0])
    stem = as_label(first.name.split(".")[0])
    # The names of controls keep their meaning: they are computed from the labels of these wells.
    own = [name for name in dict.fromkeys(request.models) if name != "all" and _is_label(name, cards)]
    if len(own) > 1:
        raise InputError(f"--profiles holds the embeddings of one model and {', '.join(own)} were named; give one name")
    label = require_label(stem if request.screen is None else request.screen, "screen")
    return screen_of(profiles, label, model=own[0] if own else stem)


def _spelled_as_texts(request: Request) -> Reading:
    """How to read profiles: perturbations that are kept as numbers are spelled as the texts spell them."""
    reading = request.reading
    if not request.texts or not Path(request.texts).is_file():
        return reading
    columns = {**reading.columns, **request.texts_columns}
    return dataclasses.replace(reading, spellings=label_spellings(Path(request.texts), columns.get("perturbation")))


def _texts(request: Request, screen: Screen) -> Texts:
    """The other modality from its file; perturbations that are kept as numbers are spelled as the wells spell them."""
    labels = screen.wells.get(ROLES["perturbation"])
    spellings = frozenset() if labels is None else frozenset(labels.dropna())
    reading = dataclasses.replace(request.reading, spellings=spellings)
    return read_texts(str(request.texts), reading, request.texts_columns)


def _is_label(name: str, cards: Cards) -> bool:
    return name not in cards.models or cards.model(name).input == "profiles"


def _setting(request: Request, cards: Cards, screen: Screen, texts: Texts | None, cells: list[Cell]) -> _Setting:
    needed = any("gene" in cell.task.needs or (cell.card and cell.card.input == "annotations") for cell in cells)
    annotations = load_annotations(request.annotations) if needed else Annotations()
    own = {
        name: {"licence": screen.licence, "origin": f"screen {screen.id}", "n_pairs": len(pairs)}
        for name, pairs in screen.pairs.items()
    }
    wells = screen.wells
    plates = wells[[ROLES[role] for role in ("source", "plate") if ROLES[role] in wells]].drop_duplicates()
    shared = {
        "screen": {
            "id": screen.id,
            "revision": screen.revision,
            "sha256": provenance.screen_sha256(wells, screen.images_sha256),
            "n_wells": len(wells),
            "n_plates": len(plates) if ROLES["plate"] in wells else 0,
            "n_perturbations": len(treated(wells)),
            "dropped": dict(screen.dropped),
        },
        "annotations": {**annotations.origins, **own},
        "texts": texts and {"sha256": texts.sha256},
        "seed": request.seed,
        "environment": provenance.environment(),
        "phenobench": provenance.phenobench_version(),
    }
    pairs = {**annotations.pairs, **screen.pairs}
    return _Setting(request, cards, screen, dataclasses.replace(annotations, pairs=pairs), texts, shared)


def _score(cell: Cell, setting: _Setting, embedding: Embedded, normalized: Callable[[], Profiles]) -> Done:
    started = time.monotonic()
    request, task = setting.request, cell.task
    card_path = setting.cards.tasks[task.id]
    protocol = validate(task.variants[cell.variant], resolve(task.protocol, card_path), card_path)
    inputs = _inputs(cell, setting, embedding, protocol.model_dump(mode="json"))
    variant = None if cell.label == task.default else cell.label
    path = result_path(request.results, setting.screen.id, embedding.info.label, cell.normalization, task.id, variant)
    skipped = dict(setting.annotations.skipped) if "gene" in task.needs else {}
    texts_name = setting.texts.name if setting.texts else Inputs.texts_name
    # A name that sentences of the result say; texts have had none in earlier fingerprints.
    said = {"texts_name": texts_name} if "texts" in task.needs and texts_name != Inputs.texts_name else {}
    mark = fingerprint({**inputs, "normalization": cell.normalization, "unavailable": skipped, **said})
    cross_check = task.cross_check if request.cross_check else None
    if path.exists() and not request.overwrite:
        refuse_other_identity(path, inputs)
        there = read_result(path)
        if there.fingerprint == mark and cross_check is None:
            return Done(path, there, kept=True)
    profiles = normalized()
    # The two sides of a control share a space: they are split as a model's are, and not mapped.
    align = "identity" if cell.align and embedding.control else cell.align
    given = Inputs(
        setting.annotations.pairs,
        skipped,
        embedding.texts,
        align,
        request.seed,
        embedding.seen,
        request.device,
        texts_name,
    )
    scales = () if embedding.control else notes_on_scales(profiles)
    outcome: Outcome = resolve(task.function, card_path)(profiles, protocol, given)
    result = Result.model_validate(
        {
            **inputs,
            "schema_version": 1,
            "normalization": {"name": cell.normalization, "steps": profiles.steps},
            "scores": [dataclasses.asdict(score) for score in outcome.scores],
            "secondary": [dataclasses.asdict(score) for score in outcome.secondary],
            "skipped": dict(outcome.skipped),
            "warnings": [*setting.screen.notes, *profiles.notes, *scales, *outcome.warnings],
            "map": {"rows": outcome.map_rows, "n": outcome.map_n},
            "licence": _licences(cell, setting, embedding, inputs["annotations"]),
            "provenance": "measured",
            "fingerprint": mark,
            "run": {
                "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                "seconds": round(time.monotonic() - started, 3),
                "host": platform.node(),
                "command": shlex.join(sys.argv),
            },
        }
    )
    write_result(path, result, outcome.items)
    checks = resolve(cross_check, card_path)(profiles, protocol, outcome) if cross_check else []
    return Done(path, result, kept=False, checks=tuple(checks))


def _keep_projection(cell: Cell, setting: _Setting, embedding: Embedded, normalized: Callable[[], Profiles]) -> None:
    """Write where the wells of a figure lie, if that is asked for or what is there may be of other features."""
    request = setting.request
    # Controls are labels, and of profiles that came normalized there is no before.
    if embedding.control or request.scored_as:
        return
    path = projection_path(request.results, setting.screen.id, embedding.info.label, cell.normalization)
    if request.projections or (request.overwrite and path.exists()):
        projection = project(embedding.profiles, normalized(), setting.annotations.pairs)
        if projection is not None:
            write_projection(path, projection)


def _inputs(cell: Cell, setting: _Setting, embedding: Embedded, protocol: Mapping[str, Any]) -> dict[str, Any]:
    """What a result follows from, as the result says it."""
    task = cell.task
    uses_pairs = "gene" in task.needs or (cell.card is not None and cell.card.input == "annotations")
    return {
        **setting.shared,
        "screen": {**setting.shared["screen"], "dropped": {**setting.screen.dropped, **embedding.profiles.dropped}},
        "annotations": setting.shared["annotations"] if uses_pairs else {},
        "texts": setting.shared["texts"] if "texts" in task.needs else None,
        "model": embedding.info.model_dump(mode="json"),
        "task": {"id": task.id, "version": task.version, "variant": cell.label, "protocol": protocol},
    }


def _licences(
    cell: Cell, setting: _Setting, embedding: Embedded, origins: Mapping[str, Mapping[str, Any]]
) -> dict[str, str]:
    model = cell.card.licence if cell.card else "given by path"
    if embedding.info.weights.kind in ("demo", "random") and not embedding.info.weights.by_path:
        # The card's licence is that of the published weights; these and the code that reads them are our own.
        model = _OWN_LICENCE
    tables = {f"annotations {name}": str(origin["licence"]) for name, origin in sorted(origins.items())}
    return {"model": model, "screen": setting.screen.licence, **tables}
