"""Cards: all of them complete, and incomplete ones refused."""

from __future__ import annotations

import pytest

import csp_data
from csp_data.card import bundled_root, load_card, read_card
from csp_data.errors import CardError, UnknownNameError
from csp_data.sources import load_source

TARGET = """[[targets]]
name = "v"
channels = ["v"]
unit = "m"
increment = true
summary = "s"
"""
TEXT = f"""
name = "made"
title = "Made"
kind = "simulated"
source = "broad"
protocol = "strict"
summary = "s"
obtain = "o"
files = [{{ path = "a.hdf5", size = 3 }}]
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
{TARGET}[splits.strict]
train = ["a"]
val = ["b"]
test = ["c"]
"""


@pytest.mark.parametrize("name", csp_data.names())
def test_every_card_fits_its_source(name: str) -> None:
    card = load_card(name)
    source = load_source(card)
    assert {target.name for target in card.targets} <= set(source.targets)
    assert card.name == name
    assert card.protocol in card.splits
    for one in (name, *card.aliases, *(alias.upper() for alias in card.aliases)):
        assert csp_data.info(one) is card


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
    parts = 'extends = "made"\nname = "child"\n[splits.mine]\ntrain = ["b"]\nval = ["a"]'
    child = read_card(parts, "child.toml", {"made": TEXT})
    assert child.splits["strict"] == card.splits["strict"]
    assert child.splits["mine"].train == ("b",)
    parent = 'aliases = ["m"]\nprotocols.strict.input_hz = 25\n' + TEXT
    child = read_card(f"protocols.mine.input_hz = 40\n{parts}", "child.toml", {"made": parent})
    assert child.protocols == {"strict": {"input_hz": 25}, "mine": {"input_hz": 40}}
    assert child.aliases == ()  # which lead to the other card


