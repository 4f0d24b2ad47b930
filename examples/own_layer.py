"""A layer of one's own, flat and at either level of HiSS: csp-baselines train sample examples/own_layer.py:low

Leaky integrators: h_t = a * h_{t-1} + (1 - a) * W x_t with a learned a in (0, 1), y_t = x_t + V silu(h_t).
"""

import torch
from torch import Tensor, nn

import baselines
from baselines.layers import SequenceLayer


class Leaky(SequenceLayer):
    """Map (B, L, dim) to (B, L, dim), causally."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.in_dim = self.out_dim = dim
        self.decay = nn.Parameter(torch.linspace(0, 4, hidden))
        self.into, self.out = nn.Linear(dim, hidden), nn.Linear(hidden, dim)

    def forward(self, x: Tensor, readout: slice = slice(None)) -> Tensor:
        """Models ask for the steps of a slice alone, such as the last of each chunk."""
        state = self.initial_state(x.shape[0], x.device, x.dtype)
        outputs = []
        for x_t in x.unbind(1):
            y_t, state = self.step(x_t, state)
            outputs.append(y_t)
        return torch.stack(outputs, dim=1)[:, readout]

    def initial_state(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> Tensor:
        return torch.zeros(batch_size, len(self.decay), device=device, dtype=dtype)

    def step(self, x_t: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        a = torch.sigmoid(self.decay)
        state = a * state + (1 - a) * self.into(x_t)
        return x_t + self.out(nn.functional.silu(state)), state


# Each takes a model of this package and puts the layer in the place of one of its own.


def flat(in_dim: int, out_dim: int, chunk: int, hidden: int = 64) -> nn.Module:
    model = baselines.build("flat-mamba", in_dim, out_dim, preset="small", chunk=chunk)
    model.net.layer = Leaky(model.net.layer.in_dim, hidden)
    return model


def low(in_dim: int, out_dim: int, chunk: int, hidden: int = 64) -> nn.Module:
    model = baselines.build("hiss-mamba-mamba", in_dim, out_dim, preset="small", chunk=chunk)
    model.low.layer = Leaky(model.low.layer.in_dim, hidden)
    return model


def high(in_dim: int, out_dim: int, chunk: int, hidden: int = 64) -> nn.Module:
    model = baselines.build("hiss-mamba-mamba", in_dim, out_dim, preset="small", chunk=chunk)
    model.high = Leaky(model.high.in_dim, hidden)
    return model
