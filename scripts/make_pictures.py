"""Draw the pictures of the explanation pages: python scripts/make_pictures.py [FOLDER].

Curves are computed by the code that trains and filters, on the recordings that ship; what is written beside the
pictures stands on the pages. They are drawn anew whenever the pages are built, and ``tests/docs/test_pictures.py``
checks the curves. Narrow, so that they can be read on a phone.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from torch.nn.functional import softplus

import csp_data
from baselines.layers.s4 import S4Config, S4Layer
from baselines.scan.reference import scan
from csp_data import LowPass
from csp_data.plot.style import COLOURS, GREYS, INK, tidy, to_svg

BLUE, RED, GREEN, PINK, *_ = COLOURS
WIDTH = 4.4
FONT = {"font.size": 10, "axes.titlesize": 10, "axes.titlelocation": "left", "svg.fonttype": "none"}
HZ, CHUNK = 50, 10

Curves = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Picture:
    """A figure, and the curves that it shows."""

    figure: Figure
    curves: Curves


@contextmanager
def _canvas(rows: int, height: float, **keywords: Any) -> Iterator[tuple[Figure, list[Axes]]]:
    with mpl.rc_context(FONT):
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        yield figure, [tidy(ax) for ax in np.atleast_1d(figure.subplots(rows, 1, **keywords))]


def _recording(start: int, stop: int) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Return inputs and targets of chunks `start` to `stop` of the first training recording that ships."""
    sample = csp_data.load("sample")
    episode = sample.train[0]
    rows = slice(start * CHUNK, stop * CHUNK)
    return episode.inputs[rows].astype(float), episode.targets[start:stop].astype(float), sample.channels.names


def hiss() -> Picture:
    """Draw the two levels over three chunks of a real recording."""
    chunks = 3
    inputs, targets, _ = _recording(60, 60 + chunks)
    when = np.arange(1, len(inputs) + 1)
    ends = np.arange(1, chunks + 1) * CHUNK
    with _canvas(3, 5.2, sharex=True, height_ratios=(1.2, 2, 1)) as (figure, (top, middle, bottom)):
        for i in range(chunks):
            for ax in (top, middle, bottom):
                ax.axvspan(i * CHUNK + 0.5, (i + 1) * CHUNK + 0.5, color=GREYS[0], alpha=0.25 * (1 - i % 2), lw=0)
        for values, colour, marker in zip(inputs[:, :3].T, (BLUE, RED, GREEN), "osD", strict=True):
            top.plot(when, values, color=colour, marker=marker, markersize=2.5, linewidth=1)
        top.set(title="inputs at 50 Hz: accelerometer x ●, y ■, z ◆", ylabel="m/s²")
        _levels(middle, chunks)
        for values, colour, marker in zip(targets.T, (BLUE, RED, GREEN), "osD", strict=True):
            bottom.plot(ends, values, color=colour, marker=marker, markersize=4, linewidth=0)
        bottom.set(
            title="targets at 5 Hz: velocity x ●, y ■, z ◆",
            ylabel="m/s",
            xlabel="sample",
            xlim=(0.5, when[-1] + 0.5),
        )
        bottom.set_xticks(ends)
        bottom.margins(y=0.2)
        figure.align_ylabels()
    return Picture(figure, {"inputs": inputs, "targets": targets})


