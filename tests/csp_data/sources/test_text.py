"""Numbers from text: the fast way against Python's, the careful way for the unusual, the line that is wrong."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from csp_data import files
from csp_data.errors import DamagedRecordingError
from csp_data.sources.hdf5 import read_arrays
from csp_data.sources.text import (
    BLOCK,
    after_comments,
    flat_numbers,
    letters_of,
    named_numbers,
    numbers,
    read_bytes,
)

FILE = Path("made.txt")
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
FORMS = ("%.6f", "%.17g", "%e", "%.3E", "%g", "%+.2f")
finite = st.floats(allow_nan=False, allow_infinity=False, width=64).filter(
    lambda x: x == 0 or 1e-290 < abs(x) < 1e290
)


@given(
    values=arrays(np.float64, array_shapes(min_dims=2, max_dims=2, max_side=8), elements=finite),
    form=st.sampled_from(FORMS),
    blank=st.sampled_from([" ", "\t", "  ", " \t", ","]),
    end=st.sampled_from(["\n", "\r\n", "\t\n", "\n\n"]),
    last=st.booleans(),
)
def test_a_table_is_read_as_python_reads_it(
    values: np.ndarray, form: str, blank: str, end: str, last: bool
) -> None:
    words = [[form % value for value in row] for row in values]
    text = end.join(blank.join(row) for row in words) + (end if last else "")
    expected = np.array([[float(word) for word in row] for row in words])
    np.testing.assert_array_equal(numbers(text.encode(), values.shape[1], FILE), expected)
    np.testing.assert_array_equal(numbers(text.encode(), None, FILE), expected)


def test_the_fast_way_is_taken_and_knows_what_it_cannot_read() -> None:
    np.testing.assert_array_equal(flat_numbers(b"-1 2e-3\n4\n", 3), [-1, 0.002, 4])
    for text in (b"1 2-3\n4", b"1 nan 3", b"1 2", b"1 2 3 4", b"", b"one two three", b"1 2 # 3"):
        assert flat_numbers(text, 3) is None
    assert flat_numbers(b"", 0) is None


def test_tables_as_sensors_write_them_are_read_the_fast_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """The careful way gives the same numbers, 30 times as slowly."""
    monkeypatch.delattr("csp_data.sources.text._line_by_line")
    for row, columns in ((b"1.5 -2e-3\t4E+5,.5", 4), (b"7", 1), (b"0 1. 2\t", 3), (b" -1;2", 2)):
        for end in (b"\n", b"\r\n"):
            for rows in (1, 2, 63, 64, 65, 2 * BLOCK // len(row)):
                for last in (b"", end):
                    table = numbers(end.join([row] * rows) + last, columns, FILE)
                    expected = [float(word) for word in re.split(rb"[\s,;]+", row.strip())]
                    assert table.shape == (rows, columns)
                    assert (table == expected).all()


BROKEN = (
    "1.2.3",
    "1+2",
    "1-2",
    "1e",
    "1e+",
    "1e-",
    "1e5e5",
    "1e5.5",
    "1e-5.5",
    "1e-5e5",
    "..",
    "e5",
    "--5",
    "1e+-5",
)


@pytest.mark.parametrize("word", BROKEN)
def test_a_number_that_is_cut_or_run_together_is_refused(word: str) -> None:
    """Scipy's parser takes what it can, and crashes at the end of a text: a file cut at "1.403e" ended Python."""
    places = ("{}", "1 {}", "{} 1", "1 2\n3 {}", "1 2\n{} 3\n4 5\n", "{}\n1", "-1e-5 {}\n2 3e7\n")
    code = """
import json, sys
from csp_data.sources.text import flat_numbers
print([flat_numbers(text.encode(), len(text.split())) for text in json.loads(sys.argv[1])])
"""
    texts = json.dumps([place.format(word) for place in places])
    done = subprocess.run([sys.executable, "-c", code, texts], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, str([None] * len(places)))
    for place in places:
        with pytest.raises(DamagedRecordingError, match=r"line \d"):
            numbers(place.format(word).encode(), None, FILE)


@given(
    words=st.lists(st.text("0123456789+-.eE", min_size=1, max_size=6), min_size=1, max_size=8),
    blank=st.sampled_from([" ", "\n"]),
)
def test_words_of_digits_and_marks_are_what_python_takes_them_for(words: list[str], blank: str) -> None:
    try:
        expected = [float(word) for word in words]
    except ValueError:
        expected = None
    text = blank.join(words).encode()
    found = flat_numbers(text, len(words))
    assert found is None or found.tolist() == expected
    if expected is None:
        with pytest.raises(DamagedRecordingError):
            numbers(text, None, FILE)
    else:
        assert numbers(text, None, FILE).ravel().tolist() == expected


