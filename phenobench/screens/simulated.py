"""The simulated screen: real gene names in planted relations, laid out on plates at random, the same for every user."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from phenobench.descriptions import Description
from phenobench.profiles import ROLES
from phenobench.screens.optics import Optics
from phenobench.screens.rendering import CHANNELS, PARAMETERS, render_field

_ROWS, _COLUMNS = 16, 24
_CELL_TYPE = "U2OS"
# Of so many cell parameters does a complex change the mean; the parts of a complex's strength.
_CHANGED, _STRENGTHS = 5, (0.7, 1.3)


class PhenotypeStrengths(BaseModel):
    """What perturbations do to cells, in units of the standard deviation between untreated cells.

    Attributes:
        complex: mean length of the change that the genes of a complex share.
        own: length of the change that one gene or compound adds.
        compound: the share of its target gene's change that a compound has.
        penetrance: mean share of the cells that respond.
        penetrance_sd: its standard deviation between perturbations.
        well_sd: by how much each parameter differs between wells for no reason.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    complex: float = Field(ge=0)
    own: float = Field(ge=0)
    compound: float = Field(ge=0)
    penetrance: float = Field(ge=0, le=1)
    penetrance_sd: float = Field(ge=0)
    well_sd: float = Field(ge=0)


class BatchEffects(BaseModel):
    """Standard deviations between plates; half of each variance is shared by the plates of a batch.

    Attributes:
        gain: of each channel's log gain.
        background: of grey levels added to each channel, which are never negative.
        gradient: of the relative change of illumination to an edge, by channel and direction.
        vignetting: of the loss of illumination in the corners, by channel.
        blur: of the point spread's outer weights, by channel.
        density: of the log number of cells.
        biology: of the mean of each cell parameter.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    gain: float = Field(ge=0)
    background: float = Field(ge=0)
    gradient: float = Field(ge=0)
    vignetting: float = Field(ge=0)
    blur: float = Field(ge=0)
    density: float = Field(ge=0)
    biology: float = Field(ge=0)


class EdgeEffect(BaseModel):
    """What happens in the outermost wells of every plate.

    Attributes:
        density: relative change of the number of cells.
        gain: relative change of every channel's gain.
        biology: size of the change of each cell parameter, whose signs are the screen's.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    density: float = Field(gt=-1)
    gain: float = Field(gt=-1)
    biology: float = Field(ge=0)


