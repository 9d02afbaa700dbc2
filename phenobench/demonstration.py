"""Demonstration weights: small files that come with a model's card, made by its recipe on a simulated screen.

They let a comparison run offline, and say nothing of the rank of the model whose name they bear.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from phenobench.cards import ModelCard
from phenobench.errors import InputError
from phenobench.files import sha256_of


def demo_weights(card: ModelCard) -> dict[str, Path]:
    """The parts of a model's demonstration weights; none where the card names none.

    Raises:
        InputError: a file is absent or is not the one that the card names.
    """
    files = card.demo_files
    for part, path in files.items():
        if not path.is_file():
            raise InputError(
                f"{path} is absent and the card of {card.id} names it; restore it, or take it off the card"
            )
        if sha256_of(path) != card.demo[part].sha256:
            raise InputError(
                f"{path} has another sha256 than the card of {card.id} says; restore it, or give --weights"
            )
    return files


def are_demo(card: ModelCard, weights: Mapping[str, Path]) -> bool:
    """Whether files are a model's demonstration weights, all parts of them, wherever they lie."""

    def same(path: Path, sha256: str) -> bool:
        return path.is_file() and sha256_of(path) == sha256

    known = card.demo
    return bool(known) and weights.keys() == known.keys() and all(same(weights[p], known[p].sha256) for p in known)
