"""Reference times of a training step: those measured for the published code, and the targets for ours.

All are of forward, backward and Adam at length 1500 with 60 inputs. None was measured by ``csp-baselines bench``:
CPU on 2 cores; GPU on one H100 with PyTorch's default precision, on two machines whose host speeds differed, which
gives the range. A ratio to them compares two machines and two sessions, and is printed as such.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ORIGIN", "PublishedStep", "published_step"]

ORIGIN = "published code, measured elsewhere: not in this run, not on this machine"


@dataclass(frozen=True)
class PublishedStep:
    """What a step of the published code took.

    Parameters
    ----------
    low_s, high_s
        Seconds, the least and the most of the machines it was measured on.
    target_s
        Seconds to reach on 2 cores of a CPU; None on a GPU.
    target_ratio
        How many times faster to be on a GPU, in the same run; None on a CPU.
    """

    low_s: float
    high_s: float
    target_s: float | None = None
    target_ratio: float | None = None


def _cpu(seconds: float, target: float) -> PublishedStep:
    return PublishedStep(seconds, seconds, target_s=target)


def _gpu(low_ms: float, high_ms: float, ratio: float) -> PublishedStep:
    return PublishedStep(low_ms / 1e3, high_ms / 1e3, target_ratio=ratio)


# 52 s is one figure for the models whose Mamba runs over 150 samples or more on the CPU (its reference scan); the
# source does not say which of them was timed
_STEPS: dict[tuple[str, str, int], PublishedStep] = {
    ("hiss-s4-mamba", "cpu", 4): _cpu(52.0, 0.27),
    ("hiss-s4-s4", "cpu", 4): _cpu(8.7, 0.25),
    ("hiss-mamba-mamba", "cpu", 4): _cpu(1.3, 0.18),
    ("flat-s4", "cpu", 4): _cpu(7.1, 0.40),
    ("flat-mamba", "cpu", 4): _cpu(52.0, 0.10),
    ("hiss-s4-mamba", "cuda", 4): _gpu(44, 67, 30),
    ("hiss-s4-s4", "cuda", 4): _gpu(56, 89, 40),
    ("hiss-mamba-mamba", "cuda", 4): _gpu(20, 31, 15),
    ("flat-s4", "cuda", 4): _gpu(29, 45, 22),
    ("flat-mamba", "cuda", 4): _gpu(5.0, 9.5, 10),
    ("hiss-s4-mamba", "cuda", 32): _gpu(58, 69, 12),
    ("hiss-s4-s4", "cuda", 32): _gpu(67, 93, 16),
    ("hiss-mamba-mamba", "cuda", 32): _gpu(40, 42, 8),
    ("flat-s4", "cuda", 32): _gpu(27, 41, 7),
    ("flat-mamba", "cuda", 32): _gpu(5.7, 10.5, 4),
}


def published_step(model: str, device: str, batch: int) -> PublishedStep | None:
    """Return the figure for a measured model with its preset, or None.

    Parameters
    ----------
    model
        Name, as in :data:`baselines.bench.steps.CASES`.
    device
        Kind of device: ``"cpu"`` or ``"cuda"``.
    batch
        Windows a step.
    """
    return _STEPS.get((model, device, batch))