class SimulatedCard(BaseModel):
    """Sizes and strengths of a simulated screen; layout and images follow from them, the names and the seed.

    ``names`` is the pair of tables that genes and compounds are taken from. No name is in two pairs, so what is
    trained on one is scored on the other's perturbations unseen. ``first_batch`` is the number of the first batch: two
    screens that are otherwise alike but for it, and have no number in common, are of one kind and share no plate.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    title: str
    kind: Literal["simulated"]
    revision: str
    licence: str
    # Layout and phenotypes hold what follows from these two, so the fingerprint of the images does without them.
    names: Literal["simulated", "simulated_training"] = Field(default="simulated", exclude=True)
    first_batch: int = Field(default=1, ge=1, exclude=True)
    seed: int = Field(ge=0)
    complexes: int = Field(ge=1)
    single_genes: int = Field(ge=0)
    compounds: int = Field(ge=0)
    batches: int = Field(ge=1)
    plates_per_batch: int = Field(ge=1)
    controls_per_plate: int = Field(ge=2)
    fields_per_well: int = Field(ge=1)
    phenotype: PhenotypeStrengths
    batch_effects: BatchEffects
    edge_effect: EdgeEffect


def planted(card: SimulatedCard) -> tuple[pd.DataFrame, pd.DataFrame, np.ndarray]:
    """The truth: genes with their complex, compounds with their target, and the pairs within complexes.

    The complexes are real ones, so that CORUM, StringDB and the like have something to say about
    them, and so few that the pairs of no source fill more than a third of a 5 % tail.
    """
    genes = _table(card, "genes")
    names = genes["complex"].dropna().unique()[: card.complexes]
    grouped = genes[genes["complex"].isin(names)]
    genes = pd.concat([grouped, genes[genes["complex"].isna()].head(card.single_genes)], ignore_index=True)
    compounds = _table(card, "compounds")[["compound", "target", "mechanism"]]
    compounds = compounds[compounds["target"].isin(genes["gene"])].head(card.compounds).reset_index(drop=True)
    members = [sorted(group) for _, group in grouped.groupby("complex", sort=True)["gene"]]
    pairs = sorted(pair for group in members for pair in combinations(group, 2))
    return genes, compounds, np.array(pairs)


def layout(card: SimulatedCard) -> pd.DataFrame:
    """One row a well: every gene and compound once a plate, at a place drawn anew for each plate."""
    genes, compounds, _ = planted(card)
    rng = np.random.default_rng(card.seed)
    treated = pd.DataFrame(
        {
            ROLES["perturbation"]: [*genes["gene"], *compounds["compound"]],
            ROLES["gene"]: [*genes["gene"], *[None] * len(compounds)],
            ROLES["pert_type"]: "trt",
            "Metadata_Target": [*[None] * len(genes), *compounds["target"]],
        }
    )
    controls = pd.DataFrame(
        {ROLES["perturbation"]: ["control"] * card.controls_per_plate, ROLES["pert_type"]: "negcon"}
    )
    content = pd.concat([treated, controls], ignore_index=True)
    places = np.array([f"{_row(row)}{column:02d}" for row in range(_ROWS) for column in range(1, _COLUMNS + 1)])
    plates = []
    for batch in range(1, card.first_batch + card.batches):
        for plate in range(1, card.plates_per_batch + 1):
            drawn = rng.permutation(places)[: len(content)]
            if batch < card.first_batch:
                continue  # drawn all the same: no two batches have the same places
            wells = content.copy()
            wells[ROLES["batch"]] = f"batch{batch}"
            wells[ROLES["plate"]] = f"batch{batch}-plate{plate}"
            wells[ROLES["well"]] = drawn
            plates.append(wells)
    columns = [ROLES[role] for role in ("batch", "plate", "well", "perturbation", "gene", "pert_type")]
    return pd.concat(plates, ignore_index=True)[[*columns, "Metadata_Target"]]


def compounds(card: SimulatedCard) -> pd.DataFrame:
    """What is known of the screen's compounds: compound, target, mechanism, and an invented smiles."""
    known = _table(card, "compounds")
    return known[known["compound"].isin(planted(card)[1]["compound"])].reset_index(drop=True)


def descriptions(card: SimulatedCard) -> list[Description]:
    """What a model may be told of each perturbation: the gene that a guide targets; a compound's name and SMILES.

    Before a compound's name stands its mechanism, which compounds with the same target share: by that, and by a part of
    the SMILES, a text tells what a compound does that no model was trained on.
    """
    genes = [
        Description(gene, _CELL_TYPE, "crispr", gene, f"{gene}_guide_1") for gene in sorted(planted(card)[0]["gene"])
    ]
    drugs = compounds(card)
    return genes + [
        Description(drug["compound"], _CELL_TYPE, "compound", f"{drug['mechanism']} {drug['compound']}", drug["smiles"])
        for drug in drugs.to_dict("records")
    ]


@dataclass(frozen=True, eq=False)
class Phenotype:
    """What a perturbation does.

    Attributes:
        mean: change of each of ``rendering.PARAMETERS`` (22,) in the cells that respond.
        penetrance: the share of cells that respond.
    """

    mean: np.ndarray
    penetrance: float


@lru_cache(maxsize=8)
def phenotypes(card: SimulatedCard) -> Mapping[str, Phenotype]:
    """The phenotype of every gene and compound, and of ``control``, which is none.

    A gene has its complex's change plus its own; a gene without a complex is a complex by itself.
    """
    genes, drugs, _ = planted(card)
    strengths = card.phenotype
    found = {"control": Phenotype(np.zeros(len(PARAMETERS)), 0.0)}
    for gene, group in zip(genes["gene"], genes["complex"].fillna(genes["gene"]), strict=True):
        found[gene] = _with_own(card, gene, _shared_change(card, group))
    for drug, target in zip(drugs["compound"], drugs["target"], strict=True):
        found[drug] = _with_own(card, drug, strengths.compound * found[target].mean)
    return found


