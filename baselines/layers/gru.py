"""Gated recurrent unit.

Cho et al. 2014, arXiv 1406.1078, section 2.3; in the variant of cuDNN and torch, which applies
the reset gate after the recurrent product (so that one product serves all gates) and gives it a bias of its own.

Glossary, code to the paper's symbols
-------------------------------------
=============== ==========================================================================
``x``            x_t, the input at time t
``h``            h_t, the output (hidden state)
``r z``          reset gate, update gate
``n``            the candidate, h with a tilde
``weight_ih``    W_r, W_z, W stacked (3 hidden, in); ``weight_hh``: U_r, U_z, U for h_{t-1}
=============== ==========================================================================

    r, z = sigmoid(W x_t + U h_{t-1} + b)        n = tanh(W_n x_t + b_n + r (U_n h_{t-1} + b'_n))
    h_t = z h_{t-1} + (1 - z) n
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from baselines.cpu.threads import compiled_for, runs_its_weights
from baselines.layers.base import ALL, SequenceLayer, check_config

MAX_COMPILED_BATCH = 32
"""Sequences at once up to which compiled loops run on a CPU: more fill torch's own products well enough."""


@dataclass(frozen=True)
class GRUConfig:
    """A GRU stack.

    Attributes
    ----------
    dim
        Channels that enter the first layer (the width of the embedding before it).
    hidden
        Width of h.
    layers
        Number of layers.
    dropout
        Probability of dropping an element between two layers (not after the last).
    """

    kind: ClassVar[str] = "gru"
    dim: int = 128
    hidden: int = 128
    layers: int = 2
    dropout: float = 0.1

    def __post_init__(self) -> None:
        check_config(self, positive=("dim", "hidden", "layers"), fraction=("dropout",))


class GRU(SequenceLayer):
    """The stack: torch's own GRU behind the contract of :class:`~baselines.layers.base.SequenceLayer`."""

    def __init__(self, config: GRUConfig) -> None:
        super().__init__()
        self.config = config
        self.in_dim, self.out_dim = config.dim, config.hidden
        # torch warns about a dropout that a single layer would never apply
        dropout = config.dropout if config.layers > 1 else 0.0
        self.gru = nn.GRU(config.dim, config.hidden, config.layers, batch_first=True, dropout=dropout)

    def forward(self, x: Tensor, readout: slice = ALL) -> Tensor:
        """Run over whole sequences; see :meth:`SequenceLayer.forward`."""
        if (
            compiled_for(x)  # before the batch is looked at, whose size an exported model leaves open
            and len(x) <= MAX_COMPILED_BATCH
            and runs_its_weights(self.gru, nn.GRU)
            and x.dtype == self.gru.weight_ih_l0.dtype
            and not torch.is_autocast_enabled("cpu")
        ):
            from baselines.cpu import gru as compiled  # numba is imported only where it is used

            return compiled.run_gru(self.gru, x)[:, readout]
        return self.gru(x)[0][:, readout]

    def initial_state(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> Tensor:
        """Return zeros for h, (layers, B, hidden)."""
        return torch.zeros(self.config.layers, batch_size, self.config.hidden, device=device, dtype=dtype)

    def step(self, x_t: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Take one sample; see :meth:`SequenceLayer.step`."""
        y, state = self.gru(x_t.unsqueeze(1), state)
        return y.squeeze(1), state


def gru_reference(layer: GRU, x: Tensor) -> Tensor:
    """Compute ``layer(x)``, (B, L, dim) to (B, L, hidden), without dropout, one time step and layer at a time."""
    for k in range(layer.config.layers):
        w_ih, w_hh = (getattr(layer.gru, f"weight_{name}_l{k}") for name in ("ih", "hh"))
        b_ih, b_hh = (getattr(layer.gru, f"bias_{name}_l{k}") for name in ("ih", "hh"))
        h = x.new_zeros(x.shape[0], layer.config.hidden)
        outputs = []
        for x_t in x.unbind(1):
            r_x, z_x, n_x = (x_t @ w_ih.T + b_ih).chunk(3, dim=-1)
            r_h, z_h, n_h = (h @ w_hh.T + b_hh).chunk(3, dim=-1)
            z = torch.sigmoid(z_x + z_h)
            h = z * h + (1 - z) * torch.tanh(n_x + torch.sigmoid(r_x + r_h) * n_h)
            outputs.append(h)
        x = torch.stack(outputs, dim=1)
    return x
