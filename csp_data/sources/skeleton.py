"""TotalCapture's ground truth: reading the skeleton's files, and checking their units and quaternion order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from csp_data.errors import DamagedRecordingError
from csp_data.recording import FloatArray, Note
from csp_data.signal.rotation import rotate
from csp_data.sources.text import numbers, read_bytes

__all__ = ["PARENTS", "check_inches", "order_notes", "read_skeleton", "rigidity", "sampled", "to_wxyz"]

PARENTS = {
    "Spine": "Hips",
    "Spine1": "Spine",
    "Spine2": "Spine1",
    "Spine3": "Spine2",
    "Neck": "Spine3",
    "Head": "Neck",
    "RightShoulder": "Spine3",
    "RightArm": "RightShoulder",
    "RightForeArm": "RightArm",
    "RightHand": "RightForeArm",
    "LeftShoulder": "Spine3",
    "LeftArm": "LeftShoulder",
    "LeftForeArm": "LeftArm",
    "LeftHand": "LeftForeArm",
    "RightUpLeg": "Hips",
    "RightLeg": "RightUpLeg",
    "RightFoot": "RightLeg",
    "LeftUpLeg": "Hips",
    "LeftLeg": "LeftUpLeg",
    "LeftFoot": "LeftLeg",
}

SAMPLES = 60
RIGID = 0.05
"""A bone that moves in its parent's frame by less than this share of its length (root mean square) is rigid."""


def read_skeleton(
    path: Path, joints: list[str], width: int, rows: npt.NDArray[np.intp] | None = None
) -> FloatArray:
    """Read a file of the skeleton: a line of joint names, then a line a frame.

    Parameters
    ----------
    path
        The file; fields are separated by tabs, numbers within a field by blanks, and lines may end in a tab.
    joints
        Names of the joints wanted, in the order wanted.
    width
        Numbers a joint.
    rows
        Frames wanted, in order; by default all.

    Returns
    -------
    array, shape (T, J, width)

    Raises
    ------
    DamagedRecordingError
        If a joint is missing or a line is not as long as the others.
    """
    text = read_bytes(path)
    start = text.find(b"\n") + 1 or len(text)
    head = text[:start].rstrip(b"\n")
    names = head.decode(errors="replace").split()
    if missing := [joint for joint in joints if joint not in names]:
        raise DamagedRecordingError(path, "line 1", f"joint names, {missing[0]!r} among them", repr(head[:80]))
    if rows is not None:
        lines = [line for line in text[start:].split(b"\n") if line.strip()]  # as are counted where all are read
        if rows[-1] >= len(lines):
            raise DamagedRecordingError(path, "frames", f"{rows[-1] + 1}, as there are positions", str(len(lines)))
        text, start = b"\n".join(lines[row] for row in rows), 0
    table = numbers(text, len(names) * width, path, skipped=1, start=start).reshape(-1, len(names), width)
    order = [names.index(joint) for joint in joints]
    return table if order == list(range(len(names))) else table[:, order]


def sampled(frames: int) -> npt.NDArray[np.intp]:
    """Return the frames at which the skeleton's orientations are checked: the first, and some spread over all."""
    return np.unique(np.linspace(0, frames - 1, min(SAMPLES, frames)).astype(np.intp))


def check_inches(path: Path, position: FloatArray) -> None:
    """Refuse positions (T, J, 3) that cannot be inches: a body reaches over 12 to 130 of them.

    Raises
    ------
    DamagedRecordingError
        With the reach that was found.
    """
    frames = position[sampled(len(position))]
    reach = float(np.median((frames.max(axis=1) - frames.min(axis=1)).max(axis=1)))
    if not 12 < reach < 130:
        unit = "metres" if reach < 3 else "centimetres" if reach < 300 else "millimetres"
        raise DamagedRecordingError(
            path,
            "reach of the skeleton (median over frames of its longest side)",
            "12 to 130 inches",
            f"{reach:.2f}, which looks like {unit}",
        )


def to_wxyz(quaternions: FloatArray, order: str) -> FloatArray:
    """Return quaternions (..., 4), read in the order ``"xyzw"`` or ``"wxyz"``, as w x y z."""
    return np.roll(quaternions, 1, axis=-1) if order == "xyzw" else quaternions


def rigidity(position: FloatArray, quaternions: FloatArray, joints: list[str]) -> float:
    """Return how much bones move in their parents' frames: 0 if rigid, about 1 under wrong rotations.

    Parameters
    ----------
    position : array, shape (T, J, 3)
        Any unit, in the global frame.
    quaternions : array, shape (T, J, 4)
        w x y z, from each joint's frame to the global one.
    joints
        Their names.

    Returns
    -------
    float
        Median over the bones of the root-mean-square deviation of the offset child minus parent, in the parent's
        frame, from its mean; as a share of the bone's length.
    """
    children = [joints.index(child) for child in PARENTS if child in joints and PARENTS[child] in joints]
    parents = [joints.index(PARENTS[joints[child]]) for child in children]
    offsets = position[:, children] - position[:, parents]
    local = rotate(quaternions[:, parents].reshape(-1, 4), offsets.reshape(-1, 3), inverse=True)
    local = local.reshape(offsets.shape)
    deviation = np.sqrt(np.square(local - local.mean(axis=0)).sum(axis=2).mean(axis=0))
    length = np.linalg.norm(offsets, axis=2).mean(axis=0)
    return float(np.median(deviation / np.maximum(length, 1e-9)))


def order_notes(
    id_: str, position: FloatArray, quaternions: FloatArray, joints: list[str], assumed: str
) -> list[Note]:
    """Warn when bones are rigid in the other quaternion order than the assumed one.

    Parameters
    ----------
    id_
        Of the recording.
    position : array, shape (T, J, 3)
    quaternions : array, shape (T, J, 4)
        As the file has them, of the same frames.
    joints
        Their names.
    assumed
        ``"xyzw"`` or ``"wxyz"``.
    """
    other = "wxyz" if assumed == "xyzw" else "xyzw"
    as_assumed, as_other = (rigidity(position, to_wxyz(quaternions, order), joints) for order in (assumed, other))
    if len(position) < 2 or not (as_other < RIGID and as_other < as_assumed / 5):
        return []
    detail = f"bones move by {as_assumed:.0%} of their length when read as {assumed}, by {as_other:.1%} as {other}"
    return [Note(id_, "ground-truth quaternions contradict truth_quaternions", detail, "warning")]
