"""From one recording to episodes: what is repaired, left out and cut, on straight lines with known values."""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csp_data import PAPER, STRICT, Protocol, Recording, Stream
from csp_data.card import Card, StreamCard, TargetCard, load_card
from csp_data.errors import DamagedRecordingError
from csp_data.prepare.examples import Example, examples
from csp_data.recording import Note
from csp_data.sources import Source

Array = npt.NDArray[np.float64]

STREAMS = (
    StreamCard("a", "input", ("a1", "a2"), "1", 100.0, "made"),
    StreamCard("b", "input", ("b1",), "V", 100.0, "made"),
    StreamCard("truth", "reference", ("x",), "m", 30.0, "made"),
)
TARGET = TargetCard("moved", ("x",), "m", increment=True, summary="its change over the step")
SOURCE = Source(lambda root: [], lambda *given: None, "", {"moved": lambda edges: np.diff(edges["truth"], axis=0)})  # type: ignore[arg-type,return-value]
CARD = dataclasses.replace(load_card("broad"), name="made", streams=STREAMS, targets=(TARGET,))
REPEATED = "samples with a repeated or backward time left out"
INTERPOLATED = "reference samples without a value interpolated"
GAP = "gap ends an episode"
TOO_SHORT = "piece too short for the grid left out"
SHORT = "piece shorter than min_episode_s left out"
JUMP = "recording with a jump above jump_limit left out"
LENGTH = "recording of a length outside recording_s left out"


def line(time: Array, *slopes: float) -> Array:
    return time[:, None] * np.array(slopes)


def cut(
    time: Array | None = None,
    *,
    seconds: float = 10.0,
    active: tuple[float, float] | None = None,
    card: Card = CARD,
    protocol: Protocol = STRICT,
    change: Callable[[dict[str, Array]], object] = lambda values: None,
    **options: Any,
) -> tuple[list[Example], list[Note]]:
    """Cut a recording of lines of slopes 1, -2, 3 (inputs) and 5 (truth); a and b share a clock."""
    time = np.arange(round(seconds * 100) + 1) / 100 if time is None else time
    slow = np.arange(round(time[-1] * 30) + 1) / 30
    slow = np.append(slow[slow < time[-1]], time[-1])
    values = {"a": line(time, 1, -2), "b": line(time, 3), "truth": line(slow, 5)}
    change(values)
    clocks = {"a": time, "b": time, "truth": slow}
    streams = {one.name: Stream.of(one, clocks[one.name], values[one.name]) for one in STREAMS}
    recording = Recording("r", "r", Path("made"), streams, active=active)
    return examples(recording, card, SOURCE, protocol.replace(**options))


def counts(notes: list[Note], what: str) -> list[str]:
    return [note.detail for note in notes if note.what == what]


def spans(episodes: list[Example]) -> list[tuple[float, float]]:
    """Begin and end of each episode in seconds, after a look at its numbers."""
    found = []
    for episode in episodes:
        steps = len(episode.targets)
        time = episode.start_s + np.arange(1, 10 * steps + 1) / 50
        np.testing.assert_allclose(episode.inputs, line(time, 1, -2, 3), atol=1e-9)
        np.testing.assert_allclose(episode.targets, np.full((steps, 1), 5.0), atol=1e-9)
        found.append((round(episode.start_s, 6), round(episode.start_s + steps / 5, 6)))
    return found


def test_a_whole_recording_is_one_episode_without_notes() -> None:
    episodes, notes = cut(seconds=10.13)
    assert notes == []
    assert [episode.id for episode in episodes] == ["r"]
    assert spans(episodes) == [(0.0, 10.0)]
    assert episodes[0].columns == ("a1", "a2", "b1")
    assert episodes[0].units == ("1", "1", "V")


