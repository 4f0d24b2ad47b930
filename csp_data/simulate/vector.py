"""VECtor: a hand-held or rolling sensor rig, its IMU as text and its pose as a TUM trajectory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from csp_data.recording import FloatArray
from csp_data.simulate.clock import Clock
from csp_data.simulate.curves import SumCurve
from csp_data.simulate.demonstration import duplicate_stamps
from csp_data.simulate.imu import ImuModel, drifting
from csp_data.simulate.motion import RigidMotion, Walk, wander
from csp_data.simulate.plan import Simulation, Task, draw_defects, generator
from csp_data.simulate.quaternions import about_z, flip_signs, multiply, random, rotate
from csp_data.simulate.text import fixed, join

__all__ = ["RIGS", "SEQUENCES", "SIMULATION", "XSENS"]

SHORTEST = 15.0  # s
MOST_FLIPS = 16  # sign flips of the true quaternion in a sequence
LEAD = (1.0, 2.4)  # s by which the IMU starts before the truth
EPOCH = 1_640_000_000.0
LEVER = np.array([[0.05], [-0.02], [0.03]])  # m, from the IMU to the origin of the tracked body, in its frame

IMU_CLOCK = Clock(hz=200.0, jitter=0.01)
MOCAP = Clock(hz=120.0, jitter=0.02, gap=2e-4)
SCANS = Clock(hz=10.0, jitter=0.02)  # one pose a turn of the LiDAR; the publisher states no rate
XSENS = ImuModel(
    force_noise=0.012, rate_noise=0.002, force_bias=0.03, rate_bias=0.003, rate_walk=1e-5, scale=0.003
)


@dataclass(frozen=True)
class Rig:
    """How a sequence moves.

    Parameters
    ----------
    clock
        Of the truth.
    share
        Length against the other sequences.
    speed
        Mean speed in m/s of a walk or ride; 0 for a rig held in the hands.
    pace
        Seconds between the points that hand-held motion passes.
    reach, turn
        Standard deviation of those points in m, and of their angles in rad; of a walk or ride, of the shaking.
    rumble
        How far wheels shake the rig up and down, faster and farther with the speed, in m; 0 on foot.
    """

    clock: Clock
    share: float
    speed: float
    pace: float
    reach: float
    turn: float
    rumble: float = 0.0


RIGS = {
    "slow": Rig(MOCAP, 1.0, 0.0, 1.2, 0.25, 0.25),
    "normal": Rig(MOCAP, 1.0, 0.0, 0.8, 0.35, 0.35),
    "fast": Rig(MOCAP, 0.8, 0.0, 0.4, 0.30, 0.40),
    "walk": Rig(SCANS, 3.0, 1.2, 1.0, 0.0, 0.06),
    "dolly": Rig(SCANS, 3.0, 0.8, 1.0, 0.0, 0.01, rumble=4e-4),
    "scooter": Rig(SCANS, 2.5, 2.2, 1.0, 0.0, 0.02, rumble=6e-4),
}

SEQUENCES = (
    *("board_slow1", "corner_slow1", "robot_normal1", "robot_fast1", "desk_normal1", "desk_fast1", "sofa_normal1"),
    *("sofa_fast1", "mountain_normal1", "mountain_fast1", "hdr_normal1", "hdr_fast1", "corridors_dolly1"),
    *("corridors_walk1", "units_dolly1", "units_scooter1", "school_dolly1", "school_scooter1"),
)
"""File stems of the 18 sequences."""


def _plan(hours: float, seed: int, rng: np.random.Generator) -> list[Task]:
    kinds = [stem.split("_")[1].rstrip("1") for stem in SEQUENCES]
    shares = np.array([RIGS[kind].share for kind in kinds]) * rng.uniform(0.8, 1.2, len(kinds))
    seconds = np.maximum(hours * 3600 * shares / shares.sum(), SHORTEST)
    defects = draw_defects(rng, len(kinds), ("duplicate stamps",))
    return [
        Task(stem, float(length), seed, kind=kind, defect=defect)
        for stem, length, kind, defect in zip(SEQUENCES, seconds, kinds, defects, strict=True)
    ]


def _motion(rng: np.random.Generator, rig: Rig, seconds: float) -> RigidMotion:
    if rig.speed:
        walk = Walk.random(rng, seconds, speed=rig.speed, still=1.0)
        if rig.rumble == 0.0:
            return walk.carried(rng, seconds, rig.turn, rig.turn, 0.0)
        weights = np.zeros((6, 3))
        weights[[1, 3, 5], 2] = rig.rumble
        ride = SumCurve((walk.path, walk.swinging(weights, rng.uniform(0, 2 * np.pi, weights.shape))))
        return RigidMotion(ride, walk.carried(rng, seconds, 0.0, rig.turn, 0.0).angles)
    reach = rig.reach * np.array([1.0, 1.0, 0.4])
    turn = rig.turn * np.array([1.5, 1.0, 1.0])
    return RigidMotion(
        wander(rng, seconds, rig.pace, reach, memory=0.5), wander(rng, seconds, rig.pace, turn, memory=0.5)
    )


def _stamps(task: Task, time: FloatArray, rng: np.random.Generator) -> FloatArray:
    return duplicate_stamps(time, rng, 2e-3) if task.defect == "duplicate stamps" else time


def _table(time: FloatArray, values: FloatArray) -> bytes:
    """Return rows of a time and values (C, T), parted by blanks, all with six decimals."""
    ends = [b" "] * (len(values) - 1) + [b"\n"]
    return join(fixed(time[:, None], 6, [b" "], groups=4), fixed(values.T, 6, ends))


def _write(root: Path, task: Task) -> None:
    rng = task.rng()
    rig = RIGS[task.kind]
    lead = rng.uniform(*LEAD)
    motion = _motion(rng, rig, task.seconds + lead + 1.0)
    time = IMU_CLOCK.ticks(rng, 0.0, task.seconds + lead + rng.uniform(0.1, 0.9))
    body = random(generator(task.seed, "rig"))  # from the IMU to the tracked body: the rig is the same throughout
    truth = motion.inertial(time, body)
    measured = XSENS.measure(truth, time, rng)
    filtered, _ = drifting(truth.orientation, rng, time, 1e-3)
    filtered = multiply(about_z(rng.uniform(-np.pi, np.pi)), filtered)

    seen = rig.clock.ticks(rng, lead, lead + task.seconds)
    orientation = motion.orientation(seen)
    noise = 2e-4 if rig.clock is MOCAP else 5e-3  # m
    position = motion.position(seen) + rotate(orientation, LEVER) + rng.normal(0.0, noise, (3, len(seen)))
    flips = np.zeros(len(seen), dtype=bool)
    flips[rng.integers(0, len(seen), int(rng.integers(0, MOST_FLIPS + 1)))] = True
    orientation = flip_signs(orientation, flips)

    origin = EPOCH + 3600.0 * SEQUENCES.index(task.id)
    head = (
        f"# IMU data for {task.id}.bag (simulated)\n"
        "# Readings from gyroscope[rad/s], accelerometer[m/s^2], and magnetometer[quaternion]\n"
        "# timestamp gx gy gz ax ay az qx qy qz qw\n"
    )
    sensed = np.concatenate([measured.rate, measured.force, filtered[[1, 2, 3, 0]]])
    stamps = origin + _stamps(task, time, rng)
    (root / f"{task.id}.synced.imu.txt").write_bytes(head.encode() + _table(stamps, sensed))
    head = f"# ground truth for {task.id}.bag (simulated)\n# timestamp tx ty tz qx qy qz qw\n"
    pose = np.concatenate([position, orientation[[1, 2, 3, 0]]])
    stamps = origin + _stamps(task, seen, rng)
    (root / f"{task.id}.synced.gt.txt").write_bytes(head.encode() + _table(stamps, pose))


SIMULATION = Simulation(hours=0.75, plan=_plan, write=_write)
