"""Do two result files say the same? By their bytes, which is quicker than by their values."""

from __future__ import annotations

import json
from pathlib import Path

# The last block of a result file as it is written: at the depth of one indent, where no other key of this name is.
_RUN = b'\n  "run": '
# By how much a file may be longer than one that was read and found to be a result.
_LONGER = 2**16


def equal_but_run(read: Path, other: Path) -> bool:
    """Whether both files are equal but for how they were run.

    Files that were written in another way, or that cannot be read, are not called equal: then their
    values have to be compared, and reading them as results says what is wrong.

    Args:
        read: a file that has been read as a result.
        other: one of any content.
    """
    try:
        if other.stat().st_size > read.stat().st_size + _LONGER:
            return False
        first, second = read.read_bytes(), other.read_bytes()
    except OSError:
        return False
    if first == second:
        return True
    (one, _, run), (another, _, other_run) = first.rpartition(_RUN), second.rpartition(_RUN)
    return one == another and _is_all(run) and _is_all(other_run)


def _is_all(run: bytes) -> bool:
    """Whether this is an object, and the last thing in the file."""
    try:
        values = json.loads(b"{" + _RUN + run)
    except (ValueError, RecursionError):
        return False
    return values.keys() == {"run"} and isinstance(values["run"], dict)
