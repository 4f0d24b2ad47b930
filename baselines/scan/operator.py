"""The kernels of a scan backend as one torch operator, opaque to autograd and to torch's compiler.

A backend with kernels is a module of this package with

==================================== =============================================================
``forward(u, delta, a, b, c)``        y, and what its backward pass needs: tensors of ``saved_shape``
``backward(..., saved, dy)``          the gradients in u, delta, a, b, c
``saved_shape(u, a)``                 shape of ``saved``
==================================== =============================================================

on tensors of one type and of any strides, as :func:`baselines.scan.selective_scan` names them; the results are
contiguous.
"""

import importlib
from typing import Any

import torch
from torch import Tensor

_Gradients = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]


def _kernels(backend: str) -> Any:
    return importlib.import_module(f"baselines.scan.{backend}")


@torch.library.custom_op("baselines::selective_scan", mutates_args=())
def _scan(u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, backend: str) -> tuple[Tensor, Tensor]:
    y, saved = _kernels(backend).forward(u, delta, a, b, c)
    return y, saved


@_scan.register_fake
def _(u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, backend: str) -> tuple[Tensor, Tensor]:
    return u.new_empty(u.shape), u.new_empty(_kernels(backend).saved_shape(u, a))


@torch.library.custom_op("baselines::selective_scan_backward", mutates_args=())
def _scan_backward(
    u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, saved: Tensor, dy: Tensor, backend: str
) -> _Gradients:
    gradients: _Gradients = _kernels(backend).backward(u, delta, a, b, c, saved, dy)
    return gradients


@_scan_backward.register_fake
def _(
    u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, saved: Tensor, dy: Tensor, backend: str
) -> _Gradients:
    du, ddelta, da, db, dc = (t.new_empty(t.shape) for t in (u, delta, a, b, c))
    return du, ddelta, da, db, dc


def _save_for_backward(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    *tensors, ctx.backend = inputs
    ctx.save_for_backward(*tensors, output[1])


def _backward(ctx: Any, dy: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    return (*_scan_backward(*ctx.saved_tensors, dy, ctx.backend), None)


_scan.register_autograd(_backward, setup_context=_save_for_backward)


def scan(u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor | None, *, backend: str) -> Tensor:
    """Compute :func:`baselines.scan.selective_scan` with the kernels of ``backend``."""
    compute_dtype = torch.promote_types(u.dtype, torch.float32)
    u_wide, delta, a, b, c = (t.to(compute_dtype) for t in (u, delta, a, b, c))
    y: Tensor = _scan(u_wide, delta, a, b, c, backend)[0]
    return (y if d is None else y + d.to(compute_dtype) * u_wide).to(u.dtype)
