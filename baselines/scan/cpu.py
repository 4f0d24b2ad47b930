"""The selective scan compiled with numba: forward and backward, parallel over sequences and blocks of channels.

The state of a block of ``WIDTH`` channels stays in the first-level cache while time runs. The forward pass keeps
the state only at every ``SEGMENT``-th step; the backward pass goes through the segments from last to first, runs
each forward again from its saved state, then backward. So all buffers are O(B L D) for N up to 16.

Glossary
--------
=============== ==========================================================================
``step drive``   delta_t and delta_t u_t
``h q``          h_t and q_t = exp(delta_t A)
``g``            g_t, the gradient in h_t; from one step to the one before, q_t g_t
``dz dstep``     the gradient in drive, and that in delta_t by way of q_t
``*_block``      those of the channels of a block
=============== ==========================================================================

Backward:

    g_t = C_t dy_t + q_{t+1} g_{t+1}        dC_t = sum_d dy_t h_t         dB_t = sum_d g_t delta_t u_t
    du_t = delta_t sum_n g_t B_t            dA = sum_t g_t q_t h_{t-1} delta_t
    d delta_t = sum_n g_t (B_t u_t + q_t h_{t-1} A)
"""

from typing import Any

import numpy as np
from numba import njit
from torch import Tensor

from baselines.cpu.fastmath import exp
from baselines.cpu.flags import INLINED, KEPT
from baselines.cpu.threads import run_ranges

SEGMENT = 16
WIDTH = 32
_FLAGS: dict[str, Any] = {
    "nogil": True,
    "cache": KEPT,
    "fastmath": {"reassoc", "contract", "nsz", "arcp", "nnan", "ninf"},
}


