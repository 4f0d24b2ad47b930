"""Long short-term memory.

Hochreiter and Schmidhuber, Neural Computation 9(8), 1997; with the forget gate of Gers et al. 2000.

Glossary, code to the usual symbols
-----------------------------------
=============== ==========================================================================
``x``            x_t, the input at time t
``h``            h_t, the output (hidden state)
``c``            c_t, the cell
``i f g o``      input gate, forget gate, candidate, output gate
``weight_ih``    W_i, W_f, W_g, W_o stacked (4 hidden, in); ``weight_hh`` the same for h_{t-1}
=============== ==========================================================================

    i, f, o = sigmoid(W x_t + U h_{t-1} + b)        g = tanh(W_g x_t + U_g h_{t-1} + b_g)
    c_t = f c_{t-1} + i g                            h_t = o tanh(c_t)
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from baselines.layers.base import ALL, SequenceLayer, check_config

LSTMState = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class LSTMConfig:
    """An LSTM stack.

    Attributes
    ----------
    dim
        Channels that enter the first layer (the width of the embedding before it).
    hidden
        Width of h and c.
    layers
        Number of layers.
    dropout
        Probability of dropping an element between two layers (not after the last).
    """

    kind: ClassVar[str] = "lstm"
    dim: int = 128
    hidden: int = 128
    layers: int = 2
    dropout: float = 0.1

    def __post_init__(self) -> None:
        check_config(self, positive=("dim", "hidden", "layers"), fraction=("dropout",))


class LSTM(SequenceLayer):
    """The stack: torch's own LSTM behind the contract of :class:`~baselines.layers.base.SequenceLayer`."""

    def __init__(self, config: LSTMConfig) -> None:
        super().__init__()
        self.config = config
        self.in_dim, self.out_dim = config.dim, config.hidden
        # torch warns about a dropout that a single layer would never apply
        dropout = config.dropout if config.layers > 1 else 0.0
        self.lstm = nn.LSTM(config.dim, config.hidden, config.layers, batch_first=True, dropout=dropout)

    def forward(self, x: Tensor, readout: slice = ALL) -> Tensor:
        """Run over whole sequences; see :meth:`SequenceLayer.forward`."""
        return self.lstm(x)[0][:, readout]

    def initial_state(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> LSTMState:
        """Return zeros for h and c, each (layers, B, hidden)."""
        zeros = torch.zeros(self.config.layers, batch_size, self.config.hidden, device=device, dtype=dtype)
        return zeros, zeros.clone()

    def step(self, x_t: Tensor, state: LSTMState) -> tuple[Tensor, LSTMState]:
        """Take one sample; see :meth:`SequenceLayer.step`."""
        y, state = self.lstm(x_t.unsqueeze(1), state)
        return y.squeeze(1), state


def lstm_reference(layer: LSTM, x: Tensor) -> Tensor:
    """Compute ``layer(x)``, (B, L, dim) to (B, L, hidden), without dropout, one time step and layer at a time."""
    for k in range(layer.config.layers):
        w_ih, w_hh = (getattr(layer.lstm, f"weight_{name}_l{k}") for name in ("ih", "hh"))
        b_ih, b_hh = (getattr(layer.lstm, f"bias_{name}_l{k}") for name in ("ih", "hh"))
        h = c = x.new_zeros(x.shape[0], layer.config.hidden)
        outputs = []
        for x_t in x.unbind(1):
            i, f, g, o = (x_t @ w_ih.T + b_ih + h @ w_hh.T + b_hh).chunk(4, dim=-1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
            outputs.append(h)
        x = torch.stack(outputs, dim=1)
    return x
