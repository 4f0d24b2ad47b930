"""How the people of the simulated TotalCapture move: walks, ranges of motion, acting and freestyle."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from csp_data.recording import FloatArray
from csp_data.simulate.curves import Curve, GaitCurve, SplineCurve, SumCurve
from csp_data.simulate.motion import spline_knots, wander
from csp_data.simulate.skeleton import BONES, JOINTS, BodyMotion, bone_offsets

__all__ = ["Body", "draw_body"]

# Standard deviations of yaw, pitch, roll (about z, y, x of the bone) against standing upright, in radians
SPREAD = {
    "Hips": (0.05, 0.0, 0.06),
    "Spine": (0.04, 0.05, 0.06),
    "Spine1": (0.03, 0.04, 0.05),
    "Spine2": (0.03, 0.04, 0.05),
    "Spine3": (0.03, 0.05, 0.05),
    "Neck": (0.06, 0.12, 0.08),
    "Head": (0.08, 0.20, 0.12),
    "Shoulder": (0.06, 0.05, 0.03),
    "Arm": (0.25, 0.20, 0.40),
    "ForeArm": (0.05, 0.25, 0.35),
    "Hand": (0.15, 0.10, 0.15),
    "UpLeg": (0.10, 0.08, 0.22),
    "Leg": (0.0, 0.0, 0.20),
    "Foot": (0.05, 0.05, 0.10),
}
BEND = {"ForeArm": -0.4, "Leg": 0.25}  # rad about x: elbows and knees are bent at rest, and bend one way

# Swing about x with the steps: weight of the first and second harmonic in radians, and shift of the right side
SWING = {
    "Arm": (0.35, 0.0),
    "ForeArm": (0.12, 0.05),
    "UpLeg": (-0.40, 0.05),
    "Leg": (0.30, 0.15),
    "Foot": (0.15, 0.08),
}


@dataclass(frozen=True)
class Manner:
    """How a kind of sequence moves.

    Parameters
    ----------
    loose
        Factor on the spread of all joints.
    pace
        Seconds between the postures that the body passes.
    effort
        Factor on the swing of walking; 0 for none.
    travel
        Speed over ground in m/s.
    """

    loose: float
    pace: float
    effort: float
    travel: float


MANNERS = {
    "rom": Manner(1.5, 1.5, 0.0, 0.05),
    "walking": Manner(0.4, 1.5, 1.0, 1.1),
    "acting": Manner(1.0, 1.0, 0.3, 0.4),
    "freestyle": Manner(1.3, 0.8, 0.5, 0.6),
}


@dataclass(frozen=True)
class Body:
    """A subject in motion.

    Parameters
    ----------
    motion
        The joints.
    size
        Height against 1.75 m.
    """

    motion: BodyMotion
    size: float


def draw_body(rng: np.random.Generator, subject: np.random.Generator, sequence: str, seconds: float) -> Body:
    """Draw how a subject moves in a sequence.

    Parameters
    ----------
    rng
        Random numbers of the recording.
    subject
        Random numbers of the subject: the body stays the same from sequence to sequence.
    sequence
        Name, such as ``"walking2"``.
    seconds
        Length.
    """
    manner = MANNERS[sequence.rstrip("123")]
    size = float(np.clip(subject.normal(1.0, 0.05), 0.88, 1.12))
    offsets = bone_offsets(size) * subject.normal(1.0, 0.02, (len(BONES), 1))
    cadence = 0.95 * subject.normal(1.0, 0.06)  # strides a second
    count = len(spline_knots(seconds, 1.0))
    phase = 2 * np.pi * cadence * np.cumsum(rng.normal(1.0, 0.03, count))
    effort = np.clip(rng.normal(manner.effort, 0.1 * manner.effort, count), 0.0, 1.5)
    steps = SplineCurve.through(-2.0, 1.0, phase[:, None])
    strength = SplineCurve.through(-2.0, 1.0, effort[:, None])
    root, heading = _travel(rng, seconds, manner, 0.95 * size, steps, strength)
    weights, shifts = _swing()
    spread = manner.loose * np.concatenate([SPREAD[_plain(joint)] for joint in JOINTS])
    bend = np.zeros(3 * len(JOINTS))
    bend[2::3] = [BEND.get(_plain(joint), 0.0) for joint in JOINTS]
    posture = wander(rng, seconds, manner.pace, spread, memory=0.3)
    angles = SumCurve((posture, GaitCurve(steps, strength, weights, shifts), _Turned(heading, bend)))
    return Body(BodyMotion(root, angles, offsets), size)


def _plain(joint: str) -> str:
    return joint.removeprefix("Right").removeprefix("Left")


def _swing() -> tuple[FloatArray, FloatArray]:
    """Return harmonics of walking for all 63 angles; the sides are half a stride apart, arms against legs."""
    weights, shifts = np.zeros((2, 3 * len(JOINTS))), np.zeros((2, 3 * len(JOINTS)))
    for j, joint in enumerate(JOINTS):
        column = 3 * j + 2
        weights[:, column] = SWING.get(_plain(joint), (0.0, 0.0))
        if _plain(joint) in ("Leg", "Foot"):
            shifts[:, column] = -1.2  # the shank follows the thigh
        if joint.startswith("Right"):
            shifts[:, column] += np.pi * np.array([1.0, 2.0])
    return weights, shifts


def _travel(
    rng: np.random.Generator, seconds: float, manner: Manner, height: float, steps: Curve, strength: Curve
) -> tuple[Curve, Curve]:
    """Return the path of the hips, within a few metres of the middle of the room, and the heading about y."""
    count = len(spline_knots(seconds, 1.0))
    place, heading = np.zeros((count, 3)), np.zeros(count)
    angle = rng.uniform(-np.pi, np.pi)
    here = rng.normal(0.0, 0.5, 2)
    for k in range(count):
        # turn back when the edge of the room comes near
        home = np.arctan2(-here[0], -here[1])
        away = np.hypot(*here) > 1.5
        turn = np.clip((home - angle + np.pi) % (2 * np.pi) - np.pi, -0.9, 0.9) if away else rng.normal(0.0, 0.35)
        angle += turn
        here = here + manner.travel * np.array([np.sin(angle), np.cos(angle)])
        place[k], heading[k] = (here[0], height, here[1]), angle
    path = SplineCurve.through(-2.0, 1.0, place)
    bob = GaitCurve(steps, strength, np.array([[0.01, 0.0, 0.0], [0.0, 0.02, 0.0]]), np.zeros((2, 3)))
    return SumCurve((path, bob)), SplineCurve.through(-2.0, 1.0, heading[:, None])


@dataclass(frozen=True)
class _Turned:
    """The heading of the hips about y, and the constant bend of all joints: 63 components."""

    heading: Curve
    bend: FloatArray

    def __call__(self, time: FloatArray, order: int = 0) -> FloatArray:
        out = np.zeros((len(self.bend), len(time)))
        if order == 0:
            out += self.bend[:, None]
        out[1] += self.heading(time, order)[0]
        return out
