"""Cards are complete, and what is written from them says what they say."""

from __future__ import annotations

import dataclasses

import pytest

import csp_data
from csp_data.card import Card, Citation, Size, SplitCard, StreamCard, TargetCard
from csp_data.describe.text import comparison, incomplete, markdown, plain_text
from csp_data.terminal import amount

NAMES = csp_data.names()


@pytest.mark.parametrize("name", NAMES)
def test_every_card_is_complete(name: str) -> None:
    assert incomplete(csp_data.info(name)) == ()


def test_what_is_missing_is_named() -> None:
    card = csp_data.info("vector")
    streams = tuple(dataclasses.replace(stream, axes=None, quaternions=None) for stream in card.streams)
    gaps = incomplete(dataclasses.replace(card, size=None, defects=(), streams=streams))
    assert len(gaps) == 2 + len(streams) + 1
    for words in ("[size]", "defects", "stream accelerometer: axes", "stream orientation: quaternions"):
        assert any(gap.startswith(words) for gap in gaps), words


@pytest.mark.parametrize("name", NAMES)
def test_a_page_says_what_the_card_says(name: str) -> None:
    card = csp_data.info(name)
    text = markdown(card)
    for stream in card.streams:
        assert stream.frame.replace("^2", "²") in text
        assert f"`{stream.name}`" in text
    for said in (card.licence.terms, card.citation.doi, card.obtain, *card.defects, card.size.basis):  # type: ignore[union-attr]
        assert " ".join(said.split()).replace("^2", "²") in text
    assert "^2" not in text + comparison([card])  # units as figures have them
    for address in (card.licence.url, f"https://doi.org/{card.citation.doi}"):
        assert f"]({address})" in text
    columns = {line.count("|") for line in text.splitlines() if line.startswith("| `") and "fields" not in line}
    assert columns  # every row of a table has the width of its head
    for block in text.split("\n\n"):
        rows = [line.replace("\\|", "") for line in block.splitlines() if line.startswith("|")]
        assert len({row.count("|") for row in rows}) <= 1


def test_a_card_without_addresses_has_no_links() -> None:
    """Those of data sets of one's own led to "none" and to https://doi.org/none."""
    card = csp_data.info("sample")
    licence = dataclasses.replace(card.licence, url="none")
    text = markdown(dataclasses.replace(card, licence=licence, citation=Citation("By us.", "none", "@misc{us}")))
    assert f"\n\n{licence.name}. {' '.join(licence.terms.split())}\n\nBy us.\n\n" in text


@pytest.fixture
def made() -> Card:
    """A card with something of everything."""
    many = tuple(f"c{i}" for i in range(13))
    return dataclasses.replace(
        csp_data.info("vector"),
        name="made",
        kind="real recordings",
        aliases=("m", "n"),
        promised=7,
        size=Size("counted", bytes=1500),
        streams=(
            StreamCard("a", "input", ("x", "y"), "m", 50.0, "room", axes="z up", quaternions="wxyz"),
            StreamCard("b", "input", many, "V", 12.5, "sensor", default=False, derived=("p",)),
            StreamCard("r", "reference", (*many[2:], "s|t"), "s", 1.0, "none"),
        ),
        targets=(
            TargetCard("t", ("u", "v"), "m", True, "How far.", units=("m", "rad")),
            TargetCard("w", ("f",), "N", False, "How hard."),
        ),
        splits={
            "strict": SplitCard(rule="groups", shares={"train": 0.75, "test": 0.25}),
            "paper": SplitCard(train=("r1", "r2"), test=("x/*", "r3"), held_out=()),
        },
        protocols={"paper": {"target_hz": 4}, "other": {"target_hz": 3}},
    )


def test_a_page_row_by_row(made: Card) -> None:
    lines = markdown(made).splitlines()
    for row in (
        "| kind | real recordings |",
        "| aliases | `m`, `n` |",
        "| access | open, no account |",
        f"| licence | {made.licence.id}; may be passed on |",
        "| recordings | unknown |",
        "| hours | unknown |",
        "| raw files | 1.5 kB |",
        "| how that is known | counted |",
        "| stream | channels | unit | rate | frame | axes | quaternions in the files |",
        "| `a` (input) | `x`, `y` | m | 50 Hz | room | z up | w x y z |",
        "| `b` (input, only when asked for) | `c0`, `c1`, `c2` ... `c12` (13); a model sees `p` "
        "| V | 12.5 Hz | sensor | not stated | none |",
        "| `r` (reference) | `c2`, `c3`, `c4`, `c5`, `c6`, `c7`, `c8`, `c9`, `c10`, `c11`, `c12`, `s\\|t` "
        "| s | 1 Hz | none | not stated | none |",
        "| target | channels | unit | what |",
        "| `t` | `u`, `v` | m, rad | How far. (a change over the step) |",
        "| `w` | `f` | N | How hard. (a value at the end of the step) |",
        "| `strict` | groups, of the recordings found | train 75%, test 25% | test |",
        "| `paper` | lists | train 2, test `x/*` and `r3` | none |",
        "| protocol | field | value |",
        "| `paper` | `target_hz` | `4` |",
    ):
        assert row in lines, row
    assert "`other`" not in markdown(made)
    sized = dataclasses.replace(made, size=Size("said", recordings=3, hours=2.5), aliases=())
    assert {"| recordings | 3 |", "| hours | 2.5 |", "| aliases | none |"} < {*markdown(sized).splitlines()}


