"""The one exception a user is meant to read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches


class InputError(ValueError):
    """Bad input or a missing thing: a sentence for each fault that names it and says what to do.

    The command line prints each sentence on a line of its own, without a traceback, and ends with exit code 2.
    """

    @property
    def sentences(self) -> tuple[str, ...]:
        """A sentence for each fault."""
        return tuple(map(str, self.args))

    def __str__(self) -> str:
        return "\n".join(self.sentences)


# So many faults are said at once; whoever mends them may meet the others then.
_MOST_FAULTS = 10


class Faults:
    """Faults of an input, gathered so that a user is told of all at once."""

    def __init__(self) -> None:
        self._sentences: list[str] = []

    def add(self, *sentences: str) -> None:
        """Note faults; one that is known already counts once."""
        self._sentences += [sentence for sentence in sentences if sentence not in self._sentences]

    def __bool__(self) -> bool:
        return bool(self._sentences)

    @property
    def sentences(self) -> tuple[str, ...]:
        """What was noted."""
        return tuple(self._sentences)

    @contextmanager
    def caught(self) -> Iterator[None]:
        """Note what a block raises as an ``InputError``, in place of raising it."""
        try:
            yield
        except InputError as error:
            self.add(*error.sentences)

    def raise_any(self) -> None:
        """Raise what was noted, the first ten of it.

        Raises:
            InputError: a sentence for each fault.
        """
        if not self._sentences:
            return
        more = len(self._sentences) - _MOST_FAULTS
        rest = [f"and {more} more faults, which are told when these are mended"] if more > 0 else []
        raise InputError(*self._sentences[:_MOST_FAULTS], *rest)


def one_line(message: object) -> str:
    """A message as one line: names in files may hold line breaks and control characters."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in str(message)).split())


def unknown(kind: str, name: str, known: Iterable[str]) -> InputError:
    """The error for a name that is not among ``known``, with the nearest ones suggested."""
    names = sorted(known)
    near = get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(names) or 'none'}."
    return InputError(f"unknown {kind} '{name}'; {hint}")
