"""S4, the structured state space layer (Gu, Goel and Re, ICLR 2022, arXiv 2111.00396), and a stack of them.

Glossary, code to the paper's symbols (the state space itself: :mod:`baselines.layers.s4_kernel`)
-----------------------------------
==================== =====================================================================
``u y``               u, y: input and output of the H state spaces of a layer, one a channel
``log_dt``            log Delta
``log_lam_real``      log(-Re Lambda); ``lam_imag`` is -Im Lambda
``p b c``             P, B, C (or C~, see ``S4Config.kernel``), pairs (real, imaginary)
``d``                 D, the skip connection
``k``                 Kbar with D added to its first tap, so that y is one convolution (``responses``)
==================== =====================================================================

    x_k = Abar x_{k-1} + Bbar u_k        y_k = 2 Re(C x_k) + D u_k            equation 3
    y   = Kbar * u + D u                 Kbar_k = 2 Re(C Abar^k Bbar)         equations 4 and 5
    block: x + Linear_GLU(gelu(S4(LayerNorm(x))))
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from baselines.cpu.threads import compiled_for, runs_its_weights, transformed
from baselines.errors import OptionError
from baselines.layers import s4_kernel
from baselines.layers.base import ALL, check_config, log_uniform
from baselines.layers.dropout import Dropout, gated_linear
from baselines.layers.exact import narrowed, widened
from baselines.layers.gated import Coefficients, GatedStack, Recurrence

_MAX_JOINT_SIZE = 2**21
"""Numbers in kernels that are made in one go."""


@dataclass(frozen=True)
class S4Config:
    """A stack of S4 blocks.

    Attributes
    ----------
    dim
        H, the width.
    layers
        Number of blocks.
    state
        N, the size of each state space (even).
    dropout
        Probability of dropping an element after the GELU and after the output layer.
    prenorm
        Normalise before the layer (else after the residual sum).
    kernel
        ``"full"``: the parameter is C. ``"truncated"``: it is C~ = C (I - Abar^l) with l = ``kernel_length``, as
        in the published code. Both describe the same layers; gradients and optimiser steps differ.
    kernel_length
        l, for ``"truncated"``: best the longest input. Longer inputs are right too, but need a solve.
    dt_min, dt_max
        Range of the initial Delta, in samples^-1, log-uniform.
    learning_rate
        Learning rate that ``param_groups`` gives Delta, Lambda, P and B; None: that of all others, as in the
        published training (the S4 paper uses 0.001 at most).
    """

    kind: ClassVar[str] = "s4"
    dim: int = 128
    layers: int = 6
    state: int = 64
    dropout: float = 0.1
    prenorm: bool = True
    kernel: str = "full"
    kernel_length: int | None = None
    dt_min: float = 0.001
    dt_max: float = 0.1
    learning_rate: float | None = None

    def __post_init__(self) -> None:
        check_config(self, positive=("dim", "layers", "state", "kernel_length"), fraction=("dropout",))
        if self.state % 2:
            raise OptionError("S4Config.state", self.state, "an even number (states come in conjugate pairs)")
        if self.kernel not in ("full", "truncated"):
            raise OptionError("S4Config.kernel", self.kernel, "'full' or 'truncated'")
        if (self.kernel == "truncated") != (self.kernel_length is not None):
            raise OptionError(
                "S4Config.kernel_length",
                self.kernel_length,
                "a length with kernel='truncated', None with kernel='full'",
                f"Here kernel={self.kernel!r}.",
            )
        if not 0 < self.dt_min <= self.dt_max:
            raise OptionError("S4Config.dt_min", self.dt_min, f"a number in (0, dt_max={self.dt_max}]")


class S4Layer(Recurrence):
    """H independent single-input single-output state spaces, in DPLR form."""

    def __init__(self, config: S4Config) -> None:
        super().__init__()
        self.truncated_length = config.kernel_length
        h, half = config.dim, config.state // 2
        lam, p, b = s4_kernel.hippo_legs(config.state)
        dtype = torch.get_default_dtype()

        def shared(values: Tensor) -> nn.Parameter:
            return nn.Parameter(values.to(dtype).expand(h, *values.shape).contiguous())

        self.log_dt = nn.Parameter(torch.log(log_uniform((h, 1), config.dt_min, config.dt_max)))
        self.log_lam_real = shared(torch.log(-lam.real))
        self.lam_imag = shared(-lam.imag)
        self.p = shared(torch.view_as_real(p))
        self.b = shared(torch.view_as_real(b))
        self.c = nn.Parameter(torch.randn(h, half, 2) * 0.5**0.5)  # E |C_n|^2 = 1
        self.d = nn.Parameter(torch.randn(h))
        if self.truncated_length is not None:
            c = s4_kernel.truncate(self.state_space(), self.truncated_length)
            self.c.data = torch.view_as_real(c.detach())

    def state_space(self) -> s4_kernel.StateSpace:
        """Return the continuous state spaces; ``c`` is as parametrised (C or C~)."""
        return _state_space([self])

    def dynamics(self) -> list[nn.Parameter]:
        """Return Delta, Lambda, P and B: the parameters for which the paper takes a smaller learning rate."""
        return [self.log_dt, self.log_lam_real, self.lam_imag, self.p, self.b]

    def kernel(self, length: int) -> Tensor:
        """Return the convolution kernel K, (H, length)."""
        return s4_kernel.kernel(self.state_space(), length, self.truncated_length)

    def coefficients(self) -> s4_kernel.Discrete:
        """Return the discretised coefficients, with C proper."""
        ssm = self.state_space()
        if self.truncated_length is not None:
            ssm = ssm._replace(c=s4_kernel.untruncate(ssm, self.truncated_length))
        return s4_kernel.discretise(ssm)

    def forward(self, u: Tensor, readout: slice = ALL, k: Tensor | None = None) -> Tensor:
        """Map u (B, L, H) to y (B, steps in ``readout``, H); ``k`` from :func:`responses`, if made already."""
        k = responses([self], u.shape[1])[0] if k is None else k
        return narrowed(causal_convolution(u, k, readout), self.d)

    def zeros(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> Tensor:
        """Return zero states (B, H, N/2)."""
        complex_dtype = torch.complex128 if dtype == torch.float64 else torch.complex64
        return torch.zeros(batch_size, *self.lam_imag.shape, device=device, dtype=complex_dtype)

    def step(self, u_t: Tensor, x: Tensor, coefficients: Coefficients) -> tuple[Tensor, Tensor]:
        """Map u_t (B, H) and the state x (B, H, N/2) to y_t and the next state."""
        d = s4_kernel.Discrete(*coefficients)
        x = s4_kernel.advance(d, x) + d.b_bar * u_t.unsqueeze(-1)
        return narrowed(2.0 * (d.c * x).real.sum(-1) + widened(self.d) * u_t, self.d), x


def _state_space(layers: Sequence[S4Layer]) -> s4_kernel.StateSpace:
    """Return the continuous state spaces of layers of one configuration, one after the other."""

    def concatenated(name: str) -> Tensor:
        tensors = [widened(getattr(layer, name)) for layer in layers]
        return torch.cat(tensors) if len(tensors) > 1 else tensors[0]

    lam = torch.complex(-torch.exp(concatenated("log_lam_real")), -concatenated("lam_imag"))
    p, b, c = (torch.view_as_complex(concatenated(name)) for name in ("p", "b", "c"))
    return s4_kernel.StateSpace(torch.exp(concatenated("log_dt")), lam, p, b, c)


def responses(layers: Sequence[S4Layer], length: int) -> tuple[Tensor, ...]:
    """Return each layer's response to an impulse: its kernel, with D added to the first tap.

    Parameters
    ----------
    layers
        Of one configuration. Small kernels are made in one go, as each of their many operations costs more to
        start than to do.
    length
        Number of taps.

    Returns
    -------
    tuple of Tensor
        (H, length) each.
    """
    truncated = layers[0].truncated_length
    size = sum(layer.d.numel() for layer in layers) * max(length, truncated or 0)
    if len(layers) > 1 and size > _MAX_JOINT_SIZE:
        return tuple(responses([layer], length)[0] for layer in layers)
    k = s4_kernel.kernel(_state_space(layers), length, truncated)
    d = torch.cat([widened(layer.d) for layer in layers]).unsqueeze(-1)
    return (k + F.pad(d, (0, length - 1))).chunk(len(layers))


def causal_convolution(u: Tensor, k: Tensor, readout: slice = ALL) -> Tensor:
    """Return (k * u)_t = sum_{s <= t} k_{t-s} u_s at the steps in ``readout``.

    Parameters
    ----------
    u
        (B, L, H).
    k
        (H, L), one kernel a channel.
    readout
        Steps wanted.

    Returns
    -------
    Tensor
        (B, steps, H). Short sequences: the definition, as a compiled loop or a product with a triangular Toeplitz
        matrix; longer ones: FFT.
    """
    length = u.shape[1]
    if length > s4_kernel.SHORT:
        u = u.to(k.dtype)  # there is no FFT of bfloat16
        return (fft_convolution(u, k)[0] if transformed() else _FFTConvolution.apply(u, k))[:, readout]
    steps = range(length)[readout]
    if compiled_for(u) and steps == range(steps.start, length):
        from baselines.cpu import s4 as compiled  # numba is imported only where it is used

        return compiled.short_convolution(u, k, steps.start)
    return toeplitz_convolution(u, k, readout)


def toeplitz_convolution(u: Tensor, k: Tensor, readout: slice = ALL) -> Tensor:
    """Compute :func:`causal_convolution` as a product with a matrix (H, steps, L), for short sequences."""
    lag = torch.arange(u.shape[1], device=u.device)
    lag = lag[readout, None] - lag
    toeplitz = k[:, lag.clamp(min=0)] * (lag >= 0)
    return torch.einsum("hts,bsh->bth", toeplitz, u.to(k.dtype))


def fft_convolution(u: Tensor, k: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Compute :func:`causal_convolution` by FFT, padded to at least 2 L so that nothing wraps around.

    Returns
    -------
    tuple of Tensor
        y (B, L, H); the spectra of u (B, H, F) and of k (H, F).
    """
    length = u.shape[1]
    n = fft_length(2 * length)
    u_f, k_f = torch.fft.rfft(u.transpose(1, 2), n=n), torch.fft.rfft(k, n=n)
    return torch.fft.irfft(u_f * k_f, n=n)[..., :length].transpose(1, 2).contiguous(), u_f, k_f