def test_the_plain_text_line_by_line(made: Card) -> None:
    lines = plain_text(made, "simulated").splitlines()
    for line in (
        "(real recordings; those prepared here are simulated)",
        "Streams:",
        "  a (input): x, y in m, 50 Hz; frame: room; axes: z up; quaternions in the files: w x y z",
        "  b (input, optional): c0, c1, c2 ... c12 (13) in V, 12.5 Hz; frame: sensor",
        "Targets:",
        "  t: u, v in m, rad, given per second unless the protocol says per step. How far.",
        "  w: f in N. How hard.",
        "Split strict (groups): train 75%, test 25% of the recordings",
        "Split paper (lists): train 2, test x/* and r3 recordings",
        "Protocol paper here: target_hz 4",
        "Promised: 7 recordings",
        "Raw files: 1.5 kB, hours: unknown (counted)",
        "Known defects:",
        f"  - {made.defects[0]}",
        f"Licence: {made.licence.name} ({made.licence.url}). {made.licence.terms}",
        f"Cite: {made.citation.text} doi:{made.citation.doi}",
    ):
        assert line in lines, line
    assert "Protocol other" not in "".join(lines)


def test_a_row_of_the_comparison(made: Card) -> None:
    sized = dataclasses.replace(made, size=Size("said", recordings=3, hours=2.5), bundled="x")
    head, _, *rows = comparison([made, sized, dataclasses.replace(made, size=None)]).splitlines()
    assert head == "| name | kind | inputs | Hz | target | recordings | hours | raw files | access | licence |"
    same, licence = "| made | real recordings | a (2) in m | 50 | t (2) |", made.licence.id
    assert rows == [
        f"{same} ? | ? | 1.5 kB | open | {licence} |",
        f"{same} 3 | 2.5 | unknown | ships | {licence} |",
        f"{same} ? | ? | ? | open | {licence} |",
    ]


def test_names_with_brackets_are_counted_and_patterns_shown() -> None:
    split = SplitCard(train=("run[1]", "run[2]"), test=("x/*",))
    card = dataclasses.replace(csp_data.info("sample"), splits={"strict": split})
    assert "Split strict (lists): train 2, test x/* recordings" in plain_text(card, card.kind)
    assert "| `strict` | lists | train 2, test `x/*` | test |" in markdown(card)


def test_of_many_patterns_a_few_are_shown() -> None:
    """Each of RoNIN's stands for one recording, in whichever archive it lies: they filled a screen."""
    card = csp_data.info("ronin")
    assert "test *a006_2, *a019_3, *a024_1 ... *a058_3 (32), test_seen" in plain_text(card, card.kind)
    assert "test `*a006_2`, `*a019_3`, `*a024_1` ... `*a058_3` (32), test_seen" in markdown(card)


def test_the_comparison_has_a_row_for_each() -> None:
    rows = comparison([csp_data.info(name) for name in NAMES], link="card-{name}.md").splitlines()
    assert [row.split("](")[0][3:] for row in rows[2:]] == list(NAMES)


def test_bytes_of_the_sample_are_counted() -> None:
    card = csp_data.info("sample")
    assert card.size is not None
    assert card.size.bytes == sum(file.size or 0 for file in card.files)
    assert card.size.recordings == len(card.files)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        *(
            (None, "unknown"),
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1 kB"),
            (1_500_000, "1.5 MB"),
            (5_887_000, "5.89 MB"),
        ),
        *((999_499, "999 kB"), (999_500_000, "1 GB"), (147_600_000_000, "148 GB"), (2 * 10**15, "2000 TB")),
    ],
)
def test_amounts_are_readable(count: int | None, text: str) -> None:
    assert amount(count) == text
