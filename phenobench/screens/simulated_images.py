"""The images of a simulated screen: rendered in parallel, kept plate by plate, read without copying."""

from __future__ import annotations

import hashlib
import math
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Hashable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import lru_cache
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from phenobench.background import available_cores, wanted
from phenobench.cards import load
from phenobench.errors import InputError
from phenobench.files import atomic, cache_dir
from phenobench.profiles import ROLES
from phenobench.screens import Screen, SiteImage, sorted_wells
from phenobench.screens.rendering import CHANNELS, RENDERER_VERSION
from phenobench.screens.simulated import SimulatedCard, descriptions, layout, phenotypes, planted, render_well
from phenobench.texts import from_descriptions

WORKERS_VARIABLE = "PHENOBENCH_WORKERS"
SIZE = 256
# A worker uses one core: libraries that start threads of their own are told so before they are loaded.
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
_rendering = threading.Lock()
_ABANDONED = 3600  # seconds without a change after which a partial file is nobody's


def load_simulated(path: Path) -> Screen:
    """The simulated screen of a card: wells, planted relations, and images that are rendered when asked for.

    Raises:
        InputError: the card is malformed.
    """
    card = load(path, SimulatedCard)
    wells = sorted_wells(layout(card)).reset_index(drop=True)

    def images(rows: pd.DataFrame) -> Iterator[SiteImage]:
        for place, site, pixels in field_images(card, rows, cache_dir()):
            yield SiteImage(int(rows.index[place]), str(site), pixels)

    return Screen(
        id=card.id,
        revision=f"{card.revision}, seed {card.seed}",
        licence=card.licence,
        wells=wells,
        channels=CHANNELS,
        images=images,
        images_sha256=_fingerprint(card, layout(card)),
        texts=from_descriptions(descriptions(card)),
        pairs={"planted": planted(card)[2]},
    )


def field_images(card: SimulatedCard, wells: pd.DataFrame, cache: Path) -> Iterator[tuple[int, int, np.ndarray]]:
    """All fields of some wells, in their order; plates that are not in the cache are rendered first.

    Args:
        card: the screen.
        wells: rows of ``layout(card)``, any selection in any order.
        cache: the folder below which plates are kept, as ``files.cache_dir()`` gives it.

    Yields:
        Position of the row in ``wells``, site from 1, and the image uint8 (6, 256, 256), read-only.

    Raises:
        InputError: a well is not in the screen, the cache cannot be written, or workers cannot be started.
    """
    everything, place, name = _fixed(card)
    rows = []
    for key in zip(wells[ROLES["plate"]].astype(str), wells[ROLES["well"]].astype(str), strict=True):
        if key not in place:
            raise InputError(f"screen {card.id} has no well {key[1]} on plate {key[0]}; take wells from its layout")
        rows.append((key[0], place[key]))
    folder = cache / "screens" / name
    paths = {plate: folder / f"{plate}.npy" for plate, _ in rows}
    counts = everything[ROLES["plate"]].value_counts()
    shapes = {plate: (int(counts[plate]), *_shape(card)) for plate in paths}
    # Threads that want wells of one plate wait for the first of them.
    with _rendering:
        missing = [plate for plate, path in paths.items() if _opened(path, shapes[plate]) is None]
        if missing:
            _remove_abandoned(folder)
            _render(card, everything, {plate: paths[plate] for plate in missing})
    images = {plate: _required(path, shapes[plate]) for plate, path in paths.items()}
    for position, (plate, row) in enumerate(rows):
        for site in range(card.fields_per_well):
            yield position, site + 1, images[plate][row, site]


@lru_cache(maxsize=4)
def _fixed(card: SimulatedCard) -> tuple[pd.DataFrame, Mapping[tuple[str, str], int], str]:
    """What wells are looked up in, however few at a time: the layout, the place of each well, and the folder's name."""
    everything = layout(card)
    return everything, _places(everything), f"{card.id}-{_fingerprint(card, everything)}"


def _places(wells: pd.DataFrame) -> dict[tuple[str, str], int]:
    """(plate, well) -> row within the plate's file."""
    numbers = wells.groupby(ROLES["plate"], sort=False).cumcount()
    return {
        (plate, well): int(number)
        for plate, well, number in zip(wells[ROLES["plate"]], wells[ROLES["well"]], numbers, strict=True)
    }


def _fingerprint(card: SimulatedCard, wells: pd.DataFrame) -> str:
    """Of all that pixels follow from: the renderer, the card's numbers, what is where, and phenotypes."""
    digest = hashlib.sha256(f"renderer {RENDERER_VERSION}\n".encode())
    digest.update(card.model_dump_json(exclude={"id", "title", "kind", "revision", "licence"}).encode())
    digest.update(wells.to_csv(index=False, lineterminator="\n").encode())
    for name, phenotype in phenotypes(card).items():
        digest.update(f"{name} {np.round(phenotype.mean, 6).tolist()} {phenotype.penetrance:.6f}\n".encode())
    return digest.hexdigest()[:16]


