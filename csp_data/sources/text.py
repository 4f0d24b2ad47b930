"""Numbers from text files in bulk: no Python loop per line or value.

Scipy's parser does the reading. It takes from each line the number at its start, as far as it understands it, and
passes over the rest; on the last line it reads on behind the end of the text instead. So three things are checked
while it reads (:class:`_Lines`), against damage that would train without complaint:

- every word is a whole number, since 1.2.3 would be taken for 1.2, and a file cut at ``1.4e`` end Python;
- every row has its columns, since rows of unequal length shift all that follow where their numbers add up;
- names stand where they are expected, since a value without its sensor goes to another one.

A text that fails, or is only unusual (NaN, empty lines), is read once more by Python, which knows the line.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

import numpy as np
import numpy.typing as npt
from scipy.io import _fast_matrix_market, mmread

from csp_data.errors import DamagedRecordingError
from csp_data.recording import FloatArray

__all__ = ["after_comments", "flat_numbers", "letters_of", "named_numbers", "numbers", "read_bytes"]

BLANKS = b" \t\r,;"
ONE_A_LINE = bytes.maketrans(BLANKS, b"\n" * len(BLANKS))
NOT_LETTERS = b"0123456789+-. \t\r\n"
NEXT, MINUS, POINT, OTHER, ZERO, E = b"\n-./0e"
BLOCK = 1 << 18
"""Bytes checked at once: they and their bits stay in the processor's cache, and each step takes far longer than
its call."""

Bits = npt.NDArray[np.uint64]
"""A bit for each character of a block: 64 a number, the first one lowest."""


def _lines_table(blanks: bytes = BLANKS) -> bytes:
    """Return the table that puts one number a line; `blanks` end it, and what no number has becomes OTHER."""
    table = bytearray([OTHER] * 256)
    for code in b"0123456789+-.e":
        table[code] = code
    table[ord("E")] = E
    for code in b"\n" + blanks:
        table[code] = NEXT
    return bytes(table)


LINES = _lines_table()


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


def after_comments(text: bytes) -> tuple[int, int]:
    """Return where leading lines that are blank or start with ``#`` end in the text, and how many these are."""
    position = lines = 0
    while position < len(text):
        end = text.find(b"\n", position)
        line = text[position : end if end >= 0 else len(text)].strip()
        if line and not line.startswith(b"#"):
            break
        lines += 1
        position = end + 1 if end >= 0 else len(text)
    return position, lines


def flat_numbers(text: bytes | memoryview, count: int, columns: int = 0) -> FloatArray | None:
    """Read `count` numbers separated by blanks, tabs, commas or line ends; ``None`` if the text is anything else.

    The compiled parser of scipy's Matrix Market reader does the work (about 400 MB/s on one core, against 140 for
    ``numpy.fromstring``). So many `columns` are demanded of every row, if any.
    """
    return _parse(_Lines(text, LINES, count, columns))


def named_numbers(text: bytes | memoryview, names: bytes, count: int) -> FloatArray | None:
    """Read numbers as :func:`flat_numbers` from a text that has names too, and no commas.

    Parameters
    ----------
    text
        Numbers, blanks and names.
    names
        The letters (and underscores) of all names, one after the other, as they must be found in the text.
    count
        Numbers there are.
    """
    letters = np.flatnonzero(np.bincount(np.frombuffer(names, dtype=np.uint8)))
    return _parse(_Lines(text, _lines_table(b" \t\r" + bytes(letters.tolist())), count, names=names))


def letters_of(text: bytes) -> bytes:
    """Return what is no digit, sign, point or blank."""
    return text.translate(None, NOT_LETTERS)


