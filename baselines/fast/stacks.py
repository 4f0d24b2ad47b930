"""Layers packed for the compiled loops: weights once, shared by all windows, and the state of one of them."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from baselines.fast import kernels
from baselines.layers import LSTM, S4, S4D, Mamba
from baselines.layers.s4_kernel import SHORT, taps

__all__ = ["STACKS", "Floats32", "Stack", "make_stack"]

Floats32 = npt.NDArray[np.float32]


class Stack(ABC):
    """A stack of layers with its state; copies made by :meth:`fresh` share the weights.

    Attributes
    ----------
    out
        The output at the latest sample, (out_dim,), overwritten by the next.
    state
        Arrays that are changed in place, by name.
    """

    out: Floats32
    state: dict[str, npt.NDArray[Any]]

    @abstractmethod
    def step(self, x: Floats32) -> Floats32:
        """Take a sample (in_dim,), which may be overwritten; return :attr:`out`."""

    def fresh(self) -> Stack:
        """Return a stack with the same weights and a state of its own, at its start."""
        made = copy.copy(self)
        made.state = {name: np.zeros_like(array) for name, array in self.state.items()}
        return made

    def reset(self) -> None:
        """Return to the state before the first sample."""
        for array in self.state.values():
            array[...] = 0


def _f32(tensor: Tensor) -> Floats32:
    return np.ascontiguousarray(tensor.detach().numpy(), dtype=np.float32)


def _stacked(tensors: list[Tensor]) -> Floats32:
    return _f32(torch.stack([t.detach() for t in tensors]))


def _norms(norms: list[nn.LayerNorm]) -> tuple[Floats32, Floats32, np.float32]:
    return _stacked([n.weight for n in norms]), _stacked([n.bias for n in norms]), np.float32(norms[0].eps)


class GatedStack(Stack):
    """S4 or S4D: filters of a window's length inside short windows, else recurrences."""

    def __init__(self, layer: S4 | S4D, window: int | None) -> None:
        blocks: list[Any] = list(layer.blocks)
        self._norm = _norms([block.norm for block in blocks])
        self._linear = _stacked([b.linear.weight for b in blocks]), _stacked([b.linear.bias for b in blocks])
        self._prenorm = bool(getattr(layer.config, "prenorm", True))
        size, count = layer.config.dim, len(blocks)
        self._u, self.out = np.zeros(size, np.float32), np.zeros(size, np.float32)
        self._scratch = np.zeros(2 * size, np.float32)
        self._taps: Floats32 | None = None
        inner = [block.layer for block in blocks]
        if window is not None and window <= SHORT:
            self._taps = _stacked([_filter(one, window).T for one in inner])
            self.state = {"past": np.zeros_like(self._taps), "position": np.zeros((), np.int64)}
            return
        parts: list[list[Any]] = [_space(one) for one in inner]
        self._space = tuple(
            np.ascontiguousarray(torch.stack(entry).detach().numpy()) for entry in zip(*parts, strict=True)
        )
        shape = (count, size, layer.config.state // 2)
        self.state = {name: np.zeros(shape) for name in ("real", "imag")}

    def step(self, x: Floats32) -> Floats32:
        """Take a sample; see :meth:`Stack.step`."""
        shared = (self._prenorm, self._norm, self._linear)
        state = self.state
        if self._taps is not None:
            position = int(state["position"])
            kernels.fir_stack(x, position, *shared, self._taps, state["past"], self.out, self._scratch)
            state["position"][...] = position + 1
        else:
            buffers = (self._u, self.out, self._scratch)
            kernels.recurrent_stack(x, *shared, self._space, state["real"], state["imag"], *buffers)
        self.out[:] = x
        return self.out


def _filter(layer: Any, length: int) -> Tensor:
    """Return the kernel (H, length) of a state space, with D in its first tap."""
    kernel = (taps(layer.discrete(), length) if hasattr(layer, "p") else layer.kernel(length)).clone()
    kernel[:, 0] += layer.d
    return kernel


def _space(layer: Any) -> list[Tensor]:
    """Return A, E, F, B and C of the recurrence in real and imaginary parts, each (H, N), and D."""
    if hasattr(layer, "p"):
        s4 = layer.discrete()
        parts = [2 * s4.g - 1, 2 * s4.e, s4.f, s4.b_bar, s4.c]
    else:
        a, weight = layer.coefficients()
        parts = [a, torch.zeros_like(a), torch.zeros_like(a), torch.ones_like(a), weight]
    return [part.resolve_conj().real if k == 0 else part.resolve_conj().imag for part in parts for k in (0, 1)] + [
        layer.d
    ]


class MambaStack(Stack):
    """Mamba."""

    def __init__(self, layer: Mamba, window: int | None) -> None:
        c, blocks = layer.config, list(layer.blocks)
        self._norm = _norms([b.norm for b in blocks])
        self._projections = (
            _stacked([b.in_proj.weight for b in blocks]),
            _stacked([b.x_proj.weight for b in blocks]),
            _stacked([b.dt_proj.weight for b in blocks]),
            _stacked([b.dt_proj.bias for b in blocks]),
            _stacked([b.out_proj.weight for b in blocks]),
        )
        self._conv = _stacked([b.conv.weight.T for b in blocks]), _stacked([b.conv.bias for b in blocks])
        self._a, self._d = _stacked([-torch.exp(b.a_log) for b in blocks]), _stacked([b.d for b in blocks])
        self._final = _f32(layer.norm.weight), _f32(layer.norm.bias), np.float32(layer.norm.eps)
        sizes = (
            c.dim,
            2 * c.inner,
            c.inner,
            c.rank + 2 * c.state,
            c.inner,
            max(2 * c.inner, c.rank + 2 * c.state),
        )
        self._scratch = (*(np.zeros(size, np.float32) for size in sizes), np.zeros(c.dim, np.float32))
        self.out = np.zeros(c.dim, np.float32)
        self.state = {
            "past": np.zeros((len(blocks), c.conv - 1, c.inner), np.float32),
            "h": np.zeros((len(blocks), c.inner, c.state), np.float32),
        }

    def step(self, x: Floats32) -> Floats32:
        """Take a sample; see :meth:`Stack.step`."""
        weights = (self._norm, self._projections, self._conv, self._a, self._d)
        kernels.mamba_stack(x, *weights, self.state["past"], self.state["h"], self._final, self._scratch)
        self.out[:] = x
        return self.out


class LSTMStack(Stack):
    """LSTM. The first layer's input matrix is padded with zeros to the width of the others, or they to its."""

    def __init__(self, layer: LSTM, window: int | None) -> None:
        c, lstm = layer.config, layer.lstm
        width = max(c.dim, c.hidden)
        self._w_ih = np.zeros((c.layers, 4 * c.hidden, width), np.float32)
        for k in range(c.layers):
            weight = _f32(getattr(lstm, f"weight_ih_l{k}"))
            self._w_ih[k, :, : weight.shape[1]] = weight
        self._w_hh = _stacked([getattr(lstm, f"weight_hh_l{k}") for k in range(c.layers)])
        self._bias = _stacked(
            [getattr(lstm, f"bias_ih_l{k}") + getattr(lstm, f"bias_hh_l{k}") for k in range(c.layers)]
        )
        self._zeros = np.zeros(4 * c.hidden, np.float32)
        self._gates, self._recurrent = self._zeros.copy(), self._zeros.copy()
        self._size = c.hidden
        self._x = np.zeros(width, np.float32)
        self.out = np.zeros(c.hidden, np.float32)
        self.state = {
            "h": np.zeros((c.layers, c.hidden), np.float32),
            "c": np.zeros((c.layers, c.hidden), np.float32),
        }

    def step(self, x: Floats32) -> Floats32:
        """Take a sample; see :meth:`Stack.step`."""
        h, c = self.state["h"], self.state["c"]
        self._x[: len(x)] = x
        kernels.lstm_stack(
            self._x, self._w_ih, self._w_hh, self._bias, h, c, self._gates, self._recurrent, self._zeros
        )
        self.out[:] = h[-1]
        return self.out


STACKS: dict[str, Any] = {"s4": GatedStack, "s4d": GatedStack, "mamba": MambaStack, "lstm": LSTMStack}
"""Kind of layer to its packed form."""


def make_stack(layer: Any, window: int | None = None) -> Stack:
    """Return a layer in its packed form, at its start.

    Parameters
    ----------
    layer
        In float64, so that what is derived from the weights is exact.
    window
        Samples per window, where the layer begins anew in each; None for endless streams.
    """
    made: Stack = STACKS[layer.config.kind](layer, window)
    return made
