"""Time preparing and loading on this machine, beside only reading and writing the same bytes."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from csp_data.api import load, prepare
from csp_data.card import load_card
from csp_data.dataset import Dataset
from csp_data.errors import CspDataError
from csp_data.protocol import resolve
from csp_data.simulate import NAMES, full_hours, simulate
from csp_data.simulate.stamp import read_stamp
from csp_data.sources import find_in, load_source

__all__ = ["bench_prepare", "bench_sets", "table_lines"]

POLL_S = 0.01


def bench_sets(
    names: Sequence[str] = (),
    *,
    hours: float | None = 0.5,
    raw: Path | None = None,
    seed: int = 0,
    protocol: str = "paper",
    jobs: int = 2,
    repeat: int = 2,
) -> list[dict[str, Any]]:
    """Measure :func:`bench_prepare` for several data sets on simulated trees.

    Parameters
    ----------
    names
        Data sets; by default all that can be simulated.
    hours
        Length of each tree that is made, in hours; ``None`` for the publisher's full size.
    raw
        Folder of trees, each named like its data set; those that are not there are made in it. By default a
        temporary one.
    seed
        Of the trees that are made.
    protocol, jobs, repeat
        As in :func:`bench_prepare`.

    Returns
    -------
    list of dict
        One row per data set.
    """
    for name in names or tuple(NAMES):
        resolve(load_card(name), protocol)  # refused here rather than in a process, after a tree was made
    with tempfile.TemporaryDirectory() as scratch:
        rows = []
        for name in names or tuple(NAMES):
            tree = (raw or Path(scratch)) / load_card(name).name
            if not tree.exists():
                simulate(name, tree, hours=full_hours(name) if hours is None else hours, seed=seed, jobs=jobs)
            rows.append(bench_prepare(name, tree, protocol=protocol, jobs=jobs, repeat=repeat))
    return rows


def bench_prepare(
    name: str, raw: Path, *, protocol: str = "paper", jobs: int = 2, repeat: int = 2
) -> dict[str, Any]:
    """Measure preparing a tree, loading what came of it, and the floor of both.

    Everything is timed in a process of its own, without its start and its imports, on files that were read before
    (page cache warm). Of the repetitions the shortest time and the largest memory count.

    Parameters
    ----------
    name
        Data set.
    raw
        Its tree.
    protocol
        Name of the protocol.
    jobs
        Processes that read recordings.
    repeat
        Runs of each, in turn, so that all meet the same machine.

    Returns
    -------
    dict
        ``hours`` of recording, as a simulated tree says (else those of the episodes); ``episode_hours`` that the
        protocol keeps of them; ``raw_bytes``, ``prepared_bytes``; ``first_s``: to prepare, digesting the
        raw files as is done once; ``prepare_s``: the same with digests known; ``one_job_s``: with one process;
        ``floor_s``: one process that reads the same raw files (arrays of HDF5 files with h5py, others byte by
        byte) and writes the same arrays with h5py, nothing else; ``seconds_per_hour``, ``hours_per_second``: of
        ``prepare_s``; ``ratio_to_floor``: of ``prepare_s`` to ``floor_s``; ``one_job_cpu_s``, ``floor_cpu_s``:
        processor time of these two, which other work on the machine changes less; ``peak_bytes``: resident memory
        of the process and its children together, pages that they share counted in each; ``load_ms``:
        ``csp_data.load(name)`` of the prepared set, raw files looked over; ``open_ms``: ``load(path=...)``;
        ``read_s``, ``h5py_read_s``: to read every episode, and both arrays
        at once with h5py.
    """
    with tempfile.TemporaryDirectory() as scratch:
        work = {"name": name, "raw": str(raw.resolve()), "protocol": protocol, "out": f"{scratch}/out.h5"}
        rounds = [_round(work, Path(scratch) / str(i), jobs) for i in range(repeat)]
        size = Path(work["out"]).stat().st_size
        dataset = Dataset(work["out"])
        episode_hours = sum(dataset.split(part).seconds for part in dataset.parts) / 3600
        stamp = read_stamp(raw) or {}
        hours = float(stamp.get("seconds", 3600 * episode_hours)) / 3600
        kind, episodes = dataset.kind, len(dataset.episodes)
        dataset.close()
    shortest = {key: min(row[key] for row in rounds) for key in rounds[0] if key.endswith(("_s", "_ms"))}
    return {
        "name": name,
        "kind": kind,
        "protocol": protocol,
        "jobs": jobs,
        "repeat": repeat,
        "hours": hours,
        "episode_hours": episode_hours,
        "episodes": episodes,
        "raw_bytes": int(rounds[0]["raw_bytes"]),
        "prepared_bytes": size,
        **shortest,
        "seconds_per_hour": shortest["prepare_s"] / hours,
        "hours_per_second": hours / shortest["prepare_s"],
        "ratio_to_floor": shortest["prepare_s"] / shortest["floor_s"],
        "read_ratio": shortest["h5py_read_s"] / shortest["read_s"],
        "peak_bytes": max(int(row["peak_bytes"]) for row in rounds),
    }


def table_lines(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return what :func:`bench_sets` measured as lines of text, the sum of all sets last."""
    columns = "data set", "hours", "s/hour", "hours/s", "1 job", "floor", "MiB", "load ms", "open ms", "read"
    lines = [f"{columns[0]:<13}" + "".join(f"{column:>9}" for column in columns[1:])]
    for row in rows:
        per_hour = [row[key] / row["hours"] for key in ("prepare_s", "one_job_s", "floor_s")]
        values = row["hours"], per_hour[0], 1 / per_hour[0], *per_hour[1:], row["peak_bytes"] / 2**20
        values = *values, row["load_ms"], row["open_ms"], row["read_ratio"]
        lines.append(f"{row['name']:<13}" + "".join(f"{value:>9.2f}" for value in values))
    seconds, hours = (sum(row[key] for row in rows) for key in ("prepare_s", "hours"))
    lines.append(f"all           {hours:.2f} hours in {seconds:.1f} s, {hours / seconds:.2f} hours a second")
    lines.append("s/hour, 1 job, floor: seconds per hour of recording; MiB: peak memory, children included;")
    lines.append("read: speed of reading every episode, as a share of that of h5py reading the arrays at once")
    return lines


