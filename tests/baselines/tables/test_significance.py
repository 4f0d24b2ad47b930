from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from baselines.tables.significance import Comparison, compare, holm, paired_interval, wilcoxon


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


def test_the_interval_of_pairs_and_of_seeds_is_scipys() -> None:
    rng = np.random.default_rng(1)
    first, second = rng.gamma(2, size=(2, 1, 9))
    theirs = stats.ttest_rel(first[0], second[0]).confidence_interval(0.9)
    assert paired_interval(first, second, np.full(9, 7.0), level=0.9) == pytest.approx(tuple(theirs))
    first, second = rng.gamma(2, size=(5, 1)), rng.gamma(2, size=(3, 1))  # one recording: seeds alone
    theirs = stats.ttest_ind(first[:, 0], second[:, 0], equal_var=False).confidence_interval(0.95)
    assert paired_interval(first, second, np.ones(1)) == pytest.approx(tuple(theirs))


def test_the_interval_by_hand() -> None:
    """Three recordings of unlike length, two seeds and one."""
    first, second = np.array([[1.0, 4.0, 2.0], [2.0, 3.0, 7.0]]), np.array([[0.5, 1.0, 3.0]])
    # by recording 1, 2.5, 1.5 with shares 1/6, 1/3, 1/2: 7.0 / 4; seeds' means 2.5 and 4 + 5/6 - 1/3
    difference = 1 / 6 + 2.5 / 3 + 1.5 / 2
    of_recordings = (
        3
        / 2
        * sum((share * (value - difference)) ** 2 for share, value in ((1 / 6, 1.0), (1 / 3, 2.5), (1 / 2, 1.5)))
    )
    seeds = (1 / 6 + 4 / 3 + 2 / 2, 2 / 6 + 3 / 3 + 7 / 2)
    of_seeds = (seeds[0] - seeds[1]) ** 2 / 2 / 2
    freedom = (of_recordings + of_seeds) ** 2 / (of_recordings**2 / 2 + of_seeds**2 / 1)
    half = stats.t.ppf(0.975, freedom) * (of_recordings + of_seeds) ** 0.5
    found = paired_interval(first, second, np.array([1.0, 2.0, 3.0]))
    assert found == pytest.approx((difference - half, difference + half))


@pytest.mark.parametrize(
    ("recordings", "seeds", "spread"),
    [(2, 2, 0.3), (5, 1, 0.0), (5, 2, 1.0), (5, 5, 0.3), (18, 2, 1.0), (50, 3, 1.0)],
)
def test_intervals_hold_what_they_say(recordings: int, seeds: int, spread: float) -> None:
    """Of true differences; a bootstrap's percentiles hold 71 to 88 % of these."""
    rng, draws, held = np.random.default_rng(recordings), 1000, 0
    for _ in range(draws):
        hardness = rng.gamma(2, size=recordings)
        sides = [
            hardness + part + rng.normal(0, spread, (seeds, 1)) + rng.normal(0, spread / 3, (seeds, recordings))
            for part in (rng.normal(1.0, 1.0, recordings), 0.0)
        ]
        low, high = paired_interval(sides[0], sides[1], rng.uniform(0.8, 1.2, recordings))
        held += low <= 1.0 <= high
    assert 0.925 < held / draws < 0.99


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


def test_a_few_recordings_do_not_make_significant_what_most_speak_against() -> None:
    rng = np.random.default_rng(6)
    base = rng.gamma(2, size=(1, 50))
    worse_by_the_mean = base - rng.uniform(0.03, 0.07, 50)
    worse_by_the_mean[:, :8] += 1.0
    _, found = compare([base, worse_by_the_mean], 0, np.ones(50))
    assert found is not None
    assert found.low > 0
    assert found.p is not None
    assert found.p < 0.05
    assert not found.significant
    _, other = compare([base, base + np.abs(worse_by_the_mean - base)], 0, np.ones(50))
    assert other is not None
    assert other.significant


def test_recordings_that_do_not_differ_have_no_rank() -> None:
    """With ranks of their own, four of them turned the sides of the five others: 9 to 6 became 17 to 18."""
    differences = np.array([-1.0, -2.0, -3.0, 4.0, 50.0])
    for same in (0, 4):
        base = np.arange(5.0 + same)[None]
        _, found = compare([base, base + np.append(differences, np.zeros(same))], 0, np.ones(5 + same))
        assert found is not None
        assert found.difference > 0
        assert found.agree
        assert found.p == pytest.approx(2 * 13 / 32)  # 13 of the 32 patterns of signs have a sum of ranks below 7


def test_long_recordings_weigh_more_in_the_difference() -> None:
    first, second = np.array([[1.0, 4.0], [3.0, 5.0]]), np.array([[0.5, 1.0]])
    _, found = compare([second, first], 0, np.array([30.0, 10.0]))
    assert found is not None
    assert found.difference == pytest.approx((30 * (2.0 - 0.5) + 10 * (4.5 - 1.0)) / 40)  # seeds' means: 2, 4.5
    assert (found.low + found.high) / 2 == pytest.approx(found.difference)


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
    _, found = compare([errors[:, :2], errors[:, :2] + 5], 0, np.ones(2))
    assert found is not None
    assert found.p == found.p_holm == 0.5


def test_the_correction_counts_the_comparisons() -> None:
    rng = np.random.default_rng(5)
    base = rng.normal(size=(1, 10))
    models = [base, base + rng.normal(0.3, 0.4, size=(3, 10)), base + rng.normal(0.2, 0.4, size=(1, 10))]
    found = [c for c in compare(models, 0, np.ones(10)) if c is not None]
    assert [c.p_holm for c in found] == pytest.approx(holm([c.p for c in found if c.p is not None]))
