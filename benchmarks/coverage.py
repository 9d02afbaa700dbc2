"""Do the 95 % intervals cover? ``python -m benchmarks.coverage [NAME ...] [--screens 2000]``

Each screen draws its perturbations with their effects and noise anew, on the same plates: intervals resample
perturbations, and what other plates would do is in none (one setting draws plates, too, to show how much that is). A
score's truth is its expectation, the mean over all screens, and an interval is right where it holds that. Scores
come from the tasks as `phenobench run` calls them, under their default protocols, on screens of 60 perturbations on 3
plates, or of 100 genes with at least 200 annotated pairs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer

from benchmarks import RESULTS
from benchmarks.markdown import table
from benchmarks.processes import in_processes
from phenobench.cards import find, validate
from phenobench.errors import unknown
from phenobench.files import write_text
from phenobench.profiles import Profiles
from phenobench.registry import resolve
from phenobench.tasks.outcome import Inputs, Outcome

FILE = "coverage.json"
FEATURES, PLATES, PERTURBATIONS, GENES = 32, 3, 60, 100
# The worst that an interval which is called 95 % may do, and the best.
_LEVEL, _AIM = 0.95, (0.93, 0.97)
_INTRODUCTION = """## Coverage of intervals

`python -m benchmarks.coverage`: the share of simulated screens whose 95 % interval holds the score's expectation, and
of intervals that lie above and below it. Between {low:.0%} and {high:.0%} is as it should be; (!) marks what is not,
and (d) a score of so few values that no interval that follows from it alone could.
"""

Screen = tuple[Profiles, Inputs]


@dataclass(frozen=True)
class Setting:
    """A process that screens are drawn from, the task that scores them, and on which share of them (its cost)."""

    task: str
    simulate: Callable[[np.random.Generator], Screen]
    share: float = 1.0


def wells(
    rng: np.random.Generator,
    effects: np.ndarray,
    columns: Mapping[str, list[Any]],
    plates: int = PLATES,
    new_plates: bool = False,
) -> Profiles:
    """Each row of ``effects`` in one well of each plate, in random places, with plate effects and noise."""
    n = len(effects)
    codes, plate = np.tile(np.arange(n), plates), np.repeat(np.arange(plates), n)
    features = effects[codes] + rng.standard_normal((len(codes), FEATURES))
    of_plates = rng if new_plates else np.random.default_rng(0)
    features += 0.3 * of_plates.standard_normal((plates, FEATURES))[plate]
    place = np.concatenate([rng.permutation(n) for _ in range(plates)])
    metadata = {
        "Metadata_Plate": [f"plate {number}" for number in plate],
        "Metadata_Well": [f"{chr(65 + spot // 24)}{spot % 24 + 1:02d}" for spot in place],
        "Metadata_Perturbation": [f"perturbation {code:03d}" for code in codes],
        "Metadata_pert_type": "trt",
        **{name: [values[code] for code in codes] for name, values in columns.items()},
    }
    return Profiles(pd.DataFrame(metadata), features.astype(np.float32))


def effects_of(rng: np.random.Generator, strength: float) -> np.ndarray:
    """Effects of perturbations, of which two thirds are active, some more than others."""
    active = rng.random(PERTURBATIONS) < 2 / 3
    size = strength * active * rng.gamma(4.0, 1 / 4, PERTURBATIONS)
    return size[:, None] * rng.standard_normal((PERTURBATIONS, FEATURES))


def perturbations(rng: np.random.Generator, strength: float, new_plates: bool = False) -> Screen:
    return wells(rng, effects_of(rng, strength), {}, new_plates=new_plates), Inputs()


def targets(rng: np.random.Generator, strength: float) -> Screen:
    """Three compounds a target, with part of their effects in common."""
    code = np.arange(PERTURBATIONS) // 3
    effects = effects_of(rng, 0.5) + strength * rng.standard_normal((code.max() + 1, FEATURES))[code]
    return wells(rng, effects, {"Metadata_Target": [f"G{number}" for number in code]}), Inputs()


def compounds_and_genes(rng: np.random.Generator, strength: float) -> Screen:
    """As many compounds as genes, each with one of the genes as its target."""
    target = rng.integers(0, PERTURBATIONS, PERTURBATIONS)
    genes = effects_of(rng, strength)
    effects = np.concatenate([genes, genes[target] + effects_of(rng, 0.5)])
    names = [f"G{number}" for number in range(PERTURBATIONS)]
    columns = {
        "Metadata_Symbol": [*names, *[None] * PERTURBATIONS],
        "Metadata_Target": [*names, *(names[number] for number in target)],
    }
    return wells(rng, effects, columns), Inputs()


def genes(rng: np.random.Generator, sizes: tuple[int, ...], strength: float) -> Screen:
    """Genes in groups of these sizes that have part of their effects in common; all pairs of a group are annotated."""
    group = np.repeat(np.arange(len(sizes)), sizes)
    effects = 0.7 * rng.standard_normal((len(group), FEATURES))
    effects += strength * rng.standard_normal((len(sizes), FEATURES))[group]
    names = [f"G{number}" for number in range(len(group))]
    pairs = [(names[one], names[two]) for one, two in combinations(range(len(group)), 2) if group[one] == group[two]]
    return wells(rng, effects, {"Metadata_Symbol": names}, plates=2), Inputs(pairs={"groups": np.array(pairs)})


def images_and_texts(rng: np.random.Generator, strength: float) -> Screen:
    """Texts that say what a perturbation does, in the space of the images, with noise of their own."""
    effects = effects_of(rng, strength)
    images = wells(rng, effects, {})
    texts = Profiles(
        images.metadata.iloc[:PERTURBATIONS][["Metadata_Perturbation"]],
        (effects + 0.3 * rng.standard_normal(effects.shape)).astype(np.float32),
    )
    return images, Inputs(texts=texts)


EQUAL, UNEQUAL = (5,) * 20, (12, 10, 8, 8, 7, 6, 6, 5, 5, 4, 4, 4, 3, 3, 3, 2, 2, 2, 2, 2, 2)
SETTINGS: Mapping[str, Setting] = {
    "replicates": Setting("replicate-retrieval", partial(perturbations, strength=0.5)),
    "replicates, new plates": Setting("replicate-retrieval", partial(perturbations, strength=0.5, new_plates=True)),
    "replicates, null": Setting("replicate-retrieval", partial(perturbations, strength=0.0)),
    "consistency": Setting("perturbation-consistency", partial(perturbations, strength=0.5)),
    "consistency, null": Setting("perturbation-consistency", partial(perturbations, strength=0.0)),
    "groups of 5 genes": Setting("gene-gene", partial(genes, sizes=EQUAL, strength=0.5)),
    "groups of 2 to 12 genes": Setting("gene-gene", partial(genes, sizes=UNEQUAL, strength=0.5)),
    "groups of 5 genes, null": Setting("gene-gene", partial(genes, sizes=EQUAL, strength=0.0)),
    "images and texts": Setting("cross-modal", partial(images_and_texts, strength=0.5)),
    "images and texts, null": Setting("cross-modal", partial(images_and_texts, strength=0.0)),
    "3 compounds a target": Setting("target-matching", partial(targets, strength=0.5)),
    "a gene each": Setting("compound-gene", partial(compounds_and_genes, strength=0.7)),
    "plate effects": Setting("batch-effect", partial(perturbations, strength=0.5), share=0.25),
}


def intervals(name: str, seed: int) -> list[tuple[str, str, float, float, float]]:
    """Metric, subset, score and interval of each score on one screen."""
    setting = SETTINGS[name]
    profiles, inputs = setting.simulate(np.random.default_rng([seed, *name.encode()]))
    function, protocol = task(setting.task)
    outcome = function(profiles, protocol, inputs)
    scores = (*outcome.scores, *outcome.secondary)
    return [(score.metric, score.subset, score.value, score.ci_low, score.ci_high) for score in scores]


@cache
def task(name: str) -> tuple[Callable[..., Outcome], Any]:
    """A task's function and its default protocol."""
    cards = find()
    card = cards.task(name)
    protocol = validate(card.variants[card.default], resolve(card.protocol, name), cards.tasks[name])
    return resolve(card.function, name), protocol


