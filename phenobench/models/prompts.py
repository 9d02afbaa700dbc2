"""The captions of perturbations that CellCLIP was trained on."""

from __future__ import annotations

import pandas as pd

from phenobench.errors import InputError

# Above this many characters a compound's caption is shortened.
_LONGEST = 512
# How a missing value reads in a table, and so in the captions of the training data.
_MISSING = "nan"


def prompt(
    cell_type: str,
    perturbation_type: str,
    name: str | float | None,
    info: str | float | None = None,
    control_info: str | float | None = None,
) -> str:
    """The caption of a perturbation as in CellCLIP's data (arXiv 2506.06290), to the letter, odd punctuation too.

    Missing values are None, NaN or "nan", and are written "nan" where a caption has them.

    Args:
        cell_type: such as "U2OS".
        perturbation_type: "compound", "crispr" or "orf".
        name: of the compound, or the gene that is targeted.
        info: of a compound the SMILES; of a CRISPR guide its sequence or name; of an ORF what kind of well it is.
        control_info: what kind of control the well is, for "crispr" and "orf".

    Raises:
        InputError: another type of perturbation.
    """
    cells = f"{cell_type} cells treated with"
    written = _written(name), _written(info), _written(control_info)
    match perturbation_type:
        case "compound":
            return _compound(cells, *written[:2])
        case "crispr":
            return _crispr(cells, *written)
        case "orf":
            return _orf(cells, *written)
    raise InputError(f"'{perturbation_type}' is no perturbation that has a caption; use compound, crispr or orf")


def _written(value: str | float | None) -> str:
    return _MISSING if pd.isna(value) else str(value)


def _compound(cells: str, name: str, smiles: str) -> str:
    if "DMSO" in name:
        caption = f"{cells} compound: control, {name}, SMILES: {smiles}"
    elif "control" in name:
        caption = f"{cells} compound: control"
    else:
        caption = f"{cells} compound: {name}, SMILES: {smiles}"
    if len(caption) > _LONGEST:
        caption = f"{cells} SMILES: {smiles}"
    return caption if len(caption) <= _LONGEST else f"{cells} compound, {name}"


def _crispr(cells: str, gene: str, guide: str, control: str) -> str:
    if "control" in control:
        return f"{cells} crispr sequence: {guide}, {control}"
    if guide == _MISSING or "control" in gene:
        return f"{cells} control, no treatment."
    if "guide" in guide:
        return f"{cells} crispr ,targeting genes: {gene}"
    return f"{cells} crispr sequence: {guide}, targeting genes: {gene}"


def _orf(cells: str, gene: str, well: str, control: str) -> str:
    if "control" in well:
        return f"{cells} orf {well} {control}, targeting genes: {gene}."
    if gene == _MISSING:
        return f"{cells} control, no treatment."
    return f"{cells} orf, targeting genes: {gene}"
