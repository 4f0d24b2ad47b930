"""Mamba, the selective state space block (Gu and Dao 2023, arXiv 2312.00752), and a stack of them.

Glossary, code to the paper's symbols
-------------------------------------
=============== ==========================================================================
``dim``          D, the width of the model; ``inner`` is E D, the width inside a block
``state``        N, the size of the state of each inner channel
``u``            x_t, the input of the state space; ``z`` the gate
``delta``        Delta_t = softplus(parameter + s_Delta(x_t)), section 3.2
``b c``          B_t = s_B(x_t), C_t = s_C(x_t)
``a_log``        log(-A), A diagonal, (inner, N)
``d``            D, the skip connection
=============== ==========================================================================

    h_t = exp(Delta_t A) h_{t-1} + Delta_t B_t x_t        y_t = C_t h_t + D x_t        equation 2
    block: x + W_out(y * silu(z)),  (x', z) = W_in LayerNorm(x),  x_t = silu(conv(x')_t)        figure 3

A is held between samples as in equation 4; Bbar = Delta_t B_t is that equation's first order, as in the published
code. There is no dropout, and the stack ends with a LayerNorm.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from baselines.cpu.threads import compiled_for, runs_its_weights
from baselines.errors import OptionError
from baselines.layers.base import ALL, BlockStack, check_config, log_uniform, softplus_inverse
from baselines.scan import check_backend, selective_scan

MambaState = tuple[tuple[Tensor, Tensor], ...]


@dataclass(frozen=True)
class MambaConfig:
    """A stack of Mamba blocks.

    Attributes
    ----------
    dim
        Width of the model.
    layers
        Number of blocks.
    state
        N, the size of each inner channel's state.
    expand
        E: inner channels per channel.
    conv
        Width of the causal depthwise convolution, in samples.
    dt_rank
        Rank of s_Delta; None: dim / 16, rounded up.
    dt_min, dt_max
        Range of the initial Delta, log-uniform.
    scan
        Backend of the selective scan, see :func:`baselines.scan.selective_scan`.
    """

    kind: ClassVar[str] = "mamba"
    dim: int = 64
    layers: int = 2
    state: int = 16
    expand: int = 2
    conv: int = 4
    dt_rank: int | None = None
    dt_min: float = 0.001
    dt_max: float = 0.1
    scan: str = "auto"

    def __post_init__(self) -> None:
        check_config(self, positive=("dim", "layers", "state", "expand", "conv", "dt_rank"))
        if not 0 < self.dt_min <= self.dt_max:
            raise OptionError("MambaConfig.dt_min", self.dt_min, f"a number in (0, dt_max={self.dt_max}]")
        check_backend(self.scan)

    @property
    def inner(self) -> int:
        """E D, the number of inner channels."""
        return self.expand * self.dim

    @property
    def rank(self) -> int:
        """Rank of s_Delta."""
        return self.dt_rank or math.ceil(self.dim / 16)


class CausalConv(nn.Module):
    """Depthwise causal convolution over (B, L, channels), initialised as torch's ``Conv1d``."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        bound = width**-0.5
        self.weight = nn.Parameter(torch.empty(channels, width).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(channels).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        """Return bias + sum_j weight_{width-1-j} x_{t-j}, with zeros before the beginning."""
        width, length = self.weight.shape[1], x.shape[1]
        padded = F.pad(x, (0, 0, width - 1, 0))
        y = torch.addcmul(self.bias, padded[:, :length], self.weight[:, 0])
        for j in range(1, width):
            y = torch.addcmul(y, padded[:, j : j + length], self.weight[:, j])
        return y


class MambaBlock(nn.Module):
    """One residual block: gate, causal convolution, selective state space."""

    def __init__(self, config: MambaConfig) -> None:
        super().__init__()
        self.config = config
        inner, rank, n = config.inner, config.rank, config.state
        self.norm = nn.LayerNorm(config.dim)
        self.in_proj = nn.Linear(config.dim, 2 * inner, bias=False)
        self.conv = CausalConv(inner, config.conv)
        self.x_proj = nn.Linear(inner, rank + 2 * n, bias=False)
        self.dt_proj = nn.Linear(rank, inner)
        self.a_log = nn.Parameter(torch.log(torch.arange(1.0, n + 1)).repeat(inner, 1))  # S4D-Real, section 3.6
        self.d = nn.Parameter(torch.ones(inner))
        self.out_proj = nn.Linear(inner, config.dim, bias=False)
        nn.init.uniform_(self.dt_proj.weight, -(rank**-0.5), rank**-0.5)
        with torch.no_grad():
            dt = log_uniform((inner,), config.dt_min, config.dt_max).clamp(min=1e-4)
            self.dt_proj.bias.copy_(softplus_inverse(dt))

    def forward(self, x: Tensor, readout: slice = ALL) -> Tensor:
        """Map (B, L, dim) to (B, steps in ``readout``, dim)."""
        u, gate = self._convolve(self.in_proj(self.norm(x)))
        delta, b, c = self._selective_parameters(u)
        y = selective_scan(u, delta, -torch.exp(self.a_log), b, c, self.d, backend=self.config.scan)
        return x[:, readout] + self.out_proj(y[:, readout] * gate[:, readout])

    def _convolve(self, xz: Tensor) -> tuple[Tensor, Tensor]:
        """Return silu(conv(x')) and silu(z), each (B, L, inner)."""
        if compiled_for(xz) and runs_its_weights(self.conv, CausalConv) and xz.dtype == self.conv.weight.dtype:
            from baselines.cpu import mamba as compiled  # numba is imported only where it is used

            return compiled.convolved_and_gate(xz, self.conv.weight, self.conv.bias)
        conv_input, z = xz.chunk(2, dim=-1)
        return F.silu(self.conv(conv_input)), F.silu(z)

    def step(self, x_t: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Map (B, dim), the last inputs of the convolution (B, inner, conv - 1) and h (B, inner, N)."""
        past, h = state
        conv_input, z = self.in_proj(self.norm(x_t)).chunk(2, dim=-1)
        window = torch.cat((past, conv_input.unsqueeze(-1)), dim=-1)
        u = F.silu((window * self.conv.weight).sum(-1) + self.conv.bias)
        delta, b, c = self._selective_parameters(u)
        decay = torch.exp(delta.unsqueeze(-1) * -torch.exp(self.a_log))
        h = decay * h + (delta * u).unsqueeze(-1) * b.unsqueeze(1)
        y = (h * c.unsqueeze(1)).sum(-1) + self.d * u
        return x_t + self.out_proj(y * F.silu(z)), (window[..., 1:], h)

    def _selective_parameters(self, u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return Delta, B and C for inputs u (..., inner)."""
        n = self.config.state
        low_rank, b, c = self.x_proj(u).split((self.config.rank, n, n), dim=-1)
        return F.softplus(self.dt_proj(low_rank)), b, c


class Mamba(BlockStack):
    """A stack of Mamba blocks and a final LayerNorm."""

    def __init__(self, config: MambaConfig) -> None:
        super().__init__(config, (MambaBlock(config) for _ in range(config.layers)), nn.LayerNorm(config.dim))

    def initial_state(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> MambaState:
        """Return zeros, for each block: past inputs (B, inner, conv - 1) and h (B, inner, N)."""
        c = self.config
        past = torch.zeros(batch_size, c.inner, c.conv - 1, device=device, dtype=dtype)
        h = torch.zeros(batch_size, c.inner, c.state, device=device, dtype=dtype)
        return tuple((past, h) for _ in self.blocks)


def mamba_reference(block: MambaBlock, x: Tensor) -> Tensor:
    """Compute ``block(x)``, (B, L, dim) like ``x``, by the equations above, a step and a tap at a time."""
    config = block.config
    a = -torch.exp(block.a_log)
    h = x.new_zeros(x.shape[0], config.inner, config.state)
    conv_inputs: list[Tensor] = []
    outputs = []
    for x_t in x.unbind(1):
        mean, var = x_t.mean(-1, keepdim=True), x_t.var(-1, unbiased=False, keepdim=True)
        normed = (x_t - mean) / torch.sqrt(var + block.norm.eps) * block.norm.weight + block.norm.bias
        conv_input, z = (normed @ block.in_proj.weight.T).chunk(2, dim=-1)
        conv_inputs.append(conv_input)
        u: Tensor = block.conv.bias
        for lag, past in enumerate(reversed(conv_inputs[-config.conv :])):
            u = u + block.conv.weight[:, config.conv - 1 - lag] * past
        u = u * torch.sigmoid(u)
        dt_b_c = u @ block.x_proj.weight.T
        low_rank, b, c = dt_b_c.split((config.rank, config.state, config.state), dim=-1)
        delta = torch.log1p(torch.exp(low_rank @ block.dt_proj.weight.T + block.dt_proj.bias))
        h = torch.exp(delta[:, :, None] * a) * h + (delta * u)[:, :, None] * b[:, None, :]
        y = (h * c[:, None, :]).sum(-1) + block.d * u
        outputs.append(x_t + (y * z * torch.sigmoid(z)) @ block.out_proj.weight.T)
    return torch.stack(outputs, dim=1)
