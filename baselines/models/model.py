"""The models: one sequence layer at the input rate (flat), or one inside chunks and another over them (HiSS).

Bhirangi et al., "Hierarchical State Space Models for Continuous Sequence-to-Sequence Modeling", ICML 2024,
arXiv 2402.10211. One contract for all of them: ``forward(x: (B, L, in_dim)) -> (B, L / chunk, out_dim)``, and the
same sample by sample with ``initial_state`` and ``step``.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from baselines.cpu.threads import looked_into
from baselines.errors import ModelError
from baselines.layers import GRUConfig, LSTMConfig, make_layer
from baselines.layers.chunks import Chunks, ChunkState
from baselines.layers.gated import GatedStack, Recurrence
from baselines.layers.pooling import Pool, make_pool
from baselines.layers.projected import Projected
from baselines.models.config import FlatConfig, HierarchicalConfig, ModelConfig, check_model_config

__all__ = ["FlatModel", "FlatState", "HierarchicalModel", "HierarchicalState", "param_groups"]


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
        check_model_config(config, FlatConfig)
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
            A wrong shape, something else than a tensor of the weights' type, or (on the CPU) a value that is not
            finite.
        """
        check_input(x, self.config, self.net.embed)
        return self.net(x, slice(self._offset, None, self.config.chunk))

    def at_input_rate(self, x: Tensor) -> Tensor:
        """Return the predictions at every input sample, (B, L, out_dim), for any L; else as :meth:`forward`."""
        check_input(x, self.config, self.net.embed, whole_chunks=False)
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

        Raises
        ------
        ModelError
            A wrong shape, or something else than a tensor of the weights' type.
        """
        check_sample(x_t, self.config, self.net.embed)
        hidden, layer = self.net.layer.step(self.net.embed(x_t), state.layer)
        y = self.net.decoder(hidden) if state.position == self._offset else None
        return y, FlatState((state.position + 1) % self.config.chunk, layer)


class HierarchicalState(NamedTuple):
    """State of a :class:`HierarchicalModel` between two samples."""

    inner: tuple[ChunkState, ...]
    """Of the levels below the highest, lowest first."""
    high: Any


class HierarchicalModel(nn.Module):
    """HiSS: one layer inside each chunk, which gives the chunk's feature, and one over these features.

    With a middle layer there are three levels: inside sub-chunks, over the sub-chunks of a chunk, over the chunks.

    Parameters
    ----------
    config
        Sizes, the layers, the chunk, and how a chunk becomes a feature.
    """

    def __init__(self, config: HierarchicalConfig) -> None:
        check_model_config(config, HierarchicalConfig)
        super().__init__()
        self.config = config
        feature, above = config.high.dim, config.mid or config.high
        self.low = Projected(config.in_dim, make_layer(config.low), above.dim)
        self.mid = Projected(config.mid.dim, make_layer(config.mid), feature) if config.mid else None
        high = make_layer(config.high)
        # only recurrent layers, whose width is free, have their own projections on the high level, as published
        has_projections = isinstance(config.high, LSTMConfig | GRUConfig)
        self.high = Projected(feature, high, feature) if has_projections else high
        self.output = nn.Linear(feature, config.out_dim)
        widths = [level.layer.out_dim for level in (self.low, self.mid) if level is not None]
        self.pools: Sequence[Pool] = nn.ModuleList(
            make_pool(config.readout, chunks.window, width)
            for chunks, width in zip(config.cuts, widths, strict=True)
        )  # type: ignore[assignment]

    def forward(self, x: Tensor) -> Tensor:
        """Predict over whole sequences; arguments, result and errors as for :meth:`FlatModel.forward`."""
        check_input(x, self.config, self.low.embed)
        for chunks, level, pool in self._levels():
            x = chunks.encode(level, pool, x)
        return self.output(self.high(x))

    def initial_state(
        self, batch_size: int = 1, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> HierarchicalState:
        """Return the state before the first sample."""
        size = (batch_size, torch.device(device), dtype)
        inner = tuple(chunks.initial_state(level, pool, *size) for chunks, level, pool in self._levels())
        return HierarchicalState(inner, self.high.initial_state(*size))

    def step(self, x_t: Tensor, state: HierarchicalState) -> tuple[Tensor | None, HierarchicalState]:
        """Take one sample; as :meth:`FlatModel.step`, with the prediction at the last sample of each chunk."""
        check_sample(x_t, self.config, self.low.embed)
        inner = list(state.inner)
        for k, (chunks, level, pool) in enumerate(self._levels()):
            feature, inner[k] = chunks.step(level, pool, x_t, inner[k])
            if feature is None:
                return None, HierarchicalState(tuple(inner), state.high)
            x_t = feature
        y, high = self.high.step(x_t, state.high)
        return self.output(y), HierarchicalState(tuple(inner), high)

    def _levels(self) -> Iterator[tuple[Chunks, Projected, Pool]]:
        """Return the levels below the highest, lowest first."""
        inner = (self.low,) if self.mid is None else (self.low, self.mid)
        return zip(self.config.cuts, inner, self.pools, strict=True)


def check_input(
    x: Tensor, config: ModelConfig, first: nn.Module | None = None, *, whole_chunks: bool = True
) -> None:
    """Raise :class:`ModelError` unless ``x`` is (B, L, in_dim), L a positive multiple of the chunk, all finite.

    Values are looked at on the CPU only: elsewhere the look would wait for the device. Where the module that takes
    them `first` is given, they are of the type of its weights.
    """
    _check_tensor(x, config, first)
    if x.ndim != 3 or x.shape[-1] != config.in_dim or x.shape[0] == 0:
        raise ModelError(
            f"{config.name}: expected an input of shape (batch, length, {config.in_dim}), got {tuple(x.shape)}."
            f"{' A batch has at least one sequence.' if x.shape[:1] == (0,) else ''}"
        )
    length, chunk = x.shape[1], config.chunk
    if length == 0 or (whole_chunks and length % chunk):
        whole = length - length % chunk
        raise ModelError(
            f"{config.name}: expected a length that is a positive multiple of the chunk of {chunk} samples, got "
            f"{length}. {f'Cut to {whole} or pad' if whole else 'Pad'} to {whole + chunk} samples."
        )
    if x.device.type == "cpu" and not looked_into() and not torch.isfinite(x.sum()):
        not_finite = (~torch.isfinite(x)).nonzero()
        if len(not_finite):  # a sum of finite numbers may overflow
            raise ModelError(
                f"{config.name}: {len(not_finite)} input values are not finite, the first at (sequence, step, "
                f"channel) = {tuple(not_finite[0].tolist())}. Remove or interpolate them before prediction."
            )


def check_sample(x_t: Tensor, config: ModelConfig, first: nn.Module | None = None) -> None:
    """Raise :class:`ModelError` unless ``x_t`` is (B, in_dim); `first` as for :func:`check_input`."""
    _check_tensor(x_t, config, first)
    if x_t.ndim != 2 or x_t.shape[-1] != config.in_dim:
        raise ModelError(
            f"{config.name}: expected a sample of shape (batch, {config.in_dim}), got {tuple(x_t.shape)}."
        )


def _check_tensor(x: object, config: ModelConfig, first: nn.Module | None) -> None:
    if not isinstance(x, Tensor):
        kind = type(x).__name__
        raise ModelError(f"{config.name}: expected a tensor, got {kind}. torch.as_tensor makes one of an array.")
    weight = getattr(first, "weight", None)
    if not isinstance(weight, Tensor) or x.dtype == weight.dtype or looked_into():
        return
    if x.dtype == torch.float64 or not torch.is_autocast_enabled(x.device.type):  # which casts shorter ones
        raise ModelError(
            f"{config.name}: expected values of {weight.dtype}, as the weights are, got {x.dtype}. "
            f"x.to({weight.dtype}) converts them."
        )


def param_groups(model: nn.Module, lr: float | None = None) -> list[dict[str, Any]]:
    """Return the parameter groups for an optimiser, with a layer's own learning rate where it is configured.

    Parameters
    ----------
    model
        Any model of this package.
    lr
        Learning rate of everything else; None: the one that the optimiser is given,
        ``Adam(param_groups(model), lr=1e-3)``.

    Returns
    -------
    list of dict
        ``[{"name": "base", "params": [...], "lr": lr}]`` (without ``"lr"`` for None), and for each kind of layer
        (S4, S4D, LRU) and each distinct ``learning_rate`` that is not None a group ``{"name": "s4", "params":
        [...], "lr": ..., "weight_decay": 0.0}`` with the dynamics of those layers: Delta, Lambda, P and B of S4,
        Delta and A of S4D, lambda and gamma of LRU. Every parameter is in exactly one group.

    Examples
    --------
    >>> from baselines import build, param_groups
    >>> model = build("hiss-s4-mamba", in_dim=6, out_dim=3, dim=16, layers=1, learning_rate=1e-3)
    >>> [(group["name"], group["lr"]) for group in param_groups(model, lr=3e-3)]
    [('base', 0.003), ('s4', 0.001)]
    """
    dynamics: dict[tuple[str, float], list[nn.Parameter]] = {}
    for stack in model.modules():
        if not isinstance(stack, GatedStack):
            continue
        config: Any = stack.config
        if (rate := getattr(config, "learning_rate", None)) is not None:
            for layer in stack.modules():
                if isinstance(layer, Recurrence):
                    dynamics.setdefault((config.kind, rate), []).extend(layer.dynamics())
    grouped = {id(p) for group in dynamics.values() for p in group}
    groups: list[dict[str, Any]] = [
        {"name": "base", "params": [p for p in model.parameters() if id(p) not in grouped]}
        | ({} if lr is None else {"lr": lr})
    ]
    for (kind, rate), params in dynamics.items():
        groups.append({"name": kind, "params": params, "lr": rate, "weight_decay": 0.0})
    return groups