@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        ('title = "Made"', "", "field 'title' is missing"),
        ('title = "Made"', 'title = ""', "field 'title' is empty"),
        ('title = "Made"', "title = 3", "field 'title' should be str"),
        (
            'title = "Made"',
            'title = "Made"\ncolour = "red"',
            r"unknown field 'colour' \(this is csp-data \d.*; a later",
        ),
        ('kind = "simulated"', 'kind = "fake"', "kind should be one of"),
        ('title = "Made"', 'titel = "Made"', r"unknown field 'titel' \(did you mean 'title'\?\)"),
        ("rate_hz = 100", "rate_hz = true", "field 'rate_hz' should be float"),
        ('channels = ["x"]', "channels = [1]", r"field 'channels' should be tuple\[str"),
        ("redistribution = true", 'redistribution = "yes"', "field 'redistribution' should be bool"),
        ("size = 3", f'sha256 = "{64 * "A"}"', "no digest of 64"),
        ("size = 3", f'git_blob = "{64 * "a"}"', "no digest of 40"),
        ('name = "made"', 'name = "made"\nbundled = "../x"', "leads out of the card's folder"),
        ('name = "made"', 'name = "made"\nbundled = "/x"', "leads out of the card's folder"),
        ('unit = "m/s^2"', "", r"streams 0: field 'unit' is missing"),
        ("size = 3", 'sha256 = "zz"', "no digest of 64"),
        ("size = 3", "size = true", "field 'size' should be int"),
        ('role = "input"', 'role = "reference"', "no input stream"),
        ('val = ["b"]', 'val = ["a"]', "lists a recording twice"),
        ('protocol = "strict"', 'protocol = "paper"', "no splits for its protocol"),
        ('val = ["b"]', 'val = "b"', "field 'val' should be tuple"),
        ('name = "made"', 'name = "made', "not TOML"),
        ('name = "made"', 'extends = "gone"\nname = "made"', "extends 'gone', which is no card"),
        ('name = "made"', 'extends = ["broad"]\nname = "made"', r"extends \['broad'\], which is no card"),
        ('name = "made"', 'name = "made"\ndownloads = 3', "field 'downloads' should be a list of tables, found 3"),
        ("[splits.strict]", "[splits]\nstrict = 3\n[more]", "splits.strict: expected a table, found int"),
        (
            'name = "made"',
            'name = "made"\nprotocols.strict = 3',
            "protocols: field 'strict' should be a table, found 3",
        ),
        ("[licence]", "licence = 3\n[other]", "made.toml, licence: expected a table, found int"),
        ('"a.hdf5", size = 3', '"a/../../b", size = 3', "file 'a/../../b' leads out of the raw folder"),
        ('"a.hdf5", size = 3', '"/etc/b", size = 3', "file '/etc/b' leads out of the raw folder"),
        ("size = 3 }", 'size = 3 }, { path = "a.hdf5" }', "file 'a.hdf5' stands twice"),
        ("[splits.strict]", f"{TARGET}[splits.strict]", "target 'v' stands twice"),
        (TARGET, "", "no target"),
        ("rate_hz = 100", "rate_hz = 0", "rate_hz should be above 0, found 0"),
        ("rate_hz = 100", f"rate_hz = 1{400 * '0'}", "rate_hz should be above 0, found 1000"),
        ('"a.hdf5", size = 3', r'"a\u0000", size = 3', r"field 'path' holds control characters: 'a\\x00'"),
        ('title = "Made"', r'title = "\u001b]0;Made\u0007"', r"holds control characters: '\\x1b\]0;Made\\x07'"),
        ('channels = ["x"]', r'channels = ["x\u009b1A"]', "field 'channels' holds control characters"),
        ("rate_hz = 100", "rate_hz = inf", "rate_hz should be above 0, found inf"),
        ("rate_hz = 100", "rate_hz = 100\ndefault = false", "no input stream is on by default"),
        ("rate_hz = 100", 'rate_hz = 100\nkind = "rotation"', "four channels each"),
        ("rate_hz = 100", 'rate_hz = 100\nquantity = "angular rate"', "'angular rate' in m/s"),
        ("rate_hz = 100", 'rate_hz = 100\nalong = "start"', "along 'start', not sensor or level"),
        ('channels = ["x"]', 'channels = ["x", "x"]', "names of channels, each once"),
        ('channels = ["x"]', 'channels = ["x", "time"]', "has a channel 'time', which in tables and streams is"),
        ('channels = ["x"]', 'channels = ["x"]\nderived = ["time"]', "stream .* has a channel 'time'"),
        ('channels = ["v"]', 'channels = ["time"]', "target 'v' has a channel 'time'"),
        ('channels = ["v"]', 'channels = ["latency_ms"]', "target 'v' has a channel 'latency_ms', another column"),
        ('channels = ["v"]', 'channels = ["recording"]', "target 'v' has a channel 'recording', another column"),
        ('channels = ["v"]', "channels = []", "target 'v' needs names of channels"),
        ("increment = true", 'increment = true\nunits = ["m", "rad"]', "2 units for its channels"),
        ("increment = true", 'increment = true\nalong = "north"', "along 'north', not sensor, start or level"),
        ("increment = true", 'increment = false\npaths = ["v"]', "paths but is no increment"),
        ("increment = true", 'increment = true\npaths = ["v w"]', "path along 'w', which is no channel"),
    ],
)
def test_an_incomplete_card_is_refused(before: str, after: str, problem: str) -> None:
    assert before in TEXT
    with pytest.raises(CardError, match=problem):
        read_card(TEXT.replace(before, after, 1), "made.toml")


@pytest.mark.parametrize("value", ["3", '"many"', "[1]", "{ a = 1 }", "2026-11-29"])
@pytest.mark.parametrize(
    "name", ["streams", "targets", "files", "downloads", "splits", "protocols", "size", "licence"]
)
def test_a_field_of_another_kind_is_refused(name: str, value: str) -> None:
    """Of text that replaces tables Python said that it cannot be iterated, in a traceback."""
    with pytest.raises(CardError, match=r"card child\.toml"):
        read_card(f'extends = "made"\n{name} = {value}\n', "child.toml", {"made": TEXT})


def test_unknown_names_give_the_list() -> None:
    with pytest.raises(UnknownNameError, match=r"Known: .*broad.*sample"):
        load_card("zzz")
