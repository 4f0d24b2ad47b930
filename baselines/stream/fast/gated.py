"""S4, S4D and the LRU: residual blocks x + GLU(W gelu(recurrence(norm(x))) + b) around a linear recurrence.

====================  =====================================================================================
inside short windows  S4 and S4D are a filter with as many taps as a window has samples, without a state
S4                    x' = A x - E Re(F . x) + B u,  y = 2 Re(C . x') + D u, N modes a channel; A diagonal
S4D                   the same with E = F = 0 and B = 1
LRU                   x' = lambda x + B u,  y = Re(C x') + D u, N modes for all channels together
====================  =====================================================================================
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numba import njit
from torch import Tensor

from baselines.layers import LRU, S4, S4D
from baselines.layers.s4_kernel import SHORT
from baselines.stream.fast.pointwise import FLAGS, affine, affine_rows, gelu, layer_norm, sigmoid
from baselines.stream.fast.stack import Floats32, Stack, norms, parameters, stacked
from baselines.stream.state_space import filter_taps, recurrence

__all__ = ["LRUStack", "StateSpaceStack"]

_F = np.float32


@njit(**FLAGS)
def _block_input(x, k, prenorm, norm, u):  # type: ignore[no-untyped-def]
    """Write the input of block ``k``'s recurrence to ``u``."""
    if prenorm:
        layer_norm(x, norm[0][k], norm[1][k], norm[2], u)
    else:
        u[:] = x


@njit(**FLAGS)
def _block_output(x, y, k, prenorm, norm, linear, scratch):  # type: ignore[no-untyped-def]
    """Finish block ``k``: x + GLU(W gelu(y) + b), normalised where that comes last; ``scratch`` holds 2 H."""
    size = x.shape[0]
    for i in range(size):
        y[i] = gelu(y[i])
    affine(y, linear[0][k], linear[1][k], scratch)
    for i in range(size):
        x[i] += scratch[i] * sigmoid(scratch[size + i])
    if not prenorm:
        layer_norm(x, norm[0][k], norm[1][k], norm[2], x)


@njit(**FLAGS)
def fir_stack(x, position, prenorm, norm, linear, taps, past, y, scratch):  # type: ignore[no-untyped-def]
    """Take sample ``position`` of a window through blocks whose state space is a filter, in place.

    ``taps`` (K, W, H) holds the kernel with D in its first tap, ``past`` (K, W, H) the window's inputs so far.
    """
    size = x.shape[0]
    for k in range(taps.shape[0]):
        u = past[k, position]
        _block_input(x, k, prenorm, norm, u)
        y[:] = _F(0)
        for lag in range(position + 1):
            tap, past_input = taps[k, lag], past[k, position - lag]
            for i in range(size):
                y[i] += tap[i] * past_input[i]
        _block_output(x, y, k, prenorm, norm, linear, scratch)


@njit(**FLAGS)
def fir_rows(x, first, prenorm, norm, linear, taps, past, y, scratch):  # type: ignore[no-untyped-def]
    """Take the samples from ``first``, the rows of ``x``, as :func:`fir_stack` does where no output is read.

    Together they read the weights once; ``x`` is overwritten, ``y`` and ``scratch`` hold (W, H) and (W, 2 H).
    """
    rows, size = x.shape
    for k in range(taps.shape[0]):
        for r in range(rows):
            _block_input(x[r], k, prenorm, norm, past[k, first + r])
        if k + 1 == taps.shape[0]:
            return
        for r in range(rows):
            out = y[r]
            out[:] = _F(0)
            for lag in range(first + r + 1):
                tap, past_input = taps[k, lag], past[k, first + r - lag]
                for i in range(size):
                    out[i] += tap[i] * past_input[i]
            for i in range(size):
                out[i] = gelu(out[i])
        affine_rows(y[:rows], linear[0][k], linear[1][k], scratch)
        for r in range(rows):
            for i in range(size):
                x[r, i] += scratch[r, i] * sigmoid(scratch[r, size + i])
            if not prenorm:
                layer_norm(x[r], norm[0][k], norm[1][k], norm[2], x[r])


