"""ReSkin pads and a Kinova arm: what the marker and the slip recordings have in common."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from csp_data.card import Card
from csp_data.errors import DamagedRecordingError
from csp_data.protocol import Protocol
from csp_data.recording import FloatArray, Recording, Stream
from csp_data.sources import Found
from csp_data.sources.demonstrations import read_sensor

__all__ = ["FILES", "read"]

FILES = ("reskin_sensor_values.h5", "kinova_cartesian_states.h5")


def read(found: Found, card: Card, protocol: Protocol) -> Recording:
    """Read a demonstration: the pads' magnetometers, and position and orientation of the gripper.

    The streams are those that the card names among ``tactile``, ``position`` and ``orientation``.
    """
    tactile, arm = found.files
    touch_time, (touch,), touch_notes = read_sensor(tactile, found.id, ["sensor_values"])
    arm_time, (position, orientation), arm_notes = read_sensor(arm, found.id, ["positions", "orientations"])
    arrays: dict[str, tuple[Path, FloatArray, FloatArray]] = {
        "tactile": (tactile, touch_time, touch),
        "position": (arm, arm_time, position),
        # the file has x y z w
        "orientation": (arm, arm_time, np.roll(orientation, 1, axis=1)),
    }
    streams = {}
    for name in (stream.name for stream in card.streams):
        path, time, values = arrays[name]
        wanted = len(card.stream(name).channels)
        if values.shape[1:] != (wanted,):
            raise DamagedRecordingError(path, f"shape of {name}", f"(T, {wanted})", str(values.shape))
        streams[name] = Stream.of(card.stream(name), time, values)
    return Recording(found.id, found.group, tactile.parent, streams, notes=(*touch_notes, *arm_notes))
