"""What goes into a task and what comes out of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd

from phenobench.profiles import Profiles

# Below these an interval is shown, and marked as resting on too little.
FEW_PERTURBATIONS, FEW_PAIRS = 50, 100


@dataclass(frozen=True)
class Score:
    """One number with what is needed to believe it.

    Attributes:
        metric: "mAP", "recall", "recall@10".
        subset: what it was computed on: a source, a direction, "all".
        value: the score.
        chance: its exact expectation without information.
        ceiling: the highest value that any embedding can reach.
        ci_low: lower end of the 95 % interval.
        ci_high: upper end of the 95 % interval.
        n: what was averaged over (see ``unit``).
        unit: "perturbations", "pairs", "queries".
        higher_is_better: the direction of the metric.
        too_few: the interval rests on fewer than 50 perturbations or 100 pairs.
    """

    metric: str
    subset: str
    value: float
    chance: float
    ceiling: float
    ci_low: float
    ci_high: float
    n: int
    unit: Literal["perturbations", "pairs", "queries"]
    higher_is_better: bool = True
    too_few: bool = False


@dataclass(frozen=True)
class Inputs:
    """What a task may use besides the profiles.

    Attributes:
        pairs: annotation source -> gene pairs (m, 2) of str.
        skipped: source -> why it is not there.
        texts: the other modality, one or more rows a perturbation; None without one.
        align: how the two modalities get a common space; None where they share one.
        seed: of resamples and splits.
        seen: names of the perturbations that the model was trained on; None where its weights do not say.
        device: where much is ranked, as ``metrics.average_precision`` has it; scores do not depend on it.
        texts_name: what sentences call the rows of the other modality.
    """

    pairs: Mapping[str, np.ndarray] = field(default_factory=dict)
    skipped: Mapping[str, str] = field(default_factory=dict)
    texts: Profiles | None = None
    align: str | None = None
    seed: int = 0
    seen: frozenset[str] | None = None
    device: str = "cpu"
    texts_name: str = "texts"


@dataclass(frozen=True)
class Outcome:
    """What a task found.

    Attributes:
        scores: the primary score first.
        items: what the scores average over, one row each.
        secondary: further scores.
        skipped: subset -> why it has no score.
        warnings: what a reader should know.
        map_rows: what the rows of the compared map are.
        map_n: how many there are.
    """

    scores: tuple[Score, ...]
    items: pd.DataFrame
    map_rows: str
    map_n: int
    secondary: tuple[Score, ...] = ()
    skipped: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Check:
    """A score beside what the field's own tool gives for it.

    Attributes:
        metric: as in ``Score``.
        subset: as in ``Score``.
        tool: name and version of the tool, or of its formula.
        ours: the score.
        ours_their_way: the score under the tool's rule for ties.
        theirs: what the tool gives.
    """

    metric: str
    subset: str
    tool: str
    ours: float
    ours_their_way: float
    theirs: float


def consensus(features: np.ndarray, labels: pd.Series) -> tuple[np.ndarray, list[str]]:
    """Mean of the rows of each label, labels sorted: float64 (k, d) and the k labels."""
    codes, names = pd.factorize(labels, sort=True)
    order = np.argsort(codes, kind="stable")
    order = order[codes[order] >= 0]
    size = np.bincount(codes[order], minlength=len(names))
    starts = np.cumsum(size) - size
    sums = np.add.reduceat(features[order].astype(np.float64), starts, axis=0) if len(names) else features[:0]
    return sums / size[:, None], [str(name) for name in names]
