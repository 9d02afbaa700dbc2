"""The loop that all recipes share: schedules, AdamW, accumulation, clipping, checkpoints, log."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from phenobench.errors import InputError
from phenobench.models.device import pick_dtype
from phenobench.training.config import Optimisation
from phenobench.training.distributed import World
from phenobench.training.log import Log, draw_curves
from phenobench.training.recipe import Outcome, Recipe
from phenobench.training.schedules import cosine, warmed_cosine
from phenobench.training.state import STATE, Told, load_state, save_state

# Called with the updates that are done, all of them, and the last figures of the log.
Watch = Callable[[int, int, Mapping[str, float]], None]


def fit(
    recipe: Recipe[Any], out: Path, told: Told, resume: bool, world: World, device: torch.device, watch: Watch
) -> int:
    """Train until all steps are done, or a signal asks to stop.

    The state is kept in ``out`` every so often and when a signal comes, and is whole whatever happens between.

    Returns:
        The updates that are done.

    Raises:
        InputError: the folder holds a training already, or none to resume; it cannot be written; the batch does not
            divide; the loss is no number any more.
    """
    rules, running = recipe.config.optimisation, recipe.config.running
    if rules.batch % (rules.accumulate * world.size):
        raise InputError(
            f"a batch of {rules.batch} does not divide into {rules.accumulate} parts for {world.size} processes; "
            "change optimisation.batch"
        )
    if not resume and (out / STATE).exists():
        raise InputError(f"{out} holds a training already; add --resume to go on with it, or name another folder")
    for module in recipe.kept.values():
        module.to(device)
    optimiser = _optimiser(recipe)
    start = load_state(out, told, recipe.kept, optimiser) if resume else 0
    network = parallel(recipe.network, world, device)
    log = Log(out, start) if world.first else None
    clock = _Clock(start, rules.batch * recipe.images)
    saved = time.monotonic()
    done = start
    outcome: Outcome | None = None
    with _signals() as asked, _batches(recipe, start, world) as batches:
        for step in range(start, rules.steps):
            rates = _set_rates(optimiser, rules, step)
            optimiser.zero_grad()
            outcome = accumulate(recipe, network, batches, step, device)
            norm = nn.utils.clip_grad_norm_(recipe.clipped.parameters(), rules.clip)
            optimiser.step()
            recipe.after_update(step)
            done = step + 1
            stop = world.any(asked.is_set())
            last = stop or done == rules.steps
            figures: Mapping[str, float] = {}
            if log is not None and (last or done % running.log_steps == 0):
                loss = _finite(outcome.loss.item(), done)
                figures = {"step": done, "loss": loss, **outcome.figures(), **rates, "gradient_norm": norm.item()}
                figures = {**figures, **clock.rate(done)}
                log.add(figures)
            if world.first:
                watch(done, rules.steps, figures)
            due = done % running.save_steps == 0 or time.monotonic() - saved > running.save_seconds
            if world.first and (last or due):
                _finite(outcome.loss.item(), done)
                save_state(out, done, told, recipe.kept, optimiser)
                saved = time.monotonic()
            if stop:
                break
    if world.first:
        draw_curves(out)
    return done


def accumulate(
    recipe: Recipe[Any], network: nn.Module, batches: Iterator[Any], step: int, device: torch.device
) -> Outcome:
    """Add up the gradients of a step's batch, part by part; what the last part gave."""
    parts = recipe.config.optimisation.accumulate
    dtype = pick_dtype(recipe.config.compute, device)
    for part in range(parts):
        with apart(network) if part < parts - 1 else nullcontext():
            with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
                outcome = recipe.loss(network, next(batches), step, device)
            torch.autograd.backward(outcome.loss / parts)
    return outcome


def apart(network: nn.Module) -> AbstractContextManager[None]:
    """While it lasts processes keep their gradients to themselves: they exchange them once, at a step's last part."""
    return network.no_sync() if isinstance(network, DistributedDataParallel) else nullcontext()


def parallel(network: nn.Module, world: World, device: torch.device) -> nn.Module:
    """The network as each process calls it."""
    if world.size == 1:
        return network
    return DistributedDataParallel(network, device_ids=[device] if device.type == "cuda" else None)


def _optimiser(recipe: Recipe[Any]) -> torch.optim.AdamW:
    plain = recipe.undecayed()
    decayed: dict[bool, list[nn.Parameter]] = {True: [], False: []}
    for name, parameter in recipe.network.named_parameters():
        decayed[parameter.ndim > 1 and name not in plain].append(parameter)
    return torch.optim.AdamW(
        [{"params": parameters, "decays": decays} for decays, parameters in decayed.items()],
        lr=recipe.config.optimisation.lr_start,
    )


def _set_rates(optimiser: torch.optim.Optimizer, rules: Optimisation, step: int) -> dict[str, float]:
    total, warmup = rules.steps * rules.stretch, rules.steps * rules.warmup
    rate = warmed_cosine(step, total, warmup, rules.lr_start, rules.lr_peak, rules.lr_final)
    decay = cosine(step, total, rules.decay_start, rules.decay_final)
    for group in optimiser.param_groups:
        group["lr"], group["weight_decay"] = rate, decay if group["decays"] else 0.0
    return {"learning_rate": rate, "weight_decay": decay}


def _finite(loss: float, step: int) -> float:
    if not math.isfinite(loss):
        raise InputError(f"the loss is {loss} at step {step}; lower optimisation.lr_peak and start again")
    return loss


class _Clock:
    """Images a second since the last time it was asked."""

    def __init__(self, step: int, images: int) -> None:
        self._step, self._images, self._start, self._before = step, images, time.monotonic(), time.monotonic()

    def rate(self, step: int) -> dict[str, float]:
        now = time.monotonic()
        rate = (step - self._step) * self._images / max(now - self._before, 1e-9)
        self._step, self._before = step, now
        return {"images_per_second": round(rate, 1), "seconds": round(now - self._start, 1)}


@contextmanager
def _batches(recipe: Recipe[Any], start: int, world: World) -> Iterator[Iterator[Any]]:
    """All batches from a step on, in order; the next ones are cut while a step is computed."""
    rules, readers = recipe.config.optimisation, recipe.config.running.readers
    jobs = ((step, part) for step in range(start, rules.steps) for part in range(rules.accumulate))
    with ThreadPoolExecutor(readers) as pool:

        def ahead() -> Iterator[Any]:
            waiting = deque(pool.submit(recipe.batch, *job, world) for job in islice(jobs, readers + 1))
            while waiting:
                ready = waiting.popleft()
                yield ready.result()
                waiting.extend(pool.submit(recipe.batch, *job, world) for job in islice(jobs, 1))

        yield ahead()


@contextmanager
def _signals() -> Iterator[threading.Event]:
    """An event that Ctrl-C or SIGTERM sets; a second one ends the program as ever."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before = {sent: signal.getsignal(sent) for sent in (signal.SIGINT, signal.SIGTERM)}

    def ask(number: int, frame: object) -> None:
        asked.set()
        signal.signal(number, before[signal.Signals(number)])

    for sent in before:
        signal.signal(sent, ask)
    try:
        yield asked
    finally:
        for sent, handler in before.items():
            signal.signal(sent, handler)
