"""The training loop: Adam on masked mean squared error; the best epoch is chosen on a part that is not train."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from baselines.cpu.threads import compile_clock
from baselines.errors import OptionError, TrainingError
from baselines.files import atomic_bytes
from baselines.models.model import param_groups
from baselines.training.checkpoint import (
    Checkpoint,
    CheckpointError,
    load_weights,
    read_checkpoint,
    save_weights,
    write_checkpoint,
)
from baselines.training.data import Part, Windows, batches, bucket_length, pad_batch
from baselines.training.evaluate import normalized_predictions, sum_squared_errors
from baselines.training.ledger import append_event
from baselines.training.settings import BEST, LAST, METRICS, TrainConfig
from baselines.training.step import PlainStep, adam, make_step, needs_static_shapes, uses_cuda_graph
from baselines.training.team import ALONE, Team
from csp_data.home import expanded
from csp_data.parallel import keep_freed

__all__ = ["Fit", "TrainingError", "seeded", "train", "validate"]

_LOSS_CHECK_INTERVAL = 32
_GENERATORS = threading.RLock()


@dataclass(frozen=True)
class Fit:
    """The outcome of a training.

    Parameters
    ----------
    epoch
        The chosen one, counted from 1; 0 for the weights that it began with.
    val_loss
        Its loss on the part that it was chosen on, in normalised units.
    seconds
        Spent on training and validation, over all resumptions; without what is compiled once on a machine.
    """

    epoch: int
    val_loss: float
    seconds: float


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch's own generators, which initialisers and dropout use, and give the caller's state back after.

    The generators are the process's: other threads that seed them wait until they are given back.
    """
    with _GENERATORS, torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def train(
    model: nn.Module,
    train_part: Part,
    val_part: Part,
    config: TrainConfig,
    folder: Path | str,
    *,
    progress: bool = False,
    on_epoch: Callable[[dict[str, Any]], None] | None = None,
    team: Team = ALONE,
    trained: bool = False,
) -> Fit:
    """Train a model, or continue where a stopped training left its folder. The model ends with the best weights.

    After every epoch the folder holds the metrics so far (``metrics.jsonl``), the best weights
    (``best.safetensors``) and the state to go on from (``last.safetensors``); a resumed training gives the same
    weights, bit for bit, as one that was never stopped.

    Parameters
    ----------
    model
        ``forward(x: (B, T * chunk, F)) -> (B, T, D)``, on the parts' device.
    train_part, val_part
        To learn from and to choose the epoch with, as :func:`baselines.training.data.load_part` reads them.
    config
        Every choice: epochs and rates, and as ``compile`` and ``precision`` how a step runs
        (``TrainConfig(compile="graph", precision="tf32")``, see :class:`baselines.TrainConfig`).
    folder
        New or empty, or holding a training of the same configuration, which goes on.
    progress
        Show a bar on stderr.
    on_epoch
        Called with each line of the metrics after its epoch is safely stored.
    team
        Processes that train the model together; its leader alone writes, and ends with the best weights.
    trained
        Whether the model has been trained before: the weights that it begins with can be the best ones, too.

    Returns
    -------
    Fit
        The chosen ``epoch``, its ``val_loss`` in normalised units, and the ``seconds`` of all epochs.

    Raises
    ------
    OptionError
        If there is nothing to do: no epoch, and a model that was not trained before. If a part or the
        configuration is something else.
    TrainingError
        If the loss is not finite: names the step and its episodes, keeps the last good checkpoint.
    CheckpointError
        If the folder holds a training of another configuration.

    Examples
    --------
    >>> import csp_data
    >>> from baselines import TrainConfig, build, train
    >>> from baselines.training.data import load_part
    >>> ds = csp_data.load("sample")
    >>> parts = load_part(ds, "train"), load_part(ds, "val")
    >>> model = build("flat-lstm", in_dim=12, out_dim=3, dim=8, hidden=8, layers=1)  # 6 channels and their deltas
    >>> train(model, *parts, TrainConfig(epochs=1), "training").epoch
    1
    """
    for option, part in (("train_part", train_part), ("val_part", val_part)):
        if not isinstance(cast("object", part), Part):
            raise OptionError(option, part, "a part: baselines.training.data.load_part(dataset, 'train')")
    if not isinstance(cast("object", config), TrainConfig):
        raise OptionError("config", config, "a baselines.TrainConfig")
    if config.epochs == 0 and not trained:
        raise OptionError("epochs", 0, "at least 1 for a model that was not trained before")
    windows, length = config.windows(train_part)
    folder = expanded(folder, "folder")
    if team.leads:  # the others write nothing
        folder.mkdir(parents=True, exist_ok=True)
    loop = _TrainingLoop(model, config, folder, train_part, windows, team)
    keep_freed()
    with seeded(config.seed, train_part.inputs.device), team.gradients(model), compile_clock() as compiled:
        loop.resume()
        if team.leads:
            _drop_metrics_after(folder / METRICS, loop.state["epoch"])
        if trained and loop.state["epoch"] == 0:
            start_loss = validate(model, val_part, length, team)
            if not math.isfinite(start_loss):
                raise loop.non_finite_part_error(val_part, length, start_loss, 0)
            loop.keep_if_best(0, start_loss)
        left = config.epochs - loop.state["epoch"]
        bar = tqdm(loop.epochs_left(), desc="train", unit="epoch", total=left, disable=not progress)
        for epoch in bar:
            epoch_start = time.perf_counter() - compiled()
            train_loss = loop.run_epoch(epoch)
            val_loss = validate(model, val_part, length, team)
            if not math.isfinite(val_loss):
                raise loop.non_finite_part_error(val_part, length, val_loss, epoch)
            loop.state["seconds"] += time.perf_counter() - compiled() - epoch_start
            metrics = loop.store(epoch, train_loss, val_loss)
            bar.set_postfix_str(f"train {train_loss:.3f}, val {val_loss:.3f}, best {loop.state['best_loss']:.3f}")
            if on_epoch is not None:
                on_epoch(metrics)
    if team.leads:
        load_weights(folder / BEST, model)
    return Fit(loop.state["best_epoch"], loop.state["best_loss"], loop.state["seconds"])


