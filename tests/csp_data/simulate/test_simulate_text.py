"""Formatting in bulk equals formatting number by number."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from csp_data.simulate.text import fixed, integers, join, literal


@pytest.mark.parametrize(("decimals", "groups"), [(4, 2), (5, 1), (6, 1), (6, 4)])
def test_fixed_equals_python(decimals, groups):
    rng = np.random.default_rng(decimals)
    values = rng.uniform(-1, 1, (400, 3)) * 10.0 ** rng.integers(-7, 3 * groups, (400, 3))
    values[:4, 0] = [0.0, -0.0, 1.0, -999.9]
    wanted = "".join(f"{a:.{decimals}f} {b:.{decimals}f}\t{c:.{decimals}f}\n" for a, b, c in values)
    assert join(fixed(values, decimals, [b" ", b"\t", b"\n"], groups)).decode() == wanted


@settings(max_examples=100, deadline=None)
@given(arrays(np.float64, (3, 2), elements=st.floats(-999.9999, 999.9999)))
def test_fixed_is_the_nearest_multiple(values):
    text = join(fixed(values, 6, [b" ", b"\n"])).decode()
    lines = text.splitlines()
    assert len(lines) == 3
    back = np.array([[float(word) for word in line.split(" ")] for line in lines])
    assert np.abs(back - values).max() <= 0.5e-6 * (1 + 1e-6)
    assert text == "".join(f"{a:.6f} {b:.6f}\n" for a, b in back)


def test_fixed_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match="numbers under 1000"):
        fixed(np.array([[999.9999999]]), 6, [b"\n"])


def test_integers_and_literals():
    numbers = np.array([0, 7, 10, 999, 1000, 1007, 20_030, 999_999])
    text = join(integers(numbers, b"\t"), literal(b"Head\n", len(numbers)))
    assert text.decode() == "".join(f"{n}\tHead\n" for n in numbers)
