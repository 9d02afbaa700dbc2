"""What a check found: for the terminal, as GitHub annotations, and as a Markdown summary."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import typer
from rich.console import Console
from rich.markup import escape

from phenobench.errors import one_line, unknown
from phenobench.regression.verdict import Changed, Checked, Missing, Moved


def show(checked: Checked, format: str) -> None:
    """Print a check as ``text``, ``github`` or ``markdown``.

    Raises:
        InputError: another format.
    """
    formats: dict[str, Callable[[Checked], None]] = {"text": _text, "github": _github, "markdown": _markdown}
    if format not in formats:
        raise unknown("format", format, formats)
    formats[format](checked)


def _text(checked: Checked) -> None:
    console = Console(highlight=False, soft_wrap=True)
    colour = "green" if checked.exit_code == 0 else "red"
    console.print(f"[bold {colour}]{escape(checked.verdict)}[/bold {colour}]: {escape(_counts(checked))}")
    for heading, lines in _sections(checked):
        console.print(f"\n[bold]{escape(heading)}[/bold]")
        for first, *others in lines:
            console.print(f"  {escape(first)}")
            for line in others:
                console.print(f"    [dim]{escape(line)}[/dim]")


def _markdown(checked: Checked) -> None:
    lines = [f"## phenobench check: {_plain(checked.verdict)}", "", _plain(_counts(checked))]
    for heading, entries in _sections(checked):
        lines += ["", f"### {_plain(heading)}", ""]
        for first, *others in entries:
            lines += [f"- {_plain(first)}", *(f"  - {_plain(line)}" for line in others)]
    typer.echo("\n".join(lines))


def _github(checked: Checked) -> None:
    """Workflow commands; a warning for what needs a look, an error for what fails the job."""
    levels = {"fell": "error", "cannot be compared": "error", "missing": "error", "better": "notice", "new": "notice"}
    for heading, entries in _sections(checked):
        for entry in entries:
            title = _property(f"phenobench check: {heading}")
            typer.echo(f"::{levels[heading]} title={title}::{_data(chr(10).join(entry))}")
    typer.echo(one_line(f"{checked.verdict}: {_counts(checked)}"))


def _counts(checked: Checked) -> str:
    text = (
        f"{checked.same} scores are equal, {checked.near} differ by no more than chance or the tolerance, "
        f"{len(checked.better)} are better, {len(checked.fell)} fell; results in {checked.results}, "
        f"baseline in {checked.baseline}"
    )
    if checked.unpaired:
        text += f"; {checked.unpaired} were compared by their intervals alone, without items of both sides"
    return one_line(text)


def _sections(checked: Checked) -> Iterator[tuple[str, list[list[str]]]]:
    """Headings, and under each its entries: a line, and lines that explain it."""
    sections = {
        "fell": [_moved(moved) for moved in checked.fell],
        "cannot be compared": [_changed(changed) for changed in checked.changed],
        "missing": [_missing(missing) for missing in checked.missing],
        "better": [_moved(moved) for moved in checked.better],
        "new": [[f"{one_line(name)} is not in the baseline; --update adds it"] for name in checked.new],
    }
    for heading, entries in sections.items():
        if entries:
            yield heading, entries


def _moved(moved: Moved) -> list[str]:
    from phenobench.comparison.words import by_how_much, p_text, what_fell, what_rose

    found = moved.found
    lines = [f"{one_line(moved.cell)}: {one_line(found.name)} from {by_how_much(found)}{_sureness(moved)}"]
    if moved.p_value is None:
        lines[0] += ", although the same inputs were scored on the same machine: files were edited or the code changed"
    else:
        lines[0] += f", p {p_text(moved.p_value)} (Holm)"
    if not found.paired:
        lines.append("compared by the two intervals, since items of one side are absent or not those of the score")
    if found.left_out:
        lines.append(f"{found.left_out} perturbations or pairs that only one side was scored on are left out")
    lines += (what_fell if found.gain < 0 else what_rose)(found.moved)
    if moved.besides:
        lines.append("not as in the baseline: " + one_line(", ".join(moved.besides)))
    return lines


def _sureness(moved: Moved) -> str:
    return "" if moved.found.first.higher_is_better else ", lower is better"


def _changed(changed: Changed) -> list[str]:
    cell, field, before, after = map(one_line, (changed.cell, changed.field, changed.before, changed.after))
    return [f"{cell}: {field} was {before} and is {after}; restore it, or accept the new one with --update"]


def _missing(missing: Missing) -> list[str]:
    return [f"{one_line(missing.cell)}: {one_line(missing.what)} is not there; run it, or drop it with --update"]


def _plain(text: str) -> str:
    """Markdown that shows the text as it is, whatever the names in it hold."""
    return "".join(f"\\{letter}" if letter in "\\`*_{}[]<>#|!~&" else letter for letter in one_line(text))


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