@njit(**_FLAGS)
def _forward(start, stop, u, delta, a, b, c, y, saved):  # type: ignore[no-untyped-def]
    length, channels = u.shape[1], u.shape[2]
    n_state, blocks = a.shape[0], (channels + WIDTH - 1) // WIDTH
    h = np.empty((n_state, WIDTH), u.dtype)
    a_block = np.empty_like(h)
    step = np.empty(WIDTH, u.dtype)
    drive, acc = np.empty_like(step), np.empty_like(step)
    for unit in range(start, stop):
        i, lo = unit // blocks, (unit % blocks) * WIDTH
        width = min(WIDTH, channels - lo)
        h[:] = 0.0
        a_block[:] = 0.0
        step[:] = 0.0
        drive[:] = 0.0
        a_block[:, :width] = a[:, lo : lo + width]
        for t in range(length):
            if t % SEGMENT == 0:
                saved[i, t // SEGMENT, :, lo : lo + width] = h[:, :width]
            for d in range(width):
                step[d] = delta[i, t, lo + d]
                drive[d] = step[d] * u[i, t, lo + d]
            acc[:] = 0.0
            for n in range(n_state):
                b_n, c_n = b[i, t, n], c[i, t, n]
                for d in range(WIDTH):  # a constant count: unrolled into vector instructions
                    h[n, d] = exp(step[d] * a_block[n, d]) * h[n, d] + drive[d] * b_n
                    acc[d] += c_n * h[n, d]
            for d in range(width):
                y[i, t, lo + d] = acc[d]


@njit(**INLINED, **_FLAGS)
def _rerun_segment(first, steps, h, q, a_block, step, drive, b_i):  # type: ignore[no-untyped-def]
    """Run the forward pass of a segment: ``h[s + 1]`` and ``q[s]`` from ``h[0]``; ``step``, ``drive`` by row."""
    for s in range(steps):
        for n in range(a_block.shape[0]):
            b_n = b_i[first + s, n]
            for d in range(WIDTH):
                q[s, n, d] = exp(step[s, d] * a_block[n, d])
                h[s + 1, n, d] = q[s, n, d] * h[s, n, d] + drive[s, d] * b_n


@njit(**_FLAGS)
def _backward(start, stop, u, delta, a, b, c, dy, saved, du, ddelta, da, db, dc):  # type: ignore[no-untyped-def]
    length, channels = u.shape[1], u.shape[2]
    n_state, blocks = a.shape[0], (channels + WIDTH - 1) // WIDTH
    h = np.empty((SEGMENT + 1, n_state, WIDTH), u.dtype)
    q = np.empty((SEGMENT, n_state, WIDTH), u.dtype)
    g = np.empty((n_state, WIDTH), u.dtype)
    a_block, da_block = np.empty_like(g), np.empty_like(g)
    step = np.empty((SEGMENT, WIDTH), u.dtype)
    drive = np.empty_like(step)
    dy_t = np.empty(WIDTH, u.dtype)
    dz, dstep = np.empty_like(dy_t), np.empty_like(dy_t)
    zero = u.dtype.type(0)  # numba makes int * float32 a float64
    for unit in range(start, stop):
        i, block = unit // blocks, unit % blocks
        lo = block * WIDTH
        width = min(WIDTH, channels - lo)
        for buffer in (g, a_block, da_block, step, drive, h[0]):
            buffer[:] = 0.0
        dy_t[:] = 0.0
        a_block[:, :width] = a[:, lo : lo + width]
        for segment in range((length - 1) // SEGMENT, -1, -1):
            first = segment * SEGMENT
            steps = min(SEGMENT, length - first)
            h[0, :, :width] = saved[i, segment, :, lo : lo + width]
            for s in range(steps):
                for d in range(width):
                    step[s, d] = delta[i, first + s, lo + d]
                    drive[s, d] = step[s, d] * u[i, first + s, lo + d]
            _rerun_segment(first, steps, h, q, a_block, step, drive, b[i])
            for s in range(steps - 1, -1, -1):
                t = first + s
                for d in range(width):
                    dy_t[d] = dy[i, t, lo + d]
                dz[:] = 0.0
                dstep[:] = 0.0
                for n in range(n_state):
                    b_n, c_n = b[i, t, n], c[i, t, n]
                    db_n = dc_n = zero
                    for d in range(WIDTH):
                        g_t = g[n, d] + c_n * dy_t[d]
                        dc_n += dy_t[d] * h[s + 1, n, d]
                        db_n += g_t * drive[s, d]
                        dz[d] += g_t * b_n
                        g_t *= q[s, n, d]
                        g[n, d] = g_t
                        through_state = g_t * h[s, n, d]
                        dstep[d] += through_state * a_block[n, d]
                        da_block[n, d] += through_state * step[s, d]
                    db[block, i, t, n] = db_n
                    dc[block, i, t, n] = dc_n
                for d in range(width):
                    du[i, t, lo + d] = dz[d] * step[s, d]
                    ddelta[i, t, lo + d] = dstep[d] + dz[d] * u[i, t, lo + d]
        da[i, :, lo : lo + width] = da_block[:, :width]


def saved_shape(u: Tensor, a: Tensor) -> tuple[int, int, int, int]:
    """Return the shape of the saved states: (B, segments, N, D)."""
    return u.shape[0], -(-u.shape[1] // SEGMENT), a.shape[1], u.shape[2]


def forward(u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """Return y (B, L, D) without skip, and the states at the beginning of each segment."""
    y, saved = u.new_empty(u.shape), u.new_empty(saved_shape(u, a))
    units = u.shape[0] * -(-u.shape[2] // WIDTH)
    run_ranges(_forward, units, *_arrays(u, delta, a, b, c), y.numpy(), saved.numpy())
    return y, saved


def backward(
    u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, saved: Tensor, dy: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients in u, delta, a, b and c."""
    batch, _, channels = u.shape
    blocks = -(-channels // WIDTH)
    du, ddelta = u.new_empty(u.shape), u.new_empty(u.shape)
    da = u.new_empty(batch, a.shape[1], channels)
    db, dc = (u.new_empty(blocks, *b.shape) for _ in range(2))
    arrays = (t.detach().contiguous().numpy() for t in (dy, saved, du, ddelta, da, db, dc))
    run_ranges(_backward, batch * blocks, *_arrays(u, delta, a, b, c), *arrays)
    return du, ddelta, da.sum(0).T.contiguous(), db.sum(0), dc.sum(0)


def _arrays(u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor) -> list[Any]:
    """Return what the loops read: whole rows in memory, states before channels."""
    return [t.detach().contiguous().numpy() for t in (u, delta, a.T, b, c)]
