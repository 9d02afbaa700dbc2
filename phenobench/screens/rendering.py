"""A procedural renderer of Cell Painting fields: cells are drawn, not copied, from 22 parameters each.

Pixels are made with additions, multiplications, divisions, square roots and table look-ups only, each rounded
as IEEE 754 says, and the tables are rounded coarsely. So the same random state gives the same bytes in every
process, with any number of threads.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from phenobench.screens.optics import Optics, expose
from phenobench.screens.textures import ORIENTATIONS, SLACK, Pick, fibre_bank, picker, rounded

# Raise it with every change that moves a pixel: cached fields of another version are not read.
RENDERER_VERSION = 2

CHANNELS = ("DNA", "ER", "Actin", "RNA", "Mito", "Golgi")
PARAMETERS = (
    "nucleus size",
    "nucleus eccentricity",
    "DNA intensity",
    "chromatin contrast",
    "cell size",
    "cell elongation",
    "cell irregularity",
    "ER intensity",
    "ER granularity",
    "ER slope",
    "actin fibres",
    "actin cortex",
    "actin intensity",
    "nucleoli",
    "RNA intensity",
    "mito intensity",
    "mito radial",
    "mito fragmentation",
    "Golgi intensity",
    "Golgi dispersal",
    "Golgi distance",
    "density",
)
_INDEX = {name: place for place, name in enumerate(PARAMETERS)}

_ANGLES = 256  # a power of 2: see _paste
_REACH = 64  # pixels from a nucleus that its cell can reach
_CELLS = 36.0  # expected in a field of 256 x 256 pixels
_MITOTIC, _PARTED = 0.035, 0.4  # share of cells in mitosis; share of those that have just parted
_DEBRIS = 1.6  # expected shrunken dead cells in a field


def render_field(
    cells_mean: np.ndarray,
    penetrance: float,
    optics: Optics,
    density: float,
    rng: np.random.Generator,
    size: int = 256,
    shift: np.ndarray | None = None,
) -> np.ndarray:
    """Draw one field of view.

    Args:
        cells_mean: the phenotype (22,), in units of the standard deviation between cells.
        penetrance: the share of cells that show the phenotype.
        optics: of the plate.
        density: factor of the number of cells.
        rng: the only source of chance.
        size: edge in pixels, at most 1024.
        shift: what is added to the parameters of all cells (22,), such as a batch's effect.

    Returns:
        uint8 (6, size, size), channels as in ``CHANNELS``.
    """
    everywhere = np.zeros(len(PARAMETERS)) if shift is None else np.asarray(shift, dtype=np.float64)
    mean = np.asarray(cells_mean, dtype=np.float64)
    crowding = density * np.exp(0.20 * (everywhere + penetrance * mean)[_INDEX["density"]])
    expected = _CELLS * crowding * (size + 24) ** 2 / 280**2
    # Cells repel each other, so their number varies less than by chance.
    number = max(2, round(expected + 0.5 * np.sqrt(expected) * rng.standard_normal()))
    z = rng.standard_normal((number, len(PARAMETERS))) + everywhere
    z += (rng.random(number) < penetrance)[:, None] * mean
    cells = _with_debris(_with_mitoses(_cells(np.clip(z, -6, 6), rng), rng), rng, size)
    map_ = _paste(cells, _places(cells, rng, size), size)
    pick = picker(rng, size)
    return expose(_stain(cells, map_, pick, rng), optics, pick)


@dataclass
class _Cells:
    """One entry a cell: outlines by angle from the centre of the nucleus, and looks (see ``_cells``)."""

    nucleus: np.ndarray  # (n, angles) radius in pixels
    outline: np.ndarray  # (n, angles)
    cap: np.ndarray  # (n, angles) where around the nucleus the Golgi lies, 0 to 1
    axis: np.ndarray  # (n,) direction of the long axis as an angle's number
    order: np.ndarray  # (n,) factor of the distance: smaller lies on top
    twin: np.ndarray  # (n,) the cell that it has just parted from, or ``_ALONE``
    looks: dict[str, np.ndarray]  # name -> (n,)

    def take(self, rows: np.ndarray) -> _Cells:
        looks = {name: values[rows] for name, values in self.looks.items()}
        nucleus, outline, cap, axis, order, twin = (
            values[rows] for values in (self.nucleus, self.outline, self.cap, self.axis, self.order, self.twin)
        )
        return _Cells(nucleus, outline, cap, axis, order, twin, looks)

    def joined(self, other: _Cells) -> _Cells:
        def both(one: np.ndarray, two: np.ndarray) -> np.ndarray:
            return np.concatenate([one, two])

        looks = {name: both(values, other.looks[name]) for name, values in self.looks.items()}
        return _Cells(
            both(self.nucleus, other.nucleus),
            both(self.outline, other.outline),
            both(self.cap, other.cap),
            both(self.axis, other.axis),
            both(self.order, other.order),
            both(self.twin, other.twin),
            looks,
        )


def _cells(z: np.ndarray, rng: np.random.Generator) -> _Cells:
    value = {name: z[:, place] for name, place in _INDEX.items()}

    def scaled(name: str, middle: float, step: float) -> np.ndarray:
        return middle * np.exp(step * value[name])

    def moved(name: str, middle: float, step: float, low: float, high: float) -> np.ndarray:
        return np.clip(middle + step * value[name], low, high)

    n = len(z)
    axis = rng.integers(0, _ANGLES, n)
    # Cells that have copied their DNA are larger and brighter.
    cycle = np.clip(1.6 * rng.random(n) - 0.6, 0, 1)
    radius = scaled("nucleus size", 9.2, 0.085) * (1 + 0.12 * cycle)
    # A nucleus follows the shape of its cell in part.
    aspect = 1 + scaled("nucleus eccentricity", 0.26, 0.42) * np.exp(0.2 * value["cell elongation"])
    nucleus = _ellipse(radius, np.minimum(aspect, 3.0), axis + rng.integers(-20, 21, n))
    nucleus *= 1 + _waves(rng, np.full(n, 0.022), range(2, 6))
    reach = scaled("cell size", 27.0, 0.11)
    outline = _ellipse(reach, np.minimum(1 + scaled("cell elongation", 0.45, 0.46), 4.0), axis)
    irregular = scaled("cell irregularity", 0.085, 0.46)
    outline *= 1 + _waves(rng, np.full(n, 0.13), range(1, 2)) + _waves(rng, irregular, range(3, 10))
    # Protrusions: one or two narrow tips, mostly along the long axis.
    for end in (0, _ANGLES // 2):
        tip = (axis + end + rng.integers(-25, 26, n)) % _ANGLES
        height = np.clip(6.0 * irregular * (rng.random(n) - 0.3), 0, 1.1)
        outline *= 1 + height[:, None] * _tables().tip[(np.arange(_ANGLES) - tip[:, None]) % _ANGLES]
    outline = np.clip(outline, nucleus + 2.5, _REACH - 2.0)
    width = np.clip(0.15 + 0.10 * moved("Golgi dispersal", 1.0, 0.55, -1.5, 5.0), 0.05, 0.62)
    side = rng.integers(0, _ANGLES, n)
    turned = _tables().cosine[(np.arange(_ANGLES) - side[:, None]) % _ANGLES]
    cap = np.clip(1.0 - (1.0 - turned) / (2.6 * width[:, None]), 0, 1)
    looks = {
        "reach": reach,
        "DNA": scaled("DNA intensity", 62.0, 0.17) * (1 + 0.35 * cycle),
        "chromatin": scaled("chromatin contrast", 0.24, 0.40),
        "ER": scaled("ER intensity", 60.0, 0.17),
        "grain": moved("ER granularity", 0.42, 0.16, 0.0, 1.0),
        "slope": moved("ER slope", 0.80, 0.32, -0.6, 2.2),
        "fibres": scaled("actin fibres", 42.0, 0.38),
        "cortex": scaled("actin cortex", 34.0, 0.32),
        "actin": scaled("actin intensity", 1.0, 0.16),
        "nucleoli": moved("nucleoli", 0.75, -0.34, -0.6, 2.4),
        "RNA": scaled("RNA intensity", 46.0, 0.17),
        "mito": scaled("mito intensity", 118.0, 0.19),
        "radial": moved("mito radial", 0.72, 0.26, -0.4, 1.7),
        "fragments": moved("mito fragmentation", 0.35, 0.19, 0.0, 1.0),
        "Golgi": scaled("Golgi intensity", 118.0, 0.20),
        "spread": scaled("Golgi dispersal", 2.6, 0.24),
        "distance": moved("Golgi distance", 4.2, 1.5, 0.0, 12.0),
        "vesicles": scaled("Golgi dispersal", 0.16, 0.30),
    }
    return _Cells(nucleus, outline, cap, axis, np.ones(n), np.full(n, _ALONE), looks)


def _ellipse(radius: np.ndarray, aspect: np.ndarray, axis: np.ndarray) -> np.ndarray:
    """Radii (n, angles) of ellipses of the area of a circle of that radius."""
    cosine = _tables().cosine[(np.arange(_ANGLES) - axis[:, None]) % _ANGLES]
    stretch = aspect[:, None]
    return radius[:, None] / np.sqrt(cosine**2 / stretch + (1 - cosine**2) * stretch)


def _waves(rng: np.random.Generator, amplitude: np.ndarray, orders: range) -> np.ndarray:
    """Random smooth functions of the angle (n, angles)."""
    total = np.zeros((len(amplitude), _ANGLES))
    for order in orders:
        phase = rng.integers(0, _ANGLES, len(amplitude))
        height = amplitude * rng.standard_normal(len(amplitude)) / np.sqrt(order)
        total += height[:, None] * _tables().cosine[(order * np.arange(_ANGLES) + phase[:, None]) % _ANGLES]
    return total


def _with_mitoses(cells: _Cells, rng: np.random.Generator) -> _Cells:
    """Some cells round up around a plate of chromosomes; some of these have just parted in two."""
    n = len(cells.axis)
    chosen, parted = rng.random(n) < _MITOTIC, rng.random(n) < _PARTED
    plate = _ellipse(np.where(parted, 4.6, 5.8), np.where(parted, 2.4, 2.9), cells.axis + _ANGLES // 4)
    cells.nucleus[chosen] = plate[chosen]
    round_ = np.clip(0.3 * cells.outline + np.where(parted, 6.5, 11.0)[:, None], 7, 24)
    cells.outline[chosen] = round_[chosen]
    cells.cap[chosen] = 0.25
    cells.order[chosen] = 0.8
    for name, factor in _MITOSIS.items():
        cells.looks[name][chosen] *= factor
    twins = cells.take(np.flatnonzero(chosen & parted))
    return cells.joined(replace(twins, twin=np.flatnonzero(chosen & parted)))


def _with_debris(cells: _Cells, rng: np.random.Generator, size: int) -> _Cells:
    """Add shrunken dead cells: small, round, bright in DNA, lying on top."""
    n = int(rng.poisson(_DEBRIS * size**2 / 256**2))
    dead = cells.take(rng.integers(0, len(cells.axis), n))
    radius = 1.8 + 1.8 * rng.random(n)
    nucleus = _ellipse(radius, np.full(n, 1.15), dead.axis)
    outline = nucleus + (0.8 + 3.0 * rng.random(n))[:, None]
    looks = {name: values * _DEATH.get(name, 1.0) for name, values in dead.looks.items()}
    looks["reach"] = radius + 3.0
    cap = np.ones((n, _ANGLES))
    return cells.joined(_Cells(nucleus, outline, cap, dead.axis, np.full(n, 0.55), np.full(n, _ALONE), looks))


# How cells in mitosis and dead ones differ from what they were: factors of looks.
_MITOSIS = {
    "DNA": 2.2,
    "chromatin": 0.5,
    "ER": 1.45,
    "slope": 0.3,
    "fibres": 0.1,
    "cortex": 1.5,
    "nucleoli": 9.0,
    "RNA": 1.4,
    "radial": 0.2,
    "Golgi": 0.5,
    "spread": 2.0,
}
_DEATH = {
    "DNA": 2.2,
    "chromatin": 0.4,
    "ER": 0.9,
    "fibres": 0.0,
    "cortex": 0.7,
    "nucleoli": 9.0,
    "mito": 0.3,
    "Golgi": 0.6,
}
_ALONE = -1


def _places(cells: _Cells, rng: np.random.Generator, size: int) -> np.ndarray:
    """Centres (n, 2) as row and column: at random, and not on top of each other where there is room."""
    n, margin = len(cells.axis), 12
    tries = rng.integers(-margin, size + margin, (n, 8, 2))
    apart = rng.integers(17, 34, n) ** 2
    cosine = _tables().cosine
    places = np.empty((n, 2), dtype=np.int64)
    for cell, (candidates, twin, order) in enumerate(zip(tries, cells.twin, cells.order, strict=True)):
        places[cell] = candidates[0]
        if twin != _ALONE:
            turn = cells.axis[cell]
            step = 15 * cosine[[(turn - _ANGLES // 4) % _ANGLES, turn % _ANGLES]]
            places[cell] = places[twin] + np.rint(step).astype(np.int64)
        elif cell and order >= 0.8:
            gaps = ((candidates[:, None, :] - places[None, :cell]) ** 2).sum(axis=2).min(axis=1)
            enough = gaps >= apart[cell]
            places[cell] = candidates[enough.argmax() if enough.any() else gaps.argmax()]
    return places


@dataclass
class _Map:
    """Where in the field what is: (size, size) each."""

    near: np.ndarray  # distance from the cell's centre as a share of its outline
    second: np.ndarray  # the same of the next cell
    beyond: np.ndarray  # pixels from the edge of the nucleus, negative inside
    cell: np.ndarray  # number of the cell
    turn: np.ndarray  # angle's number


def _paste(cells: _Cells, places: np.ndarray, size: int) -> _Map:
    """Lay all cells into the field; each pixel belongs to the cell that is relatively nearest."""
    tables = _tables()
    near, second, beyond = (np.full((size, size), far, dtype=np.float32) for far in (9.0, 9.0, 99.0))
    where = np.zeros((size, size), dtype=np.intp)
    nucleus, outline = (rounded(radii, 1024) for radii in (cells.nucleus, cells.outline))
    outline *= 1 / rounded(cells.order, 1024)[:, None]
    windows = np.minimum(1 + (1.2 * cells.outline.max(axis=1)).astype(int), _REACH).tolist()
    for cell, (row, column) in enumerate(places.tolist()):
        reach = windows[cell]
        top, bottom = max(row - reach, 0), min(row + reach + 1, size)
        left, right = max(column - reach, 0), min(column + reach + 1, size)
        if top >= bottom or left >= right:
            continue
        window = (slice(top, bottom), slice(left, right))
        polar = (
            slice(top - row + _REACH, bottom - row + _REACH),
            slice(left - column + _REACH, right - column + _REACH),
        )
        turn, radius = tables.turn[polar], tables.radius[polar]
        here = radius / outline[cell].take(turn)
        before, next_ = near[window], second[window]
        np.minimum(next_, np.maximum(before, here), out=next_)
        mine = here < before
        np.copyto(before, here, where=mine)
        np.copyto(beyond[window], radius - nucleus[cell].take(turn), where=mine)
        np.copyto(where[window], turn + cell * _ANGLES, where=mine)
    return _Map(near, second, beyond, where >> 8, where)


def _stain(cells: _Cells, map_: _Map, pick: Pick, rng: np.random.Generator) -> list[np.ndarray]:
    """The light of each channel, before optics: float32 (size, size), grey levels."""
    looks = {name: rounded(values, 4096) for name, values in cells.looks.items()}

    def of(name: str) -> np.ndarray:
        return looks[name].take(map_.cell)

    beyond = map_.beyond
    reach = of("reach")
    # Pixels to the nearest border of the cell, free or shared; what is thick is bright.
    free, shared = 1 - map_.near, 0.5 * (map_.second - map_.near)
    edge = np.minimum(free, shared) * reach
    inside = np.clip(edge * 0.45, 0, 1)
    thick = np.clip(np.minimum(free, 2.4 * shared) * reach * 0.11, 0, 1)
    thick *= 2 - thick
    nucleus = np.clip(0.5 - beyond * 0.55, 0, 1)
    outside = 1 - nucleus
    away = np.clip(beyond, 0, None) / reach
    relief = 0.86 + 0.16 * pick("cloud")

    nucleoli = np.clip((pick("lumps") - of("nucleoli")) * 2.4, 0, 1) * np.clip(-0.3 - 0.45 * beyond, 0, 1)
    dome = 0.72 + np.clip(-0.055 * beyond, 0, 0.33)
    dna = nucleus * of("DNA") * dome * np.clip(1 + of("chromatin") * pick("chromatin"), 0.25, 3)
    dna *= 1 - 0.42 * nucleoli

    grain = of("grain")
    net = grain * pick("net") + (1 - grain) * pick("sheet")
    body = thick * np.clip(1.18 - of("slope") * away, 0.12, None) * relief
    er = body * of("ER") * np.clip(0.80 + 0.38 * net, 0.1, None) * (1 - 0.62 * nucleus)

    rim = np.clip(1.0 - np.abs(edge - 1.7) * 0.42, 0, 1)
    rim *= rim * np.clip(0.85 + 0.55 * pick("patches"), 0.15, None)
    offset = rng.integers(0, SLACK, (2, len(cells.axis)))
    turn = (cells.axis + rng.integers(-7, 8, len(cells.axis))) * ORIENTATIONS * 2 // _ANGLES % ORIENTATIONS
    fibres = _fibres(map_.cell, turn, offset) * np.clip(0.62 + 0.72 * pick("bundles"), 0, 1.7)
    actin = of("cortex") * rim + thick * (11 * relief + of("fibres") * fibres * (1 - 0.45 * nucleus))
    actin *= of("actin")

    rna = body * (0.85 + 0.17 * pick("sheet") + 0.06 * pick("net")) * (1 - 0.45 * nucleus) + 0.06 * nucleus
    rna = of("RNA") * (rna + nucleoli * 1.25)

    share = of("fragments")
    worms = (1 - share) * pick("worms") + share * pick("dots")
    mito = worms * thick * outside * np.clip(1.05 - of("radial") * 1.5 * away, 0.06, None)
    mito = of("mito") * (mito * relief + 0.05 * body)

    cap = rounded(cells.cap, 256).ravel().take(map_.turn)
    band = np.clip(1 - np.abs(beyond - of("distance")) / of("spread"), 0, 1) * cap
    ribbon = np.clip(0.55 + 0.6 * pick("ribbons"), 0.08, None)
    golgi = inside * outside * (band * ribbon + of("vesicles") * pick("dots") * cap)
    golgi = of("Golgi") * (golgi + 0.055 * body + 0.05 * rim)
    return [dna, er, actin, rna, mito, golgi]


def _fibres(cell: np.ndarray, turn: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """Each cell's own window into the fibres of its direction."""
    size = cell.shape[0]
    bank = fibre_bank(size)
    width = bank.shape[1]
    start = (turn * width + offset[0]) * width + offset[1]
    pixel = np.arange(size)[:, None] * width + np.arange(size)
    return bank.ravel().take(start.take(cell) + pixel) * np.float32(1 / 64)


@dataclass(frozen=True)
class _Tables:
    cosine: np.ndarray  # (angles,)
    tip: np.ndarray  # (angles,) a narrow peak at 0
    radius: np.ndarray  # (window, window) distance from the middle
    turn: np.ndarray  # (window, window) angle's number


@lru_cache(maxsize=1)
def _tables() -> _Tables:
    angle = 2 * np.pi * np.arange(_ANGLES) / _ANGLES
    away = np.minimum(angle, 2 * np.pi - angle)
    tip = np.clip(1 - away / 0.42, 0, 1) ** 2
    side = np.arange(-_REACH, _REACH + 1)
    radius = np.sqrt((side[:, None] ** 2 + side**2).astype(np.float32))
    turn = np.rint(np.arctan2(side[:, None], side[None, :]) / (2 * np.pi) * _ANGLES).astype(np.intp) % _ANGLES
    return _Tables(np.round(np.cos(angle), 9), np.round(tip, 9), radius, turn)
