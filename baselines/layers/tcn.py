"""Temporal convolutional network (Bai, Kolter and Koltun 2018, arXiv 1803.01271).

Glossary, code to the paper's symbols
-------------------------------------
=============== ==========================================================================
``dim``          width of every layer
``taps``         k, the filter size
``dilation``     d = 2^i in block i, so that the memory grows exponentially with the depth
``v g``          the filter f = g v / |v|, weight-normalised for each output channel
=============== ==========================================================================

    F(s) = sum_{i < k} f(i) x_{s - d i}                            dilated causal convolution, section 3.3
    block: relu(x + h),  h = relu(F_2(relu(F_1(x))))               residual block, section 3.4
    memory: 1 + 2 (k - 1) (2^layers - 1) samples, the receptive field

Widths are equal throughout, so the 1 x 1 convolution of the paper's residual branch is not needed.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from baselines.layers.base import ALL, BlockStack, check_config
from baselines.layers.dropout import Dropout

TCNState = tuple[tuple[Tensor, Tensor], ...]


@dataclass(frozen=True)
class TCNConfig:
    """A stack of dilated residual blocks.

    Attributes
    ----------
    dim
        Width.
    layers
        Number of blocks, each of two convolutions; block i looks back in strides of 2^i samples.
    taps
        Filter size k.
    dropout
        Probability of dropping an element after each convolution's ReLU (the paper drops whole channels).
    """

    kind: ClassVar[str] = "tcn"
    dim: int = 64
    layers: int = 6
    taps: int = 3
    dropout: float = 0.1

    def __post_init__(self) -> None:
        check_config(self, positive=("dim", "layers", "taps"), fraction=("dropout",))

    @property
    def receptive_field(self) -> int:
        """Number of samples, the present one among them, that an output sees."""
        return 1 + 2 * (self.taps - 1) * (2**self.layers - 1)


class DilatedConv(nn.Module):
    """Weight-normalised dilated causal convolution over (B, L, dim), as one product with the gathered taps.

    The filter starts as He's for ReLU: v normal with variance 2 / (k dim), g = \\|v\\|.
    """

    def __init__(self, dim: int, taps: int, dilation: int) -> None:
        super().__init__()
        self.taps, self.dilation = taps, dilation
        self.v = nn.Parameter(torch.randn(dim, taps * dim) * (2 / (taps * dim)) ** 0.5)
        self.g = nn.Parameter(self.v.detach().norm(dim=1))
        self.bias = nn.Parameter(torch.zeros(dim))

    @property
    def past(self) -> int:
        """Number of earlier samples that an output needs, d (k - 1)."""
        return self.dilation * (self.taps - 1)

    def weight(self) -> Tensor:
        """Return the filter (dim, k dim), oldest tap first."""
        return self.v * (self.g / self.v.norm(dim=1)).unsqueeze(1)

    def forward(self, x: Tensor, readout: slice = ALL) -> Tensor:
        """Map (B, L, dim) to (B, steps in ``readout``, dim), with zeros before the beginning."""
        length, padded = x.shape[1], F.pad(x, (0, 0, self.past, 0))
        starts = range(0, self.past + 1, self.dilation)
        windows = torch.cat([padded[:, start : start + length][:, readout] for start in starts], dim=-1)
        return F.linear(windows, self.weight(), self.bias)

    def step(self, x_t: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        """Map (B, dim) and the earlier samples (B, d (k - 1), dim)."""
        window = torch.cat((past, x_t.unsqueeze(1)), dim=1)
        return F.linear(window[:, :: self.dilation].flatten(1), self.weight(), self.bias), window[:, 1:]


class TCNBlock(nn.Module):
    """Two convolutions and the residual sum."""

    def __init__(self, config: TCNConfig, dilation: int) -> None:
        super().__init__()
        self.conv1 = DilatedConv(config.dim, config.taps, dilation)
        self.conv2 = DilatedConv(config.dim, config.taps, dilation)
        self.dropout = Dropout(config.dropout)

    def forward(self, x: Tensor, readout: slice = ALL) -> Tensor:
        """Map (B, L, dim) to (B, steps in ``readout``, dim)."""
        h = self.dropout(F.relu(self.conv1(x)))
        return F.relu(x[:, readout] + self.dropout(F.relu(self.conv2(h, readout))))

    def step(self, x_t: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Map (B, dim) and the earlier inputs of both convolutions."""
        h, first = self.conv1.step(x_t, state[0])
        h, second = self.conv2.step(self.dropout(F.relu(h)), state[1])
        return F.relu(x_t + self.dropout(F.relu(h))), (first, second)


class TCN(BlockStack):
    """A stack of dilated residual blocks."""

    def __init__(self, config: TCNConfig) -> None:
        super().__init__(config, (TCNBlock(config, 2**i) for i in range(config.layers)))

    def initial_state(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> TCNState:
        """Return zeros, for each block the earlier inputs (B, d (k - 1), dim) of both convolutions."""
        sizes = [(batch_size, block.conv1.past, self.config.dim) for block in self.blocks]
        pasts = [torch.zeros(size, device=device, dtype=dtype) for size in sizes]
        return tuple((past, past) for past in pasts)


def tcn_reference(layer: TCN, x: Tensor) -> Tensor:
    """Compute ``layer(x)``, (B, L, dim) like ``x``, without dropout, one output sample and tap at a time."""
    dim, taps = layer.config.dim, layer.config.taps
    for i, block in enumerate(layer.blocks):
        h = x
        for conv in (block.conv1, block.conv2):
            f = torch.stack([g * v / v.square().sum().sqrt() for g, v in zip(conv.g, conv.v, strict=True)])
            steps = []
            for s in range(x.shape[1]):
                total = conv.bias.expand(x.shape[0], dim)
                for back in range(taps):
                    if s - 2**i * back >= 0:
                        k = taps - 1 - back
                        total = total + h[:, s - 2**i * back] @ f[:, k * dim : (k + 1) * dim].T
                steps.append(total * (total > 0))
            h = torch.stack(steps, dim=1)
        x = (x + h) * (x + h > 0)
    return x
