"""Labels that differ in what nobody sees: they stay apart, and a reader is told."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping

from phenobench.profiles.labels import number_of

# Letters of other alphabets that look like Latin ones, dashes, quotes and primes that look like ASCII's.
_LOOKS = {
    "A": "\u0391\u0410",
    "B": "\u0392\u0412",
    "E": "\u0395\u0415",
    "Z": "\u0396",
    "H": "\u0397\u041d",
    "I": "\u0399",
    "K": "\u039a\u041a",
    "M": "\u039c\u041c",
    "N": "\u039d",
    "O": "\u039f\u041e",
    "P": "\u03a1\u0420",
    "T": "\u03a4\u0422",
    "Y": "\u03a5",
    "X": "\u03a7\u0425",
    "o": "\u03bf\u043e",
    "C": "\u0421",
    "a": "\u0430",
    "e": "\u0435",
    "p": "\u0440",
    "c": "\u0441",
    "y": "\u0443",
    "x": "\u0445",
    "i": "\u0456",
    "s": "\u0455",
    "-": "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe63\uff0d",
    "'": "\u2018\u2019\u02bc\u2032",
    '"': "\u201c\u201d\u2033",
    ",": "\u201a",
}
_LOOKS_LIKE = str.maketrans({letter: latin for latin, letters in _LOOKS.items() for letter in letters})


def alike(labels: Iterable[str], others: Iterable[str] = ()) -> list[tuple[str, str]]:
    """Pairs of different labels that look the same, or spell one number in two ways, sorted.

    Args:
        labels: of one column.
        others: of another; if there are any, a pair has one label of each.
    """
    theirs = sorted(set(others))
    found: dict[object, list[str]] = {}
    for label in sorted(set(labels)):
        found.setdefault(_look(label), []).append(label)
    if theirs:
        pairs = [(own, other) for other in theirs for own in found.get(_look(other), ())[:1] if own != other]
        return sorted(pairs)
    return sorted((one, other) for one, *rest in found.values() for other in rest[:1])


def notes_on(columns: Mapping[str, Iterable[str]]) -> tuple[str, ...]:
    """A sentence for each column that has labels alike; ``columns`` are their labels by what a reader calls them."""
    notes = []
    for name, labels in columns.items():
        pairs = alike(labels)
        if pairs:
            (one, other), more = pairs[0], len(pairs) - 1
            rest = f", as do {more} more pairs" if more else ""
            notes.append(f"{name}: {shown(one)} and {shown(other)} {_how(one, other)}{rest}; they are kept apart")
    return tuple(notes)


def _how(one: str, other: str) -> str:
    if number_of(one) is not None and number_of(other) is not None:
        return "look alike, one number in two spellings"
    return "look alike"


def _look(label: str) -> object:
    """Equal for labels that a reader takes for one."""
    number = number_of(label)
    if number is not None:
        return number
    if label.isascii():
        return " ".join(label.casefold().split())
    # Format characters, a zero-width blank among them, take no room.
    visible = "".join(letter for letter in label if unicodedata.category(letter) != "Cf")
    folded = unicodedata.normalize("NFKC", visible).translate(_LOOKS_LIKE).casefold()
    return " ".join(unicodedata.normalize("NFKC", folded).split())


def shown(label: str) -> str:
    """A label in quotes with the characters spelled out that could be taken for others."""
    letters = []
    for letter in label:
        plain = letter.isascii() and letter.isprintable()
        letters.append(
            letter if plain else f"{letter}(U+{ord(letter):04X})" if letter.isprintable() else f"(U+{ord(letter):04X})"
        )
    return f"'{''.join(letters)}'"