class _FFTConvolution(torch.autograd.Function):
    """:func:`fft_convolution` with gradients of its own.

    The gradients are correlations: with real FFTs both ways they cost as much as the forward pass, where
    autograd's own rule for ``rfft`` takes a complex transform of twice the size.
    """

    @staticmethod
    def forward(ctx: Any, u: Tensor, k: Tensor) -> Tensor:
        y, u_f, k_f = fft_convolution(u, k)
        ctx.save_for_backward(u_f, k_f)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, Tensor]:
        u_f, k_f = ctx.saved_tensors
        length, n = dy.shape[1], fft_length(2 * dy.shape[1])
        dy_f = torch.fft.rfft(dy.transpose(1, 2), n=n)
        du = torch.fft.irfft(dy_f * k_f.conj(), n=n)[..., :length].transpose(1, 2).contiguous()
        dk = torch.fft.irfft((dy_f * u_f.conj()).sum(0), n=n)[..., :length]
        return du, dk


def fft_length(at_least: int) -> int:
    """Return the next even number with no prime factor above 5, for which FFTs are fast."""
    n = at_least + at_least % 2
    while True:
        rest = n
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return n
        n += 2


class S4Block(nn.Module):
    """One residual block around an S4 layer."""

    def __init__(self, config: S4Config) -> None:
        super().__init__()
        self.prenorm = config.prenorm
        self.norm = nn.LayerNorm(config.dim)
        self.layer = S4Layer(config)
        self.linear = nn.Linear(config.dim, 2 * config.dim)
        self.dropout = Dropout(config.dropout)

    def forward(self, x: Tensor, readout: slice = ALL, k: Tensor | None = None) -> Tensor:
        """Map (B, L, H) to (B, steps in ``readout``, H); ``k`` from :func:`responses`, if it is made already."""
        if not self._compiled_fits(x, readout):
            inner = self._branch_input(x)
            return self._output(
                x[:, readout], self.layer(inner, readout) if k is None else self.layer(inner, readout, k)
            )
        from baselines.cpu import s4_block as compiled  # numba is imported only where it is used

        k = responses([self.layer], x.shape[1])[0] if k is None else k
        first = range(x.shape[1])[readout].start
        norm = self.norm
        x, g = compiled.inner_branch(x, norm.weight, norm.bias, k, norm.eps, first, *self.dropout.draw())
        return gated_linear(x, g, self.linear, self.dropout)

    def _compiled_fits(self, x: Tensor, readout: slice) -> bool:
        """Tell whether the compiled form of the block, for short sequences up to their end, can stand in."""
        length = x.shape[1]
        steps = range(length)[readout]
        return (
            self.prenorm
            and 0 < length <= s4_kernel.SHORT
            and steps == range(steps.start, length)
            and compiled_for(x)
            and runs_its_weights(self.layer, S4Layer)
            and runs_its_weights(self.norm, nn.LayerNorm)
            and x.dtype == self.norm.weight.dtype
            and not torch.is_autocast_enabled("cpu")
        )

    def step(self, x_t: Tensor, state: tuple[Tensor, Coefficients]) -> tuple[Tensor, tuple[Tensor, Coefficients]]:
        """Map (B, H) and (states, coefficients) to the output and the next pair."""
        hidden, coefficients = state
        y, hidden = self.layer.step(self._branch_input(x_t), hidden, coefficients)
        return self._output(x_t, y), (hidden, coefficients)

    def _branch_input(self, x: Tensor) -> Tensor:
        return self.norm(x) if self.prenorm else x

    def _output(self, x: Tensor, y: Tensor) -> Tensor:
        x = gated_linear(x, self.dropout(F.gelu(y)), self.linear, self.dropout)
        return x if self.prenorm else self.norm(x)


