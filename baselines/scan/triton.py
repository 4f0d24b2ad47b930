"""The selective scan as Triton kernels: chunks of time in sequence, an associative scan inside each.

A program owns one sequence and a block of channels and goes through time in chunks of ``CHUNK`` steps, from first
to last; inside a chunk the recurrence h_t = q_t h_{t-1} + v_t is an associative scan over pairs (q, v), one state
number n after the other. The state stays in float32 (float64 for float64 inputs). The forward kernel keeps the
state at the beginning of every chunk; the backward kernel goes through the chunks from last to first, scans each
forward again from its saved state, and the gradient in the state backward in time. All strides are passed on.

    g_t = C_t dy_t + q_{t+1} g_{t+1}        a scan too, over time reversed, with the decay of the step after

The other gradients, and the names, are those in :mod:`baselines.scan.cpu`. Tested on the CPU with Triton's
interpreter (``TRITON_INTERPRET=1``); never run on a GPU by its authors.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

CHUNK = 32
CHANNELS = 8


@triton.jit
def _compose(q_1, v_1, q_2, v_2):  # type: ignore[no-untyped-def]
    """Apply h -> q_1 h + v_1, then h -> q_2 h + v_2."""
    return q_1 * q_2, q_2 * v_1 + v_2


@triton.jit
def _forward(  # type: ignore[no-untyped-def]
    u, delta, a, b, c, y, saved,
    u_i, u_t, u_d, delta_i, delta_t, delta_d, a_d, a_n, b_i, b_t, b_n, c_i, c_t, c_n, y_i, y_t, y_d,
    saved_i, saved_k, saved_n, saved_d,
    length, channels,
    STATES: tl.constexpr, CHUNK: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    i, t0 = tl.program_id(0), tl.arange(0, CHUNK)
    d = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    in_range = d < channels
    for k in range(tl.cdiv(length, CHUNK)):
        t = k * CHUNK + t0
        valid = (t < length)[:, None] & in_range[None, :]
        step = tl.load(delta + i * delta_i + t[:, None] * delta_t + d[None, :] * delta_d, valid, 0.0)
        drive = step * tl.load(u + i * u_i + t[:, None] * u_t + d[None, :] * u_d, valid, 0.0)
        total = tl.zeros_like(drive)
        for n in range(STATES):
            a_nd = tl.load(a + d * a_d + n * a_n, in_range, 0.0)
            b_n_t = tl.load(b + i * b_i + t * b_t + n * b_n, t < length, 0.0)
            c_n_t = tl.load(c + i * c_i + t * c_t + n * c_n, t < length, 0.0)
            address = saved + i * saved_i + k * saved_k + n * saved_n + d * saved_d
            h_0 = tl.load(address, in_range, 0.0)
            # past the end: step 0, so no decay and no drive, and the state stays
            decay, h = tl.associative_scan((tl.exp(step * a_nd[None, :]), drive * b_n_t[:, None]), 0, _compose)
            h = h + decay * h_0[None, :]
            total += h * c_n_t[:, None]
            last = tl.sum(tl.where((t0 == CHUNK - 1)[:, None], h, 0.0), 0)
            tl.store(address + saved_k, last, in_range)
        tl.store(y + i * y_i + t[:, None] * y_t + d[None, :] * y_d, total, valid)
        tl.debug_barrier()  # the states that other threads of this program stored are loaded in the next round


@triton.jit
def _backward(  # type: ignore[no-untyped-def]
    u, delta, a, b, c, dy, saved, carry, du, ddelta, da, db, dc,
    u_i, u_t, u_d, delta_i, delta_t, delta_d, a_d, a_n, b_i, b_t, b_n, c_i, c_t, c_n, dy_i, dy_t, dy_d,
    saved_i, saved_k, saved_n, saved_d, du_i, du_t, du_d, db_j, db_i, db_t, db_n,
    length, channels,
    STATES: tl.constexpr, CHUNK: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    i, j, t0 = tl.program_id(0), tl.program_id(1), tl.arange(0, CHUNK)
    d = j * CHANNELS + tl.arange(0, CHANNELS)
    in_range = d < channels
    chunks = tl.cdiv(length, CHUNK)
    for done in range(chunks):
        k = chunks - 1 - done
        t = k * CHUNK + t0
        valid = (t < length)[:, None] & in_range[None, :]
        step = tl.load(delta + i * delta_i + t[:, None] * delta_t + d[None, :] * delta_d, valid, 0.0)
        valid_after = (t + 1 < length)[:, None] & in_range[None, :]
        step_after = tl.load(
            delta + i * delta_i + (t + 1)[:, None] * delta_t + d[None, :] * delta_d, valid_after, 0.0
        )
        x = tl.load(u + i * u_i + t[:, None] * u_t + d[None, :] * u_d, valid, 0.0)
        dy_t_d = tl.load(dy + i * dy_i + t[:, None] * dy_t + d[None, :] * dy_d, valid, 0.0)
        drive = step * x
        dz, dstep = tl.zeros_like(x), tl.zeros_like(x)
        for n in range(STATES):
            a_nd = tl.load(a + d * a_d + n * a_n, in_range, 0.0)
            b_n_t = tl.load(b + i * b_i + t * b_t + n * b_n, t < length, 0.0)
            c_n_t = tl.load(c + i * c_i + t * c_t + n * c_n, t < length, 0.0)
            # saved, carry and da have one layout; carry holds q_t g_t of a chunk's first step for the chunk before
            offset = i * saved_i + k * saved_k + n * saved_n + d * saved_d
            h_0 = tl.load(saved + offset, in_range, 0.0)
            g_0 = tl.load(carry + offset + saved_k, in_range, 0.0)
            v = drive * b_n_t[:, None]
            q = tl.exp(step * a_nd[None, :])
            decay, h = tl.associative_scan((q, v), 0, _compose)
            h = h + decay * h_0[None, :]
            past = h - v  # q_t h_{t-1}
            q_after = tl.exp(step_after * a_nd[None, :])
            entering = tl.where((t0 == CHUNK - 1)[:, None], g_0[None, :], 0.0)
            source = c_n_t[:, None] * dy_t_d + entering
            # at a chunk's last step the decay of the step after is in ``entering`` already
            q_in = tl.where((t0 == CHUNK - 1)[:, None], 0.0, q_after)
            _, g = tl.associative_scan((q_in, source), 0, _compose, reverse=True)
            tl.store(carry + offset, tl.sum(tl.where((t0 == 0)[:, None], g * q, 0.0), 0), in_range)
            dz += g * b_n_t[:, None]
            dstep += g * past * a_nd[None, :]
            tl.store(da + offset, tl.sum(g * past * step, 0), in_range)
            bc_offset = j * db_j + i * db_i + t * db_t + n * db_n
            tl.store(db + bc_offset, tl.sum(g * drive, 1), t < length)
            tl.store(dc + bc_offset, tl.sum(dy_t_d * h, 1), t < length)
        u_offset = i * du_i + t[:, None] * du_t + d[None, :] * du_d
        tl.store(du + u_offset, dz * step, valid)
        tl.store(ddelta + u_offset, dstep + dz * x, valid)
        tl.debug_barrier()  # what other threads of this program stored is loaded in the next round


def saved_shape(u: Tensor, a: Tensor) -> tuple[int, int, int, int]:
    """Return the shape of the saved states: (B, chunks + 1, N, D)."""
    return u.shape[0], -(-u.shape[1] // CHUNK) + 1, a.shape[1], u.shape[2]


def forward(u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """Return y (B, L, D) without skip, and the states at the beginning of each chunk and after the last."""
    batch, length, channels = u.shape
    y, saved = u.new_empty(u.shape), u.new_zeros(saved_shape(u, a))
    strides = [s for t in (u, delta, a, b, c, y, saved) for s in t.stride()]
    sizes = {"STATES": a.shape[1], "CHUNK": CHUNK, "CHANNELS": CHANNELS}
    _forward[(batch, -(-channels // CHANNELS))](u, delta, a, b, c, y, saved, *strides, length, channels, **sizes)
    return y, saved


def backward(
    u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, saved: Tensor, dy: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients in u, delta, a, b and c."""
    batch, length, channels = u.shape
    blocks = -(-channels // CHANNELS)
    du, ddelta = u.new_empty(u.shape), u.new_empty(u.shape)
    carry, da = torch.zeros_like(saved), torch.zeros_like(saved)
    db, dc = (u.new_empty(blocks, *b.shape) for _ in range(2))
    strides = [s for t in (u, delta, a, b, c, dy, saved, du, db) for s in t.stride()]
    sizes = {"STATES": a.shape[1], "CHUNK": CHUNK, "CHANNELS": CHANNELS}
    outputs = (carry, du, ddelta, da, db, dc)
    _backward[(batch, blocks)](u, delta, a, b, c, dy, saved, *outputs, *strides, length, channels, **sizes)
    return du, ddelta, da.sum((0, 1)).T.contiguous(), db.sum(0), dc.sum(0)
