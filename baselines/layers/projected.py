"""A sequence layer between two linear maps."""

from typing import Any

import torch
from torch import Tensor, nn

from baselines.layers.base import ALL, SequenceLayer


class Projected(SequenceLayer):
    """A sequence layer between two linear maps, the embedding and the decoder."""

    def __init__(self, in_dim: int, layer: SequenceLayer, out_dim: int) -> None:
        super().__init__()
        self.in_dim, self.out_dim = in_dim, out_dim
        self.embed = nn.Linear(in_dim, layer.in_dim)
        self.layer = layer
        self.decoder = nn.Linear(layer.out_dim, out_dim)

    def forward(self, x: Tensor, readout: slice = ALL) -> Tensor:
        """Run over whole sequences; see :meth:`SequenceLayer.forward`."""
        return self.decoder(self.layer(self.embed(x), readout))

    def initial_state(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> Any:
        """Return the state of the layer inside."""
        return self.layer.initial_state(batch_size, device, dtype)

    def step(self, x_t: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Take one sample; see :meth:`SequenceLayer.step`."""
        y, state = self.layer.step(self.embed(x_t), state)
        return self.decoder(y), state
