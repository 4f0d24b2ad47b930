"""Optional experiment trackers, beside the JSON lines in the run's folder, which are the record."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from baselines.errors import MissingExtraError
from csp_data.options import check_choice

__all__ = ["TRACKERS", "NoTracker", "TensorBoard", "Tracker", "Wandb", "open_tracker"]

PROJECT = "csp-baselines"


class Tracker(Protocol):
    """What follows a training."""

    def log(self, line: Mapping[str, Any]) -> None:
        """Take a line of the metrics: ``epoch``, and numbers by name."""
        ...

    def close(self) -> None:
        """End the record."""
        ...


class NoTracker:
    """Follows nothing."""

    def log(self, line: Mapping[str, Any]) -> None:
        """Take no notice."""

    def close(self) -> None:
        """Do nothing."""


class TensorBoard:
    """Event files in the run's folder, for ``tensorboard --logdir``."""

    def __init__(self, folder: Path, config: Mapping[str, Any], epochs_done: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        # epochs after the last kept one, written by a process that was killed, are left out of the curves
        self.writer = SummaryWriter(str(folder / "tensorboard"), purge_step=epochs_done + 1)
        self.writer.add_text("config", str(dict(config)))

    def log(self, line: Mapping[str, Any]) -> None:
        """Add the numbers of an epoch."""
        for name, value in line.items():
            if name != "epoch":
                self.writer.add_scalar(name, value, line["epoch"])

    def close(self) -> None:
        """Write what is left."""
        self.writer.close()


class Wandb:
    """``wandb``, or ``trackio``, which has the same functions and keeps its records on this machine."""

    def __init__(self, name: str, folder: Path, config: Mapping[str, Any]) -> None:
        self.module = importlib.import_module(name)
        location = {"dir": str(folder), "id": folder.name} if name == "wandb" else {}
        self.module.init(project=PROJECT, name=folder.name, config=dict(config), resume="allow", **location)

    def log(self, line: Mapping[str, Any]) -> None:
        """Add the numbers of an epoch."""
        self.module.log(dict(line), step=line["epoch"])

    def close(self) -> None:
        """Finish the record."""
        self.module.finish()


TRACKERS = ("tensorboard", "trackio", "wandb")
"""Names of the trackers, which are those of their packages."""


@contextmanager
def open_tracker(
    name: str | None, folder: Path, config: Mapping[str, Any], epochs_done: int = 0
) -> Iterator[Tracker]:
    """Open a tracker by name, one that follows nothing for ``None``, and close it after.

    Parameters
    ----------
    name
        One of :data:`TRACKERS`.
    folder
        Of the run.
    config
        Of the run, for the record.
    epochs_done
        Epochs that were kept before.
    """
    require_tracker(name)
    if name is None:
        tracker: Tracker = NoTracker()
    elif name == "tensorboard":
        tracker = TensorBoard(folder, config, epochs_done)
    else:
        tracker = Wandb(name, folder, config)
    try:
        yield tracker
    finally:
        tracker.close()


def require_tracker(name: str | None) -> None:
    """Raise, before anything is trained, if a tracker does not exist or is not installed."""
    if name is None:
        return
    check_choice("track", name, TRACKERS)
    if importlib.util.find_spec(name) is None:
        raise MissingExtraError(f"--track {name}", name, "track" if name == "tensorboard" else name)
