"""Captions: equal to the reference's, and the rules that its data sets follow."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from phenobench.errors import InputError
from phenobench.models.cellclip import prompt

CASES = json.loads((Path(__file__).parents[1] / "goldens" / "cellclip_prompts.json").read_text())


@pytest.mark.parametrize("case", CASES, ids=[" ".join(str(part)[:12] for part in case["args"]) for case in CASES])
def test_captions_are_the_references_to_the_letter(case: dict[str, Any]) -> None:
    arguments: list[Any] = [
        math.nan if nan else given for given, nan in zip(case["args"], case["nan_args"], strict=True)
    ]
    assert prompt(*arguments) == case["prompt"]


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (("compound", "DMSO", "CS(C)=O"), "compound: control, DMSO, SMILES: CS(C)=O"),
        (("compound", "DMSO control", "CS(C)=O"), "compound: control, DMSO control, SMILES: CS(C)=O"),
        (("compound", "EMPTY_control", "C"), "compound: control"),
        (("compound", "dmso", "C"), "compound: dmso, SMILES: C"),
        (("compound", "DMSO", "C" * 500), "compound, DMSO"),
        (("crispr", "TP53", "ACGT"), "crispr sequence: ACGT, targeting genes: TP53"),
        (("crispr", "TP53", "ACGT", "control"), "crispr sequence: ACGT, control"),
        (("crispr", "TP53", math.nan, "trt nan"), "control, no treatment."),
        (("crispr", "control", "a_guide_1"), "control, no treatment."),
        (("orf", "TP53", "trt"), "orf, targeting genes: TP53"),
        (("orf", math.nan, "control", "negcon"), "orf control negcon, targeting genes: nan."),
    ],
)
def test_the_rules_of_each_kind_of_perturbation(given: tuple[Any, ...], wanted: str) -> None:
    assert prompt("A549", *given) == f"A549 cells treated with {wanted}"


def test_a_caption_of_512_characters_is_kept_and_one_of_513_is_shortened() -> None:
    before = len("U2OS cells treated with compound: x, SMILES: ")
    assert len(prompt("U2OS", "compound", "x", "C" * (512 - before))) == 512
    longer = "C" * (513 - before)
    assert prompt("U2OS", "compound", "x", longer) == f"U2OS cells treated with SMILES: {longer}"


@pytest.mark.parametrize("missing", [None, math.nan, np.float32("nan"), pd.NA, "nan"])
def test_all_ways_of_missing_are_one(missing: Any) -> None:
    assert prompt("U2OS", "crispr", "TP53", missing) == "U2OS cells treated with control, no treatment."
    assert prompt("U2OS", "orf", missing, missing, missing) == "U2OS cells treated with control, no treatment."
    assert prompt("U2OS", "compound", missing, "CCO") == "U2OS cells treated with compound: nan, SMILES: CCO"


@pytest.mark.parametrize("kind", ["", "sirna", "COMPOUND"])
def test_other_perturbations_have_no_caption(kind: str) -> None:
    with pytest.raises(InputError, match=f"'{kind}' is no perturbation.*compound, crispr or orf"):
        prompt("U2OS", kind, "TP53")
