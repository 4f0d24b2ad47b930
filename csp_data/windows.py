"""Windows of fixed length over episodes, as index tables: nothing is copied."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from csp_data.errors import OptionError
from csp_data.options import check_number

if TYPE_CHECKING:
    from csp_data.protocol import Protocol

__all__ = ["Window", "against_short", "window_table"]

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


def against_short(
    protocol: Protocol,
    window: Window,
    seconds: float,
    used_s: float,
    longest_s: Mapping[str, float],
    *,
    piece: bool,
) -> str:
    """Advise on an episode that is shorter than a window.

    ``min_episode_s`` leaves out stretches of a recording before a grid is laid over them; what makes an episode
    shorter after that, it cannot undo.

    Parameters
    ----------
    protocol
        How the episode was made.
    window
        Its windows.
    seconds
        Length of the episode.
    used_s
        Length of all episodes of its recording up to the end of this one.
    longest_s
        Part to the length of its longest episode: to leave out shorter ones may leave none.
    piece
        Whether it is one of those that :class:`~csp_data.Resplit` cuts.
    """
    if piece and protocol.resplit is not None:
        return (
            f"It is a piece that resplit.neighbours cuts: resplit.piece_s={protocol.resplit.piece_s:g} bounds them"
            " all, and the last of an episode is what is left of it. Choose another length of one of both."
        )
    lost = 1 / protocol.target_hz if protocol.grid == "common" else 1.0
    if protocol.max_duration_s is not None and protocol.max_duration_s - used_s < lost - 1e-6:
        return f"max_duration_s={protocol.max_duration_s:g} ends it there. Choose another, or None for all."
    part = min(longest_s, key=lambda name: longest_s[name])
    if longest_s[part] < window.seconds - 1e-6:
        return f"No episode of the {part} part is longer than {longest_s[part]:g} s."
    # targets that lie before their inputs take their look-ahead from a stretch
    least = window.seconds + (protocol.ahead_s if protocol.grid == "common" else 0.0)
    if protocol.min_episode_s >= least:  # followed already: by as much as it lacks
        least = protocol.min_episode_s + window.seconds - seconds
    return f"Shorter episodes can be left out by name: min_episode_s={least:g}."
