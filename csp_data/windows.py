"""Windows of fixed length over episodes, as index tables: nothing is copied."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from csp_data.errors import OptionError
from csp_data.options import check_number

__all__ = ["Window", "window_table"]

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Window:
    """Cut every episode into windows of one length.

    Parameters
    ----------
    seconds
        Length of a window, a whole number of target steps.
    stride
        From the start of one window to that of the next, in seconds, a whole number of target steps; by default
        the length (no overlap). What does not fill a last window is left out.

    See Also
    --------
    csp_data.Protocol : Checks that both are whole numbers of target steps.
    """

    seconds: float
    stride: float | None = None

    def steps(self, target_hz: float) -> tuple[int, int]:
        """Return length and stride in target steps.

        Raises
        ------
        OptionError
            If one is not a whole, positive number of steps of 1 / `target_hz` seconds.
        """
        length = _whole("window.seconds", self.seconds, target_hz)
        return length, length if self.stride is None else _whole("window.stride", self.stride, target_hz)


def _whole(option: str, seconds: float, target_hz: float) -> int:
    expected = f"a positive multiple of {1 / target_hz:g} s, one target step"
    check_number(option, seconds, expected)
    steps = round(seconds * target_hz) if seconds * target_hz < math.inf else 0
    if steps < 1 or abs(steps - seconds * target_hz) > 1e-6 * steps:
        raise OptionError(option, seconds, expected)
    return steps


def window_table(
    lengths: IntArray, ids: list[str], window: Window, target_hz: float, fix: Callable[[int], str] = lambda _: ""
) -> IntArray:
    """Lay windows over episodes.

    Parameters
    ----------
    lengths : array, shape (E,)
        Target steps of each episode.
    ids
        Id of each episode, for the error.
    window
        Length and stride.
    target_hz
        Target steps per second.
    fix
        Says for the error what helps against an episode of that index.

    Returns
    -------
    array, shape (W, 3)
        Episode index, first target step within the episode, and the step after the last.

    Raises
    ------
    OptionError
        If the window is longer than an episode.
    """
    length, stride = window.steps(target_hz)
    if len(lengths) and lengths.min() < length:
        shortest = int(np.argmin(lengths))
        seconds = lengths[shortest] / target_hz
        raise OptionError(
            "window.seconds",
            window.seconds,
            f"at most {seconds:g} s, the length of episode {ids[shortest]!r}",
            fix(shortest),
        )
    rows = [
        np.stack([np.full_like(starts, episode), starts, starts + length], axis=1)
        for episode, steps in enumerate(lengths)
        for starts in [np.arange(0, steps - length + 1, stride, dtype=np.int64)]
    ]
    return np.concatenate(rows) if rows else np.zeros((0, 3), dtype=np.int64)
