"""A model of one's own: csp-baselines train sample examples/own_model.py:ChunkGRU --set width=48

Each chunk becomes one feature by a linear layer over all its samples, and a GRU runs over the features.
"""

import torch
from torch import Tensor, nn


class ChunkGRU(nn.Module):
    """Map (B, L, in_dim) to (B, L / chunk, out_dim).

    The first three arguments are given by the data set, the others by --set.
    """

    def __init__(self, in_dim: int, out_dim: int, chunk: int, width: int = 32) -> None:
        super().__init__()
        self.chunk = chunk
        self.embed = nn.Sequential(nn.Flatten(-2), nn.Linear(chunk * in_dim, width), nn.GELU())
        self.gru = nn.GRU(width, width, batch_first=True)
        self.out = nn.Linear(width, out_dim)

    def forward(self, x: Tensor) -> Tensor:
        features = self.embed(x.unflatten(1, (-1, self.chunk)))
        return self.out(self.gru(features)[0])

    # The two below are needed for csp-baselines stream alone.

    def initial_state(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Return the samples of a chunk so far, (B, 0, in_dim), and the GRU's state, (1, B, width)."""
        in_dim = self.embed[1].in_features // self.chunk
        samples = torch.zeros(batch_size, 0, in_dim, device=device, dtype=dtype)
        return samples, torch.zeros(1, batch_size, self.gru.hidden_size, device=device, dtype=dtype)

    def step(self, x_t: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor | None, tuple[Tensor, Tensor]]:
        """Take one sample (B, in_dim); return the prediction (B, out_dim), if the chunk is full, and the state."""
        samples, hidden = state
        samples = torch.cat((samples, x_t[:, None]), dim=1)
        if samples.shape[1] < self.chunk:
            return None, (samples, hidden)
        y, hidden = self.gru(self.embed(samples)[:, None], hidden)
        return self.out(y[:, 0]), (samples[:, :0], hidden)
