"""The models: one sequence layer at the input rate (flat), or one inside chunks and one over them (HiSS).

Bhirangi et al., "Hierarchical State Space Models for Continuous Sequence-to-Sequence Modeling", ICML 2024,
arXiv 2402.10211. One contract for all of them: ``forward(x: (B, L, in_dim)) -> (B, L / chunk, out_dim)``, and the
same sample by sample with ``initial_state`` and ``step``.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from baselines.config import FlatConfig, HierarchicalConfig
from baselines.errors import ModelError
from baselines.layers import S4, LSTMConfig, SequenceLayer, make_layer
from baselines.layers.base import ALL
from baselines.layers.s4 import S4Layer

__all__ = ["FlatModel", "FlatState", "HierarchicalModel", "HierarchicalState", "Projected", "param_groups"]


class Projected(SequenceLayer):
    """A sequence layer between two linear maps, the embedding and the decoder."""

    def __init__(self, in_dim: int, layer: SequenceLayer, out_dim: int) -> None:
        super().__init__()
        self.in_dim, self.out_dim = in_dim, out_dim
        self.embed = nn.Linear(in_dim, layer.in_dim)
        self.layer = layer
        self.decoder = nn.Linear(layer.out_dim, out_dim)

    def forward(self, x: Tensor, readout: slice = ALL) -> Tensor:
        """Run over whole sequences; see :meth:`SequenceLayer.forward`."""
        return self.decoder(self.layer(self.embed(x), readout))

    def initial_state(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> Any:
        """Return the state of the layer inside."""
        return self.layer.initial_state(batch_size, device, dtype)

    def step(self, x_t: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Take one sample; see :meth:`SequenceLayer.step`."""
        y, state = self.layer.step(self.embed(x_t), state)
        return self.decoder(y), state


class FlatState(NamedTuple):
    """State of a :class:`FlatModel` between two samples."""

    position: int
    """Samples taken of the current chunk."""
    layer: Any


