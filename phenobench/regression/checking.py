"""Hold results against a baseline: equal, worse, better, not comparable, missing or new."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from phenobench.cards import find
from phenobench.comparison.comparable import differing_field
from phenobench.errors import InputError, unknown
from phenobench.regression.cells import Cell, pair_up
from phenobench.regression.equality import equal_but_run
from phenobench.regression.verdict import Changed, Checked, Missing, Moved
from phenobench.results import Result, ScoreInfo, read_result, require_label
from phenobench.suite import CheckSettings

if TYPE_CHECKING:
    from phenobench.comparison.differences import ScoreDifference
    from phenobench.item_values import Values

# Two-sided, for all scores of a check together (Holm). All later runs are held against one committed baseline, and
# share its luck: in units of one run's error, run r against baseline b falls where r < b - sqrt(2) z. Of the reruns of
# an equal model at most 2 % may fail, for all but unusually lucky baselines. At z = 1.96 (0.05) 2 % is exceeded for one
# baseline in four; at z = 2.81 (0.005) for one in 36, whose luck is above sqrt(2) z - 2.05 = 1.92. On average over
# baselines 0.25 % of equal reruns fail, were all error that of single perturbations; what all wells of a run share
# comes on top. Seen on five planted screens, 16 baselines each with 200 reruns of other noise: 2 % was exceeded for 3
# of 80 baselines (21 at 0.05), and of 1,000 reruns against one baseline each 4 failed (0.1 to 1.0 % with 95 %).
LEVEL = 0.005


@dataclass(frozen=True)
class _Side:
    """A result and the file that it is in."""

    path: Path
    result: Result

    @cached_property
    def values(self) -> Mapping[tuple[str, str], Values]:
        """What its scores are means of; read once, for all of them."""
        from phenobench.item_values import read_values

        return read_values(self.path, self.result)


@dataclass(frozen=True)
class _Pair:
    """A score in the baseline and now, of results that may be compared."""

    cell: str
    old: _Side
    new: _Side
    before: ScoreInfo
    after: ScoreInfo
    tolerance: float

    @property
    def gain(self) -> float:
        change = self.after.value - self.before.value
        return change if self.before.higher_is_better else -change

    @property
    def exact(self) -> bool:
        """The same inputs on the same machine: the scores have to be the same, to the last digit."""
        one, other = self.old.result, self.new.result
        return one.fingerprint == other.fingerprint and one.run.get("host") == other.run.get("host")


def check_results(results: Path, baseline: Path, settings: CheckSettings, *, updating: bool = False) -> Checked:
    """Hold the results in a folder against a baseline.

    A score fell where the drop is larger than its task's tolerance, and the difference, paired on the
    items of both results, lies below 0 at the level 0.005 after Holm's correction over all scores
    that differ. Items are read only of scores that moved by more than the tolerance.

    Args:
        results: the folder under test.
        baseline: the folder to hold it against.
        settings: with the tolerances.
        updating: a baseline that does not exist yet is empty.

    Raises:
        InputError: a folder without results, one folder for both, a file that is no result, or a
            tolerance of a task that nothing has.
    """
    if results.resolve() == baseline.resolve():
        raise InputError(
            f"{results} is both results and baseline; run with --results in another folder and check that one"
        )
    cells = pair_up(baseline, results)
    if not any(cell.result for cell in cells):
        raise InputError(f"{results} holds no result; run phenobench run first, or name the folder with --results")
    if not updating and not any(cell.baseline for cell in cells):
        raise InputError(
            f"{baseline} holds no result to compare with; name the baseline with --baseline, or make one with --update"
        )
    _require_known_tasks(settings, cells)
    findings = [finding for cell in cells for finding in _findings(cell, settings)]
    pairs = [finding for finding in findings if isinstance(finding, _Pair)]
    differing = [pair for pair in pairs if pair.gain != 0]
    fell, better, unpaired = _judge(differing)
    return Checked(
        results=results,
        baseline=baseline,
        cells=tuple(cells),
        same=len(pairs) - len(differing),
        near=len(differing) - len(fell) - len(better),
        unpaired=unpaired,
        fell=tuple(fell),
        better=tuple(better),
        changed=tuple(finding for finding in findings if isinstance(finding, Changed)),
        missing=tuple(finding for finding in findings if isinstance(finding, Missing)),
        new=tuple(cell.name for cell in cells if cell.baseline is None),
    )


def _require_known_tasks(settings: CheckSettings, cells: list[Cell]) -> None:
    paths = [path for cell in cells for path in (cell.baseline, cell.result) if path is not None]
    known = {"default", *find().tasks, *(path.name.split(".")[0] for path in paths)}
    for task in settings.tolerance.keys() - known:
        raise unknown("task in [check.tolerance]", task, known)


def _findings(cell: Cell, settings: CheckSettings) -> Iterator[_Pair | Changed | Missing]:
    """What there is to say of a cell: its scores, or why they cannot be compared."""
    if cell.result is None:
        yield Missing(cell.name, "the result")
        return
    new = _Side(cell.result, _read(cell.result))
    if cell.baseline is None:
        return
    # What equal scores were run on is no matter.
    old = new if equal_but_run(cell.result, cell.baseline) else _Side(cell.baseline, _read(cell.baseline))
    field = None if old is new else differing_field(old.result, new.result)
    if field is not None:
        yield Changed(cell.name, *field)
        return
    tolerance = settings.tolerance_of(old.result.task.id)
    now = {(score.metric, score.subset): score for score in new.result.scores}
    for before in old.result.scores:
        after = now.get((before.metric, before.subset))
        if after is None:
            why = new.result.skipped.get(before.subset)
            yield Missing(cell.name, f"the score {before.metric} {before.subset}" + (f" ({why})" if why else ""))
        else:
            yield _Pair(cell.name, old, new, before, after, tolerance)


def _read(path: Path) -> Result:
    result = read_result(path)
    for name in (result.screen.id, result.model.id, result.normalization.name, result.task.id, result.task.variant):
        require_label(name, f"name in {path}")
    return result


def _judge(pairs: list[_Pair]) -> tuple[list[Moved], list[Moved], int]:
    """Which scores fell and which became better, and how many could be compared by their intervals alone."""
    # What repeats exactly is certain and what is within the tolerance is no matter; neither needs a test.
    exact = [pair for pair in pairs if pair.exact]
    tested = [pair for pair in pairs if not pair.exact and abs(pair.gain) > pair.tolerance]
    if not exact and not tested:
        return [], [], 0
    from phenobench.metrics.significance import holm

    found = [_difference(pair) for pair in (*exact, *tested)]
    # Scores within the tolerance count as tests that found nothing.
    within = [1.0] * (len(pairs) - len(found))
    p_values = holm([*(one.difference.p_value for one in found[len(exact) :]), *within])[: len(tested)].tolist()
    moved = []
    for pair, one, p_value in zip((*exact, *tested), found, [*[None] * len(exact), *p_values], strict=True):
        # Where only some perturbations are in both, these have to agree with the scores.
        if p_value is None or (p_value < LEVEL and one.gain * pair.gain > 0):
            besides = _besides(pair.old.result, pair.new.result)
            moved.append(Moved(pair.cell, one, p_value, pair.tolerance, besides))
    fell = [one for one in moved if one.found.gain < 0]
    return fell, [one for one in moved if one.found.gain > 0], sum(not one.paired for one in found)


def _difference(pair: _Pair) -> ScoreDifference:
    from phenobench.comparison.differences import score_difference

    name = (pair.before.metric, pair.before.subset)
    now, then = (side.values.get(name) for side in (pair.new, pair.old))
    return score_difference(pair.after, pair.before, now, then, seed=pair.old.result.seed)


def _besides(old: Result, new: Result) -> tuple[str, ...]:
    """What is not as in the baseline, though the scores may be compared."""
    values = {
        "weights": (old.model.weights.sha256[:12], new.model.weights.sha256[:12]),
        "model revision": (old.model.revision, new.model.revision),
        "seed": (str(old.seed), str(new.seed)),
        "phenobench": (_version(old), _version(new)),
        **{
            name: (old.environment.get(name, "absent"), new.environment.get(name, "absent"))
            for name in sorted(old.environment.keys() | new.environment.keys())
        },
    }
    return tuple(f"{name} {before} -> {after}" for name, (before, after) in values.items() if before != after)


def _version(result: Result) -> str:
    return " ".join(filter(None, (result.phenobench.get("version"), result.phenobench.get("git"))))
