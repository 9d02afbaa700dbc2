"""The section on speed and memory: what was measured, beside what is to be reached."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.markdown import table
from benchmarks.speed.row import Row
from benchmarks.speed.rows import ROWS

_INTRODUCTION = """## Speed and memory

`python -m benchmarks [ROW ...]` measures these rows, each side in a fresh process and in turn (ours, peer, ours,
peer), and takes the median of ratios of neighbours. A product of matrices (GEMM) of the same shape, float32 by numpy
in squares, is timed between our own calls. Memory is the peak above what the process holds with imports and inputs.
A call of less than half a minute is repeated, and its first time is left out, in which memory is touched; longer ones
are timed once, with that. Before each call is a rest. OpenBLAS takes the kernels of the processor it finds, on both
sides, whatever the shell's `OPENBLAS_CORETYPE` is.
"""
_AGAINST_PEER = ("work", "peer", "ours, s", "peer, s", "times faster", "aim", "reached")


@dataclass(frozen=True)
class Measured:
    """A row's figures; times in seconds, memory in MiB."""

    row: Row
    figures: dict[str, Any]

    def of(self, side: str, what: str) -> list[float]:
        """By round, the median time (``seconds`` or ``limit``) or the peak of memory."""
        given = [one[side][what] for one in self.figures["rounds"]]
        return [each / 1024 if what == "memory" else median(each) for each in given]

    def ratio(self, above: tuple[str, str], below: tuple[str, str]) -> float:
        """Median over rounds of one figure in parts of another."""
        return median(one / max(other, 1e-9) for one, other in zip(self.of(*above), self.of(*below), strict=True))

    @property
    def has_limit(self) -> bool:
        return bool(self.figures["rounds"][0]["ours"]["limit"])

    @property
    def peer(self) -> str:
        """The peer with its version, where it is a package."""
        return f"{self.row.peer} {self.figures['machine'].get(self.row.peer, '')}".strip()


def section(results: Path) -> str:
    """Three tables, notes and the machine; nothing where no row was measured."""
    found = list(_read(results))
    done = [one for one in found if not one.figures["skipped"]]
    if not done:
        return ""
    parts = [
        _INTRODUCTION,
        table(_AGAINST_PEER, map(_against_peer, done), 2),
        table(("work", "limit", "ours, s", "limit, s", "multiple", "aim", "reached"), _against_limits(done), 2),
        table(("work", "ours, MiB", "peer, MiB", "peer / ours", "aim", "reached"), map(_memory, done)),
        "".join(f"- {line}\n" for line in _notes(found)),
    ]
    return "\n".join(parts)


def summary(row: Row, results: Path) -> str:
    """A row beside its peer, in one line."""
    found = [one for one in _read(results) if one.row == row]
    if not found or found[0].figures["skipped"]:
        return "not measured"
    cells = zip(_AGAINST_PEER[1:], _against_peer(found[0])[1:], strict=True)
    return "; ".join(f"{header} {cell}" for header, cell in cells if cell)


def _read(results: Path) -> Iterator[Measured]:
    for row in ROWS:
        path = results / "speed" / f"{row.name}.json"
        if path.exists():
            yield Measured(row, json.loads(path.read_text(encoding="utf-8")))


def _against_peer(one: Measured) -> tuple[str, ...]:
    ours = _digits(median(one.of("ours", "seconds")))
    if not one.row.peer:
        return (one.row.work, "none can", ours, "", "", "", "")
    ratio = one.ratio(("peer", "seconds"), ("ours", "seconds"))
    theirs = _digits(median(one.of("peer", "seconds")))
    aim = _aim(ratio, one.row.faster)
    if one.row.within is not None:
        times, reached = _aim(one.ratio(("ours", "seconds"), ("peer", "seconds")), one.row.within, most=True)
        aim = (f"{times} x the peer's time", reached)
    return (one.row.work, one.peer, ours, theirs, _digits(ratio), *aim)


def _against_limits(done: list[Measured]) -> Iterator[tuple[str, ...]]:
    for one in done:
        if one.has_limit:
            ratio = one.ratio(("ours", "seconds"), ("ours", "limit"))
            times = (_digits(median(one.of("ours", what))) for what in ("seconds", "limit"))
            yield (one.row.work, one.row.limit, *times, _digits(ratio), *_aim(ratio, one.row.multiple, most=True))


def _memory(one: Measured) -> tuple[str, ...]:
    ours = median(one.of("ours", "memory"))
    # What is below the resolution of such a count is not compared.
    if not one.row.peer or ours < 1:
        whole = median(held["ours"]["held"] / 2**20 for held in one.figures["rounds"]) + ours / 1024
        aim, reached = _aim(whole, one.row.most_gib, most=True)
        peer = f"{median(one.of('peer', 'memory')):,.0f}" if one.row.peer else ""
        return (
            one.row.work,
            f"{ours:,.0f}",
            peer,
            "",
            aim and f"{aim} GiB in all",
            reached and f"{reached} ({whole:.1f})",
        )
    theirs = median(one.of("peer", "memory"))
    ratio = one.ratio(("peer", "memory"), ("ours", "memory"))
    return (one.row.work, f"{ours:,.0f}", f"{theirs:,.0f}", _digits(ratio), *_aim(ratio, one.row.leaner))


def _aim(value: float, aim: float | None, most: bool = False) -> tuple[str, str]:
    if aim is None:
        return ("", "")
    return (f"{'at most ' if most else ''}{aim:g}", "yes" if (value <= aim if most else value >= aim) else "no")


def _notes(found: list[Measured]) -> Iterator[str]:
    for one in found:
        if one.figures["skipped"]:
            yield f"{one.row.work}: not measured ({one.figures['skipped']})."
            continue
        first = one.figures["rounds"][0]
        if first["ours"]["limit_share"] < 1:
            yield f"{one.row.work}: {first['ours']['limit_share']:.2%} of the {one.row.limit} were timed, and scaled."
        if "peer" in first and first["peer"]["share"] < 1:
            yield f"{one.row.work}: {first['peer']['share']:.2%} of the peer's work were timed, and scaled."
    machines: dict[str, list[str]] = {}
    for one in found:
        machines.setdefault("; ".join(f"{key} {value}" for key, value in one.figures["machine"].items()), []).append(
            one.row.name
        )
    for text, rows in machines.items():
        yield f"Machine ({'all rows' if len(machines) == 1 else ', '.join(rows)}): {text}."


def _digits(value: float) -> str:
    """Three significant digits, without an exponent."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}" if value >= 0.001 else f"{value:.6f}".rstrip("0")
