"""Inputs of recordings without a measured truth: the numbers of a prepared file, and of analytic signals."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.signal import butter, sosfiltfilt

import csp_data
from csp_data import STRICT, LowPass, Protocol, Recording, Stream
from csp_data.errors import CspDataError, DamagedRecordingError


def ramp(time: np.ndarray, *slopes: float, names: str = "abc") -> Stream:
    """Columns that grow by so much a second: linear interpolation gives them back exactly."""
    return Stream(time, time[:, None] * slopes, tuple(names[: len(slopes)]), "m/s^2", "input")


def recording(**streams: Stream) -> Recording:
    return Recording("walk", "me", Path("walk.csv"), streams)


@pytest.mark.parametrize(
    "protocol",
    [
        "strict",
        STRICT.replace(lowpass=LowPass(hz=4, phase="zero"), resample="mean"),
        STRICT.replace(baseline="median", baseline_rows=30, raw_clip=8.0, input_hz=100, target_hz=10),
        STRICT.replace(look_ahead_s=0.4, max_gap_s=None),
    ],
)
def test_inputs_are_those_of_the_prepared_file(protocol: Protocol | str) -> None:
    dataset = csp_data.load("sample", protocol=protocol)
    for episode in (dataset.train[2], dataset.val[0], dataset.test[1]):
        with_truth = csp_data.read_recording("sample", episode.id)
        alone = replace(with_truth, streams={n: s for n, s in with_truth.streams.items() if s.role == "input"})
        (found,), _ = csp_data.input_episodes(alone, dataset.channels.names, dataset.protocol)
        assert found.id == episode.id
        assert np.array_equal(found.inputs, episode.inputs)
        assert np.array_equal(found.time, episode.time)
        assert np.array_equal(found.target_time, episode.target_time)
        assert repr(found) == f"<InputEpisode {episode.id}: inputs {episode.inputs.shape}>"


def test_columns_that_a_source_derives(tmp_path: Path) -> None:
    """Rotation matrices of quaternions, made after resampling."""
    csp_data.simulate("totalcapture", tmp_path / "tree", hours=0.02, seed=0)
    dataset = csp_data.load("totalcapture", raw=tmp_path / "tree", protocol="strict")
    episode = dataset.test[0]
    given = csp_data.read_recording("totalcapture", episode.id, raw=tmp_path / "tree")
    channels = dataset.channels.names
    (found,), _ = csp_data.input_episodes(given, channels, dataset.protocol, source="totalcapture")
    assert np.array_equal(found.inputs, episode.inputs)
    with pytest.raises(CspDataError, match="channel 'rot_Head_00' is in none of its input streams"):
        csp_data.input_episodes(given, channels, dataset.protocol)


def test_clocks_of_their_own_meet_on_one_grid() -> None:
    """Two sensors at 83 and 31 Hz, one of which starts later: the grid begins where both have samples."""
    slow, fast = np.arange(0.37, 20, 1 / 31), np.arange(0, 20, 1 / 83)
    given = recording(skin=ramp(fast, 1.0, -3.0), arm=ramp(slow, 0.5, names="c"))
    (episode,), notes = csp_data.input_episodes(given, ["c", "b"], STRICT)
    assert notes == []
    assert episode.time[0] == pytest.approx(0.37 + 1 / 50)
    assert np.diff(episode.time) == pytest.approx(1 / 50)
    assert episode.target_time == pytest.approx(episode.time[9::10])
    assert episode.inputs == pytest.approx(np.stack([0.5 * episode.time, -3 * episode.time], 1), rel=1e-6)
    assert len(episode.inputs) == 10 * int((slow[-1] - slow[0]) * 5)


def test_a_gap_begins_another_stretch_and_a_short_one_is_kept() -> None:
    """Nothing chooses among stretches here: what fills a step is given, though a benchmark wants 2 s."""
    time = np.arange(0, 30, 1 / 100)
    kept = time[(time < 1.3) | (time > 4) & (time < 4.1) | (time > 9)]
    given = recording(skin=ramp(kept, 1.0))
    limits = STRICT.replace(min_episode_s=5.0, max_duration_s=3.0, recording_s=(1000.0, 2000.0))
    episodes, notes = csp_data.input_episodes(given, ["a"], limits)
    assert [(e.id, len(e.target_time)) for e in episodes] == [("walk.1", 6), ("walk.2", 104)]
    assert [round(float(e.target_time[0]), 6) for e in episodes] == [0.2, 9.21]
    assert [note.what for note in notes] == [
        "gap ends an episode",
        "gap ends an episode",
        "piece shorter than a target step left out",
    ]
    for episode in episodes:
        assert episode.inputs[:, 0] == pytest.approx(episode.time, rel=1e-6)


def test_a_filter_of_phase_zero_sees_the_whole_recording() -> None:
    time = np.arange(0, 10.001, 1 / 50)
    rng = np.random.default_rng(0)
    stream = Stream(time, rng.normal(size=(len(time), 1)), ("a",), "uT", "input")
    (episode,), _ = csp_data.input_episodes(
        recording(s=stream), ["a"], STRICT.replace(lowpass=LowPass(2, phase="zero"))
    )
    sos = butter(3, 2, fs=50, output="sos")
    assert episode.inputs == pytest.approx(sosfiltfilt(sos, stream.values[1:501], axis=0), abs=1e-5)


def test_columns_that_nobody_wants_may_be_broken() -> None:
    time = np.arange(0, 3, 1 / 50)
    stream = ramp(time, 1.0, 2.0)
    stream.values[7, 1] = np.nan
    reference = replace(ramp(time[:4], 1.0, names="z"), role="reference")
    given = recording(skin=stream, other=ramp(time[:5] * 1000, 1.0, names="q"), truth=reference)
    (episode,), notes = csp_data.input_episodes(given, ["a"], STRICT)
    assert episode.inputs.shape == (140, 1)
    assert notes == []
    with pytest.raises(DamagedRecordingError, match=r"walk.csv: channel b of skin at 0.140 s: .*found nan"):
        csp_data.input_episodes(given, ["b"], STRICT)


TIME = np.arange(0, 3, 1 / 50)


@pytest.mark.parametrize(
    ("streams", "error", "message"),
    [
        ({"s": ramp(TIME, 1.0, names="b")}, CspDataError, "channel 'a' is in none of its input streams, .* b"),
        ({"s": ramp(TIME, 1.0), "t": ramp(TIME, 2.0)}, CspDataError, "channel 'a' is in s and t"),
        ({}, CspDataError, "which have: none"),
        ({"s": ramp(1000 * TIME, 1.0)}, DamagedRecordingError, "time in seconds, .* looks like milliseconds"),
        ({"s": ramp(0 * TIME, 1.0)}, DamagedRecordingError, "a clock that goes on"),
        (
            {"s": ramp(TIME * np.nan, 1.0)},
            DamagedRecordingError,
            "time of sample 0 of s: expected a finite number",
        ),
        ({"s": Stream(TIME, TIME, ("a",), "1", "input")}, DamagedRecordingError, r"values \(T, 1\)"),
        ({"s": Stream(TIME[:3], np.array([["x"]] * 3), ("a",), "1", "input")}, DamagedRecordingError, "numbers"),
    ],
)
def test_what_cannot_be_used_is_named(streams: dict[str, Stream], error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        csp_data.input_episodes(recording(**streams), ["a"], STRICT)


def test_nothing_in_common_gives_none_and_says_why() -> None:
    given = recording(s=ramp(TIME, 1.0), t=ramp(TIME + 60, 1.0, names="b"))
    episodes, notes = csp_data.input_episodes(given, ["a", "b"], STRICT)
    assert episodes == []
    assert [note.what for note in notes] == ["recording whose streams have no time in common left out"]


def test_a_jump_of_the_bus_still_excludes() -> None:
    stream = ramp(TIME, 1.0)
    stream.values[50:] += 2000
    episodes, (note,) = csp_data.input_episodes(recording(s=stream), ["a"], STRICT.replace(jump_limit=1000.0))
    assert episodes == []
    assert note.what == "recording with a jump above jump_limit left out"
