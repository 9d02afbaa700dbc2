"""The one exception a user is meant to read."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class InputError(ValueError):
    """Bad input or a missing thing: one sentence that names it and says what to do.

    The command line prints the sentence without a traceback and ends with exit code 2.
    """


def one_line(message: object) -> str:
    """A message as one line: names in files may hold line breaks and control characters."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in str(message)).split())


def unknown(kind: str, name: str, known: Iterable[str]) -> InputError:
    """The error for a name that is not among ``known``, with the nearest ones suggested."""
    names = sorted(known)
    near = get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(names) or 'none'}."
    return InputError(f"unknown {kind} '{name}'; {hint}")
