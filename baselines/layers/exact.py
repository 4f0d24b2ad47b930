"""Arithmetic that is not rounded as the rest of a model may be: products of matrices, and kernels.

Products are in the precision of their factors, whatever training allows elsewhere; kernels are made of parameters
of 16 bits as of float32 (:func:`widened`).

Kernels of state spaces cannot do with less: powers of a transition matrix close to the identity, and sums over
states that nearly cancel. With the factors of both rounded to the bits of bfloat16, kernels of a fresh S4 layer of
256 channels were 5 to 19 % off in the mean at lengths 33 to 1500, and the worst of them 220 %; with TF32's 0.5 to
0.8 % and 4 %.
"""

from typing import Any

import torch
from torch import Tensor

__all__ = ["narrowed", "product", "row_times_power", "widened"]

SHORT_FLOATS = (torch.bfloat16, torch.float16)


def widened(tensor: Tensor) -> Tensor:
    """Return a tensor of 16-bit numbers as float32, any other as it is."""
    return tensor.float() if tensor.dtype in SHORT_FLOATS else tensor


def narrowed(tensor: Tensor, parameter: Tensor) -> Tensor:
    """Return what was computed from a widened parameter in the type of that parameter, all else as it is."""
    return tensor.to(parameter.dtype) if parameter.dtype in SHORT_FLOATS else tensor


def product(a: Tensor, b: Tensor) -> Tensor:
    """Return a @ b, (..., M, K) by (..., K, N) with the same leading sizes.

    Under autocast, or where products of float32 may be rounded (:func:`baselines.training.step.numerics`), forward
    and backward are one operator into which neither these settings nor torch's compiler look.
    """
    exact: Tensor = _product(a, b) if _rounding_allowed(a.device.type) else a @ b
    return exact


def _rounding_allowed(device: str) -> bool:
    """Tell whether products of float32 on a kind of device may be rounded now."""
    autocast = device != "meta" and torch.is_autocast_enabled(device)  # which torch does not know there
    return autocast or torch.get_float32_matmul_precision() != "highest"


# torch's compiler cannot look into it, and compiles anew when these settings change
_rounding_allowed._dynamo_marked_constant = True  # type: ignore[attr-defined]


def row_times_power(row: Tensor, matrix: Tensor, exponent: int) -> Tensor:
    """Return row @ matrix^exponent by repeated squaring, (..., 1, N) by (..., N, N); ``exponent`` from 0."""
    while exponent:
        if exponent % 2:
            row = product(row, matrix)
        exponent //= 2
        if exponent:
            matrix = product(matrix, matrix)
    return row


def _full_precision_product(a: Tensor, b: Tensor) -> Tensor:
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.autocast(a.device.type, enabled=False):
            return a @ b
    finally:
        torch.set_float32_matmul_precision(precision)


_product = torch.library.custom_op("baselines::exact_product", _full_precision_product, mutates_args=())


@_product.register_fake
def _(a: Tensor, b: Tensor) -> Tensor:
    return a.new_empty(*a.shape[:-1], b.shape[-1])


def _save_for_backward(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _backward(ctx: Any, dy: Tensor) -> tuple[Tensor, Tensor]:
    a, b = ctx.saved_tensors
    return _product(dy, b.mT), _product(a.mT, dy)


_product.register_autograd(_backward, setup_context=_save_for_backward)
