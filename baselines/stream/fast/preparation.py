"""The compiled form of :class:`baselines.stream.preparation.Preparation`: raw samples to features in one call.

``sos`` are the filter's second-order sections (S, 6): b_0, b_1, b_2, 1, a_1, a_2. Each runs in the transposed
direct form II, y = b_0 x + z_0, z_0' = b_1 x - a_1 y + z_1, z_1' = b_2 x - a_2 y, as scipy's does.
"""

import numpy as np
from numba import njit

from baselines.cpu.flags import KEPT

__all__ = ["prepare_samples"]

_F = np.float32
_LARGEST = float(np.finfo(np.float32).max)


@njit(nogil=True, cache=KEPT, error_model="numpy")  # no fastmath: it would not see NaN
def prepare_samples(rows, started, deltas, bounds, state, constants, out):  # type: ignore[no-untyped-def]
    """Write the features of ``rows`` to ``out`` (n, F); return False, and change nothing, if any is not finite.

    Parameters
    ----------
    rows
        Raw samples (n, C), float64.
    started
        Whether these are not the first samples.
    deltas
        Whether the changes are appended.
    bounds
        Raw clip and clip; infinity for none.
    state
        Offset (C,), state of the filter (S, 2, C), latest filtered sample (C,); the last two are changed.
    constants
        Sections (S, 6), their state for a steady input of 1 (S, 2), shift and scale (F,).
    out
        float32.
    """
    (raw_clip, clip), (offset, z, previous), (sos, steady, shift, scale) = bounds, state, constants
    count, channels = rows.shape
    for t in range(count):
        for c in range(channels):
            if not abs(rows[t, c]) <= _LARGEST:
                return False
    for t in range(count):
        first = t == 0 and not started
        for c in range(channels):
            x = min(max(rows[t, c] - offset[c], -raw_clip), raw_clip)
            if first:
                for s in range(sos.shape[0]):
                    z[s, 0, c], z[s, 1, c] = steady[s, 0] * x, steady[s, 1] * x
            for s in range(sos.shape[0]):
                y = sos[s, 0] * x + z[s, 0, c]
                z[s, 0, c] = sos[s, 1] * x - sos[s, 4] * y + z[s, 1, c]
                z[s, 1, c] = sos[s, 2] * x - sos[s, 5] * y
                x = y
            stored = _F(x)
            out[t, c] = _scaled(stored, clip, shift[c], scale[c])
            if deltas:
                change = _F(0) if first else stored - previous[c]
                out[t, channels + c] = _scaled(change, clip, shift[channels + c], scale[channels + c])
            previous[c] = stored
    return True


@njit(nogil=True, cache=KEPT, error_model="numpy")
def _scaled(x, clip, shift, scale):  # type: ignore[no-untyped-def]
    """Return (x - shift) / scale of a clipped float32, in float64 but for the result."""
    return _F((np.float64(min(max(x, -clip), clip)) - shift) / scale)
