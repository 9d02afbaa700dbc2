"""Where wells lie before and after a normalization: two principal components of some wells, kept beside the results."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import numpy as np

from phenobench.errors import InputError
from phenobench.figures.items import LEAST_GENES, complex_name
from phenobench.files import write_text
from phenobench.profiles import Profiles

# As many as there are colours that all kinds of colour vision tell apart.
MOST_GROUPS = 6
# Enough to see plates and complexes, and few enough for a page with hundreds of projections.
MOST_WELLS = 200
# Two wells are in one place, three on a line or not.
_LEAST_WELLS = 3
_FOLDER = "projections"
_COLUMNS = ("plate", "complex", "before_1", "before_2", "after_1", "after_2")


@dataclass(frozen=True)
class Projection:
    """Treated wells of one embedding, before and after a normalization.

    Attributes:
        plates: of each well, n; empty for a plate that is not among those shown.
        complexes: of each well's gene, n; empty for one in none of those shown.
        before: principal components of the features as they came, float64 (n, 2), the largest 1 or -1.
        after: likewise, of these wells as normalized.
    """

    plates: tuple[str, ...]
    complexes: tuple[str, ...]
    before: np.ndarray
    after: np.ndarray


def projection_path(results: Path, screen: str, model: str, normalization: str) -> Path:
    """``results/projections/<screen>/<model>/<normalization>.csv``: no result, and away from them."""
    return results / _FOLDER / screen / model / f"{normalization}.csv"


def project(before: Profiles, after: Profiles, pairs: Mapping[str, np.ndarray]) -> Projection | None:
    """The projection of some treated wells; None where these are fewer than three.

    Of many wells, half are from the largest complexes and half from plates at equal steps through the
    screen, six of each: of all plates of a large screen, too few wells each would be shown to see a
    plate. The components are those of the wells that are shown.

    Args:
        before: not normalized.
        after: the same rows, normalized.
        pairs: annotation source -> gene pairs (m, 2) of str; what says which genes are of one complex.
    """
    treated = np.flatnonzero(before.treated)
    if len(treated) < _LEAST_WELLS:
        return None
    plates = _plates(before)[treated]
    complexes = np.full(len(treated), "", dtype=object)
    if "gene" in before.roles:
        complexes[:] = complexes_of(before.role("gene").iloc[treated].astype("str").tolist(), pairs)
    of_complexes = _evenly(np.flatnonzero(complexes != ""), MOST_WELLS // 2)
    others = np.setdiff1d(np.flatnonzero(plates != ""), of_complexes)
    shown = np.sort(np.r_[of_complexes, _evenly(others, MOST_WELLS - len(of_complexes))])
    if len(shown) < _LEAST_WELLS:
        return None
    rows = np.zeros(len(before), dtype=bool)
    rows[treated[shown]] = True
    stages = (principal_components(stage.select(rows).features) for stage in (before, after))
    return Projection(tuple(plates[shown]), tuple(complexes[shown]), *map(_scaled, stages))


def principal_components(features: np.ndarray) -> np.ndarray:
    """The first two principal components of some rows, float64 (n, 2); the largest weight of each is positive."""
    centred = features.astype(np.float64) - features.mean(axis=0, dtype=np.float64)
    right = np.linalg.svd(centred, full_matrices=False)[2][:2]
    right = right * np.sign(right[np.arange(len(right)), np.abs(right).argmax(axis=1)])[:, None]
    places = centred @ right.T
    return np.pad(places, ((0, 0), (0, 2 - places.shape[1])))


def complexes_of(genes: Sequence[str], pairs: Mapping[str, np.ndarray]) -> list[str]:
    """The name of each gene's complex, empty for none.

    As many complexes as there are colours: genes with their annotated partners in this screen, the
    largest first, that share no gene.
    """
    here = set(genes)
    partners: dict[str, set[str]] = {}
    for one, other in (pair for source in pairs.values() for pair in source.tolist()):
        if one in here and other in here and one != other:
            partners.setdefault(one, {one}).add(other)
            partners.setdefault(other, {other}).add(one)
    named: dict[str, str] = {}
    taken = 0
    for gene in sorted(partners, key=lambda gene: (-len(partners[gene]), gene)):
        own = partners[gene]
        if taken < MOST_GROUPS and len(own) >= LEAST_GENES and not own & named.keys():
            named.update(dict.fromkeys(own, complex_name(gene, own - {gene})))
            taken += 1
    return [named.get(gene, "") for gene in genes]


def write_projection(path: Path, projection: Projection) -> None:
    """Write a projection whole, as CSV with three decimals.

    Raises:
        InputError: the file cannot be written.
    """
    out = StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_COLUMNS)
    places = np.column_stack([projection.before, projection.after])
    for plate, name, row in zip(projection.plates, projection.complexes, places.tolist(), strict=True):
        # Adding 0 makes a 0 of what rounds to -0.
        writer.writerow([plate, name, *(f"{round(value, 3) + 0.0:g}" for value in row)])
    write_text(path, out.getvalue())


def read_projection(path: Path) -> Projection | None:
    """A projection; None where there is no file.

    Raises:
        InputError: the file is not one that ``write_projection`` wrote.
    """
    if not path.is_file():
        return None
    try:
        header, *rows = csv.reader(StringIO(path.read_text(encoding="utf-8")), strict=True)
        if tuple(header) != _COLUMNS or not rows or len(rows) > MOST_WELLS:
            raise ValueError(f"it needs the columns {','.join(_COLUMNS)} and 1 to {MOST_WELLS} rows")
        plates, complexes, *numbers = zip(*rows, strict=True)
        places = np.array(numbers, dtype=np.float64).T
        if places.shape[1] != len(_COLUMNS) - 2 or not np.isfinite(places).all():
            raise ValueError("a number is missing or not finite")
        if max(len(set(names) - {""}) for names in (plates, complexes)) > MOST_GROUPS:
            raise ValueError(f"it has more than {MOST_GROUPS} plates or complexes")
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{path} cannot be read as a projection ({error}); remove it, and run again") from error
    return Projection(plates, complexes, places[:, :2], places[:, 2:])


def _plates(profiles: Profiles) -> np.ndarray:
    """The names of the plates that are shown, at equal steps through all, and "" for the others (n,)."""
    if "plate" not in profiles.roles:
        return np.full(len(profiles), "all wells", dtype=object)
    codes, names = profiles.groups("plate")
    there = np.unique(codes[profiles.treated])
    shown = there[_evenly(np.arange(len(there)), MOST_GROUPS)]
    named = np.array([names[code].removeprefix("plate ") for code in there], dtype=object)
    found = np.full(len(profiles), "", dtype=object)
    for code, name in zip(there, named, strict=True):
        if code in shown:
            found[codes == code] = name
    return found


def _evenly(rows: np.ndarray, most: int) -> np.ndarray:
    """At most so many of some rows, at equal steps."""
    return rows[np.unique(np.linspace(0, len(rows) - 1, min(len(rows), most)).round().astype(int))]


def _scaled(places: np.ndarray) -> np.ndarray:
    return places / max(float(np.abs(places).max()), np.finfo(np.float64).tiny)
