"""Citations of the toolkit, the HiSS paper and the recordings: BibTeX, and CITATION.cff made from it."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from csp_data._version import __version__
from csp_data.card import load_card
from csp_data.describe.croissant import bibtex_fields

__all__ = ["HISS", "TOOLKIT", "bibtex", "cff"]

TITLE, AUTHORS, YEAR = "csp-data: sensor recordings to trained sequence models", "The csp-data developers", 2026

TOOLKIT = f"""@software{{csp_data,
  author  = {{{{{AUTHORS}}}}},
  title   = {{{TITLE}}},
  version = {{{__version__}}},
  year    = {{{YEAR}}}
}}"""

HISS = """@inproceedings{bhirangi2024hiss,
  author    = {Bhirangi, Raunaq and Wang, Chenyu and Pattabiraman, Venkatesh and Majidi, Carmel and Gupta, Abhinav
               and Hellebrekers, Tess and Pinto, Lerrel},
  title     = {Hierarchical State Space Models for Continuous Sequence-to-Sequence Modeling},
  booktitle = {International Conference on Machine Learning},
  year      = {2024},
  eprint    = {2402.10211},
  archivePrefix = {arXiv}
}"""

_TYPES = {"article": "article", "inproceedings": "conference-paper"}
_KEYS = {
    "journal": "journal",
    "booktitle": "collection-title",
    "volume": "volume",
    "number": "issue",
    "doi": "doi",
}


def bibtex(chosen: Sequence[str] = ()) -> list[str]:
    """Return the entries of the toolkit, of the HiSS paper, and of data sets, each once."""
    of_data_sets = (load_card(name).citation.bibtex.strip() for name in chosen)
    return list(dict.fromkeys((TOOLKIT, HISS, *of_data_sets)))


def cff(chosen: Sequence[str] = ()) -> str:
    """Return a Citation File Format 1.2.0 document: the toolkit, with the HiSS paper and data sets as references.

    Parameters
    ----------
    chosen
        Names of data sets.

    Returns
    -------
    str
        YAML whose scalars are written as JSON, which is YAML too.
    """
    document: dict[str, Any] = {
        "cff-version": "1.2.0",
        "message": "If you use csp-data, please cite it, the HiSS paper, and the recordings you used.",
        "title": TITLE,
        "type": "software",
        "version": __version__,
        "license": "MIT",
        "authors": [{"name": AUTHORS}],
        "references": [_reference(entry) for entry in bibtex(chosen)[1:]],
    }
    return "\n".join(_yaml(document)) + "\n"


def _reference(entry: str) -> dict[str, Any]:
    fields = bibtex_fields(entry)
    kind = entry.lstrip("@").partition("{")[0]
    reference: dict[str, Any] = {
        "type": _TYPES.get(kind.lower(), "generic"),
        "title": re.sub(r"\s*--\s*", ": ", fields.get("title", "untitled")),
        "authors": [_person(name) for name in fields.get("author", "unknown").split(" and ")],
    }
    if fields.get("year", "").isdecimal():
        reference["year"] = int(fields["year"])
    reference |= {key: fields[name] for name, key in _KEYS.items() if name in fields}
    if pages := re.fullmatch(r"(\d+)(?:--(\d+))?", fields.get("pages", "")):
        reference |= {key: int(page) for key, page in zip(("start", "end"), pages.groups(), strict=True) if page}
    if "eprint" in fields:
        number = ":".join(filter(None, (fields.get("archiveprefix"), fields["eprint"])))
        reference["identifiers"] = [{"type": "other", "value": number}]
    return reference


def _person(name: str) -> dict[str, str]:
    family, comma, given = name.partition(", ")
    return {"family-names": family, "given-names": given} if comma else {"name": family}


def _yaml(value: Any, indent: str = "") -> list[str]:
    """Return the lines of nested dictionaries and lists."""
    if isinstance(value, dict):
        lines = []
        for key, item in value.items():
            if isinstance(item, dict | list):
                lines += [f"{indent}{key}:", *_yaml(item, indent + "  ")]
            else:
                lines.append(f"{indent}{key}: {json.dumps(item, ensure_ascii=False)}")
        return lines
    lines = []
    for item in value:
        first, *rest = _yaml(item, indent + "  ")
        lines += [f"{indent}- {first.lstrip()}", *rest]
    return lines
