"""Where arrays lie in memory changes no bit: trainings and streams agree, whatever their processes did before.

A loop that stores may run in vectors only where no array begins close behind another. So the sum in such a loop
could be taken in another order, and a quotient by other instructions.
"""

from __future__ import annotations

import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from numba.core.dispatcher import Dispatcher

from baselines import build
from baselines.stream.fast import gated, mamba, recurrent, tcn, transformer
from baselines.stream.fast.engine import FastEngine

LAYOUTS = 32


def _arrays(args: Any) -> Iterator[np.ndarray]:
    """Yield the arrays among the arguments, those in tuples too."""
    for arg in args:
        if isinstance(arg, np.ndarray):
            yield arg
        elif isinstance(arg, tuple):
            yield from _arrays(arg)


def _replaced(args: Any, arrays: Iterator[np.ndarray]) -> tuple[Any, ...]:
    """Return the arguments with one array after the other in place of theirs."""
    return tuple(
        next(arrays) if isinstance(arg, np.ndarray) else _replaced(arg, arrays) if isinstance(arg, tuple) else arg
        for arg in args
    )


def _close_together(arrays: list[np.ndarray], rng: random.Random) -> list[np.ndarray]:
    """Return copies of the arrays in one piece of memory, in any order, few bytes apart."""
    order = rng.sample(range(len(arrays)), len(arrays))
    room = np.zeros(sum(a.nbytes + 512 for a in arrays) + 64, np.uint8)
    copies, at = list(arrays), -room.ctypes.data % 64
    for i in order:
        array = arrays[i]
        copies[i] = room[at : at + array.nbytes].view(array.dtype).reshape(array.shape)
        copies[i][...] = array
        at += -(-array.nbytes // 16) * 16 + rng.choice([0, 0, 16, 32, 64, 192])
    return copies


class Checked:
    """Calls a loop as it is called, and before that with its arrays laid out in many ways."""

    def __init__(self) -> None:
        self.calls: Counter[Any] = Counter()
        self.differing: Counter[str] = Counter()
        self._rng = random.Random(0)

    def call(self, loop: Callable[..., Any], *args: Any) -> Any:
        """Call `loop`, and count those whose results differ."""
        arrays = list(_arrays(args))
        name = loop.__name__
        key = name, *(a.shape for a in arrays)
        if self.calls[key] < 2:
            self.calls[key] += 1
            results = set()
            for _ in range(LAYOUTS):
                copies = _close_together(arrays, self._rng)
                loop(*_replaced(args, iter(copies)))
                results.add(b"".join(a.tobytes() for a in copies))
            self.differing[name] += len(results) > 1
        return loop(*args)

    def names(self) -> set[str]:
        """Return the names of the loops that were called."""
        return {name for name, *_ in self.calls}


@pytest.mark.parametrize("name", ["hiss-s4-mamba", "hiss-mamba-s4", "flat-gru", "flat-transformer", "flat-s4"])
def test_training(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each loop of a step, forward and backward, gives the same bits wherever its arrays lie."""
    checked = Checked()
    for module in list(sys.modules.values()):
        if module.__name__.startswith("baselines.") and hasattr(module, "run_ranges"):
            monkeypatch.setattr(
                module, "run_ranges", lambda loop, total, *args: checked.call(loop, 0, total, *args)
            )
    torch.manual_seed(0)
    for size in (8, 24):
        sizes = {"hidden": size} if name == "flat-gru" else {"dim": size}
        model = build(name, 6, 2, **sizes, layers=2).train()
        model(torch.randn(3, 50, 6)).square().sum().backward()
    assert len(checked.names()) >= 2
    assert not +checked.differing


@pytest.mark.parametrize(
    "name", ["flat-s4", "hiss-s4-lru", "hiss-mamba-mamba2", "hiss-lstm-gru", "hiss-tcn-transformer"]
)
def test_streaming(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each loop of a stream gives the same bits wherever its arrays lie."""
    checked = Checked()
    for module in (gated, mamba, recurrent, tcn, transformer):
        for attribute, loop in list(vars(module).items()):
            if (
                isinstance(loop, Dispatcher)
                and attribute.endswith(("_stack", "_rows"))
                and attribute != "affine_rows"
            ):
                monkeypatch.setattr(module, attribute, partial(checked.call, loop))
    torch.manual_seed(0)
    for size in (8, 24):
        overrides = {"hidden": size} if name == "hiss-lstm-gru" else {"dim": size}
        stream = FastEngine(build(name, 6, 2, **overrides, layers=2).eval())
        stream.push(torch.randn(30, 6).numpy())
    assert checked.names()
    assert not +checked.differing
