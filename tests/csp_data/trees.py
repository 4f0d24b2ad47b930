"""Small raw trees of every source, from closed formulas: what an input or a target must be at a time is known.

Signals are slow sines, so that interpolation hardly matters, on irregular clocks. ``rough`` adds what real
recordings have: repeated time stamps, lengths that differ, a jump, a gap, sensors that turn, sign flips, missing
keys, tabs at the ends of lines.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

EPOCH = 1_700_000_000.0
SENSORS = [
    *("Head", "Sternum", "Pelvis"),
    *(f"{s}_{p}" for p in ("UpArm", "LowArm", "UpLeg", "LowLeg", "Foot") for s in "LR"),
]
JOINTS = [
    *("Hips", "Spine", "Spine1", "Spine2", "Spine3", "Neck", "Head"),
    *(f"{side}{part}" for side in ("Right", "Left") for part in ("Shoulder", "Arm", "ForeArm", "Hand")),
    *(f"{side}{part}" for side in ("Right", "Left") for part in ("UpLeg", "Leg", "Foot")),
]


def wave(time: Array, channels: int, amplitude: float, seed: int) -> Array:
    """Slow sines (T, C), at most 2 rad/s, each channel its own; the same function of time for all clocks."""
    index = np.arange(channels) + 7.0 * seed
    rate = 1.0 + np.mod(index * 0.37, 1.0)
    return amplitude * (0.5 + np.mod(index * 0.61, 0.5)) * np.sin(rate * time[:, None] + index)


def clock(start: float, seconds: float, rate: float, seed: int, *, rough: bool) -> Array:
    """A clock with jitter of a tenth of its step; a rough one has a stamp that stands twice."""
    count = int(seconds * rate)
    time = start + (np.arange(count) + 0.1 * np.sin(np.arange(count) * 1.7 + seed)) / rate
    if rough:
        time[count // 3] = time[count // 3 - 1]
    return time


def turning(time: Array, seed: int, *, rough: bool) -> Array:
    """Unit quaternions w x y z: at rest, or turning about a slanted axis, with sign flips."""
    angle = (0.8 * np.sin(0.7 * time + seed)) if rough else np.zeros(len(time))
    axis = np.array([0.48, 0.6, 0.64])
    q = np.concatenate([np.cos(angle / 2)[:, None], np.sin(angle / 2)[:, None] * axis], axis=1)
    if rough:
        q[len(q) // 2 :] *= -1
    return q


def write_h5(path: Path, **arrays: Array) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file[name] = values


def rewrite(file: Path, **changes: Callable[[Array], Array] | None) -> None:
    """Change arrays of an HDF5 file, or delete those without a change."""
    with h5py.File(file, "r+") as opened:
        for key, change in changes.items():
            values = opened[key][()]
            del opened[key]
            if change is not None:
                opened[key] = change(values)


def marker(root: Path, names: Iterable[str], seconds: float, *, rough: bool = False) -> None:
    """Demonstrations of ReSkin and Kinova; with `rough` the first one jumps and the second has a gap."""
    for seed, name in enumerate(names):
        touch = clock(EPOCH, seconds, 100.0, seed, rough=rough)
        arm = clock(EPOCH + 0.031, seconds - 0.05, 30.0, seed + 1, rough=rough)
        values = wave(touch - EPOCH, 30, 200.0, seed) + 1000.0 * np.cos(np.arange(30))
        angle = 0.4 * np.sin(1.1 * (arm - EPOCH))
        orientations = np.stack([0 * angle, np.sin(angle / 2), 0 * angle, np.cos(angle / 2)], axis=1)
        position = wave(arm - EPOCH, 3, 0.1, seed + 50)
        if rough and seed == 1:
            touch, values = np.delete(touch, slice(250, 290)), np.delete(values, slice(250, 290), axis=0)
        if rough and seed == 0:
            values[120, 4] += 2000.0
        write_h5(root / name / "reskin_sensor_values.h5", timestamps=touch, sensor_values=values)
        write_h5(
            root / name / "kinova_cartesian_states.h5",
            timestamps=arm[: len(arm) - (2 if rough else 0)],
            positions=position,
            orientations=orientations,
        )


def joystick(root: Path, names: Iterable[str], seconds: float, *, rough: bool = False) -> None:
    """Demonstrations of Xela pads (27 channels) and a stick; with `rough` the last one is 3 s shorter."""
    names = list(names)
    for seed, name in enumerate(names):
        length = seconds - 3.0 if rough and seed == len(names) - 1 else seconds
        touch = clock(EPOCH, length, 100.0, seed, rough=rough)
        stick = clock(EPOCH + 0.012, length, 60.0, seed + 1, rough=rough)
        values = wave(touch - EPOCH, 27, 300.0, seed) + 32000.0
        write_h5(
            root / name / "touch_sensor_values.h5",
            timestamps=touch,
            finger_sensor_values=values[:, :12].reshape(-1, 2, 2, 3),
            fingertip_sensor_values=values[:, 12:21].reshape(-1, 3, 3),
            palm_sensor_values=values[:, 21:].reshape(-1, 2, 3),
        )
        write_h5(
            root / name / "extreme3d_values.h5", timestamps=stick, axes=wave(stick - EPOCH, 3, 0.8, seed + 50)
        )


def ronin(root: Path, names: Iterable[str], seconds: float, *, rough: bool = False) -> None:
    """Sequences; with `rough` a different orientation wins in each, and some lack start_frame or ekf_ori."""
    for seed, name in enumerate(names):
        time = clock(3000.0, seconds, 200.0, seed, rough=rough)
        body = time - 3000.0
        arrays = {
            "synced/time": time,
            "synced/acce": wave(body, 3, 5.0, seed),
            "synced/gyro_uncalib": wave(body, 3, 0.5, seed + 20),
            "synced/game_rv": turning(body, seed, rough=rough),
            "pose/tango_pos": wave(body, 3, 1.0, seed + 50),
            "pose/tango_ori": turning(body, seed + 3, rough=rough),
        }
        if not rough or seed % 2 == 0:
            arrays["pose/ekf_ori"] = turning(body, seed + 5, rough=rough)
        write_h5(root / name / "data.hdf5", **arrays)
        info = {
            "imu_init_gyro_bias": [0.01, -0.02, 0.03] if rough else [0.0, 0.0, 0.0],
            "imu_acce_bias": [0.1, 0.2, -0.1] if rough else [0.0, 0.0, 0.0],
            "imu_acce_scale": [1.01, 0.99, 1.02] if rough else [1.0, 1.0, 1.0],
            "start_calibration": [0.8, 0.6, 0.0, 0.0] if rough else [1.0, 0.0, 0.0, 0.0],
            "gyro_integration_error": [1.0, 9.0, 9.0][seed % 3],
            "grv_ori_error": [9.0, 1.0, 9.0][seed % 3],
            "ekf_ori_error": [9.0, 9.0, 1.0][seed % 3],
        }
        if not rough or seed % 3:
            info["start_frame"] = 60 if rough else 0
        (root / name / "info.json").write_text(json.dumps(info))


def table(path: Path, head: str, values: Array, form: str = "%.9f") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savetxt(path, values, fmt=form, header=head, comments="# ")


def vector(root: Path, names: Iterable[str], seconds: float, *, rough: bool = False) -> None:
    """Sequences of two text files; clocks near 0, since text keeps only so many digits."""
    for seed, name in enumerate(names):
        imu = clock(10.0, seconds + 0.3, 200.0, seed, rough=rough)
        truth = clock(10.21, seconds, 120.0, seed + 1, rough=rough)
        tail = wave(imu - 10, 4 if rough else 3, 0.2, seed + 80)  # an orientation, or a magnetometer
        rows = np.column_stack([imu, wave(imu - 10, 3, 0.5, seed + 20), wave(imu - 10, 3, 5.0, seed), tail])
        pose = turning(truth - 10, seed, rough=rough)[:, [1, 2, 3, 0]]
        upper = rough and seed == 0
        table(root / f"{name}.synced.{'IMU.TXT' if upper else 'imu.txt'}", "made", rows)
        poses = np.column_stack([truth, wave(truth - 10, 3, 1.0, seed + 50), pose])
        table(root / f"{name}.synced.{'GT.TXT' if upper else 'gt.txt'}", "made", poses)


def skeleton(time: Array, seed: int) -> Array:
    """Positions in inches (T, J, 3): spread like a body, each joint swaying."""
    place = np.stack([3.0 * np.cos(np.arange(21)), 2.5 * np.arange(21), 3.0 * np.sin(np.arange(21))], axis=1)
    return place + wave(time, 63, 4.0, seed + 50).reshape(-1, 21, 3)


def totalcapture(root: Path, names: Iterable[str], seconds: float, *, rough: bool = False) -> None:
    """Sequences as s1_acting1; with `rough` 13 values a sensor in every other one, and one frame more of truth."""
    for seed, name in enumerate(names):
        person, action = name.split("_")
        time = np.arange(int(seconds * 60)) / 60.0
        quaternions = np.stack([turning(time, seed + i, rough=rough) for i in range(13)], axis=1)
        values = np.concatenate([quaternions, wave(time, 39, 5.0, seed).reshape(-1, 13, 3)], axis=2)
        aux = rough and seed % 2 == 1
        if aux:
            values = np.concatenate([values, np.ones((len(time), 13, 6))], axis=2)
        folder = root / f"{person}_imu" / person
        folder.mkdir(parents=True, exist_ok=True)
        file = f"{action.title()}_Xsens_AuxFields.sensors" if aux else f"{name}_Xsens.sensors"
        lines = [f"13\t{len(time)}"]
        for number, frame in enumerate(values, start=1):
            lines.append(str(number))
            lines += [
                "\t".join([sensor, *(f"{v:.6f}" for v in row)]) for sensor, row in zip(SENSORS, frame, strict=True)
            ]
        (folder / file).write_text("\n".join(lines) + "\n")
        rotation = "0.6 0.0 0.0 0.8" if rough else "0.0 0.0 0.0 1.0"
        calibration = "".join(f"{sensor} {rotation}\n" for sensor in SENSORS)
        (folder / f"{name}_calib_imu_ref.txt").write_text(("13\n" if rough else "") + calibration)
        if rough:
            time = np.append(time, time[-1] + 1 / 60)
        turns = turning(time, seed + 9, rough=rough)[:, [1, 2, 3, 0]]
        gt = root / f"{person}_vicon" / person.upper() / action
        gt.mkdir(parents=True, exist_ok=True)
        end = "\t" if rough else ""
        for kind, joints in (("pos", skeleton(time, seed)), ("ori", np.repeat(turns[:, None], 21, axis=1))):
            rows = ["\t".join(JOINTS) + end]
            rows += ["\t".join(" ".join(f"{v:.6f}" for v in joint) for joint in row) + end for row in joints]
            (gt / f"gt_skel_gbl_{kind}.txt").write_text("\n".join(rows) + "\n")


def slip(root: Path, names: Iterable[str], seconds: float, *, rough: bool = False) -> None:
    """Demonstrations of the same two sensors as marker, in a folder a box."""
    marker(root, names, seconds, rough=rough)


WRITERS: dict[str, Callable[..., None]] = {
    function.__name__: function for function in (marker, slip, joystick, ronin, vector, totalcapture)
}
NAMES = {
    "marker": tuple(f"demonstration_{i}" for i in (1, 2, 3, 10, 11)),
    "slip": ("box_a/demonstration_1", "box_a/demonstration_2", "box_b/demonstration_1", "box_c/demonstration_4"),
    "joystick": tuple(f"demonstration_{i}" for i in (1, 2, 10, 11)),
    "ronin": (
        "train_dataset_1/a001_1",
        "train_dataset_2/a000_6",
        "seen_subjects_test_set/a001_2",
        "unseen_subjects_test_set/a006_2",
    ),
    "vector": ("board_slow1", "corner_slow1", "desk_fast1", "robot-normal1", "sofa_fast1"),
    "totalcapture": ("s1_rom1", "s1_acting2", "s2_walking3", "s4_acting3"),
}
"""Recordings of a tree that has every part of both protocols."""


def write(name: str, root: Path, seconds: float = 5.5, *, rough: bool = False) -> Path:
    """Write a whole tree of a data set and return its root."""
    WRITERS[name](root, NAMES[name], seconds + (11.0 if name == "joystick" else 0.0), rough=rough)
    return root
