"""The lists of raw files that a card gives once its recordings are published, with sizes and digests."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from urllib.parse import quote

from csp_data.acquire.archive import is_archive
from csp_data.acquire.digests import Stamps, digest_file
from csp_data.acquire.rawtree import raw_root
from csp_data.acquire.report import path_inside
from csp_data.acquire.verify import how_to_get
from csp_data.card import FileEntry, load_card
from csp_data.errors import DamagedRecordingError, MissingDataError, OptionError
from csp_data.home import expanded
from csp_data.sources import find_in

__all__ = ["as_toml", "listed_files"]

Lists = dict[str, list[FileEntry]]


def listed_files(
    name: Path | str, *, raw: Path | str | None = None, archives: Sequence[Path | str] = (), url: str | None = None
) -> Lists:
    """Return the files that a reader opens, as a card lists them: those of all recordings, read now.

    Parameters
    ----------
    name
        Data set, or the folder of one. Files that its card lists already, such as a licence, stay in the list.
    raw
        Folder of the raw files.
    archives
        In which they are packed; these are then what is fetched.
    url
        Address of the folder that the archives, or the files, are fetched from.

    Returns
    -------
    dict
        ``files``, and ``downloads`` if there are archives.

    Raises
    ------
    MissingDataError
        If there is no recording, or not an archive.
    OptionError
        If the address is none, or an archive is of no kind that can be unpacked.
    DamagedRecordingError
        If a file has a name that TOML cannot hold.
    """
    card = load_card(name)
    root = raw_root(card, raw)
    if url is not None and not url.startswith(("http://", "https://")):
        raise OptionError("url", url, "an address that begins with http:// or https://")
    found = find_in(card, root) if root.is_dir() else []
    if not found:
        raise MissingDataError(f"Recordings of {card.name}", root, how_to_get(card, root))
    opened = {path_inside(file, root) for recording in found for file in recording.files}
    paths = sorted(path for path in opened | {entry.path for entry in card.files} if (root / path).is_file())
    for path in paths:
        if path.encode(errors="ignore").decode() != path:
            raise DamagedRecordingError(root / path, "the file's name", "text in UTF-8", ascii(path), "Rename it.")
    digests = Stamps(root).digests(paths, again=True)
    base = None if url is None else url.rstrip("/") + "/"
    lists = {
        "files": [
            FileEntry(
                path,
                url=None if base is None or archives else base + quote(path),
                size=digests[path].size,
                sha256=digests[path].sha256,
            )
            for path in paths
        ]
    }
    if archives:
        lists["downloads"] = [_archive(expanded(path, "archive"), base) for path in archives]
    return lists


def _archive(path: Path, base: str | None) -> FileEntry:
    if not path.is_file():
        raise MissingDataError("The archive", path, "Check the path.")
    if not is_archive(path):
        raise OptionError("archive", str(path), "an archive that csp-data unpacks, such as .zip or .tar.gz")
    digest = digest_file(path)
    url = None if base is None else base + quote(path.name)
    return FileEntry(path.name, url=url, size=digest.size, sha256=digest.sha256)


def as_toml(lists: Lists) -> str:
    """Return lists of files as they stand on a card."""
    return "\n".join(
        line
        for name, entries in lists.items()
        for line in (f"{name} = [", *(f"    {{ {_fields(entry)} }}," for entry in entries), "]")
    )


def _fields(entry: FileEntry) -> str:
    values = {name: value for name, value in asdict(entry).items() if value is not None}
    # text of JSON is text of TOML, but for a character that TOML wants to be escaped
    return ", ".join(
        f"{name} = {json.dumps(value, ensure_ascii=False)}".replace("\x7f", "\\u007f")
        for name, value in values.items()
    )
