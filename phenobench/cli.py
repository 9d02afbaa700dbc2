"""The command line: parse, call, print. Everything else is imported by the command that needs it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from phenobench.options import (
    AcceptLicence,
    Align,
    AnnotationFolder,
    CardFolder,
    Columns,
    Device,
    Exclude,
    Label,
    Models,
    Nan,
    Negcon,
    Normalizations,
    Overwrite,
    Prefixes,
    Results,
    Screens,
    Seed,
    Tasks,
    Texts,
    Variants,
    WeightsOption,
)

if TYPE_CHECKING:
    from phenobench.reading import Reading
    from phenobench.request import Request

_HELP = "Score Cell Painting embeddings, with exact chance, intervals, controls and provenance."


class _Commands(typer.core.TyperGroup):
    """Commands that end in one sentence and exit code 2 where the input is at fault."""

    def invoke(self, ctx: Any) -> Any:
        from phenobench.errors import InputError, one_line

        try:
            return super().invoke(ctx)
        except InputError as error:
            # Not through rich: a path must not be wrapped or coloured in a log.
            sys.stderr.write(f"phenobench: {one_line(error)}\n")
            raise typer.Exit(2) from None


app = typer.Typer(
    cls=_Commands,
    help=_HELP,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
data_app = typer.Typer(help="Fetch data sets, annotations and weights.", no_args_is_help=True)
app.add_typer(data_app, name="data")
screen_app = typer.Typer(help="Look at a screen.", no_args_is_help=True)
app.add_typer(screen_app, name="screen")


@app.command()
def run(
    model: Models = None,
    task: Tasks = None,
    normalization: Normalizations = None,
    variant: Variants = None,
    screen: Screens = None,
    profiles: Annotated[
        list[str] | None, typer.Option("--profiles", help="Embeddings in a file, folder or glob. Repeats.")
    ] = None,
    texts: Texts = None,
    align: Align = None,
    annotations: AnnotationFolder = None,
    results: Results = None,
    seed: Seed = None,
    cards: CardFolder = None,
    overwrite: Overwrite = False,
    weights: WeightsOption = None,
    device: Device = "auto",
    accept_licence: AcceptLicence = None,
    cross_check: Annotated[
        bool, typer.Option("--cross-check", help="Score again with the field's own tool, and show the difference.")
    ] = False,
    column: Columns = None,
    metadata_prefix: Prefixes = None,
    negcon: Negcon = None,
    exclude: Exclude = None,
    label: Label = None,
    nan: Nan = "error",
) -> None:
    """Score models on tasks: the whole way from a screen, or from your own embeddings, to results."""
    from phenobench.cards import find
    from phenobench.licences import accepted_licences
    from phenobench.request import Request, parse_weights
    from phenobench.suite import load_suite

    suite = load_suite()
    # A run fetches nothing that has to be accepted; a name that nothing has is a mistake all the same.
    accepted_licences(accept_licence or (), suite, find(cards))
    name = suite.screen if screen is None and not profiles else screen
    _run_and_show(
        Request(
            # With a file of embeddings and no name, the file's own name is the model's.
            models=tuple(model or (() if profiles else suite.models)),
            tasks=tuple(task or suite.tasks),
            normalizations=tuple(normalization or suite.normalizations),
            normalizations_asked=bool(normalization),
            results=results or suite.results,
            screen=name,
            root=suite.root(name) if name else None,
            variants=tuple(variant or ()),
            profiles=tuple(profiles or ()),
            reading=_reading(column, metadata_prefix, negcon, exclude, label, nan),
            texts=texts,
            align=align,
            annotations=annotations or suite.annotations,
            seed=suite.seed if seed is None else seed,
            cards=cards,
            overwrite=overwrite,
            weights=parse_weights(weights),
            device=device,
            cross_check=cross_check,
        )
    )


@app.command()
def score(
    path: Annotated[str, typer.Argument(help="Profiles that are already normalized: a file, folder or glob.")],
    task: Annotated[list[str], typer.Option("--task", help="A task's id, or 'all' that apply. Repeats.")],
    model: Annotated[str, typer.Option("--model", help="A label for the model.")],
    screen: Annotated[str, typer.Option("--screen", help="A label for the screen.")],
    normalization: Annotated[
        str, typer.Option("--normalization", help="A label for what was done to the profiles.")
    ] = "as-given",
    variant: Variants = None,
    texts: Texts = None,
    align: Align = None,
    annotations: AnnotationFolder = None,
    results: Results = None,
    seed: Seed = None,
    cards: CardFolder = None,
    overwrite: Overwrite = False,
    column: Columns = None,
    metadata_prefix: Prefixes = None,
    negcon: Negcon = None,
    exclude: Exclude = None,
    label: Label = None,
    nan: Nan = "error",
) -> None:
    """Score profiles as they are, without normalizing them."""
    from phenobench.request import Request
    from phenobench.suite import load_suite

    suite = load_suite()
    _run_and_show(
        Request(
            models=(model,),
            tasks=tuple(task),
            normalizations=(),
            results=results or suite.results,
            screen=screen,
            variants=tuple(variant or ()),
            profiles=(path,),
            reading=_reading(column, metadata_prefix, negcon, exclude, label, nan),
            texts=texts,
            align=align,
            annotations=annotations or suite.annotations,
            seed=suite.seed if seed is None else seed,
            cards=cards,
            overwrite=overwrite,
            scored_as=normalization,
        )
    )


@app.command()
def normalize(
    path: Annotated[str, typer.Argument(help="Profiles: a file, folder or glob.")],
    steps: Annotated[str, typer.Option("--steps", help="A named chain, such as center+tvn.")],
    out: Annotated[Path, typer.Option("--out", help="The parquet file to write.")],
    column: Columns = None,
    metadata_prefix: Prefixes = None,
    negcon: Negcon = None,
    exclude: Exclude = None,
    label: Label = None,
    nan: Nan = "error",
) -> None:
    """Normalize profiles and write them, with the record of what was fitted on what."""
    from phenobench.display import show_steps
    from phenobench.normalization import chain
    from phenobench.normalization import normalize as apply
    from phenobench.reading import read_profiles

    chain(steps)
    done = apply(read_profiles([path], _reading(column, metadata_prefix, negcon, exclude, label, nan)), steps)
    done.write(out)
    show_steps(done, out)


@app.command()
def embed(
    model: Annotated[str, typer.Option("--model", help="An image model's id.")],
    screen: Annotated[str, typer.Option("--screen", help="A screen's id, or a folder with screen.csv.")],
    out: Annotated[Path, typer.Option("--out", help="The folder to write one parquet file a plate to.")],
    weights: WeightsOption = None,
    device: Device = "auto",
    seed: Seed = None,
    cards: CardFolder = None,
) -> None:
    """Turn images into well-level profiles, one file a plate; plates that are there are kept."""
    from phenobench.display import run_progress, show_messages
    from phenobench.request import Request, parse_weights
    from phenobench.suite import load_suite

    show_messages()
    suite = load_suite()
    request = Request(
        models=(model,),
        tasks=(),
        normalizations=(),
        results=suite.results,
        screen=screen,
        root=suite.root(screen),
        seed=suite.seed if seed is None else seed,
        cards=cards,
        weights=parse_weights(weights),
        device=device,
    )
    from phenobench.pipeline import embed_images

    with run_progress() as watch:
        profiles = embed_images(request, out, watch)
    typer.echo(f"{len(profiles)} wells, {profiles.features.shape[1]} features in {out}")
    for note in profiles.notes:
        typer.echo(note)


@app.command()
def train(
    model: Annotated[str, typer.Option("--model", help="The id of a model with a recipe.")],
    screen: Annotated[str, typer.Option("--screen", help="A screen's id, or a folder with screen.csv.")],
    out: Annotated[Path, typer.Option("--out", help="The folder for the weights, the state, the log and its curves.")],
    config: Annotated[
        Path | None, typer.Option("--config", help="A TOML file, or 'paper' or 'demo' (default) of the package's own.")
    ] = None,
    pairs: Annotated[
        str | None, typer.Option("--pairs", help="Of CWA-MSN: cross-well, or same-well, which is plain MSN.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the training in the folder.")] = False,
) -> None:
    """Train a model on a screen; Ctrl-C keeps the last step."""
    from phenobench.display import show_messages
    from phenobench.errors import unknown
    from phenobench.screens import load_screen
    from phenobench.suite import load_suite
    from phenobench.training import PAIRS
    from phenobench.training import train as run_training
    from phenobench.training.progress import training_progress

    kinds = {kind: kind for kind in PAIRS}
    if pairs is not None and pairs not in kinds:
        raise unknown("--pairs", pairs, kinds)
    show_messages()
    loaded = load_screen(screen, load_suite().root(screen))
    with training_progress(model) as watch:
        done = run_training(model, loaded, out, config, None if pairs is None else kinds[pairs], resume, watch)
    if done.first:
        typer.echo(done.weights or f"stopped after {done.steps} of {done.total} steps; --resume goes on")
    if done.weights is None:
        raise typer.Exit(130)


@screen_app.command("preview")
def screen_preview(
    screen: Annotated[str, typer.Argument(help="A screen's id, or a folder with screen.csv.")],
    out: Annotated[Path, typer.Option("--out", help="The PNG file to write.")],
) -> None:
    """A montage of fields by channel and plate, so that one can see what is scored."""
    from phenobench.display import show_messages
    from phenobench.screens import load_screen
    from phenobench.screens.preview import preview
    from phenobench.suite import load_suite

    show_messages()
    preview(load_screen(screen, load_suite().root(screen)), out)
    typer.echo(out)


@app.command("list")
def list_things(
    what: Annotated[str, typer.Argument(help="models, tasks, screens, normalizations or annotations.")],
) -> None:
    """List what there is, with licence, status and origin."""
    from phenobench.display import show_list

    show_list(what)


@app.command()
def figures(
    out: Annotated[Path, typer.Option("--out", help="The folder to draw into.")],
    results: Results = None,
    format: Annotated[str, typer.Option("--format", help="png, svg or pdf.")] = "png",
) -> None:
    """Draw each task of each screen as a forest plot: values, intervals, chance."""
    from phenobench.errors import unknown
    from phenobench.figures import FORMATS, draw_figures
    from phenobench.suite import load_suite

    formats = {kind: kind for kind in FORMATS}
    if format not in formats:
        raise unknown("format", format, formats)
    for path in draw_figures(results or load_suite().results, out, formats[format]):
        typer.echo(path)


@data_app.command("get")
def data_get(
    name: Annotated[str, typer.Argument(help="'annotations', or the id of a screen or of a model with weights.")],
    accept_licence: AcceptLicence = None,
    cards: CardFolder = None,
) -> None:
    """Download and verify a data set, or the published weights of a model."""
    from phenobench.data import get
    from phenobench.display import show_messages

    show_messages()
    for path in get(name, accept_licence or (), cards):
        typer.echo(path)


def _run_and_show(request: Request) -> None:
    from phenobench.display import run_progress, show_messages, show_report

    show_messages()
    # The imports of the pipeline take seconds; errors in the options above come before them.
    from phenobench.pipeline import run as run_pipeline

    with run_progress() as watch:
        report = run_pipeline(request, watch)
    show_report(report)
    if report.failed:
        raise typer.Exit(2)


def _reading(
    column: list[str] | None,
    prefixes: list[str] | None,
    negcon: list[str] | None,
    exclude: list[str] | None,
    label: list[str] | None,
    nan: str,
) -> Reading:
    from phenobench.errors import InputError, unknown
    from phenobench.reading import NAN_POLICIES, Reading

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
