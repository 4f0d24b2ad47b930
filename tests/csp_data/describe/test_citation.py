"""CITATION.cff and ``csp-data cite`` say what the cards say."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest
import yaml

import csp_data
from csp_data.describe.croissant import bibtex_fields

ROOT = Path(__file__).parents[3]
CARDS = sorted(path.stem for path in (ROOT / "csp_data" / "cards").glob("*.toml"))
# of the schema of the Citation File Format 1.2.0, those that we use
REQUIRED = {"cff-version", "message", "title", "authors"}
KNOWN = REQUIRED | {"type", "version", "license", "references"}
OF_A_REFERENCE = {
    "type", "title", "authors", "year", "journal", "collection-title", "volume", "issue", "doi", "start", "end",
    "identifiers",
}  # fmt: skip


def check(document: dict[str, object]) -> None:
    """What the format wants of a file like ours."""
    assert REQUIRED <= set(document) <= KNOWN
    assert document["cff-version"] == "1.2.0"
    assert document["type"] == "software"
    references = document["references"]
    assert isinstance(references, list)
    for reference in references:
        assert {"type", "title", "authors"} <= set(reference) <= OF_A_REFERENCE
        assert reference["type"] in ("article", "conference-paper", "generic")
        assert re.fullmatch(r"10\.\d{4,}(\.\d+)*/\S+", reference.get("doi", "10.1234/x"))
        assert isinstance(reference["year"], int)
        assert reference["authors"]
        for author in reference["authors"]:
            assert set(author) in ({"family-names", "given-names"}, {"name"})
            assert all(isinstance(name, str) and name for name in author.values())
        for identifier in reference.get("identifiers", ()):
            assert set(identifier) == {"type", "value"}
            assert identifier["type"] in ("doi", "url", "swh", "other")


def test_the_file_is_what_the_cards_make() -> None:
    made = runpy.run_path(str(ROOT / "scripts" / "make_citation.py"))["text"]()
    assert (ROOT / "CITATION.cff").read_text(encoding="utf-8") == made, "run scripts/make_citation.py"


def test_the_file_is_valid_and_complete() -> None:
    document = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    check(document)
    assert document["version"] == csp_data.__version__
    titles = {reference["title"] for reference in document["references"]}
    years = {reference["title"]: reference["year"] for reference in document["references"]}
    for name in CARDS:
        fields = bibtex_fields(csp_data.info(name).citation.bibtex)
        title = fields["title"].replace(" -- ", ": ")
        assert title in titles
        assert years[title] == int(fields["year"])
    assert len(titles) == len(document["references"])  # each once


@pytest.mark.parametrize("name", CARDS)
def test_each_card_has_both_forms(name: str) -> None:
    card = csp_data.info(name)
    text = csp_data.cite(name)
    assert card.citation.bibtex.strip() in text
    keys = re.findall(r"^@\w+\{([^,]+),$", text, re.MULTILINE)
    assert len(keys) == len(set(keys))  # BibTeX refuses a key that comes twice
    document = yaml.safe_load(csp_data.cite(name, "cff"))
    check(document)
    assert 1 <= len(document["references"]) <= 2
    fields = bibtex_fields(card.citation.bibtex)
    last = document["references"][-1]
    assert last["authors"][0]["family-names"] == fields["author"].partition(",")[0]
    assert last.get("doi") == fields.get("doi")


def test_other_forms_are_refused() -> None:
    with pytest.raises(csp_data.CspDataError, match="bibtex or cff"):
        csp_data.cite("broad", "ris")
