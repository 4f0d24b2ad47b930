"""Checks of options, against plain comparisons."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import csp_data
from csp_data.errors import OptionError
from csp_data.options import check_choice, check_number

BOUNDS = st.floats(-2, 2)
NUMBERS = st.one_of(st.floats(), st.integers(-3, 3), st.sampled_from((-2.0, 0.0, 1.0, 2.0)))


def accepted(value: object, **bounds: Any) -> bool:
    try:
        check_number("share", value, "within bounds", **bounds)
    except OptionError:
        return False
    return True


@given(value=NUMBERS, low=BOUNDS, high=BOUNDS)
@example(value=-math.inf, low=0.0, high=0.0)
@example(value=math.inf, low=0.0, high=0.0)
def test_bounds_are_those_of_the_comparisons(value: float, low: float, high: float) -> None:
    assert accepted(value, above=low, below=high) == (low < value < high)
    assert accepted(value, least=low, most=high) == (low <= value <= high)
    assert accepted(value) == (not math.isnan(value))
    assert accepted(value, below=math.inf) == (value < math.inf)


@given(value=NUMBERS)
def test_numbers_of_numpy_count_as_the_plain_ones(value: float) -> None:
    kind = np.int16 if isinstance(value, int) else np.float64
    for whole in (False, True):
        assert accepted(kind(value), above=0, whole=whole) == accepted(value, above=0, whole=whole)


@pytest.mark.parametrize("value", [True, False, np.True_, "1", None, 1j, [1], np.ones(1), math.nan])
@pytest.mark.parametrize("whole", [False, True])
def test_what_is_no_number_is_none(value: object, whole: bool) -> None:
    with pytest.raises(OptionError, match=re.escape(f"jobs={value!r}: expected a number")):
        check_number("jobs", value, "a number", whole=whole)


def test_a_whole_number_that_no_float_holds_is_no_length_or_rate() -> None:
    """It was taken, and computing with it ended in an OverflowError."""
    for value in (10**400, -(10**400)):
        assert not accepted(value)
        assert accepted(value, whole=True)
    for changes in (
        {"lowpass": {"hz": 10**400}},
        {"window": {"seconds": 10**400}},
        {"input_scaling": {"floor": 10**400}},
    ):
        with pytest.raises(OptionError, match="=1000"):
            csp_data.STRICT.replace(**changes)
    for field in ("input_hz", "target_hz", "look_ahead_s", "raw_clip", "max_gap_s", "min_episode_s", "clip"):
        with pytest.raises(OptionError, match=f"{field}=1000"):
            csp_data.STRICT.replace(**{field: 10**400})
    with pytest.raises(OptionError, match="a shortest and a longest duration"):
        csp_data.STRICT.replace(recording_s=(0, 10**400))


def test_a_float_is_no_whole_number() -> None:
    assert accepted(3, whole=True)
    assert not accepted(3.0, whole=True)
    assert not accepted(np.float32(3), whole=True)


@pytest.mark.parametrize("value", ["means", None, 1, ["mean"], np.array(["mean", "std"]), "MEAN"])
def test_a_word_is_one_of_the_words(value: object) -> None:
    with pytest.raises(OptionError, match=re.escape(f"shift={value!r}: expected one of mean, zero.")):
        check_choice("shift", value, ("mean", "zero"))


def test_nothing_may_be_among_the_words() -> None:
    for value in ("mean", np.str_("mean"), None):
        check_choice("shift", value, ("mean", None))
    with pytest.raises(OptionError, match="expected one of mean, or nothing"):
        check_choice("shift", "zero", ("mean", None))
