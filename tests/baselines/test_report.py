from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

import csp_data
from baselines.render import cells
from baselines.report import make_report, write_report
from baselines.runs import Run, RunError
from baselines.table import make_table
from csp_data import Dataset

VOID = {"meta", "link", "br", "input"}


class Page(HTMLParser):
    """What stands on a page; refuses tags that do not close."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.headings: list[str] = []
        self.cells: list[str] = []
        self.references: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        self.references += [
            value or "" for name, value in attrs if name in ("src", "href", "xlink:href", "srcset")
        ]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.references += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)
        if self.open and self.open[-1] == "td":
            self.cells.append(data)


@pytest.fixture(scope="module")
def text(runs: dict[str, Run], sample: Dataset) -> str:
    return make_report(list(runs.values()), sample)


def test_it_has_all_parts_and_the_tables_numbers(text: str, runs: dict[str, Run]) -> None:
    page = Page(text)
    assert page.headings == [
        "The data",
        "Results",
        "Signals before and after a low-pass",
        "Learning curves",
        "Predicted and measured",
        "Integrated over time",
        "Episode by episode",
        "Speed and size",
        "How it was made",
    ]
    table = make_table(list(runs.values()))
    expected = [cell for row in table.rows for cell in cells(table, row) if cell]
    assert page.cells[: len(expected)] == expected
    assert "not CSP-Bench" in text
    for run in runs.values():
        assert run.environment["command"] in text
    assert runs["a"].environment["torch"] in text


def test_nothing_is_loaded_from_anywhere(text: str) -> None:
    for reference in Page(text).references:
        assert reference.startswith(("#", "data:")), reference
    assert text.count("<script") == text.count("<script>") == 1  # its own, and none from elsewhere
    assert "fetch(" not in text
    assert "@import" not in text
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", text))


def test_figures_are_sound_and_say_what_they_show(text: str) -> None:
    figures = re.findall(r'<figure role="img" aria-label="([^"]*)">(.*?)</figure>', text, re.DOTALL)
    assert len(figures) == 2 + 2 + 3 + 2 + 1
    for words, svg in figures:
        assert len(words) > 20
        root = ET.fromstring(svg)
        assert root.get("viewBox")
        assert root.get("width") is None  # the page decides
        texts = [t.text for t in root.iter("{http://www.w3.org/2000/svg}text")]
        assert len(texts) > 5  # letters, not outlines: they can be searched and read aloud


def test_no_learning_curves_without_epochs(runs: dict[str, Run], sample: Dataset) -> None:
    assert "Learning curves" not in make_report([runs["mean"], runs["fir"]], sample)


def test_names_cannot_break_the_page(runs: dict[str, Run], sample: Dataset) -> None:
    hostile = replace(runs["a"], environment={**runs["a"].environment, "command": "<script>alert(1)</script>"})
    page = make_report([hostile], sample)
    assert "<script>alert" not in page
    assert "&lt;script&gt;" in page


def test_other_data_is_refused(runs: dict[str, Run]) -> None:
    other = csp_data.load("sample", input_deltas=False)
    with pytest.raises(RunError, match=runs["a"].config.data.recipe_hash):
        make_report([runs["a"]], other)


def test_it_is_written_whole_and_the_same_each_time(runs: dict[str, Run], sample: Dataset, tmp_path: Path) -> None:
    for name in ("new/one.html", "new/two.html"):
        write_report([runs["a"], runs["mean"]], sample, tmp_path / name)
    assert (tmp_path / "new/one.html").read_bytes() == (tmp_path / "new/two.html").read_bytes()
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == ["one.html", "two.html"]
