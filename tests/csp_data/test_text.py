"""Numbers from text: the fast way against Python's, the careful way for the unusual, the line that is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from csp_data.errors import DamagedRecordingError
from csp_data.sources.hdf5 import read_arrays
from csp_data.sources.text import flat_numbers, numbers, read_bytes, skip_comments

FILE = Path("made.txt")
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
    assert skip_comments(b"# a\n\n  # b\n1 2\n# c\n") == (b"1 2\n# c\n", 3)
    assert skip_comments(b"# only") == (b"", 1)
    assert skip_comments(b"") == (b"", 0)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DamagedRecordingError, match=r"gone\.txt: cannot be read"):
        read_bytes(tmp_path / "gone.txt")
    with pytest.raises(DamagedRecordingError, match=r"gone\.h5: is missing"):
        read_arrays(tmp_path / "gone.h5", ["x"])


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
        DamagedRecordingError, match=r"'none' is missing: expected it in the file, found only a, c"
    ):
        read_arrays(tmp_path / "x.h5", ["none"])
    with pytest.raises(DamagedRecordingError, match="'words': expected numbers"):
        read_arrays(tmp_path / "x.h5", ["words"])
    (tmp_path / "y.h5").write_text("<html>")
    with pytest.raises(DamagedRecordingError, match=r"y\.h5: cannot be read: expected an HDF5 file"):
        read_arrays(tmp_path / "y.h5", ["a"])
