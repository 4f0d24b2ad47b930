"""The step of a model of one's own in a form that can be exported: a whole chunk of samples at once."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from baselines.errors import ModelError
from baselines.models.own import OwnModel
from baselines.models.own_file import prints_apart
from baselines.stream.engine import leaves

__all__ = ["AS_IT_IS", "OwnStep"]

AS_IT_IS = "csp-baselines stream runs this model as it is."


class OwnStep(nn.Module):
    """A chunk of samples through the step of a model of one's own.

    Between chunks the shapes of the state's tensors, and its numbers, have to be those of the beginning.

    Parameters
    ----------
    model
        In float32 on the CPU.

    Attributes
    ----------
    start
        The state before the first sample.

    Raises
    ------
    ModelError
        If the state changes in more than the values of its tensors from chunk to chunk.
    """

    def __init__(self, model: OwnModel) -> None:
        super().__init__()
        self.inner: Any = model.inner
        self.start = model.initial_state(1)
        rows, state = torch.zeros(model.config.chunk, model.config.in_dim), self.start
        for _ in range(2):
            _, state = self.step(rows[None], state)
            for (_, first), (place, now) in zip(leaves(self.start), leaves(state), strict=True):
                before, after = _fixed(first), _fixed(now)
                if before != after:
                    raise ModelError(
                        f"{model.config.source}: expected a state of one size, whose numbers are the same at the "
                        f"end of each chunk, as an exported one is; {place} is {before} at first and {after} "
                        f"later. {AS_IT_IS}"
                    )

    def step(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Map a chunk (1, chunk, in_dim) and the state to the prediction (1, out_dim) and the next state."""
        y = None
        with prints_apart():
            for x_t in x.unbind(1):
                y, state = self.inner.step(x_t, state)
        assert y is not None  # the model was seen to predict at the end of each chunk
        return y, state


def _fixed(leaf: Any) -> Any:
    """Return what of an entry of the state an exported program is bound to."""
    return (str(leaf.dtype), tuple(leaf.shape)) if isinstance(leaf, Tensor) else leaf
