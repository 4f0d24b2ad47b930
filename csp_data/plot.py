"""Pictures of episodes (needs matplotlib)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from csp_data.dataset import Dataset, Episode
from csp_data.errors import MissingExtraError, OptionError
from csp_data.signal.lowpass import LowPass

try:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
except ImportError as error:
    raise MissingExtraError("Plotting", "matplotlib", "plot") from error

if TYPE_CHECKING:
    from csp_data.store import Channels

__all__ = ["COLOURS", "plot_channels", "plot_episode"]

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's palette, told apart with any colour vision."""


def plot_episode(
    dataset: Dataset, *, part: str = "train", episode: int = 0, lowpass: LowPass | None = None
) -> Figure:
    """Draw one episode: a panel for the inputs of each unit, and one for the targets.

    Parameters
    ----------
    dataset
        The data set.
    part, episode
        Which episode.
    lowpass
        Draw the inputs as they are (thin) and low-passed (thick).

    Raises
    ------
    OptionError
        If there is no such episode.
    """
    split = dataset.split(part)
    if not -len(split) <= episode < len(split):
        raise OptionError("episode", episode, f"below {len(split)}, the number of episodes in {part}")
    shown = split[episode]
    panels = [*_by_unit(dataset.channels), *_by_unit(dataset.targets)]
    figure = Figure(figsize=(9, 1 + 1.9 * len(panels)), layout="constrained")
    axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    inputs = len(_by_unit(dataset.channels))
    for i, (ax, (unit, columns)) in enumerate(zip(axes, panels, strict=True)):
        if i < inputs:
            plot_channels(ax, shown, dataset.channels, columns, lowpass=lowpass)
        else:
            plot_channels(ax, shown, dataset.targets, columns, targets=True)
        ax.set_ylabel(unit)
    axes[-1].set_xlabel("time in the recording (s)")
    kind = "" if lowpass is None else f", low-pass {lowpass.hz:g} Hz ({lowpass.phase} phase)"
    figure.suptitle(f"{dataset.name} / {part} / {shown.id} ({dataset.kind}){kind}")
    return figure


def plot_channels(
    ax: Axes,
    episode: Episode,
    channels: Channels,
    columns: list[int],
    *,
    targets: bool = False,
    lowpass: LowPass | None = None,
) -> Axes:
    """Draw some channels of an episode over time into given axes.

    Parameters
    ----------
    ax
        Axes to draw into.
    episode
        The episode.
    channels
        Names of its inputs or targets.
    columns
        Which of them.
    targets
        Draw targets, as steps over their chunks, instead of inputs.
    lowpass
        Draw the inputs thin and, over them, low-passed.
    """
    values: Any = episode.targets if targets else episode.inputs
    time = episode.target_time if targets else episode.time
    for colour, column in zip(np.resize(COLOURS, len(columns)), columns, strict=True):
        style: dict[str, Any] = {"color": str(colour), "label": channels.names[column]}
        if targets:
            ax.step(time, values[:, column], where="pre", linewidth=1.2, **style)
        elif lowpass is None:
            ax.plot(time, values[:, column], linewidth=0.8, **style)
        else:
            ax.plot(time, values[:, column], linewidth=0.5, alpha=0.4, color=str(colour))
            smooth = lowpass.apply(values[:, [column]], channels.rate_hz)
            ax.plot(time, smooth[:, 0], linewidth=1.4, **style)
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize="small", frameon=False)
    ax.spines[["top", "right"]].set_visible(False)
    ax.margins(x=0)
    return ax


def _by_unit(channels: Channels) -> list[tuple[str, list[int]]]:
    """Group columns by unit, at most seven to a panel."""
    units: dict[str, list[int]] = {}
    for column, unit in enumerate(channels.units):
        units.setdefault(unit, []).append(column)
    most = len(COLOURS)
    return [(unit, all_[i : i + most]) for unit, all_ in units.items() for i in range(0, len(all_), most)]
