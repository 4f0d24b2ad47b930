"""The command ``csp-baselines bench``."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from baselines.commands.arguments import Flag
from baselines.errors import OptionError, UnknownNameError
from baselines.training.settings import Form

__all__ = ["BENCH", "Bench", "bench"]

_arg = tyro.conf.arg


@dataclass(frozen=True)
class Bench:
    """Options of ``bench``."""

    device: Annotated[str, _arg(metavar="NAME")] = "cpu"
    """Device, as torch names it: cpu, cuda, cuda:1."""
    threads: Annotated[int | None, _arg(metavar="N")] = None
    """Threads of torch; by default all."""
    batches: tuple[int, ...] = (4, 32)
    """Windows in each training step; each number is measured."""
    models: tuple[str, ...] = ()
    """Measure only these models (hiss-s4-mamba, ...); by default all."""
    parts: tuple[Literal["steps", "streams"], ...] = ("steps", "streams")
    """What to measure."""
    compile: tuple[Form, ...] = ("eager",)
    """Forms of the training step, as ``train --compile`` takes them; each is measured."""
    precision: Literal["fp32", "tf32", "bf16"] = "fp32"
    """Precision of the training steps."""
    samples: int = 5000
    """Samples of each stream; an hour at 50 Hz is 180000."""
    paced: Flag = False
    """Stream 50 samples a second, as a sensor would, instead of as fast as they are taken."""
    quick: Flag = False
    """Tiny models and few repetitions, to see that it works."""
    out: Annotated[Path | None, _arg(metavar="FILE", aliases=["-o"])] = None
    """Also write what was found as JSON to this file."""
    json: Flag = False
    """Print JSON instead of tables."""


BENCH = """Measure training steps (forward, backward, Adam; length 1500, 60 inputs) and streaming latency here.

The floor beside a step is the larger of its floating-point operations and its bytes over what this device reaches
in a matrix product and a copy of the same run. No data set is needed.

Examples:
  csp-baselines bench --batches 4 -o bench.json
  csp-baselines bench --parts streams --models hiss-s4-mamba --samples 180000
  csp-baselines bench --device cuda --parts steps --compile eager inductor-graph --precision tf32"""


def bench(command: Bench, line: str) -> None:
    """Measure, print, and write what was found."""
    import torch

    from baselines.bench.steps import CASES, STREAMED, measure, render
    from baselines.files import atomic_json
    from baselines.training.device import torch_device

    names = [case.model for case in (*CASES, *STREAMED)]
    for name in command.models:
        if name not in names:
            raise UnknownNameError("measured model", name, names)
    for option, values in (
        ("threads", (command.threads or 1,)),
        ("batches", command.batches),
        ("samples", (command.samples,)),
    ):
        if min(values, default=0) < 1:
            raise OptionError(option, getattr(command, option), "whole numbers of at least 1")
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # torch's profiler, which counts memory, else writes to stderr
    torch.set_num_threads(command.threads or torch.get_num_threads())
    selected = command.models or names
    measured = measure(
        torch_device(command.device),
        batches=command.batches,
        cases=[case for case in CASES if case.model in selected and "steps" in command.parts],
        streamed=[case for case in (*CASES, *STREAMED) if case.model in selected and "streams" in command.parts],
        samples=command.samples,
        paced=command.paced,
        quick=command.quick,
        compile=command.compile,
        precision=command.precision,
    )
    measured = {"command": line, **measured}
    if command.out is not None:
        atomic_json(command.out, measured)
    sys.stdout.write(json.dumps(measured) + "\n" if command.json else render(measured))