def test_repeated_and_backward_times_are_counted_once_for_a_clock() -> None:
    time = np.arange(1001) / 100
    time[[300, 301, 302, 500]] = time[[299, 299, 299, 498]]
    episodes, notes = cut(time)
    assert counts(notes, REPEATED) == ["a, b: 4"]
    assert spans(episodes) == [(0.0, 10.0)]


def test_one_time_far_too_late_is_told_since_it_costs_all_that_follow() -> None:
    time = np.arange(1001) / 100
    assert [note.kind for note in cut(np.where(time == 9.5, 9.9, time))[1] if note.what == REPEATED] == ["repair"]
    episodes, notes = cut(np.where(time == 3, 1003, time))
    assert spans(episodes) == [(0.0, 2.8)]
    assert [(note.kind, note.detail) for note in notes if note.what == REPEATED] == [
        ("warning", "a, b: 700 of 1001")
    ]


def test_references_without_a_value_are_counted_where_they_are_used() -> None:
    def blind(values: dict[str, Array]) -> None:
        values["truth"][[40, 41, 150, 290]] = np.nan

    episodes, notes = cut(change=blind, active=(2.0, 7.0))
    assert spans(episodes) == [(1.0, 8.0)]  # a second of rest stays at both ends
    assert counts(notes, INTERPOLATED) == ["truth: 3"]  # not the last one, at 9.67 s
    assert counts(cut(change=blind)[1], INTERPOLATED) == ["truth: 4"]


@pytest.mark.parametrize(
    ("active", "trim", "expected"),
    [
        ((2.0, 7.0), 0.5, [(1.5, 7.5)]),
        ((2.0, 7.0), None, [(0.0, 10.0)]),
        ((0.5, 9.9), 1.0, [(0.0, 10.0)]),
        (None, 1.0, [(0.0, 10.0)]),
        ((12.0, 13.0), 1.0, []),
        ((-3.0, -1.0), 1.0, []),
    ],
)
def test_rest_is_trimmed_around_the_active_part(
    active: tuple[float, float] | None, trim: float | None, expected: list[tuple[float, float]]
) -> None:
    episodes, notes = cut(active=active, trim_rest_s=trim)
    assert spans(episodes) == expected
    assert [note.kind for note in notes] == ["drop"] * (not expected)


def test_gaps_end_episodes_and_short_ones_are_left_out() -> None:
    time = np.arange(1201) / 100
    time = np.delete(time, [*range(401, 450), *range(600, 700), *range(799, 820)])
    episodes, notes = cut(time)
    assert spans(episodes) == [(0.0, 4.0), (8.2, 12.0)]  # from 4.5 to 5.99 and 7 to 7.98 s there are less than 2 s
    assert [episode.id for episode in episodes] == ["r.1", "r.2"]
    assert counts(notes, GAP) == ["0.500 s at 4.000 s", "1.010 s at 5.990 s", "0.220 s at 7.980 s"]
    assert counts(notes, SHORT) == ["1.490 s", "0.980 s"]
    assert spans(cut(time, min_episode_s=4.0)[0]) == [(0.0, 4.0)]
    assert spans(cut(time, min_episode_s=1.49)[0]) == [(0.0, 4.0), (4.5, 5.9), (8.2, 12.0)]
    assert spans(cut(time, max_gap_s=0.5)[0]) == [(0.0, 5.8), (7.0, 12.0)]
    assert spans(cut(time, max_gap_s=None)[0]) == [(0.0, 12.0)]


def test_a_stream_is_integrated_once_however_many_episodes_it_has() -> None:
    """It was for every episode, so that the work grew with the square of a recording's length."""
    time = np.arange(3001) / 100
    time = np.delete(time, [i for gap in range(300, 2900, 300) for i in range(gap, gap + 30)])
    integrations = 0

    def count(frame: FrameType, event: str, _value: object) -> None:
        nonlocal integrations
        integrations += event == "call" and frame.f_code.co_name == "cumsum"

    sys.setprofile(count)
    try:
        episodes, _ = cut(time, resample="mean")
    finally:
        sys.setprofile(None)
    assert len(episodes) == 10
    assert integrations == 2  # a and b
    for episode in episodes:  # the mean of a line over 20 ms is that in their middle
        middle = episode.start_s + np.arange(1, len(episode.inputs) + 1) / 50 - 0.01
        np.testing.assert_allclose(episode.inputs, line(middle, 1, -2, 3), atol=1e-9)


