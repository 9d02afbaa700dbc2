"""Cards: the TOML files that declare models, tasks and screens, where they are found, and what they may say."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, model_validator

import phenobench
from phenobench.errors import InputError, unknown

# Packages bring cards by an entry point of this group that names a package with a models/ or tasks/ folder.
ENTRY_POINTS = "phenobench.cards"
SUITE_FILE = "benchmark.toml"

Kind = Literal["models", "tasks", "screens"]
# How 16-bit pixels come to the 0-255 scale: by the type's full range, by the field's brightest pixels, or by
# percentiles of each channel over all sites of the plate.
SixteenBit = Literal["full-range", "brightest", "plate-percentiles"]


class Card(BaseModel):
    """What both kinds of card have."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    title: str
    summary: str


class HubFile(BaseModel):
    """One file on the Hugging Face hub.

    Attributes:
        hub: the repository.
        file: its path in there.
        revision: the commit; where it is not known yet, the branch whose commit the first download pins.
        sha256: of the file; where it is not known, the first download records it.
        licence: of the file.
        accept: the licence has to be accepted before the file is fetched.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    hub: str = Field(pattern=r"^[\w.-]+/[\w.-]+$")
    file: str
    revision: str = "main"
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    licence: str
    accept: bool = False


class WeightsFile(HubFile):
    """``[weights.<part>]`` of a model card."""


class DataFile(HubFile):
    """A file of a data set: the hub keeps data sets apart from models."""


class DemoFile(BaseModel):
    """``[demo.<part>]`` of a model card: one file of demonstration weights.

    Attributes:
        file: its path, from the card's folder.
        sha256: of the file.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class ModelCard(Card):
    """``models/<id>.toml``.

    ``input`` says what becomes profiles: the screen's ``labels`` (with the ``annotations`` too),
    which the adapter turns into features, its ``images``, or the ``profiles`` that the screen
    brings, which need no adapter.

    Attributes:
        adapter: a function of labels (see ``models.controls``), or a subclass of ``ImageAdapter``.
        status: whether weights are published, or why none are needed.
        trained: the adapter needs weights.
        weights: the published files by part; the part "model" is the one that a path alone stands for.
        demo: the files of the demonstration's weights by part.
        recipe: a subclass of ``training.recipe.Recipe``, where the model can be trained here.
        channels: the channels by name and in order; none where any will do.
        channel_orders: the orders, by name, of a model that was given its channels in more than one; the first one
            whose channels a screen has is taken.
        crop: side of the square that the model looks at; none for whole fields.
        texts: it embeds texts too, in the space of its images.
        sixteen_bit: how 16-bit images come to the 0-255 scale.
        precision: what the network computes in.
        dim: features of an embedding, for each channel if ``per_channel``; none where weights decide.
        per_channel: the embedding has ``dim`` features for each channel.
        parameters: numbers of parameters, of the encoder and, where it has more, of the whole file.
        network: sizes that no file of weights says, or of a network without weights; the adapter's own.
        training_data: what it was trained on, so that a reader sees what leaks; the screens' ids or names.
        training_note: how that bears on its scores.
        paper: where the model is described.
    """

    adapter: str | None = Field(default=None, pattern=r"^[\w.]+:\w+$")
    input: Literal["labels", "annotations", "images", "profiles"]
    status: Literal["control", "precomputed", "no weights needed", "weights not published", "weights published"]
    revision: str
    licence: str
    trained: bool = False
    weights: Mapping[str, WeightsFile] = {}
    demo: Mapping[str, DemoFile] = {}
    recipe: str | None = Field(default=None, pattern=r"^[\w.]+:\w+$")
    channels: tuple[str, ...] | None = None
    channel_orders: Mapping[str, tuple[str, ...]] = {}
    crop: int | None = Field(default=None, ge=1)
    texts: bool = False
    sixteen_bit: SixteenBit = "full-range"
    precision: Literal["float32", "bfloat16"] = "float32"
    dim: int | None = Field(default=None, ge=1)
    per_channel: bool = False
    parameters: Mapping[Literal["encoder", "file"], int] = {}
    network: Mapping[str, int | float | str] = {}
    training_data: tuple[str, ...] = ()
    training_note: str | None = None
    paper: str | None = None

    # Where the card was read. No value of it: a card says the same wherever it lies.
    _folder: Path = PrivateAttr(Path())

    @property
    def demo_files(self) -> dict[str, Path]:
        """Where the demonstration's weights are, by part."""
        return {part: self._folder / demo.file for part, demo in self.demo.items()}


