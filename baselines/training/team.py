"""Train one model in several processes: distributed data parallel, as ``torchrun`` starts them.

All processes draw the same batches in the same order; each computes its share of every batch, gradients are summed
with the weight of the share, and so all take the step that one process would take with the whole batch. Process 0
alone writes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from baselines.errors import OptionError
from baselines.training.data import Batch

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["ALONE", "Team", "join_team"]


class Team:
    """The processes that train one model, as one of them sees it.

    Parameters
    ----------
    rank
        Number of this process.
    size
        Number of processes.
    device
        Of this process; collectives run on it.
    """

    def __init__(self, rank: int = 0, size: int = 1, device: torch.device | None = None) -> None:
        self.rank, self.size, self.device = rank, size, device or torch.device("cpu")
        self._weight = 1.0

    def __repr__(self) -> str:
        return f"Team(rank={self.rank}, size={self.size})"

    @property
    def leads(self) -> bool:
        """Whether this process writes and reports."""
        return self.rank == 0

    def broadcast(self, value: Any) -> Any:
        """Return the leader's value in every process."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0, device=self.device if self.device.type == "cuda" else None)
        return box[0]

    def mean(self, total: float, weight: float) -> float:
        """Return a mean over all processes: the sum of their totals divided by the sum of their weights."""
        if self.size > 1:
            sums = torch.tensor([total, weight], dtype=torch.float64, device=self.device)
            dist.all_reduce(sums)
            total, weight = sums.tolist()
        return total / weight

    def shares(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """Yield this process's share of each batch.

        A batch of fewer windows than processes leaves some without a share; they compute the first window with
        weight zero and no rows, so that every process takes part in every sum of gradients.
        """
        for batch in batches:
            if self.size == 1:
                yield batch
                continue
            steps = batch.mask.sum(dim=1).cpu().numpy()
            own_rows = np.array_split(np.arange(len(steps)), self.size)[self.rank]
            self._weight = float(steps[own_rows].sum() / steps.sum())
            present_rows = own_rows if len(own_rows) else np.zeros(1, dtype=np.int64)
            index = torch.from_numpy(present_rows).to(batch.mask.device)
            yield Batch(batch.inputs[index], batch.targets[index], batch.mask[index], batch.rows[own_rows])

    @contextmanager
    def gradients(self, model: nn.Module) -> Iterator[None]:
        """Sum gradients over all processes as they come, each weighted with its share of the batch's steps."""
        if self.size == 1:
            yield
            return

        def all_reduce_weighted(parameter: Tensor) -> None:
            assert parameter.grad is not None
            parameter.grad.mul_(self._weight)
            dist.all_reduce(parameter.grad)

        trained = [p for p in model.parameters() if p.requires_grad]
        hooks = [p.register_post_accumulate_grad_hook(all_reduce_weighted) for p in trained]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def reseed(self, seed: int, epoch: int) -> None:
        """Give every process but the leader dropout masks of its own; the checkpoint has the leader's generators.

        They depend on seed, epoch and rank only, so that a resumed training draws the same.
        """
        if not self.leads:
            seed_words = np.random.SeedSequence((seed, epoch, self.rank)).generate_state(2, np.uint32)
            torch.manual_seed(int(seed_words[0]) << 16 ^ int(seed_words[1]))


ALONE = Team()
"""One process by itself."""


@contextmanager
def join_team(device: str) -> Iterator[tuple[Team, str]]:
    """Join the team that ``torchrun`` started this process in, if it did; yield it and this process's device.

    Parameters
    ----------
    device
        As torch names it; ``"cuda"`` becomes the GPU of this process's number on its machine.
    """
    size = int(os.environ.get("WORLD_SIZE", "1")) if "LOCAL_RANK" in os.environ else 1
    if size == 1:
        yield ALONE, device
        return
    rank, local = int(os.environ["RANK"]), int(os.environ["LOCAL_RANK"])
    cuda = device.startswith("cuda")
    if cuda:
        if device != "cuda":
            raise OptionError("device", device, "cuda: each process takes the GPU of its number")
        if local >= torch.cuda.device_count():
            raise OptionError("device", device, f"at most {torch.cuda.device_count()} processes on this machine")
        device = f"cuda:{local}"
        torch.cuda.set_device(device)
    elif device != "cpu":
        raise OptionError("device", device, "cuda or cpu: what several processes can train on together")
    dist.init_process_group("nccl" if cuda else "gloo")
    try:
        yield Team(rank, size, torch.device(device)), device
    finally:
        dist.destroy_process_group()
