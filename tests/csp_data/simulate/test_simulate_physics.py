"""The simulated physics against closed forms, other formulations and its own derivatives."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from csp_data.simulate import hysteresis, quaternions
from csp_data.simulate.body import draw_body
from csp_data.simulate.clock import Clock
from csp_data.simulate.curves import GaitCurve, Segments, SplineCurve, SumCurve, TurnedCurve
from csp_data.simulate.imu import ImuModel, drift
from csp_data.simulate.magnetic import HEIGHT, Contact, Skin, dipole_field
from csp_data.simulate.motion import GRAVITY, Inertial, RigidMotion, Walk, wander
from csp_data.simulate.skeleton import BONES, SENSORS, strapped

IDENTITY = np.array([[1.0], [0.0], [0.0], [0.0]])


def rotations(q: np.ndarray) -> Rotation:
    return Rotation.from_quat(q.T, scalar_first=True)


def central(f, time: np.ndarray, h: float = 1e-3) -> np.ndarray:
    """First derivative by the five-point formula: its error is h^4 / 30 times the fifth derivative."""
    return (8 * (f(time + h) - f(time - h)) - (f(time + 2 * h) - f(time - 2 * h))) / (12 * h)


# ---------------------------------------------------------------------------------------------------------- curves


def test_spline_reproduces_a_quintic_and_its_derivatives():
    power = np.polynomial.Polynomial([0.3, -1.0, 0.5, 0.2, -0.1, 0.02])
    knots = 0.7 * np.arange(12) - 1.4
    curve = SplineCurve.through(-1.4, 0.7, np.stack([power(knots), -power(knots)], axis=1))
    time = np.linspace(-1.4, 6.2, 201)
    for order in range(3):
        wanted = power.deriv(order)(time) if order else power(time)
        np.testing.assert_allclose(curve(time, order), [wanted, -wanted], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("order", [1, 2])
def test_gait_derivatives(order):
    rng = np.random.default_rng(3)
    phase = SplineCurve.through(-2.0, 1.0, np.cumsum(rng.uniform(5, 8, (14, 1)), axis=0))
    effort = SplineCurve.through(-2.0, 1.0, rng.uniform(0, 1, (14, 1)))
    gait = GaitCurve(phase, effort, rng.normal(size=(2, 3)), rng.uniform(0, 6, (2, 3)))
    turned = TurnedCurve(wander(rng, 8.0, 1.0, np.ones(1)), gait)
    curve = SumCurve((gait, turned, wander(rng, 8.0, 0.8, np.ones(3))))
    time = np.linspace(0.1, 8.0, 301)
    wanted = central(lambda t: curve(t, order - 1), time)
    scale = np.abs(wanted).max()
    np.testing.assert_allclose(curve(time, order), wanted, atol=1e-6 * scale)


def test_moves_start_and_end_at_rest_and_reach_their_ends():
    rng = np.random.default_rng(0)
    points, bulge = rng.normal(size=(5, 2)), rng.normal(size=(4, 2))
    path = Segments(np.array([0.5, 1.6, 3.0, 4.1]), np.ones(4), points[:-1], points[1:], bulge)
    np.testing.assert_allclose(path(np.array([0.0, 0.5, 1.5, 1.55, 9.0])).T, points[[0, 0, 1, 1, 4]], atol=1e-12)
    np.testing.assert_allclose(path(np.array([0.5, 1.5, 1.55, 5.1]), 1), 0.0, atol=1e-12)
    middle = path(np.array([1.0]))[:, 0]
    np.testing.assert_allclose(middle, (points[0] + points[1]) / 2 + bulge[0], rtol=1e-12)
    time = np.linspace(0.55, 1.45, 50)
    np.testing.assert_allclose(path(time, 1), central(path, time), atol=1e-6)


# ------------------------------------------------------------------------------------------------------- rotations


def test_quaternions_agree_with_scipy():
    rng = np.random.default_rng(1)
    angles, vectors = rng.uniform(-3, 3, (3, 50)), rng.normal(size=(3, 50))
    a, b = quaternions.euler(angles), quaternions.small(vectors)
    assert (rotations(a) * Rotation.from_euler("ZYX", angles.T).inv()).magnitude().max() < 1e-12
    assert (rotations(b) * Rotation.from_rotvec(vectors.T).inv()).magnitude().max() < 1e-12
    product = rotations(quaternions.multiply(a, quaternions.conjugate(b)))
    assert (product * (rotations(a) * rotations(b).inv()).inv()).magnitude().max() < 1e-12
    np.testing.assert_allclose(quaternions.rotate(a, vectors).T, rotations(a).apply(vectors.T), atol=1e-12)
    np.testing.assert_allclose(quaternions.small(np.zeros((3, 1))), IDENTITY, atol=0)


def test_euler_rates_are_the_rates_of_the_rotation():
    curve = wander(np.random.default_rng(2), 6.0, 0.9, np.array([1.5, 0.9, 1.2]))
    time, h = np.linspace(0.2, 6.0, 200), 1e-4
    angles, first, second = (curve(time, order) for order in range(3))
    rate = quaternions.euler_rate(angles, first)
    before, after = (rotations(quaternions.euler(curve(time + s * h))) for s in (-0.5, 0.5))
    # the rotation from one sample to the next, in the turned frame; its error is of the order of h^2
    np.testing.assert_allclose((before.inv() * after).as_rotvec().T / h, rate, atol=1e-6)
    wanted = central(lambda t: quaternions.euler_rate(curve(t), curve(t, 1)), time)
    np.testing.assert_allclose(quaternions.euler_spin(angles, first, second), wanted, atol=1e-6)


# --------------------------------------------------------------------------------------------- inertial navigation


def largest(values: np.ndarray) -> float:
    return float(np.sqrt((values**2).sum(axis=0)).max())


def strapdown(truth: Inertial, time: np.ndarray, start: np.ndarray, velocity: np.ndarray):
    """Integrate an IMU: mean rate over each step for the rotation, trapezoids for velocity and position."""
    h = np.diff(time)
    turns = Rotation.from_rotvec(((truth.rate[:, 1:] + truth.rate[:, :-1]) / 2 * h).T)
    attitude = [rotations(truth.orientation[:, :1])[0]]
    for turn in turns:
        attitude.append(attitude[-1] * turn)
    attitude = Rotation.concatenate(attitude)
    acceleration = attitude.apply(truth.force.T) - [0, 0, GRAVITY]
    speed = velocity + np.concatenate(
        [np.zeros((1, 3)), np.cumsum((acceleration[1:] + acceleration[:-1]) / 2 * h[:, None], axis=0)]
    )
    place = start + np.concatenate(
        [np.zeros((1, 3)), np.cumsum((speed[1:] + speed[:-1]) / 2 * h[:, None], axis=0)]
    )
    return attitude, place


def integration_errors(motion: RigidMotion, mount: np.ndarray, seconds: float, hz: float):
    time = np.arange(round(seconds * hz) + 1) / hz
    truth = motion.inertial(time, mount)
    attitude, place = strapdown(truth, time, motion.position(time[:1])[:, 0], motion.position(time[:1], 1)[:, 0])
    turned = (attitude * rotations(truth.orientation).inv()).magnitude().max()
    return turned, place - motion.position(time).T


def error_bounds(motion: RigidMotion, mount: np.ndarray, seconds: float, hz: float):
    """Bounds of the scheme's errors over a time T with steps h, from the derivatives of the true motion.

    Rotation: the mean of two rates misses h^3 / 12 |w''|, and the rotation vector the commutator h^3 / 12 |w x w'|
    (Magnus expansion); T / h such steps add up to at most D = T h^2 / 12 (|w''| + |w x w'|).
    Velocity: the trapezoid of the acceleration misses T h^2 / 12 |a''|, and a rotation wrong by D turns the force:
    T |f| D. Position: T times that, and T h^2 / 12 |v''| of its own trapezoid. Terms of higher order in h are
    below a tenth of these here.
    """
    h = 1 / hz
    time = np.arange(0.05, seconds - 0.05, h / 4)

    def rate(t):
        return motion.inertial(t, mount).rate

    first = central(rate, time)
    second = central(lambda t: central(rate, t), time)
    bend = largest(central(lambda t: central(lambda s: motion.position(s, 2), t), time))
    jerk = largest(central(lambda t: motion.position(t, 2), time))
    step = seconds * h**2 / 12
    turned = step * (largest(second) + largest(quaternions.cross(rate(time), first)))
    speed = step * bend + seconds * largest(motion.inertial(time, mount).force) * turned
    return 1.1 * turned, 1.1 * (seconds * speed + step * jerk)


def hand_held(rng: np.random.Generator) -> RigidMotion:
    reach, turn = np.array([0.3, 0.3, 0.15]), np.array([0.6, 0.4, 0.4])
    return RigidMotion(wander(rng, 10.0, 0.7, reach), wander(rng, 10.0, 0.7, turn))


def walking(rng: np.random.Generator) -> RigidMotion:
    return Walk.random(rng, 10.0).carried(rng, 10.0, 0.2, 0.1, 1.0)


@pytest.mark.parametrize("make", [hand_held, walking])
@pytest.mark.parametrize("seed", [0, 1])
def test_integrating_the_ideal_imu_gives_the_trajectory_back(make, seed):
    rng = np.random.default_rng(seed)
    motion, mount = make(rng), quaternions.random(rng)
    (turned, place), (finer_turned, finer_place) = (
        integration_errors(motion, mount, 10.0, hz) for hz in (200.0, 400.0)
    )
    missed, finer_missed = (np.linalg.norm(rows, axis=1).max() for rows in (place, finer_place))
    bounds = error_bounds(motion, mount, 10.0, 200.0)
    assert turned < bounds[0]
    assert missed < bounds[1]
    # second order: half the step, a quarter of the error. A motion whose IMU is wrong does not converge at all
    assert turned / finer_turned == pytest.approx(4.0, rel=0.1)
    assert missed / finer_missed == pytest.approx(4.0, rel=0.1)
    # without the error of second order (Richardson), less than 1 mm is left after 10 s
    assert np.linalg.norm((4 * finer_place[::2] - place) / 3, axis=1).max() < 1e-3


def test_at_rest_the_force_is_gravity_upwards():
    knots = np.zeros((8, 3))
    angles = np.tile([0.4, -0.3, 1.1], (8, 1))
    motion = RigidMotion(SplineCurve.through(0.0, 1.0, knots), SplineCurve.through(0.0, 1.0, angles))
    truth = motion.inertial(np.linspace(1, 5, 20), quaternions.random(np.random.default_rng(5)))
    up = quaternions.rotate(truth.orientation, truth.force)
    np.testing.assert_allclose(up, np.array([[0.0], [0.0], [9.81]]) + np.zeros((1, 20)), atol=1e-10)
    np.testing.assert_allclose(truth.rate, 0.0, atol=1e-10)


def test_imu_errors_are_those_of_the_model():
    model = ImuModel(force_noise=0.03, rate_noise=0.004, force_bias=0.2, rate_bias=0.1, rate_walk=0.01, scale=0.02)
    time = np.arange(40_000) / 200
    truth = Inertial(
        np.full((3, len(time)), 5.0), np.full((3, len(time)), -1.0), np.repeat(IDENTITY, len(time), 1)
    )
    measured = model.measure(truth, time, np.random.default_rng(0))
    noise = measured.scale[:, None] * (measured.force - measured.force_bias[:, None]) - truth.force
    # standard errors: of a mean sigma / sqrt(n), of a deviation sigma / sqrt(2 n); five of them
    assert np.abs(noise.mean(axis=1)).max() < 5 * 0.0315 / np.sqrt(len(time))
    np.testing.assert_allclose(noise.std(axis=1) / measured.scale, 0.03, rtol=5 / np.sqrt(2 * len(time)))
    rest = measured.rate - measured.rate_bias[:, None] - measured.walk - truth.rate
    np.testing.assert_allclose(rest.std(axis=1), 0.004, rtol=5 / np.sqrt(2 * len(time)))


def test_random_walks_spread_with_the_square_root_of_time():
    walks = drift(np.random.default_rng(0), np.array([0.0, 25.0, 100.0]), 0.3, 4000)
    np.testing.assert_array_equal(walks[:, 0], 0.0)
    np.testing.assert_allclose(walks.std(axis=0)[1:], [1.5, 3.0], rtol=5 / np.sqrt(8000))


# -------------------------------------------------------------------------------------------------------- skeleton


@pytest.fixture(scope="module")
def moving():
    rng = np.random.default_rng(7)
    return draw_body(rng, np.random.default_rng(8), "freestyle1", 6.0)


def test_bones_are_rigid(moving):
    state = moving.motion.state(np.linspace(0, 6, 100))
    for j, bone in enumerate(BONES[1:], start=1):
        length = np.linalg.norm(state.position[j] - state.position[bone.parent], axis=0)
        np.testing.assert_allclose(length, np.linalg.norm(moving.motion.offsets[j]), rtol=1e-12)


def test_accelerations_of_joints_are_second_derivatives_of_their_positions(moving):
    time = np.linspace(0.5, 5.5, 120)
    velocity = lambda t: central(lambda s: moving.motion.state(s).position, t)  # noqa: E731
    np.testing.assert_allclose(moving.motion.state(time).acceleration, central(velocity, time), atol=1e-4)


@pytest.mark.parametrize("strap", SENSORS, ids=lambda strap: strap.name)
def test_strapped_imus_feel_the_motion_of_their_place(moving, strap):
    rng = np.random.default_rng(9)
    mount, time, h = quaternions.random(rng), np.linspace(0.5, 5.5, 60), 1e-4

    def place(t):
        state = moving.motion.state(t)
        arm = moving.size * np.array(strap.place)[:, None]
        return state.position[strap.joint] + quaternions.rotate(state.orientation[strap.joint], arm)

    force, rate, orientation = strapped(moving.motion.state(time), strap, mount, moving.size)
    felt = quaternions.rotate(orientation, force) - [[0], [GRAVITY], [0]]
    np.testing.assert_allclose(felt, central(lambda t: central(place, t), time), atol=1e-4)
    before, after = (
        rotations(strapped(moving.motion.state(time + s * h), strap, mount, moving.size)[2]) for s in (-0.5, 0.5)
    )
    np.testing.assert_allclose((before.inv() * after).as_rotvec().T / h, rate, atol=1e-6)


# ------------------------------------------------------------------------------------------------ magnets and skin


def test_dipole_on_its_axis_and_on_its_equator():
    moment, r = np.array([0.0, 0.0, 2.0]), 0.01
    unit = 1e-7 * 2.0 / r**3 * 1e6  # mu0 / (4 pi) m / r^3 in uT
    np.testing.assert_allclose(dipole_field(np.array([0, 0, r]), moment), [0, 0, 2 * unit], rtol=1e-12)
    np.testing.assert_allclose(dipole_field(np.array([r, 0, 0]), moment), [0, 0, -unit], rtol=1e-12)


def test_dipole_field_has_neither_sources_nor_currents():
    place, moment, h = np.array([0.4, -0.7, 0.5]), np.array([0.3, 1.0, -0.4]), 1e-4
    steps = [place[:, None] + h * s * np.eye(3) for s in (1, -1)]
    gradient = (dipole_field(steps[0], moment[:, None]) - dipole_field(steps[1], moment[:, None])) / (2 * h)
    assert abs(np.trace(gradient)) < 1e-6 * np.abs(gradient).max()
    np.testing.assert_allclose(gradient, gradient.T, atol=1e-6 * np.abs(gradient).max())


@pytest.mark.parametrize("seed", range(4))
def test_the_field_tells_where_the_contact_is(seed):
    """From the fifteen readings of a pad alone, place, shear and indentation can be computed back."""
    rng = np.random.default_rng(seed)
    skin = Skin.random(rng)
    truth = np.concatenate([rng.uniform(-2e-3, 2e-3, 2), rng.uniform(-0.5e-3, 0.5e-3, 1)])

    def field(x):
        shift = np.array([[0.0], [0.0], [x[2]]])
        return skin.field(Contact(x[:2, None], shift, np.zeros(1)))[:, 0]

    found = least_squares(lambda x: field(x * 1e-3) - field(truth), np.zeros(3), xtol=1e-14, ftol=1e-14)
    np.testing.assert_allclose(found.x * 1e-3, truth, atol=1e-9)
    assert np.abs(field(truth)).max() > 100 > np.abs(field(truth) - field(truth + 1e-4)).max() > 3  # uT a 0.1 mm


def test_a_twist_turns_the_field_of_a_centred_patch():
    skin = Skin(np.zeros((3, 5)), np.array([1e-3, 0.0, 2e-3]), np.zeros(15))
    zero = np.zeros((2, 2))
    fields = skin.field(Contact(zero, np.zeros((3, 2)), np.array([0.0, 0.7])))[:3]
    turned = Rotation.from_rotvec([0, 0, 0.7]).apply(fields[:, 0])
    np.testing.assert_allclose(fields[:, 1], turned, rtol=1e-12)
    assert fields[2, 0] == pytest.approx(1e-7 * 2 * 2e-3 / HEIGHT**3 * 1e6)


# ------------------------------------------------------------------------------------------------------ hysteresis


@settings(max_examples=60, deadline=None)
@given(arrays(np.float64, st.integers(1, 70), elements=st.floats(-5, 5)), st.floats(0, 3))
def test_play_equals_its_recursion(x, width):
    wanted, y = [], x[0]
    for value in x:
        y = min(value + width, max(value - width, y))
        wanted.append(y)
    np.testing.assert_array_equal(hysteresis.play(x[None], width)[0], wanted)
    assert np.abs(hysteresis.stop(x[None], width)).max() <= width * (1 + 1e-12) + 1e-12


def test_hysteresis_encloses_the_area_of_its_loop():
    cycle = 2.0 * np.sin(np.linspace(0, 4 * np.pi, 20001))
    last = slice(10000, None)
    y = hysteresis.play(cycle[None], 0.5)[0]
    area = abs(np.trapezoid(y[last], cycle[last]))
    # a parallelogram: 2 * width wide, 2 * (amplitude - width) high
    assert area == pytest.approx(2 * 0.5 * 2 * (2.0 - 0.5), rel=1e-3)


def test_creep_follows_its_step_response():
    x = np.concatenate([np.full(50, 1.0), np.full(500, 3.0)])[None]
    y = hysteresis.creep(x, 0.2, 1.5, 100.0)[0]
    np.testing.assert_allclose(y[:50], 1.2)
    after = np.arange(1, 501) / 100
    np.testing.assert_allclose(y[50:], 3.0 + 0.2 * (3.0 - 2.0 * np.exp(-after / 1.5)), rtol=1e-12)


def test_clocks_keep_rate_and_range():
    clock = Clock(hz=100.0, jitter=0.05, split=0.2, gap=0.01)
    time = clock.ticks(np.random.default_rng(0), 2.0, 102.0)
    steps = np.diff(time)
    assert time[0] >= 2.0
    assert time[-1] < 102.0
    assert (steps > 0).all()
    assert np.median(steps) == pytest.approx(0.01, rel=0.3)
    low, high = (steps < 0.009).mean(), ((steps > 0.011) & (steps < 0.015)).mean()
    assert low > 0.4 < high  # two modes, and little between them
    assert 0.005 < (steps > 0.0155).mean() < 0.015  # gaps
