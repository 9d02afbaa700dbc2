"""The page in a real browser: sorting, filters, evidence by keyboard, no request, nothing that axe-core minds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from phenobench.leaderboard.board import collect
from phenobench.leaderboard.page import page
from phenobench.projections import Projection, projection_path, write_projection
from phenobench.results import read_result
from tests.leaderboard.boards import write_board
from tests.leaderboard.chromium import axe_core, chromium, requested, set_screen

CORUM = "#task=gene-gene+%28default%29&screen=screen-one&normalization=center"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    write_board(folder)
    # A name of each length, and wells in no group.
    names = (*(f"plate {number}" for number in range(5)), "a plate with a name that is too long for one line", "")
    places = np.random.default_rng(0).uniform(-1, 1, (2, 70, 2))
    for normalization in ("center", "none"):
        path = projection_path(folder, "screen-one", "alpha", normalization)
        write_projection(path, Projection(10 * names, 70 * ("",), *places))
    return folder


@pytest.fixture(scope="module")
def address(results: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    return _address(results, tmp_path_factory.mktemp("page"))


def _address(results: Path, folder: Path) -> str:
    path = folder / "leaderboard.html"
    path.write_text(page(collect(results, drawn=True)), encoding="utf-8")
    return path.as_uri()


@pytest.fixture(scope="module")
def shared_browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def browser(shared_browser: Any) -> Iterator[Any]:
    """The console says nothing in any test."""
    shared_browser.get("about:blank")
    shared_browser.get_log("browser")
    requested(shared_browser)
    set_screen(shared_browser, 1400)
    yield shared_browser
    assert shared_browser.get_log("browser") == []


def texts(browser: Any, selector: str) -> list[str]:
    script = "return [...document.querySelectorAll(arguments[0])].map((one) => one.textContent.trim())"
    found: list[str] = browser.execute_script(script, selector)
    return found


def click(browser: Any, selector: str) -> None:
    browser.find_element("css selector", selector).click()


def choose(browser: Any, name: str, text: str) -> None:
    options = browser.find_elements("css selector", f"select[name={name}] option")
    next(one for one in options if one.text == text).click()


def rows(browser: Any) -> list[list[str]]:
    """The models of the first table, in groups."""
    script = """return [...document.querySelector("table.main").tBodies].map((body) =>
        [...body.querySelectorAll("th[scope=row]")].map((one) => one.textContent))"""
    found: list[list[str]] = browser.execute_script(script)
    return found


def test_an_overview_has_a_row_a_model_a_column_a_task_and_keeps_kinds_apart(browser: Any, address: str) -> None:
    browser.get(address)
    assert texts(browser, "#tables h2") == [
        f"{screen}, {chain}" for screen in ("screen-one", "screen-two") for chain in ("center", "none")
    ]
    heads = texts(browser, "table.main thead th > button:first-child")
    assert heads[:4] == ["Model", "batch-effect", "gene-gene", "replicate-retrieval"]
    groups = [set(group) for group in rows(browser)]
    assert groups == [{"alpha", "beta@04aaaaaa", "gamma"}, {"delta@demo"}, {"epsilon@random"}, {"oracle"}]


def test_every_column_sorts_both_ways_within_each_kind_of_model(browser: Any, address: str) -> None:
    browser.get(address + CORUM)
    values = """const cells = document.querySelector("table.main").tBodies[0].querySelectorAll(".value b");
        return [...cells].map((one) => parseFloat(one.textContent))"""
    head = "table.main thead th:nth-child(3)"
    click(browser, f"{head} button")
    best_first = browser.execute_script(values)
    assert best_first == sorted(best_first, reverse=True)
    assert len(set(best_first)) == 3
    assert browser.find_element("css selector", head).get_attribute("aria-sort") == "ascending"
    click(browser, f"{head} button")
    assert browser.execute_script(values) == best_first[::-1]
    assert browser.find_element("css selector", head).get_attribute("aria-sort") == "descending"
    assert "sorted by Value" in texts(browser, "#status")[0]
    click(browser, "table.main thead th:first-child button")
    assert rows(browser)[0] == sorted(rows(browser)[0])
    assert rows(browser)[-1] == ["oracle"]
    assert len(browser.find_elements("css selector", "table.main:first-of-type th[aria-sort]")) == 1


def test_lower_is_better_sorts_the_lowest_first(browser: Any, address: str) -> None:
    browser.get(address + "#screen=screen-one&normalization=center")
    values = [float(text.rstrip("*")) for text in texts(browser, "tbody:first-of-type td:nth-child(2) .value b")[:3]]
    assert values == sorted(values)


def test_filters_leave_what_is_asked_for_and_stay_in_the_address(browser: Any, address: str) -> None:
    browser.get(address)
    assert texts(browser, "#status") == ["70 of 70 results"]
    choose(browser, "screen", "screen-two")
    choose(browser, "normalization", "none")
    assert texts(browser, "#tables h2") == ["screen-two, none"]
    choose(browser, "weights", "trained")
    assert [group for group in rows(browser) if group] == [["beta@04aaaaaa"]]
    choose(browser, "task", "replicate-retrieval (default)")
    assert texts(browser, "#tables h2") == ["replicate-retrieval on screen-two, none"]
    assert texts(browser, "#status") == ["1 of 70 results"]
    browser.refresh()
    assert texts(browser, "#tables h2") == ["replicate-retrieval on screen-two, none"]
    assert texts(browser, "#status") == ["1 of 70 results"]


def test_a_missing_cell_is_shown_with_its_reason(browser: Any, address: str) -> None:
    browser.get(address + "#screen=screen-two&normalization=center")
    assert texts(browser, "td.none") == ["\u2013 not run"]


def test_evidence_opens_and_closes_by_keyboard_and_says_what_the_result_says(
    browser: Any, address: str, results: Path
) -> None:
    browser.get(address + CORUM)
    opener = browser.find_element("css selector", "button.value[data-model=alpha]")
    browser.execute_script("arguments[0].focus()", opener)
    opener.send_keys("\ue007")
    panel = browser.find_element("css selector", "dialog[open]")
    assert browser.execute_script("return document.querySelector('dialog').contains(document.activeElement)")
    result = read_result(results / "screen-one" / "alpha" / "center" / "gene-gene.json")
    score = result.scores[0]
    shown = dict(zip(texts(browser, ".headline dt"), texts(browser, ".headline dd"), strict=True))
    assert shown["value"] == f"{score.value:.3f}*"
    assert shown["95 % interval"] == f"{score.ci_low:.3f} to {score.ci_high:.3f}"
    assert (shown["chance"], shown["ceiling"], shown["pairs"]) == ("0.100", "1.000", "18")
    said = panel.text
    for words in (
        "one row a gene",
        result.model.weights.sha256,
        result.screen.sha256,
        "center, fitted on negative controls by plate",
        "CC BY-NC 4.0",
        "python 3.11.7",
        "0123456789ab",
        "not corrected for chromosome arms",
        "SIGNOR: no annotated pair has both genes in this screen",
        "phenobench run --model alpha --screen screen-one --task gene-gene --variant default --normalization center",
    ):
        assert words in said, words
    assert texts(browser, ".strips tbody th[scope=row]")
    assert len(browser.find_elements("css selector", "dialog polygon.dim.area")) == 1
    panel.find_element("css selector", ".bar button").send_keys("\ue00c")
    assert not browser.find_elements("css selector", "dialog[open]")
    assert browser.execute_script("return document.activeElement === arguments[0]", opener)


def test_wells_before_and_after_are_drawn_and_said_in_words(browser: Any, address: str) -> None:
    browser.get(address + CORUM)
    click(browser, "button.value[data-model=alpha]")
    figures = browser.find_elements("css selector", "dialog figure svg[role=img]")
    # By plate, before and after; no gene is of a complex.
    assert [one.get_attribute("aria-label") for one in figures] == [
        f"70 treated wells {stage} normalization, by plate" for stage in ("before", "after")
    ]
    for figure in figures:
        marks = [path.get_attribute("d").count("M") for path in figure.find_elements("css selector", "path")]
        assert marks == [10] * 7
        colours = {path.value_of_css_property("fill") for path in figure.find_elements("css selector", "path")}
        assert len(colours) == 7
    assert texts(browser, "dialog .legend li")[0] == "a plate with a name that is too long for one line"
    assert "Wells before and after center" in texts(browser, "dialog h3")
    click(browser, "dialog .bar button")
    click(browser, "button.value[data-model=gamma]")
    assert not browser.find_elements("css selector", "dialog figure")


def test_training_and_its_overlap_are_in_the_evidence(browser: Any, address: str) -> None:
    browser.get(address + CORUM)
    click(browser, "button.value[data-model^=delta]")
    assert "overlap 12" in browser.find_element("css selector", "dialog[open]").text
    assert "--model delta --weights demo" in browser.find_element("css selector", "dialog pre").text


def test_figures_of_every_result_are_drawn_from_numbers(browser: Any, address: str) -> None:
    browser.get(address)
    shapes = browser.execute_script(
        """const found = [];
        for (let i = 0; i < document.querySelectorAll("button.value").length; i++) {
          document.querySelectorAll("button.value")[i].click();
          found.push(document.querySelector("dialog .body").innerHTML);
          document.querySelector("dialog").close();
        }
        return found"""
    )
    assert len(shapes) == 70
    assert all("<svg" in shape for shape in shapes)
    assert not [shape for shape in shapes if "NaN" in shape or "undefined" in shape or "null" in shape]


def test_the_dot_lies_where_the_value_says(browser: Any, address: str, results: Path) -> None:
    browser.get(address + CORUM)
    value = read_result(results / "screen-one" / "alpha" / "center" / "gene-gene.json").scores[0].value
    dot = browser.find_element("css selector", "button.value[data-model=alpha] circle")
    line = browser.find_element("css selector", "button.value[data-model=alpha] line.axis")
    start, end = (float(line.get_attribute(end)) for end in ("x1", "x2"))
    assert float(dot.get_attribute("cx")) == pytest.approx(start + value * (end - start), abs=0.1)


@pytest.mark.parametrize("opened", [False, True])
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("place", ["", CORUM])
def test_axe_core_finds_no_serious_violation(
    browser: Any, address: str, place: str, dark: bool, opened: bool, axe: str
) -> None:
    set_screen(browser, 1400, dark=dark)
    browser.get(address + place)
    if opened:
        click(browser, "button.value")
    browser.execute_script(axe)
    found = browser.execute_async_script("axe.run().then(arguments[arguments.length - 1])")
    assert len(found["passes"]) > 15
    worst = [one for one in found["violations"] if one["impact"] in ("serious", "critical")]
    assert not worst, json.dumps([(one["id"], [node["html"] for node in one["nodes"]][:3]) for one in worst])


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    return axe_core(tmp_path_factory.mktemp("npm"))


@pytest.mark.parametrize("width", [360, 800, 1400])
@pytest.mark.parametrize("place", ["", CORUM])
def test_nothing_is_wider_than_the_screen(browser: Any, address: str, width: int, place: str) -> None:
    set_screen(browser, width)
    browser.get(address + place)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    click(browser, "button.value")
    assert browser.execute_script("return document.querySelector('dialog').scrollWidth") <= width


def test_no_request_leaves_the_page(browser: Any, address: str) -> None:
    requested(browser)
    browser.get(address)
    choose(browser, "task", "gene-gene (default)")
    click(browser, "button.value")
    assert {one.split("#")[0] for one in requested(browser)} - {"data:,"} == {address}


def test_names_from_a_hostile_result_are_text(browser: Any, tmp_path: Path) -> None:
    name = "</script><img src=x onerror='window.harmed=1'>"
    write_board(tmp_path, {"model": ("official", "weights published", 0.5)}, ["screen-one"], revision=name)
    browser.get(_address(tmp_path, tmp_path))
    click(browser, "button.value")
    assert name in browser.find_element("css selector", "dialog").text
    assert browser.execute_script("return window.harmed === undefined && document.images.length === 0")
