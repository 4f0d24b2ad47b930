"""A kinematic skeleton of rigid bones: 21 joints, and IMUs strapped to 13 of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from csp_data.recording import FloatArray
from csp_data.simulate.curves import Curve
from csp_data.simulate.motion import GRAVITY
from csp_data.simulate.quaternions import conjugate, cross, euler, euler_rate, euler_spin, multiply, rotate

__all__ = ["BONES", "JOINTS", "SENSORS", "BodyMotion", "Bone", "State", "Strap", "bone_offsets", "strapped"]


@dataclass(frozen=True)
class Bone:
    """A joint, and the bone that leads to it from its parent.

    Parameters
    ----------
    joint
        Name, as the ground truth's files have it.
    parent
        Row of the parent's joint; -1 for the root.
    offset
        From the parent's joint to this one in the parent's frame, in metres, for a body of 1.75 m that stands
        upright: x to its left, y up, z ahead.
    """

    joint: str
    parent: int
    offset: tuple[float, float, float]


BONES = (
    Bone("Hips", -1, (0.0, 0.95, 0.0)),
    Bone("Spine", 0, (0.0, 0.09, -0.01)),
    Bone("Spine1", 1, (0.0, 0.09, 0.0)),
    Bone("Spine2", 2, (0.0, 0.09, 0.0)),
    Bone("Spine3", 3, (0.0, 0.10, 0.0)),
    Bone("Neck", 4, (0.0, 0.14, 0.02)),
    Bone("Head", 5, (0.0, 0.10, 0.02)),
    Bone("RightShoulder", 4, (-0.04, 0.09, 0.01)),
    Bone("RightArm", 7, (-0.13, 0.0, 0.0)),
    Bone("RightForeArm", 8, (0.0, -0.28, 0.0)),
    Bone("RightHand", 9, (0.0, -0.25, 0.02)),
    Bone("LeftShoulder", 4, (0.04, 0.09, 0.01)),
    Bone("LeftArm", 11, (0.13, 0.0, 0.0)),
    Bone("LeftForeArm", 12, (0.0, -0.28, 0.0)),
    Bone("LeftHand", 13, (0.0, -0.25, 0.02)),
    Bone("RightUpLeg", 0, (-0.09, -0.04, 0.0)),
    Bone("RightLeg", 15, (0.0, -0.42, 0.0)),
    Bone("RightFoot", 16, (0.0, -0.42, 0.0)),
    Bone("LeftUpLeg", 0, (0.09, -0.04, 0.0)),
    Bone("LeftLeg", 18, (0.0, -0.42, 0.0)),
    Bone("LeftFoot", 19, (0.0, -0.42, 0.0)),
)
"""The 21 joints in the order of the ground truth's files; a parent stands before its children."""

JOINTS = tuple(bone.joint for bone in BONES)


@dataclass(frozen=True)
class Strap:
    """Where an IMU sits.

    Parameters
    ----------
    name
        Of the sensor, as its files have it.
    joint
        Row of the joint whose bone it moves with.
    place
        Its place in that bone's frame, in metres.
    """

    name: str
    joint: int
    place: tuple[float, float, float]


SENSORS = (
    Strap("Head", 6, (0.0, 0.08, 0.08)),
    Strap("Sternum", 4, (0.0, 0.05, 0.12)),
    Strap("Pelvis", 0, (0.0, 0.0, -0.12)),
    Strap("L_UpArm", 12, (0.04, -0.14, 0.0)),
    Strap("R_UpArm", 8, (-0.04, -0.14, 0.0)),
    Strap("L_LowArm", 13, (0.03, -0.20, 0.0)),
    Strap("R_LowArm", 9, (-0.03, -0.20, 0.0)),
    Strap("L_UpLeg", 18, (0.07, -0.20, 0.0)),
    Strap("R_UpLeg", 15, (-0.07, -0.20, 0.0)),
    Strap("L_LowLeg", 19, (0.05, -0.20, 0.0)),
    Strap("R_LowLeg", 16, (-0.05, -0.20, 0.0)),
    Strap("L_Foot", 20, (0.0, -0.04, 0.08)),
    Strap("R_Foot", 17, (0.0, -0.04, 0.08)),
)
"""The 13 IMUs in the order of their files."""


