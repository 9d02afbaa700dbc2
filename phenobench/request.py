"""What a user asks for, and the cells (model, normalization, task, variant) that follow from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from phenobench.cards import Cards, ModelCard, TaskCard
from phenobench.errors import InputError, unknown
from phenobench.hub import weights_are_here
from phenobench.normalization import CHAINS, DEFAULT, chain, keeps_axes
from phenobench.profiles import ROLES, Role
from phenobench.profiles.reading import Reading
from phenobench.results import require_label
from phenobench.screens import Screen
from phenobench.texts import Texts

ALL = "all"


@dataclass(frozen=True)
class Weights:
    """What image models are made from: files by part, random numbers, or with neither what there is."""

    parts: Mapping[str, Path] = field(default_factory=dict)
    random: bool = False


def parse_weights(given: Sequence[str] | None) -> Weights:
    """What ``--weights`` says: files, each alone or as ``PART=FILE``, or ``random``.

    Raises:
        InputError: a file does not exist, or a part is given twice.
    """
    if given == ["random"]:
        return Weights(random=True)
    parts: dict[str, Path] = {}
    for text in given or ():
        before, equals, after = text.partition("=")
        # A path may have a "=" in it.
        part, name = (before, after) if equals and not Path(text).is_file() else ("model", text)
        if part in parts:
            raise InputError(f"--weights {text}: the part '{part}' is given twice; write PART=FILE for each part")
        if not Path(name).is_file():
            raise InputError(f"--weights {text}: there is no such file; give a path, PART=PATH, or 'random' alone")
        parts[part] = Path(name)
    return Weights(parts)


@dataclass(frozen=True)
class Request:
    """A run as asked for.

    Attributes:
        models: ids of cards, or with ``profiles`` a free label; "all" means all that apply.
        tasks: ids of cards, or "all".
        normalizations: names of chains, or "all".
        variants: each holds for the tasks that have it; without one the task's default.
        screen: the id of a screen or, with ``profiles``, a free label.
        profiles: files of embeddings; none when the screen brings what the models need.
        reading: how to read them.
        texts: the file of the other modality.
        texts_columns: role -> column of that file, where it is not as in the profiles.
        normalizations_asked: they were named for this run and are no defaults.
        align: how two modalities get a common space; by default ridge where their dimensions differ.
        annotations: a folder of annotation tables, in place of the published ones.
        results: where results go.
        seed: of controls, resamples and splits.
        cards: a folder of cards that goes before the others.
        overwrite: replace results of another identity.
        weights: what image models are made from.
        device: where image models run, and wells of large screens are ranked.
        cross_check: compute each score with the field's own tool as well, where there is one.
        projections: keep where wells lie before and after each normalization.
        scored_as: the label of a normalization that was done before; nothing is normalized then.
    """

    models: tuple[str, ...]
    tasks: tuple[str, ...]
    normalizations: tuple[str, ...]
    results: Path
    screen: str | None = None
    root: Path | None = None
    variants: tuple[str, ...] = ()
    profiles: tuple[str, ...] = ()
    reading: Reading = field(default_factory=Reading)
    texts: str | None = None
    texts_columns: Mapping[str, str] = field(default_factory=dict)
    align: str | None = None
    annotations: Path | None = None
    seed: int = 0
    cards: Path | None = None
    overwrite: bool = False
    weights: Weights = field(default_factory=Weights)
    device: str = "auto"
    cross_check: bool = False
    projections: bool = False
    scored_as: str | None = None
    normalizations_asked: bool = False


@dataclass(frozen=True)
class Cell:
    """One result to make. ``wanted`` by name, or part of an "all" and then skipped where it does not apply."""

    model: str
    card: ModelCard | None
    normalization: str
    task: TaskCard
    variant: str
    align: str | None
    wanted: bool

    @property
    def label(self) -> str:
        """The variant as results call it; a fitted common space is part of the protocol."""
        return f"{self.variant}+{self.align}" if self.align else self.variant

    @property
    def name(self) -> str:
        """How messages call it."""
        variant = "" if self.label == self.task.default else f" ({self.label})"
        return f"{self.model}, {self.normalization}, {self.task.id}{variant}"


def expand(request: Request, cards: Cards, screen: Screen, texts: Texts | None) -> list[Cell]:
    """The cells of a request on a screen, in a fixed order.

    Raises:
        InputError: an unknown or inapplicable name, or nothing applies.
    """
    models = _models(request, cards, screen)
    tasks = _tasks(request, cards, screen, texts is not None)
    names = [*CHAINS, DEFAULT] if ALL in request.normalizations else list(dict.fromkeys(request.normalizations))
    if request.scored_as is not None:
        names = [require_label(request.scored_as, "normalization")]
    else:
        for name in names:
            chain(name)
    align = _align(request, screen, texts)
    own_space = _own_space(request, names) if align is None else names
    wanted = ALL not in (*request.models, *request.tasks, *request.normalizations)
    speechless = [model for model, card in models if not _has_texts(card, texts)]
    if wanted and speechless and any("texts" in task.needs for task, _ in tasks):
        raise InputError(
            f"{speechless[0]} embeds no texts, so it has no cross-modal score on {screen.id}; leave it out, or give "
            "embeddings of the texts with --texts FILE"
        )
    # Normalizations outside, tasks inside: each normalization is fitted once.
    return [
        Cell(model, card, name, task, variant, align if "texts" in task.needs else None, wanted)
        for model, card in models
        for name in dict.fromkeys([*names, *own_space])
        for task, variant in tasks
        if name in (own_space if "texts" in task.needs else names)
        if "texts" not in task.needs or model not in speechless
    ]


def _has_texts(card: ModelCard | None, texts: Texts | None) -> bool:
    """Whether a model has a text side: embeddings that are given, its own, or those of a control."""
    return texts is None or texts.embedded or (card is not None and (card.texts or card.status == "control"))


def _align(request: Request, screen: Screen, texts: Texts | None) -> str | None:
    """How texts and images get a common space: as asked, else by ridge where their dimensions differ."""
    if request.align is not None or texts is None or not texts.embedded or screen.embeddings is None:
        return request.align
    return "ridge" if texts.rows.features.shape[1] != screen.embeddings.features.shape[1] else None


def _own_space(request: Request, names: list[str]) -> list[str]:
    """The normalizations for a task in the space that a model shares with its texts: none, unless one is asked for."""
    if request.scored_as is not None or request.normalizations_asked:
        return names
    return list(filter(keeps_axes, names)) or ["none"]


def _models(request: Request, cards: Cards, screen: Screen) -> list[tuple[str, ModelCard | None]]:
    wanted = request.models
    known = {name: cards.model(name) for name in cards.models}
    found: dict[str, ModelCard | None] = {}
    for name in wanted or filter(None, [screen.model]):
        if name == ALL:
            if screen.model is not None:
                found[screen.model] = known.get(screen.model)
            takes = {"labels", "annotations"} | ({"images"} if screen.images is not None else set())
            found.update(
                {name: card for name, card in known.items() if card.input in takes and _is_here(card, request)}
            )
        elif name == screen.model:
            found[require_label(name, "model")] = known.get(name)
        elif name not in known:
            raise unknown("model", name, [*known, *filter(None, [screen.model])])
        elif known[name].input == "profiles":
            raise InputError(f"the screen {screen.id} does not bring embeddings of {name}; give them with --profiles")
        elif known[name].input == "images" and screen.images is None:
            raise InputError(f"{name} embeds images and the screen {screen.id} has none; name another with --screen")
        else:
            found[name] = known[name]
    return list(found.items())


def _is_here(card: ModelCard, request: Request) -> bool:
    """Whether "all" means this model: not one that needs weights of which none are here, unless some are named."""
    named = request.weights.random or bool(request.weights.parts)
    return named or not card.trained or bool(card.demo) or (bool(card.weights) and weights_are_here(card))


def _tasks(request: Request, cards: Cards, screen: Screen, has_texts: bool) -> list[tuple[TaskCard, str]]:
    roles: tuple[Role, ...] = ("plate", "well", "perturbation", "gene", "target")
    available: set[str] = {role for role in roles if _has(screen, role)}
    if has_texts:
        available.add("texts")
    chosen: list[TaskCard] = []
    for name in request.tasks:
        if name == ALL:
            chosen += [card for card in map(cards.task, cards.tasks) if not _missing(card, request, available)]
        else:
            chosen.append(cards.task(name))
            missing = _missing(chosen[-1], request, available)
            if missing:
                without = [
                    variant for variant in chosen[-1].variants if available.issuperset(chosen[-1].needed(variant))
                ]
                raise InputError(
                    f"{name} needs the {missing[0]}, which {screen.id} does not have; {_remedy(missing[0])}"
                    + (f", or take a variant that does without it, --variant {without[0]}" if without else "")
                )
    if not chosen:
        raise InputError(f"no task applies to {screen.id}; it has {', '.join(sorted(available)) or 'no labels'}")
    chosen = list({card.id: card for card in chosen}.values())
    for variant in request.variants:
        if not any(variant in card.variants for card in chosen):
            raise unknown("variant", variant, [name for card in chosen for name in card.variants])
    return [(card, variant) for card in chosen for variant in _variants(card, request)]


def _variants(card: TaskCard, request: Request) -> list[str]:
    return [name for name in dict.fromkeys(request.variants) if name in card.variants] or [card.default]


def _missing(card: TaskCard, request: Request, available: set[str]) -> list[str]:
    """What the asked variants of a task need and the screen does not have."""
    needed = {role for variant in _variants(card, request) for role in card.needed(variant)}
    return sorted(needed - available)


def _has(screen: Screen, role: Role) -> bool:
    return ROLES[role] in screen.wells and bool(screen.wells[ROLES[role]].notna().any())


def _remedy(role: str) -> str:
    if role == "texts":
        return "name its file with --texts FILE"
    return f"name its column with --column {role}=NAME" + (
        ", or take each file for one, --plate-from-file" * (role == "plate")
    )
