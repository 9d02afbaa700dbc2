"""Does pairing two wells of a perturbation beat plain MSN, and the more so the larger the batch effects?

``python -m benchmarks.cross_well_alignment [--out runs/cross-well-alignment] [--seeds 3] [--steps 350]``

CWA-MSN and plain MSN differ in nothing but their pairs. Each is trained on the simulated training screen, with its
batch effects as they are and doubled, and scored on the default screen or on its twin with doubled effects, which
share no perturbation with what was trained on. Random weights of the same architecture, at the better of two
readouts, and pixel statistics are the yardsticks. A training that is finished is kept, one that was cut goes on.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import torch
import typer

from benchmarks import RESULTS
from benchmarks.markdown import table
from phenobench.cards import find, validate
from phenobench.embedding import embed
from phenobench.errors import InputError
from phenobench.files import write_text
from phenobench.models import load_model
from phenobench.models.adapter import ImageAdapter
from phenobench.models.cwa_msn import CwaMsn, build, preprocess, random_checkpoint
from phenobench.models.networks import VitShape
from phenobench.normalization import normalize
from phenobench.profiles import Profiles
from phenobench.registry import resolve
from phenobench.screens import Screen, load_screen
from phenobench.sources import embedding_key
from phenobench.tasks.comparison import compare
from phenobench.tasks.outcome import Inputs
from phenobench.training import WEIGHTS
from phenobench.training.config import packaged, read_config
from phenobench.training.cwa_msn import CwaMsnConfig

# What is trained on, and what is scored.
SCREENS = {"as is": ("simulated-training", "simulated"), "doubled": ("simulated-training-hard", "simulated-hard")}
RECIPES = {"CWA-MSN": "cross-well", "MSN": "same-well"}
READOUTS = ("CLS", "mean")
NORMALIZATIONS = ("none", "center", "center+tvn")
# The column that a task's score is the mean of.
TASKS = {"replicate-retrieval": "average_precision", "gene-gene": "hit"}
MODEL = "cwa-msn"
FILE = "cross_well_alignment.json"
_INTRODUCTION = """## Cross-well alignment

`python -m benchmarks.cross_well_alignment`: CWA-MSN against plain MSN, which differs from it in its pairs; {steps}
steps of 48 pairs each, {seeds} seeds, ViT of width 128 and depth 4. Scores are means over seeds, under each task's
default protocol; "random" is the same architecture untrained. Differences are paired on perturbations (mAP) or gene
pairs (planted recall), with 95 % intervals; (+) and (-) mark those that do not hold 0. With "doubled", batch effects
are doubled in the screen that is trained on as in the one that is scored.
"""
_GROWTH = """
How much larger the advantage of CWA-MSN over MSN is with doubled batch effects:

"""

# Items of all seeds of a model, by task.
Items = Mapping[str, pd.DataFrame]


class MeanReadout(CwaMsn):
    """The mean of the patches' tokens in place of CLS, which is what suits random weights."""

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        """Embeddings (n, width)."""
        tokens: list[torch.Tensor] = []
        hook = self.network.blocks[-1].register_forward_hook(  # type: ignore[union-attr, index]
            lambda module, given, out: tokens.append(out)
        )
        self.network(preprocess(crops))
        hook.remove()
        mean: torch.Tensor = self.network.norm(tokens[0]).float()[:, 1:].mean(dim=1)  # type: ignore[operator]
        return mean


@dataclass(frozen=True)
class Study:
    """Where the study is kept, and how long it trains."""

    out: Path
    seeds: int
    steps: int

    def folder(self, effects: str, recipe: str, seed: int) -> Path:
        """A training's folder."""
        return self.out / f"{SCREENS[effects][0]}-{RECIPES[recipe]}-seed{seed}"

    def train(self, effects: str, recipe: str, seed: int) -> None:
        """Train one model, in a process of its own; go on with what is there."""
        folder = self.folder(effects, recipe, seed)
        if (folder / WEIGHTS).exists():
            return
        folder.mkdir(parents=True, exist_ok=True)
        config = folder / "config.toml"
        config.write_text(self.config(seed), encoding="utf-8")
        told = ["--model", MODEL, "--screen", SCREENS[effects][0], "--pairs", RECIPES[recipe], "--out", str(folder)]
        more = ["--resume"] if (folder / "state.pt").exists() else []
        command = [sys.executable, "-m", "phenobench", "train", *told, "--config", str(config), *more]
        # A thread each: two processes of one thread are faster than one of two.
        subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL)

    def config(self, seed: int) -> str:
        """The demonstration's configuration, for a shorter training from another seed."""
        text = packaged(MODEL, "demo").read_text(encoding="utf-8")
        for key, value in {"steps": self.steps, "seed": seed, "kind": '"trained"'}.items():
            text, changed = re.subn(rf"^{key} = .*$", f"{key} = {value}", text, count=1, flags=re.MULTILINE)
            if not changed:
                raise InputError(f"the demonstration's configuration of {MODEL} has no {key}; write it there")
        return text


