"""A model of one's own package: what CONTRIBUTING.md shows is installed with pip and run, to the letter."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

GUIDE = Path(__file__).resolve().parents[1] / "CONTRIBUTING.md"
MOST_LINES = 15


def shown() -> list[str]:
    """The blocks of code of the section: the class, the card, the project, and the two commands."""
    section = GUIDE.read_text(encoding="utf-8").partition("### A model of your own package")[2].partition("\n## ")[0]
    return re.findall(r"^```\w+\n(.*?)^```$", section, flags=re.DOTALL | re.MULTILINE)


@pytest.fixture(name="installed")
def installed_package(tmp_path: Path) -> Path:
    """The folder that the package is installed into; nothing is built or left in this environment."""
    module, card, project, _ = shown()
    source, target = tmp_path / "source", tmp_path / "site-packages"
    for name, content in (
        ("brightness/__init__.py", ""),
        ("brightness/model.py", module),
        ("brightness/models/brightness.toml", card),
        ("pyproject.toml", project),
    ):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(content, encoding="utf-8")
    offline = ["--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check", "--quiet"]
    command = [sys.executable, "-m", "pip", "install", *offline, "--target", str(target), str(source)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return target


def phenobench(installed: Path, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(installed), "COLUMNS": "500"}
    command = [sys.executable, "-m", "phenobench", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_class_of_15_lines_is_a_model() -> None:
    module = shown()[0]
    assert len(module.splitlines()) <= MOST_LINES
    assert [node.name for node in ast.parse(module).body if isinstance(node, ast.ClassDef)] == ["Brightness"]


def test_an_installed_package_is_listed_and_run(tmp_path: Path, installed: Path) -> None:
    listed = phenobench(installed, "list", "models")
    assert re.search(r"^\W*brightness .*\bMIT\b", listed, flags=re.MULTILINE)

    run = shown()[-1].splitlines()[-1].split()
    assert run[0] == "phenobench"
    phenobench(installed, *run[1:], "--results", str(tmp_path / "results"))
    (path,) = (tmp_path / "results").rglob("*.json")
    assert path.relative_to(tmp_path / "results").parts[:2] == ("simulated-small", "brightness")
    result = json.loads(path.read_text(encoding="utf-8"))
    assert result["model"]["id"] == "brightness"
    assert result["model"]["status"] == "no weights needed"
    assert result["licence"]
    # A mean and a deviation of each of six channels; some of the screen's effects are planted in intensities.
    assert result["model"]["n_features"] == 2 * 6
    score = result["scores"][0]
    assert score["ci_low"] > score["chance"]
