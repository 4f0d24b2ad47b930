"""Tasks done in this process and others; memory that is kept, seen from the page faults of a real process."""

from __future__ import annotations

import multiprocessing
import os
import platform
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from joblib import Parallel, delayed
from joblib.externals.loky import ProcessPoolExecutor

from csp_data import parallel
from csp_data.parallel import as_done, in_order


class Started(ProcessPoolExecutor):
    """Processes that are there already, and stay for the next example."""

    def __init__(self, count: int) -> None:
        super().__init__(count)
        for nap in [self.submit(time.sleep, 0.2) for _ in range(2 * count)]:
            nap.result()

    def shutdown(self, wait: bool = True, kill_workers: bool = False) -> None:
        pass

    def end(self) -> None:
        super().shutdown(wait=True, kill_workers=True)


@pytest.fixture(params=[1, 2, 4])
def jobs(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A number of processes, the others among them started."""
    count: int = request.param
    if count == 1:
        yield count
        return
    pool = Started(count - 1)
    monkeypatch.setattr(parallel, "start_workers", lambda count: pool)
    yield count
    pool.end()


def children() -> list[int]:
    """Processes that this one has started, but for the one that watches over shared memory."""
    found = multiprocessing.active_children()
    return [child.pid for child in found if child.pid]


def who(task: tuple[int, float]) -> tuple[int, int]:
    time.sleep(task[1])
    if task[0] < 0:
        raise ValueError(f"task {task[0]}")
    return task[0], os.getpid()


def test_processes_find_the_tests_whether_or_not_python_m_started_pytest() -> None:
    """``python -m`` puts this folder on the path; the command ``pytest`` does not, nor does ``python -P -m``."""
    test = f"{__file__}::test_results_as_they_come"
    command = [sys.executable, "-P", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", test]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout


@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(naps=st.lists(st.sampled_from((0.0, 0.003, 0.01)), max_size=30))
def test_results_come_in_the_order_of_the_tasks(jobs: int, naps: list[float]) -> None:
    tasks = list(enumerate(naps))
    assert [number for number, _ in in_order(who, tasks, jobs)] == list(range(len(tasks)))


@pytest.mark.parametrize("count", [2, 4])
def test_this_process_works_at_once_and_the_others_when_they_have_started(count: int) -> None:
    done: list[int] = []
    end = time.monotonic() + 60

    def tasks() -> Iterator[tuple[int, float]]:
        while len(set(done)) < count and time.monotonic() < end:
            yield 0, 0.02

    for _, process in in_order(who, tasks(), count):
        done.append(process)
    assert done[0] == os.getpid()
    assert len(set(done)) == count
    assert not set(done) & set(children())


DEAF = """
import itertools, os, signal, time
from csp_data.parallel import in_order
def deaf(task):
    time.sleep(0.02)
    return os.getpid(), signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])
found, end = {}, time.monotonic() + 60
tasks = itertools.takewhile(lambda _: len(found) < 2 and time.monotonic() < end, itertools.count())
found.update(in_order(deaf, tasks, 2))
print(len(found), found.pop(os.getpid()), *found.values())
"""


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="needs signals that can be blocked")
def test_ctrl_c_is_heard_by_this_process_alone() -> None:
    """In a program of its own, which also starts the tracker of shared memory."""
    assert subprocess.check_output([sys.executable, "-c", DEAF], text=True).split() == ["2", "False", "True"]


def test_tasks_just_begun_can_be_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """As after an error: the thread that hands them on must not fail, as it does without care."""
    failed: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", failed.append)
    for _ in range(5):
        pool = parallel.start_workers(2)
        pool.submit(abs, 1).result()
        parallel._shut_down(pool, [pool.submit(time.sleep, 0.01) for _ in range(4)])
    assert failed == []


def test_joblib_can_start_its_own_processes_afterwards() -> None:
    assert list(in_order(str, range(5), 2)) == ["0", "1", "2", "3", "4"]
    assert Parallel(n_jobs=2)(delayed(abs)(number) for number in range(-3, 0)) == [3, 2, 1]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not say when a parent is gone")
def test_the_others_end_when_this_process_is_killed() -> None:
    code = """
