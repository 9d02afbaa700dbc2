"""Results: the schema of a result file, where it lies, and writing it whole or not at all."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
)

from phenobench.errors import InputError
from phenobench.files import atomic, write_text

if TYPE_CHECKING:
    import pandas as pd

SCHEMA_VERSION = 1
# Labels become folder names: no separators, no leading dot, nothing a shell or a page would mind.
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")
Label = Annotated[str, Field(pattern=f"^{_LABEL.pattern}$")]
# The largest results have some hundred scores and less than 1 MB; what is far beyond was not written by a run.
_MOST_BYTES, _MOST_SCORES = 8 * 2**20, 10_000


WeightsKind = Literal["official", "trained", "demo", "random", "precomputed"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Weights(_Part):
    """What the features came from; the hash is of weights, precomputed features or a control's definition.

    ``by_path`` are files that were given by path and are neither the published nor the demonstration's.
    """

    kind: WeightsKind
    sha256: str
    by_path: bool = False


class TrainingInfo(_Part):
    """How weights were made, where their file says it.

    Attributes:
        screen: the id of the screen that they were trained on.
        perturbations: how many they saw there.
        steps: updates.
        samples: drawn in all.
        seed: of the training.
        overlap: how many perturbations of the scored screen are among those seen.
    """

    screen: str
    perturbations: int
    steps: int
    samples: int
    seed: int
    overlap: int


# What a model's part of a result does not have where nothing is known of it.
_LEFT_OUT = ("sixteen_bit", "feature_names_sha256")


class ModelInfo(_Part):
    """Which model; ``status`` is that of its card, ``precision`` what its network computed in, if it has one.

    ``sixteen_bit`` says how images of 16 bits came to 8 (see ``plate_scale.sixteen_bit_record``); a result of others
    does not have it. ``feature_names_sha256`` is the hash of the features' names in their order, which results of
    earlier versions do not have.
    """

    id: Label
    revision: str
    status: str
    weights: Weights
    n_features: int
    precision: str | None = None
    training: TrainingInfo | None = None
    sixteen_bit: Mapping[str, str | float] | None = None
    feature_names_sha256: str | None = None

    @model_serializer(mode="wrap")
    def _without_an_absent_record(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = serialize(self)
        return {name: value for name, value in values.items() if name not in _LEFT_OUT or value is not None}

    @property
    def label(self) -> str:
        """The id, with ``@`` and the kind of weights where they are not the official ones (or their hash)."""
        kind = self.weights.kind
        suffix = self.weights.sha256[:8] if kind == "trained" or self.weights.by_path else kind
        return self.id if kind in ("official", "precomputed") else f"{self.id}@{suffix}"


class TaskInfo(_Part):
    """Which task, with the protocol of its variant in full."""

    id: Label
    version: str
    variant: Label
    protocol: Mapping[str, Any]


class ScreenInfo(_Part):
    """Which wells; the hash is over their labels and never over embeddings."""

    id: Label
    revision: str
    sha256: str
    n_wells: int
    n_plates: int
    n_perturbations: int
    dropped: Mapping[str, int]


class NormalizationInfo(_Part):
    """What was done to the features, and what each step was fitted on."""

    name: Label
    steps: tuple[Mapping[str, Any], ...]


class ScoreInfo(_Part):
    """One number; see ``tasks.outcome.Score``."""

    metric: str
    subset: str
    value: FiniteFloat
    chance: FiniteFloat
    ceiling: FiniteFloat
    ci_low: FiniteFloat
    ci_high: FiniteFloat
    n: int
    unit: str
    higher_is_better: bool
    too_few: bool


class MapInfo(_Part):
    """What was compared with what."""

    rows: str
    n: int


class Result(_Part):
    """A result file. All but ``run`` is the same whenever the same inputs are scored again."""

    schema_version: Literal[1]
    model: ModelInfo
    task: TaskInfo
    screen: ScreenInfo
    normalization: NormalizationInfo
    scores: tuple[ScoreInfo, ...] = Field(min_length=1, max_length=_MOST_SCORES)
    secondary: tuple[ScoreInfo, ...] = Field(max_length=_MOST_SCORES)
    skipped: Mapping[str, str]
    warnings: tuple[str, ...]
    map: MapInfo
    annotations: Mapping[str, Mapping[str, str | int]]
    texts: Mapping[str, str] | None
    seed: int
    environment: Mapping[str, str]
    phenobench: Mapping[str, str | None]
    licence: Mapping[str, str]
    provenance: Literal["measured", "published"]
    fingerprint: str
    run: Mapping[str, Any]


def require_label(label: str, what: str) -> str:
    """A name that can be a folder's.

    Raises:
        InputError: it has characters that a path must not have.
    """
    if not _LABEL.fullmatch(label):
        raise InputError(f"the {what} '{label}' cannot name a folder; use letters, digits and . _ + - (not first)")
    return label


def as_label(name: str) -> str:
    """A file's or folder's name as a label: other characters become ``-``."""
    return re.sub(r"[^A-Za-z0-9._+-]+", "-", name).strip("-._+") or "unnamed"


def result_path(results: Path, screen: str, model: str, normalization: str, task: str, variant: str | None) -> Path:
    """``results/<screen>/<model>/<normalization>/<task>[.<variant>].json``; ``variant`` None is the default."""
    return results / screen / model / normalization / (f"{task}.{variant}.json" if variant else f"{task}.json")


def find_results(results: Path) -> list[Path]:
    """All result files below a folder, in a fixed order."""
    return sorted(results.glob("*/*/*/*.json"))


def items_path(result: Path) -> Path:
    """Where a result's items lie."""
    return result.with_name(result.name.removesuffix(".json") + ".items.parquet")


def fingerprint(inputs: Mapping[str, Any]) -> str:
    """The hash of everything a result follows from: equal fingerprints, equal results."""
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()


def read_result(path: Path) -> Result:
    """Read and validate a result.

    Raises:
        InputError: unreadable, another schema version, or not as the schema says.
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ValueError(f"it has more than {_MOST_BYTES} bytes, which no result has")
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read as a result ({error}); remove it or run with --overwrite") from error
    version = values.get("schema_version") if isinstance(values, dict) else None
    if version != SCHEMA_VERSION:
        raise InputError(
            f"{path} has schema_version {version} and this phenobench reads {SCHEMA_VERSION}; "
            "use the version that wrote it"
        )
    try:
        return Result.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise InputError(f"{path}: {key}: {first['msg']}; remove the file or run with --overwrite") from error


def write_result(path: Path, result: Result, items: pd.DataFrame) -> None:
    """Write the items, then the result: a result is there only with its items.

    Raises:
        InputError: the folder cannot be written.
    """
    with atomic(items_path(path)) as temporary:
        items.to_parquet(temporary, index=False, compression="zstd")
    text = json.dumps(result.model_dump(mode="json"), indent=2, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")


def refuse_other_identity(path: Path, inputs: Mapping[str, Any]) -> None:
    """Keep a result of other weights, another screen or another version of the task from being written over.

    Raises:
        InputError: naming what differs.
    """
    there = read_result(path)
    pairs = {
        "weights": (there.model.weights.sha256, inputs["model"]["weights"]["sha256"]),
        "screen": (there.screen.sha256, inputs["screen"]["sha256"]),
        "task version": (there.task.version, inputs["task"]["version"]),
    }
    for what, (old, new) in pairs.items():
        if old != new:
            raise InputError(
                f"{path} holds a result of another {what} ({old[:12]} there, {new[:12]} now); "
                "use --overwrite, another --results folder or another --model name"
            )