def _levels(ax: Axes, chunks: int) -> None:
    """Draw boxes and arrows of both levels, over samples 1 to 10 x `chunks`."""
    ax.set(ylim=(0, 10), yticks=[])
    ax.spines[["left", "bottom"]].set_visible(False)
    ax.tick_params(bottom=False)
    arrow = {"arrowstyle": "-|>", "color": INK, "linewidth": 1, "shrinkA": 0, "shrinkB": 0}
    for i in range(chunks):
        first, last = i * CHUNK + 1, (i + 1) * CHUNK
        _box(ax, first, 6.2, last - first, 1.9, "S4", BLUE)
        for sample in range(first, last + 1):
            ax.annotate("", (sample, 8.1), (sample, 9.9), arrowprops={**arrow, "linewidth": 0.5})
        _box(ax, last - 5, 2.0, 5, 1.9, "Mamba", RED)
        ax.annotate("", (last - 0.5, 3.9), (last - 0.5, 6.2), arrowprops=arrow)
        ax.text(last - 1, 5.0, f"$f_{i + 1}$", ha="right", va="center")
        ax.annotate("", (last - 0.5, 0.1), (last - 0.5, 2.0), arrowprops=arrow)
        ax.text(last - 1, 1.0, f"$y_{i + 1}$", ha="right", va="center")
        if i + 1 < chunks:
            ax.annotate("", (last + CHUNK - 5, 2.95), (last, 2.95), arrowprops=arrow)
    ax.text(0.8, 5.05, "begins anew\nevery chunk", ha="left", va="center", fontsize="small")
    ax.text(0.8, 1.0, "runs on", ha="left", va="center", fontsize="small")


def _box(ax: Axes, x: float, y: float, width: float, height: float, text: str, colour: str) -> None:
    style = {
        "boxstyle": "round,pad=0,rounding_size=0.3",
        "facecolor": "white",
        "edgecolor": colour,
        "linewidth": 1.5,
    }
    ax.add_patch(FancyBboxPatch((x, y), width, height, **style))
    ax.text(x + width / 2, y + height / 2, text, ha="center", va="center")


def s4() -> Picture:
    """Draw three kernels of an untrained layer, and one channel's output computed both ways."""
    inputs, _, channels = _recording(40, 70)
    torch.manual_seed(0)
    layer = S4Layer(S4Config(dim=64)).double()
    steps = torch.exp(layer.log_dt).flatten()
    shown = steps.argsort()[[20, 42, 60]].tolist()
    channel = shown[1]
    signal = inputs[:, 0] - inputs[0, 0]
    u = torch.zeros(1, len(signal), 64, dtype=torch.float64)
    u[0, :, channel] = torch.from_numpy(signal)
    with torch.no_grad():
        kernels = layer.kernel(len(signal)).numpy()
        convolved = layer(u)[0, :, channel].numpy()
        coefficients, state = layer.coefficients(), torch.zeros(1, 64, 32, dtype=torch.complex128)
        stepped = []
        for u_t in u.unbind(1):
            y, state = layer.step(u_t, state, coefficients)
            stepped.append(float(y[0, channel]))
    recurrent, seconds = np.array(stepped), np.arange(len(signal)) / HZ
    with _canvas(3, 5.4) as (figure, (top, middle, bottom)):
        for i, colour, dash in zip(shown, (BLUE, RED, GREEN), ("-", "--", ":"), strict=True):
            scaled = kernels[i] / abs(kernels[i]).max()
            top.plot(seconds, scaled, color=colour, linestyle=dash, label=f"Δ = {steps[i]:.3f}")
        top.set(title="kernels K of three channels, scaled to 1", xlabel="seconds back", xlim=(0, 2))
        top.legend(frameon=False, fontsize="small", loc="upper center", bbox_to_anchor=(0.5, -0.42), ncols=3)
        middle.plot(seconds, signal, color=INK, linewidth=1)
        middle.set(title=f"input u: {channels[0]}, less its first value", ylabel="m/s²")
        bottom.plot(seconds, convolved, color=BLUE, linewidth=2.5, alpha=0.5, label="K * u, all at once (FFT)")
        bottom.plot(
            seconds[::8], recurrent[::8], "o", color=RED, markersize=3.5, label="x ← Āx + B̄u, sample by sample"
        )
        bottom.set(title="output y, computed twice", xlabel="seconds")
        bottom.legend(frameon=False, fontsize="small", loc="upper center", bbox_to_anchor=(0.5, -0.35))
    curves = {"kernels": kernels[shown], "convolved": convolved, "recurrent": recurrent, "signal": signal}
    return Picture(figure, curves)


