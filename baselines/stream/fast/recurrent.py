"""LSTM and GRU: the gates of a layer are stacked as torch stacks them, (gates H, in)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from baselines.layers import GRU, LSTM
from baselines.stream.fast.pointwise import FLAGS, affine, sigmoid, tanh
from baselines.stream.fast.stack import Floats32, Stack, stacked

__all__ = ["GRUStack", "LSTMStack"]


@njit(**FLAGS)
def _copy_padded(padded, values):  # type: ignore[no-untyped-def]
    """Write a layer's input to the beginning of a buffer of the widest one's size; the rest meets zero weights."""
    for i in range(values.shape[0]):
        padded[i] = values[i]


@njit(**FLAGS)
def lstm_stack(x, weights, biases, h, c, layer_input, gates, recurrent):  # type: ignore[no-untyped-def]
    """Take a sample through an LSTM; the output is ``h`` of the last layer. Gates i, f, g, o; state (K, H)."""
    size = h.shape[1]
    for k in range(h.shape[0]):
        _copy_padded(layer_input, x if k == 0 else h[k - 1])
        affine(layer_input, weights[0][k], biases[0][k], gates)
        affine(h[k], weights[1][k], biases[1][k], recurrent)
        cell, hidden = c[k], h[k]
        for i in range(size):
            input_gate, forget_gate = (
                sigmoid(gates[i] + recurrent[i]),
                sigmoid(gates[size + i] + recurrent[size + i]),
            )
            cell[i] = forget_gate * cell[i] + input_gate * tanh(gates[2 * size + i] + recurrent[2 * size + i])
            hidden[i] = sigmoid(gates[3 * size + i] + recurrent[3 * size + i]) * tanh(cell[i])


@njit(**FLAGS)
def gru_stack(x, weights, biases, h, layer_input, gates, recurrent):  # type: ignore[no-untyped-def]
    """Take a sample through a GRU; the output is ``h`` of the last layer. Gates r, z, n; state (K, H)."""
    size = h.shape[1]
    for k in range(h.shape[0]):
        _copy_padded(layer_input, x if k == 0 else h[k - 1])
        affine(layer_input, weights[0][k], biases[0][k], gates)
        affine(h[k], weights[1][k], biases[1][k], recurrent)
        hidden = h[k]
        for i in range(size):
            reset_gate, update_gate = (
                sigmoid(gates[i] + recurrent[i]),
                sigmoid(gates[size + i] + recurrent[size + i]),
            )
            candidate = tanh(gates[2 * size + i] + reset_gate * recurrent[2 * size + i])
            hidden[i] = candidate + update_gate * (hidden[i] - candidate)


class RecurrentStack(Stack):
    """What the two share; the first layer's input matrix and the others' are padded with zeros to one width.

    Parameters
    ----------
    layer
        Ours.
    torch_layer
        The one of torch inside it, which holds the weights.
    gates
        How many gates torch stacks.
    """

    def __init__(self, layer: Any, torch_layer: Any, gates: int) -> None:
        c = layer.config
        width = max(c.dim, c.hidden)
        w_ih = np.zeros((c.layers, gates * c.hidden, width), np.float32)
        for k in range(c.layers):
            weight = getattr(torch_layer, f"weight_ih_l{k}").detach().numpy()
            w_ih[k, :, : weight.shape[1]] = weight
        self._weights = w_ih, stacked([getattr(torch_layer, f"weight_hh_l{k}") for k in range(c.layers)])
        b_ih, b_hh = (
            stacked([getattr(torch_layer, f"bias_{name}_l{k}") for k in range(c.layers)]) for name in ("ih", "hh")
        )
        self._biases = b_ih, b_hh
        stacked_gates = gates * c.hidden
        self._scratch = tuple(np.zeros(size, np.float32) for size in (width, stacked_gates, stacked_gates))
        self.state = {"h": np.zeros((c.layers, c.hidden), np.float32)}


class LSTMStack(RecurrentStack):
    """LSTM."""

    def __init__(self, layer: LSTM, window: int | None) -> None:
        super().__init__(layer, layer.lstm, 4)
        self.state["c"] = np.zeros_like(self.state["h"])

    def step(self, x: Floats32) -> Floats32:
        """Take a sample; see :meth:`Stack.step`."""
        lstm_stack(x, self._weights, self._biases, self.state["h"], self.state["c"], *self._scratch)
        return np.asarray(self.state["h"][-1])


class GRUStack(RecurrentStack):
    """GRU."""

    def __init__(self, layer: GRU, window: int | None) -> None:
        super().__init__(layer, layer.gru, 3)

    def step(self, x: Floats32) -> Floats32:
        """Take a sample; see :meth:`Stack.step`."""
        gru_stack(x, self._weights, self._biases, self.state["h"], *self._scratch)
        return np.asarray(self.state["h"][-1])
