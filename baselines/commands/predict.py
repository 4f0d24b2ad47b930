"""``csp-baselines predict``: predictions for whole recordings of which nobody measured the truth."""

from __future__ import annotations

import csv
import io
import json
import logging
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TextIO

import numpy as np
import numpy.typing as npt
import tyro

from baselines.commands.arguments import Flag
from baselines.errors import CspDataError, NothingToPredictError, OptionError, UsageError
from baselines.stream.line_protocol import cells
from csp_data.home import expanded
from csp_data.terminal import at_terminal, loudness

if TYPE_CHECKING:
    from baselines.prediction import Prediction, Predictor
    from csp_data import Recording

__all__ = ["PREDICT", "Predict", "predict"]

_arg = tyro.conf.arg
logger = logging.getLogger(__name__)

GO_ON = "Or go on without damaged recordings: --skip-damaged lists them."

PREDICT = """Predict whole recordings; they need no measured truth.

Recordings are CSV files with a header that names the channels and time (in s), or JSON lines. They may have any
rate and gaps: they are resampled, cut and filtered as the training data were. With --dataset, the reader of that
data set reads the folder --raw instead. For samples that come one by one, use csp-baselines stream.

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
    """Recordings, one in each file; - is the standard input."""
    out: Annotated[str, _arg(metavar="FILE", aliases=["-o"])] = "-"
    """File of predictions; - is the standard output."""
    format: Literal["csv", "jsonl"] = "csv"
    """Format of the predictions."""
    dataset: Annotated[str | None, _arg(metavar="DATASET")] = None
    """Data set whose reader reads the recordings: a name, or the folder of one of your own."""
    raw: Annotated[Path | None, _arg(metavar="FOLDER")] = None
    """Folder of raw recordings for --dataset; by default the data set's own."""
    recording: Annotated[tuple[str, ...], _arg(metavar="ID...")] = ()
    """Which recordings of --dataset to predict, by id or pattern ("s01_*"); by default all."""
    skip_damaged: Flag = False
    """Leave damaged recordings out, and list them."""
    whole: Flag = False
    """Start afresh only after a gap, as a stream does; by default also after each window, as in training."""
    baseline: Literal["protocol", "none"] = "protocol"
    """What is subtracted first: what the run's protocol takes from a recording's first rows, or nothing (if
    samples come without their offset)."""
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
        raise UsageError(
            f"Expected either files of recordings, or --dataset; found {found}. More: csp-baselines predict --help"
        )
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
    atomic_bytes(expanded(command.out), text.getvalue().encode())
    if loudness.get().notes:
        sys.stderr.write(f"{count:,} predictions written to {command.out}\n")


def _write(sink: TextIO, command: Predict, predictor: Predictor) -> int:
    """Write the predictions of one recording after the other; return how many."""
    names = ("recording", "time", *predictor.interface.targets)
    count = 0
    for prediction in _predictions(command, predictor):
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


def _predictions(command: Predict, predictor: Predictor) -> Iterator[Prediction]:
    """Predict one recording after the other; none is stopped by one too short, or damaged if it may be skipped."""
    from tqdm import tqdm

    from baselines.stream.recorded import SampleFileError
    from csp_data.errors import DamagedRecordingError

    readers = _readers(command, predictor)
    left_out: list[CspDataError] = []
    # not among predictions on the terminal
    shown = loudness.get().progress and len(readers) > 1 and not (command.out == "-" and at_terminal(sys.stdout))
    for read in tqdm(readers, "predict", unit="rec", disable=not shown):
        try:
            predictions = predictor.predict(read(), source=command.dataset)
        except NothingToPredictError as error:
            left_out.append(error)
        except (DamagedRecordingError, SampleFileError) as error:
            if not command.skip_damaged:
                raise (error.or_else(GO_ON) if len(readers) > 1 else error) from error
            left_out.append(error)
        else:
            yield from predictions
            continue
        if len(readers) > 1:
            logger.warning("left out: %s", left_out[-1])
    if len(left_out) == len(readers) and left_out:
        raise left_out[0]


def _steps(prediction: Prediction) -> Iterator[tuple[float, npt.NDArray[np.float64]]]:
    return zip(prediction.time, prediction.values, strict=True)


def _readers(command: Predict, predictor: Predictor) -> list[Callable[[], Recording]]:
    """Return what reads each of the recordings."""
    if command.dataset is not None:
        return _of_dataset(command, predictor)
    stems = Counter(file.stem for file in command.files)
    return [
        partial(_read_file, file, file.stem if stems[file.stem] == 1 else str(file), predictor)
        for file in command.files
    ]


def _read_file(file: Path, id_: str, predictor: Predictor) -> Recording:
    from baselines.stream.recorded import recorded

    if str(file) == "-":
        return recorded(sys.stdin.buffer, predictor.interface, "stdin", Path("standard input"))
    try:
        with file.open("rb") as lines:
            return replace(recorded(lines, predictor.interface, "", file), id=id_)
    except OSError as error:
        raise OptionError("file", str(file), f"a file that can be read ({error.strerror})") from error


def _of_dataset(command: Predict, predictor: Predictor) -> list[Callable[[], Recording]]:
    from baselines.prediction import chosen_recordings
    from csp_data.acquire.rawtree import raw_root
    from csp_data.card import load_card
    from csp_data.sources import load_source, read_found

    assert command.dataset is not None
    card = load_card(command.dataset)
    root = raw_root(card, command.raw)
    chosen, _ = chosen_recordings(card, root, command.recording, skip_damaged=command.skip_damaged)
    source = load_source(card)
    return [partial(read_found, source, found, card, predictor.protocol) for found in chosen]
