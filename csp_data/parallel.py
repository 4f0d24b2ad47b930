"""Do tasks in several processes, which end with this one, and keep the memory of freed arrays."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from functools import cache
from itertools import islice
from multiprocessing import resource_tracker
from typing import Any, TypeVar

import numpy as np
from joblib.externals.loky import ProcessPoolExecutor
from joblib.externals.loky.backend import get_context
from joblib.externals.loky.backend import resource_tracker as loky_tracker

__all__ = ["as_done", "in_order", "keep_freed", "processes", "start_workers"]

Task = TypeVar("Task")
Result = TypeVar("Result")

WORTH_PROCESSES = 256 << 20
"""Raw bytes below which starting processes (half a second) costs more than they save."""

LARGEST_KEPT = (32 << 20) - (1 << 16)
"""Just below the largest block, 32 MiB, from which glibc learns (``M_MMAP_THRESHOLD`` in mallopt(3))."""


def processes(jobs: int, size: int) -> int:
    """Return how many processes to use, of `jobs` allowed ones, to read `size` bytes."""
    return jobs if size >= WORTH_PROCESSES else 1


def keep_freed() -> None:
    """Make the C library keep the memory of freed arrays for the next ones, up to 64 MB.

    Recordings are read, and steps of a training made, one after the other in arrays of the same few sizes. glibc
    gives blocks of that size back to the system as soon as they are free, and each of their pages costs a fault
    when it comes again: a tenth to two fifths of the time of preparing, a third of an LSTM's step. It raises its
    bounds to the size of a large block that is freed; this frees one, never written to. Other allocators are
    left as they are.
    """
    np.empty(LARGEST_KEPT, dtype=np.uint8)


@cache
def _exit_after(parent: int) -> None:
    """End this process soon after the one that started it, however that ended: nobody wants its results then.

    By themselves loky's processes notice nothing: they finish what they have begun, for hours, and then wait.

    Parameters
    ----------
    parent
        Process that started this one; Windows does not say when it is gone.
    """
    if sys.platform == "win32" or os.getpid() == parent:
        return

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, name="csp-data-end-with", daemon=True).start()


def start_workers(count: int) -> ProcessPoolExecutor:
    """Return an executor of other processes, each with one thread; they start at the first task."""
    one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    # not loky's shared executor: it would be handed to joblib's next user, who needs another kind
    context = get_context("loky")
    return ProcessPoolExecutor(
        count, context=context, env=one_thread, initializer=_exit_after, initargs=(os.getpid(),)
    )


@contextmanager
def _ctrl_c_for_this_one_alone() -> Iterator[None]:
    """Shield processes started within from Ctrl-C, which a terminal sends to all of them; this one ends them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    # the start of a tracker, otherwise by the first process, would let the signal through again
    resource_tracker.ensure_running()
    loky_tracker.ensure_running()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def in_order(do: Callable[[Task], Result], tasks: Iterable[Task], jobs: int) -> Iterator[Result]:
    """Do tasks in this process and others, and give their results in the order of the tasks.

    This process works too: alone until the others have started, which takes them half a second, then whenever the
    result that is due is not there. Its own results need not be sent to it.

    Parameters
    ----------
    do
        What to do with a task; it and its results go from process to process.
    tasks
        Taken as they are needed: at most ``2 * jobs`` are submitted and not yet given.
    jobs
        Processes, this one included.

    Yields
    ------
    Result
        One a task.

    Raises
    ------
    Exception
        That of the first task, in their order, that fails.
    """
    if jobs == 1:
        yield from map(do, tasks)
        return
    pool = start_workers(jobs - 1)
    with _ctrl_c_for_this_one_alone():
        started = pool.submit(keep_freed)
    submitted: deque[Future[Result]] = deque()
    remaining = iter(tasks)
    end: Any = object()
    try:
        while True:
            room = len(submitted) < 2 * jobs
            idle = started.done() and sum(not future.done() for future in submitted) < 2 * (jobs - 1)
            if submitted and (submitted[0].done() or not room) and not (room and idle):
                yield submitted.popleft().result()
                continue
            task = next(remaining, end)
            if task is end:
                break
            submitted.append(pool.submit(do, task) if idle else _run_here(do, task))
        while submitted:
            yield submitted.popleft().result()
    finally:
        _shut_down(pool, [started, *submitted])


def as_done(do: Callable[[Task], Result], tasks: Iterable[Task], jobs: int) -> Iterator[Result]:
    """Do tasks in other processes, and give their results as they come.

    Parameters
    ----------
    do
        What to do with a task; it and its results go from process to process.
    tasks
        Taken as they are needed: at most ``2 * jobs`` are submitted and not yet given.
    jobs
        Processes.

    Yields
    ------
    Result
        One a task.

    Raises
    ------
    Exception
        That of a task that fails, or loky's own where a process is lost.
    """
    pool = start_workers(jobs)
    submitted: set[Future[Result]] = set()
    remaining = iter(tasks)
    try:
        while True:
            with _ctrl_c_for_this_one_alone():
                submitted.update(pool.submit(do, task) for task in islice(remaining, 2 * jobs - len(submitted)))
            if not submitted:
                return
            done, submitted = wait(submitted, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()
    finally:
        _shut_down(pool, submitted)


def _shut_down(pool: ProcessPoolExecutor, submitted: Iterable[Future[Any]]) -> None:
    """End processes that are idle, or whose results nobody wants any more."""
    try:
        # loky's thread fails where a task that it has not yet handed on is gone; it hands them on at once
        late = time.monotonic() + 5
        while not all(future.running() or future.done() for future in submitted) and time.monotonic() < late:
            time.sleep(0.001)
    finally:
        pool.shutdown(wait=True, kill_workers=True)


def _run_here(do: Callable[[Task], Result], task: Task) -> Future[Result]:
    """Do a task in this process; its error is raised only when the result is due, as another process's is."""
    future: Future[Result] = Future()
    try:
        future.set_result(do(task))
    except Exception as error:
        future.set_exception(error)
    return future
