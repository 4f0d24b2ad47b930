"""RoNIN (Herath et al., ICRA 2020): an HDF5 file a sequence; a phone's IMU, and a body-worn Tango phone's pose."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from reprlib import repr as shortened
from typing import Any

import numpy as np

from csp_data.card import Card
from csp_data.errors import DamagedRecordingError
from csp_data.files import read_json
from csp_data.protocol import Protocol
from csp_data.recording import FloatArray, Note, Recording, Stream
from csp_data.signal.rotation import CONJUGATE, cumulative, multiply, rotate
from csp_data.sources import Found, Source
from csp_data.sources.folders import walk_folders
from csp_data.sources.hdf5 import read_arrays

# the publisher's archives, in the order in which the published code reads them
SUBSETS = ("train_dataset_1", "train_dataset_2", "seen_subjects_test_set", "unseen_subjects_test_set")
ARRAYS = {
    "synced/time": (),
    "synced/acce": (3,),
    "synced/gyro_uncalib": (3,),
    "synced/game_rv": (4,),
    "pose/tango_pos": (3,),
    "pose/tango_ori": (4,),
}
# estimates of the orientation, each with the key of its error against the ground truth
ERRORS = {"gyro-integration": "gyro_integration_error", "game-rv": "grv_ori_error", "ekf": "ekf_ori_error"}
ESTIMATES = {"game-rv": "synced/game_rv", "ekf": "pose/ekf_ori"}


def find(root: Path) -> list[Found]:
    """Find the sequences below `root`, in the order of the publisher's archives, by name; a group is a person."""
    found = []
    for folder, files in walk_folders(root):
        # as they are spelt there: where a disk knows no case, any spelling is there, and the lock file is shared
        spelling = {file.lower(): file for file in files}
        for file in (Path(folder, file) for file in files if file.lower() == "data.hdf5"):
            name, above = file.parent.name.lower(), file.parent.parent.name.lower()
            id_ = f"{above}/{name}" if above in SUBSETS else name
            person = name.split("_")[0]
            rank = SUBSETS.index(above) if above in SUBSETS else len(SUBSETS)
            info = file.with_name(spelling.get("info.json", "info.json"))
            found.append((rank, Found(id_, person, (file, info), person)))
    return [recording for _, recording in sorted(found, key=lambda item: (item[0], item[1].id))]


def read(found: Found, card: Card, protocol: Protocol) -> Recording:
    """Read a sequence; inputs are calibrated as the publisher does and turned into the ground truth's frame."""
    path = found.files[0]
    info = _info(found.files[1])
    arrays = _arrays(path)
    time = arrays["synced/time"]
    gyro = arrays["synced/gyro_uncalib"] - _numbers(info, "imu_init_gyro_bias", 3, found.files[1])
    acce = _numbers(info, "imu_acce_scale", 3, found.files[1]) * (
        arrays["synced/acce"] - _numbers(info, "imu_acce_bias", 3, found.files[1])
    )
    name = _choose(protocol.orientation, info, arrays, found)
    if name == "gyro-integration":
        estimate = integrate(time, gyro, arrays["synced/game_rv"][0])
    else:
        estimate = arrays[ESTIMATES[name]]
    # one rotation takes the estimate's world into Tango's: they agree at the first sample
    calibration = _numbers(info, "start_calibration", 4, found.files[1])
    align = multiply(multiply(arrays["pose/tango_ori"][0], calibration), estimate[0] * CONJUGATE)
    orientation = multiply(align, estimate)
    first, notes = _start_frame(info, found, len(time))
    time = time[first:]
    streams = {
        "accelerometer": rotate(orientation[first:], acce[first:]),
        "gyroscope": rotate(orientation[first:], gyro[first:]),
        "position": arrays["pose/tango_pos"][first:],
    }
    return Recording(
        id=found.id,
        group=found.group,
        path=path.parent,
        streams={name: Stream.of(card.stream(name), time, values) for name, values in streams.items()},
        notes=notes,
    )


