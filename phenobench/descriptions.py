"""What a model may be told of a perturbation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Description:
    """What a model may be told of a perturbation; a model makes its own prompt of it.

    Attributes:
        perturbation: as in the wells.
        cell_type: such as "U2OS".
        kind: of perturbation.
        name: of the compound or the gene.
        info: a compound's SMILES; of a guide its sequence or name.
        text: what to say in place of a prompt.
    """

    perturbation: str
    cell_type: str = ""
    kind: Literal["compound", "crispr", "orf"] = "compound"
    name: str = ""
    info: str | None = None
    text: str | None = None
