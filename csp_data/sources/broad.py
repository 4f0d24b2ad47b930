"""BROAD (Laidig et al., Data 6(7):72, 2021): one HDF5 file a trial, a board-mounted IMU with optical pose."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from csp_data.card import Card
from csp_data.errors import DamagedRecordingError
from csp_data.protocol import Protocol
from csp_data.recording import FloatArray, Recording, Stream
from csp_data.signal.rotation import rotate
from csp_data.sources import Found, Source
from csp_data.sources.hdf5 import read_arrays

# HDF5 key of each stream of the card
KEYS = {
    "accelerometer": "imu_acc",
    "gyroscope": "imu_gyr",
    "magnetometer": "imu_mag",
    "position": "opt_pos",
    "orientation": "opt_quat",
}


def find(root: Path) -> list[Found]:
    """Find the trials below `root`, sorted by name; each trial is its own group."""
    return [Found(id=file.stem, group=file.stem, files=(file,)) for file in sorted(root.glob("[!.]*.hdf5"))]


def read(found: Found, card: Card, protocol: Protocol) -> Recording:
    """Read a trial: IMU and optical pose share one regular clock that starts at 0 s; no protocol changes that."""
    path = found.files[0]
    read = read_arrays(path, [*KEYS.values(), "movement"], attributes=["sampling_rate"])
    arrays = {name: read[key] for name, key in KEYS.items()}
    count = len(np.atleast_1d(read["imu_acc"]))
    shapes = {key: (count, len(card.stream(name).channels)) for name, key in KEYS.items()}
    for key, wanted in {**shapes, "movement": (count,), "sampling_rate": ()}.items():
        if read[key].shape != wanted or count < 2:
            raise DamagedRecordingError(path, f"shape of {key!r}", str(wanted), str(read[key].shape))
    rate, promised = float(read["sampling_rate"]), card.stream("accelerometer").rate_hz
    if not abs(rate - promised) < 0.01 * promised:
        raise DamagedRecordingError(path, "attribute sampling_rate", f"{promised:.1f} Hz", f"{rate:g}")
    time = np.arange(count) / rate
    moving = np.flatnonzero(read["movement"])
    return Recording(
        id=found.id,
        group=found.group,
        path=path,
        streams={name: Stream.of(card.stream(name), time, values) for name, values in arrays.items()},
        active=(float(time[moving[0]]), float(time[moving[-1]])) if len(moving) else None,
    )


def velocity(edges: Mapping[str, FloatArray]) -> FloatArray:
    """Displacement over each step in the sensor's frame at the end of the step: R(t+)^T (p(t+) - p(t))."""
    return rotate(edges["orientation"][1:], np.diff(edges["position"], axis=0), inverse=True)


def velocity_in_start_frame(edges: Mapping[str, FloatArray]) -> FloatArray:
    """Displacement over each step in the sensor's frame at the first edge: R(0)^T (p(t+) - p(t))."""
    return rotate(edges["orientation"][0], np.diff(edges["position"], axis=0), inverse=True)


SOURCE = Source(
    find=find,
    read=read,
    layout="one .hdf5 file a trial, directly in the folder",
    targets={"velocity": velocity, "velocity-in-start-frame": velocity_in_start_frame},
)
