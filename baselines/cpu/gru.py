"""The recurrence of a GRU compiled with numba: one loop over time each way, between products over all time steps.

On the CPU torch runs a GRU as a dozen small operations a time step, where it has one kernel for an LSTM. Here
(W_r, W_z, W) x_t + b comes from one product before the loop, and the gradients of the weights from products after
it. Letters are those of :mod:`baselines.layers.gru`; ``p`` is U h_{t-1} + b'.
"""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numba import njit
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from baselines.cpu.flags import IN_ORDER, INLINED
from baselines.cpu.gate import sigmoid
from baselines.cpu.threads import run_ranges


@njit(**INLINED, **IN_ORDER)
def _add_product(a, m, out):  # type: ignore[no-untyped-def]
    """Add a (B, K) m (K, N) to out (B, N): m is read once for four rows, and two rows of it at a time.

    All rows are added up in the same order, so that a result depends neither on the others nor on the threads.
    """
    rows, inner, size = a.shape[0], a.shape[1], m.shape[1]
    paired = inner - inner % 2
    for i in range(0, rows - 3, 4):
        out_0, out_1, out_2, out_3 = out[i], out[i + 1], out[i + 2], out[i + 3]
        a_0, a_1, a_2, a_3 = a[i], a[i + 1], a[i + 2], a[i + 3]
        for k in range(0, paired, 2):
            m_0, m_1 = m[k], m[k + 1]
            for j in range(size):
                out_0[j] += a_0[k] * m_0[j] + a_0[k + 1] * m_1[j]
                out_1[j] += a_1[k] * m_0[j] + a_1[k + 1] * m_1[j]
                out_2[j] += a_2[k] * m_0[j] + a_2[k + 1] * m_1[j]
                out_3[j] += a_3[k] * m_0[j] + a_3[k + 1] * m_1[j]
    for i in range(rows - rows % 4, rows):
        out_0, a_0 = out[i], a[i]
        for k in range(0, paired, 2):
            m_0, m_1 = m[k], m[k + 1]
            for j in range(size):
                out_0[j] += a_0[k] * m_0[j] + a_0[k + 1] * m_1[j]
    for k in range(paired, inner):
        for i in range(rows):
            for j in range(size):
                out[i, j] += a[i, k] * m[k, j]


@njit(**IN_ORDER)
def _forward(start, stop, u, b, gates, n_h, h):  # type: ignore[no-untyped-def]
    """Turn gates (L, B, 3 H), which hold W x + b, into r, z and n; write n_h = U_n h + b'_n and h (L, B, H)."""
    size, one, two = h.shape[2], h.dtype.type(1), h.dtype.type(2)
    p = np.empty((stop - start, 3 * size), h.dtype)
    state = np.zeros((stop - start, size), h.dtype)
    for t in range(h.shape[0]):
        p[:] = b
        _add_product(state, u, p)
        for i in range(stop - start):
            g, p_i, h_i = gates[t, start + i], p[i], state[i]
            for j in range(2 * size):
                g[j] = sigmoid(g[j] + p_i[j])
            for j in range(size):
                n = two * sigmoid(two * (g[2 * size + j] + g[j] * p_i[2 * size + j])) - one  # tanh
                g[2 * size + j] = n
                h_i[j] = n + g[size + j] * (h_i[j] - n)
            n_h[t, start + i] = p_i[2 * size :]
            h[t, start + i] = h_i


@njit(**IN_ORDER)
def _backward(start, stop, u, gates, n_h, h, dh, dgates, dp):  # type: ignore[no-untyped-def]
    """Write the gradients of what went into the gates, from the input and from h (both L, B, 3 H)."""
    size, one = h.shape[2], h.dtype.type(1)
    carried = np.zeros((stop - start, size), h.dtype)
    initial = np.zeros(size, h.dtype)
    for t in range(h.shape[0] - 1, -1, -1):
        for i in range(start, stop):
            g, n_i, dy, c = gates[t, i], n_h[t, i], dh[t, i], carried[i - start]
            previous = h[t - 1, i] if t > 0 else initial
            dg, dp_i = dgates[t, i], dp[t, i]
            for j in range(size):
                r, z, n, d = g[j], g[size + j], g[2 * size + j], dy[j] + c[j]
                dn = d * (one - z) * (one - n * n)
                dg[j] = dn * n_i[j] * r * (one - r)
                dg[size + j] = d * (previous[j] - n) * z * (one - z)
                dg[2 * size + j] = dn
                dp_i[2 * size + j] = dn * r
                c[j] = d * z
            dp_i[: 2 * size] = dg[: 2 * size]
        _add_product(dp[t, start:stop], u, carried)


class _Recurrence(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, u: Tensor, b: Tensor) -> Tensor:
        gates, u, b = x.detach().clone(memory_format=torch.contiguous_format), u.detach(), b.detach()
        n_h, h = (gates.new_empty(*gates.shape[:2], u.shape[1]) for _ in range(2))
        arrays = (t.numpy() for t in (u.t().contiguous(), b, gates, n_h, h))
        run_ranges(_forward, gates.shape[1], *arrays)
        ctx.save_for_backward(u.contiguous(), gates, n_h, h)
        return h

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dh: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        u, gates, n_h, h = ctx.saved_tensors
        dgates, dp = torch.empty_like(gates), torch.empty_like(gates)
        arrays = (t.numpy() for t in (u, gates, n_h, h, dh.contiguous(), dgates, dp))
        run_ranges(_backward, gates.shape[1], *arrays)
        return dgates, dp[1:].flatten(0, 1).t() @ h[:-1].flatten(0, 1), dp.sum((0, 1))


def run_gru(gru: nn.GRU, x: Tensor) -> Tensor:
    """Return ``gru(x)[0]``, with the same draws of its dropout.

    Parameters
    ----------
    gru
        With biases, in one direction, ``batch_first``.
    x
        (B, L, in).

    Returns
    -------
    Tensor
        (B, L, hidden).
    """
    y = x.transpose(0, 1)
    for k in range(gru.num_layers):
        w_ih, w_hh, b_ih, b_hh = (
            getattr(gru, f"{name}_l{k}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        y = _Recurrence.apply(F.linear(y, w_ih, b_ih), w_hh, b_hh)
        if k < gru.num_layers - 1:
            y = F.dropout(y, gru.dropout, gru.training)
    return y.transpose(0, 1)