@njit(**FLAGS)
def space_stack(x, output_read, prenorm, norm, linear, space, real, imag, u, y, scratch):  # type: ignore[no-untyped-def]
    """Take a sample through blocks with a recurrence of its own for each channel, in place if ``output_read``.

    ``space`` holds the real and imaginary parts of A, E, F, B and C, each (K, H, N), and D (K, H); the state is
    ``real`` and ``imag`` (K, H, N).
    """
    ar, ai, er, ei, fr, fi, br, bi, cr, ci, d = space
    size, states = x.shape[0], real.shape[2]
    for k in range(real.shape[0]):
        _block_input(x, k, prenorm, norm, u)
        for h in range(size):
            xr, xi, v = real[k, h], imag[k, h], np.float64(u[h])
            rank_one = 0.0
            for n in range(states):
                rank_one += fr[k, h, n] * xr[n] - fi[k, h, n] * xi[n]
            total = 0.0
            for n in range(states):
                r = ar[k, h, n] * xr[n] - ai[k, h, n] * xi[n] - er[k, h, n] * rank_one + br[k, h, n] * v
                i = ar[k, h, n] * xi[n] + ai[k, h, n] * xr[n] - ei[k, h, n] * rank_one + bi[k, h, n] * v
                xr[n], xi[n] = r, i
                total += cr[k, h, n] * r - ci[k, h, n] * i
            y[h] = _F(2.0 * total + d[k, h] * v)
        if k + 1 == real.shape[0] and not output_read:
            return
        _block_output(x, y, k, prenorm, norm, linear, scratch)


@njit(**FLAGS)
def lru_stack(x, norm, linear, modes, maps, state, u, y, scratch):  # type: ignore[no-untyped-def]
    """Take a sample through LRU blocks, in place.

    ``modes`` is lambda (K, 2, N), real and imaginary; ``maps`` are B (K, 2 N, H), C (K, H, 2 N) and D (K, H);
    ``state`` is (K, 2, N).
    """
    size, states = x.shape[0], state.shape[2]
    drive, zeros, shared = scratch
    for k in range(state.shape[0]):
        _block_input(x, k, True, norm, u)
        affine(u, maps[0][k], zeros, drive)
        for n in range(states):
            r, i = state[k, 0, n], state[k, 1, n]
            state[k, 0, n] = modes[k, 0, n] * r - modes[k, 1, n] * i + drive[n]
            state[k, 1, n] = modes[k, 0, n] * i + modes[k, 1, n] * r + drive[states + n]
            drive[n], drive[states + n] = _F(state[k, 0, n]), _F(state[k, 1, n])
        affine(drive, maps[1][k], zeros, y)
        for h in range(size):
            y[h] += maps[2][k, h] * u[h]
        _block_output(x, y, k, True, norm, linear, shared)


