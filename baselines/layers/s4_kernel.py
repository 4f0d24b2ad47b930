"""The state space inside an S4 layer: initial values, discretisation, convolution kernel.

Gu, Goel and Re, "Efficiently Modeling Long Sequences with Structured State Spaces", ICLR 2022, arXiv 2111.00396.

Glossary, code to the paper's symbols
-------------------------------------
=============== ==========================================================================
``H N L``        channels (one state space each), state size (N/2 complex numbers kept), length
``lam``          Lambda: A = Lambda - P P^* (the eigenvalues of the normal part), section 3.4
``dt``           Delta, the step
``p b c``        P, B, C; where a function says so, ``c`` is C~ = C (I - Abar^L), lemma C.3
``K``            Kbar, the kernel: K_k = C Abar^k Bbar, equation 5; ``K^`` its discrete Fourier transform
``q_cb ...``     the Cauchy sums over states that give K^, see :func:`kernel_from_truncated`
=============== ==========================================================================

The states come in complex conjugate pairs, of which one is kept: every sum over states is twice the real part of
the sum over the kept half, and all tensors are (H, N/2). Bilinear rule (equation 3), with M = I - dt/2 A:

    Abar = M^-1 (I + dt/2 A) = 2 M^-1 - I            Bbar = dt M^-1 B

A is diagonal plus rank one, so M^-1 is too (Woodbury): no dense matrix is needed to step or to make the kernel.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from baselines.cpu.threads import compiled_for
from baselines.layers.exact import product, row_times_power

SHORT = 32
"""Up to this length plain products beat the FFT, for the kernel and for the convolution."""

TERMS = 1 << 23
"""Terms of the Cauchy sums that plain torch holds at once: 1024 frequencies of 256 channels with 64 states."""


class StateSpace(NamedTuple):
    """Continuous state spaces, one a channel; complex tensors (H, N/2), ``dt`` (H, 1) real."""

    dt: Tensor
    lam: Tensor
    p: Tensor
    b: Tensor
    c: Tensor


class Discrete(NamedTuple):
    """What a step of the recurrence needs; complex tensors (H, N/2).

    ``M^-1 v = g v - e Re(f . v)`` is the Woodbury form of M^-1 on the kept half of the states.
    """

    g: Tensor
    e: Tensor
    f: Tensor
    b_bar: Tensor
    c: Tensor


def hippo_legs(n: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the HiPPO-LegS matrix in its diagonal plus low-rank form (theorem 1 and appendix C.1).

    A_nk = -sqrt((2n+1)(2k+1)) for n > k, -(n+1) for n = k, 0 above; P_n = sqrt(n + 1/2), B_n = sqrt(2n + 1).
    A + P P^T = -I/2 + a skew matrix, whose eigenvectors V are unitary. Only eigenvalues with a negative imaginary
    part are kept; the phase of each eigenvector makes its last component real and positive. As in the published
    code, the imaginary part of V^* B is limited to 2, which tames the few fastest modes.

    Parameters
    ----------
    n
        State size N, even.

    Returns
    -------
    tuple
        Lambda, V^* P, V^* B, each complex128 (N/2,), fastest mode first.
    """
    k = torch.arange(n, dtype=torch.float64)
    a = -torch.sqrt(torch.outer(2 * k + 1, 2 * k + 1)).tril(-1) - torch.diag(k + 1)
    p, b = torch.sqrt(k + 0.5), torch.sqrt(2 * k + 1)
    skew = a + torch.outer(p, p) + 0.5 * torch.eye(n, dtype=torch.float64)
    frequency, v = torch.linalg.eigh(-1j * skew.to(torch.complex128))  # ascending: the negative half comes first
    frequency, v = frequency[: n // 2], v[:, : n // 2]
    v = v * (v[-1].conj() / v[-1].abs())
    b_v, p_v = (v.mH @ b.to(v.dtype)), (v.mH @ p.to(v.dtype))
    return (
        torch.complex(torch.full_like(frequency, -0.5), frequency),
        p_v,
        torch.complex(b_v.real, b_v.imag.clamp(-2.0, 2.0)),
    )


def discretise(ssm: StateSpace) -> Discrete:
    """Apply the bilinear rule; M = (I - dt/2 Lambda) + dt/2 P P^* is inverted by Woodbury's identity."""
    g = 1.0 / (1.0 - 0.5 * ssm.dt * ssm.lam)
    gp, f = g * ssm.p, g * ssm.p.conj()
    # P^* x over all states is 2 Re(P^H x) over the kept half: dt/2 becomes dt
    e = gp * (ssm.dt / (1.0 + ssm.dt * (ssm.p.conj() * gp).real.sum(-1, keepdim=True)))
    b_bar = ssm.dt * (g * ssm.b - e * (f * ssm.b).real.sum(-1, keepdim=True))
    return Discrete(g, e, f, b_bar, ssm.c)


def advance(d: Discrete, x: Tensor) -> Tensor:
    """Return Abar x = 2 M^-1 x - x for states (..., H, N/2)."""
    return 2.0 * (d.g * x - d.e * (d.f * x).real.sum(-1, keepdim=True)) - x


def taps(d: Discrete, length: int) -> Tensor:
    """Return the first ``length`` taps of K by the recurrence x_0 = Bbar, x_{k+1} = Abar x_k, K_k = 2 Re(C . x_k).

    Exact at any length, one step after the other: for short kernels.

    Returns
    -------
    Tensor
        (H, length), real.
    """
    x, states = d.b_bar, []
    for _ in range(length):
        states.append(x)
        x = advance(d, x)
    return 2.0 * (d.c.unsqueeze(1) * torch.stack(states, dim=1)).real.sum(-1)


def _as_real_rows(c: Tensor) -> Tensor:
    """Write x -> 2 Re(c . x) as a real row over (Re x, Im x): (H, N/2) complex to (H, 1, N) real."""
    return 2.0 * torch.cat((c.real, -c.imag), dim=-1).unsqueeze(1)


def _as_complex(row: Tensor) -> Tensor:
    real, imag = row.squeeze(1).chunk(2, dim=-1)
    return 0.5 * torch.complex(real, -imag)


def transition(d: Discrete) -> Tensor:
    """Return Abar as dense real matrices (H, N, N) over (Re x, Im x)."""
    half = d.g.shape[-1]
    unit = torch.eye(half, dtype=d.g.dtype, device=d.g.device).unsqueeze(1)
    columns = advance(d, torch.cat((unit, 1j * unit)))  # (N, H, N/2)
    return torch.cat((columns.real, columns.imag), dim=-1).permute(1, 2, 0)


def truncate(ssm: StateSpace, length: int) -> Tensor:
    """Return C~ = C (I - Abar^length), complex (H, N/2), by repeated squaring."""
    row = _as_real_rows(ssm.c)
    return _as_complex(row - row_times_power(row, transition(discretise(ssm)), length))


def untruncate(ssm: StateSpace, length: int) -> Tensor:
    """Return C from a state space whose ``c`` holds C~ for ``length``: the inverse of :func:`truncate`.

    I - Abar^length is nearly singular for slow modes, so this is solved in float64.
    """
    wide = StateSpace(*(t.to(torch.complex128 if t.is_complex() else torch.float64) for t in ssm))
    power = torch.linalg.matrix_power(transition(discretise(wide)), length)
    identity = torch.eye(power.shape[-1], dtype=power.dtype, device=power.device)
    row = torch.linalg.solve(identity - power, _as_real_rows(wide.c), left=False)
    return _as_complex(row).to(ssm.c.dtype)


def kernel_from_truncated(ssm: StateSpace, length: int) -> Tensor:
    """Return K (H, length), for a state space whose ``c`` holds C~ for exactly this length.

    The generating function of K at the roots of unity w_j = exp(-2 pi i j / L) is (lemma C.3)

        K^(w) = 2 / (1 + w) [k_cb - k_cp k_pb / (1 + k_pp)],    k_uv = sum_n u_n v_n / (z - Lambda_n),
        z = 2 / dt (1 - w) / (1 + w),

    with C~, B and P for c, b and p (P^* for a p in front), and K its inverse Fourier transform. Written with the
    half angle phi = pi j / L: z = (2i / dt) tan(phi), and with k_uv = dt cos(phi) q_uv, where
    q_uv = sum_n u_n v_n / (2i sin(phi) - dt Lambda_n cos(phi)), the pole of z at the Nyquist frequency cancels:

        K^ = dt exp(i phi) [q_cb - dt cos(phi) q_cp q_pb / (1 + dt cos(phi) q_pp)]

    Parameters
    ----------
    ssm
        The state spaces; ``c`` is C~.
    length
        L.

    Returns
    -------
    Tensor
        (H, L), real.
    """
    cos, sin = half_angles(length, ssm.dt)
    p_star = ssm.p.conj()
    weights = torch.stack((ssm.c * ssm.b, ssm.c * ssm.p, p_star * ssm.b, p_star * ssm.p))
    poles = ssm.dt * ssm.lam
    odd, even = 4.0 * weights.real, -2.0 * (weights * poles.conj()).real
    return torch.fft.irfft(spectrum(odd, even, poles, ssm.dt, cos, sin), n=length)


def half_angles(length: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Return the cosine and the sine of phi = pi j / length, j = 0, ..., length // 2, of the type of ``like``.

    The cosine is taken as the sine of pi / 2 - phi and so is 0 at the Nyquist frequency. A rounded pi / 2 would
    leave 6e-17 there, whose products are denormal numbers, and those a CPU takes a hundred times as long for.
    """
    j = torch.arange(length // 2 + 1, device=like.device, dtype=torch.float64)
    cos, sin = (torch.sin(k * (math.pi / length)).to(like.dtype) for k in (0.5 * length - j, j))
    return cos, sin


def spectrum(odd: Tensor, even: Tensor, poles: Tensor, dt: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Return K^ at the angles phi, from the parts of the four Cauchy sums (:func:`cauchy`).

    Parameters
    ----------
    odd, even, poles
        Of q_cb, q_cp, q_pb and q_pp: (4, H, N/2) and (H, N/2).
    dt
        The step, real (H, 1).
    cos, sin
        Of phi, real (F,).

    Returns
    -------
    Tensor
        Complex (H, F).
    """
    if compiled_for(odd):
        from baselines.cpu import s4 as compiled  # numba is imported only where it is used

        return compiled.spectrum(odd, even, poles, dt, cos, sin)
    return spectrum_plain(odd, even, poles, dt, cos, sin)


def spectrum_plain(odd: Tensor, even: Tensor, poles: Tensor, dt: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Compute :func:`spectrum` with torch alone.

    Of many frequencies, a block at a time, which the way back computes once more: arrays of states times
    frequencies would take gigabytes for a long input.
    """
    width = max(1, TERMS // poles.numel())
    if len(cos) <= width:
        return _spectrum_block(odd, even, poles, dt, cos, sin)
    blocks = [
        checkpoint(_spectrum_block, odd, even, poles, dt, *angles, use_reentrant=False, preserve_rng_state=False)
        for angles in zip(cos.split(width), sin.split(width), strict=True)
    ]
    return torch.cat(blocks, dim=-1)


def _spectrum_block(odd: Tensor, even: Tensor, poles: Tensor, dt: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    q_cb, q_cp, q_pb, q_pp = cauchy(odd, even, poles, cos, sin).unbind(0)
    scale = dt * cos
    return dt * torch.complex(cos, sin) * (q_cb - scale * q_cp * q_pb / (1.0 + scale * q_pp))


def cauchy(odd: Tensor, even: Tensor, poles: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Return the sums q_j = sum over conjugate pairs of v_jn / (2i sin - lambda_n cos), in real arithmetic.

    A pair v, lambda and its conjugate together give

        [4i sin Re v - 2 cos Re(v conj(lambda))] / [cos^2 |lambda|^2 - 4 sin^2 - 4i sin cos Re(lambda)],

    so one reciprocal serves all numerators: matrix products with the reciprocals (H, N/2, F).

    Parameters
    ----------
    odd, even
        4 Re v and -2 Re(v conj(lambda)), real (4, H, N/2).
    poles
        lambda, complex (H, N/2), with negative real part.
    cos, sin
        Real (F,).

    Returns
    -------
    Tensor
        Complex (4, H, F).
    """
    lr, li = poles.real.unsqueeze(-1), poles.imag.unsqueeze(-1)
    real = (cos * lr).square() + (cos * li - 2.0 * sin) * (cos * li + 2.0 * sin)
    imag = -4.0 * sin * cos * lr
    norm = real.square() + imag.square()
    inverse = torch.stack((real / norm, -imag / norm), dim=-1).flatten(-2)  # (H, N/2, 2 F)
    rows = torch.cat((odd, even)).transpose(0, 1)  # (H, 2 J, N/2)
    sums = torch.view_as_complex(product(rows, inverse).unflatten(-1, (-1, 2)).contiguous())
    sums_odd, sums_even = sums.transpose(0, 1).chunk(2)
    return 1j * sin * sums_odd + cos * sums_even


def kernel(ssm: StateSpace, length: int, truncated_length: int | None) -> Tensor:
    """Return the kernel K (H, length) of state spaces in either parametrisation.

    Parameters
    ----------
    ssm
        ``ssm.c`` is C, or C~ for ``truncated_length``.
    length
        Number of taps wanted.
    truncated_length
        None where ``ssm.c`` is C.

    Returns
    -------
    Tensor
        (H, length), real, differentiable in all fields of ``ssm``.
    """
    if truncated_length is not None and length <= truncated_length:
        return kernel_from_truncated(ssm, truncated_length)[:, :length]
    if truncated_length is not None:
        ssm = ssm._replace(c=untruncate(ssm, truncated_length))
    if length <= SHORT:
        return taps(discretise(ssm), length)
    return kernel_from_truncated(ssm._replace(c=truncate(ssm, length)), length)
