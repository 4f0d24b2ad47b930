"""The physical meaning of target channels: SI units, paths they add up to, the published table's unit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from csp_data import Dataset
from csp_data.card import TargetCard
from csp_data.store import Channels

__all__ = ["Quantities", "si"]

SI: dict[str, tuple[float, str]] = {
    "m": (1.0, "m"),
    "cm": (1e-2, "m"),
    "mm": (1e-3, "m"),
    "in": (0.0254, "m"),
    "rad": (1.0, "rad"),
    "deg": (np.pi / 180, "rad"),
}
"""Unit to its SI unit and the factor to it; another unit is its own."""


def si(unit: str) -> tuple[float, str]:
    """Return the factor to the SI unit of a unit, and that unit; a trailing ``/s`` stays.

    Examples
    --------
    >>> si("in/s")
    (0.0254, 'm/s')
    """
    base, per, second = unit.partition("/s")
    factor, name = SI.get(base, (1.0, base))
    return factor, name + per + second


@dataclass(frozen=True)
class Quantities:
    """The D target channels of a data set.

    Parameters
    ----------
    channels, units
        Names, and units as the prepared file holds them.
    rate_hz
        Target steps per second.
    increment
        Channels are changes over a step; the file holds them per step or per second, as the units say.
    paths
        Indices of channels along fixed axes which, summed, are one path; one tuple a path.
    published_unit
        Unit of the published table of results, ``None`` where it states none.
    """

    channels: tuple[str, ...]
    units: tuple[str, ...]
    rate_hz: float
    increment: bool = False
    paths: tuple[tuple[int, ...], ...] = ()
    published_unit: str | None = None

    @classmethod
    def of(cls, dataset: Dataset, published_unit: str | None = None) -> Quantities:
        """Read from a data set's file and its card what the targets are."""
        return cls.of_target(dataset.card.target(dataset.protocol.target), dataset.targets, published_unit)

    @classmethod
    def of_target(cls, card: TargetCard, channels: Channels, published_unit: str | None = None) -> Quantities:
        """Read from the card of a target, and what a prepared file says of its channels."""
        return cls(
            channels=channels.names,
            units=channels.units,
            rate_hz=channels.rate_hz,
            increment=card.increment,
            paths=tuple(tuple(channels.names.index(name) for name in path.split()) for path in card.paths),
            published_unit=published_unit,
        )

    @property
    def si_units(self) -> tuple[str, ...]:
        """SI unit of each channel; of increments per second."""
        return tuple(
            name + ("/s" if self.increment and not name.endswith("/s") else "")
            for _, name in (si(unit) for unit in self.units)
        )

    @property
    def si_factors(self) -> npt.NDArray[np.float64]:
        """Factors (D,) from the file's units to :attr:`si_units`."""
        return np.array(
            [
                si(unit)[0] * (self.rate_hz if self.increment and not unit.endswith("/s") else 1.0)
                for unit in self.units
            ]
        )

    @property
    def published_factors(self) -> npt.NDArray[np.float64] | None:
        """Factors (D,) from the file's units to the unit of the published table.

        The mapping is **inferred**: the published code reports squared metres (inches for one set, converted) per
        step of 0.2 s and never converts to a time or to centimetres, while the table's header says cm/s or m/s. We
        take the table at its word, so that an increment per step is divided by the step. ``None`` where the table
        states no unit, or where it cannot be had from the channels.
        """
        if self.published_unit is None:
            return None
        factor, unit = si(self.published_unit)
        return self.si_factors / factor if set(self.si_units) == {unit} else None

    @property
    def step_s(self) -> float:
        """Seconds of a step: the factor from SI velocities to increments."""
        return 1 / self.rate_hz
