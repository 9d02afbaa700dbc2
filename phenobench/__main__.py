"""``python -m phenobench``."""

from phenobench.cli import app

app()
