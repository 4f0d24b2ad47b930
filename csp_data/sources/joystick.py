"""Joystick Control (CSP-Bench): Xela taxels of a robot hand feel how a person moves the joystick it holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from csp_data.card import Card
from csp_data.errors import DamagedRecordingError
from csp_data.protocol import Protocol
from csp_data.recording import FloatArray, Recording, Stream
from csp_data.sources import Found, Source
from csp_data.sources.demonstrations import find_demonstrations, read_sensor

FILES = ("touch_sensor_values.h5", "extreme3d_values.h5")
PADS = ("finger", "fingertip", "palm")


def find(root: Path) -> list[Found]:
    """Find the demonstrations below `root`, sorted by name; each is its own group."""
    return [
        Found(id=id_, group=id_, files=files)
        for id_, files in find_demonstrations(root, FILES, "joystick_control")
    ]


def read(found: Found, card: Card, protocol: Protocol) -> Recording:
    """Read a demonstration; how many taxels a pad has is what the file says."""
    touch, stick = found.files
    touch_time, pads, touch_notes = read_sensor(touch, found.id, [f"{pad}_sensor_values" for pad in PADS])
    stick_time, (axes,), stick_notes = read_sensor(stick, found.id, ["axes"])
    if axes.shape[1:] != (3,):
        raise DamagedRecordingError(stick, "shape of 'axes'", "(T, 3)", str(axes.shape))
    columns: list[str] = []
    for name, pad in zip(PADS, pads, strict=True):
        if pad.shape[-1] != 3:
            raise DamagedRecordingError(touch, f"shape of {name!r}", "(T, ..., 3)", str(pad.shape))
        columns += [f"{name}_{i}_{axis}" for i in range(1, pad[0].size // 3 + 1) for axis in "xyz"]
    taxels = [pad.reshape(len(pad), -1) for pad in pads]
    tactile = Stream.of(card.stream("tactile"), touch_time, np.concatenate(taxels, axis=1))
    return Recording(
        id=found.id,
        group=found.group,
        path=touch.parent,
        streams={
            "tactile": replace(tactile, channels=tuple(columns)),
            "stick": Stream.of(card.stream("stick"), stick_time, axes),
        },
        notes=(*touch_notes, *stick_notes),
    )


def deflection(edges: Mapping[str, FloatArray]) -> FloatArray:
    """Position of the stick at the end of each step, minus that at the start of the episode."""
    moved: FloatArray = edges["stick"][1:] - edges["stick"][0]
    return moved


SOURCE = Source(
    find=find,
    read=read,
    layout=f"folders that hold {FILES[0]} and {FILES[1]}, at any depth",
    targets={"deflection": deflection},
)
