"""Cards: all of them complete, and incomplete ones refused."""

from __future__ import annotations

import pytest

import csp_data
from csp_data.card import bundled_root, load_card, read_card
from csp_data.errors import CardError, UnknownNameError
from csp_data.sources import load_source

TEXT = """
name = "made"
title = "Made"
kind = "simulated"
source = "broad"
protocol = "strict"
summary = "s"
obtain = "o"
files = [{ path = "a.hdf5", size = 3 }]
[licence]
id = "MIT"
name = "MIT"
url = "https://example.org"
redistribution = true
terms = "t"
[citation]
text = "t"
doi = "d"
bibtex = "b"
[[streams]]
name = "accelerometer"
role = "input"
channels = ["x"]
unit = "m/s^2"
rate_hz = 100
frame = "sensor"
[[targets]]
name = "v"
channels = ["v"]
unit = "m"
increment = true
summary = "s"
[splits.strict]
train = ["a"]
val = ["b"]
test = ["c"]
"""


@pytest.mark.parametrize("name", csp_data.names())
def test_every_card_fits_its_source(name: str) -> None:
    card = load_card(name)
    source = load_source(card)
    assert {target.name for target in card.targets} <= set(source.targets)
    assert card.protocol in card.splits
    assert csp_data.info(name) is card


@pytest.mark.parametrize("name", [name for name in csp_data.names() if load_card(name).bundled])
def test_bundled_sets_are_whole(name: str) -> None:
    card = load_card(name)
    report = csp_data.verify(name, deep=True)
    assert not report.failures
    assert {file.trust for file in report.files} == {"published"}
    listed = {id_ for lists in card.splits.values() for id_ in lists.part_of()}
    assert listed == {file.path.removesuffix(".hdf5") for file in card.files}
    size = sum(file.stat().st_size for file in bundled_root(card).iterdir())  # type: ignore[union-attr]
    assert size <= 6e6


def test_parts_of_the_sample_are_those_of_broad() -> None:
    broad, sample = (load_card(name).splits["strict"].part_of() for name in ("broad", "sample"))
    assert sample.items() <= broad.items()


def test_a_whole_card_is_read() -> None:
    card = read_card(TEXT, "made.toml")
    assert card.stream("accelerometer").rate_hz == 100
    assert card.files[0].size == 3
    child = read_card('extends = "made"\nname = "child"\ntitle = "Child"', "child.toml", {"made": TEXT})
    assert (child.name, child.streams) == ("child", card.streams)


@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        ('title = "Made"', "", "field 'title' is missing"),
        ('title = "Made"', 'title = ""', "field 'title' is empty"),
        ('title = "Made"', "title = 3", "field 'title' should be str"),
        ('title = "Made"', 'title = "Made"\ncolour = "red"', "unknown field 'colour'"),
        ('kind = "simulated"', 'kind = "fake"', "kind should be one of"),
        ('unit = "m/s^2"', "", r"streams 0: field 'unit' is missing"),
        ("size = 3", 'sha256 = "zz"', "no digest of 64"),
        ("size = 3", "size = true", "field 'size' should be int"),
        ('role = "input"', 'role = "reference"', "no input stream"),
        ('val = ["b"]', 'val = ["a"]', "lists a recording twice"),
        ('protocol = "strict"', 'protocol = "paper"', "no splits for its protocol"),
        ('val = ["b"]', 'val = "b"', "field 'val' should be tuple"),
        ('name = "made"', 'name = "made', "not TOML"),
    ],
)
def test_an_incomplete_card_is_refused(before: str, after: str, problem: str) -> None:
    assert before in TEXT
    with pytest.raises(CardError, match=problem):
        read_card(TEXT.replace(before, after, 1), "made.toml")


def test_unknown_names_give_the_list() -> None:
    with pytest.raises(UnknownNameError, match=r"Known: .*broad.*sample"):
        load_card("zzz")
