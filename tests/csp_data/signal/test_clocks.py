"""The shift of two courses beside numpy's correlation coefficient at every lag, of what both have there."""

from __future__ import annotations

import numpy as np
import pytest

from csp_data.signal.clocks import Course, best_shift


def course(values: np.ndarray, whole: np.ndarray, start: float) -> Course:
    centred = np.where(whole, values - values[whole].mean(), 0.0)
    return Course(start, centred, whole)


@pytest.mark.parametrize("seed", range(6))
def test_the_best_shift_is_that_of_the_largest_coefficient_over_what_both_have(seed: int) -> None:
    """They wander, so that the mean of a part is not that of the whole, and each has gaps of its own."""
    rng = np.random.default_rng(seed)
    both = np.cumsum(rng.normal(size=400))
    first, second = both[40:300] + rng.normal(size=260), both[:330] + rng.normal(size=330)
    in_first, in_second = np.ones(260, dtype=bool), np.ones(330, dtype=bool)
    in_first[50:90], in_second[200:215] = False, False
    coefficients = {}
    for lag in range(-259, 330):  # the place in the second at which the first begins
        there = np.arange(260) + lag
        common = np.flatnonzero((there >= 0) & (there < 330))
        common = common[in_first[common] & in_second[there[common]]]
        if len(common) >= 220 / 2:
            coefficients[lag] = np.corrcoef(first[common], second[common + lag])[0, 1]
    found = best_shift(course(first, in_first, 7.0), course(second, in_second, 8.0), 0.02)
    assert found is not None
    best = max(coefficients, key=lambda lag: coefficients[lag])
    assert abs(best - 40) <= 1
    assert found.correlation == pytest.approx(coefficients[best], abs=1e-9)
    before, at, after = (coefficients[best + k] for k in (-1, 0, 1))
    parabola = np.polyfit([-1, 0, 1], [before, at, after], 2)
    peak = -parabola[1] / (2 * parabola[0])
    assert found.seconds == pytest.approx(8.0 - 7.0 + (best + peak) * 0.02, abs=1e-7)
    assert found.unshifted == pytest.approx(coefficients[-50], abs=1e-9)  # a second before the second begins


@pytest.mark.parametrize(("before", "after"), [(800, 777), (900, 900), (1000, 777)])
def test_parts_that_stand_exactly_still_have_no_coefficient(before: int, after: int) -> None:
    """Those of a turntable: the rest of one beside that of the other gave coefficients above 1, of rounding."""
    moves = np.abs(np.random.default_rng(0).normal(size=600))
    second = np.concatenate([np.zeros(before), moves, np.zeros(900)])
    first = second[before : before + 600 + after]
    courses = [course(values, np.ones(len(values), dtype=bool), 0.0) for values in (first, second)]
    found = best_shift(*courses, 0.02)
    assert found is not None
    assert found.seconds == pytest.approx(before * 0.02, abs=1e-3)
    assert found.correlation == pytest.approx(1)
