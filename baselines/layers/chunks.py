"""A level of HiSS: a layer that starts anew in every window of samples and gives one feature for each chunk.

The window of chunk k ends with the chunk, so that its feature sees nothing later, and begins ``overlap`` samples
before the chunk. Before the recording there are zeros: the mean, after normalisation.

    samples      0 1 2 3 4 5 6 7 8 9 ...        chunk = 4, overlap = 2
    chunks      |0 0 0 0|1 1 1 1|2 2 ...
    window 0 [. . 0 1 2 3]
    window 1         [2 3 4 5 6 7]
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from baselines.layers.pooling import Pool, PoolState
from baselines.layers.projected import Projected

__all__ = ["ChunkState", "Chunks"]

WindowState = tuple[Any, PoolState]
"""State of the layer, and of the readout, inside one window."""


class ChunkState(NamedTuple):
    """State of a level between two samples."""

    position: int
    """Samples taken of the current chunk."""
    windows: tuple[WindowState, ...]
    """The windows that end with this chunk, the next one, and so on: as many as can be open at once."""
    start: WindowState
    """A window that has seen nothing, as the layer's coefficients are made only once."""


@dataclass(frozen=True)
class Chunks:
    """How a level cuts its input.

    Attributes
    ----------
    size
        Samples per chunk, and per feature.
    overlap
        Samples before a chunk that its window includes.
    """

    size: int
    overlap: int = 0

    @property
    def window(self) -> int:
        """Samples per window."""
        return self.size + self.overlap

    @property
    def open_windows(self) -> int:
        """Largest number of windows that one sample belongs to."""
        return 1 + (self.overlap + self.size - 1) // self.size

    def encode(self, level: Projected, pool: Pool, x: Tensor) -> Tensor:
        """Map (B, L, in_dim), L a multiple of the chunk, to features (B, L / size, out_dim)."""
        batch, length = x.shape[:2]
        h = level.embed(F.pad(x, (0, 0, self.overlap, 0)) if self.overlap else x)
        if self.overlap:
            h = h.unfold(1, self.window, self.size).transpose(2, 3).flatten(0, 1).contiguous()
        else:
            h = h.reshape(-1, self.size, h.shape[-1])
        return level.decoder(pool(level.layer(h, pool.steps))).reshape(batch, length // self.size, -1)

    def initial_state(
        self, level: Projected, pool: Pool, batch_size: int, device: torch.device, dtype: torch.dtype
    ) -> ChunkState:
        """Return the state before the first sample: the first windows have seen their zeros."""
        start = (
            level.initial_state(batch_size, device, dtype),
            pool.initial_state(batch_size, device, dtype),
        )
        state = ChunkState(0, (start,) * self.open_windows, start)
        zero = torch.zeros(batch_size, level.in_dim, device=device, dtype=dtype)
        for past in range(-self.overlap, 0):
            state = state._replace(windows=self._advance(level, pool, zero, past, state.windows))
        return state

    def step(
        self, level: Projected, pool: Pool, x_t: Tensor, state: ChunkState
    ) -> tuple[Tensor | None, ChunkState]:
        """Take one sample (B, in_dim); return the feature (B, out_dim) if it completes a chunk, else None."""
        windows = self._advance(level, pool, x_t, state.position, state.windows)
        if state.position + 1 < self.size:
            return None, ChunkState(state.position + 1, windows, state.start)
        feature = level.decoder(pool.result(windows[0][1]))
        return feature, ChunkState(0, (*windows[1:], state.start), state.start)

    def _advance(
        self, level: Projected, pool: Pool, x_t: Tensor, position: int, windows: tuple[WindowState, ...]
    ) -> tuple[WindowState, ...]:
        """Give the sample at ``position`` of the current chunk (negative: before it) to the windows it lies in."""
        embedded = level.embed(x_t)
        advanced = []
        for later_by, (hidden, pooled) in enumerate(windows):
            offset = self.overlap + position - later_by * self.size
            if offset >= 0:
                y, hidden = level.layer.step(embedded, hidden)
                pooled = pool.step(y, offset, pooled)
            advanced.append((hidden, pooled))
        return tuple(advanced)
