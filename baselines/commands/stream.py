"""``csp-baselines stream``: samples in on a pipe, predictions out as soon as they are due."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, Literal, TextIO

import tyro

from baselines.commands.arguments import Flag
from baselines.commands.stream_loop import (
    EvenSamples,
    StreamCounts,
    deferred_interrupt,
    process_samples,
    write_summary,
)
from baselines.errors import OptionError
from baselines.stream.line_protocol import PredictionWriter, SampleError
from baselines.stream.resampling import MAX_GAP_S, Resampler, StampedSamples
from csp_data.protocol import Protocol
from csp_data.terminal import loudness

if TYPE_CHECKING:
    from baselines.models.own_window import WindowedModel
    from baselines.runs.interface import Interface
    from baselines.stream.engine import Model
    from baselines.stream.streamer import Streamer

__all__ = ["STREAM", "Stream", "model_of", "notes_on", "stream"]

_arg = tyro.conf.arg

STREAM = """Run a trained model over a stream of samples: predictions come out as soon as they are due.

Samples are CSV with a header that names the channels (a column time, in s, is passed on), or JSON lines. They must
come at the rate of the training data; with --resample they may come at any rate, with their time. Ctrl-C or
SIGTERM ends the stream; then the latency is summed up on stderr.

Examples:
  csp-baselines stream pretrained:broad --input samples.csv > predictions.csv
  sensor | csp-baselines stream runs/sample-hiss-s4-mamba-0 --format jsonl | robot
  sensor_at_83_hz | csp-baselines stream RUN --resample --format jsonl | robot
  csp-baselines stream RUN --input a.csv --save-state s.safetensors
  csp-baselines stream RUN --input b.csv --load-state s.safetensors"""


@dataclass(frozen=True)
class Stream:
    """Options of ``stream``."""

    run: Annotated[Path, tyro.conf.Positional, _arg(metavar="RUN")]
    """Folder of the run, or pretrained:NAME for a model that ships with the package."""
    input: Annotated[str, _arg(metavar="FILE")] = "-"
    """File of samples; - is the standard input."""
    out: Annotated[str, _arg(metavar="FILE", aliases=["-o"])] = "-"
    """File of predictions; - is the standard output."""
    format: Literal["csv", "jsonl"] = "csv"
    """Format of the predictions."""
    on_bad: Literal["stop", "hold"] = "stop"
    """What to do with a line that is not a sample: stop the stream, or count it and repeat the last good sample
    (with --resample: leave it out)."""
    resample: Flag = False
    """Bring samples of another or irregular rate to that of the training data, by their column time (in s)."""
    max_gap: Annotated[float | None, _arg(metavar="S")] = None
    """With --resample: after a longer time (in s) without a sample the stream starts over, with the same baseline;
    by default 0.1."""
    save_state: Annotated[Path | None, _arg(metavar="FILE")] = None
    """File for the state at the end, to continue the stream later."""
    load_state: Annotated[Path | None, _arg(metavar="FILE")] = None
    """State to continue from, as --save-state wrote it."""
    baseline: Literal["protocol", "none"] = "protocol"
    """What is subtracted first: what the run's protocol takes from the first samples, or nothing, if samples come
    without their offset."""
    window: Annotated[int | None, _arg(metavar="N")] = None
    """Steps that a Transformer looks back over; by default all of them, and its memory grows. For a model of your
    own without step: chunks from which each prediction is computed."""
    engine: Literal["auto", "reference", "fast"] = "auto"
    """What runs the model: the layers' own steps, or compiled loops equal to them."""
    data: Annotated[Path | None, _arg(metavar="FILE")] = None
    """The prepared file, for runs without interface.json if it is no longer where the run found it."""
    json: Flag = False
    """Write the summary on stderr as JSON."""


def stream(command: Stream, line: str) -> None:
    """Run the command; exit with 1 after Ctrl-C (not others), once the summary and the state are written."""
    import torch

    from baselines.stream.streamer import load_state, save_state

    torch.set_num_threads(1)  # one sample is too little work to share
    _check_options(command)
    streamer, interface = _open_streamer(command)
    timing = _timing(command, streamer, interface)
    resampler = timing.resampler if isinstance(timing, StampedSamples) else None
    if command.load_state is not None:
        load_state(command.load_state, streamer, resampler)
    counts = StreamCounts()
    failure: SampleError | OSError | None = None
    with deferred_interrupt(counts):
        try:
            with _open_source(command.input) as source, _open_sink(command.out) as sink:
                writer = PredictionWriter(sink, interface.targets, command.format)
                process_samples(streamer, source, writer, counts, timing, hold=command.on_bad == "hold")
        except KeyboardInterrupt:
            counts.stopped = counts.stopped or signal.SIGINT
        except (SampleError, OSError) as error:  # also: nobody reads the predictions any more, the disk is full
            failure = error
        counts.busy = True
        if command.save_state is not None:
            try:
                save_state(command.save_state, streamer, resampler)
            except OSError as error:
                raise OptionError(
                    "save_state", str(command.save_state), f"a file that can be written ({error})"
                ) from error
    write_summary(command, counts, timing)
    if failure is not None:
        raise failure
    if counts.stopped == signal.SIGINT:
        sys.exit(1)


def _check_options(command: Stream) -> None:
    """Refuse options that do not go together, and files that could not be written at the end."""
    if command.max_gap is not None and not command.resample:
        raise OptionError("max_gap", command.max_gap, "resample=True beside it")
    if (state := command.save_state) is not None and (not state.parent.is_dir() or state.is_dir()):
        raise OptionError("save_state", str(state), "a file in a folder that is there")
    _require_distinct_files(command)


