"""Intrinsic Slip (CSP-Bench): ReSkin pads feel a box turn and slide in the gripper of a Kinova arm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from csp_data.card import Card
from csp_data.errors import DamagedRecordingError
from csp_data.protocol import Protocol
from csp_data.recording import FloatArray, Note, Recording
from csp_data.signal.rotation import CONJUGATE, multiply, rotation_vectors
from csp_data.sources import Found, Source
from csp_data.sources.demonstrations import find_demonstrations
from csp_data.sources.reskin import FILES
from csp_data.sources.reskin import read as read_pair


def find(root: Path) -> list[Found]:
    """Find the demonstrations below `root`, sorted by path; a group is a top folder (a box)."""
    return [
        Found(id=id_, group=id_.split("/")[0], files=files)
        for id_, files in find_demonstrations(root, FILES, "intrinsic_slip")
    ]


def read(found: Found, card: Card, protocol: Protocol) -> Recording:
    """Read a demonstration, as that of the marker recordings; warn where no folder names its box.

    Nothing in the files tells the two sets apart for certain: arrays, shapes and rates are the same. What differs
    is the motion, of which only the publisher's words are known.
    """
    recording = read_pair(found, card, protocol)
    norms = np.linalg.norm(recording.streams["orientation"].values, axis=1)
    if (norms < 0.5).any():
        time, norm = recording.streams["orientation"].time[np.nanargmin(norms)], np.nanmin(norms)
        raise DamagedRecordingError(found.files[1], f"orientation at {time:.3f} s", "a norm of 1", f"{norm:g}")
    if found.group.lower().startswith("demonstration_"):
        orientation = recording.streams["orientation"].values
        turn = np.linalg.norm(rotation_vectors(multiply(orientation, orientation[0] * CONJUGATE)), axis=1)
        detail = (
            f"the gripper turns by {np.degrees(np.nanmax(turn)):.2g} degrees; marker recordings have the same "
            "files and lie like this: is it one of them?"
        )
        note = Note(
            found.id, "no folder of a box above the demonstration: it counts as a box", detail, kind="warning"
        )
        return replace(recording, notes=(*recording.notes, note))
    return recording


def velocity(edges: Mapping[str, FloatArray]) -> FloatArray:
    """Displacement along x and z, and turn about y, over each step: the rotation vector of R(t+) R(t)^-1."""
    orientation = edges["orientation"]
    turn = rotation_vectors(multiply(orientation[1:], orientation[:-1] * CONJUGATE))[:, 1:2]
    return np.concatenate([np.diff(edges["position"][:, [0, 2]], axis=0), turn], axis=1)


def displacement(edges: Mapping[str, FloatArray]) -> FloatArray:
    """Displacement along x and z, and change of the y component of the rotation vector of R(t) R(0)^-1.

    The published one: where the angle passes pi it jumps by nearly 2 pi.
    """
    orientation = edges["orientation"]
    angle = rotation_vectors(multiply(orientation, orientation[0] * CONJUGATE))[:, 1:2]
    return np.diff(np.concatenate([edges["position"][:, [0, 2]], angle], axis=1), axis=0)


SOURCE = Source(
    find=find,
    read=read,
    layout=f"a folder a box with folders demonstration_N that hold {FILES[0]} and {FILES[1]}, at any depth",
    targets={"velocity": velocity, "displacement": displacement},
)
