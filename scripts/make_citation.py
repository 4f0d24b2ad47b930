"""Write CITATION.cff: the toolkit, the HiSS paper, and what every card of the package asks to be cited."""

from __future__ import annotations

from pathlib import Path

from csp_data.describe.citation import cff

ROOT = Path(__file__).parent.parent
NOTE = "# Made from the cards by scripts/make_citation.py; a test compares the two.\n"


def text() -> str:
    """Return what the file must hold."""
    return NOTE + cff(sorted(card.stem for card in (ROOT / "csp_data" / "cards").glob("*.toml")))


if __name__ == "__main__":
    (ROOT / "CITATION.cff").write_text(text(), encoding="utf-8")
