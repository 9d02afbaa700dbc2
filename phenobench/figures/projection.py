"""Where wells lie before and after a normalization: principal components, by plate and by complex."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from phenobench.figures.drawing import CONTROL, LINES, Format, panels, save
from phenobench.normalization import normalize
from phenobench.profiles import Profiles

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_ROWS = 2000


def draw_projection(
    profiles: Profiles, chain: str, pairs: Mapping[str, np.ndarray], title: str, path: Path, kind: Format
) -> None:
    """Draw the first two principal components of treated wells, as they are and normalized.

    Of more than 2,000 wells, 2,000 at equal steps through the file are drawn.

    Args:
        profiles: not normalized.
        chain: name of the normalization.
        pairs: annotation source -> gene pairs (m, 2) of str; what says which genes are of one complex.
        title: of the figure.
        path: the file to write.
        kind: its format.

    Raises:
        InputError: an unknown chain, one that these profiles do not allow, or ``path`` cannot be written.
    """
    rows = np.flatnonzero(profiles.treated)
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, min(len(rows), _MOST_ROWS)).round().astype(int))]
    chosen = np.zeros(len(profiles), dtype=bool)
    chosen[rows] = True
    before, after = profiles.select(chosen), normalize(profiles, chain).select(chosen)
    plates = before.groups("plate")[0]
    complexes = _complex_of(before.role("gene").astype("str").tolist(), pairs)
    figure, axes = panels(4, 2, 3.2, 2.9, title)
    for axis, (stage, shown), (what, groups) in zip(
        axes,
        [("before", before), ("before", before), (chain, after), (chain, after)],
        [("plate", plates), ("complex", complexes)] * 2,
        strict=True,
    ):
        _scatter(axis, principal_components(shown.features), groups)
        axis.set_title(f"{stage}, by {what}", fontsize=8)
    save(figure, path, kind)


def principal_components(features: np.ndarray) -> np.ndarray:
    """The first two principal components of some rows, float64 (n, 2); the largest weight of each is positive."""
    centred = features.astype(np.float64) - features.mean(axis=0, dtype=np.float64)
    right = np.linalg.svd(centred, full_matrices=False)[2][:2]
    right = right * np.sign(right[np.arange(len(right)), np.abs(right).argmax(axis=1)])[:, None]
    places = centred @ right.T
    return np.pad(places, ((0, 0), (0, 2 - places.shape[1])))


def _complex_of(genes: list[str], pairs: Mapping[str, np.ndarray]) -> np.ndarray:
    """The number of each row's complex, -1 for none (n,).

    As many complexes as there are colours: genes with their annotated partners in this screen, the
    largest first, that share no gene.
    """
    here = set(genes)
    partners: dict[str, set[str]] = {}
    for one, other in (pair for source in pairs.values() for pair in source.tolist()):
        if one != other and {one, other} <= here:
            partners.setdefault(one, {one}).add(other)
            partners.setdefault(other, {other}).add(one)
    number: dict[str, int] = {}
    taken = 0
    for gene in sorted(partners, key=lambda gene: (-len(partners[gene]), gene)):
        if taken < len(LINES) and not partners[gene] & set(number):
            number.update(dict.fromkeys(partners[gene], taken))
            taken += 1
    return np.array([number.get(gene, -1) for gene in genes])


def _scatter(axis: Axes, places: np.ndarray, groups: np.ndarray) -> None:
    for group in np.unique(groups):
        own = places[groups == group]
        colour = LINES[group % len(LINES)] if group >= 0 else CONTROL
        axis.plot(own[:, 0], own[:, 1], "o", color=colour, markersize=2.5, markeredgewidth=0, alpha=0.7)
    axis.set_xlabel("component 1", fontsize=7)
    axis.set_ylabel("component 2", fontsize=7)