def _shared_change(card: SimulatedCard, group: str) -> np.ndarray:
    """A direction in a few of the parameters, of the length of a complex's strength."""
    rng = _generator(card, "complex", group)
    change = np.zeros(len(PARAMETERS))
    changed = rng.permutation(len(PARAMETERS))[:_CHANGED]
    change[changed] = rng.standard_normal(_CHANGED)
    return change * (card.phenotype.complex * rng.uniform(*_STRENGTHS) / np.sqrt((change**2).sum()))


def _with_own(card: SimulatedCard, name: str, shared: np.ndarray) -> Phenotype:
    rng = _generator(card, "perturbation", name)
    own = rng.standard_normal(len(PARAMETERS)) * (card.phenotype.own / np.sqrt(len(PARAMETERS)))
    penetrance = card.phenotype.penetrance + card.phenotype.penetrance_sd * rng.standard_normal()
    return Phenotype(shared + own, float(np.clip(penetrance, 0, 1)))


@dataclass(frozen=True, eq=False)
class Surroundings:
    """What a well's place does to its cells and pictures, whatever is in the well."""

    optics: Optics
    density: float
    shift: np.ndarray


def surroundings(card: SimulatedCard, batch: str, plate: str, well: str) -> Surroundings:
    """The effects of batch, plate, edge and chance on a well."""
    sd, edge = card.batch_effects, card.edge_effect
    halves = [_generator(card, "batch", batch), _generator(card, "plate", batch, plate)]
    channels = len(CHANNELS)

    def drawn(size: int) -> np.ndarray:
        return np.sqrt(0.5) * (halves[0].standard_normal(size) + halves[1].standard_normal(size))

    # The order of these draws is part of the screen.
    gain = np.exp(sd.gain * drawn(channels))
    background = np.abs(sd.background * drawn(channels))
    right, down = sd.gradient * drawn(channels), sd.gradient * drawn(channels)
    vignetting = np.abs(sd.vignetting * drawn(channels))
    blur = sd.blur * drawn(channels)
    density = float(np.exp(sd.density * drawn(1)[0]))
    shift = sd.biology * drawn(len(PARAMETERS))
    shift += card.phenotype.well_sd * _generator(card, "well", plate, well).standard_normal(len(PARAMETERS))
    if well[0] in (_row(0), _row(_ROWS - 1)) or int(well[1:]) in (1, _COLUMNS):
        gain *= 1 + edge.gain
        density *= 1 + edge.density
        shift += edge.biology * _generator(card, "edge").choice([-1.0, 1.0], len(PARAMETERS))
    settings = (tuple(values.tolist()) for values in (gain, background, right, down, vignetting, blur))
    return Surroundings(Optics(*settings), density, shift)


def render_well(card: SimulatedCard, well: Mapping[Hashable, Any] | pd.Series) -> list[np.ndarray]:
    """The fields of a well, a row of ``layout``: uint8 (6, 256, 256) each.

    They depend on the card and on the well's place and perturbation, and on nothing else.
    """
    batch, plate, place, perturbation = (str(well[ROLES[role]]) for role in ("batch", "plate", "well", "perturbation"))
    phenotype = phenotypes(card)[perturbation]
    around = surroundings(card, batch, plate, place)
    return [
        render_field(
            phenotype.mean,
            phenotype.penetrance,
            around.optics,
            around.density,
            _generator(card, "field", plate, place, str(site)),
            shift=around.shift,
        )
        for site in range(1, card.fields_per_well + 1)
    ]


def _table(card: SimulatedCard, kind: Literal["genes", "compounds"]) -> pd.DataFrame:
    return pd.read_csv(Path(__file__).parent / f"{card.names}_{kind}.csv")


def _row(number: int) -> str:
    return chr(ord("A") + number)


def _generator(card: SimulatedCard, *names: str) -> np.random.Generator:
    """Chance that follows from the seed and these names, in any process and any order of calls."""
    text = "\x1f".join([str(card.seed), *names])
    entropy = int.from_bytes(hashlib.sha256(text.encode()).digest(), "big")
    return np.random.default_rng(np.random.SeedSequence(entropy))
