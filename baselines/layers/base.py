"""What the sequence layers share: the contract, stacks of blocks, the check of configurations, initial values."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import Any, get_type_hints

import torch
from torch import Tensor, nn

from baselines.errors import OptionError
from csp_data.options import check_number

ALL = slice(None)
"""Read every time step out."""
LARGEST = 10_000_000
"""Size of anything in a model: torch counts the bytes of such a layer, and says that there are not so many."""


class SequenceLayer(nn.Module, ABC):
    """A causal stack of blocks that maps one sequence to another, at once or sample by sample.

    Attributes
    ----------
    in_dim, out_dim
        Number of channels it takes and gives.
    """

    in_dim: int
    out_dim: int

    @abstractmethod
    def forward(self, x: Tensor, readout: slice = ALL) -> Tensor:
        """Run over whole sequences.

        Parameters
        ----------
        x
            (B, L, in_dim).
        readout
            The time steps that are wanted. The result equals ``layer(x)[:, readout]``; layers use it to skip the
            work of the last block at all other steps.

        Returns
        -------
        Tensor
            (B, number of steps in ``readout``, out_dim); step ``k`` depends on ``x[:, : k + 1]`` only.
        """

    @abstractmethod
    def initial_state(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> Any:
        """Return the state before the first sample: nested tuples of tensors."""

    @abstractmethod
    def step(self, x_t: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Take one sample.

        Parameters
        ----------
        x_t
            (B, in_dim), the next sample of each sequence.
        state
            What :meth:`initial_state` or the previous call returned.

        Returns
        -------
        tuple
            The output (B, out_dim) at this sample, equal to :meth:`forward`'s, and the next state.
        """


class BlockStack(SequenceLayer):
    """Residual blocks of one width, one after the other, each with a state of its own.

    A block maps (B, L, dim) to (B, steps in ``readout``, dim) by ``forward(x, readout)``, and (B, dim) and its
    state to the output and its next state by ``step(x_t, state)``.

    Parameters
    ----------
    config
        Of the layer, with the width as ``dim``.
    blocks
        From the first to the last.
    norm
        What the last block's output goes through, ``None`` for nothing.
    """

    def __init__(self, config: Any, blocks: Iterable[nn.Module], norm: nn.Module | None = None) -> None:
        super().__init__()
        self.config = config
        self.in_dim = self.out_dim = config.dim
        self.blocks: Sequence[Any] = nn.ModuleList(blocks)  # type: ignore[assignment]
        self.norm: Any = norm

    def forward(self, x: Tensor, readout: slice = ALL) -> Tensor:
        """Run over whole sequences; see :meth:`SequenceLayer.forward`."""
        for block in self.blocks[:-1]:
            x = block(x)
        return self._apply_norm(self.blocks[-1](x, readout))

    def step(self, x_t: Tensor, state: tuple[Any, ...]) -> tuple[Tensor, tuple[Any, ...]]:
        """Take one sample; see :meth:`SequenceLayer.step`."""
        next_state = []
        for block, block_state in zip(self.blocks, state, strict=True):
            x_t, block_state = block.step(x_t, block_state)
            next_state.append(block_state)
        return self._apply_norm(x_t), tuple(next_state)

    def _apply_norm(self, x: Tensor) -> Tensor:
        return x if self.norm is None else self.norm(x)


def check_config(config: Any, *, positive: tuple[str, ...] = (), fraction: tuple[str, ...] = ()) -> None:
    """Check the types and ranges of a configuration's fields.

    Numbers become floats where the field is one, since 0 and 0.0 are the same model.

    Parameters
    ----------
    config
        A dataclass instance.
    positive
        Fields that must be integers from 1 to :data:`LARGEST` (None is let through where it is the default).
    fraction
        Fields that must lie in [0, 1).

    Raises
    ------
    OptionError
        Naming the configuration, the field, the bound and the value.
    """
    _check_types(config)
    defaults = {f.name: f.default for f in fields(config)}
    for name in positive:
        value = getattr(config, name)
        if value is None and defaults[name] is None:
            continue
        option, expected = f"{type(config).__name__}.{name}", f"a whole number from 1 to {LARGEST:,}"
        check_number(option, value, expected, least=1, most=LARGEST, whole=True)
        object.__setattr__(config, name, int(value))
    for name in fraction:
        option = f"{type(config).__name__}.{name}"
        check_number(option, getattr(config, name), "a number in [0, 1)", least=0, below=1)


_EXPECTED = {
    bool: "true or false",
    str: "a name",
    float: "a finite number",
    float | None: "a number above 0, or none",  # learning rates
}
"""Types of fields to what they take."""


def _check_types(config: Any) -> None:
    kinds = get_type_hints(type(config))
    for name in (f.name for f in fields(config) if kinds[f.name] in _EXPECTED):
        kind, value = kinds[name], getattr(config, name)
        option, expected = f"{type(config).__name__}.{name}", _EXPECTED[kind]
        if kind is float or (kind == float | None and value is not None):
            check_number(option, value, expected, above=-math.inf if kind is float else 0.0, below=math.inf)
            object.__setattr__(config, name, float(value))
        elif not isinstance(value, kind):
            raise OptionError(option, value, expected)


def softplus_inverse(y: Tensor) -> Tensor:
    """Return x with ``log(1 + exp(x)) == y``, for y > 0, without overflow."""
    return y + torch.log(-torch.expm1(-y))


def log_uniform(shape: tuple[int, ...], low: float, high: float) -> Tensor:
    """Return numbers whose logarithm is uniform between log(low) and log(high)."""
    span = torch.log(torch.tensor([low, high], dtype=torch.float64))
    return torch.exp(span[0] + torch.rand(shape) * (span[1] - span[0])).to(torch.get_default_dtype())