def bone_offsets(size: float) -> FloatArray:
    """Return the offsets (21, 3) of :data:`BONES`, in metres, for a body of `size` * 1.75 m; the root's is 0."""
    offsets = size * np.array([bone.offset for bone in BONES])
    offsets[0] = 0.0
    return offsets


@dataclass(frozen=True)
class State:
    """Motion of all joints in the world, whose y axis points up.

    Parameters
    ----------
    position, acceleration : array, shape (21, 3, T)
        In m and m/s^2.
    orientation : array, shape (21, 4, T)
        Unit quaternions w x y z from the bone to the world.
    rate, spin : array, shape (21, 3, T)
        Angular velocity and acceleration in the world's axes, in rad/s and rad/s^2.
    """

    position: FloatArray
    acceleration: FloatArray
    orientation: FloatArray
    rate: FloatArray
    spin: FloatArray


@dataclass(frozen=True)
class BodyMotion:
    """How a body moves.

    Parameters
    ----------
    root
        Curve of the hips' place in the world, in metres, y up.
    angles
        Curve of 63 components: yaw, pitch, roll (turns about z, y, x; see :func:`euler`) of every joint against
        its parent, in radians.
    offsets : array, shape (21, 3)
        As of :func:`bone_offsets`.
    """

    root: Curve
    angles: Curve
    offsets: FloatArray

    def state(self, time: FloatArray) -> State:
        """Return the motion of every joint at times (T,), parents first.

        For a bone turning with R about its parent's joint, with angular velocity w and acceleration a in the
        world: w = w_parent + R w_local, a = a_parent + R a_local + w_parent x (R w_local), and for a point at o
        in the parent's frame, x'' = x''_parent + a_parent x o + w_parent x (w_parent x o), o turned to the world
        (Featherstone, Rigid Body Dynamics Algorithms, 2008, ch. 2).
        """
        turns = [self.angles(time, order) for order in range(3)]
        count = len(self.offsets)
        position, acceleration, rate, spin = (np.empty((count, 3, len(time))) for _ in range(4))
        orientation = np.empty((count, 4, len(time)))
        for j, bone in enumerate(BONES):
            rows = slice(3 * j, 3 * j + 3)
            local = euler(turns[0][rows])
            local_rate = euler_rate(turns[0][rows], turns[1][rows])
            local_spin = euler_spin(turns[0][rows], turns[1][rows], turns[2][rows])
            if bone.parent < 0:
                position[j], acceleration[j] = self.root(time), self.root(time, 2)
                orientation[j] = local
                rate[j], spin[j] = rotate(local, local_rate), rotate(local, local_spin)
                continue
            up = bone.parent
            arm = rotate(orientation[up], self.offsets[j][:, None])
            position[j] = position[up] + arm
            acceleration[j] = acceleration[up] + _swing(rate[up], spin[up], arm)
            orientation[j] = multiply(orientation[up], local)
            turning = rotate(orientation[j], local_rate)
            rate[j] = rate[up] + turning
            spin[j] = spin[up] + rotate(orientation[j], local_spin) + cross(rate[up], turning)
        return State(position, acceleration, orientation, rate, spin)


def _swing(rate: FloatArray, spin: FloatArray, arm: FloatArray) -> FloatArray:
    """Return the acceleration of a point on an arm (3, T) against its pivot: a x r + w x (w x r)."""
    return cross(spin, arm) + cross(rate, cross(rate, arm))


def strapped(
    state: State, strap: Strap, mount: FloatArray, size: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return what an ideal IMU on the body measures.

    Parameters
    ----------
    strap
        Where it sits.
    mount : array, shape (4, 1)
        Quaternion from the sensor to the bone.
    size
        Of the body, as in :func:`bone_offsets`.

    Returns
    -------
    force : array, shape (3, T)
        Specific force in the sensor frame, in m/s^2.
    rate : array, shape (3, T)
        Angular velocity in the sensor frame, in rad/s.
    orientation : array, shape (4, T)
        From the sensor to the world.
    """
    j = strap.joint
    arm = rotate(state.orientation[j], size * np.array(strap.place)[:, None])
    force = state.acceleration[j] + _swing(state.rate[j], state.spin[j], arm)
    force[1] += GRAVITY
    orientation = multiply(state.orientation[j], mount)
    back = conjugate(orientation)
    return rotate(back, force), rotate(back, state.rate[j]), orientation