class FlatModel(nn.Module):
    """One sequence layer at the input rate, read out once a chunk.

    Parameters
    ----------
    config
        Sizes, the layer, the chunk and the sample of each chunk that gives the output.
    """

    def __init__(self, config: FlatConfig) -> None:
        super().__init__()
        self.config = config
        self.net = Projected(config.in_dim, make_layer(config.layer), config.out_dim)
        self._offset = 0 if config.readout == "first" else config.chunk - 1

    def forward(self, x: Tensor) -> Tensor:
        """Predict over whole sequences.

        Parameters
        ----------
        x
            (B, L, in_dim), L a multiple of the chunk.

        Returns
        -------
        Tensor
            (B, L / chunk, out_dim).

        Raises
        ------
        ModelError
            A wrong shape, or (on the CPU) a value that is not finite.
        """
        check_input(x, self.config)
        return self.net(x, slice(self._offset, None, self.config.chunk))

    def at_input_rate(self, x: Tensor) -> Tensor:
        """Return the predictions at every input sample, (B, L, out_dim), for any L."""
        check_input(x, self.config, whole_chunks=False)
        return self.net(x)

    def initial_state(
        self, batch_size: int = 1, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> FlatState:
        """Return the state before the first sample."""
        return FlatState(0, self.net.initial_state(batch_size, torch.device(device), dtype))

    def step(self, x_t: Tensor, state: FlatState) -> tuple[Tensor | None, FlatState]:
        """Take one sample.

        Parameters
        ----------
        x_t
            (B, in_dim).
        state
            What :meth:`initial_state` or the previous call returned.

        Returns
        -------
        tuple
            The prediction (B, out_dim) if this is the read-out sample of its chunk, else None; the next state.
        """
        check_sample(x_t, self.config)
        hidden, layer = self.net.layer.step(self.net.embed(x_t), state.layer)
        y = self.net.decoder(hidden) if state.position == self._offset else None
        return y, FlatState((state.position + 1) % self.config.chunk, layer)


class HierarchicalState(NamedTuple):
    """State of a :class:`HierarchicalModel` between two samples."""

    position: int
    """Samples taken of the current chunk."""
    low: Any
    low_start: Any
    """The low level's state before a chunk, to which it returns at every chunk's end."""
    high: Any


class HierarchicalModel(nn.Module):
    """HiSS: one layer inside each chunk, whose last output is the chunk's feature, and one over these features.

    Parameters
    ----------
    config
        Sizes, the two layers, the chunk.
    """

    def __init__(self, config: HierarchicalConfig) -> None:
        super().__init__()
        self.config = config
        feature = config.high.dim
        self.low = Projected(config.in_dim, make_layer(config.low), feature)
        high = make_layer(config.high)
        # only the LSTM, whose width is free, has its own projections on the high level, as published
        self.high = Projected(feature, high, feature) if isinstance(config.high, LSTMConfig) else high
        self.output = nn.Linear(feature, config.out_dim)

    def forward(self, x: Tensor) -> Tensor:
        """Predict over whole sequences; arguments, result and errors as for :meth:`FlatModel.forward`."""
        check_input(x, self.config)
        chunk = self.config.chunk
        chunks = x.reshape(-1, chunk, self.config.in_dim)
        features = self.low(chunks, slice(chunk - 1, chunk)).reshape(x.shape[0], x.shape[1] // chunk, -1)
        return self.output(self.high(features))

    def initial_state(
        self, batch_size: int = 1, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> HierarchicalState:
        """Return the state before the first sample."""
        low, high = (
            level.initial_state(batch_size, torch.device(device), dtype) for level in (self.low, self.high)
        )
        return HierarchicalState(0, low, low, high)

    def step(self, x_t: Tensor, state: HierarchicalState) -> tuple[Tensor | None, HierarchicalState]:
        """Take one sample; as :meth:`FlatModel.step`, with the prediction at the last sample of each chunk."""
        check_sample(x_t, self.config)
        hidden, low = self.low.layer.step(self.low.embed(x_t), state.low)
        if state.position + 1 < self.config.chunk:
            return None, state._replace(position=state.position + 1, low=low)
        y, high = self.high.step(self.low.decoder(hidden), state.high)
        return self.output(y), HierarchicalState(0, state.low_start, state.low_start, high)


def check_input(x: Tensor, config: FlatConfig | HierarchicalConfig, whole_chunks: bool = True) -> None:
    """Raise :class:`ModelError` unless ``x`` is (B, L, in_dim), L a positive multiple of the chunk, all finite.

    Values are looked at on the CPU only: elsewhere the look would wait for the device.
    """
    if x.ndim != 3 or x.shape[-1] != config.in_dim:
        raise ModelError(
            f"{config.name}: expected an input of shape (batch, length, {config.in_dim}), got {tuple(x.shape)}."
        )
    length, chunk = x.shape[1], config.chunk
    if length == 0 or (whole_chunks and length % chunk):
        raise ModelError(
            f"{config.name}: expected a length that is a positive multiple of the chunk of {chunk} samples, got "
            f"{length}. Cut to {length - length % chunk} or pad to {length + -length % chunk} samples."
        )
    if x.device.type == "cpu" and not torch.compiler.is_compiling() and not torch.isfinite(x.sum()):
        bad = (~torch.isfinite(x)).nonzero()
        if len(bad):  # a sum of finite numbers may overflow
            raise ModelError(
                f"{config.name}: {len(bad)} input values are not finite, the first at (sequence, step, channel) = "
                f"{tuple(bad[0].tolist())}. Remove or interpolate them before prediction."
            )


def check_sample(x_t: Tensor, config: FlatConfig | HierarchicalConfig) -> None:
    """Raise :class:`ModelError` unless ``x_t`` is (B, in_dim)."""
    if x_t.ndim != 2 or x_t.shape[-1] != config.in_dim:
        raise ModelError(
            f"{config.name}: expected a sample of shape (batch, {config.in_dim}), got {tuple(x_t.shape)}."
        )


def param_groups(model: nn.Module, lr: float) -> list[dict[str, Any]]:
    """Return the parameter groups for an optimiser, with S4's own learning rate where its configuration sets one.

    Parameters
    ----------
    model
        Any model of this package.
    lr
        Learning rate of everything else.

    Returns
    -------
    list of dict
        ``[{"name": "base", "params": [...], "lr": lr}]``, and for each distinct ``S4Config.learning_rate`` that is
        not None a group ``{"name": "s4", "params": [...], "lr": ..., "weight_decay": 0.0}`` with Delta, Lambda, P
        and B of those layers. Every parameter is in exactly one group.
    """
    special: dict[float, list[nn.Parameter]] = {}
    for stack in model.modules():
        if isinstance(stack, S4) and stack.config.learning_rate is not None:
            for layer in stack.modules():
                if isinstance(layer, S4Layer):
                    special.setdefault(stack.config.learning_rate, []).extend(layer.dynamics())
    taken = {id(p) for group in special.values() for p in group}
    groups: list[dict[str, Any]] = [
        {"name": "base", "params": [p for p in model.parameters() if id(p) not in taken], "lr": lr}
    ]
    for rate, params in special.items():
        groups.append({"name": "s4", "params": params, "lr": rate, "weight_decay": 0.0})
    return groups
