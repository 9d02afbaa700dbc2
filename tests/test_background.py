"""Calls made ahead by threads: order, bounds, ends; and where time is said to go."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial

import pytest

from phenobench.background import Abandoned, Pace, ahead, during, wanted

DEADLINE = 20.0


def calls(*results: Callable[[], int]) -> Iterator[Callable[[], int]]:
    yield from results


def size(_: int) -> int:
    return 10


@pytest.mark.parametrize("in_turns", [False, True])
def test_results_come_in_the_order_of_the_calls_whichever_ends_first(in_turns: bool) -> None:
    second_done = threading.Event()

    def first() -> int:
        assert second_done.wait(DEADLINE)
        return 1

    def second() -> int:
        second_done.set()
        return 2

    with closing(ahead(calls(first, second, lambda: 3), size, 2, 1000, Pace(), in_turns=in_turns)) as results:
        assert list(results) == [1, 2, 3]


def test_no_more_is_made_ahead_than_bytes_allow() -> None:
    begun: list[int] = []
    lock = threading.Lock()

    def one(number: int) -> int:
        with lock:
            begun.append(number)
        return number

    with closing(ahead((partial(one, i) for i in range(100)), size, 3, 40, Pace())) as results:
        for number in range(100):
            assert next(results) == number
            # What is used, and at most four of ten bytes each; before a size is known, one for each thread.
            with lock:
                assert max(begun) <= number + 4
    assert sorted(begun) == list(range(100))


def test_a_result_larger_than_the_bytes_comes_all_the_same() -> None:
    with closing(ahead(calls(lambda: 1, lambda: 2, lambda: 3), lambda _: 10**9, 2, 1, Pace())) as results:
        assert list(results) == [1, 2, 3]


def test_in_turns_nothing_is_at_work_while_a_result_is_used() -> None:
    working, lock = 0, threading.Lock()
    barrier = threading.Barrier(2)

    def one(number: int) -> int:
        nonlocal working
        with lock:
            working += 1
        barrier.wait(DEADLINE)  # two at a time, and only from threads
        with lock:
            working -= 1
        return number

    with closing(ahead((partial(one, i) for i in range(6)), size, 2, 20, Pace(), in_turns=True)) as results:
        for result in results:
            assert working == 0
            assert result in range(6)


def test_an_error_is_raised_at_its_turn() -> None:
    def fails() -> int:
        raise KeyError("second")

    results = ahead(calls(lambda: 1, fails, lambda: 3), size, 3, 1000, Pace())
    assert next(results) == 1
    with pytest.raises(KeyError, match="second"):
        next(results)


def test_whoever_ends_early_waits_for_nobody_who_asks_whether_he_is_wanted() -> None:
    begun, ended = threading.Event(), threading.Event()

    def endless() -> int:
        begun.set()
        pause = threading.Event()
        try:
            while True:
                wanted()
                pause.wait(0.001)
        except Abandoned:
            ended.set()
            raise

    results = ahead(calls(lambda: 1, endless, endless, endless), size, 2, 1000, Pace())
    assert next(results) == 1
    assert begun.wait(DEADLINE)
    results.close()
    assert ended.is_set()


def test_the_bottleneck_is_what_most_time_is_waited_for() -> None:
    pace = Pace()
    assert pace.bottleneck() is None
    pace.add("device", 2.0)
    pace.add("waiting", 1.0)
    pace.add("decode", 30.0)
    assert pace.bottleneck() == "device"
    pace.add("waiting", 2.0)
    assert pace.bottleneck() == "decode"
    pace.add("download", 40.0)
    assert pace.bottleneck() == "download"


def test_the_time_of_a_download_within_decoding_counts_once() -> None:
    class Told(Pace):
        stages: list[tuple[str, float]]

        def __init__(self) -> None:
            super().__init__()
            self.stages = []

        def add(self, stage: str, seconds: float) -> None:
            self.stages.append((stage, seconds))

    pause = threading.Event()

    def fetches() -> int:
        with during("download"):
            pause.wait(0.05)
        return 1

    pace = Told()
    list(ahead(calls(fetches), size, 1, 1000, pace))
    spent = dict(pace.stages)
    assert spent["download"] >= 0.05
    assert spent["decode"] < 0.05
    with during("download"):  # in a thread that works for nobody
        wanted()
    assert len(pace.stages) == 3
