"""Tasks done in this process and others; memory that is kept, seen from the page faults of a real process."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from csp_data.work import in_order, others


@pytest.fixture(params=[1, 2, 4])
def jobs(request: pytest.FixtureRequest) -> int:
    """A number of processes, the others among them started."""
    count: int = request.param
    if count > 1:
        for started in [others(count - 1).submit(time.sleep, 0.2) for _ in range(2 * count)]:
            started.result()
    return count


def who(task: tuple[int, float]) -> tuple[int, int]:
    time.sleep(task[1])
    if task[0] < 0:
        raise ValueError(f"task {task[0]}")
    return task[0], os.getpid()


@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(naps=st.lists(st.sampled_from((0.0, 0.003, 0.01)), max_size=30))
def test_results_come_in_the_order_of_the_tasks(jobs: int, naps: list[float]) -> None:
    tasks = list(enumerate(naps))
    assert [number for number, _ in in_order(who, tasks, jobs)] == list(range(len(tasks)))


def test_this_process_and_the_others_all_work(jobs: int) -> None:
    done = {process for _, process in in_order(who, [(i, 0.02) for i in range(60)], jobs)}
    assert os.getpid() in done
    assert len(done) == jobs


def test_this_process_does_not_wait_for_others_to_start() -> None:
    others(1).shutdown(wait=True, kill_workers=True)
    first = next(in_order(who, [(0, 0.0), (1, 0.0)], 2))
    assert first == (0, os.getpid())


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


def test_nobody_is_asked_without_need() -> None:
    before = threading.active_count()
    assert list(in_order(str, range(5), 1)) == ["0", "1", "2", "3", "4"]
    assert threading.active_count() == before


FAULTS = """
import resource, numpy as np
from csp_data.work import keep_freed
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