class StateSpaceStack(Stack):
    """S4 or S4D: filters of a window's length inside short windows, else recurrences.

    Inside short windows samples whose output nobody reads wait for the last but one of the window and are taken
    together: the weights, more than a core's second cache holds, are read twice a window, not at each sample.
    """

    def __init__(self, layer: S4 | S4D, window: int | None) -> None:
        blocks: list[Any] = list(layer.blocks)
        self._norm = norms([block.norm for block in blocks])
        self._linear = parameters(blocks, "linear.weight", "linear.bias")
        self._prenorm = bool(getattr(layer.config, "prenorm", True))
        size, count = layer.config.dim, len(blocks)
        self._u, self._y = np.zeros(size, np.float32), np.zeros(size, np.float32)
        self._scratch = np.zeros(2 * size, np.float32)
        self._taps: Floats32 | None = None
        spaces = [block.layer for block in blocks]
        if window is not None and window <= SHORT:
            self._taps = stacked([filter_taps(space, window).T for space in spaces])
            self._row_buffers = np.zeros((window, size), np.float32), np.zeros((window, 2 * size), np.float32)
            self.state = {
                "past": np.zeros_like(self._taps),
                "waiting": np.zeros((window, size), np.float32),
                "position": np.zeros((), np.int64),
                "ready": np.zeros((), np.int64),
            }
            return
        coefficients = zip(*(_recurrence(space) for space in spaces), strict=True)
        self._space = tuple(np.ascontiguousarray(torch.stack(c).detach().numpy()) for c in coefficients)
        shape = (count, size, layer.config.state // 2)
        self.state = {name: np.zeros(shape) for name in ("real", "imag")}

    def step(self, x: Floats32) -> Floats32:
        """Take a sample; see :meth:`Stack.step`."""
        self._process(x, True)
        return x

    def skip(self, x: Floats32) -> None:
        """Take a sample without the last block's output; see :meth:`Stack.skip`."""
        if self._taps is None:
            self._process(x, False)
            return
        position, waiting = self.state["position"], self.state["waiting"]
        waiting[position] = x
        position += 1
        if position + 1 == len(waiting):
            self._process_waiting()

    def _process_waiting(self) -> None:
        """Take the samples that wait."""
        state = self.state
        first, stop = int(state["ready"]), int(state["position"])
        if first < stop:
            shared = (self._prenorm, self._norm, self._linear, self._taps)
            fir_rows(state["waiting"][first:stop], first, *shared, state["past"], *self._row_buffers)
            state["ready"][...] = stop

    def _process(self, x: Floats32, output_read: bool) -> None:
        shared = (self._prenorm, self._norm, self._linear)
        state = self.state
        if self._taps is not None:
            self._process_waiting()
            position = int(state["position"])
            fir_stack(x, position, *shared, self._taps, state["past"], self._y, self._scratch)
            state["position"][...] = state["ready"][...] = position + 1
        else:
            buffers = (self._u, self._y, self._scratch)
            space_stack(x, output_read, *shared, self._space, state["real"], state["imag"], *buffers)


def _recurrence(layer: Any) -> list[Tensor]:
    """Return A, E, F, B and C of the recurrence in real and imaginary parts, each (H, N), and D."""
    parts = recurrence(layer)
    none = torch.zeros_like(parts["a"])
    return [half for name in "aefbc" for half in (parts.get(name, none).real, parts.get(name, none).imag)] + [
        layer.d
    ]


class LRUStack(Stack):
    """LRU."""

    def __init__(self, layer: LRU, window: int | None) -> None:
        blocks: list[Any] = list(layer.blocks)
        c, coefficients = layer.config, [block.layer.coefficients() for block in blocks]
        self._norm = norms([block.norm for block in blocks])
        self._linear = parameters(blocks, "linear.weight", "linear.bias")
        self._modes = (
            torch.stack([torch.stack((lam.real, lam.imag)) for lam, _, _ in coefficients]).detach().numpy()
        )
        self._maps = (
            stacked([b.T for _, b, _ in coefficients]),
            stacked([c_matrix.T for _, _, c_matrix in coefficients]),
            *parameters(blocks, "layer.d"),
        )
        self._u, self._y = np.zeros(c.dim, np.float32), np.zeros(c.dim, np.float32)
        sizes = (2 * c.state, max(2 * c.state, c.dim), 2 * c.dim)
        self._scratch = tuple(np.zeros(size, np.float32) for size in sizes)
        self.state = {"x": np.zeros((len(blocks), 2, c.state))}

    def step(self, x: Floats32) -> Floats32:
        """Take a sample; see :meth:`Stack.step`."""
        weights = (self._norm, self._linear, self._modes, self._maps)
        lru_stack(x, *weights, self.state["x"], self._u, self._y, self._scratch)
        return x
