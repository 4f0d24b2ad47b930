"""Cards are complete, and what is written from them says what they say."""

from __future__ import annotations

import dataclasses

import pytest

import csp_data
from csp_data.card import Citation, SplitCard
from csp_data.describe.text import amount, comparison, incomplete, markdown, plain_text

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
        assert stream.frame in text
        assert f"`{stream.name}`" in text
    for said in (card.licence.terms, card.citation.doi, card.obtain, *card.defects, card.size.basis):  # type: ignore[union-attr]
        assert " ".join(said.split()) in text
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


def test_names_with_brackets_are_counted_and_patterns_shown() -> None:
    split = SplitCard(train=("run[1]", "run[2]"), test=("x/*",))
    card = dataclasses.replace(csp_data.info("sample"), splits={"strict": split})
    assert "Split strict (lists): train 2, test x/* recordings" in plain_text(card, card.kind)
    assert "| `strict` | lists | train 2, test `x/*` | test |" in markdown(card)


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
