"""Numbers from text files in bulk: no Python loop per line or value."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.io import _fast_matrix_market, mmread

from csp_data.errors import DamagedRecordingError
from csp_data.recording import FloatArray

__all__ = ["flat_numbers", "letters_of", "named_numbers", "numbers", "read_bytes", "skip_comments"]

BLANKS = b" \t\r,;"
ONE_A_LINE = bytes.maketrans(BLANKS, b"\n" * len(BLANKS))
OTHER = b"x"
NOT_LETTERS = b"0123456789+-. \t\r\n"


def _lines_table(letters: bytes = b"") -> bytes:
    """Return the table that puts one number a line; separators and `letters` end it, the rest is OTHER."""
    table = bytearray(OTHER * 256)
    for kept in b"0123456789+-.e":
        table[kept] = kept
    table[ord("E")] = ord("e")
    for code in b"\n" + BLANKS + letters:
        table[code] = ord("\n")
    return bytes(table)


LINES = _lines_table()
SIGNS = bytes.maketrans(b"+", b"-")
DIGITS = b"0123456789"
NEXT, POINT, MINUS, E = b"\n.-e"
DIGIT, SIGNED = (np.isin(np.arange(256), list(codes)) for codes in (DIGITS, b"-+"))


def read_bytes(path: Path) -> bytes:
    """Return the content of a file.

    Raises
    ------
    DamagedRecordingError
        If it is not there or cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise DamagedRecordingError(path, "cannot be read", "a text file", str(error)) from error


def skip_comments(text: bytes) -> tuple[bytes, int]:
    """Return the text after its leading lines that are blank or start with ``#``, and how many these are."""
    position = lines = 0
    while position < len(text):
        end = text.find(b"\n", position)
        line = text[position : end if end >= 0 else len(text)].strip()
        if line and not line.startswith(b"#"):
            break
        lines += 1
        position = end + 1 if end >= 0 else len(text)
    return text[position:], lines


def flat_numbers(text: bytes, count: int) -> FloatArray | None:
    """Read `count` numbers separated by blanks, tabs, commas or line ends; ``None`` if the text is anything else.

    The compiled parser of scipy's Matrix Market reader does the work (about 400 MB/s on one core, against 140 for
    ``numpy.fromstring``). It takes one number from each line and skips the rest, so the separators become line
    ends, and characters and signs are checked.
    """
    return _one_a_line(text.translate(LINES), count)


def named_numbers(text: bytes, names: bytes, count: int) -> FloatArray | None:
    """Read numbers as :func:`flat_numbers` from a text that has names too.

    Parameters
    ----------
    text
        Numbers, separators and names.
    names
        The letters (and underscores) of all names, one after the other, as they must be found in the text.
    count
        Numbers there are.
    """
    if letters_of(text) != names:
        return None
    return _one_a_line(text.translate(_lines_table(bytes(set(names)))), count)


def letters_of(text: bytes) -> bytes:
    """Return what is no digit, sign, point or blank."""
    return text.translate(None, NOT_LETTERS)


def _one_a_line(lines: bytes, count: int) -> FloatArray | None:
    """Read what :data:`LINES` made of a text.

    Scipy's parser reads a number as far as it goes and passes over the rest of the line: 1.2.3 is 1.2 to it. On
    the last line it reads on behind the end of the text instead, and crashes. So it gets whole numbers alone.
    """
    lines = lines.strip() + b"\n"
    if count < 1 or OTHER in lines or not _whole_numbers(lines):
        return None
    head = b"%%%%MatrixMarket matrix array real general\n%d 1\n" % count
    try:
        with _one_thread():
            return np.asarray(mmread(io.BytesIO(head + lines)), dtype=np.float64)[:, 0]
    except ValueError:
        return None


def _whole_numbers(lines: bytes) -> bool:
    """Whether signs, points and exponents stand where a number has them, once each; for lines that end in one."""
    codes = np.frombuffer(lines, dtype=np.uint8)
    for sign in b"-+":
        if sign in lines:
            within = np.flatnonzero((codes[1:] == sign) & (codes[:-1] != NEXT))
            if (codes[within] != E).any():
                return False
    # without their digits 1.2.3 is "..", 1e2.3 "e.", 1e2e3 "ee", and 1e-2.3 "e-."
    marks = np.frombuffer(lines.translate(SIGNS, DIGITS), dtype=np.uint8)
    if ((marks[1:] == POINT) & (marks[:-1] == POINT)).any():
        return False
    if b"e" not in lines:
        return True
    exponents = np.flatnonzero(marks == E)
    after = marks[exponents + 1 + (marks[exponents + 1] == MINUS)]
    starts = np.flatnonzero(codes == E) + 1
    starts += SIGNED[codes[starts]]
    return bool((after == NEXT).all() and DIGIT[codes[starts]].all())


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keep the parser to one thread: recordings are read side by side already.

    On two busy cores two threads took twice as long as one. scipy has a setting of its module for it, and no
    argument; where it has none, only the speed differs.
    """
    settings = vars(_fast_matrix_market)
    before = settings.get("PARALLELISM", 0)
    settings["PARALLELISM"] = 1
    try:
        yield
    finally:
        settings["PARALLELISM"] = before


def numbers(text: bytes, columns: int | None, path: Path, *, skipped: int = 0) -> FloatArray:
    """Read a table of numbers separated by blanks, tabs or commas.

    Parameters
    ----------
    text
        Rows of numbers, without headers.
    columns
        Numbers a row; ``None`` takes what the first row has.
    path, skipped
        For messages: the file, and the lines before the text.

    Returns
    -------
    array, shape (rows, columns)

    Raises
    ------
    DamagedRecordingError
        If a row has another length or holds no number, with its line; or if there is no row.
    """
    body = text.strip()
    if not body:
        raise DamagedRecordingError(path, "holds no numbers", "rows of numbers", f"{len(text)} bytes")
    if columns is None:
        end = body.find(b"\n")
        columns = len(body[: end if end >= 0 else len(body)].translate(ONE_A_LINE).split())
    ends = np.flatnonzero(np.frombuffer(body, dtype=np.uint8) == NEXT)
    lines = body.translate(LINES)
    flat = _one_a_line(lines, (len(ends) + 1) * columns)
    if flat is None or not _as_many_each(lines, ends, columns):
        return _line_by_line(text, columns, path, skipped)
    return flat.reshape(-1, columns)


def _as_many_each(lines: bytes, ends: npt.NDArray[np.intp], columns: int) -> bool:
    """Whether every row has its own numbers, where there are as many as wanted in all."""
    codes = np.frombuffer(lines, dtype=np.uint8)
    starts = np.flatnonzero((codes[1:] != NEXT) & (codes[:-1] == NEXT)) + 1
    if codes[0] != NEXT:
        starts = np.concatenate([[0], starts])
    return bool((starts[columns::columns] > ends).all() and (starts[columns - 1 : -1 : columns] < ends).all())


def _line_by_line(text: bytes, columns: int, path: Path, skipped: int) -> FloatArray:
    """Read an unusual table (NaN, empty lines), or say which line is wrong."""
    rows = []
    for number, line in enumerate(text.split(b"\n"), start=skipped + 1):
        words = line.translate(ONE_A_LINE).split()
        if not words:
            continue
        try:
            row = [float(word) for word in words]
        except ValueError:
            row = []
        if len(row) != columns:
            found = line[:80].decode(errors="replace").strip()
            raise DamagedRecordingError(path, f"line {number}", f"{columns} numbers", repr(found))
        rows.append(row)
    return np.array(rows, dtype=np.float64)
