"""Commands that run or make a model: ``embed`` and ``train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from phenobench.options import CardFolder, Device, Seed, WeightsOption


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
