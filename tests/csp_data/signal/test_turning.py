"""A gyroscope beside an orientation: motions made with scipy's rotations, and real recordings that are moved."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

import csp_data
from csp_data import Stream
from csp_data.signal.turning import (
    Turning,
    _mounting,
    compare_turning,
    disagreements,
    doubts_of_gravity,
    force_in_room,
)

QUATERNION = ("w", "x", "y", "z")


def turned(time: np.ndarray) -> Rotation:
    """Return the orientations of a body that is turned about all axes."""
    speeds, phases = np.array([[0.7, 1.9, 5.3], [0.9, 2.3, 4.1], [1.1, 1.7, 6.1]]), np.arange(9).reshape(3, 3) ** 2
    return Rotation.from_rotvec((np.sin(speeds * time[:, None, None] + phases) * [0.5, 0.4, 0.15]).sum(axis=2))


def gyroscope(ahead: float = 0.0, seed: int = 0, seconds: float = 40) -> Stream:
    """Return its rates at 100 Hz, with jitter, noise and a bias; its clock is so many seconds ahead."""
    rng = np.random.default_rng(seed)
    time = np.cumsum(0.01 * rng.uniform(0.7, 1.3, round(100 * seconds)))
    rates = (turned(time - 1e-4).inv() * turned(time + 1e-4)).as_rotvec() / 2e-4
    noisy = rates + [0.05, -0.1, 0.02] + 0.02 * rng.normal(size=rates.shape)
    return Stream(time + ahead, noisy, ("x", "y", "z"), "rad/s", "input")


def orientation(turns: Rotation | None = None, first: str = "w") -> Stream:
    """Return what a camera sees at 120 Hz from second 2 to 30, with a second in which it sees nothing."""
    time = np.arange(2, 30, 1 / 120)
    values = (turned(time) if turns is None else turns).as_quat(scalar_first=first == "w")
    values[1000:1120] = np.nan
    return Stream(time, values, QUATERNION, "1", "reference", "rotation")


def compared(one: Stream, other: Stream) -> Turning:
    found = compare_turning(one, other)
    assert found is not None
    return found


@pytest.mark.parametrize("ahead", [0.0, 0.013, -1.7, 6.25, 1.764e9])
def test_the_difference_of_two_clocks_is_found_to_a_millisecond(ahead: float) -> None:
    found = compared(gyroscope(ahead), orientation())
    assert found.shift_s == pytest.approx(-ahead, abs=1e-3)
    assert found.correlation > 0.98
    assert found.left["w x y z from sensor to room"] < 0.01
    np.testing.assert_allclose(np.asarray(found.axes), np.eye(3), atol=0.02)
    assert found.ratio == pytest.approx(1, abs=0.01)
    said = list(disagreements(found))
    if abs(ahead) < 0.03:
        assert found.unshifted > 0.95
        assert said == []
    else:
        ((text, wrong),) = said
        assert wrong
        assert f"add {-ahead:+.3f} s" in text or abs(ahead) > 1e6
        assert ("now" in text) == (abs(ahead) < 1e6)  # so far apart there is nothing to compare


def test_of_real_recordings() -> None:
    for number in (0, 7):
        streams = csp_data.read_recording("sample", number).streams
        measured, true = streams["gyroscope"], streams["orientation"]
        there = compared(measured, true).shift_s
        assert abs(there) < 0.006
        moved = compared(replace(measured, time=measured.time + 0.333), true)
        assert moved.shift_s == pytest.approx(there - 0.333, abs=5e-4)
        assert moved.unshifted < 0.8 < 0.99 < moved.correlation


SWAPPED = [[0, 1, 0], [-1, 0, 0], [0, 0, 1]]
"""A sensor that is turned by a right angle: its x lies along the body's -y, its y along x."""


@pytest.mark.parametrize(
    ("turns", "first", "mounting", "said", "wrong"),
    [
        (lambda r: r, "x", np.eye(3), "agrees with the orientation if that is x y z w from sensor to room", True),
        (lambda r: r.inv(), "w", np.eye(3), "if that is w x y z from room to sensor", True),
        (lambda r: r.inv(), "x", np.eye(3), "if that is x y z w from room to sensor", True),
        (lambda r: r, "w", SWAPPED, "its x, y, z are -y, x, z", False),
        (lambda r: r, "w", np.diag([1, -1, 1]), "its x, y, z are x, -y, z, which no mounting does", True),
        (lambda r: r, "w", Rotation.from_rotvec([0.4, 0, 0.3]).as_matrix(), "turned by 29 degrees", False),
        (lambda r: r, "x", SWAPPED, "only if that is x y z w, or from room to sensor", True),
        (lambda r: r.inv(), "w", SWAPPED, "only if that is x y z w, or from room to sensor", True),
    ],
)
def test_axes_and_orders_are_told_apart(turns, first, mounting, said, wrong) -> None:  # type: ignore[no-untyped-def]
    measured = gyroscope()
    other = orientation(turns(turned(orientation().time)), first)
    found = compared(replace(measured, values=measured.values @ mounting), other)
    assert abs(found.shift_s) < 1e-3
    (((text, is_wrong)),) = disagreements(found)
    assert (said in text, is_wrong) == (True, wrong), text


