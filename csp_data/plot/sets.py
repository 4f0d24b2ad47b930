"""Draw how the parts of a data set are balanced."""

from __future__ import annotations

from matplotlib.axes import Axes

from csp_data.dataset import Dataset, check_dataset
from csp_data.plot.style import COLOURS, tidy
from csp_data.terminal import count_of

__all__ = ["plot_splits"]


def plot_splits(ax: Axes, dataset: Dataset) -> Axes:
    """Draw the minutes of each part as a bar, one box a group (subject, object, trial), with numbers beside it.

    Parameters
    ----------
    ax
        Axes to draw into.
    dataset
        The data set.
    """
    check_dataset(dataset)
    parts = dataset.parts
    rate = dataset.targets.rate_hz
    longest = max(dataset.split(part).seconds for part in parts) / 60
    for row, part in enumerate(parts):
        split = dataset.split(part)
        minutes: dict[str, float] = {}
        for episode in split.rows:
            length = (episode.target_stop - episode.target_start) / rate / 60
            minutes[episode.group] = minutes.get(episode.group, 0.0) + length
        left = 0.0
        for length in minutes.values():
            ax.barh(row, length, left=left, color=COLOURS[row % len(COLOURS)], edgecolor="white", linewidth=0.8)
            left += length
        groups, episodes = count_of(len(minutes), "group"), count_of(len(split), "episode")
        ax.text(left + 0.01 * longest, row, f"{left:.1f} min, {episodes}, {groups}", va="center", fontsize="small")
    ax.set_yticks(range(len(parts)), parts)
    ax.set_ylim(len(parts) - 0.4, -0.6)
    ax.set_xlim(0, 1.45 * longest)
    ax.set_xlabel("minutes")
    return tidy(ax)
