"""The selective scan by the kernels of the package mamba-ssm (Gu and Dao's own, CUDA only).

Its layout is (B, D, L); its state is float32, so float64 inputs are refused rather than rounded. Never run by the
authors of this file, who had no GPU: the call follows the package's signature as they know it
``selective_scan_fn(u, delta, A, B, C, D=None, z=None, delta_bias=None, delta_softplus=False)``.
"""

import torch
from mamba_ssm.ops.selective_scan_interface import selective_scan_fn
from torch import Tensor

from baselines.errors import ModelError


def scan(u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor | None) -> Tensor:
    """Compute :func:`baselines.scan.selective_scan` with mamba-ssm."""
    if torch.float64 in (u.dtype, delta.dtype, a.dtype, b.dtype, c.dtype):
        raise ModelError(
            "scan backend 'mamba_ssm' computes in float32, got float64. Use scan='triton' or scan='reference'."
        )
    u_t, delta_t, b_t, c_t = (t.to(u.dtype).transpose(1, 2).contiguous() for t in (u, delta, b, c))
    skip = None if d is None else d.float()
    y: Tensor = selective_scan_fn(u_t, delta_t, a.float().contiguous(), b_t, c_t, skip)
    return y.transpose(1, 2)
