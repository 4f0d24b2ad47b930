"""Significance of the differences between models: paired statistics over recordings and seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from csp_data.recording import FloatArray

__all__ = ["Comparison", "compare", "holm", "paired_interval", "wilcoxon"]

LEVEL = 0.95
EXACT = 300
"""Recordings that differ up to which p is computed from all signs; the normal approximation has it beyond."""


@dataclass(frozen=True)
class Comparison:
    """A model against another on the same recordings.

    Parameters
    ----------
    difference
        Error of the model minus error of the other, over all steps, mean over seeds.
    low, high
        Interval of the difference, of 95 % (:func:`paired_interval`).
    p, p_holm
        Of Wilcoxon's test over recordings, and corrected for the number of comparisons; ``None`` where there are
        fewer than two recordings.
    recordings
        How many there are. With n of them no p is below ``2 ** (1 - n)``.
    agree
        Whether the ranks, which p is about, lean to the side of `difference`. A model can be better on most
        recordings and worse by the mean, because of a few.
    """

    difference: float
    low: float
    high: float
    p: float | None
    p_holm: float | None
    recordings: int
    agree: bool = True

    @property
    def significant(self) -> bool:
        """Whether the corrected p is below 0.05 and the interval lies without 0 on the side that the ranks do.

        The correction is for recordings: seeds are in the interval alone, which has none. Where they matter, more
        than 5 % of tables of equal models have a significant difference (docs/howto-results.md).
        """
        apart = self.agree and not self.low <= 0 <= self.high
        return apart and self.p_holm is not None and self.p_holm < 1 - LEVEL


def paired_interval(
    first: FloatArray, second: FloatArray, weights: FloatArray, *, level: float = LEVEL
) -> tuple[float, float]:
    """Return the interval of Student's t for the difference of two mean errors.

    Recordings are a random sample, the same for both models (they are paired); so are the seeds of each model,
    since seed k of one has nothing in common with seed k of another. The variances of the three means are added,
    with the degrees of freedom of Satterthwaite (Biometrics Bulletin 2, 1946). Percentiles of a bootstrap are too
    narrow with few recordings or seeds; these intervals hold what they say from two of each on (simulated in the
    tests). Where a few recordings hold most of the error and of the difference, they do not
    (scripts/simulate_intervals.py).

    Of one seed no spread is seen: the interval is then that of this run, whatever the model would do with another.

    Parameters
    ----------
    first, second : arrays, shape (S_1, R) and (S_2, R)
        Error of each seed on each recording.
    weights : array, shape (R,)
        Steps of each recording: long ones weigh more, as in the overall error.
    level
        Probability that the interval is to hold the true difference.

    Returns
    -------
    low, high
        Of mean(first) - mean(second), weighted. They are equal where nothing varies, or where there is one
        recording and one seed of each.
    """
    from scipy.special import stdtrit  # here: it takes a while, which most commands have no use for

    share = weights / weights.sum()
    by_recording = first.mean(axis=0) - second.mean(axis=0)
    difference = share @ by_recording
    samples = [
        (len(errors), float(np.var(errors @ share, ddof=1) / len(errors)))
        for errors in (first, second)
        if len(errors) > 1
    ]
    if (count := len(weights)) > 1:
        # of a mean whose weights are drawn with the recordings: a ratio (Cochran, Sampling Techniques, chapter 6)
        residuals = share * (by_recording - difference)
        samples.append((count, float(residuals @ residuals) * count / (count - 1)))
    variance = sum(part for _, part in samples)
    if variance == 0:
        return float(difference), float(difference)
    freedom = variance**2 / sum(part**2 / (size - 1) for size, part in samples)
    half = float(stdtrit(freedom, (1 + level) / 2)) * variance**0.5
    return float(difference - half), float(difference + half)


def wilcoxon(first: FloatArray, second: FloatArray) -> float | None:
    """Return the two-sided p of Wilcoxon's signed-rank test over recordings that differ.

    The distribution of the sum of positive ranks is exact up to :data:`EXACT` of them, equal differences or not;
    SciPy's is so only where no two are equal and none is 0, or with at most 13 recordings (the approximation gives
    p = 0.0015 for 13 that are all better beside one that is the same, which has 2 ** (1 - 13) = 0.00024).

    Parameters
    ----------
    first, second : arrays, shape (R,)
        Error on each recording, mean over seeds. Recordings are taken as independent.

    Returns
    -------
    float or None
        1 where no recording differs, ``None`` for fewer than two.
    """
    if len(first) < 2:
        return None
    difference = (first - second)[first != second]
    if len(difference) > EXACT:
        from scipy import stats  # here: it takes most of a second

        return float(stats.wilcoxon(difference).pvalue)
    ranks = _ranks(difference)
    probability = np.zeros(ranks.sum() + 1)  # of all patterns of signs, by the sum of positive ranks
    probability[0] = 1.0
    for rank in ranks:
        probability[rank:] = (probability[rank:] + probability[:-rank]) / 2
        probability[:rank] /= 2
    positive = ranks[difference > 0].sum()
    return min(1.0, 2 * float(probability[: min(positive, ranks.sum() - positive) + 1].sum()))


def _ranks(difference: FloatArray) -> npt.NDArray[np.int64]:
    """Return twice the ranks of the sizes of some differences: equal ones share a mean rank."""
    _, inverse, counts = np.unique(np.abs(difference), return_inverse=True, return_counts=True)
    return np.asarray((2 * np.cumsum(counts) - counts + 1)[inverse])


def holm(values: Sequence[float]) -> list[float]:
    """Return p values corrected for their number by Holm's step-down method (Scand. J. Statist. 6, 1979).

    Sorted, the i-th smallest of m is multiplied by m - i + 1, raised to the one before it, and at most 1.
    """
    order = np.argsort(values)
    corrected = np.empty(len(values))
    largest = 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(values) - rank) * values[index]))
        corrected[index] = largest
    return [float(value) for value in corrected]


def compare(models: Sequence[FloatArray], against: int, weights: FloatArray) -> list[Comparison | None]:
    """Compare every model with one of them, and correct for the number of comparisons.

    Parameters
    ----------
    models : arrays, shape (S_i, R)
        Error of each seed on each of the same R recordings.
    against
        Index of the one.
    weights : array, shape (R,)
        Steps of each recording.

    Returns
    -------
    list
        One comparison a model, ``None`` in the place of the one itself.
    """
    other = models[against]
    comparisons: list[Comparison | None] = []
    for index, errors in enumerate(models):
        if index == against:
            comparisons.append(None)
            continue
        low, high = paired_interval(errors, other, weights)
        by_recording = errors.mean(axis=0) - other.mean(axis=0)
        difference = float(np.average(by_recording, weights=weights))
        tested = by_recording[by_recording != 0]
        agree = bool(np.sign(tested) @ _ranks(tested) * difference >= 0)
        p = wilcoxon(errors.mean(axis=0), other.mean(axis=0))
        comparisons.append(Comparison(difference, low, high, p, None, len(weights), agree))
    if len(weights) < 2:  # none is tested
        return comparisons
    corrected = iter(holm([comparison.p for comparison in comparisons if comparison and comparison.p is not None]))
    return [comparison and replace(comparison, p_holm=next(corrected)) for comparison in comparisons]
