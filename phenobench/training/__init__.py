"""Training: recipes that make a model's weights from a screen. ``train`` is what the command line calls."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from phenobench.errors import InputError
from phenobench.screens import Screen

if TYPE_CHECKING:
    from phenobench.training.trainer import Watch

WEIGHTS = "weights.safetensors"
# What a pair of CWA-MSN's views is of: two wells of a perturbation, or one, which is plain MSN.
Pairs = Literal["cross-well", "same-well"]
PAIRS: tuple[Pairs, ...] = ("cross-well", "same-well")


@dataclass(frozen=True)
class Trained:
    """What a training came to.

    Attributes:
        steps: updates that are done.
        total: those that the configuration asks for.
        weights: the final weights; None where a signal stopped the training before.
        first: of several processes this is the one that writes.
    """

    steps: int
    total: int
    weights: Path | None
    first: bool = True


def train(
    model: str,
    screen: Screen,
    out: Path,
    config: Path | None = None,
    pairs: Pairs | None = None,
    resume: bool = False,
    watch: Watch = lambda done, total, figures: None,
) -> Trained:
    """Train a model on a screen; all that is written goes to ``out``.

    ``log.jsonl`` and ``loss.png`` show how it went, ``state.pt`` is what a later call resumes from, and
    ``weights.safetensors`` is the result. Ctrl-C and SIGTERM end it after the step at hand. The same screen,
    configuration and seed give the same weights on the CPU, stopped and resumed or not.

    Args:
        model: an id with a recipe.
        screen: has images.
        out: a folder, made where it is absent.
        config: a TOML file, or ``demo`` or ``paper`` for one of the package's; the demonstration's if None.
        pairs: of CWA-MSN; ``same-well`` is plain MSN. None leaves it to the configuration.
        resume: go on with the training in ``out``.
        watch: called after each step.

    Raises:
        InputError: the model has no recipe; the screen has no pairs or lacks a channel; the configuration does not do;
            ``out`` cannot be written or holds another training. The last state is whole.
    """
    from phenobench.cards import find
    from phenobench.models.device import pick_device
    from phenobench.registry import resolve
    from phenobench.training.distributed import joined, local_device
    from phenobench.training.state import Told
    from phenobench.training.trainer import fit

    cards = find()
    card = cards.model(model)
    if card.recipe is None:
        known = [name for name in cards.models if cards.model(name).recipe]
        raise InputError(f"{model} has no recipe, so it cannot be trained here; these have one: {', '.join(known)}")
    _require_writable(out)
    with joined() as world:
        if not world.first:
            world.wait()  # until the first has rendered or fetched the images, which one process does as well as many
        recipe = resolve(card.recipe, model).make(card, screen, config, pairs)
        if world.first:
            world.wait()
        device = local_device(pick_device(recipe.config.running.device))
        told = Told(model, screen.images_sha256 or "", recipe.config.model_dump(mode="json", exclude={"running"}))
        done = fit(recipe, out, told, resume, world, device, watch)
        total = recipe.config.optimisation.steps
        if done < total:
            return Trained(done, total, None, world.first)
        if world.first:
            recipe.write(out / WEIGHTS, done)
        world.wait()
        return Trained(done, total, out / WEIGHTS, world.first)


def _require_writable(out: Path) -> None:
    """Refuse a folder that cannot be written before the screen is read, which may take long."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise InputError(f"{out} cannot be written ({error.strerror}); name another folder with --out") from error
