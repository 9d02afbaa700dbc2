"""What all recipes can be told: TOML files, of which the package brings the paper's and the demonstration's."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from phenobench.cards import read_toml, validate


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Optimisation(_Section):
    """``[optimisation]``: AdamW, learning rate with a linear warm-up and a cosine, weight decay along a cosine.

    Attributes:
        steps: updates of the weights.
        batch: samples of an update, over all processes.
        accumulate: parts that a process computes its share of the batch in; where samples of a part are compared with
            each other, fewer samples are.
        lr_start: learning rate that the warm-up starts from.
        lr_peak: where it ends.
        lr_final: where the cosine ends.
        warmup: share of the steps.
        stretch: schedules run as if there were so many times the steps, so that they end above their final value.
        decay_start: weight decay at first; biases, norms and other vectors are not decayed.
        decay_final: and at the end.
        clip: largest norm of the gradient of what is clipped.
    """

    steps: int = Field(ge=1)
    batch: int = Field(ge=2)
    accumulate: int = Field(default=1, ge=1)
    lr_start: float = Field(ge=0)
    lr_peak: float = Field(gt=0)
    lr_final: float = Field(ge=0)
    warmup: float = Field(ge=0, le=1)
    stretch: float = Field(default=1.0, ge=1)
    decay_start: float = Field(ge=0)
    decay_final: float = Field(ge=0)
    clip: float = Field(gt=0)


class Running(_Section):
    """``[running]``: what changes no weight, and may be another when a training is resumed.

    Attributes:
        device: as ``load_model``'s.
        readers: threads that cut the next batches.
        kept_gb: memory for fields.
        log_steps: a line in the log every so many steps.
        save_steps: a checkpoint every so many steps.
        save_seconds: and after so much time.
    """

    device: str = "auto"
    readers: int = Field(default=1, ge=1)
    kept_gb: float = Field(default=8.0, ge=0)
    log_steps: int = Field(default=10, ge=1)
    save_steps: int = Field(default=1000, ge=1)
    save_seconds: float = Field(default=120.0, gt=0)


class TrainingConfig(_Section):
    """What every recipe's configuration has.

    Attributes:
        kind: what the weights are called wherever they are used.
        seed: of everything that is random.
        precision: of the weights in the final file; training keeps float32.
        compute: what matrix products are computed in, where the device is made for it.
        channels: by name and in the order of the weights; those of the screen if left out.
        optimisation: see there.
        running: see there.
    """

    kind: Literal["demo", "trained"] = "trained"
    seed: int = Field(default=0, ge=0)
    precision: Literal["float32", "float16"] = "float32"
    compute: Literal["float32", "bfloat16"] = "bfloat16"
    channels: tuple[str, ...] | None = None
    optimisation: Optimisation
    running: Running = Running()


C = TypeVar("C", bound=TrainingConfig)


def read_config(given: Path | None, model: str, kind: type[C]) -> C:
    """The configuration in a file, or the demonstration's of a model.

    Args:
        given: a TOML file, or the name of a configuration of the package: ``demo`` or ``paper``.
        model: the model's id.
        kind: the recipe's configuration.

    Raises:
        InputError: it cannot be read, or says something wrong; the key is named.
    """
    own = packaged(model, str(given or "demo"))
    path = own if given is None or (own.is_file() and not given.exists()) else given
    return validate(read_toml(path), kind, path)


def packaged(model: str, name: str) -> Path:
    """Where the package keeps a configuration."""
    return Path(__file__).parent / "configs" / f"{model}-{name}.toml"
