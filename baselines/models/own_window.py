"""A model of one's own without a step as a stream: each chunk is predicted anew from the latest ones."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from baselines.models.model import check_input, check_sample
from baselines.models.own import OwnModel

__all__ = ["WindowedModel"]


class WindowedModel(nn.Module):
    """The predictions of a model of one's own that are made from a window of samples each.

    A prediction costs the model's whole ``forward`` over the window, as nothing is kept of earlier ones but the
    samples. It is the prediction over the whole recording where the model looks back no further than the window,
    and not ahead.

    Parameters
    ----------
    model
        The model.
    window
        Chunks that a prediction is made from, its own among them; fewer at the beginning of a recording.
    """

    def __init__(self, model: OwnModel, window: int) -> None:
        super().__init__()
        self.config = replace(model.config, window=window)
        self.model = model
        self._kept = (window - 1) * model.config.chunk

    def forward(self, x: Tensor) -> Tensor:
        """Predict over whole sequences, (B, L, in_dim) to (B, L / chunk, out_dim), each chunk from its window."""
        check_input(x, self.config)
        ends = range(self.config.chunk, x.shape[1] + 1, self.config.chunk)
        starts = [max(0, end - self.config.chunk - self._kept) for end in ends]
        windows = [x[:, start:end] for start, end in zip(starts, ends, strict=True)]
        return torch.stack([self.model(window)[:, -1] for window in windows], dim=1)

    def initial_state(
        self, batch_size: int = 1, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> tuple[Tensor, Tensor]:
        """Return the samples of the chunks before and of the present one, (B, 0, in_dim) both."""
        none = torch.zeros(batch_size, 0, self.config.in_dim, device=device, dtype=dtype)
        return none, none.clone()

    def step(self, x_t: Tensor, state: Any) -> tuple[Tensor | None, tuple[Tensor, Tensor]]:
        """Take one sample (B, in_dim); return the prediction (B, out_dim) or None, and the next state."""
        check_sample(x_t, self.config)
        before, chunk = state
        chunk = torch.cat((chunk, x_t[:, None]), dim=1)
        if chunk.shape[1] < self.config.chunk:
            return None, (before, chunk)
        window = torch.cat((before, chunk), dim=1)
        return self.model(window)[:, -1], (window[:, max(0, window.shape[1] - self._kept) :], chunk[:, :0])