def test_the_published_protocol_leaves_nothing_out() -> None:
    """Neither short recordings, nor what lies in gaps, nor rest: whole seconds from the first sample are used."""
    for time in (np.arange(131) / 100, np.delete(np.arange(1031) / 100, range(300, 900))):
        [episode], notes = cut(time, protocol=PAPER, active=(0.4, 0.5))
        seconds = int(time[-1])
        assert (episode.start_s, episode.targets.shape, notes) == (0.0, (5 * seconds, 1), [])
        np.testing.assert_allclose(episode.inputs, line(np.arange(50 * seconds) / 50, 1, -2, 3), atol=1e-9)
        np.testing.assert_allclose(episode.targets[:, 0], [0.0, *np.full(5 * seconds - 1, 1.0)], atol=1e-9)


@pytest.mark.parametrize("limit", [None, 100.0])
def test_a_piece_of_less_than_a_second_holds_no_published_grid(limit: float | None) -> None:
    time = np.delete(np.arange(1001) / 100, range(300, 350))
    time = np.delete(time, (time > 4.25) & (time < 5))
    episodes, notes = cut(time, grid="own-start", min_episode_s=0, max_duration_s=limit)
    assert [episode.start_s for episode in episodes] == [0.0, 5.0]
    assert counts(notes, TOO_SHORT) == ["0.750 s in common"]


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        (
            lambda values: values["truth"].fill(np.nan),
            "a 0.000 to 10.000 s, b 0.000 to 10.000 s, truth without samples",
        ),
        (lambda values: values["truth"][:-1].fill(np.nan), "truth 10.000 to 10.000 s"),
    ],
)
def test_streams_without_a_time_in_common(change: Callable[[dict[str, Array]], object], detail: str) -> None:
    episodes, [*_, note] = cut(change=change)
    assert episodes == []
    assert note.kind == "drop"
    assert detail in note.detail


def test_a_clock_of_one_sample_is_no_broken_one() -> None:
    episodes, [note] = cut(np.zeros(1))
    assert episodes == []
    assert note.kind == "drop"


