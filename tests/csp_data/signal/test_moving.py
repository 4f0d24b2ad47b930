"""An accelerometer beside a position: motions made with scipy's rotations, and real recordings that are moved."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

import csp_data
from csp_data import Stream
from csp_data.signal.moving import Moving, _most_alike, compare_moving, differences, move_alike

SPEEDS = np.array([[0.9, 3.1, 7.7], [1.3, 2.6, 8.9], [1.1, 3.7, 6.4]])
SIZES = np.array([0.3, 0.12, 0.02])
PHASES = np.arange(9).reshape(3, 3) ** 2
UP = {"z": [0, 0, 1], "-y": [0, -1, 0], "x": [1, 0, 0], "nowhere": [0, 0, 0]}


def path(time: np.ndarray) -> np.ndarray:
    """Return where a body is (T, 3) that is shaken by up to about 2 m/s^2."""
    return (np.sin(SPEEDS * time[:, None, None] + PHASES) * SIZES).sum(axis=2)


def accelerometer(ahead: float = 0.0, up: str = "z", seconds: float = 40) -> Stream:
    """Return its force, with jitter, noise and a bias; it turns all the time, and its clock is seconds ahead."""
    rng = np.random.default_rng(0)
    time = np.cumsum(rng.uniform(0.7, 1.3, round(100 * seconds)) / 100)
    accelerations = (-np.sin(SPEEDS * time[:, None, None] + PHASES) * SIZES * SPEEDS**2).sum(axis=2)
    turned = Rotation.from_rotvec(np.stack([2 * np.sin(0.7 * time), time, np.cos(1.3 * time)], axis=1))
    force = turned.inv().apply(accelerations + 9.80665 * np.array(UP[up]))
    return Stream(time + ahead, force + [0.05, -0.1, 0.02] + 0.1 * rng.normal(size=force.shape), ("x", "y", "z"),
                  "m/s^2", "input")  # fmt: skip


def position(noise_m: float = 2e-4, hz: float = 120) -> Stream:
    """Return what a camera sees from second 2 to 30, with a second in which it sees nothing."""
    time = np.arange(2, 30, 1 / hz)
    values = path(time) + noise_m * np.random.default_rng(1).normal(size=(len(time), 3))
    values[len(time) // 3 : len(time) // 3 + round(hz)] = np.nan
    return Stream(time, values, ("x", "y", "z"), "m", "reference")


def compared(one: Stream, other: Stream) -> Moving:
    found = compare_moving(one, other)
    assert found is not None
    return found


@pytest.mark.parametrize("ahead", [0.0, 0.013, -1.7, 6.25, 1.764e9])
@pytest.mark.parametrize("up", UP)
def test_the_difference_of_two_clocks_is_found_to_milliseconds_whichever_way_is_up(ahead: float, up: str) -> None:
    found = compared(accelerometer(ahead, up), position())
    assert found.shift_s == pytest.approx(-ahead, abs=2e-3)
    assert found.correlation > 0.97
    assert found.spread_s < 2e-3
    assert found.ratio == pytest.approx(1, abs=0.05)
    assert found.up == up
    assert move_alike(found)
    said = list(differences(found, gravity=up != "nowhere"))
    if abs(ahead) < 0.03:
        assert found.unshifted > 0.95
        assert said == []
    else:
        ((text, wrong),) = said
        assert wrong
        assert f"add {-ahead:+.3f} s" in text or abs(ahead) > 1e6
        assert ("now" in text) == (abs(ahead) < 1e6)  # so far apart there is nothing to compare


@pytest.mark.parametrize(("noise_m", "hz", "within_s"), [(2e-3, 100, 0.005), (2e-2, 10, 0.03)])
def test_noisy_and_slow_positions(noise_m: float, hz: float, within_s: float) -> None:
    found = compared(accelerometer(0.4), position(noise_m, hz))
    assert found.shift_s == pytest.approx(-0.4, abs=within_s)
    assert found.correlation > 0.9


@pytest.mark.parametrize(("correlation", "up"), [(0.93, "z"), (0.96, "nowhere")])
def test_that_there_is_no_gravity_must_be_plain(correlation: float, up: str) -> None:
    """Half of what another way up leaves."""
    ways = {"z": 0.9, "x": 0.7, "nowhere": correlation}
    found = _most_alike({name: Moving(0.0, value, value, 1.0, 0.0, name) for name, value in ways.items()})
    assert found is not None
    assert found.up == up


def test_the_shifts_of_two_halves_differ_as_the_clocks_drift() -> None:
    """By 0.2 %: over the 14 s from the middle of one half to that of the other."""
    measured = accelerometer()
    found = compared(replace(measured, time=1.002 * measured.time), position())
    assert found.spread_s == pytest.approx(0.002 * 14, abs=2e-3)


def test_a_half_of_which_hardly_anything_is_there_leaves_it_unsure() -> None:
    """After a long gap there is a last sample."""
    measured = accelerometer()
    last = int(np.searchsorted(measured.time, 29))
    kept = [*range(int(np.searchsorted(measured.time, 16))), last]
    found = compared(replace(measured, time=measured.time[kept], values=measured.values[kept]), position())
    assert found.shift_s == pytest.approx(0, abs=2e-3)
    assert found.spread_s == np.inf
    assert not move_alike(found)


def test_gravity_shows_what_is_accelerated_evenly() -> None:
    """On an upright circle the acceleration has one size, and the force has not."""
    time = np.arange(0, 40, 0.01)
    circle = 0.05 * np.stack([np.cos(6 * time), 0 * time, np.sin(6 * time)], axis=1)
    force = Stream(time, [0, 0, 9.80665] - 36 * circle, ("x", "y", "z"), "m/s^2", "input")
    found = compared(force, Stream(time, circle, ("x", "y", "z"), "m", "reference"))
    assert found.correlation > 0.99
    assert found.up == "z"


@pytest.mark.parametrize(
    ("shift_s", "spread_s", "sure"),
    [(0.0, 0.019, True), (0.0, 0.021, False), (0.2, 0.049, True), (-0.2, 0.051, False), (9.0, 0.099, True),
     (9.0, 0.101, False)],
)  # fmt: skip
def test_a_shift_is_sure_if_the_halves_agree_to_a_quarter_of_it(
    shift_s: float, spread_s: float, sure: bool
) -> None:
    assert move_alike(Moving(shift_s, 0.9, 0.1, 1.0, spread_s, "z")) == sure


def test_of_real_recordings() -> None:
    for number in (0, 4, 10):
        streams = csp_data.read_recording("sample", number).streams
        measured, true = streams["accelerometer"], streams["position"]
        turning = csp_data.compare_turning(streams["gyroscope"], streams["orientation"])
        assert turning is not None
        there = compared(measured, true)
        assert there.shift_s == pytest.approx(turning.shift_s, abs=4e-3)
        assert (there.up, list(differences(there, gravity=True))) == ("z", [])
        moved = compared(replace(measured, time=measured.time + 0.333), true)
        assert moved.shift_s == pytest.approx(there.shift_s - 0.333, abs=5e-4)
        assert moved.unshifted < 0.6 < 0.95 < moved.correlation
        ((text, wrong),) = differences(moved)
        assert ("after the position" in text, wrong) == (True, True)


def test_what_should_not_be() -> None:
    without = compared(accelerometer(up="nowhere"), position())
    assert [(wrong, "was it taken off?" in text) for text, wrong in differences(without, gravity=True)] == [
        (False, True)
    ]
    feet = replace(position(), values=position().values / 0.3048)
    assert [
        (wrong, "accelerated 0.3" in text) for text, wrong in differences(compared(accelerometer(), feet))
    ] == [(False, True)]
    late = compared(accelerometer(0.05), position())
    assert [(wrong, "add -0.050 s" in text) for text, wrong in differences(late)] == [(False, True)]


def test_of_other_recordings_and_repeated_motion_nothing_is_said() -> None:
    rng = np.random.default_rng(2)
    other = replace(position(), values=np.cumsum(np.cumsum(1e-4 * rng.normal(size=(3360, 3)), axis=0), axis=0))
    found = compared(accelerometer(), other)
    assert not move_alike(found)
    assert list(differences(found)) == []
    time = np.arange(0, 40, 0.01)
    wave = np.stack([0 * time, 0 * time, np.sin(6 * time)], axis=1)
    force = Stream(time + 0.3, [0, 0, 9.80665] - 3.6 * wave, ("x", "y", "z"), "m/s^2", "input")
    seen = Stream(time[200:], 0.1 * wave[200:], ("x", "y", "z"), "m", "reference")
    periodic = compared(force, seen)
    assert periodic.correlation > 0.99
    assert np.remainder(periodic.shift_s + 0.3 + 0.1, np.pi / 3) == pytest.approx(0.1, abs=5e-3)  # of any period


def test_unrelated_motions_are_not_taken_for_one() -> None:
    """Of all speeds and lengths: the best of all shifts, widths and ways up can be much alike by chance."""
    rng = np.random.default_rng(5)

    def motion(count: int, hz: float) -> np.ndarray:
        frequencies = np.fft.rfftfreq(count, 0.01)
        shape = np.exp(-((frequencies / hz) ** 2))[:, None]
        drawn = (rng.normal(size=(len(frequencies), 3)) + 1j * rng.normal(size=(len(frequencies), 3))) * shape
        accelerations = np.fft.irfft(drawn, count, axis=0)
        return rng.uniform(0.3, 4) * accelerations / accelerations.std()

    for _ in range(25):
        time, hz = np.arange(rng.integers(1200, 3000)) / 100, rng.uniform(0.3, 3)
        one, other = motion(len(time), hz), motion(len(time), hz)
        force = one + [0, 0, 9.80665] + 0.05 * rng.normal(size=one.shape)
        measured = Stream(time + 0.7, force, ("x", "y", "z"), "m/s^2", "input")
        for accelerations, same in ((one, True), (other, False)):
            places = np.cumsum(np.cumsum(accelerations - accelerations.mean(axis=0), axis=0), axis=0) * 1e-4
            found = compare_moving(measured, Stream(time, places, ("x", "y", "z"), "m", "reference"))
            assert (found is not None and move_alike(found)) == same
            assert same or found is None or list(differences(found)) == []


def test_what_cannot_be_compared() -> None:
    measured, true = accelerometer(), position()
    assert compare_moving(accelerometer(seconds=4), true) is None
    assert compare_moving(measured, true.select(slice(0, 2))) is None
    assert compare_moving(measured, replace(true, values=np.full_like(true.values, np.nan))) is None
    assert compare_moving(measured, replace(true, values=np.zeros_like(true.values))) is None
