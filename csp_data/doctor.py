"""Report on this machine: environment, disk, home, data sets, prepared files, and what could be deleted.

Only looks: nothing is written, fetched or verified here. Other packages add sections by the entry-point group
``csp_data.doctor``: a name = a function without arguments that returns plain values.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from joblib import cpu_count

from csp_data._version import __version__
from csp_data.acquire.client import offline
from csp_data.acquire.leftovers import leftovers
from csp_data.card import bundled_root, left_out, load_card, names
from csp_data.errors import CspDataError
from csp_data.home import home, obstacle_at, prepared_dir, raw_dir, stamps_dir
from csp_data.store import found_damaged, read_header
from csp_data.terminal import amount, count_of

__all__ = ["GROUP", "PreparedFile", "examine", "prepared_files", "size_of"]

GROUP = "csp_data.doctor"
DISTRIBUTION = "csp-data"
LITTLE = 2 << 30
"""Free bytes of the home's disk below which it is called a problem."""


@dataclass(frozen=True)
class PreparedFile:
    """A prepared file of the home; ``dataset`` is ``None`` where it cannot be read, ``problem`` says why."""

    path: Path
    dataset: str | None
    protocol: str | None
    bytes: int
    problem: str = ""


def size_of(path: Path) -> int:
    """Return the bytes of a file, or of all files below a folder; links count for nothing."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.lstat().st_size for file in files if file.is_file() and not file.is_symlink())


def prepared_files() -> list[PreparedFile]:
    """Return the prepared files of the home, and what killed preparations left there."""
    folder, rows = prepared_dir(), []
    for path in sorted([*folder.glob("*.h5"), *folder.glob(".*.part")]) if folder.is_dir() else []:
        try:
            if path.suffix == ".part":
                raise CspDataError("a killed preparation left it")
            header = read_header(path)
            with found_damaged(path):
                protocol = json.loads(header.protocol)["name"]
            rows.append(PreparedFile(path, header.dataset, protocol, size_of(path)))
        except (CspDataError, OSError) as error:
            rows.append(PreparedFile(path, None, None, size_of(path), str(error)))
    return rows


def examine() -> dict[str, Any]:
    """Return everything, as plain values for JSON.

    Returns
    -------
    dict
        ``environment``, ``extras`` (of the installed package: which of their requirements are missing), ``home``,
        ``network``, ``datasets`` (those with raw files here), ``prepared``, ``reclaimable``, one entry for each
        plugin under ``plugins``, and ``problems``, a list of texts.
    """
    prepared = prepared_files()
    found: dict[str, Any] = {
        "environment": _environment(),
        "extras": _extras(),
        "home": _home(),
        "network": _network(),
        "datasets": list(_datasets()),
        "prepared": [{**vars(row), "path": str(row.path)} for row in prepared],
        "reclaimable": list(_reclaimable(prepared)),
        "plugins": _plugins(),
    }
    return {**found, "problems": list(_problems(found))}


def _environment() -> dict[str, Any]:
    return {
        "csp_data": __version__,
        "location": str(Path(__file__).parent),
        "python": platform.python_version(),
        "executable": sys.executable,
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "cpus_usable": cpu_count(),
        "packages": {name: _version(name) for name, extra in _requirements() if extra is None},
    }


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _requirements() -> list[tuple[str, str | None]]:
    """Return what the installed package requires: names, and the extra that asks for each."""
    try:
        lines = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        return []
    rows = []
    for line in lines:
        name = re.match(r"[A-Za-z0-9._-]+(\[[^\]]*\])?", line)
        extra = re.search(r"extra\s*==\s*['\"]([^'\"]+)['\"]", line)
        if name is not None:
            rows.append((name[0], extra[1] if extra else None))
    return rows


def _extras() -> dict[str, Any]:
    """Return for each extra the packages that are there, by version, and those that are missing."""
    needs: dict[str, list[str]] = {}
    for name, extra in _requirements():
        if extra is not None:
            needs.setdefault(extra, []).append(name)

    def packages(extra: str) -> Iterator[str]:
        for name in needs.get(extra, []):
            inner = re.fullmatch(r"[Cc]sp[-_]data\[([^\]]*)\]", name)
            if inner:
                for other in inner[1].split(","):
                    yield from packages(other.strip())
            else:
                yield name.partition("[")[0]

    rows = {}
    for extra in needs:
        versions = {name: _version(name) for name in packages(extra)}
        missing = sorted(name for name, version in versions.items() if version is None)
        installed = {name: version for name, version in versions.items() if version is not None}
        rows[extra] = {"complete": not missing, "there": installed, "missing": missing}
    return rows


def _home() -> dict[str, Any]:
    root = home()
    existing = next(folder for folder in (root, *root.parents) if folder.exists())
    disk = shutil.disk_usage(existing)
    return {
        "path": str(root),
        "chosen_by": "CSP_DATA_HOME" if os.environ.get("CSP_DATA_HOME") else "default",
        "exists": root.is_dir(),
        "writable": not obstacle_at(root) and os.access(existing, os.W_OK),
        "bytes": size_of(root) if root.is_dir() else 0,
        "disk_free_bytes": disk.free,
        "disk_total_bytes": disk.total,
    }


def _network() -> dict[str, Any]:
    keys = ("CSP_DATA_MIRROR", "CSP_DATA_REROUTE")
    # what this says is passed on: no password that somebody has written into an address
    settings = {key: re.sub(r"(?<=://)[^/\s]*@", "...@", os.environ.get(key, "")) or None for key in keys}
    return {"offline": offline(), **settings}


def _datasets() -> Iterator[dict[str, Any]]:
    for name in names():
        shipped = bundled_root(load_card(name))
        root = shipped if shipped is not None else raw_dir(name)
        if root.is_dir():
            files = sum(file.is_file() for file in root.rglob("*"))
            yield {
                "name": name,
                "path": str(root),
                "files": files,
                "bytes": size_of(root),
                "ships": shipped is not None,
            }


def _reclaimable(prepared: list[PreparedFile]) -> Iterator[dict[str, Any]]:
    """Yield what can be deleted without losing what was measured, with the command that deletes it."""
    raw = home() / "raw"
    folders = sorted(path for path in raw.iterdir() if path.is_dir()) if raw.is_dir() else []
    for name in dict.fromkeys(path.name.removesuffix(".incoming") for path in folders):
        if unfinished := leftovers(raw / name):
            size = sum(size_of(path) for path in unfinished)
            yield {
                "what": f"unfinished downloads or imports of {name}",
                "bytes": size,
                "command": f"csp-data clean {name}",
            }
    if prepared:
        size = sum(row.bytes for row in prepared)
        yield {
            "what": f"{count_of(len(prepared), 'prepared file')}, to be made again from the raw files",
            "bytes": size,
            "command": "csp-data clean --prepared",
        }


def _plugins() -> dict[str, Any]:
    """Run the sections of other packages; one that fails says why, and takes nothing else down."""
    found: dict[str, Any] = {}
    for point in sorted(metadata.entry_points(group=GROUP), key=lambda point: point.name):
        try:
            found[point.name] = point.load()()
        except ImportError as error:  # an optional package of it is not here: no fault
            found[point.name] = {"not available": str(error)}
        except Exception as error:  # whatever another package raises
            found[point.name] = {"error": f"{type(error).__name__}: {error}"}
    return found


def _problems(found: dict[str, Any]) -> Iterator[str]:
    place = found["home"]
    if not place["writable"]:
        yield f"{place['path']} cannot be written to. Set CSP_DATA_HOME to a folder you own."
    if place["disk_free_bytes"] < LITTLE:
        free = amount(place["disk_free_bytes"])
        yield f"Only {free} are free where {place['path']} lies. Make room, or set CSP_DATA_HOME to another disk."
    for name, version in found["environment"]["packages"].items():
        if version is None:
            yield f"{name} is not installed, and csp-data needs it. Install csp-data again with pip."
    for name, error in left_out().items():
        yield f"{name} is left out: {error}"
    for row in found["prepared"]:
        if row["problem"]:
            yield f"{row['path']} is not usable ({row['problem']}). Delete it: csp-data clean --prepared"
    if stamps_dir().exists() and not os.access(stamps_dir(), os.W_OK):
        yield f"{stamps_dir()} cannot be written to: files are digested again each time. Change its rights."