def covered(name: str, screens: int) -> list[dict[str, Any]]:
    """For each score of a setting: how often its intervals hold its mean over all screens."""
    seeds = range(round(screens * SETTINGS[name].share))
    found = [line for lines in in_processes(partial(intervals, name), seeds) for line in lines]
    figures = []
    columns = ["metric", "subset", "value", "low", "high"]
    for (metric, subset), each in pd.DataFrame(found, columns=columns).groupby(["metric", "subset"], sort=False):
        truth = each["value"].mean()
        attainable = nearest(each["value"].to_numpy())
        above, below = float((each["low"] > truth).mean()), float((each["high"] < truth).mean())
        figures.append(
            {
                "setting": name,
                "task": SETTINGS[name].task,
                "metric": metric,
                "subset": subset,
                "screens": len(each),
                "truth": truth,
                "coverage": 1 - above - below,
                "above": above,
                "below": below,
                "attainable": attainable,
                "width": float((each["high"] - each["low"]).median()),
            }
        )
    return figures


def nearest(values: np.ndarray) -> float:
    """The coverage nearest to 95 % of any interval that depends on the score alone and moves up with it.

    Such an interval holds the truth for the scores between a lowest and a highest one. A score that takes few values,
    such as a count of three hits at most, leaves few coverages to choose from.
    """
    # A share of the same hits may differ in its last bits.
    upto = np.cumsum(np.unique(values.round(12), return_counts=True)[1]) / len(values)
    inside = upto[:, None] - np.concatenate([[0.0], upto])
    return float(inside.flat[np.abs(inside - _LEVEL).argmin()])


