"""A file of samples, in the format of a stream, as a recording."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from baselines.errors import CspDataError
from baselines.runs.interface import Interface
from baselines.stream.line_protocol import TIME, Sample, SampleError, read_samples
from csp_data import Recording, Stream
from csp_data.signal.plausible import implausible

__all__ = ["SampleFileError", "recorded"]

logger = logging.getLogger(__name__)


OTHER_LAYOUT = "Files of another layout are read by the reader of a data set: --dataset and --raw."


class SampleFileError(CspDataError):
    """A file that holds no recording."""


def recorded(lines: Iterable[bytes], interface: Interface, id_: str, path: Path) -> Recording:
    """Read all samples of a file, as :func:`~baselines.stream.line_protocol.read_samples` does.

    Parameters
    ----------
    lines
        CSV with a header, or JSON lines. A column ``time`` has the samples' times in seconds, at whatever rate;
        without it, they lie as far apart as those of the training data.
    interface
        Names the channels.
    id_, path
        Of the recording.

    Raises
    ------
    SampleFileError
        If there is no sample, a line is none, or only some have a time; the message names the line.
    """
    times: list[float | None] = []
    rows: list[npt.NDArray[np.float64]] = []
    for time, values in _samples(lines, interface, path):
        if rows and (time is None) != (times[0] is None):
            there, other = ("with", "without") if times[0] is not None else ("without", "with")
            raise SampleFileError(
                f"{path}: sample {len(rows) + 1} is {other} a {TIME}, the ones before it are {there} one. "
                f"Give every sample a {TIME} in seconds, or none."
            )
        times.append(time)
        rows.append(values)
    if not rows:
        raise SampleFileError(f"{path}: no sample. Expected a header, and a line for each sample.")
    if times[0] is None:
        step = 1 / interface.input_hz
        logger.warning(
            "%s: no column %s; its samples are taken to be %g s apart, as in training", path, TIME, step
        )
        clock = np.arange(len(rows)) / interface.input_hz
    else:
        clock = np.array(times, dtype=np.float64)
    samples = Stream(clock, np.array(rows), interface.inputs, ", ".join(interface.input_units), "input")
    for problem in _wrong_units(samples, interface):
        logger.warning("%s: %s", path, problem)
    return Recording(id_, id_, path, {"samples": samples})


def _samples(lines: Iterable[bytes], interface: Interface, path: Path) -> Iterator[Sample]:
    try:
        for sample in read_samples(lines, interface.inputs, whole=True):
            if isinstance(sample, SampleError):
                raise SampleFileError(f"{path}, {sample}") from sample
            yield sample
    except SampleError as error:  # its header is none
        raise SampleFileError(f"{path}, {error}").or_else("" if error.fix else OTHER_LAYOUT) from error


def _wrong_units(samples: Stream, interface: Interface) -> Iterator[str]:
    """Yield which channels have values that contradict the unit they had in training."""
    for unit in dict.fromkeys(interface.input_units):
        columns = [i for i, other in enumerate(interface.input_units) if other == unit]
        names = tuple(interface.inputs[i] for i in columns)
        for problem in implausible(replace(samples, values=samples.values[:, columns], channels=names, unit=unit)):
            yield f"{', '.join(names)}: {problem}"
