"""The whole model over packed stacks: levels, windows, readouts."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from baselines.errors import StateError
from baselines.layers.chunks import Chunks
from baselines.layers.pooling import AttentionPool, LastPool, LinearPool, Pool
from baselines.layers.projected import Projected
from baselines.models.model import FlatModel
from baselines.models.own import OwnModel
from baselines.models.own_window import WindowedModel
from baselines.stream.engine import Arrays, Engine, Model, misfit
from baselines.stream.fast.gated import LRUStack, StateSpaceStack
from baselines.stream.fast.mamba import Mamba2Stack, MambaStack
from baselines.stream.fast.pointwise import affine
from baselines.stream.fast.recurrent import GRUStack, LSTMStack
from baselines.stream.fast.stack import Floats32, Stack, f32
from baselines.stream.fast.tcn import TCNStack
from baselines.stream.fast.transformer import TransformerStack

__all__ = ["FAST_KINDS", "FastEngine"]

STACKS: dict[str, Any] = {
    "s4": StateSpaceStack,
    "s4d": StateSpaceStack,
    "lru": LRUStack,
    "mamba": MambaStack,
    "mamba2": Mamba2Stack,
    "lstm": LSTMStack,
    "gru": GRUStack,
    "tcn": TCNStack,
    "transformer": TransformerStack,
}
"""Kind of layer to its packed form."""

FAST_KINDS = tuple(STACKS)
"""Kinds of layers that have compiled loops."""

StateGroup = tuple[str, dict[str, npt.NDArray[Any]], frozenset[str]]
"""A prefix, arrays by name, and those of them that grow along their second axis."""


def make_stack(layer: Any, window: int | None = None) -> Stack:
    """Return a layer in its packed form, at its start.

    Parameters
    ----------
    layer
        In float64, so that what is derived from the weights is exact.
    window
        Samples per window, where the layer begins anew in each; None for endless streams.
    """
    stack: Stack = STACKS[layer.config.kind](layer, window)
    return stack


class Linear:
    """A linear map with its output buffer."""

    def __init__(self, linear: torch.nn.Linear) -> None:
        self.weight, self.bias = f32(linear.weight), f32(linear.bias)
        self.out = np.zeros(len(self.bias), np.float32)

    def __call__(self, x: Floats32) -> Floats32:
        """Return W x + b, overwritten by the next call."""
        affine(x, self.weight, self.bias, self.out)
        return self.out


class Window:
    """A stack inside one window, and its outputs there, (W, D), as far as they are read."""

    def __init__(self, stack: Stack, samples: int, width: int) -> None:
        self.stack = stack
        self.outputs = np.zeros((samples, width), np.float32)

    def reset(self) -> None:
        """Return to before the window's first sample."""
        self.stack.reset()
        self.outputs[...] = 0


class Level:
    """A level below the highest, as :class:`baselines.layers.chunks.Chunks`."""

    def __init__(self, chunks: Chunks, level: Projected, pool: Pool) -> None:
        self.chunks, self._pool, self._reads_all = chunks, pool, not isinstance(pool, LastPool)
        self._embed, self._decoder = Linear(level.embed), Linear(level.decoder)
        first_stack = make_stack(level.layer, chunks.window)
        stacks = [first_stack, *(first_stack.fresh() for _ in range(chunks.open_windows - 1))]
        self.windows = [Window(stack, chunks.window, self._decoder.weight.shape[1]) for stack in stacks]
        self._x = np.zeros_like(self._embed.out)
        self._zero = np.zeros(level.in_dim, np.float32)
        if isinstance(pool, LinearPool):
            self._weight = f32(pool.weight)
        elif isinstance(pool, AttentionPool):
            self._query, self._bias = f32(pool.query), f32(pool.bias)
        self.reset()

    def reset(self) -> None:
        """Return to before the first sample: the first windows have seen their zeros."""
        self.position = np.zeros((), np.int64)
        for window in self.windows:
            window.reset()
        for past in range(-self.chunks.overlap, 0):
            self._advance(self._zero, past)

    def step(self, x: Floats32) -> Floats32 | None:
        """Take a sample; return the feature if it completes a chunk."""
        self._advance(x, int(self.position))
        if self.position + 1 < self.chunks.size:
            self.position += 1
            return None
        finished = self.windows.pop(0)
        feature = self._decoder(self._pool_outputs(finished.outputs))
        finished.stack.reset()
        self.windows.append(finished)
        self.position[...] = 0
        return feature

    def _advance(self, x: Floats32, position: int) -> None:
        embedded = self._embed(x)
        for later_by, window in enumerate(self.windows):
            row = self.chunks.overlap + position - later_by * self.chunks.size
            if row >= 0:
                self._x[:] = embedded
                if self._reads_all or row + 1 == len(window.outputs):
                    window.outputs[row] = window.stack.step(self._x)
                else:
                    window.stack.skip(self._x)

    def _pool_outputs(self, outputs: Floats32) -> Floats32:
        if not self._reads_all:
            return outputs[-1]
        if isinstance(self._pool, LinearPool):
            return np.asarray((self._weight * outputs).sum(axis=0))
        score = outputs @ self._query * np.float32(self._query.size**-0.5) + self._bias
        weight = np.exp(score - score.max())
        return np.asarray(weight @ outputs / weight.sum(), dtype=np.float32)

    def state_groups(self, prefix: str) -> Iterator[StateGroup]:
        """Return all that is remembered, in place."""
        yield prefix, {"position": self.position}, frozenset()
        for k, window in enumerate(self.windows):
            yield f"{prefix}{k}.", {"outputs": window.outputs}, frozenset()
            yield f"{prefix}{k}.", window.stack.state, window.stack.growing


