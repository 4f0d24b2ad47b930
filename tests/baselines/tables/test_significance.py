from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from baselines.tables.significance import Comparison, compare, holm, paired_bootstrap, wilcoxon


def test_holm_by_hand() -> None:
    # sorted 0.01 0.02 0.03 0.04: times 4, 3, 2, 1 gives 0.04 0.06 0.06 0.04, raised to the one before
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.7, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_rejects_what_its_definition_rejects(values: list[float]) -> None:
    corrected = holm(values)
    for level in (0.05, 0.2):
        rejected = set()
        for step, index in enumerate(sorted(range(len(values)), key=lambda i: values[i])):
            if values[index] * (len(values) - step) > level:
                break
            rejected.add(index)
        # equal values are rejected together or not at all in the corrected form
        assert {i for i, p in enumerate(corrected) if p <= level} == rejected


def test_wilcoxon_by_hand() -> None:
    # five recordings, all better: the statistic is 0 for one of the 2 ** 5 patterns of signs, and its mirror
    first, second = np.arange(5.0), 1.1 * np.arange(5.0) + 0.1
    assert wilcoxon(first, second) == pytest.approx(2 / 32)
    # signs + - + with ranks 1 2 3: W = 4 of 6; sums of 8 patterns: 0 1 2 3 3 4 5 6; min(4, 2) <= 2 for 3, twice
    assert wilcoxon(np.array([1.0, -2.0, 3.0]), np.zeros(3)) == pytest.approx(6 / 8)
    assert wilcoxon(first, first) == 1.0
    assert wilcoxon(first[:2], second[:2]) == pytest.approx(2 / 4)
    assert wilcoxon(first[:1], second[:1]) is None


def test_wilcoxon_is_scipys() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 30))
    assert wilcoxon(first, second) == pytest.approx(stats.wilcoxon(first, second).pvalue)
    first, second = rng.normal(size=(2, 301))
    assert wilcoxon(first, second) == stats.wilcoxon(first, second).pvalue  # approximate, both
    assert wilcoxon(first[:300], second[:300]) == pytest.approx(
        stats.wilcoxon(first[:300], second[:300]).pvalue, rel=0.01
    )


@pytest.mark.parametrize("differences", ["all differ", "zeros", "ties", "zeros and ties", "one", "all better"])
@pytest.mark.parametrize("count", [3, 9, 15])
def test_wilcoxon_over_all_signs(count: int, differences: str) -> None:
    difference = np.random.default_rng(count).normal(0.4, 1, count)
    if "ties" in differences:
        difference = np.round(difference)
    if "zeros" in differences:
        difference[::4] = 0.0
    if differences == "one":
        difference[1:] = 0.0
    if differences == "all better":
        difference = np.abs(difference) * (np.arange(count) > 0)
    kept = difference[difference != 0]
    ranks, signs = stats.rankdata(np.abs(kept)), np.array(list(itertools.product((-1, 1), repeat=len(kept))))
    statistics, found = np.abs(signs @ ranks), abs((np.sign(kept) * ranks).sum())
    expected = (statistics >= found - 1e-9).mean()
    assert wilcoxon(difference, np.zeros(count)) == pytest.approx(expected, rel=1e-12)


def test_bootstrap_against_scipys_percentiles() -> None:
    rng = np.random.default_rng(1)
    first = rng.gamma(2, size=(1, 25))
    second = first + rng.normal(0.3, 0.5, size=(1, 25))
    theirs = stats.bootstrap(
        (first[0], second[0]),
        lambda a, b, axis: (a - b).mean(axis=axis),
        paired=True,
        method="percentile",
        n_resamples=40_000,
        rng=np.random.default_rng(2),
        vectorized=True,
    ).confidence_interval
    ours = paired_bootstrap(first, second, np.ones(25), np.random.default_rng(3), resamples=40_000)
    assert ours == pytest.approx((theirs.low, theirs.high), abs=0.01)