class _TrainingLoop:
    """A training between two epochs: what :func:`train` moves on, stores and takes up again."""

    def __init__(
        self, model: nn.Module, config: TrainConfig, folder: Path, part: Part, windows: Windows, team: Team
    ) -> None:
        if team.size > 1 and needs_static_shapes(config.compile):
            raise OptionError("compile", config.compile, "eager with several processes")
        self.team = team
        self.model, self.config, self.folder, self.part, self.windows = model, config, folder, part, windows
        device = part.inputs.device
        groups = param_groups(model, config.lr)
        self.base_learning_rates = [group["lr"] for group in groups]
        self.optimizer = adam(groups, device, graph=uses_cuda_graph(config.compile))
        self.step = make_step(
            PlainStep(model, self.optimizer, config.clip_norm, config.precision), config.compile, device
        )
        # on a GPU, reading a loss waits for it: the losses are looked at now and then
        self.loss_check_interval = 1 if device.type == "cpu" else _LOSS_CHECK_INTERVAL
        self.generator = torch.Generator().manual_seed(config.seed)
        self.total_steps = config.epochs * math.ceil(len(windows) / config.batch)
        self.state: dict[str, Any] = {
            "epoch": 0,
            "step": 0,
            "best_epoch": 0,
            "best_loss": math.inf,
            "seconds": 0.0,
            "config": asdict(config),
        }

    def epochs_left(self) -> Iterator[int]:
        """Yield one epoch after the other, as long as each is stored, up to the last or to the end of patience."""
        patience = math.inf if self.config.patience is None else self.config.patience
        state = self.state
        while state["epoch"] < self.config.epochs and state["epoch"] - state["best_epoch"] < patience:
            yield state["epoch"] + 1

    def run_epoch(self, epoch: int) -> float:
        """Take every training window once; return the mean loss."""
        self.model.train()
        longest_window, loss_sum, weight = int(self.windows.lengths.max()), 0.0, 0
        pending: list[tuple[Tensor, np.ndarray]] = []
        self.team.reseed(self.config.seed, epoch)
        size, generator = self.config.batch, self.generator
        shuffled_batches = batches(self.part, self.windows, size, generator, turns=generator)
        for batch in self.team.shares(shuffled_batches):
            self.set_learning_rates()
            if needs_static_shapes(self.config.compile):
                batch = pad_batch(batch, self.config.batch, bucket_length(batch.mask.shape[1], longest_window))
            pending.append((self.step(batch.inputs, batch.targets, batch.mask), batch.rows))
            self.state["step"] += 1
            weight += int(self.windows.lengths[batch.rows].sum())
            if len(pending) == self.loss_check_interval:
                loss_sum += self.check_losses(pending, epoch)
                pending = []
        return self.team.mean(loss_sum + self.check_losses(pending, epoch), weight)

    def check_losses(self, pending: list[tuple[Tensor, np.ndarray]], epoch: int) -> float:
        """Return the sum of the losses of the last steps, weighted by target steps; stop if one is no number."""
        total = 0.0
        values = torch.stack([loss for loss, _ in pending]).tolist() if pending else []
        for index, (value, (_, rows)) in enumerate(zip(values, pending, strict=True)):
            if not math.isfinite(value):
                raise self.non_finite_step_error(value, epoch, self.state["step"] - len(pending) + 1 + index, rows)
            total += value * int(self.windows.lengths[rows].sum())
        return total

    def set_learning_rates(self) -> None:
        """Set the learning rates of the next step."""
        progress = self.state["step"] / self.total_steps
        factor = 0.5 * (1 + math.cos(math.pi * progress)) if self.config.schedule == "cosine" else 1.0
        for group, rate in zip(self.optimizer.param_groups, self.base_learning_rates, strict=True):
            if isinstance(group["lr"], Tensor):  # where a CUDA graph reads it
                group["lr"].fill_(rate * factor)
            else:
                group["lr"] = rate * factor

    def store(self, epoch: int, train_loss: float, val_loss: float) -> dict[str, Any]:
        """Write metrics, best weights and, last, the checkpoint that makes the epoch count; return the metrics."""
        state = self.state
        state["epoch"] = epoch
        self.keep_if_best(epoch, val_loss)
        metrics = {
            "epoch": epoch,
            "step": state["step"],
            "lr": float(self.optimizer.param_groups[0]["lr"]),
            "train_loss": train_loss,
            "val_loss": val_loss,
            "seconds": round(state["seconds"], 3),
        }
        if self.team.leads:
            with (self.folder / METRICS).open("a") as file:
                file.write(json.dumps(metrics) + "\n")
            self.write_checkpoint()
            append_event(self.folder, "epoch", epoch=epoch)
        return metrics

    def keep_if_best(self, epoch: int, val_loss: float) -> None:
        """Write the weights if no epoch before had a loss as low."""
        if val_loss < self.state["best_loss"]:
            self.state["best_epoch"], self.state["best_loss"] = epoch, val_loss
            if self.team.leads:
                save_weights(self.folder / BEST, self.model.state_dict())

    def write_checkpoint(self) -> None:
        """Write what :meth:`resume` reads."""
        generators = {"order": self.generator.get_state(), "cpu": torch.get_rng_state()}
        if self.part.inputs.is_cuda:
            generators["cuda"] = torch.cuda.get_rng_state(self.part.inputs.device)
        optimizer_state = self.optimizer.state_dict()["state"]
        checkpoint = Checkpoint(self.model.state_dict(), optimizer_state, generators, self.state)
        write_checkpoint(self.folder / LAST, checkpoint)

    def resume(self) -> None:
        """Put everything back as the checkpoint has it, if there is one, torch's own generators included."""
        stopped = self.team.leads and (self.folder / LAST).exists()
        checkpoint = self.team.broadcast(read_checkpoint(self.folder / LAST) if stopped else None)
        if checkpoint is None:
            return
        self.require_same_config(checkpoint.progress["config"])
        try:
            self.model.load_state_dict(checkpoint.model)
        except RuntimeError as error:
            raise CheckpointError(f"{self.folder / LAST}: the checkpoint of another model: {error}") from error
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": checkpoint.optimizer, "param_groups": groups})
        self.generator.set_state(checkpoint.generators["order"])
        torch.set_rng_state(checkpoint.generators["cpu"])
        if "cuda" in checkpoint.generators and self.part.inputs.is_cuda:
            torch.cuda.set_rng_state(checkpoint.generators["cuda"], self.part.inputs.device)
        self.state = checkpoint.progress

    def require_same_config(self, stored: dict[str, Any]) -> None:
        """Raise unless the checkpoint's configuration is this training's."""
        wanted = asdict(self.config)
        differing = "; ".join(
            f"{name} was {stored.get(name)!r}, is {wanted.get(name)!r}"
            for name in sorted(stored.keys() | wanted)
            if stored.get(name) != wanted.get(name)
        )
        if differing:
            raise CheckpointError(f"{self.folder / LAST} is of another training: {differing}. Use another folder.")

    def non_finite_step_error(self, value: float, epoch: int, step: int, rows: np.ndarray) -> TrainingError:
        """Say where the loss of a step stopped being a number."""
        episodes = sorted({self.part.ids[e] for e in self.windows.episodes[rows]})
        return TrainingError(
            f"The loss is {value} at step {step} (epoch {epoch}), in a batch from: "
            f"{', '.join(episodes)}. {self.advice()}"
        )

    def non_finite_part_error(self, part: Part, length: int | None, value: float, epoch: int) -> TrainingError:
        """Say on which episodes a part's loss is no number, or where it is largest if only their sum overflows."""
        squared_errors = (normalized_predictions(self.model, part, length) - part.targets).square()
        losses = {
            id_: squared_errors[start : start + steps].mean().item()
            for id_, start, steps in zip(part.ids, part.starts, part.lengths, strict=True)
        }
        episodes = [id_ for id_, loss in losses.items() if not math.isfinite(loss)]
        episodes = episodes or [max(losses, key=losses.__getitem__)]
        return TrainingError(
            f"The loss on {part.name} is {value} after step {self.state['step']} (epoch {epoch}), on: "
            f"{', '.join(episodes)}. {self.advice()}"
        )

    def advice(self) -> str:
        """Say which checkpoint is left, and what to try."""
        checkpoint = self.folder / LAST
        remaining = (
            f"The last good checkpoint is {checkpoint}." if checkpoint.exists() else "No epoch was finished."
        )
        return f"{remaining} Try a smaller lr, or clip_norm=1."


def validate(model: nn.Module, part: Part, length: int | None, team: Team = ALONE) -> float:
    """Return the mean squared error over a part, in normalised units; a team computes its windows together."""
    if team.size > 1:
        return team.mean(*sum_squared_errors(model, part, length, team.rank, team.size))
    return (normalized_predictions(model, part, length) - part.targets).square().mean().item()


def _drop_metrics_after(path: Path, epochs: int) -> None:
    """Drop the lines of epochs after the checkpoint, which will be run again (a killed run may have some)."""
    lines = path.read_text("utf-8").splitlines()[:epochs] if path.exists() else []
    atomic_bytes(path, "".join(line + "\n" for line in lines).encode())