def _arrays(path: Path) -> dict[str, FloatArray]:
    arrays = read_arrays(path, list(ARRAYS), optional=["pose/ekf_ori"])
    count = arrays["synced/time"].size
    for key, values in arrays.items():
        wanted = (count, *ARRAYS.get(key, (4,)))
        if values.shape != wanted or count < 2:
            raise DamagedRecordingError(path, f"shape of {key!r}", str(wanted), str(values.shape))
    return arrays


def _info(path: Path) -> dict[str, Any]:
    try:
        info = read_json(path)
    except (OSError, ValueError) as error:
        raise DamagedRecordingError(path, "cannot be read", "a JSON file", str(error)) from error
    if not isinstance(info, dict):
        raise DamagedRecordingError(path, "content", "a JSON object", type(info).__name__)
    return info


def _numbers(info: Mapping[str, Any], key: str, count: int, path: Path) -> FloatArray:
    try:
        values = np.asarray(info[key], dtype=np.float64)
    except (KeyError, OverflowError, TypeError, ValueError):
        values = np.zeros(0)
    if values.shape != (count,) or not np.isfinite(values).all():
        raise DamagedRecordingError(path, f"field {key!r}", f"{count} numbers", shortened(info.get(key)))
    return values


def _choose(wanted: str, info: Mapping[str, Any], arrays: Mapping[str, FloatArray], found: Found) -> str:
    """Return which estimate of the orientation to use; of equal errors the first in the publisher's order."""
    available = [name for name in ERRORS if name != "ekf" or "pose/ekf_ori" in arrays]
    if wanted == "lowest-error":
        errors = {name: _error(info, ERRORS[name], found.files[1]) for name in available}
        best = min(errors, key=errors.__getitem__)
        return best if np.isfinite(errors[best]) else "game-rv"
    if wanted not in available:
        raise DamagedRecordingError(
            found.files[0], "orientation 'ekf'", "array 'pose/ekf_ori'", "none", "Choose orientation='game-rv'."
        )
    return wanted


def _error(info: Mapping[str, Any], key: str, path: Path) -> float:
    """Return the error of an estimate; infinity where none is stated."""
    value = info.get(key)
    try:
        if isinstance(value, int | float | None):
            return np.inf if value is None else float(value)
    except OverflowError:  # a whole number of hundreds of digits
        pass
    raise DamagedRecordingError(path, f"field {key!r}", "a number", shortened(value))


def integrate(time: FloatArray, rates: FloatArray, start: FloatArray) -> FloatArray:
    """Integrate body rates to orientations w x y z: q(t+) = q(t) (1, w(t) dt / 2), normalised [published].

    Parameters
    ----------
    time : array, shape (T,)
        Seconds.
    rates : array, shape (T, 3)
        rad/s, in the body's frame.
    start : array, shape (4,)
        Orientation at the first sample.
    """
    turns = np.concatenate([np.ones((len(time) - 1, 1)), rates[:-1] * np.diff(time)[:, None] / 2], axis=1)
    turns /= np.linalg.norm(turns, axis=1, keepdims=True)
    return cumulative(np.concatenate([start[None] / np.linalg.norm(start), turns]))


def _start_frame(info: Mapping[str, Any], found: Found, count: int) -> tuple[int, tuple[Note, ...]]:
    """Return the first sample to use; what lies before is the calibration, or the walk up to the start."""
    if "start_frame" not in info:
        return 0, (Note(found.id, "no start_frame in info.json: used from the first sample"),)
    first = info["start_frame"]
    if not isinstance(first, int | float) or first != first // 1 or not 0 <= first < count - 1:
        raise DamagedRecordingError(found.files[1], "start_frame", f"0 to {count - 2}", shortened(first))
    return int(first), ()


def velocity(edges: Mapping[str, FloatArray]) -> FloatArray:
    """Displacement over each step along x and y of the ground truth's (horizontal) frame."""
    return np.diff(edges["position"][:, :2], axis=0)


SOURCE = Source(
    find=find,
    read=read,
    layout="folders that hold data.hdf5 and info.json, within the publisher's four folders or anywhere below",
    targets={"velocity": velocity},
)
