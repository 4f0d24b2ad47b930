"""Episodes of inputs alone, of a recording without a measured truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt

from csp_data.card import StreamCard, load_card
from csp_data.errors import CspDataError, DamagedRecordingError, OptionError
from csp_data.options import unmasked
from csp_data.prepare.cleaning import check_clocks, reasons_to_drop
from csp_data.prepare.intervals import clean_and_cut
from csp_data.prepare.sampling import Derived, check_finite, sampled_inputs
from csp_data.protocol import Protocol
from csp_data.recording import FloatArray, Note, Recording, Stream
from csp_data.signal.align import Grid
from csp_data.sources import load_source

__all__ = ["InputEpisode", "input_episodes"]


@dataclass(frozen=True, eq=False)
class InputEpisode:
    """A stretch of a recording without a long gap, ready for a model: inputs without targets.

    Parameters
    ----------
    id
        Id of the recording; behind a dot the number of the piece, where gaps cut it into several.
    inputs : array, shape (N * chunk, C), float32
        One row per input sample, in physical units.
    time : array, shape (N * chunk,), float64
        Of each input, in seconds on the recording's clock.
    target_time : array, shape (N,), float64
        End of each target step, in seconds on the same clock.
    """

    id: str
    inputs: npt.NDArray[np.float32]
    time: FloatArray
    target_time: FloatArray

    def __repr__(self) -> str:
        return f"<InputEpisode {self.id}: inputs {self.inputs.shape}>"


def input_episodes(
    recording: Recording, channels: Sequence[str], protocol: Protocol, *, source: Path | str | None = None
) -> tuple[list[InputEpisode], list[Note]]:
    """Prepare a recording's inputs as :func:`csp_data.prepare` does those of a training recording.

    They are aligned, cut at gaps, resampled and filtered as the protocol says. The recording needs no reference
    streams; those that it has are not looked at. What chooses recordings for a benchmark does not apply: neither
    ``recording_s`` nor ``max_duration_s`` nor ``min_episode_s``. Every stretch that fills a target step is given.

    Parameters
    ----------
    recording
        Its input streams, with times in seconds.
    channels
        Names of the C columns that are wanted, in order, as ``Dataset.channels.names`` has them. Each belongs to
        one input stream; other columns and streams are left out.
    protocol
        That of the training data, ``dataset.protocol``. Its filter may be of phase ``"zero"``: the whole recording
        is there.
    source
        Data set whose reader made the recording, needed where its channels are made of a stream after resampling,
        as TotalCapture's rotation matrices of quaternions (``derived`` on the card).

    Returns
    -------
    episodes
        In the order of time; none if the inputs have no whole target step in common.
    notes
        What was repaired or left out.

    Raises
    ------
    OptionError
        If `recording` or `protocol` is something else, such as an array or the name of a protocol.
    UnknownNameError
        If there is no such data set as `source`.
    CspDataError
        If a channel is in no input stream, or in two.
    DamagedRecordingError
        If a clock does not go on or is not in seconds, or a value is not finite.

    Examples
    --------
    >>> import numpy as np
    >>> from pathlib import Path
    >>> import csp_data
    >>> time = np.arange(0, 3, 1 / 83)  # a sensor with a rate of its own
    >>> stream = csp_data.Stream(time, np.sin(time)[:, None], ("x",), "uT", "input")
    >>> recording = csp_data.Recording("walk", "me", Path("walk.csv"), {"skin": stream})
    >>> (episode,), notes = csp_data.input_episodes(recording, ["x"], csp_data.STRICT)
    >>> episode.inputs.shape, episode.target_time[:3].round(3).tolist()
    ((140, 1), [0.2, 0.4, 0.6])
    """
    if not isinstance(cast("object", recording), Recording):
        made = "csp_data.Stream(time, values, channels, unit, 'input')"
        fix = f"Arrays make one: csp_data.Recording(id, group, path, {{name: {made}}})."
        raise OptionError("recording", recording, "a csp_data.Recording", fix)
    if not isinstance(cast("object", protocol), Protocol):
        raise OptionError("protocol", protocol, "the csp_data.Protocol of the training data, dataset.protocol")
    if isinstance(channels, str):
        raise OptionError("channels", channels, "a list of names of channels")
    protocol = protocol.replace(recording_s=None, max_duration_s=None, min_episode_s=0.0)
    derived = _derived_streams(source, protocol)
    streams = _streams_of(recording, channels, derived)
    recording = replace(recording, streams=streams)
    cards = [StreamCard(name, "input", s.channels, s.unit, protocol.input_hz, "") for name, s in streams.items()]
    for _ in check_clocks(recording, cards):
        pass  # its notes compare rates with a card's, and here there is none
    if dropped := next(reasons_to_drop(recording, streams, protocol), None):
        return [], [dropped]
    notes: list[Note] = []
    cleaned, _, grids = clean_and_cut(recording, streams, protocol, notes)
    columns = [column for name, stream in cleaned.items() for column in _columns(name, stream, derived)]
    order = [columns.index(channel) for channel in channels]
    episodes = []
    sampled = sampled_inputs(recording, cleaned, derived, list(grids.values()), protocol)
    for (id_, grid), values in zip(grids.items(), sampled, strict=True):
        inputs = values[:, order]
        check_finite(recording, inputs, channels)
        episodes.append(_episode(id_, inputs.astype("<f4"), grid[next(iter(cleaned))], protocol))
    return episodes, notes


def _episode(id_: str, inputs: npt.NDArray[np.float32], grid: Grid, protocol: Protocol) -> InputEpisode:
    """Give the inputs the times that a prepared data set gives its episodes."""
    start_s = float(grid.origin + grid.edges[0])
    first_input, first_target = (start_s + offset for offset in protocol.first_offset)
    steps = np.arange(len(inputs) // protocol.chunk)
    return InputEpisode(
        id=id_,
        inputs=inputs,
        time=first_input + np.arange(len(inputs)) / protocol.input_hz,
        target_time=first_target + steps / protocol.target_hz,
    )


def _derived_streams(name: Path | str | None, protocol: Protocol) -> Derived:
    if name is None:
        return {}
    card = load_card(name)
    streams = [stream for stream in card.inputs(protocol.inputs) if stream.derived]
    return {stream.name: (stream, card, load_source(card)) for stream in streams}


def _columns(name: str, stream: Stream, derived: Derived) -> tuple[str, ...]:
    """Return the names of the columns that a stream gives to the inputs."""
    return derived[name][0].derived if name in derived else stream.channels


def _streams_of(recording: Recording, channels: Sequence[str], derived: Derived) -> dict[str, Stream]:
    """Return the input streams with wanted channels, as floating-point arrays and with these channels alone."""
    streams = {name: stream for name, stream in recording.streams.items() if stream.role == "input"}
    columns = {name: _columns(name, stream, derived) for name, stream in streams.items()}
    owners = {channel: [name for name in streams if channel in columns[name]] for channel in channels}
    for channel, names in owners.items():
        if len(names) != 1:
            there = ", ".join(chain.from_iterable(columns.values())) or "none"
            found = f"is in {' and '.join(names)}" if names else "is in none"
            raise CspDataError(
                f"{recording.path}: channel {channel!r} {found} of its input streams, which have: {there}. "
                f"Give each of {', '.join(channels)} once."
            )
    return {
        name: _wanted_columns(
            recording,
            name,
            stream,
            [c for c in stream.channels if name in derived or name in owners.get(c, ())],
        )
        for name, stream in streams.items()
        if any(name in names for names in owners.values())
    }


def _wanted_columns(recording: Recording, name: str, stream: Stream, wanted: Sequence[str]) -> Stream:
    try:
        time, values = (np.asarray(unmasked(given), dtype=np.float64) for given in (stream.time, stream.values))
    except (TypeError, ValueError) as error:
        raise DamagedRecordingError(recording.path, name, "arrays of numbers", str(error)) from error
    if values.shape != (*time.shape, len(stream.channels)) or values.ndim != 2:
        expected = f"times (T,) and values (T, {len(stream.channels)}), a column for each channel"
        raise DamagedRecordingError(recording.path, name, expected, f"{time.shape} and {values.shape}")
    if stream.kind == "vector":
        columns = [stream.channels.index(channel) for channel in wanted]
        return replace(stream, time=time, values=values[:, columns], channels=tuple(wanted))
    return replace(stream, time=time, values=values)  # the four numbers of a rotation belong together
