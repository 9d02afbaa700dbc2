"""Make results the baseline."""

from __future__ import annotations

import shutil
from pathlib import Path

from phenobench.files import atomic
from phenobench.regression.verdict import Checked
from phenobench.results import items_path, read_result


def update_baseline(checked: Checked) -> str:
    """Copy results and their items into the baseline, and remove what is no longer there.

    Files that say the same are left alone, so that a commit shows what changed. Each file is written whole.

    Returns:
        What was done, in one sentence.

    Raises:
        InputError: the baseline cannot be written.
    """
    written = kept = removed = 0
    for cell in checked.cells:
        if cell.result is None:
            continue
        if cell.baseline is not None and _says_the_same(cell.baseline, cell.result):
            kept += 1
            continue
        target = checked.baseline / cell.result.relative_to(checked.results)
        items = items_path(cell.result)
        if items.is_file():
            _copy(items, items_path(target))
        else:
            items_path(target).unlink(missing_ok=True)
        _copy(cell.result, target)
        written += 1
    there = {checked.baseline / cell.result.relative_to(checked.results) for cell in checked.cells if cell.result}
    for cell in checked.cells:
        if cell.baseline is not None and cell.baseline not in there:
            cell.baseline.unlink()
            items_path(cell.baseline).unlink(missing_ok=True)
            removed += 1
    return f"baseline {checked.baseline}: {written} written, {kept} as they were, {removed} removed"


def _copy(source: Path, target: Path) -> None:
    with atomic(target) as temporary:
        shutil.copyfile(source, temporary)


def _says_the_same(one: Path, other: Path) -> bool:
    """Everything but the ``run`` block is equal, and the items are there as well or as little."""
    if _bytes(items_path(one)) != _bytes(items_path(other)):
        return False
    results = [read_result(path).model_copy(update={"run": {}}) for path in (one, other)]
    return results[0] == results[1]


def _bytes(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None