def taken(text: str, words: list[str]) -> None:
    """Check that numbers are read as Python reads them, and the text not at all where a word is none."""
    found = flat_numbers(text.encode(), len(words))
    if all(NUMBER.fullmatch(word) for word in words):
        assert found is not None
        assert found.tolist() == [float(word) for word in words]
    else:
        assert found is None


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["", "-"]),
            st.text("0123456789", max_size=90),
            st.sampled_from([".", ".", ".", "", ".."]),
            st.text("0123456789", max_size=90),
            st.sampled_from(["", "", "", "e5", "E-05", "e+2", "e", "e-", "e5.", "-", "e5e5", "5e05"]),
        ).map("".join),
        min_size=1,
        max_size=20,
    ),
    st.sampled_from([" ", "\n", " \t", "\r\n", ",", "\n\n"]),
)
def test_long_words_are_whole_numbers_or_refused(words: list[str], blank: str) -> None:
    """Marks go over digits 64 at a time: runs of more, and of just as many, carry over from one to the next."""
    words = [word or "0" for word in words]
    taken(blank.join(words), words)


@pytest.mark.parametrize("size", [63, 64, 65, 128, 129, 500])
@pytest.mark.parametrize(
    "word", ["1{}", "-1{}.5", "1.{}5", "1.{}5.5", "1{}e5", "1{}-5", "1{}x", ".{}", "e{}", "1{}e"]
)
def test_runs_of_digits_of_any_length(size: int, word: str) -> None:
    for before in range(66):
        words = ["1" * before] * bool(before) + [word.format("0" * size), "2.5"]
        taken(" ".join(words), words)