@pytest.mark.parametrize(("factor", "said"), [(0.3, True), (0.35, False), (2.9, False), (3.1, True)])
def test_the_rate_of_an_input_unlike_the_cards_is_said(factor: float, said: bool) -> None:
    episodes, notes = cut(np.arange(1001) / 100 * factor)  # that of the reference is what it should be
    rates = [note for note in notes if note.kind == "warning"]
    assert [note.detail.split(":")[0] for note in rates] == ["a", "b"] * said
    assert all(f"found {100 / factor:.3g} Hz" in note.detail for note in rates)
    assert len(episodes) == 1
    slow = dataclasses.replace(CARD, streams=(*STREAMS[:2], dataclasses.replace(STREAMS[2], rate_hz=30 * factor)))
    assert cut(card=slow)[1] == []  # of a reference nothing is said


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("stream", ["a", "truth"])
def test_numbers_that_float32_does_not_hold(stream: str, sign: int) -> None:
    largest = float(np.finfo(np.float32).max)

    def peak(size: float) -> Callable[[dict[str, Array]], object]:
        return lambda values: values[stream][150:153, 0].fill(sign * size)

    if stream == "a":
        assert np.isfinite(cut(change=peak(largest))[0][0].stored().inputs).all()
    with pytest.raises(
        DamagedRecordingError, match=r"(a1|x), row \d+ of an episode: expected finite numbers"
    ) as caught:
        cut(change=peak(largest * 1.01))
    row = re.search(r"row (\d+)", str(caught.value))
    assert row is not None
    assert int(row[1]) == (74 if stream == "a" else 24)  # at 1.5 s with 50 rows a second, and at 5 s with 5


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 90), st.sampled_from(["common", "own-start"]))
def test_the_longest_duration_is_that_of_all_episodes(tenths: int, grid: str) -> None:
    """What is left after an episode is used by the next; what is less than a step leaves no piece out."""
    time = np.delete(np.arange(1001) / 100, range(351, 400))
    whole, _ = cut(time, grid=grid, min_episode_s=0)
    episodes, notes = cut(time, grid=grid, min_episode_s=0, max_duration_s=tenths / 10)
    left = tenths / 10
    for one, other in zip(whole, [*episodes, None, None], strict=False):
        steps = min(len(one.targets), int(int(left) * 5 if grid == "own-start" else left * 5 + 1e-6))
        assert len(other.targets if other is not None else ()) == steps
        if other is not None:
            np.testing.assert_array_equal(other.targets, one.targets[:steps])
            np.testing.assert_array_equal(other.inputs, one.inputs[: 10 * steps])
        left -= steps / 5
    assert len(counts(notes, TOO_SHORT)) == 2 * (not episodes)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(
    ("stream", "size", "left_out"), [("a", 7.9, False), ("a", 8.1, True), ("truth", 80, False)]
)
def test_a_jump_of_an_input_beyond_the_limit(sign: int, stream: str, size: float, left_out: bool) -> None:
    def jump(values: dict[str, Array]) -> None:
        values[stream][200:, 0] = values[stream][199, 0] + sign * size

    episodes, notes = cut(change=jump, jump_limit=8.0)
    assert len(episodes) == (not left_out)
    assert [(note.what, note.kind) for note in notes] == [(JUMP, "drop")] * left_out


def test_a_single_sample_makes_no_episode_and_no_jump() -> None:
    episodes, notes = cut(np.zeros(1), jump_limit=8.0)
    assert (episodes, counts(notes, JUMP)) == ([], [])


@pytest.mark.parametrize(
    ("seconds", "used"), [(4.49, False), (4.5, False), (4.51, True), (6.5, True), (6.51, False), (9.0, False)]
)
def test_durations_are_rounded_to_whole_seconds_halves_to_even(seconds: float, used: bool) -> None:
    episodes, notes = cut(seconds=seconds, recording_s=(5, 6))
    assert len(episodes) == used
    assert [(note.what, note.kind) for note in notes] == [(LENGTH, "drop")] * (not used)  # once, of all streams


def test_the_baseline_is_that_of_the_first_rows_and_the_clip_comes_after_it() -> None:
    def offset(values: dict[str, Array]) -> None:
        values["a"] += [70.0, -30.0]
        values["a"][1, 0] += 100.0

    plain = cut(change=offset)[0][0].inputs
    only = cut(change=offset, raw_clip=50.0)[0][0].inputs
    np.testing.assert_allclose(only, np.clip(plain, -50, 50), atol=1e-9)
    for kind, rows, baseline in (
        ("mean", 4, [70.015 + 25, -30.03, 0.045]),
        ("median", 4, [70.025, -30.03, 0.045]),
        ("median", 5, [70.03, -30.04, 0.06]),
    ):
        found = cut(change=offset, baseline=kind, baseline_rows=rows)[0][0]
        np.testing.assert_allclose(found.inputs, plain - baseline, atol=1e-9)
        clipped = cut(change=offset, baseline=kind, baseline_rows=rows, raw_clip=4.0)[0][0]
        # at the corners alone a clip before the grid is another than after it
        np.testing.assert_allclose(clipped.inputs, np.clip(plain - baseline, -4, 4), atol=0.06)
        assert np.abs(clipped.inputs).max() == 4.0
        np.testing.assert_array_equal(clipped.targets, found.targets)
