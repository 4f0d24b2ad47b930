"""The ledger of a run: one line for everything that was executed; lines are only ever added.

``start`` a process took the run up, ``compile`` it compiles loops that no cache holds yet, ``epoch`` an epoch is
safely in the checkpoint, ``finish`` the results are written, ``fail`` it ended with an error. An epoch is noted
after its checkpoint: one that is noted twice was executed twice although it had been kept. Only the process that
holds the run's lock writes.
"""

from __future__ import annotations

import json
import os
import socket
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

__all__ = ["LEDGER", "SWEEP", "Executed", "append_event", "append_line", "count_executed", "read_lines"]

LEDGER = "ledger.jsonl"
SWEEP = "sweep.jsonl"
"""Lines of the same kind for a whole sweep: how it was asked for."""


def append_event(folder: Path, event: str, **values: Any) -> None:
    """Append a line to the ledger of a run."""
    origin = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "host": socket.gethostname()}
    append_line(folder / LEDGER, {"event": event, **values, **origin, "pid": os.getpid()})


def append_line(path: Path, values: dict[str, Any]) -> None:
    """Append one JSON line with one system call, so that lines of several processes never mix."""
    line = (json.dumps(values) + "\n").encode()
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, line)
    finally:
        os.close(descriptor)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read a file of JSON lines; one that is not (the end of a full disk, say) is left out."""
    lines = []
    for text in path.read_bytes().splitlines() if path.is_file() else []:
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if isinstance(line, dict):
            lines.append(line)
    return lines


@dataclass(frozen=True)
class Executed:
    """What several ledgers say was executed.

    Parameters
    ----------
    starts
        Times that a process took up a run.
    epochs
        Epochs that were executed and kept.
    finished
        Runs that were completed.
    twice
        What was executed again although it had been kept, as "folder: epoch 3" or "folder: finish".
    """

    starts: int
    epochs: int
    finished: int
    twice: tuple[str, ...]


def count_executed(folders: Iterable[Path]) -> Executed:
    """Count what was executed in the runs of some folders."""
    starts = epochs = finished = 0
    twice: list[str] = []
    for folder in folders:
        lines = read_lines(folder / LEDGER)
        starts += sum(line.get("event") == "start" for line in lines)
        times_by_epoch = Counter(line.get("epoch") for line in lines if line.get("event") == "epoch")
        finishes = sum(line.get("event") == "finish" for line in lines)
        epochs, finished = epochs + times_by_epoch.total(), finished + finishes
        twice += [f"{folder}: epoch {epoch}" for epoch, times in sorted(times_by_epoch.items()) if times > 1]
        twice += [f"{folder}: finish"] * (finishes > 1)
    return Executed(starts, epochs, finished, tuple(twice))
