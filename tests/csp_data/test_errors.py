"""Errors survive the way from one process to another, message and fields; an option's can speak of flags."""

from __future__ import annotations

import pickle
from copy import copy
from pathlib import Path

import pytest

from csp_data import errors
from csp_data.errors import CspDataError

MADE: list[CspDataError] = [
    errors.OutOfMemoryError("Unable to allocate 3 GiB"),
    errors.UnknownNameError("data set", "markr", ["marker", "slip"]),
    errors.OptionError("jobs", 0, "at least 1", "Use 1."),
    errors.CardError("x", "no title"),
    errors.SourceError(Path("reader.py"), "no SOURCE"),
    errors.MissingDataError("The raw files", Path("raw"), "Get them."),
    errors.MissingExtraError("plot", "matplotlib", "plot"),
    errors.DamagedRecordingError(Path("a.h5"), "rate", "50 Hz", "5 Hz"),
    errors.DamagedRecordingError(Path("a.h5"), "rate", "50 Hz", "5 Hz").or_else("Or leave it out."),
    errors.VerificationError("2 of 3 files failed"),
    errors.AccessError("needs a password"),
    errors.StoreError(Path("x.h5"), "is damaged", "Prepare it again."),
    errors.PredictionsError("x.npz is damaged"),
    errors.TransferError("a.zip", "http://x", "status 500", "Try again."),
    errors.UnsafeArchiveError(Path("a.zip"), "../b", "leads out"),
]


@pytest.mark.parametrize("error", MADE, ids=lambda error: type(error).__name__)
def test_an_error_is_the_same_in_another_process(error: CspDataError) -> None:
    other = pickle.loads(pickle.dumps(error))
    assert type(other) is type(error)
    assert str(other) == str(error)
    assert vars(other) == vars(error)


def test_every_error_of_the_tree_is_here() -> None:
    assert {type(error).__name__ for error in MADE} | {"CspDataError"} == set(errors.__all__)


@pytest.mark.parametrize("error", MADE, ids=lambda error: type(error).__name__)
def test_no_message_commands_a_terminal(error: CspDataError) -> None:
    """Names from files, and headers of servers, may hold what sets its title, or hides lines above."""
    error = copy(error)
    error.args = (f"{error.args[0]}\x1b]0;x\x07\x9b2J\r\n\ty",)
    assert str(error).endswith("\\x1b]0;x\\x07\\x9b2J\\x0d\n\ty")


def test_a_value_that_fills_a_page_is_named_by_its_kind() -> None:
    table = "x" * 400
    assert str(errors.OptionError("path", [table], "a path")) == "path=<list>: expected a path."
    assert table in str(errors.OptionError("path", table, "a path"))


FLAGS = {
    "target_hz": "--target-hz",
    "input_hz": "--input-hz",
    "lowpass": "--lowpass",
    "order": "--order",
    "out": "FILE",
}


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            errors.OptionError("target_hz", 3.0, "what divides input_hz=50"),
            "--target-hz 3: expected what divides --input-hz 50.",
        ),
        (
            errors.OptionError("target_hz", None, "one", "Or input_hz='x'."),
            "--target-hz is missing: expected one. Or --input-hz 'x'.",
        ),
        (errors.OptionError("lowpass.order", 0, "1"), "--order 0: expected 1."),
        (errors.OptionError("lowpass.hz", 0, "1, with order=True"), "--lowpass 0: expected 1, with --order."),
        (errors.OptionError("lowpass.hz", 25.0, "less"), "--lowpass 25: expected less."),
        (errors.OptionError("lowpass.hz", 25.5, "less"), "--lowpass 25.5: expected less."),
        (errors.OptionError("out", "5.0", "one word"), "FILE 5.0: expected one word."),
        (errors.OptionError("out", "a b", "one word"), "FILE 'a b': expected one word."),
        (errors.OptionError("input_hz", (1, 2), "one"), "--input-hz 1 2: expected one."),
        (errors.OptionError("order", True, "no order"), "--order: expected no order."),
        (errors.OptionError("resplit.order", 0, "1"), "resplit.order=0: expected 1."),
        (errors.OptionError("grid", "own", "input_hz=5"), "grid='own': expected input_hz=5."),
    ],
)
def test_an_option_is_called_as_it_was_typed(error: errors.OptionError, said: str) -> None:
    assert error.typed(FLAGS) == said


def test_of_thousands_of_names_an_error_lists_some() -> None:
    """``ds.test["r1"]`` listed all recordings there are."""
    names = [f"r{i}" for i in range(5000)]
    said = str(errors.UnknownNameError("episode of test", "r4999b", names))
    assert "Did you mean 'r4999'? Known: r0, r1, " in said
    assert said.endswith("r199 and 4800 more.")
    assert str(errors.UnknownNameError("episode of test", "x", names[:200])).endswith(", r199.")
