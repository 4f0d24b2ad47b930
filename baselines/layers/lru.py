"""LRU, the linear recurrent unit (Orvieto et al., ICML 2023, arXiv 2303.06349), and a stack of them.

Glossary, code to the paper's symbols
-------------------------------------
=============== ==========================================================================
``u y``          u_k, y_k: input and output, H channels each
``x``            x_k, the complex state, N numbers
``nu_log``       nu^log; ``theta_log`` is theta^log: lambda = exp(-exp(nu^log) + i exp(theta^log))
``b c``          B (N, H) and C (H, N), pairs (real, imaginary)
``gamma_log``    gamma^log, the normalisation
``d``            D, the skip connection
=============== ==========================================================================

    x_k = lambda x_{k-1} + exp(gamma^log) (B u_k)        y_k = Re(C x_k) + D u_k         section 3.4
    |lambda| < 1 for any nu^log                                                          section 3.3
    at the start lambda is uniform on the ring r_min < |lambda| < r_max                  lemma 3.2
    and gamma = sqrt(1 - |lambda|^2), so that the state has the variance of B u          section 3.4

One state space of N modes for all channels, where S4 and S4D have one for each channel.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from baselines.errors import OptionError
from baselines.layers.base import ALL, check_config
from baselines.layers.exact import narrowed, widened
from baselines.layers.gated import GatedBlock, GatedStack, Recurrence
from baselines.layers.s4 import fft_length
from baselines.layers.s4_kernel import SHORT


@dataclass(frozen=True)
class LRUConfig:
    """A stack of LRU blocks.

    Attributes
    ----------
    dim
        H, the width.
    layers
        Number of blocks.
    state
        N, the number of complex modes of a layer.
    dropout
        Probability of dropping an element after the GELU and after the output layer.
    r_min, r_max
        Range of the initial modulus of lambda.
    max_phase
        Largest initial phase of lambda, in rad a sample.
    learning_rate
        Learning rate that ``param_groups`` gives lambda and gamma; None: that of all others.
    """

    kind: ClassVar[str] = "lru"
    dim: int = 128
    layers: int = 4
    state: int = 64
    dropout: float = 0.1
    r_min: float = 0.5
    r_max: float = 0.999
    max_phase: float = 2 * math.pi
    learning_rate: float | None = None

    def __post_init__(self) -> None:
        check_config(self, positive=("dim", "layers", "state"), fraction=("dropout",))
        if not 0 <= self.r_min < self.r_max < 1:
            raise OptionError("LRUConfig.r_min", self.r_min, f"a number in [0, r_max={self.r_max}), r_max below 1")
        if not 0 < self.max_phase <= 2 * math.pi:
            raise OptionError("LRUConfig.max_phase", self.max_phase, "a number in (0, 2 pi]")


class LRULayer(Recurrence):
    """One diagonal recurrence of N complex modes between two dense complex maps."""

    def __init__(self, config: LRUConfig) -> None:
        super().__init__()
        h, n = config.dim, config.state
        squared = config.r_min**2 + torch.rand(n) * (config.r_max**2 - config.r_min**2)
        squared = squared.clamp(min=1e-8)  # a modulus of 0 would have no logarithm
        phase = config.max_phase * (1 - torch.rand(n))  # 1 - u is in (0, 1]: nor would a phase of 0
        self.nu_log = nn.Parameter(torch.log(-0.5 * torch.log(squared)))
        self.theta_log = nn.Parameter(torch.log(phase))
        self.gamma_log = nn.Parameter(0.5 * torch.log1p(-squared))
        self.b = nn.Parameter(torch.randn(n, h, 2) * (2 * h) ** -0.5)  # Glorot: E |B u|^2 = E u^2
        self.c = nn.Parameter(torch.randn(h, n, 2) * n**-0.5)
        self.d = nn.Parameter(torch.randn(h))

    def dynamics(self) -> list[nn.Parameter]:
        """Return lambda and gamma."""
        return [self.nu_log, self.theta_log, self.gamma_log]

    def powers(self, lag: Tensor) -> Tensor:
        """Return lambda^lag, complex (N, *lag.shape), for integers ``lag``.

        Phases of thousands of turns are reduced in float64: in float32 a slow mode would lose them.
        """
        shape = (-1, *(1 for _ in lag.shape))
        nu, theta = (torch.exp(widened(log)).view(shape) for log in (self.nu_log, self.theta_log))
        angle = torch.remainder(theta.double() * lag, 2 * math.pi).to(theta.dtype)
        return torch.polar(torch.exp(-nu * lag), angle)

    def scan(self, v: Tensor, readout: slice = ALL) -> Tensor:
        """Return x with x_k = lambda x_{k-1} + v_k, complex (B, steps in ``readout``, N), for v (B, L, N)."""
        length = v.shape[1]
        step = torch.arange(length, device=v.device)
        if length <= SHORT:
            lag = step[readout, None] - step
            return torch.einsum("nts,bsn->btn", self.powers(lag.clamp(min=0)) * (lag >= 0), v)
        n = fft_length(2 * length)
        spectrum = torch.fft.fft(v.transpose(1, 2), n=n) * torch.fft.fft(self.powers(step), n=n)
        return torch.fft.ifft(spectrum)[..., :length].transpose(1, 2)[:, readout]

    def forward(self, u: Tensor, readout: slice = ALL) -> Tensor:
        """Map u (B, L, H) to y (B, steps in ``readout``, H)."""
        b, c = self.maps()
        x = self.scan(drive(u, b), readout)
        return narrowed(torch.cat((x.real, x.imag), dim=-1) @ c + widened(self.d) * u[:, readout], self.d)

    def maps(self) -> tuple[Tensor, Tensor]:
        """Return gamma B and C as real matrices (H, 2 N) and (2 N, H), over (Re x, Im x)."""
        gamma_log, b, c = map(widened, (self.gamma_log, self.b, self.c))
        b = torch.exp(gamma_log)[:, None, None] * b
        return torch.cat(b.unbind(-1)).T, torch.cat((c[..., 0], -c[..., 1]), dim=1).T

    def coefficients(self) -> tuple[Tensor, ...]:
        """Return lambda (N,), complex, and :meth:`maps`."""
        nu_log, theta_log = widened(self.nu_log), widened(self.theta_log)
        return torch.polar(torch.exp(-torch.exp(nu_log)), torch.exp(theta_log)), *self.maps()

    def zeros(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> Tensor:
        """Return zero states (B, N)."""
        complex_dtype = torch.complex128 if dtype == torch.float64 else torch.complex64
        return torch.zeros(batch_size, self.nu_log.numel(), device=device, dtype=complex_dtype)

    def step(self, u_t: Tensor, x: Tensor, coefficients: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Map u_t (B, H) and the state (B, N) to y_t and the next state."""
        lam, b, c = coefficients
        x = lam * x + drive(u_t, b)
        return narrowed(torch.cat((x.real, x.imag), dim=-1) @ c + widened(self.d) * u_t, self.d), x