def _round(work: dict[str, str], home: Path, jobs: int) -> dict[str, float]:
    """Run each measurement once, in a home that knows no digest yet."""
    environment = {**os.environ, "CSP_DATA_HOME": str(home)}
    _measure("_read_raw_files", work, environment)  # warms the page cache
    first, first_peak = _measure("_prepare", {**work, "jobs": jobs}, environment)
    again, again_peak = _measure("_prepare", {**work, "jobs": jobs}, environment)
    single, _ = _measure("_prepare", {**work, "jobs": 1}, environment)
    floor, _ = _measure("_floor", work, environment)
    reading, _ = _measure("_reading", work, environment)
    return {
        "first_s": first["seconds"],
        "prepare_s": again["seconds"],
        "one_job_s": single["seconds"],
        "one_job_cpu_s": single["cpu"],
        "floor_s": floor["seconds"],
        "floor_cpu_s": floor["cpu"],
        "raw_bytes": floor["bytes"],
        "peak_bytes": float(max(first_peak, again_peak)),
        **reading,
    }


def _measure(action: str, work: dict[str, Any], environment: dict[str, str]) -> tuple[dict[str, float], int]:
    """Run one of :data:`ACTIONS` in a new process; return what it measured, and its peak memory in bytes."""
    command = [sys.executable, "-m", "csp_data.bench", action, json.dumps(work)]
    with (
        tempfile.TemporaryFile() as stdout,
        tempfile.TemporaryFile() as failure,
        subprocess.Popen(command, env=environment, stdout=stdout, stderr=failure) as process,
    ):
        peak = 0
        while process.poll() is None:
            peak = max(peak, _tree_bytes(process.pid))
            time.sleep(POLL_S)
        stdout.seek(0)
        failure.seek(0)
        if process.returncode:
            reason = failure.read().decode(errors="replace")
            raise CspDataError(f"bench: {action} of {work['name']} failed:\n{reason}")
        output = stdout.read()
    found: dict[str, float] = json.loads(output.splitlines()[-1])
    return found, peak or int(found["own_peak_bytes"])