class _Lines:
    """What scipy's parser reads: a text with one number a line, made and checked a block at a time.

    Copies of the whole text, and results of a step for all of it, would cost as much as the checks.

    Parameters
    ----------
    text
        The text, which is not copied as a whole.
    table
        Makes lines of it, as :func:`_lines_table`.
    count
        Numbers expected.
    columns
        Numbers expected in each row, if they are to be checked.
    names
        Letters expected, if there are to be any.
    """

    def __init__(
        self, text: bytes | memoryview, table: bytes, count: int, columns: int = 0, names: bytes | None = None
    ) -> None:
        self.text, self.table, self.count, self.columns, self.names = text, table, count, columns, names
        self.position = self.words = self.rows = self.letters = 0
        self.valid = count > 0
        self.head = b"%%%%MatrixMarket matrix array real general\n%d 1\n" % count

    def read(self, _size: int = -1) -> bytes:
        """Return the next block, longer than asked for, which the parser takes; nothing after the first fault."""
        if self.head:
            head, self.head = self.head, b""
            return head
        text = bytes(self.text[self.position : self.position + BLOCK])
        if not text or not self.valid:
            return b""
        lines = text.translate(self.table)
        if self.position + BLOCK < len(self.text):
            # the last word may go on in the next block
            text = text[: lines.rfind(b"\n") + 1]
            lines = lines[: len(text)]
        # 64 bits a number, and an end for the last word
        lines = lines.ljust((len(text) // 64 + 1) * 64, b"\n")
        self.valid = bool(text) and self._is_as_expected(text, lines)
        self.position += len(text)
        return lines if self.valid else b""

    def is_complete(self) -> bool:
        """Whether all was read, and was as expected."""
        names = self.names is None or self.letters == len(self.names)
        return self.valid and self.position == len(self.text) and self.words == self.count and names

    def _is_as_expected(self, text: bytes, lines: bytes) -> bool:
        """Whether a block of whole words is as expected, where it goes on from the ones before."""
        codes = np.frombuffer(text, dtype=np.uint8)
        ends = _ends_of_numbers(np.frombuffer(lines, dtype=np.uint8))
        if ends is None:
            return False
        words = np.cumsum(np.bitwise_count(ends), dtype=np.int64) + self.words
        if self.columns:
            rows = np.flatnonzero(codes == NEXT)
            number, bit = rows >> 6, (rows & 63).astype(np.uint64)
            # of the words that end in these 64 characters, not those behind the end of the row
            behind = np.bitwise_count(ends[number] >> bit >> np.uint64(1))
            self.rows += len(rows)
            expected = np.arange(self.rows - len(rows) + 1, self.rows + 1) * self.columns
            if (words[number] - behind != expected).any():
                return False
        if self.names is not None:
            # of what comes before the digits the table knows marks and blanks alone
            letters = codes[codes > ord("9")].tobytes()
            if not self.names.startswith(letters, self.letters):
                return False
            self.letters += len(letters)
        self.words = int(words[-1])
        return True


def _ends_of_numbers(codes: npt.NDArray[np.uint8]) -> Bits | None:
    """Return where words end, each a whole number: sign, digits, point, digits, exponent; ``None`` if one is not.

    A mark goes through each word, in all words at once: it starts at the first character and must arrive at the
    end. Adding carries it over a run of digits, as in 0111 + 0001 = 1000.

    Parameters
    ----------
    codes
        What :func:`_lines_table` made of a text; it ends with a line's end.
    """
    end, point = _bits(codes == NEXT), _bits(codes == POINT)
    sign = _bits(codes <= MINUS) ^ end
    digit = _bits(codes >= ZERO)
    exponent = _bits(codes == E)
    digit ^= exponent
    first = _one_further(end)
    first[0] |= np.uint64(1)
    first = _step_over(first & ~end, sign)
    point_at = _run_past(first, digit)
    fraction = _step_over(point_at, point)
    mark = _run_past(fraction, digit)
    no_leading_digit = first & point_at  # no digit before the point: there must be one behind it
    if no_leading_digit.any() and (_step_over(no_leading_digit, point) & ~digit).any():
        return None
    if exponent.any():
        power = _step_over(_one_further(mark & exponent), sign)
        if (power & ~digit).any():
            return None
        mark = (mark & ~exponent) | _run_past(power, digit)
    return None if (mark & ~end).any() else mark


def _bits(where: npt.NDArray[np.bool_]) -> Bits:
    """Return one bit a character, for a multiple of 64 of them."""
    return np.packbits(where, bitorder="little").view("<u8")


def _one_further(marks: Bits) -> Bits:
    """Return the marks, each one character further on."""
    moved = marks << np.uint64(1)
    moved[1:] |= marks[:-1] >> np.uint64(63)
    return moved


def _step_over(marks: Bits, where: Bits) -> Bits:
    """Return the marks, those at one of `where` one character further on."""
    moving = marks & where
    return (marks ^ moving) | _one_further(moving)


def _run_past(marks: Bits, where: Bits) -> Bits:
    """Return the marks, those in a run of `where` behind its end."""
    total = marks + where
    carry = total < where  # overflow of a number, into the next one
    while carry[:-1].any():
        total[1:] += carry[:-1]
        carry[1:] = carry[:-1] & (total[1:] == 0)
        carry[0] = False
    return total & ~where


def _parse(lines: _Lines) -> FloatArray | None:
    """Return the numbers of a text, or ``None`` if it is not as expected."""
    if lines.count < 1:
        return None
    try:
        with _one_thread():
            values = np.asarray(mmread(cast(IO[bytes], lines)), dtype=np.float64)[:, 0]
    except ValueError:
        return None
    return values if lines.is_complete() else None


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


def numbers(text: bytes, columns: int | None, path: Path, *, skipped: int = 0, start: int = 0) -> FloatArray:
    """Read a table of numbers separated by blanks, tabs or commas.

    Parameters
    ----------
    text
        Rows of numbers, without headers.
    columns
        Numbers a row; ``None`` takes what the first row has.
    path, skipped
        For messages: the file, and the lines before the rows.
    start
        Where the rows start in the text, if headers were not cut off.

    Returns
    -------
    array, shape (rows, columns)

    Raises
    ------
    DamagedRecordingError
        If a row has another length or holds no number, with its line; or if there is no row.
    """
    first, stop = start, len(text)
    while first < stop and text[first : first + 1].isspace():
        first += 1
    while first < stop and text[stop - 1 : stop].isspace():
        stop -= 1
    if first == stop:
        raise DamagedRecordingError(path, "holds no numbers", "rows of numbers", f"{len(text) - start} bytes")
    if columns is None:
        end = text.find(b"\n", first, stop)
        columns = len(text[first : end if end >= 0 else stop].translate(ONE_A_LINE).split())
    codes = np.frombuffer(text, dtype=np.uint8)[first:stop]
    rows = 1 + sum(int(np.count_nonzero(codes[at : at + BLOCK] == NEXT)) for at in range(0, len(codes), BLOCK))
    flat = flat_numbers(memoryview(text)[first:stop], rows * columns, columns)
    return _line_by_line(text[start:], columns, path, skipped) if flat is None else flat.reshape(rows, columns)


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
