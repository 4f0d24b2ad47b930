"""Whole figures: what ``csp-data plot`` writes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
from matplotlib.axes import Axes

from csp_data.card import TargetCard
from csp_data.dataset import Dataset, Episode, check_dataset
from csp_data.errors import OptionError, UnknownNameError
from csp_data.options import is_number
from csp_data.plot.filters import plot_delay, plot_gain
from csp_data.plot.raw import plot_clock, plot_coverage, plot_stream
from csp_data.plot.results import plot_prediction, plot_trajectory
from csp_data.plot.sets import plot_splits
from csp_data.plot.signals import by_unit, plot_channels, plot_lowpass, plot_spectra
from csp_data.plot.style import TIME, Figure, from_start, legend_below, styles
from csp_data.recording import FloatArray, Recording, Stream
from csp_data.signal.lowpass import LowPass
from csp_data.store import Channels

__all__ = ["FIGURES", "columns_of", "draw", "recording_figure", "usual_lowpass"]


@dataclass(frozen=True)
class _View:
    """What to draw of a data set."""

    dataset: Dataset
    episode: Episode
    lowpass: LowPass | None
    predictions: Mapping[str, FloatArray]
    columns: tuple[int, ...]
    """Of the inputs that are drawn."""

    def inputs(self) -> list[tuple[str, list[int]]]:
        """Return the inputs that are drawn, a panel for each unit."""
        panels = [
            (unit, [c for c in columns if c in self.columns]) for unit, columns in by_unit(self.dataset.channels)
        ]
        return [(unit, columns) for unit, columns in panels if columns]

    def title(self, more: str = "") -> str:
        """Return the name of the episode, with what kind of data it is."""
        dataset, episode = self.dataset, self.episode
        return f"{dataset.name} / {episode.split} / {episode.id} ({dataset.kind}){more}"


def _stack(count: int, height: float = 1.9) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(9, 1 + height * count), layout="constrained")
    return figure, list(figure.subplots(count, 1, squeeze=False)[:, 0])


def _label_fits(ax: Axes, inches: float) -> None:
    """Put a label that is longer than its y axis above it, where it runs into no other."""
    label = ax.get_ylabel()
    if 0.085 * len(label) > inches:  # what a letter takes at the usual size
        ax.set_title(label, loc="left", fontsize="medium")
        ax.set_ylabel("")


def _share_time(axes: list[Axes]) -> None:
    for ax in axes[:-1]:
        ax.sharex(axes[-1])
        ax.tick_params(labelbottom=False)
        ax.set_xlabel("")
    axes[-1].set_xlabel(TIME)


def _episode(view: _View) -> Figure:
    """Draw inputs, a panel for each unit, and targets."""
    dataset, lowpass = view.dataset, view.lowpass
    inputs, targets = view.inputs(), by_unit(dataset.targets)
    figure, axes = _stack(len(inputs) + len(targets))
    for ax, (_, columns) in zip(axes, inputs, strict=False):
        plot_channels(ax, view.episode, dataset.channels, columns, lowpass=lowpass)
    for ax, (_, columns) in zip(axes[len(inputs) :], targets, strict=True):
        plot_channels(ax, view.episode, dataset.targets, columns, targets=True)
    _share_time(axes)
    kind = "" if lowpass is None else f", low-pass {lowpass.hz:g} Hz ({lowpass.phase} phase)"
    figure.suptitle(view.title(kind), fontsize="medium")
    return figure


def _spectra(view: _View) -> Figure:
    """Draw the power spectral density of the inputs, a panel for each unit; that of a single one filtered, too."""
    panels = view.inputs()
    filters = [] if view.lowpass is None or len(view.columns) > 1 else [view.lowpass]
    figure, axes = _stack(len(panels), 2.4)
    for ax, (_, columns) in zip(axes, panels, strict=True):
        plot_spectra(ax, view.episode, view.dataset.channels, columns, *filters)
    figure.suptitle(view.title(), fontsize="medium")
    return figure


def usual_lowpass(channels: Channels) -> LowPass:
    """Return the filter that the figure of a low-pass shows if none is given."""
    return LowPass(hz=channels.rate_hz / 10)


def _lowpass(view: _View) -> Figure:
    """Draw a low-pass: the input that varies most (of those asked for) before and after it, its gain and delay."""
    channels = view.dataset.channels
    lowpass = view.lowpass or usual_lowpass(channels)
    columns = list(view.columns)
    most = columns[int(np.argmax(np.std(view.episode.inputs[:, columns], axis=0)))]
    figure = Figure(figsize=(9, 5.5), layout="constrained")
    grid = figure.add_gridspec(2, 2)
    waves = plot_lowpass(figure.add_subplot(grid[0, :]), view.episode, channels, most, lowpass)
    _label_fits(waves, 2.0)
    plot_gain(figure.add_subplot(grid[1, 0]), lowpass, channels.rate_hz)
    plot_delay(figure.add_subplot(grid[1, 1]), lowpass, channels.rate_hz)
    more = f"\nlow-pass {lowpass.hz:g} Hz, order {lowpass.order}, {lowpass.phase} phase"
    figure.suptitle(view.title(more), fontsize="medium")
    return figure


def _splits(view: _View) -> Figure:
    """Draw minutes, episodes and groups of each part."""
    dataset = view.dataset
    figure, (ax,) = _stack(1, 0.3 + 0.5 * len(dataset.parts))
    plot_splits(ax, dataset)
    figure.suptitle(f"{dataset.name} ({dataset.kind}), protocol {dataset.protocol.name}")
    return figure


def _targets(view: _View) -> Figure:
    """Draw targets as measured and predicted, a panel each."""
    targets = view.dataset.targets
    figure, axes = _stack(len(targets.names), 1.5)
    for column, ax in enumerate(axes):
        values = view.episode.targets[:, column]
        plot_prediction(
            ax,
            view.episode.target_time,
            values,
            {model: predicted[:, column] for model, predicted in view.predictions.items()},
            name=targets.names[column],
            unit=targets.units[column],
        )
        _label_fits(ax, 1.4)
        if own := ax.get_legend():
            own.remove()
    legend_below(figure, axes[0])  # once: names of runs are long, and took a third of the width
    _share_time(axes)
    figure.suptitle(view.title(), fontsize="medium")
    return figure


def _flat_paths(target: TargetCard) -> list[list[str]]:
    """Return the channels of each path in at least a plane that a target adds up to."""
    return [channels for path in target.paths if len(channels := path.split()) > 1]


def _trajectory(view: _View) -> Figure:
    """Draw the paths that the targets add up to, as measured and predicted."""
    dataset = view.dataset
    card = dataset.card.target(dataset.protocol.target)
    flat = _flat_paths(card)
    if not flat:
        others = [target.name for target in dataset.card.targets if _flat_paths(target)]
        needed = f"a target that adds up to a path; {card.name!r} of {dataset.name} does not"
        raise OptionError("figure", "trajectory", needed, f"Choose target={others[0]!r}." if others else "")
    per_second = card.increment and dataset.protocol.target_per == "second"
    figure, axes = _stack(len(flat), 4.5)
    for ax, (x, y, *_) in zip(axes, flat, strict=True):
        columns = [dataset.targets.names.index(x), dataset.targets.names.index(y)]
        plot_trajectory(
            ax,
            view.episode.targets[:, columns],
            {model: predicted[:, columns] for model, predicted in view.predictions.items()},
            step=1 / dataset.targets.rate_hz if per_second else 1.0,
            names=(f"sum of {x}", f"sum of {y}"),
            unit=dataset.targets.units[columns[0]].removesuffix("/s" if per_second else ""),
        )
    figure.suptitle(view.title(), fontsize="medium")
    return figure


FIGURES: dict[str, Callable[[_View], Figure]] = {
    "episode": _episode,
    "lowpass": _lowpass,
    "spectra": _spectra,
    "splits": _splits,
    "targets": _targets,
    "trajectory": _trajectory,
}
"""Figures of a prepared data set, by name."""


def draw(
    dataset: Dataset,
    figure: str = "episode",
    *,
    part: str = "train",
    episode: int | str = 0,
    lowpass: LowPass | None = None,
    predictions: Mapping[str, FloatArray] | None = None,
    channels: Sequence[str] = (),
) -> Figure:
    """Draw a figure of a data set.

    Parameters
    ----------
    dataset
        The data set.
    figure
        ``"episode"`` (inputs and targets), ``"lowpass"`` (before and after, gain and delay), ``"spectra"``,
        ``"splits"``, ``"targets"`` or ``"trajectory"`` (the path that the targets add up to).
    part, episode
        Which episode: the number or the id of one of a part.
    lowpass
        A filter over the inputs as they are in the file; for ``"lowpass"`` a tenth of the rate by default.
    predictions
        Model to its prediction of the episode's targets (N, D), drawn beside them in ``"targets"`` and
        ``"trajectory"``.
    channels
        Inputs to draw in ``"episode"``, ``"spectra"`` (one alone also filtered) and ``"lowpass"`` (that of them
        which varies most); all of them by default.

    Raises
    ------
    UnknownNameError
        If there is no such figure, part, channel or id.
    OptionError
        If there is no episode of that number, or it cannot be drawn so; if the data set is none, but its name.
    """
    check_dataset(dataset)
    if figure not in FIGURES:
        raise UnknownNameError("figure", figure, FIGURES)
    split = dataset.split(part)
    if not isinstance(episode, str):
        if not is_number(episode, whole=True):
            raise OptionError("episode", episode, "the id or the number of an episode")
        if not -len(split) <= episode < len(split):
            raise OptionError("episode", episode, f"below {len(split)}, the number of episodes in {part}")
    if not isinstance(cast("object", lowpass), LowPass | None):
        raise OptionError("lowpass", lowpass, "a csp_data.LowPass")
    columns = columns_of(dataset.channels, channels)
    chosen = split[episode]
    return FIGURES[figure](_View(dataset, chosen, lowpass, _as_arrays(predictions, chosen.targets.shape), columns))


def _as_arrays(predictions: Mapping[str, FloatArray] | None, shape: tuple[int, ...]) -> dict[str, FloatArray]:
    if not isinstance(cast("object", predictions), Mapping | None):
        raise OptionError("predictions", type(predictions).__name__, "a dict from model to its prediction")
    arrays = {str(model): np.asarray(predicted) for model, predicted in (predictions or {}).items()}
    for model, predicted in arrays.items():
        if predicted.shape != shape:
            needed = f"the shape of the episode's targets, {shape}, for {model}"
            raise OptionError("predictions", predicted.shape, needed)
    return arrays


def columns_of(channels: Channels, names: Sequence[str]) -> tuple[int, ...]:
    """Return the columns of some channels in the order of the file; of all where none is named."""
    _check_channels(names, channels.names)
    return tuple(i for i, name in enumerate(channels.names) if not names or name in names)


def _check_channels(names: Sequence[str], known: Collection[str]) -> None:
    if isinstance(names, str):
        raise OptionError("channels", names, "a list of names of channels")
    for name in names:
        if name not in known:
            raise UnknownNameError("channel", name, known)


def _apart(streams: Mapping[str, Stream]) -> bool:
    """Whether the streams have no time in common, as when their clocks have other origins."""
    spans = [stream.span for stream in streams.values() if len(stream.time)]
    return bool(spans) and max(start for start, _ in spans) >= min(stop for _, stop in spans)


def _with_channels(streams: Mapping[str, Stream], names: Sequence[str]) -> dict[str, Stream]:
    """Return the streams that have some channels, with these alone; all where none is named."""
    _check_channels(names, dict.fromkeys(channel for stream in streams.values() for channel in stream.channels))
    chosen = {}
    for key, stream in streams.items():
        columns = [i for i, name in enumerate(stream.channels) if not names or name in names]
        if columns:
            named = tuple(stream.channels[i] for i in columns)
            chosen[key] = replace(stream, values=stream.values[:, columns], channels=named)
    return chosen


def recording_figure(
    recording: Recording, *, clocks: bool = False, kind: str = "", channels: Sequence[str] = ()
) -> Figure:
    """Draw a raw recording: its streams with their gaps, or how its clocks are aligned and how they jitter.

    Parameters
    ----------
    recording
        As :func:`csp_data.read_recording` gives it.
    clocks
        Draw from when to when each stream has samples, and the time from each sample to the next.
    kind
        What the recordings are (``"real recordings"``, ``"simulated"``), for the title.
    channels
        Names of those to draw, of inputs and references; by default all streams with at most seven channels each.

    Raises
    ------
    UnknownNameError
        If no stream has a channel of that name.
    OptionError
        If the recording is none, but its id, or the data set.
    """
    if not isinstance(cast("object", recording), Recording):
        raise OptionError("recording", recording, "a recording: csp_data.read_recording(...)")
    start = min((float(stream.time[0]) for stream in recording.streams.values() if len(stream.time)), default=0.0)
    streams = {
        name: replace(stream, time=from_start(stream.time, start))
        for name, stream in _with_channels(recording.streams, channels).items()
    }
    active = recording.active and tuple(from_start(np.array(recording.active), start).tolist())
    figure, axes = _stack(len(streams) + clocks)
    apart = _apart(streams)
    if clocks:
        plot_coverage(axes[0], streams)
    drawn = zip(axes[int(clocks) :], streams.items(), styles(len(streams)), strict=True)
    for ax, (name, stream), style in drawn:
        if clocks:
            plot_clock(ax, stream, name=name, colour=style["color"])
        else:
            plot_stream(ax, stream, active=None if apart else active)
            ax.set_title(f"{name} ({stream.role})", loc="left", fontsize="small")
    if apart:  # on one axis, each would be a line at its end
        for ax in axes:
            ax.set_xlabel("time (s); no time is common to all streams, so each panel has its own axis")
    else:
        _share_time(axes)
    figure.suptitle(f"{recording.id}, raw{f' ({kind})' if kind else ''}", fontsize="medium")
    return figure
