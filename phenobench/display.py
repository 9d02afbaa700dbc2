"""What a person sees in the terminal: tables, progress, messages."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.markup import escape
from rich.table import Table

from phenobench.errors import one_line, unknown

if TYPE_CHECKING:
    from phenobench.cards import Cards, ModelCard
    from phenobench.pipeline import Done, Report, Watch
    from phenobench.profiles import Profiles
    from phenobench.results import Result
    from phenobench.screens import Screen
    from phenobench.tasks.outcome import Check

_CONTROL_NOTE = "controls (grey) show what a task gives for nothing and at best; they are no models"


class _Stderr(logging.Handler):
    """Writes to what stderr is now, which may be another stream than when the handler was made."""

    def emit(self, record: logging.LogRecord) -> None:
        sys.stderr.write(self.format(record) + "\n")


def show_messages() -> None:
    """Let the package's log (what is fetched, under which licence) reach stderr."""
    logger = logging.getLogger("phenobench")
    if not logger.handlers:
        logger.addHandler(_Stderr())
        logger.setLevel(logging.INFO)
    # A damaged TIFF is one sentence of ours, not also a log of the decoder's.
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)


@contextmanager
def run_progress() -> Iterator[Watch]:
    """Bars on stderr with what is done, rate and time left, and what embedding waits for; they go when the run ends."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    from phenobench.background import Pace
    from phenobench.pipeline import Watch

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(elapsed_when_finished=True),
        TextColumn("{task.fields[limit]}"),
    )
    pace = Pace()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        tasks: dict[str, TaskID] = {}

        def show(what: str, limit: Callable[[], str], done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total, rate="", limit="")
            task = next(task for task in bars.tasks if task.id == tasks[what])
            rate = f"{task.speed:.1f}/s" if task.speed else ""
            bars.update(tasks[what], completed=done, total=total, rate=rate, limit=limit() if done < total else "")

        yield Watch(
            partial(show, "scoring cells", lambda: ""),
            partial(show, "embedding wells", lambda: f"limit: {pace.bottleneck() or '...'}"),
            pace,
        )


def show_report(report: Report) -> None:
    """The scores, a table a task, then what was skipped, what failed, and where the files are."""
    console = Console()
    tasks = dict.fromkeys(
        (done.result.screen.id, done.result.task.id, done.result.task.variant) for done in report.done
    )
    for key in tasks:
        same = [d for d in report.done if (d.result.screen.id, d.result.task.id, d.result.task.variant) == key]
        console.print(_score_table(same))
    checks = [(done, check) for done in report.done for check in done.checks]
    if checks:
        console.print(_check_table(checks))
    _print_notes(console, [done.result for done in report.done])
    for reason, names in _by_reason(report.skipped.items()).items():
        console.print(f"[yellow]skipped[/yellow] {escape('; '.join(names))}: {escape(reason)}")
    if report.done:
        kept = sum(done.kept for done in report.done)
        already = f" ({kept} were there already)" if kept else ""
        folders = dict.fromkeys(str(done.path.parents[2]) for done in report.done)
        console.print(f"{len(report.done)} results{already} in {escape(', '.join(folders))}", soft_wrap=True)
    for name, reason in report.failed.items():
        sys.stderr.write(f"phenobench: {one_line(name)}: {one_line(reason)}\n")


def _score_table(done: list[Done]) -> Table:
    """One task and variant: a block of rows for each metric and subset, a row a model and normalization."""
    results = [one.result for one in done]
    names = list(dict.fromkeys(result.normalization.name for result in results))
    task = results[0].task
    unit = results[0].scores[0].unit
    common = f", {names[0]}" if len(names) == 1 else ""
    title = f"{results[0].screen.id}: {task.id} ({task.variant}){common}; n {unit}"
    # Few lines and no borders: the widest row fits 80 columns.
    table = Table(
        title=title, title_justify="left", title_style="bold", header_style="bold", box=SIMPLE_HEAD, pad_edge=False
    )
    table.add_column("metric", overflow="fold")
    table.add_column("model", overflow="fold", min_width=16)
    if len(names) > 1:
        table.add_column("chain", overflow="fold")
    for column in ("value", "95 % interval", "chance", "n"):
        table.add_column(column, justify="right", no_wrap=True)
    for metric, subset in dict.fromkeys((score.metric, score.subset) for result in results for score in result.scores):
        label = metric if subset == "all" else f"{metric} {subset}"
        for result in results:
            for score in result.scores:
                if (score.metric, score.subset) == (metric, subset):
                    table.add_row(
                        escape(label),
                        f"[dim]{escape(result.model.label)}[/dim]"
                        if result.model.status == "control"
                        else escape(result.model.label),
                        *([escape(result.normalization.name)] if len(names) > 1 else []),
                        f"{score.value:.3f}",
                        f"{score.ci_low:.3f}-{score.ci_high:.3f}{'*' if score.too_few else ' '}",
                        f"{score.chance:.3f}",
                        str(score.n),
                    )
                    label = ""
        table.add_section()
    return table


def _check_table(checks: list[tuple[Done, Check]]) -> Table:
    """Our scores beside those of the field's tools; what their rule for ties explains, and what is left."""
    table = Table(title="cross-check", title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False)
    for column in ("model", "score", "tool"):
        table.add_column(column, overflow="fold")
    for column in ("ours", "theirs", "by ties", "other"):
        table.add_column(column, justify="right", no_wrap=True)
    for done, check in checks:
        table.add_row(
            escape(done.result.model.label),
            escape(check.metric if check.subset == "all" else f"{check.metric} {check.subset}"),
            escape(check.tool),
            f"{check.ours:.5f}",
            f"{check.theirs:.5f}",
            f"{round(check.ours_their_way - check.ours, 5) + 0.0:+.5f}",
            f"{check.theirs - check.ours_their_way:+.1e}",
        )
    return table


