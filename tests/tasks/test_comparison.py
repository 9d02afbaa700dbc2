from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from phenobench.errors import InputError
from phenobench.tasks.comparison import compare


def wells(seed: int, lift: float = 0.0, n: int = 60) -> pd.DataFrame:
    """Three wells a perturbation; models share what is easy and what is hard."""
    easy = np.repeat(np.random.default_rng(1).beta(0.6, 1.8, n), 3)
    values = easy + lift + 0.05 * np.random.default_rng(seed).standard_normal(3 * n)
    return pd.DataFrame({"perturbation": np.repeat([f"p{i}" for i in range(n)], 3), "average_precision": values})


def gene_pairs(hits: list[float], source: str = "CORUM") -> pd.DataFrame:
    names = [f"g{i}" for i in range(len(hits) + 1)]
    return pd.DataFrame({"source": source, "entity1": names[:-1], "entity2": names[1:], "hit": hits})


def test_scores_are_means_over_perturbations_of_means_over_wells() -> None:
    first, second = wells(2, lift=0.1), wells(3)
    # An unequal number of wells must not weigh.
    compared = compare(first.drop(index=[0, 3, 4]), second, "average_precision")
    wanted = first.drop(index=[0, 3, 4]).groupby("perturbation")["average_precision"].mean().mean()
    assert compared.first == pytest.approx(wanted)
    assert compared.difference.value == pytest.approx(compared.first - compared.second)
    assert (compared.difference.n, compared.unit, compared.too_few, compared.left_out) == (
        60,
        "perturbations",
        False,
        0,
    )
    assert compared.difference.p_value < 0.001


def test_only_what_both_were_scored_on_is_compared() -> None:
    first, second = wells(2), wells(3)
    second.loc[second["perturbation"] == "p7", "average_precision"] = np.nan
    compared = compare(first[first["perturbation"] != "p3"], second, "average_precision")
    assert (compared.difference.n, compared.left_out) == (58, 2)
    common = first[~first["perturbation"].isin(["p3", "p7"])]
    assert compared.first == pytest.approx(common.groupby("perturbation")["average_precision"].mean().mean())


def test_the_order_of_items_does_not_matter() -> None:
    first, second = wells(2), wells(3)
    assert compare(first, second, "average_precision") == compare(first[::-1], second, "average_precision")


def test_gene_pairs_are_matched_by_their_names() -> None:
    first, second = gene_pairs([1.0, 1.0, 0.0, 1.0]), gene_pairs([0.0, 1.0, 0.0, 0.0])
    compared = compare(first, second[::-1], "hit")
    assert (compared.first, compared.second, compared.difference.value) == (0.75, 0.25, 0.5)
    assert (compared.unit, compared.difference.n, compared.too_few) == ("pairs", 4, True)


def test_what_cannot_be_compared_is_refused() -> None:
    several = pd.concat([gene_pairs([1.0]), gene_pairs([0.0], source="Reactome")])
    with pytest.raises(InputError, match=r"several scores \(source: CORUM, Reactome\)"):
        compare(several, several, "hit")
    with pytest.raises(InputError, match="no perturbations in common"):
        compare(
            wells(2), wells(3).replace({"perturbation": {f"p{i}": f"q{i}" for i in range(60)}}), "average_precision"
        )
    with pytest.raises(InputError, match="unknown column of the items 'average_precison'"):
        compare(wells(2), wells(3), "average_precison")
