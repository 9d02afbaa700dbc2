"""Options that more than one command has, with their help."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from phenobench.profiles.reading import Reading

Models = Annotated[
    list[str] | None, typer.Option("--model", help="A model's id, or 'all'; with --profiles a free label. Repeats.")
]
Tasks = Annotated[list[str] | None, typer.Option("--task", help="A task's id, or 'all' that apply. Repeats.")]
Normalizations = Annotated[
    list[str] | None,
    typer.Option("--normalization", help="A named chain ('center+tvn' is one, then the other), or 'all'. Repeats."),
]
Variants = Annotated[list[str] | None, typer.Option("--variant", help="A variant of the tasks that have it. Repeats.")]
Screens = Annotated[
    str | None,
    typer.Option("--screen", help="A screen's id, or a folder with screen.csv; with --profiles a free label."),
]
ProfileFiles = Annotated[
    list[str] | None, typer.Option("--profiles", help="Embeddings in a file, folder or glob. Repeats.")
]
Results = Annotated[Path | None, typer.Option("--results", help="Where results go.")]
AnnotationFolder = Annotated[
    Path | None,
    typer.Option(
        "--annotations", help="A folder of NAME.txt tables (entity1,entity2), in place of the published ones."
    ),
]
Seed = Annotated[int | None, typer.Option("--seed", min=0, help="Of controls, resamples and splits.")]
CardFolder = Annotated[
    Path | None, typer.Option("--cards", help="A folder with models/, tasks/ or screens/ of your own.")
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace results of other weights, wells or task versions.")
]
Texts = Annotated[
    str | None,
    typer.Option("--texts", help="The other modality of cross-modal: a file of profiles, matched by perturbation."),
]
Align = Annotated[
    str | None,
    typer.Option("--align", help="Fit a common space for --texts on half of the perturbations: 'ridge' or 'cca'."),
]
Columns = Annotated[
    list[str] | None,
    typer.Option(
        "--column",
        help="role=Name: the column of a role: plate, well, batch, source, perturbation, gene, target or pert_type. "
        "Repeats.",
    ),
]
Prefixes = Annotated[
    list[str] | None,
    typer.Option("--metadata-prefix", help="What metadata columns start with (default Metadata_). Repeats."),
]
Negcon = Annotated[
    list[str] | None, typer.Option("--negcon", help="Column=Value: wells that are negative controls. Repeats.")
]
Exclude = Annotated[list[str] | None, typer.Option("--exclude", help="Column=Value: wells to leave out. Repeats.")]
Label = Annotated[
    list[str] | None,
    typer.Option("--label", help="Column=Value:type: wells of a type (trt, negcon, poscon, empty). Repeats."),
]
Nan = Annotated[
    str, typer.Option("--nan", help="error, drop-features or drop-wells: what to do about NaN and infinite features.")
]
WeightsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--weights", help="A file of weights for the image models, PART=FILE of one with parts, or 'random'. Repeats."
    ),
]
AcceptLicence = Annotated[
    list[str] | None,
    typer.Option("--accept-licence", help="The id of a model or screen whose licence you accept. Repeats."),
]
Device = Annotated[
    str, typer.Option("--device", help="auto, cpu, cuda, cuda:1 or mps: where models run and wells are ranked.")
]


def reading_of(
    column: list[str] | None,
    prefixes: list[str] | None,
    negcon: list[str] | None,
    exclude: list[str] | None,
    label: list[str] | None,
    nan: str,
) -> Reading:
    """How to read profiles or wells, as the options say.

    Raises:
        InputError: ``--column`` or ``--nan`` is not understood.
    """
    from phenobench.errors import InputError, unknown
    from phenobench.profiles.reading import NAN_POLICIES, Reading

    columns = {}
    for text in column or []:
        role, equals, name = text.partition("=")
        if not equals or not name:
            raise InputError(f"--column {text}: write role=Name, for example perturbation=Metadata_broad_sample")
        columns[role] = name
    policies = {policy: policy for policy in NAN_POLICIES}
    if nan not in policies:
        raise unknown("--nan policy", nan, policies)
    return Reading(
        columns=columns,
        prefixes=tuple(prefixes or ("Metadata_",)),
        negcon=tuple(negcon or ()),
        exclude=tuple(exclude or ()),
        label=tuple(label or ()),
        nan=policies[nan],
    )
