"""The report in a real browser: it loads, sorts, filters, and fits a phone."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from baselines.report import write_report
from baselines.runs import Run
from csp_data import Dataset

playwright = pytest.importorskip("playwright.sync_api", reason="playwright drives the browser")
CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the PATH")


@pytest.fixture(scope="module")
def opened(
    runs: dict[str, Run], sample: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Any, list[str]]]:
    """The page, and whatever went wrong while it loaded."""
    folder = tmp_path_factory.mktemp("report")
    write_report(list(runs.values()), sample, folder)
    problems: list[str] = []
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        page = browser.new_page(viewport={"width": 1200, "height": 900})
        page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda r: None if r.url.startswith(("file:", "data:")) else problems.append(r.url))
        page.goto((folder / "index.html").as_uri())
        yield page, problems
        browser.close()


def _column(page: Any, index: int) -> list[str]:
    cells = page.locator(f"table >> nth=0 >> tbody tr:not([hidden]) td:nth-child({index})")
    return [text.strip() for text in cells.all_inner_texts()]


def test_it_loads_without_an_error_and_from_nowhere_else(opened: tuple[Any, list[str]]) -> None:
    page, problems = opened
    assert problems == []
    boxes = [figure.bounding_box() for figure in page.locator("figure svg").all()]
    assert len(boxes) == 2 + 2 + 3 + 2 + 1
    assert all(box is not None and box["width"] > 200 and box["height"] > 100 for box in boxes)


def test_it_sorts_both_ways(opened: tuple[Any, list[str]]) -> None:
    page, _ = opened
    by_error = page.locator("table >> nth=0 >> th button", has_text="test MSE")
    for rising in (True, False):
        by_error.click()
        errors = [float(text.split(" ")[0]) for text in _column(page, 2)]
        assert len(errors) == 3
        assert errors == sorted(errors, reverse=not rising)
    page.locator("table >> nth=0 >> th button", has_text="parameters").click()
    header = [text.strip(" ↑↓") for text in page.locator("table >> nth=0 >> th").all_inner_texts()]
    counts = [int(text.replace(",", "")) for text in _column(page, header.index("parameters") + 1)]
    assert counts == sorted(counts)  # by value: "1,443" is more than "707"


def test_it_filters_and_shows_all_again(opened: tuple[Any, list[str]]) -> None:
    page, _ = opened
    box = page.get_by_label("Filter rows").first
    box.fill("LSTM")
    assert _column(page, 1) == ["flat-lstm"]
    box.fill("flat nothing-of-that-name")
    assert _column(page, 1) == []
    box.fill("")
    assert sorted(_column(page, 1)) == ["fir", "flat-lstm", "mean"]


@pytest.mark.parametrize("width", [390, 1200])
def test_nothing_sticks_out_at_a_phones_width(width: int, opened: tuple[Any, list[str]]) -> None:
    page, problems = opened
    page.set_viewport_size({"width": width, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert problems == []
