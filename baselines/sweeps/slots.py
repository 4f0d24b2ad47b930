"""Limit how many runs of a sweep use each GPU at once, across processes."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import filelock

from baselines.errors import OptionError

__all__ = ["device_slot"]

POLL_S = 0.2


@contextmanager
def device_slot(folder: Path, devices: Sequence[str], per_device: int) -> Iterator[str]:
    """Take a place on one of this machine's devices, the emptiest first; wait while all are full.

    A place is a lock that the system frees when the process ends, however it ends.

    Raises
    ------
    OptionError
        If there is no device.
    """
    if not devices:
        raise OptionError("device", "cuda", "a GPU that torch can use on this worker")
    lock_folder = folder / socket.gethostname()
    lock_folder.mkdir(parents=True, exist_ok=True)
    slots = [(device, number) for number in range(per_device) for device in devices]
    while True:
        for device, number in slots:
            lock = filelock.FileLock(lock_folder / f"{device.replace(':', '-')}-{number}.lock")
            try:
                lock.acquire(timeout=0)
            except filelock.Timeout:
                continue
            try:
                yield device
            finally:
                lock.release()
            return
        time.sleep(POLL_S)
