"""Format numbers for people: how many digits, which power of ten, which unit."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

__all__ = [
    "RAISED",
    "Scale",
    "bracketed",
    "mean_and_std",
    "number",
    "p_value",
    "places",
    "signed",
    "spread",
    "squared",
]

DIGITS = 6
"""Digits of a number at most, where not all of them stand before the point."""

SIGNIFICANT = 0.05
"""What a p is compared with."""

RAISED = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-", strict=True))
"""Raised characters to plain ones."""


@dataclass(frozen=True)
class Scale:
    """The power of ten that a column of numbers is given in: as in print, its head says it once.

    Numbers of 0.01 and above stand as they are; five places of zeros before each number of a column, or another
    power of ten behind each, cannot be compared at a glance.

    Parameters
    ----------
    exponent
        Of ten.
    """

    exponent: int = 0

    @classmethod
    def of(cls, values: Iterable[float]) -> Scale:
        """Return the scale of a column: 1, or that of its largest number where that is below 0.01."""
        largest = max((abs(value) for value in values if math.isfinite(value)), default=0.0)
        exponent = _exponent(largest, 4)
        return cls(exponent) if exponent < -2 else cls()

    @property
    def label(self) -> str:
        """What the head of the column says: nothing, or `` in 10⁻⁵``, before a unit if there is one."""
        raised = {plain: high for high, plain in RAISED.items()}
        return f" in 10{''.join(raised[c] for c in str(self.exponent))}" if self.exponent else ""

    def __call__(self, value: float) -> float:
        """Return a value in this scale."""
        return value * 10**-self.exponent

    def number(self, value: float) -> str:
        """Return a number as :func:`number`: four digits of the largest of the column where that is scaled."""
        return number(self(value), 3 if self.exponent else 4)

    def spread(self, mean: float, std: float | None) -> str:
        """Return a mean with its standard deviation as :func:`spread`."""
        return self.number(mean) if std is None else spread(self(mean), self(std))


def spread(mean: float, std: float | None) -> str:
    """Return a mean with its standard deviation, where there is one: of two digits, the mean to the same place.

    Where both are below 0.0001 both have the same power of ten, as such a number has alone.
    """
    if std is None:
        return number(mean)
    decimals = places(std, mean)
    if not (math.isfinite(std) and round(std, decimals)):
        return f"{number(mean)} ± {std:.1g}"
    exponent = _exponent(max(abs(mean), std), 3)
    if exponent >= -4:
        return f"{mean:.{decimals}f} ± {std:.{decimals}f}"
    scaled = (f"{round(value, decimals) * 10**-exponent:.{decimals + exponent}f}" for value in (mean, std))
    return " ± ".join(f"{digits}e{exponent:03d}" for digits in scaled)


def mean_and_std(values: Sequence[float]) -> tuple[float, float | None]:
    """Return a mean and the standard deviation (n - 1); ``None`` for one value, which has none."""
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None


def number(value: float, decimals: int = 4) -> str:
    """Return an error with so many decimals, three digits where those show hardly any, at most :data:`DIGITS`."""
    if value and abs(value) < 10 ** (2 - decimals):
        return f"{value:.3g}"
    return f"{value:.{min(decimals, _decimals_for(value, DIGITS))}f}"


def signed(value: float, decimals: int) -> str:
    """Return a difference with its sign and so many decimals; what is rounded to 0 is no negative one.

    Examples
    --------
    >>> signed(-0.24, 1), signed(-0.04, 1)
    ('-0.2', '+0.0')
    """
    return f"{round(value, decimals) + 0.0:+.{decimals}f}"


def p_value(p: float) -> str:
    """Return a p with two digits; of one below 0.05 with as many as show that it is.

    Examples
    --------
    >>> p_value(0.0312), p_value(0.04996), p_value(0.0504)
    ('0.031', '0.04996', '0.05')
    """
    texts = (f"{p:.{digits}g}" for digits in range(2, 18))
    return next(text for text in texts if (float(text) < SIGNIFICANT) == (p < SIGNIFICANT))


def places(uncertainty: float, value: float) -> int:
    """Return the decimals of a value and its uncertainty: two digits of the uncertainty, :data:`DIGITS` in all."""
    return min(_decimals_for(uncertainty, 2), _decimals_for(value, DIGITS))


def bracketed(unit: str) -> str:
    """Return a unit in brackets after a space, `` (m/s)``; nothing for a number without one."""
    return "" if unit in ("", "1") else f" ({unit})"


def squared(unit: str) -> str:
    """Return the unit of a square: ``m²``, ``(m/s)²``; nothing for a number without one.

    Examples
    --------
    >>> squared("m"), squared("m/s")
    ('m²', '(m/s)²')
    """
    if unit in ("", "1"):
        return ""
    return f"{unit}²" if unit.isalpha() else f"({unit})²"


def _decimals_for(value: float, digits: int) -> int:
    """Return the decimals, 0 or more, of the last of so many digits of a number once it is rounded to them."""
    return max(0, digits - 1 - _exponent(value, digits))


def _exponent(value: float, digits: int) -> int:
    """Return the power of ten of a number's first digit once it is rounded to so many; 0 for inf and nan."""
    return int(f"{value:.{digits - 1}e}".partition("e")[2] or 0)
