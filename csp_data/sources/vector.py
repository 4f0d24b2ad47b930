"""VECtor (Gao et al., RA-L 2022): two text files a sequence, an IMU and the ground-truth pose."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from csp_data.card import Card
from csp_data.errors import DamagedRecordingError
from csp_data.protocol import Protocol
from csp_data.recording import FloatArray, Recording, Stream
from csp_data.signal.rotation import CONJUGATE, multiply, rotate
from csp_data.sources import Found, Source
from csp_data.sources.folders import walk_folders
from csp_data.sources.text import after_comments, numbers, read_bytes

IMU_FILE = re.compile(r"(?P<stem>.+?)(?P<synced>\.synced)?\.imu\.txt", re.IGNORECASE)
# columns after the time stamp; what follows them (an orientation) differs between exports and is not used
GYROSCOPE, ACCELEROMETER = slice(1, 4), slice(4, 7)


def find(root: Path) -> list[Found]:
    """Find the sequences anywhere below `root`, sorted by name; a group is a scene (board, corner, ...)."""
    found = []
    for file in (Path(folder, file) for folder, files in walk_folders(root) for file in files):
        # macOS puts a file ._NAME beside each, in archives and on USB sticks
        if not file.name.startswith(".") and (match := IMU_FILE.fullmatch(file.name)):
            name = match["stem"].lower().replace("-", "_")
            found.append(Found(id=name, group=name.split("_")[0], files=(file, _truth_file(file))))
    return sorted(found, key=lambda recording: recording.id)


def _truth_file(imu: Path) -> Path:
    at = imu.name.lower().rindex("imu")
    return imu.with_name(imu.name[:at] + ("gt" if imu.name[at].islower() else "GT") + imu.name[at + 3 :])


def read(found: Found, card: Card, protocol: Protocol) -> Recording:
    """Read a sequence; poses are given in the frame of the first ground-truth pose, as T(0)^-1 T(t)."""
    imu, truth = (_table(file, at_least) for file, at_least in zip(found.files, (7, 8), strict=True))
    position, quaternion = truth[:, 1:4], truth[:, [7, 4, 5, 6]]
    norms = np.linalg.norm(quaternion, axis=1)
    if not (np.abs(norms - 1) < 0.01).all():
        row = int(np.argmax(np.abs(norms - 1)))
        raise DamagedRecordingError(
            found.files[1], f"quaternion at {truth[row, 0]:.3f} s", "a norm of 1", f"{norms[row]:g}"
        )
    turned = multiply(quaternion[0] * CONJUGATE, quaternion)
    clock, truth_clock = imu[:, 0].copy(), truth[:, 0].copy()
    arrays = {
        "accelerometer": (clock, imu[:, ACCELEROMETER]),
        "gyroscope": (clock, imu[:, GYROSCOPE]),
        "position": (truth_clock, rotate(quaternion[0], position - position[0], inverse=True)),
        "orientation": (truth_clock, turned),
    }
    return Recording(
        id=found.id,
        group=found.group,
        path=found.files[0],
        streams={
            name: Stream.of(card.stream(name), time, np.ascontiguousarray(values))
            for name, (time, values) in arrays.items()
        },
    )


def _table(path: Path, at_least: int) -> FloatArray:
    text = read_bytes(path)
    start, skipped = after_comments(text)
    table = numbers(text, None, path, skipped=skipped, start=start)
    if table.shape[1] < at_least or len(table) < 2:
        raise DamagedRecordingError(path, "columns and rows", f"at least {at_least} and 2", f"{table.shape[::-1]}")
    return table


def velocity(edges: Mapping[str, FloatArray]) -> FloatArray:
    """Displacement over each step in the sensor's frame at the first edge: R(0)^T (p(t+) - p(t))."""
    return rotate(edges["orientation"][0], np.diff(edges["position"], axis=0), inverse=True)


def displacement(edges: Mapping[str, FloatArray]) -> FloatArray:
    """Displacement over each step in the frame of the first ground-truth pose of the file [published]."""
    return np.diff(edges["position"], axis=0)


SOURCE = Source(
    find=find,
    read=read,
    layout="pairs of text files NAME.synced.imu.txt and NAME.synced.gt.txt, anywhere below the folder",
    targets={"velocity": velocity, "displacement": displacement},
)
