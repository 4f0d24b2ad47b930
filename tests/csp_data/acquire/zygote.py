"""A process that has everything imported and forks workers on command, so that killing 50 of them takes seconds.

It reads one JSON line a command: ``{"task": [...], "kill_after": seconds or null, "count": n, "env": {...}}``. It
forks `count` workers that run the task, kills the first with SIGKILL after the delay if one is given, waits for
all, and answers with one JSON line: the exit statuses (-9: killed) and the seconds it took.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path


def download(name: str, mirror: str, raw: str) -> None:
    import dataclasses

    from csp_data.acquire.client import Patience
    from csp_data.acquire.download import Options, download_card
    from csp_data.card import load_card

    card = load_card(name)
    if card.bundled:  # the same files under another name: a set that must be fetched
        card = dataclasses.replace(card, name="excerpt", bundled=None)
    options = Options(
        raw=Path(raw), mirror=mirror, accept_licence=True, jobs=2, patience=Patience(stall_s=20, first_wait_s=0.01)
    )
    download_card(card, options).raise_for_failures(allow_missing=True)


def import_(name: str, source: str, raw: str) -> None:
    from csp_data.acquire.importing import import_card
    from csp_data.card import load_card

    import_card(load_card(name), [Path(source)], raw=Path(raw)).raise_for_failures(allow_missing=True)


def prepare(name: str, raw: str, out: str) -> None:
    import csp_data

    csp_data.prepare(name, raw=raw, out=out)


def lock(path: str, start: int, rounds: int) -> None:
    from csp_data.acquire.lockfile import Locked, LockedSet, extend_lock

    for i in range(start, start + rounds):
        rows = {f"{i}/{j}": Locked(j, f"{j:064x}") for j in range(20)}
        extend_lock(Path(path), "vector", LockedSet(rows))


TASKS = {"download": download, "import": import_, "prepare": prepare, "lock": lock}


def work(task: list, number: int) -> None:
    kind, *arguments = task
    arguments = [number * 1000 if argument == "#" else argument for argument in arguments]
    try:
        TASKS[kind](*arguments)
        code = 0
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        code = 1
    os._exit(code)


def main() -> None:
    from tqdm import tqdm

    import csp_data
    from csp_data.sources import ronin, vector  # noqa: F401 - what the workers will need

    tqdm.monitor_interval = 0  # no thread that could hold a lock while a worker is forked: it would wait for ever
    csp_data.load("sample")
    for line in sys.stdin:
        command = json.loads(line)
        os.environ.update(command.get("env", {}))
        begun = time.monotonic()
        workers = []
        for number in range(command.get("count", 1)):
            pid = os.fork()
            if pid == 0:
                work(command["task"], number)
            workers.append(pid)
        if command.get("kill_after") is not None:
            time.sleep(command["kill_after"])
            os.kill(workers[0], signal.SIGKILL)
        codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in workers]
        print(json.dumps({"codes": codes, "seconds": time.monotonic() - begun}), flush=True)


if __name__ == "__main__":
    main()
