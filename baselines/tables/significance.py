"""Significance of the differences between models: paired statistics over recordings and seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

__all__ = ["Comparison", "compare", "holm", "paired_bootstrap", "wilcoxon"]

FloatArray = npt.NDArray[np.float64]

RESAMPLES = 10_000
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
        Bootstrap interval of the difference (:func:`paired_bootstrap`).
    p, p_holm
        Of Wilcoxon's test over recordings, and corrected for the number of comparisons; ``None`` where there are
        fewer than two recordings.
    recordings
        How many there are. With n of them no p is below ``2 ** (1 - n)``.
    """

    difference: float
    low: float
    high: float
    p: float | None
    p_holm: float | None
    recordings: int

    @property
    def significant(self) -> bool:
        """Whether the corrected p is below 0.05 and the interval does not hold 0."""
        return self.p_holm is not None and self.p_holm < 1 - LEVEL and not self.low <= 0 <= self.high


def paired_bootstrap(
    first: FloatArray,
    second: FloatArray,
    weights: FloatArray,
    rng: np.random.Generator,
    *,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> tuple[float, float]:
    """Return a percentile bootstrap interval of the difference of two mean errors.

    Recordings are drawn with replacement and are the same for both models (they are paired); seeds are drawn with
    replacement for each model on its own, since seed k of one model has nothing in common with seed k of another.
    Of S seeds it sees (S - 1) / S of their variance: half with two, nothing with one (Efron, Tibshirani, An
    Introduction to the Bootstrap, 1993, chapters 8 and 13).

    Parameters
    ----------
    first, second : arrays, shape (S_1, R) and (S_2, R)
        Error of each seed on each recording.
    weights : array, shape (R,)
        Steps of each recording: long ones weigh more, as in the overall error.
    rng
        Draws.
    resamples, level
        How many draws; share of them within the interval.

    Returns
    -------
    low, high
        Of mean(first) - mean(second), weighted.
    """
    count = len(weights)
    drawn = rng.integers(count, size=(resamples, count))
    share = weights[drawn] / weights[drawn].sum(axis=1, keepdims=True)
    means = []
    for errors in (first, second):
        seeds = rng.integers(len(errors), size=(resamples, len(errors)))
        counts = (seeds[:, :, None] == np.arange(len(errors))).mean(axis=1)
        by_recording = counts @ errors  # (resamples, R)
        means.append((np.take_along_axis(by_recording, drawn, axis=1) * share).sum(axis=1))
    low, high = np.quantile(means[0] - means[1], [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


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
    _, inverse, counts = np.unique(np.abs(difference), return_inverse=True, return_counts=True)
    ranks = (2 * np.cumsum(counts) - counts + 1)[inverse]  # twice, because equal ones share a mean rank
    probability = np.zeros(ranks.sum() + 1)  # of all patterns of signs, by the sum of positive ranks
    probability[0] = 1.0
    for rank in ranks:
        probability[rank:] = (probability[rank:] + probability[:-rank]) / 2
        probability[:rank] /= 2
    positive = ranks[difference > 0].sum()
    return min(1.0, 2 * float(probability[: min(positive, ranks.sum() - positive) + 1].sum()))


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


def compare(
    models: Sequence[FloatArray], against: int, weights: FloatArray, *, seed: int = 0
) -> list[Comparison | None]:
    """Compare every model with one of them, and correct for the number of comparisons.

    Parameters
    ----------
    models : arrays, shape (S_i, R)
        Error of each seed on each of the same R recordings.
    against
        Index of the one.
    weights : array, shape (R,)
        Steps of each recording.
    seed
        Of the bootstrap's draws.

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
        rng = np.random.default_rng(seed)  # the same draws of recordings for every pair
        low, high = paired_bootstrap(errors, other, weights, rng)
        difference = np.average(errors.mean(axis=0) - other.mean(axis=0), weights=weights)
        p = wilcoxon(errors.mean(axis=0), other.mean(axis=0))
        comparisons.append(Comparison(float(difference), low, high, p, None, len(weights)))
    tested = [
        (i, comparison.p)
        for i, comparison in enumerate(comparisons)
        if comparison is not None and comparison.p is not None
    ]
    for (index, _), corrected in zip(tested, holm([p for _, p in tested]), strict=True):
        comparison = comparisons[index]
        if comparison is not None:
            comparisons[index] = replace(comparison, p_holm=corrected)
    return comparisons