def test_a_gyroscope_in_another_unit_or_of_another_recording() -> None:
    measured = gyroscope()
    fast = compared(replace(measured, values=np.degrees(measured.values)), orientation())
    assert [(wrong, "turns 57" in text) for text, wrong in disagreements(fast)] == [(True, True)]
    rng = np.random.default_rng(1)
    steps = Rotation.from_rotvec(0.02 * np.cumsum(rng.normal(size=(len(orientation().time), 3)), axis=0))
    ((text, wrong),) = disagreements(compared(measured, orientation(steps)))
    assert ("do not turn alike" in text, wrong) == (True, False)


def test_what_cannot_be_compared() -> None:
    measured, true = gyroscope(), orientation()
    assert compare_turning(gyroscope(seconds=4), true) is None
    assert compare_turning(measured, true.select(slice(0, 1))) is None
    assert compare_turning(measured, replace(true, time=true.time / 1000)) is None  # shorter than what is averaged
    assert compare_turning(measured, replace(true, values=np.full_like(true.values, np.nan))) is None
    still = replace(true, values=np.tile([1.0, 0, 0, 0], (len(true.time), 1)))
    assert compare_turning(measured, still) is None


def test_gaps_that_leave_too_little_in_common_at_any_shift() -> None:
    def pieces(stream: Stream, *starts: float) -> Stream:
        kept = np.any([(stream.time > start) & (stream.time < start + 4) for start in starts], axis=0)
        return replace(stream, time=stream.time[kept], values=stream.values[kept])

    time = np.arange(0, 118, 1 / 120)
    seen = Stream(time, turned(time).as_quat(scalar_first=True), QUATERNION, "1", "reference", "rotation")
    measured = pieces(gyroscope(seconds=120), 0, 30, 90)
    assert compared(measured, pieces(seen, 0, 30, 60)).shift_s == pytest.approx(0, abs=5e-3)  # 8 s in common
    assert compare_turning(measured, pieces(seen, 0, 10, 47)) is None


@pytest.mark.parametrize(("second", "told"), [(1.0, True), (0.0, False)])
def test_turning_about_two_axes_tells_the_third_and_about_one_nothing(second: float, told: bool) -> None:
    time, share = np.arange(0, 30, 0.01), np.array([0.05, 0.05 * second, 0])
    vectors = np.stack([np.sin(6 * time), np.sin(10 * time), 0 * time], axis=1) * share
    rates = (
        np.stack([6 * np.cos(6 * time), 10 * np.cos(10 * time), 0 * time], axis=1) * share
    )  # nearly: they are small
    quaternions = Rotation.from_rotvec(vectors).as_quat(scalar_first=True)
    true = Stream(time, quaternions, QUATERNION, "1", "reference", "rotation")
    found = compared(Stream(time, rates @ SWAPPED, ("x", "y", "z"), "rad/s", "input"), true)
    assert (found.axes is not None) == told
    if found.axes is not None:
        np.testing.assert_allclose(found.axes, SWAPPED, atol=0.05)
    ((text, wrong),) = disagreements(found)
    assert (wrong, "another axis" in text) == (False, not told)


@pytest.mark.parametrize("seed", range(6))
def test_of_two_axes_the_third_is_not_taken_for_mirrored(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mounting, true = Rotation.random(random_state=seed).as_matrix(), rng.normal(size=(300, 3)) * [1, 0.5, 0]
    measured = true @ mounting + 1e-3 * rng.normal(size=true.shape)
    axes, told = _mounting(true, measured)
    np.testing.assert_allclose(axes, mounting, atol=0.01)
    assert told


@pytest.mark.parametrize(
    ("sign", "gravity", "said"),
    [(1, 9.81, ""), (-1, 9.81, "reads gravity downwards"), (1, 0.0, "mean in the room is 0."), (-1, 0.0, "is 0.")],
)
def test_gravity_in_the_room(sign: int, gravity: float, said: str) -> None:
    """A sensor is turned in all ways, and shaken along x."""
    time = np.arange(0, 40, 0.01)
    room = np.stack([3 * np.sin(5 * time), 0 * time, np.full(len(time), gravity)], axis=1)
    measured = Stream(time, sign * turned(time).inv().apply(room), ("x", "y", "z"), "m/s^2", "input")
    force = force_in_room(measured, orientation())
    assert force is not None
    np.testing.assert_allclose(force, [0, 0, sign * gravity], atol=0.1)
    texts = list(doubts_of_gravity(force))
    assert len(texts) == bool(said)
    assert all(said in text for text in texts)
    later = replace(measured, time=time + 100)
    assert force_in_room(later, orientation()) is None


def test_gravity_aslant_is_not_called_downwards() -> None:
    assert list(doubts_of_gravity(np.array([9.0, 0.0, -4.0]))) == []


def test_gravity_in_real_recordings() -> None:
    for number in range(3):
        streams = csp_data.read_recording("sample", number).streams
        force = force_in_room(streams["accelerometer"], streams["orientation"])
        np.testing.assert_allclose(np.asarray(force), [0, 0, 9.81], atol=0.15)
        assert list(doubts_of_gravity(np.asarray(force))) == []
