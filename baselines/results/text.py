"""Rows as CSV: one column per field, every digit of every number, read back as the types they were."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from baselines.errors import ResultsError
from baselines.files import atomic_bytes

__all__ = ["OPTIONAL", "ResultsError", "abbreviated", "columns", "read_rows", "rows_to_csv", "write_rows"]


_NOT_COLUMNS = ("recordings", "by_target", "settings", "source")
OPTIONAL = ("groups",)
"""Columns that a file need not have: one has none where no row holds a value."""

_PARSERS: dict[str, Callable[[str], Any]] = {
    "str": str,
    "int": int,
    "float": float,
    "str | None": lambda text: text or None,
    "int | None": lambda text: int(text) if text else None,
    "float | None": lambda text: float(text) if text else None,
    "tuple[str, ...]": lambda text: tuple(text.split(";")),
}


def columns(kind: type) -> dict[str, Callable[[str], Any]]:
    """Return the fields of a dataclass that are columns, each with what reads its cells."""
    return {field.name: _PARSERS[str(field.type)] for field in fields(kind) if field.name not in _NOT_COLUMNS}


def rows_to_csv(header: Iterable[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """Return rows as CSV; tuples are joined with semicolons, ``None`` is an empty cell."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(header), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: ";".join(cell) if isinstance(cell, tuple) else cell for name, cell in row.items()})
    return text.getvalue()


def write_rows(path: Path, header: Iterable[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows as a CSV file, whole or not at all."""
    atomic_bytes(path, rows_to_csv(header, rows).encode())


def abbreviated(items: Sequence[object], count: int = 3) -> str:
    """Return the first few items as a sentence has them, and how many more there are."""
    rest = len(items) - count
    return ", ".join(map(str, items[:count])) + (f" and {rest} more" if rest > 0 else "")


def read_rows(path: Path, parsers: Mapping[str, Callable[[str], Any]]) -> list[dict[str, Any]]:
    """Read a CSV file.

    Raises
    ------
    ResultsError
        If the file is missing, has other columns, or a cell that is not what its column holds.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file, strict=True)
            lines = list(reader)
            header = tuple(reader.fieldnames or ())
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ResultsError(f"{path}: cannot be read as CSV ({error}).") from error
    parsers = {name: parse for name, parse in parsers.items() if name in header or name not in OPTIONAL}
    if header != tuple(parsers):
        raise ResultsError(
            f"{path}: not a file of results: expected the columns {', '.join(parsers)}, found "
            f"{', '.join(header) or 'none'}. csp-baselines results writes such files."
        )
    rows = []
    for number, line in enumerate(lines, start=2):
        row = {}
        for name, parse in parsers.items():
            try:
                row[name] = parse(line[name])
            except (TypeError, ValueError, AttributeError) as error:
                raise ResultsError(f"{path}, line {number}: {name} cannot be {line[name]!r}.") from error
        if None in line:
            raise ResultsError(f"{path}, line {number}: more cells than columns.")
        rows.append(row)
    return rows