def _opened(path: Path, shape: tuple[int, ...]) -> np.ndarray | None:
    """The plate's file as an array, or None where there is none or it is damaged."""
    try:
        images = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, SyntaxError):
        return None
    return images if images.shape == shape and images.dtype == np.uint8 else None


def _required(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    images = _opened(path, shape)
    if images is None:
        raise InputError(f"{path} was changed or removed while it was read; run again")
    return images


def _remove_abandoned(folder: Path) -> None:
    """Partial files of runs that were killed; those of a run at work change all the time."""
    for path in folder.glob(".*.tmp"):
        try:
            if time.time() - path.stat().st_mtime > _ABANDONED:
                path.unlink()
        except OSError:
            continue


def _render(card: SimulatedCard, everything: pd.DataFrame, paths: dict[str, Path]) -> None:
    """Render plates one after the other; each takes its name when its last well is done."""
    plates = {plate: everything[everything[ROLES["plate"]] == plate].to_dict("records") for plate in paths}
    wells = sum(map(len, plates.values()))
    with _pool(wells) as pool, _progress(card.id, wells * card.fields_per_well) as done:
        for plate, path in paths.items():
            with atomic(path) as temporary:
                start = _write_header(temporary, (len(plates[plate]), *_shape(card)))
                step = math.prod(_shape(card))
                tasks = [(card, well, temporary, start + i * step) for i, well in enumerate(plates[plate])]
                for finished in _work(pool, tasks):
                    done(finished * card.fields_per_well)


# What ``_write_well`` takes.
_Task = tuple[SimulatedCard, dict[Hashable, Any], Path, int]


def _work(pool: ProcessPoolExecutor | None, tasks: list[_Task]) -> Iterator[int]:
    """Do all tasks, workers from the front and this process from the back; yields how many more are done."""
    if pool is None:
        for task in tasks:
            wanted()
            _write_well(*task)
            yield 1
        return
    waiting = [pool.submit(_write_well, *task) for task in tasks]
    told = 0
    for task, future in zip(reversed(tasks), reversed(waiting), strict=True):
        wanted()
        if future.cancel():
            _write_well(*task)
        else:
            future.result()
        finished = sum(one.done() for one in waiting)
        yield finished - told
        told = finished


def _shape(card: SimulatedCard) -> tuple[int, ...]:
    """Of a well's images."""
    return (card.fields_per_well, len(CHANNELS), SIZE, SIZE)


def _write_header(path: Path, shape: tuple[int, ...]) -> int:
    """Begin an .npy file of bytes; the offset at which they start."""
    with path.open("wb") as file:
        header = {"descr": np.lib.format.dtype_to_descr(np.dtype(np.uint8)), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        return file.tell()


def _write_well(card: SimulatedCard, well: dict[Hashable, Any], path: Path, offset: int) -> None:
    """Render a well into its place in a plate's file."""
    fields = render_well(card, well)
    with path.open("r+b") as file:
        file.seek(offset)
        for field in fields:
            file.write(field.data)


def _workers() -> int:
    """How many processes render, this one included.

    Raises:
        InputError: the environment asks for something that is no such number.
    """
    given = os.environ.get(WORKERS_VARIABLE)
    if given is None:
        return available_cores()
    if not given.isdecimal() or int(given) < 1:
        raise InputError(f"{WORKERS_VARIABLE} is '{given}'; give the number of worker processes, 1 or more")
    return int(given)


@contextmanager
def _pool(tasks: int) -> Iterator[ProcessPoolExecutor | None]:
    """Processes that work beside this one and end with it, whatever ends it; None where one core is all there is."""
    workers = min(_workers(), tasks)
    if workers == 1:
        yield None
        return
    kept = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    pool = ProcessPoolExecutor(workers - 1, mp_context=multiprocessing.get_context("spawn"), initializer=_start_worker)
    try:
        yield pool
    except BrokenProcessPool as error:
        raise InputError(
            "the processes that render images ended early: out of memory, or a script that starts them outside "
            f'of `if __name__ == "__main__":`; set {WORKERS_VARIABLE}=1 to render without them'
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        for name, value in kept.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _start_worker() -> None:
    """Ctrl-C is the parent's business, and a worker whose parent was killed must not stay."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)


@contextmanager
def _progress(name: str, fields: int) -> Iterator[Callable[[int], None]]:
    """A bar on stderr, where someone looks at it, with rate and time left; called with the fields done since."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (
        TextColumn(f"rendering {name}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("rendering", total=fields, rate="")

        def done(more: int) -> None:
            speed = bar.tasks[0].speed
            bar.update(task, advance=more, rate=f"{speed:.0f} fields/s" if speed else "")

        yield done