class TaskCard(Card):
    """``tasks/<id>.toml``; what a variant may say is the task's own ``Protocol``.

    Attributes:
        needs: roles of wells, or "texts", without which the task cannot be scored.
        variant_needs: variant -> the same, of variants that need something else.
    """

    version: str
    function: str = Field(pattern=r"^[\w.]+:\w+$")
    protocol: str = Field(pattern=r"^[\w.]+:\w+$")
    cross_check: str | None = Field(default=None, pattern=r"^[\w.]+:\w+$")
    needs: tuple[str, ...]
    variant_needs: Mapping[str, tuple[str, ...]] = {}
    default: str
    variants: Mapping[str, Mapping[str, Any]]

    @model_validator(mode="after")
    def _default_is_a_variant(self) -> Self:
        if self.default not in self.variants:
            raise ValueError(f"default '{self.default}' is not among the variants {', '.join(self.variants)}")
        for name in self.variant_needs:
            if name not in self.variants:
                raise ValueError(f"variant_needs names '{name}', which is not among {', '.join(self.variants)}")
        return self

    def needed(self, variant: str) -> tuple[str, ...]:
        """What a variant needs."""
        return self.variant_needs.get(variant, self.needs)


C = TypeVar("C", bound=BaseModel)


@dataclass(frozen=True)
class Cards:
    """The cards in reach, each with the file it came from."""

    models: Mapping[str, Path]
    tasks: Mapping[str, Path]
    screens: Mapping[str, Path]

    def model(self, name: str) -> ModelCard:
        """The card of a model.

        Raises:
            InputError: there is none (did you mean), or it is malformed.
        """
        if name not in self.models:
            raise unknown("model", name, self.models)
        return load(self.models[name], ModelCard)

    def task(self, name: str) -> TaskCard:
        """The card of a task; errors as ``model``."""
        if name not in self.tasks:
            raise unknown("task", name, self.tasks)
        return load(self.tasks[name], TaskCard)


def find(given: Path | None = None) -> Cards:
    """Cards in ``given``, the nearest suite file's folder, entry points, and the package; the first of a name wins.

    Raises:
        InputError: ``given`` has none of the folders models/, tasks/ and screens/.
    """
    if given is not None and not any((given / kind).is_dir() for kind in ("models", "tasks", "screens")):
        raise InputError(f"--cards {given} has no models/, tasks/ or screens/ folder; give the folder that holds them")
    roots = list(_roots(given))
    return Cards(_scan(roots, "models"), _scan(roots, "tasks"), _scan([*roots, _package()], "screens"))


def _scan(roots: list[Path], kind: Kind) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for root in roots:
        for path in sorted((root / kind).glob("*.toml")):
            found.setdefault(path.stem, path)
    return found


def _roots(given: Path | None) -> Iterator[Path]:
    if given is not None:
        yield given
    suite = nearest_suite()
    if suite is not None:
        yield suite.parent
    for point in entry_points(group=ENTRY_POINTS):
        try:
            yield Path(str(files(point.value)))
        except ImportError as error:
            raise InputError(f"the plugin {point.name} cannot be imported ({error}); mend or uninstall it") from error
    yield package_root()


def package_root() -> Path:
    """The folder of the package's own cards: inside a wheel, or beside the package of an editable install."""
    inside = _package() / "_cards"
    return inside if inside.is_dir() else _package().parent


def _package() -> Path:
    return Path(str(files(phenobench)))


def nearest_suite() -> Path | None:
    """The ``benchmark.toml`` of the current folder or the nearest one above it."""
    here = Path.cwd()
    return next((folder / SUITE_FILE for folder in (here, *here.parents) if (folder / SUITE_FILE).is_file()), None)


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file as a dictionary.

    Raises:
        InputError: it cannot be read, or is no TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path} cannot be read as TOML ({error}); mend the file") from error


def load(path: Path, kind: type[C]) -> C:
    """Read and validate a card.

    Raises:
        InputError: no TOML, an unknown or missing key, a value of the wrong type, or an id that is
            not the file's name; the message names the key.
    """
    card = validate(read_toml(path), kind, path)
    if getattr(card, "id", path.stem) != path.stem:
        raise InputError(f"{path}: the id must be the file's name, '{path.stem}'")
    if isinstance(card, ModelCard):
        card._folder = path.parent
    return card


def validate(values: Mapping[str, Any], kind: type[C], origin: object) -> C:
    """Validate values against a pydantic model, with one sentence for what is wrong.

    Raises:
        InputError: naming origin and key.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "the file"
        hint = f"; known keys: {', '.join(kind.model_fields)}" if first["type"] == "extra_forbidden" else ""
        raise InputError(f"{origin}: {key}: {first['msg']}{hint}") from error
