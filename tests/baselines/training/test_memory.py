"""Memory that the compiled loops take at their peak, in a process of its own, as the system counts it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="the peak of a process can be set back only on Linux"
)

MEASURE = """
import sys
import torch
from baselines.layers.s4 import S4Config, S4Layer
from baselines.scan import selective_scan

torch.set_num_threads(1)


def resident(field):
    with open("/proc/self/status") as lines:
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith(field))


def peak(call, *small):
    call(*small)  # compiles, and loads what is loaded once
    def at(*sizes):
        open("/proc/self/clear_refs", "w").write("5")
        before = resident("VmRSS")
        call(*sizes)
        return resident("VmHWM") - before
    return at


def scan(length, channels, state):
    u, delta = torch.randn(1, length, channels), torch.rand(1, length, channels)
    b, c = torch.randn(2, 1, length, state).unbind(0)
    tensors = [t.requires_grad_() for t in (u, delta, -torch.rand(channels, state), b, c)]
    selective_scan(*tensors, backend=sys.argv[2]).sum().backward()


def kernel(length, channels, state):
    layer = S4Layer(S4Config(dim=channels, state=state, kernel="truncated", kernel_length=length))
    layer.kernel(length).sum().backward()


call = {"scan": scan, "kernel": kernel}[sys.argv[1]]
at = peak(call, 64, 4, 4)
print(*(at(*map(int, sizes.split("x"))) for sizes in sys.argv[3:]))
"""


def peaks(what: str, backend: str, *sizes: tuple[int, int, int]) -> list[int]:
    arguments = [what, backend, *("x".join(map(str, size)) for size in sizes)]
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    return [int(word) for word in done.stdout.split()]


def test_the_scan_keeps_no_state_for_every_sample() -> None:
    """Forward and backward stay at a few arrays of the input's size, where all states would be 16 of them."""
    length, channels, state = 8192, 128, 16
    array = 4 * length * channels
    half, whole = peaks("scan", "cpu", (length // 2, channels, state), (length, channels, state))
    assert whole < 10 * array
    assert whole < 2.5 * half  # linear in the length


def test_the_bound_on_the_scan_can_be_broken() -> None:
    length, channels, state = 128, 2048, 16
    (naive,) = peaks("scan", "reference", (length, channels, state))
    assert naive > 16 * 4 * length * channels


def test_the_kernel_of_s4_takes_no_array_of_samples_times_states() -> None:
    length, channels, state = 65_536, 8, 256
    (found,) = peaks("kernel", "cpu", (length, channels, state))
    frequencies_times_states = 8 * channels * (length // 2 + 1) * state // 2
    assert found < frequencies_times_states / 2