import os, signal, time
from csp_data.parallel import start_workers
pool = start_workers(1)
print(pool.submit(os.getpid).result(), flush=True)
pool.submit(time.sleep, 600)
time.sleep(0.1)
os.kill(os.getpid(), signal.SIGKILL)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    other = int(process.stdout.readline())
    try:
        process.communicate(timeout=60)  # the other has the same stdout
    except subprocess.TimeoutExpired:
        os.kill(other, signal.SIGKILL)
        raise
    assert process.returncode == -signal.SIGKILL


@pytest.mark.parametrize("close", [True, False])
def test_the_others_end_with_the_iteration(close: bool) -> None:
    before = set(children())
    results = in_order(who, [(0, 0.0), *[(i, 0.3) for i in range(1, 12)]], 2)
    assert isinstance(results, Generator)
    next(results)
    if close:
        results.close()
    else:
        list(results)
    assert set(children()) <= before


def test_tasks_are_taken_as_they_are_needed(jobs: int) -> None:
    taken = given_back = 0

    def tasks() -> Iterator[tuple[int, float]]:
        nonlocal taken
        for taken in range(1, 41):
            assert taken - given_back <= 2 * jobs
            yield taken, 0.001

    for number, _ in in_order(who, tasks(), jobs):
        given_back += 1
        assert number == given_back
    assert taken == given_back == 40


def test_the_first_error_in_order_is_raised(jobs: int) -> None:
    tasks = [(0, 0.0), (-1, 0.1), (-2, 0.0), (-3, 0.0), (4, 0.0)]
    results = in_order(who, tasks, jobs)
    assert next(results)[0] == 0
    with pytest.raises(ValueError, match="task -1"):
        list(results)


def late(task: tuple[int, Path]) -> tuple[int, int]:
    """Do a task; the first is done when there is a file."""
    end = time.monotonic() + 60
    while task[0] == 0 and not task[1].exists() and time.monotonic() < end:
        time.sleep(0.01)
    return task[0], os.getpid()


def test_results_as_they_come(tmp_path: Path) -> None:
    """A slow task holds up no other; as many are begun as the processes need, and each is done once, elsewhere."""
    taken: list[int] = []
    given_back: list[int] = []
    file = tmp_path / "all others are done"

    def tasks() -> Iterator[tuple[int, Path]]:
        for number in range(12):
            assert len(taken) - len(given_back) < 4
            taken.append(number)
            yield number, file

    processes = set()
    for number, process in as_done(late, tasks(), 2):
        given_back.append(number)
        processes.add(process)
        if len(given_back) == 11:
            file.touch()
    assert sorted(given_back) == list(range(12))
    assert given_back[-1] == 0
    assert os.getpid() not in processes
    assert len(processes) == 2


def test_an_error_ends_the_others() -> None:
    before = set(children())
    with pytest.raises(ValueError, match="task -1"):
        list(as_done(who, [(1, 0.0), (-1, 0.1), *[(i, 0.2) for i in range(2, 9)]], 2))
    assert set(children()) <= before


def test_nobody_is_asked_without_need() -> None:
    before = threading.active_count()
    assert list(in_order(str, range(5), 1)) == ["0", "1", "2", "3", "4"]
    assert threading.active_count() == before


FAULTS = """
import resource, numpy as np
from csp_data.parallel import keep_freed
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    arrays = [np.ones(100_000) for _ in range(20)]
    del arrays
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
if {keep}:
    keep_freed()
faults()
print(faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's allocator is told to keep memory")
def test_the_pages_of_freed_arrays_are_used_again() -> None:
    # dask sets MALLOC_TRIM_THRESHOLD_ for all that starts after it, and then glibc learns no bounds
    unset = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    kept, usual = (
        int(subprocess.check_output([sys.executable, "-c", FAULTS.format(keep=keep)], env=unset))
        for keep in (True, False)
    )
    assert usual > 1000  # 16 MB in pages of 4 KB are 3900
    assert kept < 100
