"""Elementary functions that numba can vectorise: its own call one scalar routine of the C library an element."""

import math
from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import intrinsic, overload


@intrinsic  # type: ignore[misc]
def _bits_to_float32(typingctx: Any, bits: Any) -> Any:
    """Read the bits of an int32 as a float32."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], context.get_value_type(types.float32))

    return types.float32(types.int32), codegen


@njit(fastmath={"contract"}, cache=True)  # not "reassoc": the order of the range reduction's two steps matters
def _exp32(x: Any) -> Any:
    """Return e^x in float32 for x <= 88, with a relative error below 2e-7; below e^-87 it stays there.

    x = k ln 2 + r with |r| <= ln(2) / 2; e^r by its Taylor polynomial of degree 7, 2^k by its exponent bits.
    """
    x = max(x, np.float32(-87.0))
    k = np.float32(np.floor(x * np.float32(1.44269504) + np.float32(0.5)))
    r = x - k * np.float32(0.693359375)
    r = r - k * np.float32(-2.12194440e-4)
    p = np.float32(1 / 5040)
    p = p * r + np.float32(1 / 720)
    p = p * r + np.float32(1 / 120)
    p = p * r + np.float32(1 / 24)
    p = p * r + np.float32(1 / 6)
    p = p * r + np.float32(0.5)
    p = p * r + np.float32(1.0)
    p = p * r + np.float32(1.0)
    return p * _bits_to_float32(np.int32((k + np.float32(127.0)) * np.float32(1 << 23)))  # type: ignore[call-arg]


def exp(x):  # type: ignore[no-untyped-def]  # numba compares the argument lists, annotations too
    """Return e^x; inside numba functions on float32 the vectorisable form, on float64 the C library's."""
    return math.exp(x)


@overload(exp, inline="always")  # type: ignore[misc]
def _exp(x):  # type: ignore[no-untyped-def]
    if x == types.float32:
        return lambda x: _exp32(x)
    return lambda x: math.exp(x)