def _timing(command: Stream, streamer: Streamer, interface: Interface) -> EvenSamples | StampedSamples:
    """Return what knows how far samples are apart, and where asked to brings them to the rate of the training."""
    if not command.resample:
        return EvenSamples(1 / interface.input_hz)
    max_gap_s = MAX_GAP_S if command.max_gap is None else command.max_gap
    resampler = Resampler(interface.input_hz, interface.resample, max_gap_s)
    return StampedSamples(resampler, lambda: streamer.reset(keep_baseline=True))


def _require_distinct_files(command: Stream) -> None:
    """Refuse one file in two places, which would overwrite it; a state alone may go back to where it came from."""
    files = {"input": command.input, "out": command.out, "load_state": command.load_state}
    resolved = {option: Path(file).resolve() for option, file in files.items() if file not in (None, "-")}
    for option, others in (("out", ("input", "load_state")), ("save_state", ("input", "out"))):
        file = getattr(command, option)
        for other in others:
            if file not in (None, "-") and Path(file).resolve() == resolved.get(other):
                flag = f"--{other.replace('_', '-')}"
                raise OptionError(option, str(file), f"another file than {flag}, which it would overwrite")


def model_of(folder: Path, window: int | None, data: Path | None) -> tuple[Model, Interface]:
    """Return the model of a finished run or ``pretrained:NAME``, with a window if asked for, and its interface.

    Raises
    ------
    OptionError
        If the run is that of a reference, or has nothing that a window could be set for.
    """
    from baselines.pretrained import Pretrained
    from baselines.references.methods import Reference
    from baselines.runs.interface import interface_of
    from baselines.runs.model import model_of_run
    from baselines.stream.streamer import with_window
    from baselines.trained import trained_of

    run = trained_of(folder)
    if isinstance(run, Pretrained):
        return with_window(run.model, window), run.interface
    model: Any = model_of_run(run)
    if isinstance(model, Reference):
        raise OptionError(
            "run", str(folder), f"the run of a model: {run.config.name} is a reference, without a state"
        )
    return with_window(model, window), interface_of(run, data)


def _open_streamer(command: Stream) -> tuple[Streamer, Interface]:
    """Return the streamer of a run, and what it says of the data."""
    from baselines.cpu.threads import before_compiling, compiling_note
    from baselines.models.own_window import WindowedModel
    from baselines.stream.streamer import Streamer

    model, interface = model_of(command.run, command.window, command.data)
    baseline = None if command.baseline == "protocol" else command.baseline
    announce = command.engine != "reference" and (loudness.get().progress or loudness.get().verbose)
    with before_compiling(lambda: sys.stderr.write(compiling_note() + "\n")) if announce else nullcontext():
        streamer = Streamer.of(model, interface, command.engine, baseline=baseline)
    notes = [*_protocol_notes(interface, command), *notes_on(command.run, model, interface)]
    if isinstance(model, WindowedModel):
        notes.append(_window_note(model, interface))
    for note in notes if loudness.get().notes else ():
        sys.stderr.write(f"Note: {note}\n")
    return streamer, interface


def notes_on(folder: Path, model: Model, interface: Interface) -> Iterator[str]:
    """Say what is to be known of a run's predictions, wherever its model runs."""
    from baselines.layers import Transformer
    from baselines.pretrained import pretrained_of
    from baselines.runs.interface import step_note
    from baselines.runs.run import read_config

    if pretrained_of(folder) is None:  # what ships predicts SI units
        protocol = Protocol.from_json(json.dumps(read_config(folder).data.protocol))
        if (note := step_note(interface, protocol)) is not None:
            yield note
    if any(isinstance(module, Transformer) for module in model.modules()):
        yield (
            "a Transformer counts steps from the start of the stream, and was trained on as many as the windows "
            "of its training have: after those, errors can be larger (docs/howto-realtime.md)."
        )


def _window_note(model: WindowedModel, interface: Interface) -> str:
    """Say what a window costs, and when its predictions are those over the whole recording."""
    config = model.config
    seconds = config.chunk * (config.window or 0) / interface.input_hz
    ahead = ". This model was seen to look ahead: they differ" if config.looks_ahead else ""
    return (
        f"each prediction costs a forward over the last {config.window} chunks ({seconds:g} s). Predictions equal "
        f"those over whole recordings if {config.source} looks back no further, and not ahead{ahead}."
    )


def _protocol_notes(interface: Interface, command: Stream) -> Iterator[str]:
    """Say what the run's protocol did to recordings that a stream can only expect."""
    if interface.baseline != "none" and command.baseline == "none":
        yield (
            f"the {interface.baseline} of the first {interface.baseline_rows} rows was subtracted in training; "
            "these samples must come without that offset."
        )
    elif interface.baseline != "none" and command.load_state is None:
        yield (
            f"the {interface.baseline} of the first {interface.baseline_rows} samples is subtracted, as in "
            "training; predictions begin when they are there."
        )
    if interface.resample == "mean" and not command.resample:
        yield (
            f"in training each sample was the mean over the {1 / interface.input_hz:g} s before it; "
            "these must be, too."
        )


@contextmanager
def _open_source(name: str) -> Iterator[BinaryIO]:
    if name == "-":
        yield sys.stdin.buffer
        return
    try:
        file = Path(name).open("rb")  # noqa: SIM115  # closed below
    except OSError as error:
        raise OptionError("input", name, f"a file that can be read ({error.strerror})") from error
    with file:
        yield file


@contextmanager
def _open_sink(name: str) -> Iterator[TextIO]:
    if name == "-":
        yield sys.stdout
        return
    try:
        file = Path(name).open("w", encoding="utf-8")  # noqa: SIM115  # closed below
    except OSError as error:
        raise OptionError("out", name, f"a file that can be written ({error.strerror})") from error
    with file:
        yield file
