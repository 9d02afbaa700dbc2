"""Screens: where wells come from. ``load_screen`` turns an id into wells and what the screen brings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from phenobench.cards import find, read_toml
from phenobench.errors import InputError, unknown
from phenobench.profiles import ROLES, Profiles
from phenobench.profiles.reading import Reading
from phenobench.texts import Texts


@dataclass(frozen=True, eq=False)
class SiteImage:
    """One field of view of the well in row ``row`` of the wells.

    Attributes:
        row: the well.
        site: the field's name within its well.
        pixels: (c, h, w) uint8 or uint16; empty, (c, 0, 0), where the field is damaged.
        damage: why the field's images cannot be used, one sentence that names the file; None where they can.
    """

    row: int
    site: str
    pixels: np.ndarray
    damage: str | None = None


@dataclass(frozen=True, eq=False)
class Screen:
    """A screen as a task sees it.

    Attributes:
        id: its name in results.
        revision: the commit, version or seed that fixes it; empty where nothing does.
        licence: of its data.
        wells: one row a well, columns as in ``profiles.ROLES``, sorted by source, plate and well.
        channels: names of the image channels; none where the screen has no images.
        images: rows of ``wells`` to their fields, in order; None where the screen has no images.
        images_sha256: what fixes the images.
        texts: the other modality of its perturbations, or what a model may be told of them.
        pairs: annotation sources of the screen's own, source -> gene pairs (m, 2).
        model: the id of the model whose embeddings the screen brings.
        embeddings: those embeddings, rows as in ``wells``.
        dropped: wells that were left out, by reason.
        left_out: those wells as far as they can be named: source, plate, well and ``reason`` (see ``left_out.py``).
        notes: what a reader of scores should know.
    """

    id: str
    revision: str
    licence: str
    wells: pd.DataFrame
    channels: tuple[str, ...] = ()
    images: Callable[[pd.DataFrame], Iterator[SiteImage]] | None = None
    images_sha256: str | None = None
    texts: Texts | None = None
    pairs: Mapping[str, np.ndarray] = field(default_factory=dict)
    model: str | None = None
    embeddings: Profiles | None = None
    dropped: Mapping[str, int] = field(default_factory=dict)
    left_out: pd.DataFrame | None = None
    notes: tuple[str, ...] = ()


def load_screen(
    id: str, root: str | Path | None = None, *, cards: Path | None = None, reading: Reading | None = None
) -> Screen:
    """Load a screen by name.

    Args:
        id: as ``phenobench list screens`` shows it, or a folder of one's own images.
        root: a folder that holds the screen's files, in place of a download.
        cards: a folder of cards that goes before the others.
        reading: roles, controls and exclusions of a folder of one's own images; exclusions are added to those of
            a screen of the gallery, of RxRx3-core (whose roles it may change, too) and of published profiles.

    Raises:
        InputError: the screen is unknown (did you mean), or its files cannot be had.
    """
    known = find(cards).screens
    if id not in known and ("/" in id or Path(id).is_dir()):
        from phenobench.screens.folder import load_folder

        return load_folder(Path(id), reading)
    if id not in known:
        raise unknown("screen", id, known)
    kind = read_toml(known[id]).get("kind")
    if kind == "simulated":
        from phenobench.screens.simulated_images import load_simulated

        return load_simulated(known[id])
    if kind == "paired":
        from phenobench.screens.paired import load_paired

        return load_paired(known[id], Path(root) if root is not None else None, cards)
    if kind == "gallery":
        from phenobench.screens.cellpainting_gallery import load_gallery

        return load_gallery(known[id], Path(root) if root is not None else None, reading)
    if kind in ("rxrx3-core", "rxrx3-core-embeddings"):
        from phenobench.screens.rxrx3_core import load_rxrx3_core

        return load_rxrx3_core(known[id], Path(root) if root is not None else None, cards, reading)
    from phenobench.screens.catalogue import load_profiles_screen

    return load_profiles_screen(known[id], Path(root) if root is not None else None, reading)


def screen_of(profiles: Profiles, id: str, *, revision: str = "", licence: str = "given by path", model: str) -> Screen:
    """The screen that a table of embeddings is of: only wells that can be scored, in a fixed order.

    Treated wells without a perturbation and wells marked empty are dropped and counted. Rows go by source, plate and
    well as far as these are known, then by their labels and their features: no result depends on the order of a file.

    Raises:
        InputError: no treated well is left.
    """
    if ROLES["pert_type"] in profiles.metadata:
        profiles = profiles.select((profiles.metadata[ROLES["pert_type"]] != "empty").to_numpy(), "marked empty")
    if ROLES["perturbation"] in profiles.metadata:
        labelled = profiles.metadata[ROLES["perturbation"]].notna().to_numpy()
        profiles = profiles.select(labelled | profiles.negative_controls, "no perturbation label")
    if not profiles.treated.any():
        raise InputError(
            f"no treated well is left of {id}: {int(profiles.negative_controls.sum())} negative controls, left out: "
            f"{profiles.dropped or 'none'}; check --negcon and --exclude, or name labels, --column perturbation=NAME"
        )
    order = _order(profiles)
    wells = profiles.metadata.iloc[order].reset_index(drop=True)
    embeddings = replace(
        profiles,
        metadata=wells,
        features=profiles.features[order],
        exact=None if profiles.exact is None else profiles.exact[order],
        dropped={},
        notes=(),
        key="",
        left_out=None,
    )
    return Screen(
        id,
        revision,
        licence,
        wells,
        model=model,
        embeddings=embeddings,
        dropped=profiles.dropped,
        left_out=profiles.left_out,
        notes=profiles.notes,
    )


def sorted_wells(wells: pd.DataFrame) -> pd.DataFrame:
    """Rows by source, plate and well, so that no result depends on the order of a file."""
    return wells.sort_values(_places(wells), kind="stable", key=lambda column: column.astype(str))


def _places(wells: pd.DataFrame) -> list[str]:
    return [ROLES[role] for role in ("source", "plate", "well") if ROLES[role] in wells]


def _order(profiles: Profiles) -> np.ndarray:
    """The order (n,) of rows by source, plate and well; those that tie, as without wells, by labels and features."""
    names = _places(profiles.metadata)
    if not names:
        return _by_labels_and_features(profiles, np.arange(len(profiles)))
    places = profiles.metadata[names].astype(str)
    order = places.sort_values(names, kind="stable").index.to_numpy(copy=True)
    tied = places.iloc[order].duplicated(keep=False).to_numpy()
    if tied.any():
        order[tied] = _by_labels_and_features(profiles, order[tied])
    return order


def _by_labels_and_features(profiles: Profiles, rows: np.ndarray) -> np.ndarray:
    """Some rows (m,) by place, perturbation and all other labels, then by their features."""
    roles = dict.fromkeys(("source", "plate", "well", "perturbation", *ROLES))
    names = [ROLES[role] for role in roles if ROLES[role] in profiles.metadata]
    labels = profiles.metadata[names].iloc[rows].astype(str)
    group = labels.groupby(names, sort=True).ngroup().to_numpy() if names else np.zeros(len(rows), dtype=int)
    first = np.argsort(group, kind="stable")
    rows, group = rows[first], group[first]
    # As exact as they were given: float32 may take for equal what was not.
    features = profiles.values
    # Few rows are still tied after the first features, so that no row is looked at whole but those that are equal.
    open_, again = np.arange(len(rows)), _among_equals(group)
    for column in range(features.shape[1]):
        open_, group = open_[again], group[again]
        if not len(open_):
            break
        values = features[rows[open_], column]
        within = np.lexsort((values, group))
        rows[open_], values = rows[open_][within], values[within]
        group = np.cumsum(_starts(group) | _starts(values))
        again = _among_equals(group)
    return rows


def _starts(sorted_values: np.ndarray) -> np.ndarray:
    """Whether a value differs from the one before it (m,)."""
    return np.append(True, sorted_values[1:] != sorted_values[:-1])


def _among_equals(sorted_values: np.ndarray) -> np.ndarray:
    """Whether a value equals one beside it (m,)."""
    starts = _starts(sorted_values)
    return ~(starts & np.append(starts[1:], True))
