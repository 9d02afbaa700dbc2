"""What ``compare`` shows in the terminal."""

from __future__ import annotations

import re

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from phenobench.comparison.two_models import ComparedModels
from phenobench.comparison.words import p_text, who_is_better
from phenobench.errors import one_line

# Adjusted p-values below this tell two models apart.
_LEVEL = 0.05
# Letters of a name that stay in one line.
_LONG = 14


def show_comparison(compared: ComparedModels) -> None:
    """A table of the scores with their differences, who is better in words, and what moved most."""
    console = Console()
    console.print(_table(compared))
    for line in _verdicts(compared):
        console.print(escape(line), soft_wrap=True)
    for found in compared.differences:
        lines = who_is_better(found, *compared.labels)
        if lines:
            console.print(f"[bold]{escape(one_line(found.name))}[/bold]")
        for line in lines:
            console.print("  " + escape(line), soft_wrap=True)


def _table(compared: ComparedModels) -> Table:
    result = compared.result
    title = f"{result.screen.id}: {result.task.id} ({result.task.variant}), {result.normalization.name}"
    table = Table(
        title=escape(title),
        title_justify="left",
        title_style="bold",
        header_style="bold",
        box=SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    table.add_column("score", overflow="fold")
    for label in compared.labels:
        table.add_column(escape("\n".join(_lines(label))), justify="right", no_wrap=True)
    for column in ("difference", "95 % interval", "p (Holm)", "n"):
        table.add_column(column, justify="right", no_wrap=True)
    for found, p_value in zip(compared.differences, compared.p_values, strict=True):
        difference = found.difference
        table.add_row(
            escape(one_line(found.name) + ("" if found.first.higher_is_better else " (lower is better)")),
            f"{found.first.value:.3f}",
            f"{found.second.value:.3f}",
            f"{difference.value:+.3f}",
            f"{difference.ci_low:+.3f} to {difference.ci_high:+.3f}",
            p_text(p_value),
            str(difference.n),
        )
    return table


def _lines(label: str) -> list[str]:
    """A model's name, its weights in a line of their own: folded anywhere, it could not be read in a narrow window."""
    name, *weights = re.split("(?=@)", label)
    return [*(re.split("(?<=-)", name) if len(name) > _LONG else [name]), *weights]


def _verdicts(compared: ComparedModels) -> list[str]:
    first, second = compared.labels
    better: dict[str, list[str]] = {first: [], second: [], "": []}
    for found, p_value in zip(compared.differences, compared.p_values, strict=True):
        who = "" if p_value >= _LEVEL else first if found.gain > 0 else second
        better[who].append(one_line(found.name))
    lines = [f"{label} is better on {', '.join(names)}." for label, names in better.items() if label and names]
    if better[""]:
        lines.append(f"They cannot be told apart on {', '.join(better[''])}.")
    if any(not found.paired for found in compared.differences):
        lines.append("Not paired: items are absent or not those of the score, so two intervals were compared.")
    left_out = sum(found.left_out for found in compared.differences)
    if left_out:
        lines.append(f"{left_out} perturbations or pairs that only one of them was scored on are left out.")
    if compared.only_one:
        lines.append(f"Only one of them has {', '.join(map(one_line, compared.only_one))}.")
    return lines
