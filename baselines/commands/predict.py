"""``csp-baselines predict``: predictions for whole recordings of which nobody measured the truth."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TextIO

import numpy as np
import numpy.typing as npt
import tyro

from baselines.errors import OptionError
from baselines.stream.line_protocol import cells
from csp_data.terminal import loudness

if TYPE_CHECKING:
    from baselines.prediction import Prediction, Predictor
    from csp_data import Recording

__all__ = ["PREDICT", "Predict", "predict"]

_arg = tyro.conf.arg

PREDICT = """Predict whole recordings, of which nobody needs to have measured the truth.

Recordings are CSV files with a header that names the channels and time (in s), or JSON lines. They may have any
rate and gaps: they are resampled, cut and filtered as the training data were. Or name a data set with --dataset,
whose reader then reads --raw. For samples that come one by one there is csp-baselines stream.

Examples:
  csp-baselines predict pretrained:broad walk.csv -o predictions.csv
  csp-baselines predict runs/my-sensor-hiss-s4-mamba-0 monday.csv tuesday.csv --format jsonl
  csp-baselines predict runs/my-sensor-hiss-s4-mamba-0 --dataset ./my-sensor --raw new-recordings"""


@dataclass(frozen=True)
class Predict:
    """Options of ``predict``."""

    run: Annotated[Path, tyro.conf.Positional, _arg(metavar="RUN")]
    """Folder of the run, or pretrained:NAME for a model that ships with the package."""
    files: Annotated[tuple[Path, ...], tyro.conf.Positional, _arg(metavar="FILE...")] = ()
    """Recordings, one a file; - is the standard input."""
    out: Annotated[str, _arg(metavar="FILE", aliases=["-o"])] = "-"
    """File of predictions; - is the standard output."""
    format: Literal["csv", "jsonl"] = "csv"
    """Format of the predictions."""
    dataset: Annotated[str | None, _arg(metavar="DATASET")] = None
    """Data set whose reader reads the recordings: a name, or the folder of one of your own."""
    raw: Annotated[Path | None, _arg(metavar="FOLDER")] = None
    """Folder of raw recordings for --dataset; by default the data set's own."""
    recording: Annotated[tuple[str, ...], _arg(metavar="ID...")] = ()
    """Which recordings of --dataset to predict; by default all."""
    whole: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Start afresh only after a gap, as a stream does; by default also after each window, as in training."""
    baseline: Literal["protocol", "none"] = "protocol"
    """What is subtracted first: what the run's protocol takes from a recording's first rows, or nothing, where
    samples come without their offset."""
    device: Annotated[str, _arg(metavar="NAME")] = "cpu"
    """Device, as torch names it: cpu, cuda, cuda:1."""
    data: Annotated[Path | None, _arg(metavar="FILE")] = None
    """The prepared file, for runs without interface.json if it is no longer where the run found it."""


def predict(command: Predict, line: str) -> None:
    """Run the command."""
    from baselines.files import atomic_bytes
    from baselines.prediction import Predictor
    from baselines.runs.interface import step_note

    if bool(command.files) == (command.dataset is not None):
        found = "both" if command.files else "neither"
        raise OptionError("dataset", found, "either files of recordings, or --dataset")
    if command.dataset is None and (command.raw is not None or command.recording):
        raise OptionError(
            "raw" if command.raw else "recording", command.raw or command.recording[0], "--dataset too"
        )
    predictor = Predictor.of(
        command.run,
        window_s=None if command.whole else "trained",
        device=command.device,
        baseline=command.baseline,
        data=command.data,
    )
    note = step_note(predictor.interface, predictor.protocol)
    if note is not None and loudness.get().notes:
        sys.stderr.write(f"Note: {note}\n")
    if command.out == "-":
        _write(sys.stdout, command, predictor)
        return
    text = io.StringIO()
    count = _write(text, command, predictor)
    atomic_bytes(Path(command.out), text.getvalue().encode())
    if loudness.get().notes:
        sys.stderr.write(f"{count:,} predictions written to {command.out}\n")


def _write(sink: TextIO, command: Predict, predictor: Predictor) -> int:
    """Write the predictions of one recording after the other; return how many."""
    names = ("recording", "time", *predictor.interface.targets)
    count = 0
    for recording in _recordings(command, predictor):
        for prediction in predictor.predict(recording, source=command.dataset):
            if command.format == "csv":
                rows = csv.writer(sink, lineterminator="\n")
                rows.writerows([names] if count == 0 else [])
                rows.writerows([prediction.id, *cells(time, values)] for time, values in _steps(prediction))
            else:
                for time, values in _steps(prediction):
                    row = (prediction.id, round(float(time), 9), *map(float, values))
                    sink.write(json.dumps(dict(zip(names, row, strict=True))) + "\n")
            count += len(prediction.time)
    return count


def _steps(prediction: Prediction) -> Iterator[tuple[float, npt.NDArray[np.float64]]]:
    return zip(prediction.time, prediction.values, strict=True)


def _recordings(command: Predict, predictor: Predictor) -> Iterator[Recording]:
    """Read the recordings, one at a time."""
    from baselines.stream.recorded import recorded

    if command.dataset is not None:
        yield from _of_dataset(command, predictor)
        return
    stems = Counter(file.stem for file in command.files)
    for file in command.files:
        if str(file) == "-":
            yield recorded(sys.stdin.buffer, predictor.interface, "stdin", Path("standard input"))
            continue
        try:
            with file.open("rb") as lines:
                recording = recorded(lines, predictor.interface, "", file)
        except OSError as error:
            raise OptionError("file", str(file), f"a file that can be read ({error.strerror})") from error
        yield replace(recording, id=file.stem if stems[file.stem] == 1 else str(file))


def _of_dataset(command: Predict, predictor: Predictor) -> Iterator[Recording]:
    from csp_data.acquire.rawtree import find_recordings, raw_root
    from csp_data.api.raw import recording_of
    from csp_data.card import load_card

    assert command.dataset is not None
    card = load_card(command.dataset)
    ids = command.recording or tuple(found.id for found in find_recordings(card, raw_root(card, command.raw)))
    for id_ in ids:
        yield recording_of(card, id_, raw=command.raw, protocol=predictor.protocol)
