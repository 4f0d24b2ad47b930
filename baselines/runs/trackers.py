"""Optional experiment trackers, beside the JSON lines in the run's folder, which are the record."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from baselines.errors import MissingExtraError
from csp_data.options import check_choice

__all__ = ["TRACKERS", "TensorBoard", "Wandb", "open_tracker", "require_tracker"]

PROJECT = "csp-baselines"


class TensorBoard:
    """Event files in the run's folder, for ``tensorboard --logdir``."""

    def __init__(self, folder: Path, config: Mapping[str, Any], epochs_done: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        # epochs after the last kept one, written by a process that was killed, are left out of the curves
        self.writer = SummaryWriter(str(folder / "tensorboard"), purge_step=epochs_done + 1)
        self.writer.add_text("config", str(dict(config)))

    def log(self, line: Mapping[str, Any]) -> None:
        """Add a line of the metrics: ``epoch``, and numbers by name."""
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
        """Add a line of the metrics: ``epoch``, and numbers by name."""
        self.module.log(dict(line), step=line["epoch"])

    def close(self) -> None:
        """Finish the record."""
        self.module.finish()


TRACKERS = ("tensorboard", "trackio", "wandb")
"""Names of the trackers, which are those of their packages."""


@contextmanager
def open_tracker(
    name: str | None, folder: Path, config: Mapping[str, Any], epochs_done: int
) -> Iterator[list[Callable[[dict[str, Any]], None]]]:
    """Open a tracker by name, yield what tells it an epoch's metrics (nothing for ``None``), and close it after.

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
    if name is None:
        yield []
        return
    tracker = TensorBoard(folder, config, epochs_done) if name == "tensorboard" else Wandb(name, folder, config)
    try:
        yield [tracker.log]
    finally:
        tracker.close()


def require_tracker(name: str | None) -> None:
    """Raise, before anything is trained, if a tracker does not exist or is not installed."""
    if name is None:
        return
    check_choice("track", name, TRACKERS)
    if importlib.util.find_spec(name) is None:
        raise MissingExtraError(f"--track {name}", name, "track" if name == "tensorboard" else name)