def _by_reason(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Names by the reason or note they share, each once."""
    grouped: dict[str, list[str]] = {}
    for name, reason in pairs:
        if name not in grouped.setdefault(reason, []):
            grouped[reason].append(name)
    return grouped


def _print_notes(console: Console, results: list[Result]) -> None:
    if any(score.too_few for result in results for score in result.scores):
        console.print("[dim]* too few for a reliable interval: below 50 perturbations or 100 pairs[/dim]")
    if any(result.model.status == "control" for result in results):
        console.print(f"[dim]{_CONTROL_NOTE}[/dim]")
    # Controls are strange by design; what is said of them would hide what is said of a model.
    measured = [result for result in results if result.model.status != "control"]
    for warning, models in _by_reason((r.model.label, warning) for r in measured for warning in r.warnings).items():
        console.print(f"[yellow]note[/yellow] {escape(warning)} [dim]({escape(', '.join(models))})[/dim]")
    for reason, subsets in _by_reason(pair for result in results for pair in result.skipped.items()).items():
        console.print(f"[yellow]skipped[/yellow] {escape(', '.join(subsets))}: {escape(reason)}")
    dropped = dict(pair for result in results for pair in result.screen.dropped.items())
    if dropped:
        console.print("wells left out: " + escape(", ".join(f"{count} {reason}" for reason, count in dropped.items())))


def show_steps(profiles: Profiles, out: Path) -> None:
    """What ``normalize`` did, and which features came of it."""
    from phenobench.provenance import names_sha256

    console = Console()
    table = Table(
        "step", "fitted on", "by", "groups", "wells fitted", "components", title=str(out), title_justify="left"
    )
    for step in profiles.steps:
        components = step.get("components", step.get("rank_min", ""))
        values = (step["step"], step["fitted_on"], step["by"], step["n_groups"], step["n_fitted"], components)
        table.add_row(*map(str, values))
    console.print(table)
    digest = names_sha256(profiles.feature_names)
    console.print(f"{len(profiles.feature_names)} features, sha256 of their names {digest[:12]}", highlight=False)
    for note in profiles.notes:
        console.print(f"[yellow]note[/yellow] {escape(note)}")


def show_left_out(screen: Screen) -> None:
    """Wells that are left out, how many for each reason and which."""
    from phenobench.profiles.left_out import REASON, joined

    console = Console()
    listed = joined([screen.left_out])
    table = Table(header_style="bold", box=SIMPLE_HEAD, pad_edge=False)
    for name in listed.columns:
        table.add_column(escape(name), overflow="fold")
    for row in listed.astype(str).itertuples(index=False):
        table.add_row(*map(escape, row))
    if len(listed):
        console.print(table)
    for reason, count in screen.dropped.items():
        named = int((listed[REASON] == reason).sum())
        unnamed = f" ({count - named} of them are counted in the files and not named)" if named < count else ""
        console.print(f"{escape(reason)}: {count}{unnamed}", soft_wrap=True)
    console.print(f"{sum(screen.dropped.values())} wells of {escape(screen.id)} are left out, {len(screen.wells)} stay")


def show_list(what: str) -> None:
    """``phenobench list WHAT``.

    Raises:
        InputError: there is no such list.
    """
    lists: dict[str, Callable[[], Group | Table]] = {
        "models": _list_models,
        "tasks": _list_tasks,
        "screens": _list_screens,
        "normalizations": _list_normalizations,
        "annotations": _list_annotations,
    }
    if what not in lists:
        raise unknown("list", what, lists)
    Console().print(lists[what]())


def _list_models() -> Group:
    """A table for each folder of cards."""
    from phenobench.cards import find

    cards = find()
    folders = dict.fromkeys(path.parent for path in cards.models.values())
    return Group(*(_model_table(cards, folder) for folder in folders))


def _model_table(cards: Cards, folder: Path) -> Table:
    table = Table(
        title=f"cards in {escape(str(folder))}", title_justify="left", header_style="bold", box=SIMPLE_HEAD, padding=0
    )
    table.add_column("model", no_wrap=True)
    table.add_column("parameters", justify="right", no_wrap=True)
    table.add_column("dim", justify="right")
    for column in ("channels", "licence", "weights"):
        table.add_column(column, overflow="fold")
    for name, path in sorted(cards.models.items()):
        if path.parent == folder:
            card = cards.model(name)
            parameters = f"{card.parameters['encoder'] / 1e6:.1f} M" if "encoder" in card.parameters else ""
            dim = f"{card.dim or ''}" + (" a channel" if card.per_channel else "")
            table.add_row(*map(escape, (name, parameters, dim, _channels(card), card.licence, _weights_state(card))))
    return table


def _channels(card: ModelCard) -> str:
    orders = [card.channels] if card.channels else list(card.channel_orders.values())
    if card.input != "images" or not orders:
        return "any" if card.input == "images" else ""
    return ", ".join(orders[0]) + (f", or {len(orders) - 1} other orders" if len(orders) > 1 else "")


def _weights_state(card: ModelCard) -> str:
    from phenobench.hub import weights_are_here

    if not card.trained:
        return "none needed"
    if weights_are_here(card):
        return "present"
    return ("to fetch" if card.weights else "not published") + ("; demo" if card.demo else "")


def _list_tasks() -> Table:
    from phenobench.cards import find

    cards = find()
    table = Table("task", "version", "variant", "protocol", header_style="bold")
    for name in sorted(cards.tasks):
        card = cards.task(name)
        for i, (variant, values) in enumerate(card.variants.items()):
            default = " (default)" if variant == card.default else ""
            table.add_row(
                name if i == 0 else "",
                card.version if i == 0 else "",
                variant + default,
                str(values.get("summary", "")),
            )
        table.add_section()
    return table


def _list_screens() -> Table:
    from phenobench.cards import find, read_toml

    table = Table("screen", "licence", "title", "origin", header_style="bold")
    for name, path in sorted(find().screens.items()):
        card = read_toml(path)
        table.add_row(name, card.get("licence", ""), card.get("title", ""), card.get("source", "generated"))
    return table


def _list_normalizations() -> Table:
    from phenobench.normalization import CHAINS, DEFAULT

    table = Table("normalization", "what it does", header_style="bold")
    for name, (_, summary) in CHAINS.items():
        table.add_row(name, summary)
    table.add_row(DEFAULT, "the default: center, then tvn; any a+b is a, then b")
    return table


def _list_annotations() -> Table:
    from phenobench.annotations import SOURCES

    table = Table("source", "licence", "origin", header_style="bold")
    for name, source in SOURCES.items():
        table.add_row(name, source.licence, source.origin)
    return table
