"""TCN: each convolution looks back through a ring of its own earlier inputs.

A convolution of k taps with dilation d needs d (k - 1) + 1 inputs. The rings of all convolutions lie in one array,
that of convolution j in the rows ``first[j]`` to ``first[j + 1]``; ``slots[j]`` is the row in it written next.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from baselines.layers import TCN
from baselines.stream.fast.pointwise import FLAGS, add_product
from baselines.stream.fast.stack import Floats32, Stack, parameters, stacked

__all__ = ["TCNStack"]

_F = np.float32


@njit(**FLAGS)
def tcn_stack(x, weight, bias, dilation, first, past, slots, h, out):  # type: ignore[no-untyped-def]
    """Take a sample through the blocks, two convolutions each, in place.

    ``weight`` is (2 K, taps, H, H), the oldest tap first.
    """
    convolutions, taps, size = weight.shape[0], weight.shape[1], x.shape[0]
    for j in range(convolutions):
        rows, slot = first[j + 1] - first[j], slots[j]
        past[first[j] + slot] = x if j % 2 == 0 else h
        out[:] = bias[j]
        for tap in range(taps):
            row = (slot - (taps - 1 - tap) * dilation[j]) % rows
            add_product(past[first[j] + row], weight[j, tap], out)
        slots[j] = (slot + 1) % rows
        for i in range(size):
            h[i] = max(out[i], _F(0))
        if j % 2 == 1:
            for i in range(size):
                x[i] = max(x[i] + h[i], _F(0))


class TCNStack(Stack):
    """TCN."""

    def __init__(self, layer: TCN, window: int | None) -> None:
        convolutions = [conv for block in layer.blocks for conv in (block.conv1, block.conv2)]
        size, taps = layer.config.dim, layer.config.taps
        self._weight = stacked([c.weight().unflatten(1, (taps, size)).transpose(0, 1) for c in convolutions])
        (self._bias,) = parameters(convolutions, "bias")
        self._dilation = np.array([c.dilation for c in convolutions])
        self._first = np.cumsum([0, *(c.past + 1 for c in convolutions)])
        self._h, self._sum = np.zeros(size, np.float32), np.zeros(size, np.float32)
        self.state = {
            "past": np.zeros((self._first[-1], size), np.float32),
            "slots": np.zeros(len(convolutions), np.int64),
        }

    def step(self, x: Floats32) -> Floats32:
        """Take a sample; see :meth:`Stack.step`."""
        rings = (self._dilation, self._first, self.state["past"], self.state["slots"])
        tcn_stack(x, self._weight, self._bias, *rings, self._h, self._sum)
        return x
