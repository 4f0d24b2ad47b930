"""The report's figures: small panels as SVG, all of one native width, so that text is readable on a phone too.

Colours are those of Okabe and Ito (2008), which people with any of the common colour deficiencies can tell apart;
line styles differ too.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator
from scipy import signal

from baselines.evaluate import EpisodePrediction
from csp_data import LowPass

__all__ = ["Panel", "Style", "errors", "learning", "lowpassed", "paths", "series", "styles"]

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
DASHES = ("-", (0, (5, 1.5)), (0, (1, 1)))
INK, MUTED, FAINT = "#222222", "#6b7280", "#d9dce1"
WIDTH = 4.6
"""Inches; at 72 SVG units an inch a panel is 331 units wide, about a phone's width."""

RC: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "csp-baselines",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.titlecolor": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": FAINT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "lines.linewidth": 1.4,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
}


@dataclass(frozen=True)
class Style:
    """How a model is drawn in every figure."""

    colour: str
    dash: str | tuple[float, tuple[float, ...]]
    marker: str


@dataclass(frozen=True)
class Panel:
    """A figure as inline SVG, with what it shows in words for those who cannot see it."""

    svg: str
    words: str


def styles(models: Sequence[str], references: Sequence[str]) -> dict[str, Style]:
    """Give each model a colour, dash and marker; references are grey."""
    made = {}
    for i, name in enumerate(models):
        made[name] = Style(COLOURS[i % len(COLOURS)], DASHES[i // len(COLOURS) % len(DASHES)], "osD^vP"[i % 6])
    for i, name in enumerate(references):
        made[name] = Style(("#9aa1ab", "#5b616b")[i % 2], (0, (2, 1.5)), "x+"[i % 2])
    return made


def _figure(height: float, rows: int = 1) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    return figure, [figure.add_subplot(rows, 1, i + 1) for i in range(rows)]


def _panel(figure: Figure, words: str) -> Panel:
    text = io.StringIO()
    figure.savefig(text, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    # the page scales panels by their view box, and names fonts itself
    svg = re.sub(r'^<svg([^>]*?) width="[^"]*"', r"<svg\1", svg)
    svg = re.sub(r'^<svg([^>]*?) height="[^"]*"', r"<svg\1", svg)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    return Panel(svg, words)


def lowpassed(values: np.ndarray, time: np.ndarray, name: str, unit: str, rate_hz: float) -> list[Panel]:
    """Show a channel before and after a low-pass of a tenth of its rate, causal and zero-phase, and its spectrum.

    Parameters
    ----------
    values, time : arrays, shape (T,)
        A channel of one episode, and its time in seconds.
    name, unit
        Of the channel.
    rate_hz
        Its rate in Hz.
    """
    cut_off = rate_hz / 10
    filtered = {
        phase: LowPass(hz=cut_off, phase=phase).apply(values[:, None], rate_hz)[:, 0]
        for phase in ("causal", "zero")
    }
    # the stretch with most movement: where a filter's delay and smoothing can be seen
    length = min(len(values), round(3 * rate_hz))
    spread = [values[i : i + length].std() for i in range(0, len(values) - length + 1, max(1, length // 4))]
    first = int(np.argmax(spread)) * max(1, length // 4)
    piece = slice(first, first + length)
    lines = (
        ("as recorded", values, "#9aa1ab"),
        ("causal", filtered["causal"], COLOURS[0]),
        ("zero-phase", filtered["zero"], COLOURS[1]),
    )
    with mpl.rc_context(RC):
        figure, (axes,) = _figure(2.9)
        for label, line, colour in lines:
            axes.plot(
                time[piece],
                line[piece],
                color=colour,
                label=label,
                linewidth=1.1 if label == "as recorded" else 1.6,
            )
        axes.set(title=f"{name} ({unit})", xlabel="time (s)")
        _legend(figure, axes)
        waves = _panel(figure, f"{name} over three seconds, before and after the two low-pass filters.")
        figure, (axes,) = _figure(2.9)
        for label, line, colour in lines:
            hz, power = signal.welch(line, rate_hz, nperseg=min(len(line), 256))
            axes.semilogy(hz[1:], power[1:], color=colour, label=label)
        axes.axvline(cut_off, color=INK, linewidth=0.8, linestyle=":")
        axes.set(title=f"power density (({unit})²/Hz)", xlabel="frequency (Hz)", xlim=(0, rate_hz / 2))
        axes.set_ylim(bottom=axes.get_ylim()[1] * 1e-9)  # below lies rounding
        _legend(figure, axes)
        spectrum = _panel(figure, f"Power spectrum of {name} before and after; the cut-off is at {cut_off:g} Hz.")
    return [waves, spectrum]


def learning(
    curves: Sequence[tuple[str, list[dict[str, float]], int]], style: dict[str, Style], selection: str = "val"
) -> list[Panel]:
    """Show the loss of each epoch on train and on the part that it was chosen on.

    Parameters
    ----------
    curves
        Model, lines of its metrics, and the chosen epoch; a model may come several times, once a seed.
    style
        From :func:`styles`.
    selection
        Name of the part that epochs were chosen on.
    """
    panels = []
    for key, title in (("train_loss", "train"), ("val_loss", f"{selection}, with the chosen epoch")):
        with mpl.rc_context(RC):
            figure, (axes,) = _figure(2.9)
            named: set[str] = set()
            for model, lines, chosen in curves:
                drawn = style[model]
                epochs, losses = [line["epoch"] for line in lines], [line[key] for line in lines]
                axes.semilogy(
                    epochs,
                    losses,
                    color=drawn.colour,
                    linestyle=drawn.dash,
                    label=None if model in named else model,
                )
                named.add(model)
                if key == "val_loss":
                    axes.plot(chosen, losses[chosen - 1], drawn.marker, color=drawn.colour, markersize=6)
            axes.set(title=f"loss on {title}", xlabel="epoch")
            axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            axes.yaxis.set_minor_locator(NullLocator())
            axes.yaxis.set_major_formatter("{x:g}")
            _legend(figure, axes)
            panels.append(_panel(figure, f"Loss on {title} of {', '.join(sorted(named))}, epoch by epoch."))
    return panels


def series(
    shown: dict[str, EpisodePrediction],
    style: dict[str, Style],
    channels: Sequence[str],
    unit: str,
    steps: slice,
) -> list[Panel]:
    """Show predicted and measured targets over time, a panel a channel.

    Parameters
    ----------
    shown
        Model to its prediction of one and the same episode.
    style, channels
        From :func:`styles`; names of the D targets.
    unit
        Of the targets.
    steps
        Which target steps.
    """
    panels = []
    measured = next(iter(shown.values()))
    for d, channel in enumerate(channels):
        with mpl.rc_context(RC):
            figure, (axes,) = _figure(2.7)
            axes.plot(
                measured.time[steps],
                measured.true[steps, d],
                color=INK,
                linewidth=2.2,
                alpha=0.85,
                label="measured",
            )
            for model, prediction in shown.items():
                axes.plot(
                    prediction.time[steps],
                    prediction.pred[steps, d],
                    color=style[model].colour,
                    linestyle=style[model].dash,
                    label=model,
                )
            axes.set(title=f"{channel} ({unit})", xlabel="time (s)")
            _legend(figure, axes)
            panels.append(_panel(figure, f"{channel}, measured and as predicted by {', '.join(shown)}."))
    return panels


def paths(
    shown: dict[str, EpisodePrediction], style: dict[str, Style], step_s: float, unit: str, names: Sequence[str]
) -> list[Panel]:
    """Show targets summed over time: the first two against each other, and how far prediction and truth part.

    Parameters
    ----------
    shown, style
        As for :func:`series`.
    step_s
        Factor from a target to its increment: seconds a step for targets per second, 1 for targets per step.
    unit, names
        Of the sums; of the D targets.
    """
    measured = next(iter(shown.values()))
    true = np.cumsum(measured.true * step_s, axis=0)
    panels = []
    with mpl.rc_context(RC):
        if true.shape[1] > 1:
            figure, (axes,) = _figure(3.6)
            axes.plot(true[:, 0], true[:, 1], color=INK, linewidth=2.2, alpha=0.85, label="measured")
            for model, prediction in shown.items():
                path = np.cumsum(prediction.pred * step_s, axis=0)
                axes.plot(
                    path[:, 0], path[:, 1], color=style[model].colour, linestyle=style[model].dash, label=model
                )
            axes.plot(0, 0, "o", color=INK, markersize=5)
            axes.set_aspect("equal", adjustable="datalim")
            axes.set(title=f"sum of {names[1]} against sum of {names[0]} ({unit})")
            _legend(figure, axes)
            panels.append(
                _panel(figure, f"Sums of {names[0]} and {names[1]}, measured and predicted, against each other.")
            )
        figure, (axes,) = _figure(3.6 if panels else 2.9)
        for model, prediction in shown.items():
            gap = np.linalg.norm(np.cumsum(prediction.pred * step_s, axis=0) - true, axis=1)
            axes.plot(prediction.time, gap, color=style[model].colour, linestyle=style[model].dash, label=model)
        axes.set(title=f"distance from the measured sum ({unit})", xlabel="time (s)", ylim=(0, None))
        _legend(figure, axes)
        panels.append(
            _panel(figure, f"Distance between predicted and measured sums of {', '.join(shown)} over time.")
        )
    return panels


def errors(values: dict[str, dict[str, float]], style: dict[str, Style], unit: str) -> Panel:
    """Show the error of each model on each test episode.

    Parameters
    ----------
    values
        Model to episode to RMSE.
    style
        From :func:`styles`.
    unit
        Of the error.
    """
    episodes = list(next(iter(values.values())))
    with mpl.rc_context(RC):
        figure, (axes,) = _figure(1.2 + 0.48 * len(episodes))
        for i, (model, by_episode) in enumerate(values.items()):
            drawn = style[model]
            shift = 0.08 * (i - (len(values) - 1) / 2)  # so that equal errors do not hide each other
            axes.plot(
                [by_episode[e] for e in episodes],
                [row + shift for row in range(len(episodes))],
                drawn.marker,
                color=drawn.colour,
                label=model,
                markersize=6.5,
            )
        for row, episode in enumerate(episodes):
            axes.text(0, row - 0.42, episode.replace("_", " "), color=INK, fontsize=8, va="center")
        axes.margins(x=0.08)
        axes.set(xlabel=f"RMSE ({unit})", xlim=(0, None), ylim=(len(episodes) - 0.5, -0.75), yticks=[])
        axes.grid(axis="y", visible=False)
        _legend(figure, axes)
        return _panel(figure, f"RMSE of {', '.join(values)} on each of {len(episodes)} test episodes.")


def _legend(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    columns = 2 if len(labels) == 4 or max(map(len, labels)) > 16 else 3
    figure.legend(
        handles,
        labels,
        loc="outside lower left",
        ncols=columns,
        labelcolor=INK,
        handlelength=1.6,
        columnspacing=1.2,
    )
