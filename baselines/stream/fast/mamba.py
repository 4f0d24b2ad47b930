"""Mamba and Mamba-2: residual blocks of gate, causal convolution and selective state space.

====================  =====================================================================================
Mamba                 h' = exp(Delta A) h + Delta B u,  y = C h' + D u; Delta and A for each inner channel
Mamba-2               the same with one Delta, one A and one D a head of P inner channels
``past``              the earlier inputs of the convolution, (K, J - 1, channels), oldest first
====================  =====================================================================================
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numba import njit

from baselines.cpu.fastmath import exp
from baselines.layers import Mamba, Mamba2
from baselines.stream.fast.pointwise import FLAGS, affine, layer_norm, silu, softplus
from baselines.stream.fast.stack import Floats32, Stack, f32, norms, parameters, stacked

__all__ = ["Mamba2Stack", "MambaStack"]

_F = np.float32


@njit(**FLAGS)
def _convolve(latest, weight, bias, past, out):  # type: ignore[no-untyped-def]
    """Write silu(conv) of the latest input to ``out``, and move ``past`` (J - 1, channels) on."""
    width, channels = weight.shape
    for i in range(channels):
        out[i] = bias[i] + weight[width - 1, i] * latest[i]
    for j in range(width - 1):
        for i in range(channels):
            out[i] += weight[j, i] * past[j, i]
    for j in range(width - 2):
        past[j] = past[j + 1]
    if width > 1:
        past[width - 2] = latest[:channels]
    for i in range(channels):
        out[i] = silu(out[i])


@njit(**FLAGS)
def mamba_stack(x, norm, projections, conv, a, d, past, h, final, scratch):  # type: ignore[no-untyped-def]
    """Take a sample through Mamba blocks and the last LayerNorm, in place.

    ``h`` (K, I, N) holds the states; ``a`` is A (K, I, N), negative.
    """
    w_in, w_x, w_dt, b_dt, w_out = projections
    normed, xz, u, dt_b_c, delta, zeros = scratch
    inner, states, rank = h.shape[1], h.shape[2], w_dt.shape[2]
    for k in range(h.shape[0]):
        layer_norm(x, norm[0][k], norm[1][k], norm[2], normed)
        affine(normed, w_in[k], zeros, xz)
        _convolve(xz, conv[0][k], conv[1][k], past[k], u)
        affine(u, w_x[k], zeros, dt_b_c)
        affine(dt_b_c[:rank], w_dt[k], b_dt[k], delta)
        b, c = dt_b_c[rank : rank + states], dt_b_c[rank + states :]
        for i in range(inner):
            delta[i] = softplus(delta[i])
        for i in range(inner):
            step = delta[i]
            drive, total = step * u[i], _F(0)
            for n in range(states):
                h[k, i, n] = exp(max(step * a[k, i, n], _F(-80))) * h[k, i, n] + drive * b[n]
                total += h[k, i, n] * c[n]
            u[i] = (total + d[k, i] * u[i]) * silu(xz[inner + i])
        affine(u, w_out[k], zeros, normed)
        for i in range(x.shape[0]):
            x[i] += normed[i]
    layer_norm(x, final[0], final[1], final[2], x)


@njit(**FLAGS)
def mamba2_stack(x, norm, projections, conv, heads, gated, past, h, final, scratch):  # type: ignore[no-untyped-def]
    """Take a sample through Mamba-2 blocks and the last LayerNorm, in place.

    ``heads`` holds the bias of Delta, A (negative) and D, each (K, heads); ``gated`` the weights (K, I) and the
    epsilon of the RMSNorm before the output; ``h`` (K, I, N) the states, head by head.
    """
    w_in, w_out = projections
    bias, a, d = heads
    normed, projected, convolved, y, zeros = scratch
    inner, states, count = h.shape[1], h.shape[2], bias.shape[1]
    width, channels = inner // count, inner + 2 * states
    for k in range(h.shape[0]):
        layer_norm(x, norm[0][k], norm[1][k], norm[2], normed)
        affine(normed, w_in[k], zeros, projected)
        _convolve(projected[inner : inner + channels], conv[0][k], conv[1][k], past[k], convolved)
        b, c = convolved[inner : inner + states], convolved[inner + states :]
        squares = _F(0)
        for head in range(count):
            delta = softplus(projected[inner + channels + head] + bias[k, head])
            decay = exp(max(delta * a[k, head], _F(-80)))
            for i in range(head * width, (head + 1) * width):
                drive, total = delta * convolved[i], _F(0)
                for n in range(states):
                    h[k, i, n] = decay * h[k, i, n] + drive * b[n]
                    total += h[k, i, n] * c[n]
                y[i] = (total + d[k, head] * convolved[i]) * silu(projected[i])
                squares += y[i] * y[i]
        scale = _F(1) / math.sqrt(squares / _F(inner) + gated[1])
        for i in range(inner):
            y[i] *= scale * gated[0][k, i]
        affine(y, w_out[k], zeros, normed)
        for i in range(x.shape[0]):
            x[i] += normed[i]
    layer_norm(x, final[0], final[1], final[2], x)


class SelectiveStack(Stack):
    """What the two share.

    Parameters
    ----------
    layer
        Ours.
    channels
        Of the convolution.
    sizes
        Of the loop's scratch.
    """

    def __init__(self, layer: Mamba | Mamba2, channels: int, sizes: tuple[int, ...]) -> None:
        c, blocks = layer.config, list(layer.blocks)
        self._norm = norms([b.norm for b in blocks])
        self._conv = stacked([b.conv.weight.T for b in blocks]), *parameters(blocks, "conv.bias")
        self._final = f32(layer.norm.weight), f32(layer.norm.bias), np.float32(layer.norm.eps)
        self._scratch = tuple(np.zeros(size, np.float32) for size in sizes)
        self.state = {
            "past": np.zeros((len(blocks), c.conv - 1, channels), np.float32),
            "h": np.zeros((len(blocks), c.inner, c.state), np.float32),
        }


class MambaStack(SelectiveStack):
    """Mamba."""

    def __init__(self, layer: Mamba, window: int | None) -> None:
        c, blocks = layer.config, list(layer.blocks)
        selected = c.rank + 2 * c.state
        sizes = (c.dim, 2 * c.inner, c.inner, selected, c.inner, max(2 * c.inner, selected, c.dim))
        super().__init__(layer, c.inner, sizes)
        projections = ("in_proj.weight", "x_proj.weight", "dt_proj.weight", "dt_proj.bias", "out_proj.weight")
        self._projections = parameters(blocks, *projections)
        self._a, (self._d,) = stacked([-torch.exp(b.a_log) for b in blocks]), parameters(blocks, "d")

    def step(self, x: Floats32) -> Floats32:
        """Take a sample; see :meth:`Stack.step`."""
        weights = (self._norm, self._projections, self._conv, self._a, self._d)
        mamba_stack(x, *weights, self.state["past"], self.state["h"], self._final, self._scratch)
        return x


class Mamba2Stack(SelectiveStack):
    """Mamba-2."""

    def __init__(self, layer: Mamba2, window: int | None) -> None:
        c, blocks = layer.config, list(layer.blocks)
        channels = c.inner + 2 * c.state
        projected = c.inner + channels + c.heads
        super().__init__(layer, channels, (c.dim, projected, channels, c.inner, max(projected, c.dim)))
        self._projections = parameters(blocks, "in_proj.weight", "out_proj.weight")
        bias, d = parameters(blocks, "dt_bias", "d")
        self._heads = bias, stacked([-torch.exp(b.a_log) for b in blocks]), d
        self._gated = *parameters(blocks, "gated_norm.weight"), np.float32(blocks[0].gated_norm.eps or 0)

    def step(self, x: Floats32) -> Floats32:
        """Take a sample; see :meth:`Stack.step`."""
        weights = (self._norm, self._projections, self._conv, self._heads, self._gated)
        mamba2_stack(x, *weights, self.state["past"], self.state["h"], self._final, self._scratch)
        return x