def _mark(figures: Mapping[str, Any]) -> str:
    low, high = _AIM
    if low <= figures["coverage"] <= high:
        return ""
    # Figures that were measured before this was have none.
    return " (!)" if low <= figures.get("attainable", _LEVEL) <= high else " (d)"


def section(results: Path) -> str:
    """The table of all settings; nothing where they were not measured."""
    path = results / FILE
    if not path.exists():
        return ""
    figures = json.loads(path.read_text(encoding="utf-8"))
    rows = [
        (
            one["task"],
            one["setting"],
            f"{one['metric']} ({one['subset']})",
            f"{one['screens']:,}",
            f"{one['truth']:.3f}",
            f"{one['width']:.3f}",
            f"{one['coverage']:.1%}{_mark(one)}",
            f"{one['above']:.1%}",
            f"{one['below']:.1%}",
        )
        for one in figures
    ]
    header = ("task", "setting", "score", "screens", "expectation", "width", "coverage", "above", "below")
    return _INTRODUCTION.format(low=_AIM[0], high=_AIM[1]) + "\n" + table(header, rows, 3)


def main(
    names: Annotated[list[str] | None, typer.Argument(help=f"All where none is named: {'; '.join(SETTINGS)}.")] = None,
    screens: Annotated[int, typer.Option(min=2, help="Simulated screens of each setting.")] = 2000,
) -> None:
    """Measure the coverage of the settings that are named, or of all; figures of others are kept."""
    path = RESULTS / FILE
    kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    for name in names or SETTINGS:
        if name not in SETTINGS:
            raise unknown("setting", name, SETTINGS)
        kept = [one for one in kept if one["setting"] != name] + covered(name, screens)
        kept.sort(key=lambda one: list(SETTINGS).index(one["setting"]))
        write_text(path, json.dumps(kept, indent=1) + "\n")
        print(f"{name}: done", flush=True)


if __name__ == "__main__":
    typer.run(main)
