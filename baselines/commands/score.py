"""``csp-baselines score``: the errors of predictions that were made elsewhere, and a run of them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

import csp_data
from baselines.commands.arguments import Flag, parse_settings
from baselines.commands.train import print_metrics
from baselines.errors import OptionError
from csp_data.terminal import loudness

__all__ = ["SCORE", "Score", "score"]

_arg = tyro.conf.arg

SCORE = """Score predictions that were made elsewhere: by another library or language, or without any training.

FILE is a CSV file with the columns episode, time and the targets, in the units of the prepared file. It has a row
for each target step, with its episode and time (the end of the step) as csp-data export writes them.

With --out the predictions become a run, which table, report and csp-data view take beside others. A run needs
predictions for every episode of every part but train.

Examples:
  csp-baselines score sample predictions.csv
  csp-baselines score sample predictions.csv --name ridge --parameters 903 --seconds 2 --out runs/ridge
  csp-baselines table runs/ridge runs/sample-hiss-s4-mamba-0"""


@dataclass(frozen=True)
class Score:
    """Options of ``score``."""

    dataset: Annotated[str, tyro.conf.Positional, _arg(metavar="DATASET")]
    """Name of a data set, or a prepared file."""
    predictions: Annotated[Path, tyro.conf.Positional, _arg(metavar="FILE")]
    """CSV file of the predictions."""
    raw: Annotated[Path | None, _arg(metavar="FOLDER")] = None
    """Folder of the raw files, to prepare the data set from."""
    skip_damaged: Flag = False
    """Leave damaged recordings out, and list them."""
    protocol: Annotated[str | None, _arg(metavar="NAME")] = None
    """Name of the protocol; by default the data set's own."""
    out: Annotated[Path | None, _arg(metavar="FOLDER", aliases=["-o"])] = None
    """Folder of the run; by default the errors are printed, and nothing is written."""
    name: Annotated[str | None, _arg(metavar="NAME")] = None
    """What made the predictions; tables call it own-NAME."""
    parameters: Annotated[int | None, _arg(metavar="N")] = None
    """Values that were learned, for the table."""
    seconds: Annotated[float | None, _arg(metavar="S")] = None
    """Time to fit, for the table."""
    seed: int = 0
    """Number of this repetition; the repetitions of one method are one row of the table."""
    window_s: Annotated[float | None, _arg(metavar="S")] = None
    """Seconds that the method sees at once; by default all of an episode up to the step."""
    set: Annotated[tuple[str, ...], _arg(metavar="KEY=VALUE ...")] = ()
    """Settings that tell variants of a method apart, such as taps=50."""
    about: Annotated[str, _arg(metavar="TEXT")] = ""
    """What made the predictions, in words: libraries and versions, where the code is."""
    json: Flag = False
    """Print the results as JSON."""


def score(command: Score, line: str) -> None:
    """Run the command."""
    from baselines.elsewhere import read_csv
    from baselines.elsewhere import record as file_run
    from baselines.elsewhere import score as errors_on
    from baselines.sweeps.grid import is_prepared_file

    required = {name: getattr(command, name) for name in ("name", "parameters", "seconds")}
    for name, value in required.items():
        if command.out is not None and value is None:
            raise OptionError(name, None, "what the table says of it, as --out is given")
    source: dict[str, Any] = {
        "raw": command.raw,
        "protocol": command.protocol,
        "skip_damaged": command.skip_damaged,
    }
    if is_prepared_file(command.dataset):
        dataset = csp_data.load(path=command.dataset, **source)
    else:
        dataset = csp_data.load(command.dataset, progress=loudness.get().progress, **source)
    predictions = read_csv(command.predictions, dataset)
    if command.out is None:
        parts = [part for part in dataset.parts if any(row.id in predictions for row in dataset.split(part).rows)]
        results = {part: errors_on(dataset, predictions, part) for part in parts}
    else:
        run = file_run(
            dataset,
            predictions,
            command.out,
            **required,
            seed=command.seed,
            window_s=command.window_s,
            settings=parse_settings(command.set),
            about=command.about,
            command=line,
        )
        results = {part: run.results[part] for part in dataset.parts[1:]}
    if command.json:
        print(json.dumps({**({} if command.out is None else {"run": str(command.out)}), **results}))
        return
    for part, metrics in results.items():
        print_metrics(part, metrics, list(dataset.targets.units))
    if command.out is not None:
        print(f"run written to {command.out}")