class FastEngine(Engine):
    """Runs a model in compiled loops, in float32 on the CPU.

    Parameters
    ----------
    model
        All of its layers of :data:`FAST_KINDS`. Its weights are copied.
    """

    name = "fast"

    def __init__(self, model: Model) -> None:
        exact: Any = copy.deepcopy(model).double().eval()
        with torch.no_grad():
            self._pack(exact)
        self.reset()
        # loops are compiled, or read from numba's cache, before the first sample, which would have to wait for it
        self.push(np.zeros((model.config.chunk, model.config.in_dim)))
        self.reset()

    def _pack(self, model: Any) -> None:
        self._flat = isinstance(model, FlatModel)
        if self._flat:
            self._levels: list[Level] = []
            top, self._decoder = model.net, Linear(model.net.decoder)
            self._chunk, self._offset = model.config.chunk, model._offset
        else:
            self._levels = [Level(*parts) for parts in model._levels()]
            top, self._decoder = model.high, Linear(model.output)
            self._chunk, self._offset = 1, 0
        # only recurrent layers have their own projections on the high level
        projected = isinstance(top, Projected)
        self._embed = Linear(top.embed) if projected else None
        self._inner_decoder = Linear(top.decoder) if projected and not self._flat else None
        self._stack = make_stack(top.layer if projected else top)

    @staticmethod
    def can_run(model: Model) -> bool:
        """Tell whether all layers have compiled loops, on the CPU and in float32."""
        config: Any = model.config
        if isinstance(model, OwnModel | WindowedModel):
            return False
        layers = [config.layer] if isinstance(model, FlatModel) else [config.low, config.mid, config.high]
        parameter = next(model.parameters())
        kinds = {layer.kind for layer in layers if layer is not None}
        return kinds <= set(FAST_KINDS) and parameter.device.type == "cpu" and parameter.dtype == torch.float32

    def reset(self) -> None:
        """Return to the state before the first sample."""
        self._position = np.zeros((), np.int64)
        self._stack.reset()
        for level in self._levels:
            level.reset()

    def push(self, features: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
        """Step through the samples; see :meth:`Engine.push`."""
        rows = np.ascontiguousarray(features, dtype=np.float32)
        outputs = [output for row in rows if (output := self._step(row)) is not None]
        return np.array(outputs, np.float32).reshape(-1, len(self._decoder.out))

    def _step(self, row: Floats32) -> Floats32 | None:
        x = row
        for level in self._levels:
            feature = level.step(x)
            if feature is None:
                return None
            x = feature
        top_input = self._embed(x) if self._embed else x
        output_due = self._position == self._offset
        self._position[...] = (self._position + 1) % self._chunk
        if not output_due:
            self._stack.skip(top_input)
            return None
        y = self._stack.step(top_input)
        return self._decoder(self._inner_decoder(y) if self._inner_decoder else y).copy()

    def _state_groups(self) -> Iterator[StateGroup]:
        yield "", {"position": self._position}, frozenset()
        yield "high.", self._stack.state, self._stack.growing
        for k, level in enumerate(self._levels):
            yield from level.state_groups(f"level.{k}.")

    def _state_entries(self) -> dict[str, tuple[dict[str, npt.NDArray[Any]], str, bool]]:
        """Return by path the group that holds each array, its name there, and whether it grows."""
        return {
            f"{prefix}{name}": (group, name, name in growing)
            for prefix, group, growing in self._state_groups()
            for name in group
        }

    def state(self) -> Arrays:
        """Return copies of all that is remembered."""
        return {path: group[name].copy() for path, (group, name, _) in self._state_entries().items()}

    def load(self, arrays: Arrays) -> None:
        """Take up a state; see :meth:`Engine.load`."""
        entries = self._state_entries()
        if set(entries) != set(arrays):
            mismatched = ", ".join(sorted(set(entries) ^ set(arrays))[:3])
            raise StateError(f"state of another model: entries that only one of the two has are {mismatched}.")
        for path, (group, name, grows) in entries.items():
            loaded, present = arrays[path], group[name]
            shape = (*present.shape[:1], *loaded.shape[1:2], *present.shape[2:]) if grows else present.shape
            if loaded.shape != shape or loaded.dtype != present.dtype:
                raise misfit(path, present, loaded)
        for path, (group, name, grows) in entries.items():
            if grows:
                group[name] = arrays[path].copy()
            else:
                group[name][...] = arrays[path]
