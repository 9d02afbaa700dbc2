"""The images of a simulated screen: rendered in parallel, kept plate by plate, read without copying."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import wait
from pathlib import Path

import numpy as np
import pandas as pd

from phenobench.errors import InputError
from phenobench.files import atomic
from phenobench.profiles import ROLES
from phenobench.screens.rendering import CHANNELS, RENDERER_VERSION
from phenobench.screens.simulated import SimulatedCard, layout, phenotypes, render_well

WORKERS_VARIABLE = "PHENOBENCH_WORKERS"
SIZE = 256
_WELLS_A_TASK = 4
# A worker uses one core: libraries that start threads of their own are told so before they are loaded.
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
_ABANDONED = 3600  # seconds without a change after which a partial file is nobody's


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
    everything = layout(card)
    place = _places(everything)
    rows = []
    for key in zip(wells[ROLES["plate"]].astype(str), wells[ROLES["well"]].astype(str), strict=True):
        if key not in place:
            raise InputError(f"screen {card.id} has no well {key[1]} on plate {key[0]}; take wells from its layout")
        rows.append((key[0], place[key]))
    folder = cache / "screens" / f"{card.id}-{_fingerprint(card, everything)}"
    paths = {plate: folder / f"{plate}.npy" for plate, _ in rows}
    counts = everything[ROLES["plate"]].value_counts()
    shapes = {plate: (int(counts[plate]), card.fields_per_well, len(CHANNELS), SIZE, SIZE) for plate in paths}
    missing = [plate for plate, path in paths.items() if _opened(path, shapes[plate]) is None]
    if missing:
        _remove_abandoned(folder)
        _render(card, everything, {plate: paths[plate] for plate in missing})
    images = {plate: _required(path, shapes[plate]) for plate, path in paths.items()}
    for position, (plate, row) in enumerate(rows):
        for site in range(card.fields_per_well):
            yield position, site + 1, images[plate][row, site]


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
    """Render plates in order; each is written whole when its last well is done."""
    plates = {plate: everything[everything[ROLES["plate"]] == plate] for plate in paths}
    parts = {
        plate: [wells.iloc[i : i + _WELLS_A_TASK] for i in range(0, len(wells), _WELLS_A_TASK)]
        for plate, wells in plates.items()
    }
    total = sum(len(wells) for wells in plates.values()) * card.fields_per_well
    shape = (card.fields_per_well, len(CHANNELS), SIZE, SIZE)
    with _pool(sum(map(len, parts.values()))) as pool, _progress(card.id, total) as done:
        # All tasks wait in one queue, so no worker is idle where one plate ends and the next begins.
        tasks: dict[str, list[Future[np.ndarray] | pd.DataFrame]] = {
            plate: [pool.submit(_render_wells, card, part) if pool else part for part in some]
            for plate, some in parts.items()
        }
        for plate, path in paths.items():
            with atomic(path) as temporary, temporary.open("wb") as file:
                header = np.lib.format.header_data_from_array_1_0(np.empty((0, *shape), dtype=np.uint8))
                np.lib.format.write_array_header_1_0(file, header | {"shape": (len(plates[plate]), *shape)})
                for number, task in enumerate(tasks[plate]):
                    images = _render_wells(card, task) if isinstance(task, pd.DataFrame) else task.result()
                    tasks[plate][number] = parts[plate][number]  # lets go of the images
                    file.write(images.data)
                    done(len(images) * card.fields_per_well)


def _render_wells(card: SimulatedCard, wells: pd.DataFrame) -> np.ndarray:
    return np.stack([np.stack(render_well(card, well)) for _, well in wells.iterrows()])


def _workers() -> int:
    """How many processes render.

    Raises:
        InputError: the environment asks for something that is no such number.
    """
    given = os.environ.get(WORKERS_VARIABLE)
    if given is None:
        return os.cpu_count() or 1
    if not given.isdecimal() or int(given) < 1:
        raise InputError(f"{WORKERS_VARIABLE} is '{given}'; give the number of worker processes, 1 or more")
    return int(given)


@contextmanager
def _pool(tasks: int) -> Iterator[ProcessPoolExecutor | None]:
    """Worker processes that end with this one, whatever ends it; None where one core is all there is."""
    workers = min(_workers(), tasks)
    if workers == 1:
        yield None
        return
    kept = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"), initializer=_start_worker)
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
