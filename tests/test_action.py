"""The GitHub Action: its steps run as they stand, inputs are data to the shell, and its commands are the program's."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml  # type: ignore[import-untyped]

from phenobench.cli import app

ROOT = Path(__file__).resolve().parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
pytestmark = pytest.mark.skipif(not (ROOT / "action.yml").exists(), reason="not in a checkout")


def load(path: Path) -> dict[str, Any]:
    loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert isinstance(loaded, dict)
    return loaded


def steps() -> list[dict[str, Any]]:
    found = load(ROOT / "action.yml")["runs"]["steps"]
    assert isinstance(found, list)
    return found


def step(name: str) -> dict[str, Any]:
    return next(one for one in steps() if one.get("name") == name)


@pytest.fixture
def runner(tmp_path: Path) -> dict[str, str]:
    """The environment of a runner, with a program in phenobench's place that writes down its arguments."""
    program = tmp_path / "phenobench" / "bin" / "phenobench"
    program.parent.mkdir(parents=True)
    program.write_text('#!/bin/bash\nprintf "%s\\n" "$@" "--" >> "$RUNNER_TEMP/calls"\nexit "${EXIT:-0}"\n')
    program.chmod(0o755)
    return {
        **os.environ,
        "RUNNER_TEMP": str(tmp_path),
        "GITHUB_OUTPUT": str(tmp_path / "output"),
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary"),
    }


def bash(name: str, environment: dict[str, str]) -> int:
    """Run a step as GitHub does."""
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step(name)["run"]]
    return subprocess.run(command, env=environment, check=False, cwd=environment["RUNNER_TEMP"]).returncode


def calls(runner: dict[str, str]) -> list[list[str]]:
    written = Path(runner["RUNNER_TEMP"], "calls").read_text()
    return [call.split("\n") for call in written.removesuffix("\n--\n").split("\n--\n")]


def test_arguments_reach_the_program_as_they_are(runner: dict[str, str]) -> None:
    hostile = "--model=a b\n\n--task\n$(touch stolen)\n; touch stolen\n`touch stolen`\n*"
    assert bash("Run", {**runner, "ARGUMENTS": hostile, "RESULTS": "out $(touch stolen)"}) == 0
    wanted = ["--model=a b", "--task", "$(touch stolen)", "; touch stolen", "`touch stolen`", "*"]
    assert calls(runner) == [["run", "--results", "out $(touch stolen)", *wanted]]
    assert not Path(runner["RUNNER_TEMP"], "stolen").exists()


def test_without_arguments_the_suite_is_run(runner: dict[str, str]) -> None:
    assert bash("Run", {**runner, "ARGUMENTS": "", "RESULTS": "results"}) == 0
    assert calls(runner) == [["run", "--results", "results"]]
    assert bash("Run", {**runner, "ARGUMENTS": "", "RESULTS": "results", "EXIT": "2"}) == 2


@pytest.mark.parametrize("code", ["0", "1", "2"])
def test_the_verdict_is_the_checks_and_comes_after_the_page(runner: dict[str, str], code: str) -> None:
    assert bash("Check", {**runner, "RESULTS": "r", "BASELINE": "b", "EXIT": code}) == 0
    assert [call[-1] for call in calls(runner)] == ["markdown", "github"]
    assert Path(runner["GITHUB_OUTPUT"]).read_text() == f"exit-code={code}\n"
    assert bash("Verdict", {**runner, "CODE": code}) == int(code)
    assert [one.get("name", one.get("uses", "")).split("@")[0] for one in steps()[-3:]] == [
        "Leaderboard",
        "actions/upload-artifact",
        "Verdict",
    ]


def test_no_expression_stands_in_a_script() -> None:
    for path in (ROOT / "action.yml", *WORKFLOWS):
        whole = load(path)
        jobs = [whole["runs"]] if "runs" in whole else list(whole["jobs"].values())
        for one in (one for job in jobs for one in job["steps"]):
            assert ("run" in one) != ("uses" in one)
            assert "${{" not in one.get("run", "")
            # Others' actions at a version, ours from the checkout.
            assert re.fullmatch(r"\./|[\w-]+/[\w-]+@v\d+", one.get("uses", "./"))
    assert all(one["shell"] == "bash" for one in steps() if "run" in one)


def test_inputs_are_those_that_are_used() -> None:
    text = (ROOT / "action.yml").read_text(encoding="utf-8")
    declared = load(ROOT / "action.yml")["inputs"]
    assert set(declared) == set(re.findall(r"inputs\.([\w-]+)", text))
    assert all("default" in one and one["description"] for one in declared.values())
    for workflow in WORKFLOWS:
        for job in load(workflow)["jobs"].values():
            for one in job["steps"]:
                if one.get("uses") == "./":
                    assert set(one["with"]) <= set(declared)


def test_the_commands_and_their_options_are_the_programs() -> None:
    scripts = "\n".join(one["run"] for one in steps() if "run" in one).replace("\\\n", " ")
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    found = re.findall(r'/bin/phenobench" ([a-z]+)(.*)', scripts)
    assert [name for name, _ in found] == ["run", "check", "leaderboard"]
    for name, rest in found:
        options = {text for parameter in commands[name].params for text in parameter.opts}
        assert set(re.findall(r"--[a-z-]+", rest)) <= options
    assert set(re.findall(r"--format (\w+)", scripts)) == {"markdown", "github", "html"}
