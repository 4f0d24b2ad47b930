"""Transformer: attention over the keys and values of earlier steps.

With a window they lie in a ring of so many steps, in which the oldest is overwritten; without one the arrays are
doubled whenever they are full.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from baselines.cpu.fastmath import exp
from baselines.layers import Transformer
from baselines.layers.transformer import frequencies
from baselines.stream.fast.pointwise import FLAGS, affine, layer_norm
from baselines.stream.fast.stack import Floats32, Stack, norms, parameters

__all__ = ["TransformerStack"]

_F = np.float32


@njit(**FLAGS)
def _attend(q, keys, values, count, heads, weights, out):  # type: ignore[no-untyped-def]
    """Write softmax(Q K^T / sqrt(d_k)) V to ``out`` (H,), head by head, over the first ``count`` rows."""
    width = q.shape[0] // heads
    scale = _F(1) / math.sqrt(_F(width))
    for start in range(0, q.shape[0], width):
        query, head_out = q[start : start + width], out[start : start + width]
        for t in range(count):
            key, score = keys[t, start : start + width], _F(0)
            for i in range(width):
                score += query[i] * key[i]
            weights[t] = score * scale
        largest = weights[0]
        for t in range(count):
            largest = max(largest, weights[t])
        for t in range(count):
            weights[t] = exp(max(weights[t] - largest, _F(-80)))
        total = _F(0)
        for t in range(count):
            total += weights[t]
        head_out[:] = _F(0)
        for t in range(count):
            weight, value = weights[t] / total, values[t, start : start + width]
            for i in range(width):
                head_out[i] += weight * value[i]


@njit(**FLAGS)
def transformer_stack(x, position, frequencies, heads, norm1, norm2, attention, ffn, keys, values, scratch):  # type: ignore[no-untyped-def]
    """Take step ``position`` through positional encoding and blocks, in place.

    ``attention`` holds weights and biases of Q, K, V together and of the output, ``ffn`` those of the two layers
    of the feed-forward part; ``keys`` and ``values`` are (K, rows, H).
    """
    normed, qkv, attended, hidden, weights = scratch
    size, rows = x.shape[0], keys.shape[1]
    for i in range(frequencies.shape[0]):
        angle = _F(position) * frequencies[i]
        x[2 * i] += math.sin(angle)
        x[2 * i + 1] += math.cos(angle)
    slot, count = position % rows, min(position + 1, rows)
    for k in range(keys.shape[0]):
        layer_norm(x, norm1[0][k], norm1[1][k], norm1[2], normed)
        affine(normed, attention[0][k], attention[1][k], qkv)
        keys[k, slot] = qkv[size : 2 * size]
        values[k, slot] = qkv[2 * size :]
        _attend(qkv[:size], keys[k], values[k], count, heads, weights, attended)
        affine(attended, attention[2][k], attention[3][k], normed)
        for i in range(size):
            x[i] += normed[i]
        layer_norm(x, norm2[0][k], norm2[1][k], norm2[2], normed)
        affine(normed, ffn[0][k], ffn[1][k], hidden)
        for i in range(hidden.shape[0]):
            hidden[i] = max(hidden[i], _F(0))
        affine(hidden, ffn[2][k], ffn[3][k], normed)
        for i in range(size):
            x[i] += normed[i]


class TransformerStack(Stack):
    """Transformer."""

    def __init__(self, layer: Transformer, window: int | None) -> None:
        c, blocks = layer.config, list(layer.blocks)
        self._heads, self._bounded = c.heads, c.window is not None
        self._dim, self._layers, self._rows = c.dim, len(blocks), c.window or 64
        self._frequencies = frequencies(c.dim).numpy()
        self._norms = norms([b.norm1 for b in blocks]), norms([b.norm2 for b in blocks])
        self._attention = parameters(blocks, "qkv.weight", "qkv.bias", "out.weight", "out.bias")
        self._ffn = parameters(blocks, "up.weight", "up.bias", "down.weight", "down.bias")
        sizes = (c.dim, 3 * c.dim, c.dim, c.feedforward or c.dim)
        self._scratch = tuple(np.zeros(size, np.float32) for size in sizes)
        self.growing = frozenset() if self._bounded else frozenset(("keys", "values"))
        self.reset()

    def reset(self) -> None:
        """Return to the state before the first sample, and to arrays of the first size."""
        shape = (self._layers, self._rows, self._dim)
        self.state = {name: np.zeros(shape, np.float32) for name in ("keys", "values")}
        self.state["position"] = np.zeros((), np.int64)
        self._weights = np.zeros(self._rows, np.float32)

    def step(self, x: Floats32) -> Floats32:
        """Take a sample; see :meth:`Stack.step`."""
        state, position = self.state, int(self.state["position"])
        rows = state["keys"].shape[1]
        if position == rows and not self._bounded:
            for name in self.growing:
                state[name] = np.concatenate((state[name], np.zeros_like(state[name])), axis=1)
            rows *= 2
        if len(self._weights) != rows:
            self._weights = np.zeros(rows, np.float32)
        transformer_stack(
            x,
            position,
            self._frequencies,
            self._heads,
            *self._norms,
            self._attention,
            self._ffn,
            state["keys"],
            state["values"],
            (*self._scratch, self._weights),
        )
        state["position"][...] = position + 1
        return x
