"""A process that has everything imported and forks sweeps on command, so that killing ten of them takes seconds.

It reads one JSON line a command: ``{"arguments": [[...], ...], "folder": ..., "kill_at": lines or null, "delay":
seconds, "log": ...}``. For each list of arguments it forks a process, in a group of its own, that is
``csp-baselines`` with them; its workers are forked too, instead of started afresh. Where `kill_at` is given, the
groups are killed with SIGKILL after the delay, as soon as the ledgers below the folder have that many lines. It
answers with the exit statuses and the number of lines.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path


def work(arguments: list[str], log: Path) -> None:
    os.setsid()
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    from joblib.externals.loky.backend import get_context

    import csp_data.parallel
    from baselines.cli import main

    csp_data.parallel.get_context = lambda method: get_context("fork")  # it asks for "loky", which starts afresh
    assert csp_data.parallel.start_workers(1)._context.get_start_method() == "fork"
    try:
        main(arguments)
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    os._exit(code)


def lines(folder: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in folder.glob("runs/*/ledger.jsonl"))


def main() -> None:
    import torch

    import baselines.commands.sweep
    import baselines.sweeps.sweep  # noqa: F401

    torch.set_num_threads(1)
    warm_up()
    for text in sys.stdin:
        command = json.loads(text)
        folder = Path(command["folder"])
        pids = []
        for arguments in command["arguments"]:
            pid = os.fork()
            if pid == 0:
                work(arguments, Path(command["log"]))
            pids.append(pid)
        codes: dict[int, int] = {}
        while len(codes) < len(pids):
            if command["kill_at"] is not None and lines(folder) >= command["kill_at"]:
                time.sleep(command["delay"])
                for pid in pids:
                    os.killpg(pid, signal.SIGKILL)
            for pid in pids:
                if pid not in codes:
                    found, status = os.waitpid(pid, os.WNOHANG)
                    if found:
                        codes[pid] = os.waitstatus_to_exitcode(status)
            time.sleep(0.01)
        print(json.dumps({"codes": [codes[pid] for pid in pids], "lines": lines(folder)}), flush=True)


def warm_up() -> None:
    """Load the compiled loops, which every forked process then has."""
    import torch

    from baselines import build

    for name in ("flat-s4", "flat-mamba", "flat-lstm", "flat-transformer"):
        build(name, 12, 3, dim=8, layers=1)(torch.zeros(2, 20, 12)).sum().backward()


if __name__ == "__main__":
    main()
