"""S4D, the diagonal state space layer, and a stack of them.

Gu, Gupta, Goel and Re, "On the Parameterization and Initialization of Diagonal State Space Models", NeurIPS 2022,
arXiv 2206.11893.

Glossary, code to the paper's symbols
-------------------------------------
==================== =====================================================================
``u y``               u, y: input and output of the H state spaces of a layer, one a channel
``H N L``             channels, state size (N/2 complex numbers kept), length
``log_dt``            log Delta
``log_a_real``        log(-Re A); ``a_imag`` is Im A; A is diagonal
``c``                 C, pairs (real, imaginary); B is 1, as only the products C_n B_n matter
``d``                 D, the skip connection
==================== =====================================================================

    x_k = Abar x_{k-1} + Bbar u_k        y_k = 2 Re(C x_k) + D u_k
    Abar = exp(Delta A),  Bbar = (exp(Delta A) - 1) / A             zero-order hold
    K_l = 2 Re sum_n C_n Bbar_n Abar_n^l                            a Vandermonde product
    A_n = -1/2 + i pi n  or  -1/2 + i N/pi (N / (2n+1) - 1)         S4D-Lin, S4D-Inv

The kernel is made without a Vandermonde matrix: with l = a T + b and T about sqrt(L), Abar^l = Abar^(a T) Abar^b,
so K is a product of (L/T, N) with (N, T) for each channel, from (L/T + T) N exponentials instead of L N.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from baselines.errors import OptionError
from baselines.layers.base import ALL, check_config, log_uniform
from baselines.layers.exact import narrowed, product, widened
from baselines.layers.gated import GatedBlock, GatedStack, Recurrence
from baselines.layers.s4 import causal_convolution
from baselines.layers.s4_kernel import hippo_legs

INITS = ("lin", "inv", "legs")


@dataclass(frozen=True)
class S4DConfig:
    """A stack of S4D blocks.

    Attributes
    ----------
    dim
        H, the width.
    layers
        Number of blocks.
    state
        N, the size of each state space (even).
    init
        Initial A: ``"lin"`` (S4D-Lin), ``"inv"`` (S4D-Inv) or ``"legs"`` (the normal part of HiPPO-LegS).
    dropout
        Probability of dropping an element after the GELU and after the output layer.
    dt_min, dt_max
        Range of the initial Delta, in samples^-1, log-uniform.
    learning_rate
        Learning rate that ``param_groups`` gives Delta and A; None: that of all others.
    """

    kind: ClassVar[str] = "s4d"
    dim: int = 128
    layers: int = 4
    state: int = 64
    init: str = "lin"
    dropout: float = 0.1
    dt_min: float = 0.001
    dt_max: float = 0.1
    learning_rate: float | None = None

    def __post_init__(self) -> None:
        check_config(self, positive=("dim", "layers", "state"), fraction=("dropout",))
        if self.state % 2:
            raise OptionError("S4DConfig.state", self.state, "an even number (states come in conjugate pairs)")
        if self.init not in INITS:
            raise OptionError("S4DConfig.init", self.init, "'lin', 'inv' or 'legs'")
        if not 0 < self.dt_min <= self.dt_max:
            raise OptionError("S4DConfig.dt_min", self.dt_min, f"a number in (0, dt_max={self.dt_max}]")


def initial_frequencies(init: str, n: int) -> Tensor:
    """Return Im A for the N/2 modes that are kept, float64; Re A is -1/2 in all three initialisations.

    Parameters
    ----------
    init
        ``"lin"``, ``"inv"`` or ``"legs"``.
    n
        State size N, even.
    """
    k = torch.arange(n // 2, dtype=torch.float64)
    if init == "lin":
        return math.pi * k
    if init == "inv":
        return n / math.pi * (n / (2 * k + 1) - 1)
    return -hippo_legs(n)[0].imag


class S4DLayer(Recurrence):
    """H independent single-input single-output diagonal state spaces."""

    def __init__(self, config: S4DConfig) -> None:
        super().__init__()
        h, half = config.dim, config.state // 2
        frequencies = initial_frequencies(config.init, config.state).to(torch.get_default_dtype())
        self.log_dt = nn.Parameter(torch.log(log_uniform((h, 1), config.dt_min, config.dt_max)))
        self.log_a_real = nn.Parameter(torch.full((h, half), math.log(0.5)))
        self.a_imag = nn.Parameter(frequencies.expand(h, half).contiguous())
        self.c = nn.Parameter(torch.randn(h, half, 2) * 0.5**0.5)  # E |C_n|^2 = 1
        self.d = nn.Parameter(torch.randn(h))

    def dynamics(self) -> list[nn.Parameter]:
        """Return Delta and A."""
        return [self.log_dt, self.log_a_real, self.a_imag]

    def discrete(self) -> tuple[Tensor, Tensor]:
        """Return Delta A and C Bbar, each complex (H, N/2)."""
        log_dt, log_a_real, a_imag, c = map(widened, (self.log_dt, self.log_a_real, self.a_imag, self.c))
        a = torch.complex(-torch.exp(log_a_real), a_imag)
        z = torch.exp(log_dt) * a
        # exp(z) - 1 without cancellation for the slow modes, where |z| is down to 5e-4
        growth = torch.complex(
            torch.expm1(z.real) * torch.cos(z.imag) - 2.0 * torch.sin(0.5 * z.imag).square(),
            torch.exp(z.real) * torch.sin(z.imag),
        )
        return z, torch.view_as_complex(c) * growth / a

    def kernel(self, length: int) -> Tensor:
        """Return the convolution kernel K, (H, length)."""
        z, weight = self.discrete()
        z, weight = z.unsqueeze(-1), weight.unsqueeze(-1)
        inner = math.isqrt(length - 1) + 1
        lag = torch.arange(inner, device=z.device, dtype=z.real.dtype)
        fine = torch.exp(z * lag)  # (H, N/2, T)
        coarse = weight * torch.exp(z * (inner * lag[: -(-length // inner)]))  # (H, N/2, L / T)
        rows = torch.cat((coarse.real, -coarse.imag), dim=1).transpose(1, 2)
        columns = torch.cat((fine.real, fine.imag), dim=1)
        return 2.0 * product(rows, columns).flatten(1)[:, :length]

    def forward(self, u: Tensor, readout: slice = ALL) -> Tensor:
        """Map u (B, L, H) to y (B, steps in ``readout``, H)."""
        y = causal_convolution(u, self.kernel(u.shape[1]), readout) + widened(self.d) * u[:, readout]
        return narrowed(y, self.d)

    def coefficients(self) -> tuple[Tensor, ...]:
        """Return Abar and C Bbar: the state is kept before Bbar, which then needs no product of its own."""
        z, weight = self.discrete()
        return torch.exp(z), weight

    def zeros(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> Tensor:
        """Return zero states (B, H, N/2)."""
        complex_dtype = torch.complex128 if dtype == torch.float64 else torch.complex64
        return torch.zeros(batch_size, *self.a_imag.shape, device=device, dtype=complex_dtype)

    def step(self, u_t: Tensor, x: Tensor, coefficients: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Map u_t (B, H) and the states (B, H, N/2) to y_t and the next states."""
        a_bar, weight = coefficients
        x = a_bar * x + u_t.unsqueeze(-1)
        return narrowed(2.0 * (weight * x).real.sum(-1) + widened(self.d) * u_t, self.d), x


class S4D(GatedStack):
    """A stack of S4D blocks."""

    def __init__(self, config: S4DConfig) -> None:
        layers = (S4DLayer(config) for _ in range(config.layers))
        super().__init__(config, (GatedBlock(layer, config.dim, config.dropout) for layer in layers))


def s4d_reference(layer: S4DLayer, u: Tensor) -> Tensor:
    """Compute ``layer(u)``, (B, L, H) like ``u``, by the recurrence above over all N states, step after step."""
    a = torch.complex(-torch.exp(layer.log_a_real), layer.a_imag)
    a, c = (torch.cat((t, t.conj()), dim=-1) for t in (a, torch.view_as_complex(layer.c)))
    a_bar = torch.exp(torch.exp(layer.log_dt) * a)
    b_bar = (a_bar - 1) / a
    x = torch.zeros(u.shape[0], *a.shape, dtype=a.dtype, device=a.device)
    outputs = []
    for u_t in u.unbind(1):
        x = a_bar * x + b_bar * u_t.unsqueeze(-1)
        outputs.append((c * x).sum(-1).real + layer.d * u_t)
    return torch.stack(outputs, dim=1)