def test_bootstrap_against_all_draws() -> None:
    """Three recordings of unlike length, two seeds and one: every possible draw, counted."""
    first, second = np.array([[1.0, 4.0, 2.0], [2.0, 3.0, 7.0]]), np.array([[0.5, 1.0, 3.0]])
    weights = np.array([1.0, 2.0, 3.0])
    values = [
        np.average(first[list(seeds)].mean(axis=0)[rows] - second[0][rows], weights=weights[rows])
        for rows in map(list, itertools.product(range(3), repeat=3))
        for seeds in itertools.product(range(2), repeat=2)
    ]
    for level in (0.5, 0.8):
        expected = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
        found = paired_bootstrap(first, second, weights, np.random.default_rng(0), resamples=100_000, level=level)
        assert found == pytest.approx(expected, abs=0.12)


def test_a_pair_is_compared_on_the_same_recordings() -> None:
    """Recordings that differ far more than the models do not hide the difference."""
    rng = np.random.default_rng(4)
    hardness = rng.gamma(1.0, 10.0, size=12)
    better = np.stack([hardness, hardness + 0.01])
    worse = better + 1.0 + rng.normal(0, 0.1, size=(2, 12))
    none, found = compare([better, worse], 0, np.ones(12))
    assert none is None
    assert found is not None
    assert found.difference == pytest.approx((worse - better).mean())
    assert 0.9 < found.low <= found.difference <= found.high < 1.1
    assert found.p == pytest.approx(2 ** (1 - 12))
    assert found.significant


@pytest.mark.parametrize(
    ("low", "high", "p", "expected"),
    [
        (0.1, 0.2, 0.049, True),
        (-0.2, -0.1, 0.049, True),
        (0.1, 0.2, 0.051, False),
        (0.1, 0.2, None, False),
        (-0.1, 0.2, 0.001, False),
        (0.0, 0.2, 0.001, False),
        (-0.2, 0.0, 0.001, False),
    ],
)
def test_what_is_significant(low: float, high: float, p: float | None, expected: bool) -> None:
    assert Comparison((low + high) / 2, low, high, 0.0, p, 9).significant is expected


def test_long_recordings_weigh_more_in_the_difference() -> None:
    first, second = np.array([[1.0, 4.0], [3.0, 5.0]]), np.array([[0.5, 1.0]])
    _, found = compare([second, first], 0, np.array([30.0, 10.0]))
    assert found is not None
    assert found.difference == pytest.approx((30 * (2.0 - 0.5) + 10 * (4.5 - 1.0)) / 40)  # seeds' means: 2, 4.5
    assert 1.0 - 0.5 <= found.low <= found.difference <= found.high <= 5.0 - 1.0


def test_one_recording_has_an_interval_and_no_p() -> None:
    found = compare([np.array([[2.0]]), np.array([[1.0]])], 0, np.ones(1))[1]
    assert found is not None
    assert (found.difference, found.low, found.high) == (-1.0, -1.0, -1.0)
    assert (found.p, found.p_holm, found.significant, found.recordings) == (None, None, False, 1)


def test_few_recordings_can_carry_nothing() -> None:
    errors = np.array([[1.0, 2.0, 3.0, 4.0]])
    _, found = compare([errors, errors + 5], 0, np.ones(4))
    assert found is not None
    assert found.low > 0
    assert found.p == pytest.approx(2 ** (1 - 4))
    assert not found.significant


def test_the_correction_counts_the_comparisons() -> None:
    rng = np.random.default_rng(5)
    base = rng.normal(size=(1, 10))
    models = [base, base + rng.normal(0.3, 0.4, size=(3, 10)), base + rng.normal(0.2, 0.4, size=(1, 10))]
    found = [c for c in compare(models, 0, np.ones(10)) if c is not None]
    assert [c.p_holm for c in found] == pytest.approx(holm([c.p for c in found if c.p is not None]))
