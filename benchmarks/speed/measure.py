"""One side of one row, in a process of its own: ``python -m benchmarks.speed.measure ROW ours|peer`` prints JSON.

``files`` in place of a side writes what the sides read into the temporary folder, and measures nothing.

Memory is the highest resident size during the first call, less what the process held when its
imports and inputs were there (Linux with glibc; both are in the JSON). A call that takes less than half a minute
is then repeated, and the first time, which includes touching memory, is left out: a virtual machine may get
that from its host only then. Where a row is of what a process does once, as reading a file, the first time counts.
Before each call is a rest, since threads of BLAS wait busily for a while after a product.
"""

from __future__ import annotations

import ctypes
import gc
import json
import re
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.speed.row import FILES, Work
from benchmarks.speed.rows import find

# Seconds for repeats, of which there is one at least, and how many there are at most.
_SECONDS, _REPEATS = 6.0, 9
# Seconds of a call that is not repeated.
_LONG = 30.0
_REST = 0.2
# Of the table's size: so much is done before anything is measured, for imports and threads.
_WARM_UP = 0.02


def kilobytes(field: str) -> int:
    """A line of the kernel's account of this process: ``VmRSS`` is what it holds now, ``VmHWM`` the most."""
    found = re.search(rf"^{field}:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    return int(found[1]) if found else 0


def seconds(call: Callable[[], object]) -> float:
    time.sleep(_REST)
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def repeated(calls: list[Callable[[], object]]) -> list[list[float]]:
    """Times of calls in turn, until six seconds are spent."""
    times: list[list[float]] = [[] for _ in calls]
    end = time.perf_counter() + _SECONDS
    while not times[0] or (time.perf_counter() < end and len(times[0]) < _REPEATS):
        for call, taken in zip(calls, times, strict=True):
            taken.append(seconds(call))
    return times


def measured(row: str, side: str) -> dict[str, Any]:
    """Times in seconds, memory in KiB; with ours, times of the limit between them."""
    prepare = find(row).prepare
    if side == FILES:
        for scale in (_WARM_UP, 1.0):
            prepare(scale)
        return {}
    _call(prepare(_WARM_UP), side)()
    work = prepare(1.0)
    call, limit = _call(work, side), work.limit if side == "ours" else None
    # What the inputs' making left behind is given back, and the highest resident size is counted anew.
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    held = kilobytes("VmRSS")
    times, of_limit = [seconds(call)], None
    memory = kilobytes("VmHWM") - held
    again = [call] if times[0] < _LONG and not find(row).once else []
    if limit is not None:
        limit()
        *own, of_limit = repeated([*again, limit])
    else:
        own = repeated(again) if again else []
    share = work.peer_share if side == "peer" else 1.0
    return {
        "memory": memory,
        "held": held,
        "seconds": [taken / share for taken in (own[0] if own else times)],
        "limit": of_limit and [taken / work.limit_share for taken in of_limit],
        "share": share,
        "limit_share": work.limit_share,
    }


def _call(work: Work, side: str) -> Callable[[], object]:
    call = work.ours if side == "ours" else work.peer
    if call is None:
        raise ValueError(f"this row has no {side}")
    return call


def main(row: Annotated[str, typer.Argument()], side: Annotated[str, typer.Argument()]) -> None:
    """Measure one side."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        print(json.dumps(measured(row, side)))


if __name__ == "__main__":
    typer.run(main)