@pytest.mark.parametrize("word", ["1.2.3", "1-2", "1e", "1e5e5", "--5", "x", "-", ".", "1.25", "-1e-3"])
def test_words_at_the_border_of_blocks(word: str) -> None:
    """A text is checked in blocks: a word on their border is one word, and a row one row."""
    rows = BLOCK // 64
    line = b"1.5 " * 15 + b"0.5\n"
    text = line * rows
    assert len(text) == BLOCK
    for before in range(-len(word) - 2, 3):
        start = BLOCK - 4 * 16 - 1 + before  # some row, the border in or near the word
        broken = text[: start // 64 * 64] + b"1 " * 15 + word.encode().rjust(start % 64 + len(word)) + b"\n" + text
        if NUMBER.fullmatch(word):
            table = numbers(broken, 16, FILE)
            assert table[start // 64, -1] == float(word)
            assert (table[start // 64 + 1 :, :-1] == 1.5).all()
        else:
            with pytest.raises(DamagedRecordingError, match=rf"line {start // 64 + 1}: expected 16 numbers"):
                numbers(broken, 16, FILE)


@pytest.mark.parametrize("row", [0, 1, BLOCK // 32, BLOCK // 4 - 1, BLOCK // 4, BLOCK // 4 + 1, BLOCK // 3])
def test_rows_that_add_up_are_told_apart_in_every_block(row: int) -> None:
    lines = [b"1 2"] * (BLOCK // 2)
    lines[row : row + 2] = [b"1 2 3", b"4"]
    with pytest.raises(DamagedRecordingError, match=rf"line {row + 1}: expected 2 numbers, found '1 2 3'"):
        numbers(b"\n".join(lines), 2, FILE)
    lines[row : row + 2] = [b"1", b"2 3 4"]
    with pytest.raises(DamagedRecordingError, match=rf"line {row + 1}: expected 2 numbers, found '1'"):
        numbers(b"\n".join(lines), 2, FILE)


def test_a_word_longer_than_a_block_is_read_the_careful_way() -> None:
    text = b"0" * (2 * BLOCK) + b"1.5 2"
    assert flat_numbers(text, 2) is None
    assert numbers(text, 2, FILE).tolist() == [[1.5, 2]]


def test_names_stand_where_they_are_expected() -> None:
    frame = b"7\nHead 1 2\nL_Arm -3 .5\n"
    frames = BLOCK // len(frame) + 100
    text, names = frame * frames, b"HeadL_Arm" * frames
    values = named_numbers(text, names, 5 * frames)
    assert values is not None
    assert values.reshape(-1, 5).tolist() == [[7, 1, 2, -3, 0.5]] * frames
    np.testing.assert_array_equal(named_numbers(memoryview(b"x" + text)[1:], names, 5 * frames), values)
    assert letters_of(text) == names
    middle = BLOCK // len(frame) * len(frame)  # the frame on the border of blocks
    for old, new in (
        (b"Head", b"Haed"),
        (b"Head", b"Hand"),
        (b"L_Arm", b"Head"),
        (b"1 2", b"1e5"),
        (b"1 2", b"1,2"),
        (b"1 2", b"1;2"),
        (b"1 2", b"1#2"),
        (b"1 2", b"1.2.3 2"),
        (b"Head", "Hëad".encode()),
    ):
        for at in (0, middle, len(text) - len(frame)):
            broken = text[:at] + frame.replace(old, new) + text[at + len(frame) :]
            assert named_numbers(broken, names, 5 * frames) is None, (old, new, at)
    assert named_numbers(text[: -len(frame)], names, 5 * frames) is None
    assert named_numbers(text, names[:-9], 5 * frames) is None
    assert named_numbers(text, names, 5 * frames - 1) is None
    assert named_numbers(b"", b"", 0) is None


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="Windows has no timer that interrupts")
def test_ctrl_c_is_not_taken_for_damage() -> None:
    """The compiled parser calls back for each block, and hands on what is raised there."""
    frames = 30_000
    text, names = b"7\nHead 1 2\nL_Arm -3 .5\n" * frames, b"HeadL_Arm" * frames

    def ctrl_c(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, ctrl_c)
    try:
        for milliseconds in range(1, 21):
            with pytest.raises(KeyboardInterrupt):  # noqa: PT012 -- it comes at any time
                signal.setitimer(signal.ITIMER_REAL, milliseconds / 1000)
                while True:
                    assert named_numbers(text, names, 5 * frames) is not None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_unusual_numbers_are_read_the_careful_way() -> None:
    np.testing.assert_array_equal(numbers(b"1 nan\n-inf 2\n", 2, FILE), [[1, np.nan], [-np.inf, 2]])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"1 2\n3\n4 5\n", r"made\.txt: line 5: expected 2 numbers, found '3'"),
        (b"1 2\n3 x\n", "line 5: expected 2 numbers, found '3 x'"),
        (b"1 2\n3 4 5\n", "line 5.*found '3 4 5'"),
        (b"1 2\n3 4-5\n", "line 5"),
        (b" \n\n", "holds no numbers"),
        # as many numbers as two a line would be: rows were shifted against each other
        (b"1 2\n3\n4 5 6\n7 8", r"line 5: expected 2 numbers, found '3'"),
        (b"1 2\n3 4 5\n6\n7 8", r"line 5: expected 2 numbers, found '3 4 5'"),
        (b"1 2\n\n3 4 5 6", r"line 6: expected 2 numbers, found '3 4 5 6'"),
        (b"1,2\n3,,\n4,5,6", r"line 5: expected 2 numbers, found '3,,'"),
    ],
)
def test_the_wrong_line_is_named(text: bytes, message: str) -> None:
    with pytest.raises(DamagedRecordingError, match=message):
        numbers(text, 2, FILE, skipped=3)


def test_comments_are_skipped_and_counted() -> None:
    text = b"# a\n\n  # b\n1 2\n# c\n"
    assert after_comments(text) == (text.index(b"1 2"), 3)
    assert after_comments(b"# only") == (len(b"# only"), 1)
    assert after_comments(b"") == (0, 0)
    assert after_comments(b"\n1 2") == (1, 1)
    np.testing.assert_array_equal(numbers(text[:-4], 2, FILE, skipped=3, start=text.index(b"1 2")), [[1, 2]])
    with pytest.raises(DamagedRecordingError, match=r"line 5: expected 2 numbers, found '# c'"):
        numbers(text, 2, FILE, skipped=3, start=text.index(b"1 2"))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DamagedRecordingError, match=r"gone\.txt: cannot be read"):
        read_bytes(tmp_path / "gone.txt")
    with pytest.raises(DamagedRecordingError, match=r"gone\.h5: is missing"):
        read_arrays(tmp_path / "gone.h5", ["x"])


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (h5py.SoftLink("/x"), "array 'x' cannot be read: .*too many links"),
        (h5py.Empty("f8"), "array 'x': expected numbers, found none"),
        (np.zeros(3, dtype=complex), "array 'x': expected numbers, found complex"),
    ],
)
def test_odd_things_in_place_of_an_hdf5_array(tmp_path: Path, made: object, message: str) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["x"] = made
        file["a\nb"] = 1
    with pytest.raises(DamagedRecordingError, match=message):
        read_arrays(tmp_path / "x.h5", ["x"])
    with pytest.raises(DamagedRecordingError, match=r"found only 'a\\nb'") as caught:
        read_arrays(tmp_path / "x.h5", ["y"])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["link", "storage", "virtual"])
