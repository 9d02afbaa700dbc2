"""SIGTERM, as schedulers send it before they kill: the program ends in order, and what is done stays."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

# As a shell says it of a program that the signal ended.
EXIT_CODE = 128 + signal.SIGTERM


class Terminated(BaseException):
    """Somebody asks the program to end; as with Ctrl-C, nothing but clean-up may stand in the way."""


@contextmanager
def terminable() -> Iterator[None]:
    """Raise ``Terminated`` in this block at the first SIGTERM; a second one ends the program as ever.

    It changes nothing outside the main thread, which is where Python takes signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)

    def end(number: int, frame: object) -> None:
        signal.signal(signal.SIGTERM, before)
        raise Terminated

    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
