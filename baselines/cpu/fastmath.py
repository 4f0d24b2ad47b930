"""Elementary functions that numba can vectorise: its own call one scalar routine of the C library an element."""

import math
from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import intrinsic, overload

from baselines.cpu.flags import INLINED, KEPT


@intrinsic  # type: ignore[misc]
def _bits_to_float32(typingctx: Any, bits: Any) -> Any:
    """Read the bits of an int32 as a float32."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], context.get_value_type(types.float32))

    return types.float32(types.int32), codegen


@njit(
    forceinline=True, fastmath={"contract"}, cache=KEPT
)  # not "reassoc": the order of the range reduction's two steps matters
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


_NUMERATOR = tuple(
    np.float32(c) for c in (0.39894225, 0.03337086, 0.0046507539, 1.6430603e-4, 6.3597602e-6, 2.3386852e-8)
)
_DENOMINATOR = tuple(
    np.float32(c) for c in (1.0, 0.25031443, 0.028377869, 0.0018588935, 7.2394365e-5, 1.2165752e-6)
)


@njit(**INLINED, fastmath={"contract"}, cache=KEPT)
def _normal_cdf32(x: Any) -> Any:
    """Return the normal distribution function in float32, with an absolute error below 3e-7.

    1/2 + x R(x^2); R is the rational function of degrees 5 and 5 that was fitted (least largest error, 6e-9) to
    (Phi(x) - 1/2) / x for |x| <= 5.4. Farther out the value at 5.4 stays.
    """
    x = min(max(x, np.float32(-5.4)), np.float32(5.4))
    u = x * x
    p, q = _NUMERATOR[5], _DENOMINATOR[5]
    p, q = p * u + _NUMERATOR[4], q * u + _DENOMINATOR[4]
    p, q = p * u + _NUMERATOR[3], q * u + _DENOMINATOR[3]
    p, q = p * u + _NUMERATOR[2], q * u + _DENOMINATOR[2]
    p, q = p * u + _NUMERATOR[1], q * u + _DENOMINATOR[1]
    p, q = p * u + _NUMERATOR[0], q * u + _DENOMINATOR[0]
    return np.float32(0.5) + x * p / q


def exp(x):  # type: ignore[no-untyped-def]  # numba compares the argument lists, annotations too
    """Return e^x; inside numba functions on float32 the vectorisable form, on float64 the C library's."""
    return math.exp(x)


@overload(exp, inline="always")  # type: ignore[misc]
def _exp(x):  # type: ignore[no-untyped-def]
    if x == types.float32:
        return lambda x: _exp32(x)
    return lambda x: math.exp(x)


def normal_cdf(x):  # type: ignore[no-untyped-def]
    """Return Phi(x) = (1 + erf(x / sqrt 2)) / 2; float32 and float64 as for :func:`exp`."""
    return 0.5 * math.erfc(-x * math.sqrt(0.5))


@overload(normal_cdf, inline="always")  # type: ignore[misc]
def _normal_cdf(x):  # type: ignore[no-untyped-def]
    if x == types.float32:
        return lambda x: _normal_cdf32(x)
    return lambda x: 0.5 * math.erfc(-x * math.sqrt(0.5))
