"""Windows, against loops over their starts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from csp_data import Window
from csp_data.errors import OptionError
from csp_data.windows import window_table


@given(
    lengths=st.lists(st.integers(1, 40), max_size=5),
    length=st.integers(1, 12),
    stride=st.none() | st.integers(1, 15),
    hz=st.sampled_from([5.0, 7.0, 0.3]),
)
def test_windows_are_all_that_fit_from_the_start_of_an_episode(
    lengths: list[int], length: int, stride: int | None, hz: float
) -> None:
    window = Window(length / hz, None if stride is None else stride / hz)
    assert window.steps(hz) == (length, length if stride is None else stride)
    ids = [f"r{i}" for i in range(len(lengths))]
    if min(lengths, default=length) < length:
        shortest = lengths.index(min(lengths))
        with pytest.raises(OptionError, match=rf"the length of episode 'r{shortest}'\. Advice on {shortest}\."):
            window_table(np.array(lengths, dtype=np.int64), ids, window, hz, "Advice on {}.".format)
        return
    expected = [
        [episode, start, start + length]
        for episode, steps in enumerate(lengths)
        for start in range(0, steps, stride or length)
        if start + length <= steps
    ]
    table = window_table(np.array(lengths, dtype=np.int64), ids, window, hz)
    assert table.shape == (len(expected), 3)
    assert table.tolist() == expected


@pytest.mark.parametrize("seconds", [0, -0.2, -1, 0.1, 0.3, 1.0001, float("inf"), float("nan"), 1e308, True, "1"])
def test_lengths_that_are_no_whole_number_of_steps_are_refused(seconds: float) -> None:
    for window, name in ((Window(seconds), "seconds"), (Window(1, seconds), "stride")):
        with pytest.raises(OptionError, match=rf"window\.{name}=.*: expected a positive multiple of 0\.2 s"):
            window.steps(5.0)
