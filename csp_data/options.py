"""Check options (a number within bounds, a word from a list), and turn them into JSON values."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from csp_data.errors import OptionError

__all__ = ["as_numbers", "check_choice", "check_count", "check_number", "frozen", "is_number", "plain", "unmasked"]


def check_number(
    option: str,
    value: object,
    expected: str,
    *,
    above: float | None = None,
    least: float = -math.inf,
    below: float | None = None,
    most: float = math.inf,
    whole: bool = False,
) -> None:
    """Refuse what is no number, or none within bounds.

    Numpy's numbers count as numbers; true and false, text and NaN do not, nor whole numbers that no float holds
    where any number may stand.

    Parameters
    ----------
    option, value
        Name of the option as the caller wrote it, and what it was given.
    expected
        The bounds in words, for the error.
    above, least
        A value must be greater than the first, and at least the second.
    below, most
        A value must be less than the first, and at most the second. ``below=math.inf`` refuses infinity.
    whole
        Whether it must be an integer. 3.0 is none: beside 3 it would make another recipe of the same choice.

    Raises
    ------
    OptionError
        If it is not.
    """
    number = cast("float", value) if is_number(value, whole=whole) else math.nan
    within = least <= number <= most and (above is None or above < number) and (below is None or number < below)
    if not within:
        raise OptionError(option, value, expected)


def check_count(option: str, value: object) -> None:
    """Refuse what is no whole number of at least 1, as :func:`check_number` does."""
    check_number(option, value, "a whole number of at least 1", least=1, whole=True)


def is_number(value: object, *, whole: bool = False) -> bool:
    """Whether something is a number, or an integer if it must be `whole`; true, false and NaN are none."""
    if isinstance(value, bool) or not isinstance(value, Integral if whole else Real):
        return False
    try:
        return whole or not math.isnan(cast("float", value))
    except OverflowError:  # a whole number of hundreds of digits
        return False


def check_choice(option: str, value: object, allowed: Iterable[object]) -> None:
    """Refuse a value that is none of those allowed; ``None`` among them reads "nothing".

    Raises
    ------
    OptionError
        If it is none of them.
    """
    allowed = tuple(allowed)
    if not any(value is known or (isinstance(value, str) and value == known) for known in allowed):
        named = ", ".join(str(known) for known in allowed if known is not None)
        raise OptionError(option, value, f"one of {named}{', or nothing' if None in allowed else ''}")


def unmasked(values: Any) -> Any:
    """Return numbers of which those that numpy masks are NaN; what is no masked array stays as it is."""
    return np.ma.filled(values.astype(np.float64), np.nan) if isinstance(values, np.ma.MaskedArray) else values


def as_numbers(option: str, values: Any, shape: str, columns: tuple[str, ...] = ()) -> npt.NDArray[np.float64]:
    """Return what holds numbers as an array; of those that numpy masks are NaN.

    Parameters
    ----------
    option, values
        Name of the argument, and what it was given.
    shape
        What is expected, for the error.
    columns
        Names that columns of a table, or entries of one of its rows, must have if they have any: of them, numpy
        would take the order alone.

    Raises
    ------
    OptionError
        If numpy makes no numbers of it, or it has other names.
    """
    if columns and not isinstance(values, np.ndarray):
        axes = getattr(values, "axes", None)  # of pandas; its rows have no columns
        labels = axes[-1] if isinstance(axes, list) and axes else getattr(values, "columns", ())
        names = tuple(labels) if isinstance(labels, Iterable) else ()
        if names != columns and any(isinstance(name, str) for name in names):
            raise OptionError(option, list(names), f"the columns {', '.join(columns)}, in this order")
    try:
        return np.asarray(unmasked(values), dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise OptionError(option, values, f"numbers of {shape}") from error


def plain(value: Any, kind: str = "") -> Any:
    """Return a dataclass of options as JSON has it; where a float is meant 5 is 5.0, so that both are one text."""
    if dataclasses.is_dataclass(value):
        return {
            known.name: plain(getattr(value, known.name), str(known.type)) for known in dataclasses.fields(value)
        }
    if isinstance(value, tuple):
        return [plain(item, kind) for item in value]
    value = value.item() if isinstance(value, np.generic) else value
    return float(value) if "float" in kind and isinstance(value, int) and not isinstance(value, bool) else value


def frozen(value: Any) -> Any:
    """Return a value of JSON, TOML or numpy as a frozen dataclass holds it: lists as tuples."""
    if isinstance(value, np.generic | np.ndarray):
        return frozen(value.tolist())
    return tuple(frozen(item) for item in value) if isinstance(value, list | tuple) else value
