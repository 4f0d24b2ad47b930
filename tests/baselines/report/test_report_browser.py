"""The report in a real browser: it loads, sorts, filters, leads to its sections, fits a phone, dark and paper."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread

playwright = pytest.importorskip("playwright.sync_api", reason="playwright drives the browser")
CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the PATH")
OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield started
        started.close()


Opened = tuple[Any, list[str]]
"""A page, and whatever went wrong while it loaded."""


def _open(browser: Any, path: Path, **options: Any) -> Opened:
    problems: list[str] = []
    page = browser.new_page(viewport={"width": 1200, "height": 900}, **options)
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda r: None if r.url.startswith(("file:", "data:")) else problems.append(r.url))
    page.goto(path.as_uri())
    return page, problems


@pytest.fixture(scope="module")
def opened(browser: Any, short_page: Path) -> Opened:
    return _open(browser, short_page)


@pytest.fixture(scope="module")
def opened_long(browser: Any, long_page: Path) -> Opened:
    return _open(browser, long_page)


def _column(page: Any, index: int) -> list[str]:
    cells = page.locator(f"table >> nth=0 >> tbody tr:not([hidden]) > :nth-child({index})")
    return [text.strip() for text in cells.all_inner_texts()]


@pytest.mark.parametrize("which", ["opened", "opened_long"])
def test_it_loads_without_an_error_and_shows_every_figure(which: str, request: pytest.FixtureRequest) -> None:
    page, problems = request.getfixturevalue(which)
    assert problems == []
    found = page.evaluate(
        """() => [...document.querySelectorAll("figure svg")].map((svg) => {
          const box = svg.getBoundingClientRect(), drawn = [...svg.querySelectorAll("path, use")];
          return [box.width, box.height, drawn.filter((d) => d.getBoundingClientRect().width > 20).length];
        })"""
    )
    assert len(found) == page.locator("figure").count() >= 12
    assert all(width > 200 and height > 100 and lines > 2 for width, height, lines in found)


def test_figures_of_what_was_varied_are_on_the_page(opened_long: Opened) -> None:
    page, _ = opened_long
    for heading, said in (
        ("Chunk", "chunk (samples), rate of the targets"),
        ("Low-pass of the inputs", "cut-off (Hz)"),
    ):
        section = page.locator("section", has=page.locator(f"h3:text-is('{heading}')")).last
        assert section.locator(f"svg text:text-is('{said}')").first.is_visible()


def test_lines_between_rows_go_all_the_way(opened: Opened) -> None:
    """Where a row ended within a pixel, the cell that stays in view when a table is scrolled covered its line."""
    page, _ = opened
    picture = imread(io.BytesIO(page.locator("table >> nth=0 >> tbody").screenshot()))[..., :3].min(axis=2)
    name, error = page.evaluate(
        """() => { const table = document.querySelector("table"), left = table.getBoundingClientRect().left;
          return [...table.tBodies[0].rows[0].cells].slice(0, 2).map(
            (cell) => cell.getBoundingClientRect().right - left - 3); }"""  # beside all letters
    )
    begun = np.diff((picture < 0.97).astype(int), axis=0, prepend=0) == 1
    assert begun[:, int(name)].sum() == begun[:, int(error)].sum() >= 3


def test_it_sorts_both_ways(opened: Opened) -> None:
    page, _ = opened
    by_error = page.locator("table >> nth=0 >> th button", has_text="test MSE")
    for rising in (True, False):
        by_error.click()
        errors = [float(text.split(" ")[0]) for text in _column(page, 2)]
        assert len(errors) == 3
        assert errors == sorted(errors, reverse=not rising)
    by_size = page.locator("table >> nth=0 >> th button", has_text="parameters")
    by_size.focus()
    page.keyboard.press("Enter")  # by keyboard alone
    header = [text.strip(" ↑↓") for text in page.locator("table >> nth=0 >> thead th").all_inner_texts()]
    counts = [int(text.replace(",", "")) for text in _column(page, header.index("parameters") + 1)]
    assert counts == sorted(counts)  # by value: "1,443" is more than "707"
    assert page.locator("th[aria-sort]").count() == 1


def test_it_filters_and_shows_all_again(opened: Opened) -> None:
    page, _ = opened
    box = page.get_by_label("Filter rows").first
    box.fill("LSTM")
    assert _column(page, 1) == ["flat-lstm"]
    assert page.locator("output").first.inner_text() == "1 of 3 rows"
    box.fill("flat nothing-of-that-name")
    assert _column(page, 1) == []
    box.fill("")
    assert sorted(_column(page, 1)) == ["fir", "flat-lstm", "mean"]
    assert page.locator("output").first.inner_text() == ""


def test_contents_lead_to_a_section(opened_long: Opened) -> None:
    page, _ = opened_long
    page.locator("nav > details > summary").click()
    page.locator("nav a", has_text="slip").first.click()
    heading = page.locator("h2", has_text="slip")
    heading.wait_for()
    assert 0 <= heading.bounding_box()["y"] < 450
    assert page.url.endswith(f"#{heading.get_attribute('id')}")


@pytest.mark.parametrize("width", [390, 1200])
@pytest.mark.parametrize("which", ["opened", "opened_long"])
def test_nothing_sticks_out_at_a_phones_width(which: str, width: int, request: pytest.FixtureRequest) -> None:
    page, problems = request.getfixturevalue(which)
    page.set_viewport_size({"width": width, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert problems == []


def test_it_is_dark_where_the_reader_is(browser: Any, short_page: Path) -> None:
    page, _ = _open(browser, short_page, color_scheme="dark")
    paper, ink, label, line = page.evaluate(
        """() => [[document.body, "backgroundColor"], [document.body, "color"],
          [document.querySelector("figure svg text"), "fill"],
          [document.querySelector("figure svg path[style*='colour-0']"), "stroke"]].map(
            ([node, property]) => getComputedStyle(node)[property].match(/[0-9]+/g).map(Number))"""
    )
    assert max(paper) < 60
    for other in (ink, label, line):
        assert max(other) > 130
    page.close()


def test_without_scripts_it_is_complete(browser: Any, short_page: Path) -> None:
    """As in the preview of a mail program, where the box to filter with did nothing."""
    page, problems = _open(browser, short_page, java_script_enabled=False)
    assert problems == []
    assert page.locator("figure svg").count() >= 12
    assert page.locator("table >> nth=0 >> tbody tr").count() == 3
    assert not page.get_by_label("Filter rows").first.is_visible()
    page.locator("nav > details > summary").click()
    assert page.locator("nav a").first.is_visible()
    page.close()


def test_on_paper_nothing_is_folded(browser: Any, long_page: Path) -> None:
    page, _ = _open(browser, long_page)
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert not page.locator("nav").is_visible()
    assert page.locator("main details:not([open])").count() == 0
    page.close()
