"""``csp-baselines faults``: evaluate trained models under sensor faults."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from baselines.commands.arguments import Flag, parse_seeds

__all__ = ["FAULTS", "Faults", "faults"]

_arg = tyro.conf.arg

FAULTS = """Evaluate trained models under faults of their sensors, five severities each; nothing is trained again.

  noise            white noise on every raw sample: 0.05, 0.1, 0.2, 0.4, 0.8 sigma
  drift            a random walk of each channel: 0.05, 0.1, 0.2, 0.4, 0.8 sigma after 60 s
  channel-loss     10, 20, 30, 40, 50 % of the channels (at least one) read 0
  dropped-packets  5, 10, 20, 40, 80 % of the time, in bursts of 0.1 s; the last sample is repeated
  saturation       channels clip at 4, 3, 2, 1.5, 1 sigma on either side of their mean
  jitter           samples are taken 1, 2, 5, 10, 20 ms (Gaussian) beside their stamps

sigma is a channel's standard deviation over the training part. Faults are put on the raw recordings, before
baseline, resampling and filter. Each run is evaluated with the filter that it was trained on, and with the other
choice: without, or with a causal low-pass (--lowpass).

RUN is the folder of a run, or one that holds runs; all on one data set. FOLDER gets faults.csv, .svg and .png.

Example:
  csp-baselines faults runs/sample-* --draws 0-2 --out faults/sample"""


@dataclass(frozen=True)
class Faults:
    """Options of ``faults``."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional, _arg(metavar="RUN...")]
    """Folders of runs, or of sweeps."""
    faults: Annotated[tuple[str, ...], _arg(metavar="FAULT...")] = ()
    """Which faults, by name; all by default."""
    draws: Annotated[tuple[str, ...], _arg(metavar="SEED...")] = ("0",)
    """Seeds of the faults, one by one or as ranges."""
    lowpass: Annotated[float | None, _arg(metavar="HZ")] = None
    """Cut-off of the causal low-pass for runs that were trained without; by default a tenth of the input rate."""
    data: Annotated[tuple[Path, ...], _arg(metavar="FILE...")] = ()
    """Prepared files that are no longer where the runs found them."""
    raw: Annotated[str | None, _arg(metavar="FOLDER")] = None
    """Folder of the raw files that the data set was prepared from."""
    part: Annotated[str | None, _arg(metavar="NAME")] = None
    """What to evaluate on; by default the part that the runs report."""
    out: Annotated[Path, _arg(metavar="FOLDER", aliases=["-o"])] = Path("faults")
    """Folder to write to."""
    device: Annotated[str, _arg(metavar="NAME")] = "cpu"
    """Device, as torch names it: cpu, cuda, cuda:1."""
    json: Flag = False
    """Print the rows as JSON."""


def faults(command: Faults, line: str) -> None:
    """Run the command."""
    import dataclasses

    from baselines.ablations.fault_runs import faulty, write
    from baselines.ablations.faults import FAULTS as KNOWN
    from baselines.runs.collect import read_runs
    from csp_data import LowPass

    draws = parse_seeds(command.draws, "draws")
    rows = faulty(
        read_runs(command.runs),
        faults=command.faults or tuple(KNOWN),
        draws=draws,
        lowpass=None if command.lowpass is None else LowPass(hz=command.lowpass, order=3, phase="causal"),
        raw=command.raw,
        part=command.part,
        device=command.device,
        data=command.data,
    )
    files = write(rows, command.out)
    if command.json:
        json_rows = [dataclasses.asdict(row) for row in rows]
        sys.stdout.write(json.dumps({"files": [str(path) for path in files], "rows": json_rows}) + "\n")
        return
    most_severe = [row for row in rows if row.severity == 5 and row.as_trained and row.ratio is not None]
    lines = []
    for fault in dict.fromkeys(row.fault for row in most_severe):
        worst = max((row for row in most_severe if row.fault == fault), key=lambda row: row.ratio or 0.0)
        run = f"{worst.model}, seed {worst.seed}"
        lines.append(f"{fault}: MSE times up to {worst.ratio:.2f} at {worst.value:g} {worst.unit} ({run})")
    sys.stdout.write("\n".join([*lines, *(f"written: {path}" for path in files)]) + "\n")