def test_an_array_that_is_in_another_file_is_refused(tmp_path: Path, kind: str) -> None:
    """No digest vouches for it, and it may be private: a recording of somebody else's brought it into our data."""
    with h5py.File(tmp_path / "private.h5", "w") as file:
        file["key"] = np.arange(5.0)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        if kind == "link":
            file["x"] = h5py.ExternalLink("private.h5", "/key")
        elif kind == "storage":
            file.create_dataset("x", (5,), "f8", external=[(str(tmp_path / "private.h5"), 0, 40)])
        else:
            layout = h5py.VirtualLayout(shape=(5,), dtype="f8")
            layout[:] = h5py.VirtualSource("private.h5", "key", shape=(5,))
            file.create_virtual_dataset("x", layout)
    with pytest.raises(DamagedRecordingError, match=r"x\.h5: array 'x'.* another file"):
        read_arrays(tmp_path / "x.h5", ["x"])


def test_an_hdf5_file_whose_table_of_names_is_damaged(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["x"] = np.zeros(3)
    content = (tmp_path / "x.h5").read_bytes()
    for block in (b"TREE", b"HEAP", b"SNOD"):
        (tmp_path / "x.h5").write_bytes(content.replace(block, b"XXXX"))
        with pytest.raises(DamagedRecordingError, match="cannot be read"):
            read_arrays(tmp_path / "x.h5", ["x"])


@pytest.mark.parametrize("shape", [(10**9, 3), (10**13,)])
@pytest.mark.parametrize("chunks", [None, (1000,)])
def test_arrays_that_are_promised_and_not_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...], chunks: tuple[int, ...] | None
) -> None:
    """A few gigabytes fit into memory, and reading them took it all."""
    chunks = None if chunks is None else (*chunks, *shape[1:])
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("x", shape=shape, dtype="f8", chunks=chunks)
        file.create_dataset("zeros", data=np.zeros(1_000_000), chunks=(1_000_000,), compression="gzip")
    with pytest.raises(DamagedRecordingError, match=r"'x' cannot be read: .* bytes are promised, 0 are stored"):
        read_arrays(tmp_path / "x.h5", ["x"])
    monkeypatch.setattr(files, "UNCHECKED_BYTES", 1000)
    assert len(read_arrays(tmp_path / "x.h5", ["zeros"])["zeros"]) == 1_000_000


def test_hdf5_arrays_are_those_h5py_reads(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    stored = {
        "a": rng.normal(size=(50, 3)),
        "deep/er/b": rng.integers(-5, 5, size=20),
        "c": rng.normal(size=(7, 2, 2)).astype("f4"),
        "flag": np.array([True, False]),
    }
    with h5py.File(tmp_path / "x.h5", "w") as file:
        for name, values in stored.items():
            file.create_dataset(name, data=values, compression="gzip" if values.size > 40 else None)
        file["words"] = ["one"]
    ours = read_arrays(tmp_path / "x.h5", ["a", "deep/er/b", "c"], optional=["flag", "deep/none", "none"])
    assert set(ours) == {"a", "deep/er/b", "c", "flag"}
    for name, values in ours.items():
        assert values.dtype == np.float64
        np.testing.assert_array_equal(values, stored[name].astype(np.float64))
    with pytest.raises(
        DamagedRecordingError, match=r"'none' is missing: expected it in the file, found only 'a', 'c'"
    ):
        read_arrays(tmp_path / "x.h5", ["none"])
    with pytest.raises(DamagedRecordingError, match="'words': expected numbers"):
        read_arrays(tmp_path / "x.h5", ["words"])
    (tmp_path / "y.h5").write_text("<html>")
    with pytest.raises(DamagedRecordingError, match=r"y\.h5: cannot be read: expected an HDF5 file"):
        read_arrays(tmp_path / "y.h5", ["a"])
