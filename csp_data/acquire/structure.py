"""Check a recording for which there is no digest: it opens as its card says, and its numbers are possible."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import joblib
import numpy as np

from csp_data.card import Card
from csp_data.errors import CspDataError, DamagedRecordingError, SourceError
from csp_data.parallel import processes
from csp_data.protocol import Protocol, resolve
from csp_data.recording import Stream
from csp_data.signal.plausible import RATE_TOLERANCE, describe_rate, median_step
from csp_data.sources import Found, load_source, read_found

__all__ = ["structure_problems"]


Problem = tuple[Path, str, bool]
"""The file at fault, what is wrong with it, and whether its reader may be to blame instead."""


def structure_problems(card: Card, found: Sequence[Found], jobs: int) -> list[Problem | None]:
    """Read recordings and return what is wrong with each; ``None`` where nothing is.

    Parameters
    ----------
    card
        What they should be.
    found
        The recordings.
    jobs
        Processes at most, when there is enough to read.
    """
    protocol = resolve(card)
    size = sum(file.stat().st_size for recording in found for file in recording.files if file.is_file())
    work = (joblib.delayed(_recording_problem)(recording, card, protocol) for recording in found)
    return list(joblib.Parallel(n_jobs=processes(jobs, size))(work))


def _recording_problem(found: Found, card: Card, protocol: Protocol) -> Problem | None:
    try:
        with np.errstate(all="ignore"):  # what is no number is looked for below
            recording = read_found(load_source(card), found, card, protocol)
    except DamagedRecordingError as error:
        return error.path, error.problem, False
    except CspDataError as error:
        return found.files[0], str(error), isinstance(error, SourceError)
    for name, stream in recording.streams.items():
        nominal_hz = card.stream(name).rate_hz if stream.role == "input" else None  # truth comes at many rates
        if problem := _stream_problem(stream, nominal_hz):
            return found.files[0], f"stream {name}: {problem}", False
    return None


def _stream_problem(stream: Stream, nominal_hz: float | None) -> str:
    if len(stream.time) < 2:
        return f"expected samples, found {len(stream.time)}"
    if not np.isfinite(stream.time).all():
        return "expected finite times"
    step = median_step(stream.time)
    if step <= 0:
        return f"expected a clock, found a median step of {step:g} s"
    if nominal_hz is not None and not 1 / RATE_TOLERANCE < step * nominal_hz < RATE_TOLERANCE:
        return f"expected about {nominal_hz:g} Hz, time in seconds, found {describe_rate(step, nominal_hz)}"
    finite = np.isfinite(stream.values)
    if stream.role == "input" and not finite.all():
        row, column = np.argwhere(~finite)[0]
        return (
            f"expected finite values, found {stream.values[row, column]} in {stream.channels[column]}, row {row}"
        )
    return "" if finite.any() else "expected finite values, found none"