def embedded(screen: Screen, adapter: ImageAdapter, out: Path, name: str) -> Profiles:
    """Profiles of a screen, kept in the study's folder."""
    key = embedding_key(screen, find().model(adapter.id), adapter) + name
    return embed(screen, adapter, out / "embeddings" / screen.id / name, key)


def random_adapter(seed: int, readout: str, channels: Sequence[str]) -> ImageAdapter:
    """The demonstration's architecture with random weights."""
    sizes = read_config(None, MODEL, CwaMsnConfig).network.model_dump(exclude={"head_hidden", "head_out"})
    shape = VitShape(channels=len(channels), **sizes)
    kind = CwaMsn if readout == "CLS" else MeanReadout
    checkpoint = random_checkpoint(shape, channels, seed)
    adapter = kind(find().model(MODEL), partial(build, checkpoint), "random", f"random {seed} {shape}", "auto")
    adapter.channels, adapter._n_channels = checkpoint.channels, shape.channels
    return adapter


def items_of(screen: Screen, profiles: Profiles) -> dict[str, dict[str, pd.DataFrame]]:
    """What the tasks' scores are means of, by normalization and task, under each task's default protocol."""
    cards = find()
    found: dict[str, dict[str, pd.DataFrame]] = {}
    for name in NORMALIZATIONS:
        normalized = normalize(profiles, name)
        for task in TASKS:
            card = cards.task(task)
            protocol = validate(card.variants[card.default], resolve(card.protocol, task), cards.tasks[task])
            outcome = resolve(card.function, task)(normalized, protocol, Inputs(pairs=dict(screen.pairs)))
            found.setdefault(name, {})[task] = outcome.items
    return found


def measure(study: Study, effects: str) -> dict[str, dict[str, Items]]:
    """Items of all models on one screen, by normalization and model, those of all seeds together."""
    screen = load_screen(SCREENS[effects][1])
    seeds = range(study.seeds)
    profiles: dict[str, list[Profiles]] = {"pixel-statistics": []}
    profiles["pixel-statistics"].append(embedded(screen, load_model("pixel-statistics"), study.out, "pixel-statistics"))
    for readout in READOUTS:
        profiles[f"random, {readout}"] = [
            embedded(screen, random_adapter(seed, readout, screen.channels), study.out, f"random-{readout}-{seed}")
            for seed in seeds
        ]
    for recipe in RECIPES:
        folders = [study.folder(effects, recipe, seed) for seed in seeds]
        profiles[recipe] = [
            embedded(screen, load_model(MODEL, weights=folder / WEIGHTS, device="auto"), study.out, folder.name)
            for folder in folders
        ]
    found: dict[str, dict[str, Items]] = {name: {} for name in NORMALIZATIONS}
    for model, of_seeds in profiles.items():
        scored = [items_of(screen, one) for one in of_seeds]
        for name in NORMALIZATIONS:
            found[name][model] = {task: pd.concat([one[name][task] for one in scored]) for task in TASKS}
    return found


def mean(items: pd.DataFrame, task: str) -> float:
    """The task's score, which is a mean over perturbations or pairs, over all seeds."""
    key = ["perturbation"] if task == "replicate-retrieval" else ["entity1", "entity2"]
    return float(items.groupby(key)[TASKS[task]].mean().mean())