def drive(u: Tensor, b: Tensor) -> Tensor:
    """Return B u, complex (..., N), for u (..., H) and B as :meth:`LRULayer.maps` has it."""
    return torch.complex(*(u.to(b.dtype) @ b).to(b.dtype).chunk(2, dim=-1))  # autocast may round products


class LRU(GatedStack):
    """A stack of LRU blocks."""

    def __init__(self, config: LRUConfig) -> None:
        layers = (LRULayer(config) for _ in range(config.layers))
        super().__init__(config, (GatedBlock(layer, config.dim, config.dropout) for layer in layers))


def lru_reference(layer: LRULayer, u: Tensor) -> Tensor:
    """Compute ``layer(u)``, (B, L, H) like ``u``, by its definition in complex arithmetic, step after step."""
    lam = torch.exp(torch.complex(-torch.exp(layer.nu_log), torch.exp(layer.theta_log)))
    b, c = torch.view_as_complex(layer.b), torch.view_as_complex(layer.c)
    x = torch.zeros(u.shape[0], lam.numel(), dtype=lam.dtype, device=lam.device)
    outputs = []
    for u_t in u.unbind(1):
        x = lam * x + torch.exp(layer.gamma_log) * (u_t.to(b.dtype) @ b.T)
        outputs.append((x @ c.T).real + layer.d * u_t)
    return torch.stack(outputs, dim=1)
