"""Files that are called equal but for how they were run are equal when read, whatever was done to them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from phenobench.regression.equality import equal_but_run

MADE: dict[str, Any] = {
    "schema_version": 1,
    "texts": {"run": {"host": "here"}},
    "scores": [{"metric": "mAP", "value": 0.5}],
    "run": {"host": "one", "seconds": 1.0},
}


def written(name: str, values: dict[str, Any]) -> Path:
    path = Path(name)
    path.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("run", [{"host": "one", "seconds": 1.0}, {"host": "two \u2028 {", "more": {"run": 1}}, {}])
def test_another_run_is_equal(run: dict[str, Any]) -> None:
    assert equal_but_run(written("one", MADE), written("other", {**MADE, "run": run}))


@pytest.mark.parametrize(
    "changed",
    [
        {**MADE, "scores": [{"metric": "mAP", "value": 0.4}]},
        {**MADE, "texts": {"run": {"host": "there"}}},
        {key: value for key, value in MADE.items() if key != "run"},
        {**MADE, "run": "of whom"},
        {**MADE, "run": {}, "skipped": {}},
        {**MADE, '\n  "run": {}': 1},
    ],
)
def test_another_value_is_not(changed: dict[str, Any]) -> None:
    one, other = written("one", MADE), written("other", changed)
    assert not equal_but_run(one, other)
    assert not equal_but_run(other, one)


def test_keys_behind_the_run_are_seen_on_both_sides() -> None:
    one, other = ({**MADE, "seed": seed} for seed in (0, 1))
    assert not equal_but_run(written("one", one), written("other", other))


@pytest.mark.parametrize("tail", [b"", b"}", b"{", b"\xff", b'{"seed": 1}'])
def test_a_file_with_another_end_is_not(tail: bytes) -> None:
    one, other = written("one", MADE), written("other", MADE)
    other.write_bytes(other.read_bytes() + tail)
    assert equal_but_run(one, other) == (tail == b"")


def test_what_cannot_be_read_or_is_far_longer_is_not() -> None:
    one = written("one", MADE)
    assert not equal_but_run(one, Path("absent"))
    assert not equal_but_run(one, written("long", {**MADE, "run": {"command": "x" * 2**17}}))
