"""Options that more than one command has, with their help."""

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from phenobench.profiles.settings import Reading

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
        help="role=Name: the column of a role: plate, well, batch, source, perturbation, gene, target or pert_type; "
        "A,B joins several, such as a compound and its dose, or a well's row and column. Repeats.",
    ),
]
Prefixes = Annotated[
    list[str] | None,
    typer.Option("--metadata-prefix", help="What metadata columns start with, beside Metadata_. Repeats."),
]
Negcon = Annotated[
    list[str] | None,
    typer.Option("--negcon", help="Column=Value: wells that are negative controls. Repeats."),
]
Exclude = Annotated[
    list[str] | None,
    typer.Option(
        "--exclude",
        help="Column=Value, Column<50, or several with commas (all have to hold): wells to leave out. Repeats.",
    ),
]
Label = Annotated[
    list[str] | None,
    typer.Option("--label", help="Column=Value:type: wells of a type (trt, negcon, poscon, empty). Repeats."),
]
Nan = Annotated[
    str,
    typer.Option(
        "--nan",
        help="error, drop-features, drop-wells or drop (wells, features or both, whichever loses least): what to do "
        "about NaN and infinite features.",
    ),
]
FeaturePrefixes = Annotated[
    list[str] | None,
    typer.Option("--feature-prefix", help="What features start with; all other columns are metadata. Repeats."),
]
KeepFeatures = Annotated[
    list[str] | None,
    typer.Option("--keep-feature", help="A column that is a feature although its name says otherwise. Repeats."),
]
ExcludeFiles = Annotated[
    list[Path] | None,
    typer.Option(
        "--exclude-file",
        help="A table whose columns are columns of the profiles; wells that have all values "
        "of a row are left out. Repeats.",
    ),
]
Separators = Annotated[
    list[str] | None,
    typer.Option("--separator", help='role=SEP: what stands between several targets of a cell, such as target=";".'),
]
PlateFromFile = Annotated[bool, typer.Option("--plate-from-file", help="Each file is a plate, called as the file is.")]
Layer = Annotated[
    str | None, typer.Option("--layer", help="Of an h5ad file: the layer with the features, in place of X.")
]
Obsm = Annotated[str | None, typer.Option("--obsm", help="Of an h5ad file: the obsm entry with the features.")]
TextsColumns = Annotated[
    list[str] | None,
    typer.Option("--texts-column", help="role=Name: the column of a role in the file of --texts. Repeats."),
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
    column: Columns = None,
    metadata_prefix: Prefixes = None,
    feature_prefix: FeaturePrefixes = None,
    keep_feature: KeepFeatures = None,
    negcon: Negcon = None,
    label: Label = None,
    exclude: Exclude = None,
    exclude_file: ExcludeFiles = None,
    separator: Separators = None,
    plate_from_file: PlateFromFile = False,
    layer: Layer = None,
    obsm: Obsm = None,
    nan: Nan = "error",
) -> "Reading":
    """How to read profiles or wells, as the options say.

    Raises:
        InputError: ``--column``, ``--separator`` or ``--nan`` is not understood.
    """
    from phenobench.errors import unknown
    from phenobench.profiles.missing import NAN_POLICIES
    from phenobench.profiles.settings import Reading

    policies = {policy: policy for policy in NAN_POLICIES}
    if nan not in policies:
        raise unknown("--nan policy", nan, policies)
    return Reading(
        columns=by_role("--column", column, "perturbation=Metadata_broad_sample"),
        prefixes=tuple(metadata_prefix or ()),
        negcon=tuple(negcon or ()),
        exclude=tuple(exclude or ()),
        exclude_files=tuple(exclude_file or ()),
        label=tuple(label or ()),
        nan=policies[nan],
        feature_prefixes=tuple(feature_prefix or ()),
        keep_features=tuple(keep_feature or ()),
        layer=layer,
        obsm=obsm,
        separators=_separators(separator),
        plate_from_file=plate_from_file,
    )


def by_role(option: str, given: list[str] | None, example: str) -> dict[str, str]:
    """What an option says of roles, as ``role=Name``.

    Raises:
        InputError: one is not of that form, or a role comes twice.
    """
    from phenobench.errors import InputError

    found: dict[str, str] = {}
    for text in given or []:
        role, equals, name = text.partition("=")
        if not equals or not name:
            raise InputError(f"{option} {text}: write role=Name, for example {example}")
        if role in found and found[role] != name:
            raise InputError(
                f"{option} {text}: the {role} is '{found[role]}' already; give one, or join them, {role}=A,B"
            )
        found[role] = name
    return found


def _separators(given: list[str] | None) -> dict[str, str]:
    from phenobench.errors import InputError

    found = by_role("--separator", given, 'target=";"')
    others = [role for role in found if role != "target"]
    if others:
        raise InputError(f'--separator {others[0]}=: only the target may be several in one cell; write target=";"')
    return found


def reads_profiles(command: Callable[..., None]) -> Callable[..., None]:
    """A command with the options of ``reading_of`` in place of its parameter ``reading``."""
    # Annotations are objects in the modules of commands, since typer reads them.
    options = inspect.signature(reading_of).parameters
    own = inspect.signature(command)
    parameters = [one for one in own.parameters.values() if one.name != "reading"] + [*options.values()]

    @functools.wraps(command)
    def with_options(*args: Any, **given: Any) -> None:
        reading = reading_of(**{name: given.pop(name) for name in options})
        command(*args, reading=reading, **given)

    with_options.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
    with_options.__annotations__ = {one.name: one.annotation for one in parameters}
    del with_options.__wrapped__
    return with_options
