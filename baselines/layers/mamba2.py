"""Mamba-2: the selective state space with scalar transitions, in its dual (SSD) form, and a stack of blocks.

Dao and Gu, "Transformers are SSMs", ICML 2024, arXiv 2405.21060.

Glossary, code to the paper's symbols
-------------------------------------
=============== ==========================================================================
``dim``          D, the width of the model; ``inner`` is E D, the width inside a block
``heads``        H, each with P = E D / H channels and one scalar transition
``state``        N, the size of the state of each inner channel
``u``            X, the input of the state space, (B, L, H, P); ``z`` the gate
``delta``        Delta_t = softplus(parameter + projection of the input), one a head
``b c``          B_t, C_t, shared by all heads
``log_decay``    log a_t = Delta_t A, A = -exp(``a_log``) a scalar a head
``tile``         Q, the chunk length of the SSD algorithm (not the chunk of HiSS)
=============== ==========================================================================

    h_t = a_t h_{t-1} + Delta_t B_t x_t        y_t = C_t h_t + D x_t                         equation 2
    Y = (L o C B^T) (Delta X),  L_ts = a_t ... a_{s+1} for s <= t                            sections 3 and 5
    inside a tile that matrix form; between tiles the states h, one step a tile              section 6
    block: x + W_out RMSNorm(y * silu(z)),  (z, x', B', C', Delta') = W_in LayerNorm(x),
           (x, B, C) = silu(conv(x', B', C'))                                                section 7

There is no dropout, and the stack ends with a LayerNorm, as that of :mod:`baselines.layers.mamba`.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from baselines.errors import OptionError
from baselines.layers.base import ALL, BlockStack, check_config, log_uniform, softplus_inverse
from baselines.layers.mamba import CausalConv

Mamba2State = tuple[tuple[Tensor, Tensor], ...]


@dataclass(frozen=True)
class Mamba2Config:
    """A stack of Mamba-2 blocks.

    Attributes
    ----------
    dim
        Width of the model.
    layers
        Number of blocks.
    state
        N, the size of each inner channel's state.
    heads
        H; must divide the inner width (the paper's heads are 64 channels wide).
    expand
        E: inner channels per channel.
    conv
        Width of the causal depthwise convolution, in samples.
    tile
        Length of the tiles of the SSD form, in samples: speed only, never the result.
    dt_min, dt_max
        Range of the initial Delta, log-uniform.
    """

    kind: ClassVar[str] = "mamba2"
    dim: int = 64
    layers: int = 2
    state: int = 64
    heads: int = 8
    expand: int = 2
    conv: int = 4
    tile: int = 32
    dt_min: float = 0.001
    dt_max: float = 0.1

    def __post_init__(self) -> None:
        check_config(self, positive=("dim", "layers", "state", "heads", "expand", "conv", "tile"))
        if self.inner % self.heads:
            raise OptionError("Mamba2Config.heads", self.heads, f"a divisor of expand * dim = {self.inner}")
        if not 0 < self.dt_min <= self.dt_max:
            raise OptionError("Mamba2Config.dt_min", self.dt_min, f"a number in (0, dt_max={self.dt_max}]")

    @property
    def inner(self) -> int:
        """E D, the number of inner channels."""
        return self.expand * self.dim


def ssd(u: Tensor, log_decay: Tensor, b: Tensor, c: Tensor, tile: int, readout: slice = ALL) -> Tensor:
    """Run h_t = a_t h_{t-1} + B_t u_t, y_t = C_t h_t, by matrix products inside tiles of time.

    Parameters
    ----------
    u
        Inputs, times Delta, (B, L, H, P).
    log_decay
        log a_t, (B, L, H), negative.
    b, c
        (B, L, N).
    tile
        Q. Time costs O(L Q) inside tiles and L / Q sequential steps between them.
    readout
        Steps wanted.

    Returns
    -------
    Tensor
        y, (B, steps, H, P).
    """
    batch, length = u.shape[:2]
    if length <= tile:
        return _one_tile(u, log_decay, b, c, readout)
    padding = -length % tile  # padding at the end: no decay, no input, and the outputs are cut off
    tensors = [F.pad(t, (0, 0) * (t.ndim - 2) + (0, padding)) for t in (u, log_decay, b, c)]
    u, log_decay, b, c = (t.unflatten(1, (-1, tile)) for t in tensors)
    u_k, decay_k, b_k, c_k = (t.flatten(0, 1) for t in (u, log_decay, b, c))
    within_tile = _one_tile(u_k, decay_k, b_k, c_k, ALL).unflatten(0, (batch, -1))
    decayed = log_decay.cumsum(2)  # (B, K, Q, H): from a tile's beginning to each step
    to_end = torch.exp(decayed[:, :, -1:] - decayed)
    tile_input = torch.einsum("bksn,bkshp->bkhnp", b, u * to_end.unsqueeze(-1))
    tile_decay = torch.exp(decayed[:, :, -1])[..., None, None]
    h, states_before = torch.zeros_like(tile_input[:, 0]), []
    for decay_of_tile, input_of_tile in zip(tile_decay.unbind(1), tile_input.unbind(1), strict=True):
        states_before.append(h)
        h = decay_of_tile * h + input_of_tile
    from_before = torch.einsum("bktn,bkhnp->bkthp", c, torch.stack(states_before, dim=1))
    from_before = from_before * torch.exp(decayed).unsqueeze(-1)
    return (within_tile + from_before).flatten(1, 2)[:, :length][:, readout]


def _one_tile(u: Tensor, log_decay: Tensor, b: Tensor, c: Tensor, readout: slice) -> Tensor:
    """Compute :func:`ssd` as one product with the matrix L o C B^T, (B, H, steps, L)."""
    step = torch.arange(u.shape[1], device=u.device)
    decayed = log_decay.cumsum(1).transpose(1, 2)
    future = step[readout, None] < step
    decay = (decayed[:, :, readout, None] - decayed.unsqueeze(2)).masked_fill(future, -torch.inf).exp()
    weights = decay * (c[:, readout] @ b.transpose(1, 2)).unsqueeze(1)
    return torch.einsum("bhts,bshp->bthp", weights, u)


class Mamba2Block(nn.Module):
    """One residual block: gate, causal convolution, state space of scalar transitions, gated norm."""

    def __init__(self, config: Mamba2Config) -> None:
        super().__init__()
        self.config = config
        inner, n, heads = config.inner, config.state, config.heads
        self.norm = nn.LayerNorm(config.dim)
        self.in_proj = nn.Linear(config.dim, 2 * inner + 2 * n + heads, bias=False)
        self.conv = CausalConv(inner + 2 * n, config.conv)
        dt = log_uniform((heads,), config.dt_min, config.dt_max).clamp(min=1e-4)
        self.dt_bias = nn.Parameter(softplus_inverse(dt))
        self.a_log = nn.Parameter(torch.log(torch.empty(heads).uniform_(1, 16)))
        self.d = nn.Parameter(torch.ones(heads))
        self.gated_norm = nn.RMSNorm(inner, eps=1e-5)
        self.out_proj = nn.Linear(inner, config.dim, bias=False)

    def forward(self, x: Tensor, readout: slice = ALL) -> Tensor:
        """Map (B, L, dim) to (B, steps in ``readout``, dim)."""
        z, inside, raw_delta = self._project(x)
        u, b, c = self._split(F.silu(self.conv(inside)))
        delta = F.softplus(raw_delta + self.dt_bias)
        y = ssd(u * delta.unsqueeze(-1), delta * -torch.exp(self.a_log), b, c, self.config.tile, readout)
        return self._output(x[:, readout], y, u[:, readout], z[:, readout])

    def step(self, x_t: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Map (B, dim), the last inputs of the convolution (B, channels, conv - 1) and h (B, H, N, P)."""
        past, h = state
        z, inside, raw_delta = self._project(x_t)
        window = torch.cat((past, inside.unsqueeze(-1)), dim=-1)
        u, b, c = self._split(F.silu((window * self.conv.weight).sum(-1) + self.conv.bias))
        delta = F.softplus(raw_delta + self.dt_bias).unsqueeze(-1)
        decay = torch.exp(delta * -torch.exp(self.a_log).unsqueeze(-1)).unsqueeze(-1)
        h = decay * h + b[:, None, :, None] * (delta * u).unsqueeze(2)
        y = (c[:, None, None] @ h).squeeze(2)
        return self._output(x_t, y, u, z), (window[..., 1:], h)

    def _project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return z, (x', B', C') and Delta' for inputs (..., dim)."""
        c = self.config
        return self.in_proj(self.norm(x)).split((c.inner, c.inner + 2 * c.state, c.heads), dim=-1)

    def _split(self, inside: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return x by heads (..., H, P), B and C (..., N)."""
        u, b, c = inside.split((self.config.inner, self.config.state, self.config.state), dim=-1)
        return u.unflatten(-1, (self.config.heads, -1)), b, c

    def _output(self, x: Tensor, y: Tensor, u: Tensor, z: Tensor) -> Tensor:
        y = (y + self.d.unsqueeze(-1) * u).flatten(-2)
        return x + self.out_proj(self.gated_norm(y * F.silu(z)))


class Mamba2(BlockStack):
    """A stack of Mamba-2 blocks and a final LayerNorm."""

    def __init__(self, config: Mamba2Config) -> None:
        super().__init__(config, (Mamba2Block(config) for _ in range(config.layers)), nn.LayerNorm(config.dim))

    def initial_state(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> Mamba2State:
        """Return zeros, for each block: past inputs (B, channels, conv - 1) and h (B, H, N, P)."""
        c = self.config
        past = torch.zeros(batch_size, c.inner + 2 * c.state, c.conv - 1, device=device, dtype=dtype)
        h = torch.zeros(batch_size, c.heads, c.state, c.inner // c.heads, device=device, dtype=dtype)
        return tuple((past, h) for _ in self.blocks)


def mamba2_reference(block: Mamba2Block, x: Tensor) -> Tensor:
    """Compute ``block(x)``, (B, L, dim) like ``x``, by the recurrence: a step, a tap, a head at a time."""
    config, a, width = block.config, -torch.exp(block.a_log), block.config.inner // block.config.heads
    hs = [x.new_zeros(x.shape[0], config.state, width) for _ in range(config.heads)]
    conv_inputs: list[Tensor] = []
    outputs = []
    for x_t in x.unbind(1):
        centred = x_t - x_t.mean(-1, keepdim=True)
        normed = centred / torch.sqrt(centred.square().mean(-1, keepdim=True) + block.norm.eps)
        projected = (normed * block.norm.weight + block.norm.bias) @ block.in_proj.weight.T
        z, raw_delta = projected[:, : config.inner], projected[:, -config.heads :]
        conv_inputs.append(projected[:, config.inner : -config.heads])
        conv: Tensor = block.conv.bias
        for lag, past in enumerate(reversed(conv_inputs[-config.conv :])):
            conv = conv + block.conv.weight[:, config.conv - 1 - lag] * past
        u, b, c = (conv * torch.sigmoid(conv)).split((config.inner, config.state, config.state), dim=-1)
        delta = torch.log1p(torch.exp(raw_delta + block.dt_bias))
        ys = []
        for k in range(config.heads):
            u_k, delta_k = u[:, k * width : (k + 1) * width], delta[:, k, None, None]
            hs[k] = torch.exp(delta_k * a[k]) * hs[k] + delta_k * b[:, :, None] * u_k[:, None, :]
            ys.append((c[:, :, None] * hs[k]).sum(1) + block.d[k] * u_k)
        y = torch.cat(ys, dim=-1) * z * torch.sigmoid(z)
        y = y / torch.sqrt(y.square().mean(-1, keepdim=True) + 1e-5) * block.gated_norm.weight
        outputs.append(x_t + y @ block.out_proj.weight.T)
    return torch.stack(outputs, dim=1)
