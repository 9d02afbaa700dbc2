"""What moved most between two results: perturbations, or genes and the complexes that they are in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from phenobench.metrics.influence import most_influential_group

_MOST = 5
# A change below this is rounding.
_NOTHING = 1e-9


@dataclass(frozen=True)
class Mover:
    """A perturbation, or a gene with its pairs.

    Attributes:
        name: of the perturbation or gene.
        change: of the perturbation's value, or the sum over the gene's pairs; above 0 is better.
        pairs: of a gene; None of a perturbation.
    """

    name: str
    change: float
    pairs: int | None = None


@dataclass(frozen=True)
class Group:
    """A gene with its annotated partners, which is the complex where all its pairs are annotated.

    Attributes:
        genes: the gene first.
        change: sum over the pairs within the group; above 0 is better.
        pairs: within the group.
    """

    genes: tuple[str, ...]
    change: float
    pairs: int


@dataclass(frozen=True)
class Movers:
    """At most five each way, the largest change first."""

    better: tuple[Mover, ...]
    worse: tuple[Mover, ...]
    better_group: Group | None = None
    worse_group: Group | None = None


def movers(change: np.ndarray, names: np.ndarray) -> Movers:
    """What moved most.

    Args:
        change: how much better each is (m,), below 0 for worse.
        names: str, of perturbations (m, 1), or of the two genes of each pair (m, 2).
    """
    if names.shape[1] == 1:
        found = [Mover(str(name), float(by)) for name, by in zip(names[:, 0], change, strict=True)]
        return Movers(_top(found, 1), _top(found, -1))
    genes, pairs = np.unique(names, return_inverse=True)
    pairs = pairs.reshape(-1, 2)
    sums = np.bincount(pairs.ravel(), weights=np.repeat(change, 2))
    degree = np.bincount(pairs.ravel())
    found = [Mover(str(genes[i]), float(sums[i]), int(degree[i])) for i in range(len(genes))]
    return Movers(_top(found, 1), _top(found, -1), _group(change, pairs, genes, 1), _group(change, pairs, genes, -1))


def _top(found: list[Mover], sign: int) -> tuple[Mover, ...]:
    moved = [one for one in found if sign * one.change > _NOTHING]
    return tuple(sorted(moved, key=lambda one: (-sign * round(one.change, 9), one.name))[:_MOST])


def _group(change: np.ndarray, pairs: np.ndarray, genes: np.ndarray, sign: int) -> Group | None:
    """The group in which most of the change in one direction lies; None where it lies in no group of three genes."""
    towards = np.maximum(sign * change, 0.0)
    found = most_influential_group(towards, pairs)
    inside = np.isin(pairs, found.genes).all(axis=1)
    total = float(change[inside].sum())
    if len(found.genes) < 3 or sign * total <= _NOTHING or towards[inside].mean() <= towards.mean():
        return None
    others = [str(genes[i]) for i in found.genes if i != found.hub]
    return Group((str(genes[found.hub]), *others), total, found.n_pairs)
