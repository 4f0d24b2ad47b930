"""Input deltas, and the shift and scale of inputs and targets.

The prepared file holds values in physical units. What a model sees is made from them here, the same way for the
statistics, for training and for streaming: :func:`features`, then ``(x - shift) / scale``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import reduce
from typing import Literal

import numpy as np
import numpy.typing as npt

from csp_data.errors import OptionError
from csp_data.options import check_choice, check_number, frozen
from csp_data.recording import FloatArray, equal_fields

__all__ = ["Affine", "Moments", "Normalization", "Scaling", "features", "fit"]


@dataclass(frozen=True)
class Scaling:
    """The rule that turns statistics into a shift and a scale, channel by channel.

    Parameters
    ----------
    shift
        ``"mean"`` or ``"zero"``.
    scale
        ``"std"`` (unbiased), ``"range"`` (maximum minus minimum) or ``"one"``.
    factor
        Multiplies the scale.
    floor
        The statistic, before the factor, is raised to at least this.
    unscaled
        Ranges (first, one past the last) of columns whose scale is 1 whatever the statistic. Columns beyond those
        there are do not count, so that one rule serves with and without input deltas.
    tied
        Pairs (column, other): the column takes the scale of the other one, where there are both.

    Raises
    ------
    OptionError
        If `shift` or `scale` is none of these words, `factor` is not above 0, `floor` below 0, or something
        in `unscaled` or `tied` is no pair.
    """

    shift: Literal["mean", "zero"] = "mean"
    scale: Literal["std", "range", "one"] = "std"
    factor: float = 1.0
    floor: float = 0.0
    unscaled: tuple[tuple[int, int], ...] = ()
    tied: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        check_choice("scaling.shift", self.shift, ("mean", "zero"))
        check_choice("scaling.scale", self.scale, ("std", "range", "one"))
        check_number("scaling.factor", self.factor, "a value above 0", above=0, below=math.inf)
        check_number("scaling.floor", self.floor, "a value of at least 0", least=0, below=math.inf)
        for option in ("unscaled", "tied"):
            pairs = getattr(self, option)
            if not isinstance(pairs, list | tuple) or not all(
                isinstance(pair, list | tuple) and [type(number) for number in pair] == [int, int]
                for pair in pairs
            ):
                raise OptionError(f"scaling.{option}", pairs, "pairs of whole numbers")
            object.__setattr__(self, option, frozen(pairs))  # lists have no hash, which a protocol needs


@dataclass(frozen=True, eq=False)
class Affine:
    """``(x - shift) / scale``, channel by channel.

    Parameters
    ----------
    shift, scale : array, shape (C,)
        In the channels' units. A constant channel has scale 1.
    """

    shift: FloatArray
    scale: FloatArray

    def __eq__(self, other: object) -> bool:
        return equal_fields(self, other) if isinstance(other, Affine) else NotImplemented

    def apply(self, values: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
        """Normalise values of shape (..., C), physical units; the type of `values` stays.

        Raises
        ------
        OptionError
            If the last axis is not the C channels.
        """
        values = self._checked(values)
        if values.ndim < 2 or values.size <= AT_ONCE:
            return np.asarray((values - self.shift) / self.scale, dtype=values.dtype)
        normalized = np.empty_like(values)
        at_once = max(1, AT_ONCE // values.shape[-1])
        for first in range(0, len(values), at_once):
            normalized[first : first + at_once] = (values[first : first + at_once] - self.shift) / self.scale
        return normalized

    def invert(self, values: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
        """Undo :meth:`apply`, with its errors. A tensor of torch does too, on the CPU and detached."""
        values = self._checked(values)
        return np.asarray(values * self.scale + self.shift, dtype=values.dtype)

    def _checked(self, values: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
        values = np.asarray(values)
        wanted = len(self.shift)
        if values.shape[-1:] != (wanted,):
            deltas = 2 * values.shape[-1] == wanted if values.ndim else False
            fix = "Input deltas belong to them: csp_data.normalization.features(inputs, deltas=True)."
            raise OptionError("values", values.shape, f"the shape (..., {wanted})", fix if deltas else "")
        return values


@dataclass(frozen=True)
class Normalization:
    """Shift and scale of a data set.

    Parameters
    ----------
    inputs
        Of the model's features: C channels, or 2 C with input deltas.
    targets
        Of the D target channels.
    """

    inputs: Affine
    targets: Affine


def features(
    inputs: npt.NDArray[np.floating], *, deltas: bool, clip: float | None = None
) -> npt.NDArray[np.floating]:
    """Make a model's features from the inputs of one episode.

    Parameters
    ----------
    inputs : array, shape (T, C)
        Physical units.
    deltas
        Append the change since the sample before (0 for the first), as C more channels.
    clip
        Clip features, deltas included, to plus and minus this value.

    Returns
    -------
    array, shape (T, C) or (T, 2 C)
        Of the type of `inputs`.
    """
    if deltas:
        made = np.empty((len(inputs), 2 * inputs.shape[1]), dtype=inputs.dtype)
        made[:, : inputs.shape[1]] = inputs
        changes = made[:, inputs.shape[1] :]
        changes[:1] = inputs[:1] - inputs[:1]
        np.subtract(inputs[1:], inputs[:-1], out=changes[1:])
        inputs = made
    return inputs if clip is None else np.clip(inputs, -clip, clip)


@dataclass(frozen=True)
class Moments:
    """Statistics of some rows, channel by channel, from which shift and scale are made.

    Parameters
    ----------
    count
        Number of rows.
    mean, squares, low, high : array, shape (C,)
        Mean, sum of the squared deviations from it, minimum and maximum.
    """

    count: int
    mean: FloatArray
    squares: FloatArray
    low: FloatArray
    high: FloatArray

    @classmethod
    def of(cls, rows: npt.NDArray[np.floating]) -> Moments:
        """Compute them from rows of shape (T, C), T at least 1, in float64."""
        low, high = (_over_rows(extreme, rows) for extreme in (np.minimum, np.maximum))
        mean = _over_rows(np.add, rows) / len(rows)
        return cls(len(rows), mean, _over_rows(np.add, rows, lambda block: np.square(block - mean)), low, high)

    def merge(self, other: Moments) -> Moments:
        """Return those of both together (Chan, Golub, LeVeque 1983): a large offset costs no digits."""
        offset, total = other.mean - self.mean, self.count + other.count
        return Moments(
            total,
            self.mean + offset * (other.count / total),
            self.squares + other.squares + np.square(offset) * (self.count * other.count / total),
            np.minimum(self.low, other.low),
            np.maximum(self.high, other.high),
        )

    def affine(self, scaling: Scaling) -> Affine:
        """Return shift and scale under a rule."""
        statistic = {
            # of a constant channel rounding alone would be left: the mean of 0.1, 0.1, 0.1 is none of them
            "std": np.where(self.high > self.low, np.sqrt(self.squares / max(self.count - 1, 1)), 0.0),
            "range": self.high - self.low,
            "one": np.ones_like(self.mean),
        }[scaling.scale]
        scale = np.maximum(statistic, scaling.floor) * scaling.factor
        for first, stop in scaling.unscaled:
            scale[first:stop] = 1.0
        for column, other in scaling.tied:
            if max(column, other) < len(scale):
                scale[column] = scale[other]
        # a constant channel carries nothing and must not divide by zero
        scale = np.where(scale > 0, scale, 1.0)
        return Affine(shift=self.mean if scaling.shift == "mean" else np.zeros_like(self.mean), scale=scale)


FOLD = 16
"""Rows that are reduced side by side: numpy's loops over one row of a few channels are mostly overhead."""


