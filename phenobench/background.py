"""Work that threads do ahead of the one that needs it: in order, within bounds, timed, and given up when asked.

A loader may be deep in a download or in rendering when a run ends; it says ``wanted()`` now and then, and ``during``
says what its time goes into. Both do nothing in a thread that works for nobody.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Literal, TypeVar

T = TypeVar("T")
# "waiting" is the time in which the device has nothing to do.
Stage = Literal["download", "decode", "device", "waiting"]

# What is current in a bottleneck: the last so many seconds.
_WINDOW = 10.0
# Calls on the way, in threads: enough that none runs dry while the results of the first are used.
_CALLS_A_THREAD = 4


class Abandoned(Exception):  # noqa: N818 - no error: nobody sees it
    """A call's result is no longer wanted."""


class Pace:
    """Where the time goes, of late. Threads add to it and a display reads it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._spent: deque[tuple[float, Stage, float]] = deque()

    def add(self, stage: Stage, seconds: float) -> None:
        """Seconds that were spent on a stage until now."""
        now = time.monotonic()
        with self._lock:
            self._spent.append((now, stage, seconds))
            while self._spent[0][0] < now - _WINDOW:
                self._spent.popleft()

    @contextmanager
    def timed(self, stage: Stage) -> Iterator[None]:
        """Add the time of a block."""
        start = time.monotonic()
        try:
            yield
        finally:
            self.add(stage, time.monotonic() - start)

    def bottleneck(self) -> Stage | None:
        """The device, unless it waits for most of the time: then what threads spend the most on. None at first."""
        totals: dict[Stage, float] = {}
        with self._lock:
            for _, stage, seconds in self._spent:
                totals[stage] = totals.get(stage, 0.0) + seconds
        if totals.get("device", 0.0) >= totals.get("waiting", 0.0):
            return "device" if "device" in totals else None
        return "download" if totals.get("download", 0.0) > totals.get("decode", 0.0) else "decode"


class _Here(threading.local):
    """What a thread works for, and the seconds that blocks within the present one took."""

    pace: Pace | None = None
    stopping: threading.Event | None = None
    inner: float = 0.0


_here = _Here()


def available_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


@contextmanager
def during(stage: Stage) -> Iterator[None]:
    """Count the time of a block for a stage; that of a block within it counts for the inner one's stage alone."""
    if _here.pace is None:
        yield
        return
    outer, _here.inner = _here.inner, 0.0
    start = time.monotonic()
    try:
        yield
    finally:
        spent = time.monotonic() - start
        _here.pace.add(stage, spent - _here.inner)
        _here.inner = outer + spent


def wanted() -> None:
    """Go on where somebody still waits for what this thread does.

    Raises:
        Abandoned: nobody does.
    """
    if _here.stopping is not None and _here.stopping.is_set():
        raise Abandoned


def ahead(
    calls: Iterator[Callable[[], T]],
    size: Callable[[T], int],
    threads: int,
    bytes_ahead: int,
    pace: Pace,
    *,
    in_turns: bool = False,
) -> Generator[T, None, None]:
    """The results of calls, in their order; threads make the next ones meanwhile.

    Close the iterator to end it early: calls that have not begun are dropped, and those at work end at their next
    ``wanted()``.

    Args:
        calls: taken as late as possible, one at a time and in this thread.
        size: bytes of a result.
        threads: how many work.
        bytes_ahead: results that are held at a time have no more than that, but for the one that is next; one that is
            not there yet counts as the largest so far.
        pace: told of "decode" (or what ``during`` says), and of "waiting" for a result.
        in_turns: threads rest while a result is used, where that takes all cores itself.

    Raises:
        What a call raises, when its result is next.
    """
    stopping = threading.Event()
    waiting: deque[Future[T]] = deque()
    largest = 0

    def work(call: Callable[[], T]) -> T:
        _here.pace, _here.stopping = pace, stopping
        with during("decode"):
            wanted()
            return call()

    def full() -> bool:
        if not waiting:
            return False
        if len(waiting) >= (_CALLS_A_THREAD if largest else 1) * threads:
            return True
        there = [one.result() for one in waiting if one.done() and one.exception() is None]
        return sum(map(size, there)) + (len(waiting) - len(there) + 1) * largest > bytes_ahead

    pool = ThreadPoolExecutor(threads, thread_name_prefix="ahead")
    try:
        while True:
            start = time.monotonic()
            if not (in_turns and waiting):
                while not full() and (call := next(calls, None)) is not None:
                    waiting.append(pool.submit(work, call))
                if in_turns:
                    wait(waiting)
            if not waiting:
                return
            result = waiting.popleft().result()
            largest = max(largest, size(result))
            pace.add("waiting", time.monotonic() - start)
            yield result
    finally:
        stopping.set()
        pool.shutdown(wait=True, cancel_futures=True)