def mamba() -> Picture:
    """Draw a selective scan that holds the marked samples, with weights set by hand, beside one that cannot."""
    rng = np.random.default_rng(3)
    length, marked = 80, np.array([6, 27, 49, 66])
    values = rng.uniform(-1, 1, length)
    mark = np.isin(np.arange(length), marked)
    pre = torch.from_numpy(np.where(mark, 5.0, -9.0))  # what a learned projection of the input would give
    delta = softplus(pre)

    def scanned(steps: torch.Tensor) -> np.ndarray:
        """Run one channel with one state, A = -1 and C = 1; B lets a large step take u as it is."""
        shape = (1, length, 1)
        u = torch.from_numpy(values).reshape(shape)
        b = (-torch.expm1(-steps) / steps).reshape(shape)  # exact for a held input
        ones = torch.ones(shape, dtype=torch.float64)
        minus = -torch.ones(1, 1, dtype=torch.float64)
        return scan(u, steps.reshape(shape), minus, b, ones, None).numpy().ravel()

    chosen, fixed = scanned(delta), scanned(torch.full((length,), 0.3, dtype=torch.float64))
    at = np.arange(length)
    with _canvas(3, 5.4, sharex=True) as (figure, (top, middle, bottom)):
        top.vlines(at[~mark], 0, values[~mark], color=GREYS[0], linewidth=1.5)
        top.vlines(at[mark], 0, values[mark], color=RED, linewidth=2)
        top.plot(at[mark], values[mark], "o", color=RED, markersize=5)
        top.axhline(0, color=INK, linewidth=0.5)
        top.set(title="input u; four samples carry a mark", ylabel="u")
        middle.vlines(at, 0, delta.numpy(), color=[RED if m else GREYS[0] for m in mark], linewidth=2)
        middle.set(title="step Δ, chosen by the input: large at a mark", ylabel="Δ")
        bottom.step(at, chosen, where="post", color=RED, label="selective: takes the marked, holds it")
        bottom.plot(at, fixed, color=BLUE, linestyle="--", label="the same Δ always (as S4): mixes all")
        bottom.plot(at[mark], values[mark], "o", color=RED, markersize=5)
        bottom.set(title="output y", ylabel="y", xlabel="sample")
        bottom.legend(frameon=False, fontsize="small", loc="upper center", bbox_to_anchor=(0.5, -0.35))
    curves = {"values": values, "marked": marked, "chosen": chosen, "fixed": fixed, "delta": delta.numpy()}
    return Picture(figure, curves)


def causality() -> Picture:
    """Draw what both kinds of low-pass make of a step, and which of it has seen the future."""
    at = np.arange(-40, 61)
    seconds, step = at / HZ, (at >= 0).astype(float)
    found = {phase: LowPass(hz=2, phase=phase).apply(step[:, None], HZ)[:, 0] for phase in ("causal", "zero")}
    with _canvas(1, 3.2) as (figure, (ax,)):
        ax.step(seconds, step, where="post", color=INK, linewidth=1, label="input: nothing, then one")
        ax.plot(seconds, found["causal"], color=BLUE, label="causal: late, never early")
        ax.plot(seconds, found["zero"], color=RED, linestyle="--", label="zero-phase: rises before the input does")
        before = seconds <= 0
        ax.fill_between(seconds[before], 0, found["zero"][before], color=RED, alpha=0.25, linewidth=0)
        ax.annotate(
            "seen from\nthe future", (-0.06, 0.3), (-0.7, 0.55), arrowprops={"arrowstyle": "-", "color": INK}
        )
        ax.set(title="a step through a low-pass of 2 Hz", xlabel="seconds from the step")
        ax.legend(frameon=False, fontsize="small", loc="upper center", bbox_to_anchor=(0.5, -0.2))
    return Picture(figure, {"seconds": seconds, "step": step, **found})


def pictures() -> dict[str, Picture]:
    """Return all pictures by name."""
    return {draw.__name__: draw() for draw in (hiss, s4, mamba, causality)}


def svgs() -> dict[str, str]:
    """Return all pictures as SVG, by name."""
    return {name: to_svg(picture.figure) for name, picture in pictures().items()}


if __name__ == "__main__":
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    for name, text in svgs().items():
        (folder / f"{name}.svg").write_text(text, encoding="utf-8")
