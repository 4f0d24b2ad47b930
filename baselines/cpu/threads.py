"""Decide when compiled loops are used, and over how many threads."""

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import torch
from torch import nn


def compiled_for(tensor: torch.Tensor) -> bool:
    """Tell whether the numba loops can stand in for plain torch on this tensor.

    They can on the CPU in float32 and float64, where nothing looks into every operation.
    """
    return tensor.device.type == "cpu" and tensor.dtype in (torch.float32, torch.float64) and not looked_into()


def looked_into() -> bool:
    """Tell whether torch's compiler, exporter or tracer, or a transform, looks into what is computed now."""
    compiling_or_tracing: bool = torch.compiler.is_compiling() or torch.jit.is_tracing()  # type: ignore[attr-defined]
    return compiling_or_tracing or transformed()


def transformed() -> bool:
    """Tell whether a transform of ``torch.func`` (``vmap``, ``grad``, ``jvp``, ...) computes now."""
    compiling: bool = torch.compiler.is_compiling()  # torch's compiler cannot ask
    return not compiling and torch._C._are_functorch_transforms_active()


def runs_its_weights(module: nn.Module, kind: type[nn.Module]) -> bool:
    """Tell whether calling a module does what its ``kind`` does with its weights, and nothing else.

    Only then can compiled loops read the weights in its place. Pruning and old forms of normalisation make the
    weights in a hook; adapters, quantised and parametrised layers are of another class.
    """
    hooks = (module._forward_pre_hooks, module._forward_hooks, module._backward_pre_hooks, module._backward_hooks)
    return type(module) is kind and "forward" not in vars(module) and not any(hooks)


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Have torch, and with it the compiled loops, compute with this many threads within."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def before_compiling(announce: Callable[[], object]) -> Iterator[None]:
    """Call `announce` once if numba compiles something within that its cache does not hold, before it begins."""
    from numba.core import event  # numba is imported only where it is used

    class FirstCompilation(event.Listener):  # type: ignore[misc]
        announced = False

        def on_start(self, event: Any) -> None:
            if not self.announced:
                self.announced = True
                announce()

        def on_end(self, event: Any) -> None:
            pass

    with event.install_listener("numba:compile", FirstCompilation()):
        yield


def compiling_note() -> str:
    """Return what a command says :func:`before_compiling`."""
    from baselines.cpu.flags import KEPT  # numba is imported only where it is used

    once = ", once on this machine" if KEPT else ""
    return f"Note: compiling the loops of this kind of model{once}; it can take half a minute."


@contextmanager
def compile_clock() -> Iterator[Callable[[], float]]:
    """Give a function that tells how many seconds numba has compiled within so far, what its cache did not hold.

    A machine does so once: whoever measures how long something takes there can leave it out.
    """
    from numba.core import event  # numba is imported only where it is used

    class Clock(event.Listener):  # type: ignore[misc]
        depth, began, seconds = 0, 0.0, 0.0

        def on_start(self, event: Any) -> None:
            if self.depth == 0:  # what a function calls is compiled within it
                self.began = time.perf_counter()
            self.depth += 1

        def on_end(self, event: Any) -> None:
            self.depth -= 1
            if self.depth == 0:
                self.seconds += time.perf_counter() - self.began

    clock = Clock()
    with event.install_listener("numba:compile", clock):
        yield lambda: clock.seconds


@lru_cache(maxsize=1)
def _pool(workers: int, process: int) -> ThreadPoolExecutor:
    """Return the helpers of this process: a forked child has none of its parent's threads and makes its own."""
    return ThreadPoolExecutor(workers, thread_name_prefix=f"baselines-{process}")


def run_ranges(function: Callable[..., Any], total: int, *args: Any) -> None:
    """Call ``function(start, stop, *args)`` on ranges that together cover ``range(total)``, one a thread.

    Parameters
    ----------
    function
        A numba function that releases the GIL (``nogil=True``) and writes its results into ``args``.
    total
        Number of independent pieces of work.
    *args
        Passed on.

    Notes
    -----
    ``torch.get_num_threads()`` threads are used, the calling one among them, so that one setting rules all.
    """
    threads = max(1, min(torch.get_num_threads(), total))
    bounds = [total * k // threads for k in range(threads + 1)]
    pending = [
        _pool(torch.get_num_threads() - 1, os.getpid()).submit(function, bounds[k], bounds[k + 1], *args)
        for k in range(1, threads)
    ]
    function(bounds[0], bounds[1], *args)
    for future in pending:
        future.result()
