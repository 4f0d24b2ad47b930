"""The streaming step of a model as one module of real tensors: what can be exported.

Samples and state in, prediction and state out, in physical units on both sides. All that the eager step does
with Python (positions, complex numbers, coefficients made once) is resolved here or in real arithmetic. All state
begins as zeros.

==================  ==============================================================================================
low levels          a call takes a whole chunk, so they run over their windows at once, without a state; only with
                    an overlap the features before the chunk are kept
S4, S4D inside      the kernel's first taps, as a constant
S4, S4D, LRU else   real recurrences, S4 and S4D in float64
a model of one's    its own step, a chunk at once; a state that does not begin as zeros is put in at the first call
own
baseline            is not inside: samples come without their offset
low-pass            in float64, as the matrices that map (state, chunk) to (filtered chunk, state)
==================  ==============================================================================================
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from baselines.errors import OptionError
from baselines.layers import Transformer
from baselines.layers.base import ALL, SequenceLayer
from baselines.layers.chunks import Chunks
from baselines.layers.gated import GatedStack
from baselines.layers.lru import LRULayer
from baselines.layers.pooling import Pool
from baselines.layers.projected import Projected
from baselines.layers.s4 import toeplitz_convolution
from baselines.layers.transformer import frequencies
from baselines.models.model import FlatModel, HierarchicalModel
from baselines.models.own import OwnModel
from baselines.runs.interface import Interface
from baselines.stream.engine import leaves, map_leaves
from baselines.stream.own_step import OwnStep
from baselines.stream.state_space import filter_taps, recurrence

__all__ = ["StepModule"]


class ShortFilter(nn.Module):
    """A state space over a short window: the product with its first taps."""

    kernel: Tensor

    def __init__(self, layer: Any, window: int) -> None:
        super().__init__()
        self.register_buffer("kernel", filter_taps(copy.deepcopy(layer).double(), window).to(layer.d.dtype))

    def forward(self, u: Tensor, readout: slice = ALL) -> Tensor:
        """Map u (B, W, H) to y (B, steps, H)."""
        return toeplitz_convolution(u, self.kernel, readout)


class RealStateSpace(nn.Module):
    """The recurrence of S4 or S4D in real float64: x' = A x - E Re(F . x) + B u, y = 2 Re(C . x') + D u."""

    a_real: Tensor
    a_imag: Tensor
    e_real: Tensor
    e_imag: Tensor
    f_real: Tensor
    f_imag: Tensor
    b_real: Tensor
    b_imag: Tensor
    c_real: Tensor
    c_imag: Tensor
    d: Tensor

    def __init__(self, layer: Any) -> None:
        super().__init__()
        exact = copy.deepcopy(layer).double()
        parts = recurrence(exact)
        self.rank_one = "e" in parts
        for name, value in parts.items():
            self.register_buffer(f"{name}_real", value.real.clone())
            self.register_buffer(f"{name}_imag", value.imag.clone())
        self.register_buffer("d", exact.d.detach().clone())

    def zeros(self, dtype: torch.dtype) -> Tensor:
        """Return the state before the first sample, (2, H, N/2)."""
        return torch.zeros(2, *self.a_real.shape, dtype=torch.float64)

    def step(self, u_t: Tensor, x: Tensor, none: tuple[()]) -> tuple[Tensor, Tensor]:
        """Map u_t (1, H) and the state to y_t and the next state."""
        real, imag, u = x[0], x[1], u_t[0].double()
        new_real = self.a_real * real - self.a_imag * imag + self.b_real * u[:, None]
        new_imag = self.a_real * imag + self.a_imag * real + self.b_imag * u[:, None]
        if self.rank_one:
            product = (self.f_real * real - self.f_imag * imag).sum(-1, keepdim=True)
            new_real, new_imag = new_real - self.e_real * product, new_imag - self.e_imag * product
        y = 2.0 * (self.c_real * new_real - self.c_imag * new_imag).sum(-1) + self.d * u
        return y.to(u_t.dtype)[None], torch.stack((new_real, new_imag))


class RealLRU(nn.Module):
    """The LRU in real arithmetic."""

    real: Tensor
    imag: Tensor
    b: Tensor
    c: Tensor
    d: Tensor

    def __init__(self, layer: LRULayer) -> None:
        super().__init__()
        eigenvalues, b, c = layer.coefficients()
        parts = {"real": eigenvalues.real, "imag": eigenvalues.imag, "b": b, "c": c, "d": layer.d}
        for name, value in parts.items():
            self.register_buffer(name, value.detach().clone())

    def zeros(self, dtype: torch.dtype) -> Tensor:
        """Return the state before the first sample, (2, N)."""
        return torch.zeros(2, len(self.real), dtype=dtype)

    def step(self, u_t: Tensor, x: Tensor, none: tuple[()]) -> tuple[Tensor, Tensor]:
        """Map u_t (1, H) and the state to y_t and the next state."""
        drive = (u_t @ self.b)[0].unflatten(0, (2, -1))
        real = self.real * x[0] - self.imag * x[1] + drive[0]
        imag = self.real * x[1] + self.imag * x[0] + drive[1]
        return torch.cat((real, imag))[None] @ self.c + self.d * u_t, torch.stack((real, imag))


def real_form(layer: SequenceLayer, window: int | None) -> SequenceLayer:
    """Return a layer without complex numbers: a copy, for windows of a length or for endless streams."""
    layer = copy.deepcopy(layer)
    inner: Any = layer.layer if isinstance(layer, Projected) else layer
    if isinstance(inner, GatedStack):
        blocks: Any = inner.blocks
        for block in blocks:
            if isinstance(block.layer, LRULayer):
                block.layer = RealLRU(block.layer)  # type: ignore[assignment]
            else:
                space = RealStateSpace(block.layer) if window is None else ShortFilter(block.layer, window)
                block.layer = space  # type: ignore[assignment]
    if isinstance(inner, Transformer):
        # exp of ONNX is the last bit off torch's, and a late position multiplies that
        inner.known_frequencies = frequencies(inner.config.dim)
    return layer


def zero_state(layer: SequenceLayer, dtype: torch.dtype) -> Any:
    """Return the state of a layer in its real form, before the first sample; all zeros."""
    inner: Any = layer.layer if isinstance(layer, Projected) else layer
    if isinstance(inner, GatedStack):
        blocks: Any = inner.blocks
        return tuple((block.layer.zeros(dtype), ()) for block in blocks)
    if isinstance(inner, Transformer) and inner.config.window is None:
        raise OptionError(
            "window",
            None,
            "a number of steps: the exported state of a Transformer has a fixed size",
            "Pass --window N (with_window in Python): the whole past would need a memory that grows.",
        )
    return layer.initial_state(1, torch.device("cpu"), dtype)


class Level(nn.Module):
    """A level below the highest, over a whole chunk of its input at once."""

    def __init__(self, chunks: Chunks, level: Any, pool: Pool) -> None:
        super().__init__()
        self.chunks, self.pool = chunks, copy.deepcopy(pool)
        self.level = real_form(level, chunks.window)
        # these have no form over a whole window that consists of plain tensor operations
        self.unrolled = level.layer.config.kind in ("mamba", "lru", "lstm", "gru")

    def forward(self, x: Tensor) -> Tensor:
        """Map (1, overlap + n size, in_dim) to (1, n, out_dim)."""
        level: Any = self.level
        chunk_count = (x.shape[1] - self.chunks.overlap) // self.chunks.size
        starts = range(0, chunk_count * self.chunks.size, self.chunks.size)
        h = level.embed(torch.cat([x[:, first : first + self.chunks.window] for first in starts]))
        features = [self._unroll(level.layer, h[k : k + 1]) for k in range(chunk_count)] if self.unrolled else None
        outputs = level.layer(h, self.pool.steps) if features is None else torch.cat(features)
        return level.decoder(self.pool(outputs))[None]

    def _unroll(self, layer: Any, h: Tensor) -> Tensor:
        state, outputs = zero_state(layer, h.dtype), []
        for h_t in h.unbind(1):
            y, state = layer.step(h_t, state)
            outputs.append(y)
        return torch.stack(outputs, dim=1)[:, self.pool.steps]


class StepModule(nn.Module):
    """Samples (n, C) in float64 and state tensors to a prediction (D,) in float64 and the next state tensors.

    Parameters
    ----------
    model
        In float32 on the CPU.
    interface
        Of the data it was trained on.

    Attributes
    ----------
    samples
        n, the samples of a call: 1 for flat models, else a chunk.
    period, due
        The output of every ``period``-th call is a prediction, beginning with call number ``due`` (from 0); a flat
        model's outputs of the other calls are what it says at the input rate.
    states
        Names and initial values (all zeros) of the state tensors, in order.
    """

    in_shift: Tensor
    in_scale: Tensor
    out_shift: Tensor
    out_scale: Tensor
    direct: Tensor
    carried: Tensor
    added: Tensor
    kept: Tensor
    zi: Tensor

    def __init__(self, model: FlatModel | HierarchicalModel | OwnModel, interface: Interface) -> None:
        super().__init__()
        config: Any = model.config
        flat = isinstance(model, FlatModel)
        self.samples = 1 if flat else config.chunk
        self.period = config.chunk if flat else 1
        self.due = model._offset if isinstance(model, FlatModel) else 0
        self.interface = interface
        self.levels: Any = nn.ModuleList()
        self.output: nn.Module = nn.Identity()
        if isinstance(model, OwnModel):
            self.top: Any = OwnStep(model)
            self._top_state = self.top.start
        else:
            if isinstance(model, HierarchicalModel):
                self.levels.extend(Level(*part) for part in model._levels())
                self.output = copy.deepcopy(model.output)
            self.top = real_form(model.net if isinstance(model, FlatModel) else model.high, None)
            self._top_state = zero_state(self.top, torch.float32)
        self._kept = [path for path, leaf in leaves(self._top_state) if isinstance(leaf, Tensor) and leaf.numel()]
        self._register_constants()
        self.states = self._zero_states(config)

    def _register_constants(self) -> None:
        normalization = self.interface.normalization
        constants: dict[str, Any] = {}
        for name, affine in (("in", normalization.inputs), ("out", normalization.targets)):
            constants |= {f"{name}_shift": affine.shift, f"{name}_scale": affine.scale}
        if self.interface.lowpass is not None:
            constants |= filter_matrices(self.interface.lowpass.sections(self.interface.input_hz), self.samples)
        for name, value in constants.items():
            self.register_buffer(name, torch.tensor(np.asarray(value, dtype=np.float64)))
        initial = dict(leaves(self._top_state))
        self._starts = {path: f"start{k}" for k, path in enumerate(self._kept) if initial[path].any()}
        for path, name in self._starts.items():
            self.register_buffer(name, initial[path].detach().clone())

    def _zero_states(self, config: Any) -> dict[str, Tensor]:
        channels = len(self.interface.inputs)
        states: dict[str, Tensor] = {}
        states["started"] = torch.zeros(1, dtype=torch.float64)
        if self.interface.lowpass is not None:
            states["filtered"] = torch.zeros(self.zi.shape[0], channels, dtype=torch.float64)
        if self.interface.deltas:
            states["previous"] = torch.zeros(channels)
        if self.levels and self.levels[0].chunks.overlap:
            states["before"] = torch.zeros(self.levels[0].chunks.overlap, config.in_dim)
        initial = dict(leaves(self._top_state))
        return states | {f"layer{k}": torch.zeros_like(initial[path]) for k, path in enumerate(self._kept)}

    def forward(self, samples: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """Take a call's samples."""
        next_state: dict[str, Tensor] = {}
        named = dict(zip(self.states, state, strict=True))
        x = self._features(samples, named, next_state)
        if "before" in named:
            x = torch.cat((named["before"], x))
            next_state["before"] = x[-named["before"].shape[0] :]
        x = x[None]
        for level in self.levels:
            x = level(x)
        kept = {path: named[f"layer{k}"] for k, path in enumerate(self._kept)}
        for path, name in self._starts.items():
            kept[path] = torch.where(named["started"] == 0, getattr(self, name), kept[path])
        top_state = map_leaves(self._top_state, lambda path, leaf: kept.get(path, leaf))
        y, top_state = self.top.step(x if isinstance(self.top, OwnStep) else x[:, 0], top_state)
        after = dict(leaves(top_state))
        next_state |= {f"layer{k}": after[path] for k, path in enumerate(self._kept)}
        prediction = self.output(y)[0].double() * self.out_scale + self.out_shift
        # programs compiled by AOTInductor take states for contiguous, and read other numbers where they are not
        return prediction, *(next_state[name].contiguous() for name in self.states)

    def _features(self, rows: Tensor, state: dict[str, Tensor], next_state: dict[str, Tensor]) -> Tensor:
        """Clip, filter, append deltas, clip and normalise, as :mod:`baselines.stream.preparation` does."""
        if self.interface.raw_clip is not None:
            rows = rows.clamp(-self.interface.raw_clip, self.interface.raw_clip)
        next_state["started"] = state["started"].clamp(min=1.0)
        is_first = state["started"] == 0
        if "filtered" in state:
            filter_state: Any = torch.where(is_first, self.zi * rows[:1], state["filtered"])
            next_state["filtered"] = self.added @ rows + self.kept @ filter_state
            rows = self.direct @ rows + self.carried @ filter_state
        rows = rows.float()
        if "previous" in state:
            previous = torch.where(is_first, rows[0], state["previous"])
            next_state["previous"] = rows[-1].clone()
            rows = torch.cat((rows, rows - torch.cat((previous[None], rows[:-1]))), dim=1)
        if self.interface.clip is not None:
            rows = rows.clamp(-self.interface.clip, self.interface.clip)
        return ((rows.double() - self.in_shift) / self.in_scale).float()


def filter_matrices(sos: Any, length: int) -> dict[str, Any]:
    """Return the matrices of a filter over ``length`` samples: y = direct x + carried z, z' = added x + kept z.

    Returns
    -------
    dict
        ``direct`` (length, length), ``carried`` (length, 2 S), ``added`` (2 S, length), ``kept`` (2 S, 2 S), and
        ``zi`` (2 S, 1), the state for a first sample of 1.
    """
    from scipy import signal

    size = 2 * len(sos)
    inputs = np.concatenate([np.zeros((length, size)), np.eye(length)], axis=1)
    states = np.concatenate([np.eye(size), np.zeros((size, length))], axis=1).reshape(-1, 2, size + length)
    y, z = signal.sosfilt(sos, inputs, axis=0, zi=states)
    z = z.reshape(size, -1)
    return {
        "direct": y[:, size:],
        "carried": y[:, :size],
        "added": z[:, size:],
        "kept": z[:, :size],
        "zi": signal.sosfilt_zi(sos).reshape(size, 1),
    }
