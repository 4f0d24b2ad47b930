"""Cards as Croissant 1.0 (mlcommons.org/croissant): JSON-LD that search engines and tools read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from csp_data._version import __version__
from csp_data.acquire.archive import is_archive
from csp_data.card import Card, FileEntry, is_shipped, prose

__all__ = ["bibtex_fields", "croissant"]

CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
TYPES = {str: "sc:Text", float: "sc:Float", int: "sc:Integer", bool: "sc:Boolean"}
FORMATS = {
    ".hdf5": "application/x-hdf5",
    ".h5": "application/x-hdf5",
    ".txt": "text/plain",
    ".csv": "text/csv",
    ".json": "application/json",
    ".zip": "application/zip",
    ".gz": "application/gzip",
}


def croissant(card: Card) -> dict[str, Any]:
    """Return a card as a Croissant 1.0 document, ready for ``json.dumps``.

    Fields that the card does not fill, as those of a set that is not published, are left out.
    Files whose publisher gives a SHA-256 are the distribution, which Croissant allows only for such; all known
    files are rows of the record set ``files``. Channels with units, rates, frames and axes, targets, and the lists
    of parts are record sets, too.
    """
    fields = bibtex_fields(card.citation.bibtex)
    files = {file.path: file for file in (*card.files, *card.downloads)}.values()
    archives = [entry.path for entry in card.downloads if entry.sha256 and is_archive(Path(entry.path))]
    archive = archives[0] if len(archives) == 1 else None
    licence = card.licence
    document: dict[str, Any] = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": card.name,
        "alternateName": list(card.aliases),
        "description": f"{card.title}. {prose(card.summary)}",
        "license": licence.url if licence.id != "unstated" else f"{licence.name}. {prose(licence.terms)}",
        "url": _url(card),
        "citeAs": card.citation.bibtex.strip(),
        "creator": [{"@type": "sc:Person", "name": name} for name in _authors(fields)],
        "datePublished": fields.get("year", ""),
        "version": card.version or (__version__ if is_shipped(card) else ""),  # of cards that ship: the card's own
        "conditionsOfAccess": prose(card.obtain),
        "rai:dataLimitations": [prose(defect) for defect in card.defects],
        "distribution": [_file(file, archive) for file in files if file.sha256],
        "recordSet": [*_channels(card), *_parts(card), *_files(list(files))],
    }
    return {name: value for name, value in document.items() if value not in ([], "")}


def bibtex_fields(entry: str) -> dict[str, str]:
    """Return the fields of one BibTeX entry as plain text, names in lower case."""
    found = re.findall(r"(\w+)\s*=\s*\{((?:[^{}]|\{[^{}]*\})*)\}", entry)
    return {name.lower(): prose(re.sub(r"[{}]", "", value)) for name, value in found}


def _authors(fields: dict[str, str]) -> list[str]:
    """Return names as ``"First Last"`` from BibTeX's ``"Last, First and ..."``."""
    names = fields["author"].split(" and ") if "author" in fields else []
    return [" ".join(reversed(name.split(", ", 1))) for name in names]


def _url(card: Card) -> str:
    """Return an address with more information; empty where there is none, as users' own cards may say."""
    doi, page = card.citation.address, card.licence.address
    return page or doi if card.licence.id == "unstated" else doi or page


def _channels(card: Card) -> list[dict[str, Any]]:
    streams = [
        {
            "stream": stream.name,
            "channel": channel,
            "role": stream.role,
            "unit": stream.unit,
            "rate_hz": float(stream.rate_hz),
            "frame": stream.frame,
            "axes": stream.axes or "not stated",
            "quaternions_in_files": stream.quaternions or "none",
        }
        for stream in card.streams
        for channel in stream.channels
    ]
    targets = [
        {
            "target": target.name,
            "channel": channel,
            "unit": unit,
            "per_step": target.increment,
            "what": target.summary,
        }
        for target in card.targets
        for channel, unit in zip(
            target.channels, target.units or (target.unit,) * len(target.channels), strict=True
        )
    ]
    return [
        _records("channels", "Channels of the raw streams, as the toolkit reads them.", streams),
        _records("targets", "What a model can be asked for.", targets),
    ]


def _parts(card: Card) -> list[dict[str, Any]]:
    rows = [
        {"protocol": name, "part": part, "recording": recording}
        for name, split in card.splits.items()
        for recording, part in split.part_of().items()
    ]
    return [_records("parts", "Recordings, or patterns of them, by part.", rows)] if rows else []


def _files(files: list[FileEntry]) -> list[dict[str, Any]]:
    rows = [
        {
            "file": file.path,
            "address": _address(file) or "not known",
            "bytes": -1 if file.size is None else file.size,
            "sha256": file.sha256 or "not published",
            "git_blob": file.git_blob or "not published",
        }
        for file in files
    ]
    description = "Files as the publisher hands them out, with what it says of them; bytes -1: not stated."
    return [_records("files", description, rows)] if rows else []


def _records(name: str, description: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a record set that holds its rows; ids of fields begin with its name."""
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "description": description,
        "field": [
            {"@type": "cr:Field", "@id": f"{name}/{key}", "name": key, "dataType": TYPES[type(value)]}
            for key, value in rows[0].items()
        ],
        "data": [{f"{name}/{key}": value for key, value in row.items()} for row in rows],
    }


def _file(file: FileEntry, archive: str | None) -> dict[str, Any]:
    """Return a file; one without an address of its own is in the archive, if there is one."""
    suffix = next((end for end in FORMATS if file.path.endswith(end)), "")
    entry: dict[str, Any] = {
        "@type": "cr:FileObject",
        "@id": file.path,
        "name": file.path.rpartition("/")[2],
        "contentUrl": _address(file) or file.path,
        "encodingFormat": FORMATS.get(suffix, "application/octet-stream"),
        "sha256": file.sha256,
    }
    if archive is not None and _address(file) is None and file.path != archive:
        entry["containedIn"] = {"@id": archive}
    return entry if file.size is None else {**entry, "contentSize": f"{file.size} B"}


def _address(file: FileEntry) -> str | None:
    return file.url or (None if file.drive is None else f"https://drive.google.com/uc?id={file.drive}")