class S4(GatedStack):
    """A stack of S4 blocks."""

    def __init__(self, config: S4Config) -> None:
        super().__init__(config, (S4Block(config) for _ in range(config.layers)))

    def forward(self, x: Tensor, readout: slice = ALL) -> Tensor:
        """Run over whole sequences; see :meth:`SequenceLayer.forward`."""
        layers = [block.layer for block in self.blocks]
        made: Sequence[Tensor | None] = [None] * len(layers)
        if all(runs_its_weights(layer, S4Layer) for layer in layers):  # an exported model has others there
            made = responses(layers, x.shape[1])
        *ks, last_k = made
        for block, k in zip(self.blocks[:-1], ks, strict=True):
            x = block(x, ALL, k)
        return self.blocks[-1](x, readout, last_k)


def s4_reference(layer: S4Layer, u: Tensor) -> Tensor:
    """Compute ``layer(u)``, (B, L, H) like ``u``, by equation 3 with dense matrices over all N states."""
    lam = torch.complex(-torch.exp(layer.log_lam_real), -layer.lam_imag)
    lam, p, b, c = (
        torch.cat((t, t.conj()), dim=-1) for t in (lam, *map(torch.view_as_complex, (layer.p, layer.b, layer.c)))
    )
    a = torch.diag_embed(lam) - p.unsqueeze(-1) * p.conj().unsqueeze(-2)
    identity = torch.eye(a.shape[-1], dtype=a.dtype, device=a.device)
    half = 0.5 * torch.exp(layer.log_dt).unsqueeze(-1)
    a_bar = torch.linalg.solve(identity - half * a, identity + half * a)
    b_bar = torch.linalg.solve(identity - half * a, 2 * half * b.unsqueeze(-1))
    c = c.unsqueeze(-2)
    if layer.truncated_length is not None:
        c = torch.linalg.solve(identity - torch.linalg.matrix_power(a_bar, layer.truncated_length), c, left=False)
    x = torch.zeros(u.shape[0], *b_bar.shape, dtype=a.dtype, device=a.device)
    outputs = []
    for u_t in u.unbind(1):
        x = a_bar @ x + b_bar * u_t[..., None, None]
        outputs.append((c @ x).real.flatten(1) + layer.d * u_t)
    return torch.stack(outputs, dim=1)