AT_ONCE = 1 << 18
"""Values that are taken to float64 at once: one recording may have a thousand million."""


def _over_rows(
    reduce_: np.ufunc,
    rows: npt.NDArray[np.floating],
    of: Callable[[FloatArray], FloatArray] = lambda block: block,
) -> FloatArray:
    """Reduce `of` rows (T, C) to (C,), in float64 and in an order that does not depend on the blocks."""
    whole = len(rows) // FOLD * FOLD
    lanes = np.empty((0, FOLD * rows.shape[1]))
    at_once = FOLD * max(1, AT_ONCE // lanes.shape[1])
    for first in range(0, whole, at_once):
        block = of(rows[first : min(first + at_once, whole)].astype(np.float64))
        lanes = reduce_.reduce(np.concatenate([lanes, block.reshape(-1, lanes.shape[1])]), axis=0, keepdims=True)
    rest = of(rows[whole:].astype(np.float64))
    return np.asarray(reduce_.reduce(np.concatenate([lanes.reshape(-1, rows.shape[1]), rest]), axis=0))


def fit(blocks: Iterable[npt.NDArray[np.floating]], scaling: Scaling) -> Affine:
    """Compute shift and scale over the rows of all blocks, one block in memory at a time.

    Parameters
    ----------
    blocks : arrays, shape (T_i, C)
        At least one row in all. The result depends on their order only by rounding.
    scaling
        Which statistics become the shift and the scale.

    Returns
    -------
    Affine
        ``shift`` and ``scale``, each (C,); a channel that never changes has the scale 1.

    Raises
    ------
    ValueError
        If there is no row at all.
    """
    moments = [Moments.of(block) for block in blocks if len(block)]
    if not moments:
        raise ValueError("no rows to fit a normalisation on")
    return reduce(Moments.merge, moments).affine(scaling)
