"""Adapters, one file a model, named by the model's card; ``load_model`` makes one from a card and weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from phenobench.cards import ModelCard, find, load
from phenobench.demonstration import are_demo, demo_weights
from phenobench.errors import InputError
from phenobench.hub import are_official, fetch_command, official_weights
from phenobench.registry import resolve

if TYPE_CHECKING:
    from phenobench.models.adapter import ImageAdapter


def load_model(
    id_or_card_path: str | Path,
    *,
    weights: str | Path | Mapping[str, str | Path] | None = None,
    device: str = "cpu",
    random_init: int | None = None,
    channels: Sequence[str] | None = None,
) -> ImageAdapter:
    """Make an image model ready to embed.

    Args:
        id_or_card_path: a model's id, or the path of a card.
        weights: a file of weights, or a file for each part that the card names; hashes are recorded. Parts that are
            not given are the published ones, where they have been fetched. Without any they are the published ones if
            all of them have been fetched, else the demonstration's.
        device: "cpu", "cuda", "cuda:1", "mps", or "auto" for the best there is.
        random_init: a seed; builds the network without weights.
        channels: the channels of a network that is built from a seed, where its card leaves them open.

    Raises:
        InputError: the model is unknown or takes no images, or its weights are missing or do not fit.
    """
    path = Path(id_or_card_path)
    card = load(path, ModelCard) if path.suffix == ".toml" else find().model(str(id_or_card_path))
    return load_adapter(card, weights=weights, device=device, random_init=random_init, channels=channels)


def load_adapter(
    card: ModelCard,
    *,
    weights: str | Path | Mapping[str, str | Path] | None = None,
    device: str = "cpu",
    random_init: int | None = None,
    channels: Sequence[str] | None = None,
) -> ImageAdapter:
    """``load_model`` for a card that is read already."""
    if card.input != "images" or card.adapter is None:
        raise InputError(f"{card.id} takes no images; it is made from {card.input}")
    if weights is not None and random_init is not None:
        raise InputError(f"{card.id}: weights and random_init exclude each other; give one")
    given = _by_part(weights)
    parts = _files(card, given) if random_init is None else {}
    adapter: ImageAdapter = resolve(card.adapter, card.id).load(
        card,
        weights=parts,
        random_init=random_init,
        device=device,
        channels=None if channels is None else tuple(channels),
    )
    if not parts:
        return adapter
    if are_official(card, parts):
        adapter.weights_kind = "official"
        return adapter
    from phenobench.models.weights import read_training

    adapter.training = read_training(parts["model"])
    if are_demo(card, parts):
        adapter.weights_kind = "demo"
    else:
        adapter.weights_by_path = True
    return adapter


def _files(card: ModelCard, given: Mapping[str, Path]) -> Mapping[str, Path]:
    """The files by part: those given, completed by the published ones; without any the published or the demo's."""
    if are_demo(card, given):
        return given
    published = official_weights(card)
    if given or (published and published.keys() == card.weights.keys()):
        return {**published, **given}
    demo = demo_weights(card)
    if card.weights and not demo:
        raise InputError(
            f"{card.id}: give its file of weights, or random_init=SEED, or fetch the published ones with "
            f"`{fetch_command(card)}`"
        )
    return demo


def _by_part(weights: str | Path | Mapping[str, str | Path] | None) -> dict[str, Path]:
    if weights is None:
        return {}
    given = weights if isinstance(weights, Mapping) else {"model": weights}
    return {part: Path(path) for part, path in given.items()}
