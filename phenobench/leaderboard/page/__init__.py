"""The leaderboard as one HTML file: no network, and figures that a script draws from data inside the file."""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files
from string import Template

import phenobench
from phenobench.leaderboard.board import Board
from phenobench.leaderboard.page.data import page_data

# In the order in which they build on each other.
_SCRIPTS = ("dom.js", "data.js", "figures.js", "evidence.js", "tables.js", "published.js", "start.js")


def page(board: Board) -> str:
    """The page of a board whose entries come with what figures are drawn from; the same board gives the same bytes."""
    here = files(__package__)
    style = here.joinpath("page.css").read_text(encoding="utf-8")
    script = "".join(here.joinpath(name).read_text(encoding="utf-8") for name in _SCRIPTS)
    # The browser itself refuses any request, and any script or style but these two.
    policy = (
        f"default-src 'none'; img-src data:; script-src '{_hash(script)}'; style-src '{_hash(style)}'; base-uri 'none'"
    )
    count = len({entry.path for column in board.columns for entry in column.entries})
    return Template(here.joinpath("page.html").read_text(encoding="utf-8")).substitute(
        policy=policy,
        style=style,
        script=script,
        data=page_data(board),
        version=phenobench.__version__,
        count=f"{count:,}",
    )


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