def rows(effects: str, measured: Mapping[str, Mapping[str, Items]]) -> list[dict[str, object]]:
    """Scores of the models, and differences that are paired on perturbations or pairs, each a mean over seeds."""
    found: list[dict[str, object]] = []
    for normalization, task in product(NORMALIZATIONS, TASKS):
        items = {model: of[task] for model, of in measured[normalization].items()}
        scores = {model: mean(one, task) for model, one in items.items()}
        best = max((f"random, {readout}" for readout in READOUTS), key=scores.__getitem__)
        pairs = [("CWA-MSN", "MSN"), ("CWA-MSN", best), ("MSN", best), ("CWA-MSN", "pixel-statistics")]
        differences = {}
        for first, second in pairs:
            difference = compare(items[first], items[second], TASKS[task]).difference
            differences[f"{first} - {second}"] = asdict(difference)
        setting = {"batch effects": effects, "normalization": normalization, "task": task}
        found.append({**setting, "scores": scores, "differences": differences})
    return found


def growth(all_rows: Sequence[Mapping[str, object]]) -> list[dict[str, object]]:
    """How much larger CWA-MSN's advantage over MSN is under doubled batch effects, with a 95 % interval.

    The two screens have the same perturbations but other images: the two advantages are taken as independent, and
    their intervals' halves add up as squares do.
    """
    found: list[dict[str, object]] = []
    for normalization, task in product(NORMALIZATIONS, TASKS):
        of: dict[str, Mapping[str, float]] = {}
        for row in all_rows:
            if (row["normalization"], row["task"]) == (normalization, task):
                of[str(row["batch effects"])] = row["differences"]["CWA-MSN - MSN"]  # type: ignore[index]
        value = of["doubled"]["value"] - of["as is"]["value"]
        halves = [(one["ci_high"] - one["ci_low"]) / 2 for one in of.values()]
        half = float(np.linalg.norm(halves))
        found.append({"normalization": normalization, "task": task, "value": value, "half width": half})
    return found


def section(results: Path) -> str:
    """The tables of scores and of differences; nothing where they were not measured."""
    path = results / FILE
    if not path.exists():
        return ""
    figures = json.loads(path.read_text(encoding="utf-8"))
    setting = ("batch effects", "normalization", "task")
    models = list(figures["rows"][0]["scores"])
    scores = [
        (*(row[name] for name in setting), *(f"{row['scores'][model]:.3f}" for model in models))
        for row in figures["rows"]
    ]
    differences = [
        (*(row[name] for name in setting), *(_difference(pair, one) for pair, one in row["differences"].items()))
        for row in figures["rows"]
    ]
    header = (*setting, "CWA-MSN - MSN", "CWA-MSN - random", "MSN - random", "CWA-MSN - pixel-statistics")
    grown = [
        (row["normalization"], row["task"], f"{row['value']:+.3f} ± {row['half width']:.3f}")
        for row in figures["growth"]
    ]
    return "\n".join(
        [
            _INTRODUCTION.format(**figures),
            table((*setting, *models), scores, 3),
            table(header, differences, 3) + _GROWTH,
            table(("normalization", "task", "growth"), grown, 2),
        ]
    )


def _difference(pair: str, one: Mapping[str, float]) -> str:
    mark = " (+)" if one["ci_low"] > 0 else " (-)" if one["ci_high"] < 0 else ""
    readout = f", {pair.rpartition(', ')[2]}" if "random" in pair else ""
    return f"{one['value']:+.3f} [{one['ci_low']:+.3f}, {one['ci_high']:+.3f}]{readout}{mark}"


def main(
    out: Annotated[Path, typer.Option(help="Trainings and embeddings are kept here.")] = Path(
        "runs/cross-well-alignment"
    ),
    seeds: Annotated[int, typer.Option(min=1)] = 3,
    steps: Annotated[int, typer.Option(min=1, help="Of each training.")] = 350,
    processes: Annotated[int, typer.Option(min=1, help="Trainings at a time, of one thread each.")] = 2,
) -> None:
    """Train what is not there yet, score everything, and write the figures."""
    study = Study(out, seeds, steps)
    # Trainings at one time are on different screens: the first one on a screen renders it.
    jobs = list(product(SCREENS, RECIPES, range(seeds)))
    jobs.sort(key=lambda job: (job[2], list(RECIPES).index(job[1])))
    with ThreadPoolExecutor(processes) as pool:
        for _ in pool.map(lambda job: study.train(*job), jobs):
            pass
    found = [row for effects in SCREENS for row in rows(effects, measure(study, effects))]
    figures = {"seeds": seeds, "steps": steps, "rows": found, "growth": growth(found)}
    write_text(RESULTS / FILE, json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
