"""The selective scan as a plain loop over time: the truth that the fast backends are held to."""

import torch
from torch import Tensor


def scan(u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor | None) -> Tensor:
    """Compute :func:`baselines.scan.selective_scan` by its equations, with autograd's gradients.

    Memory of the backward pass is O(B L D N): every state is kept.
    """
    wide = torch.promote_types(u.dtype, torch.float32)
    u_w, delta, a, b, c = (t.to(wide) for t in (u, delta, a, b, c))
    h = u_w.new_zeros(u.shape[0], u.shape[2], a.shape[1])
    outputs = []
    # each step indexed by itself would make a gradient of the whole length each: time O(L^2)
    for u_t, delta_t, b_t, c_t in zip(*(t.unbind(1) for t in (u_w, delta, b, c)), strict=True):
        h = torch.exp(delta_t[..., None] * a) * h + (delta_t * u_t)[..., None] * b_t[:, None]
        outputs.append((h * c_t[:, None]).sum(-1))
    y = torch.stack(outputs, dim=1)
    return (y if d is None else y + d.to(wide) * u_w).to(u.dtype)
