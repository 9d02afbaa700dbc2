"""Commands that score: ``run`` the whole way, or ``normalize`` and ``score``, a stage by itself."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from phenobench.options import (
    AcceptLicence,
    Align,
    AnnotationFolder,
    CardFolder,
    Device,
    Models,
    Normalizations,
    Overwrite,
    ProfileFiles,
    Results,
    Screens,
    Seed,
    Tasks,
    Texts,
    TextsColumns,
    Variants,
    WeightsOption,
    by_role,
    reads_profiles,
)

if TYPE_CHECKING:
    from phenobench.profiles.reading import Reading
    from phenobench.request import Request


@reads_profiles
def run(
    reading: "Reading",
    model: Models = None,
    task: Tasks = None,
    normalization: Normalizations = None,
    variant: Variants = None,
    screen: Screens = None,
    profiles: ProfileFiles = None,
    texts: Texts = None,
    texts_column: TextsColumns = None,
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
    projections: Annotated[
        bool,
        typer.Option("--projections", help="Keep where wells lie before and after, for figures and the leaderboard."),
    ] = False,
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
            reading=reading,
            texts=texts,
            texts_columns=by_role("--texts-column", texts_column, "perturbation=Metadata_InChIKey"),
            align=align,
            annotations=annotations or suite.annotations,
            seed=suite.seed if seed is None else seed,
            cards=cards,
            overwrite=overwrite,
            weights=parse_weights(weights),
            device=device,
            cross_check=cross_check,
            projections=projections,
        )
    )


@reads_profiles
def score(
    reading: "Reading",
    path: Annotated[str, typer.Argument(help="Profiles that are already normalized: a file, folder or glob.")],
    task: Annotated[list[str], typer.Option("--task", help="A task's id, or 'all' that apply. Repeats.")],
    model: Annotated[str, typer.Option("--model", help="A label for the model.")],
    screen: Annotated[str, typer.Option("--screen", help="A label for the screen.")],
    normalization: Annotated[
        str, typer.Option("--normalization", help="A label for what was done to the profiles.")
    ] = "as-given",
    variant: Variants = None,
    texts: Texts = None,
    texts_column: TextsColumns = None,
    align: Align = None,
    annotations: AnnotationFolder = None,
    results: Results = None,
    seed: Seed = None,
    cards: CardFolder = None,
    overwrite: Overwrite = False,
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
            reading=reading,
            texts=texts,
            texts_columns=by_role("--texts-column", texts_column, "perturbation=Metadata_InChIKey"),
            align=align,
            annotations=annotations or suite.annotations,
            seed=suite.seed if seed is None else seed,
            cards=cards,
            overwrite=overwrite,
            scored_as=normalization,
        )
    )


@reads_profiles
def normalize(
    reading: "Reading",
    path: Annotated[str, typer.Argument(help="Profiles: a file, folder or glob.")],
    steps: Annotated[str, typer.Option("--steps", help="A named chain, such as center+tvn.")],
    out: Annotated[Path, typer.Option("--out", help="The parquet file to write.")],
) -> None:
    """Normalize profiles and write them, with the record of what was fitted on what."""
    from phenobench.display import show_steps
    from phenobench.normalization import chain
    from phenobench.normalization import normalize as apply
    from phenobench.profiles.reading import read_profiles

    chain(steps)
    done = apply(read_profiles([path], reading), steps)
    done.write(out)
    show_steps(done, out)


def _run_and_show(request: "Request") -> None:
    from phenobench.display import run_progress, show_messages, show_report

    show_messages()
    # The imports of the pipeline take seconds; errors in the options above come before them.
    from phenobench.pipeline import run as run_pipeline

    with run_progress() as watch:
        report = run_pipeline(request, watch)
    show_report(report)
    if report.failed:
        raise typer.Exit(2)