def _tree_bytes(pid: int) -> int:
    """Return the resident memory of a process and all below it (Linux; 0 elsewhere)."""
    total, waiting = 0, [pid]
    while waiting:
        process = waiting.pop()
        try:
            total += int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
            for thread in Path(f"/proc/{process}/task").iterdir():
                waiting += map(int, (thread / "children").read_text().split())
        except (OSError, IndexError):  # it ended meanwhile
            continue
    return total


def _prepare(work: dict[str, Any]) -> dict[str, float]:
    Path(work["out"]).unlink(missing_ok=True)
    load_source(load_card(work["name"]))
    wall_start, cpu_start = time.perf_counter(), time.process_time()
    prepare(work["name"], raw=work["raw"], protocol=work["protocol"], out=work["out"], jobs=work["jobs"])
    return {"seconds": time.perf_counter() - wall_start, "cpu": time.process_time() - cpu_start}


def _read_raw_files(work: dict[str, Any]) -> dict[str, float]:
    return {"bytes": float(_read_raw(_raw_files(work)))}


def _floor(work: dict[str, Any]) -> dict[str, float]:
    files = _raw_files(work)
    with h5py.File(work["out"]) as file:
        arrays = {name: file[name][()] for name in ("inputs", "targets")}
    wall_start, cpu_start = time.perf_counter(), time.process_time()
    size = _read_raw(files)
    with h5py.File(work["out"] + ".floor", "w", libver="v110") as file:
        for name, values in arrays.items():
            file[name] = values
    seconds, cpu = time.perf_counter() - wall_start, time.process_time() - cpu_start
    return {"seconds": seconds, "cpu": cpu, "bytes": float(size)}


def _raw_files(work: dict[str, Any]) -> list[Path]:
    found = find_in(load_card(work["name"]), Path(work["raw"]))
    return list(dict.fromkeys(file for recording in found for file in recording.files if file.is_file()))


def _read_raw(files: Sequence[Path]) -> int:
    size = 0
    for path in files:
        size += path.stat().st_size
        if path.suffix.lower() in (".h5", ".hdf5"):
            with h5py.File(path, "r") as file:
                file.visititems(_read_array)
        else:
            path.read_bytes()
    return size


def _read_array(name: str, item: Any) -> None:
    if isinstance(item, h5py.Dataset):
        item[()]


def _reading(work: dict[str, Any]) -> dict[str, float]:
    prepare(work["name"], raw=work["raw"], protocol=work["protocol"])
    load(path=work["out"]).close()  # imports and first touches are not what is measured
    load_s = min(_time(lambda: load(work["name"], raw=work["raw"], protocol=work["protocol"])) for _ in range(3))
    open_s = min(_time(lambda: load(path=work["out"])) for _ in range(3))
    h5py_s = min(_time(lambda: _read_plainly(work["out"])) for _ in range(3))
    dataset = load(path=work["out"])
    ours_s = min(_time(lambda: _read_episodes(dataset)) for _ in range(3))
    return {"load_ms": 1e3 * load_s, "open_ms": 1e3 * open_s, "read_s": ours_s, "h5py_read_s": h5py_s}


def _read_plainly(path: str) -> None:
    with h5py.File(path) as file:
        for name in ("inputs", "targets"):
            np.asarray(file[name][()])


def _read_episodes(dataset: Dataset) -> None:
    for part in dataset.parts:
        for _ in dataset.split(part):
            pass
    dataset.close()


def _time(act: Callable[[], object]) -> float:
    start = time.perf_counter()
    act()
    return time.perf_counter() - start


ACTIONS: dict[str, Callable[[dict[str, Any]], dict[str, float]]] = {
    action.__name__: action for action in (_prepare, _read_raw_files, _floor, _reading)
}

if __name__ == "__main__":
    result = ACTIONS[sys.argv[1]](json.loads(sys.argv[2]))
    unit = 1 if sys.platform == "darwin" else 1024
    result["own_peak_bytes"] = float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)
    sys.stdout.write("\n" + json.dumps(result) + "\n")
