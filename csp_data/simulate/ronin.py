"""RoNIN: a phone carried through a building, with the pose of a Tango device on the chest as the truth."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from csp_data.recording import FloatArray
from csp_data.simulate.clock import Clock
from csp_data.simulate.demonstration import GZIP, duplicate_stamps
from csp_data.simulate.imu import ImuModel, Measured, drifting
from csp_data.simulate.motion import GRAVITY, Inertial, Walk
from csp_data.simulate.plan import Simulation, Task, draw_defects
from csp_data.simulate.quaternions import about_z, conjugate, multiply, random, rotate, small
from csp_data.simulate.stamp import STAMP

__all__ = ["LISTS", "PHONE", "SIMULATION"]

MEAN_SECONDS, SHORTEST = 547.0, 20.0
CLOCK = Clock(hz=200.0, jitter=0.03, gap=5e-5)
PHONE = ImuModel(force_noise=0.03, rate_noise=0.004, force_bias=0.04, rate_bias=0.02, rate_walk=2e-5, scale=0.012)
NORTH = np.array([[5.0], [18.0], [-48.0]])  # uT: the Earth's field, heading of the world drawn with the walk

# The publisher's lists (github.com/Sachini/ronin, folder lists): "a" + subject of three digits + "_" + number
_TRAIN = """
001_1 001_3 002_1 002_2 003_1 003_2 004_2 005_1 007_2 009_3 010_1 010_3 011_1 011_3 012_1 012_3 013_1 013_3 014_1
015_1 015_3 016_3 017_1 017_3 018_1 018_2 018_3 020_1 020_3 021_1 022_1 022_3 023_2 023_3 025_1 025_3 026_3 027_1
027_3 028_3 030_1 031_1 031_3 033_1 033_3 034_1 034_2 034_3 035_1 036_1 036_3 037_3 038_3 040_2 040_3 043_1 043_3
044_1 044_3 045_1 045_3 046_1 046_3 047_3 000_1 000_10 000_2 000_3 000_4 000_5 059_1 059_3"""
_VAL = "000_6 000_8 000_9 009_2 014_3 015_2 021_3 026_1 028_1 038_1 039_1 039_2 045_2 047_1 056_1 056_3"
_SEEN = """
001_2 003_3 004_3 005_3 009_1 010_2 011_2 012_2 013_2 014_2 016_1 017_2 020_2 021_2 022_2 023_1 025_2 026_2 027_2
030_3 031_2 033_2 035_3 036_2 037_1 038_2 044_2 046_2 047_2 000_7 000_11 059_2"""
_UNSEEN = """
006_2 019_3 024_1 024_3 029_1 029_2 032_1 032_3 042_2 049_1 049_2 049_3 050_1 050_3 051_1 051_2 051_3 052_2 053_1
053_2 053_3 054_1 054_2 054_3 055_2 055_3 057_1 057_2 057_3 058_1 058_2 058_3"""
LISTS = {
    part: tuple(f"a{name}" for name in text.split())
    for part, text in (("train", _TRAIN), ("val", _VAL), ("seen", _SEEN), ("unseen", _UNSEEN))
}
"""The 152 published sequences (the list of 153 names a007_3, which is in no archive), by part."""

# Three sequences of the train list lie in the archive of the seen subjects
MISPLACED = ("a018_1", "a034_2", "a043_3")
SUBSETS = ("train_dataset_1", "train_dataset_2", "seen_subjects_test_set", "unseen_subjects_test_set")


@dataclass(frozen=True)
class Carry:
    """How a phone is carried: spread of the angles that swing with the steps and of slow tilting, in radians."""

    swing: float
    tilt: float


CARRIES = {"hand": Carry(0.06, 0.10), "pocket": Carry(0.20, 0.06), "bag": Carry(0.12, 0.05)}


def _subset(name: str, part: str) -> str:
    if part in ("seen", "unseen") or name in MISPLACED:
        return SUBSETS[3] if part == "unseen" else SUBSETS[2]
    return SUBSETS[int(name[1:4]) >= 26]  # the publisher's own cut between the two archives is not in its lists


def _order() -> list[tuple[str, str]]:
    """Return all sequences with their parts, the first few from all four lists and all four archives."""
    ranked = [
        ((k + 0.5) / len(names), name, part) for part, names in LISTS.items() for k, name in enumerate(names)
    ]
    first = [("a026_3", "train"), *((names[0], part) for part, names in LISTS.items())]
    return first + [(name, part) for _, name, part in sorted(ranked) if (name, part) not in first]


def _plan(hours: float, seed: int, rng: np.random.Generator) -> list[Task]:
    names = _order()
    count = int(np.clip(round(hours * 3600 / MEAN_SECONDS), 8, len(names)))
    lengths = rng.uniform(0.8, 1.2, count)
    lengths = np.maximum(lengths * (hours * 3600 / lengths.sum()), SHORTEST)
    defects = draw_defects(rng, count, ("duplicate stamps", "frozen reference"))
    carries = rng.choice(list(CARRIES), count)
    return [
        Task(name, float(lengths[k]), seed, group=_subset(name, part), kind=str(carries[k]), defect=defects[k])
        for k, (name, part) in enumerate(names[:count])
    ]


def _info(
    task: Task,
    rng: np.random.Generator,
    time: FloatArray,
    measured: Measured,
    calibration: tuple[FloatArray, FloatArray],
    errors: tuple[float, float, float],
) -> dict[str, Any]:
    """Return the contents of info.json; a sequence that nobody annotated lacks four entries."""
    annotated = rng.random() > 0.15
    info: dict[str, Any] = {
        "path": task.id,
        "type": "annotated" if annotated else "unannotated",
        "date": "01/01/20",
        "device": "simulated",
        "length": float(time[-1] - time[0]),
        "imu_reference_time": float(time[0]),
        "imu_init_gyro_bias": measured.rate_bias.tolist(),
        "imu_end_gyro_bias": (measured.rate_bias + measured.walk[:, -1]).tolist(),
        "imu_acce_bias": measured.force_bias.tolist(),
        "imu_acce_scale": measured.scale.tolist(),
        "start_calibration": calibration[0].tolist(),
        "end_calibration": calibration[1].tolist(),
        "gyro_integration_error": errors[0],
        "grv_ori_error": errors[1],
        "ekf_ori_error": errors[2],
        "imu_time_offset": float(rng.normal(0.0, 0.02)),
    }
    if annotated:
        still = min(4.0, 0.05 * task.seconds)
        info["start_frame"] = int(np.searchsorted(time, time[0] + still))
        info["align_tango_to_body"] = about_z(rng.uniform(-3, 3))[:, 0].tolist()
        info["tango_reference_time"] = float(time[0] + rng.uniform(1e3, 1e5))
    return info


def _gyro_error(truth: Inertial, measured: Measured, time: FloatArray) -> float:
    """Return by how many degrees integrating the calibrated gyroscope errs at the end, to first order."""
    steps = np.diff(time, append=time[-1])
    turned: FloatArray = (rotate(truth.orientation, measured.walk) * steps).sum(axis=1)
    return float(np.degrees(np.linalg.norm(turned)))


def _orientation_estimates(
    truth: Inertial, measured: Measured, time: FloatArray, rng: np.random.Generator
) -> tuple[dict[str, FloatArray], tuple[float, float, float]]:
    """Return the orientations that the phone's filters report, and the errors that info.json states."""
    # every filter has a heading of its own; the Tango's world is the walk's
    headings = [about_z(angle) for angle in rng.uniform(-np.pi, np.pi, 2)]
    drift_rates = rng.uniform(1e-3, 8e-3, 2)
    game, game_error = drifting(truth.orientation, rng, time, drift_rates[0])
    ekf, ekf_error = drifting(truth.orientation, rng, time, drift_rates[1])
    estimates = {
        "game_rv": multiply(headings[0], game),
        "rv": multiply(small(rng.normal(0.0, 0.01, (3, len(time)))), truth.orientation),
        "ekf": multiply(headings[1], ekf),
    }
    return estimates, (_gyro_error(truth, measured, time), game_error, ekf_error)


def _write(root: Path, task: Task) -> None:
    rng = task.rng()
    carry = CARRIES[task.kind]
    walk = Walk.random(rng, task.seconds, still=min(3.0, 0.04 * task.seconds))
    phone = walk.carried(rng, task.seconds, carry.swing, carry.tilt, rng.uniform(-np.pi, np.pi))
    chest = walk.carried(rng, task.seconds, 0.03, 0.03, 0.0)
    time = CLOCK.ticks(rng, 0.0, task.seconds)
    truth = phone.inertial(time, random(rng))
    measured = PHONE.measure(truth, time, rng)
    calibrated = measured.rate - measured.rate_bias[:, None] + rng.normal(0.0, 1e-3, (3, 1))

    estimates, errors = _orientation_estimates(truth, measured, time, rng)
    tango = multiply(chest.orientation(time), random(rng))
    to_tango = conjugate(tango)
    calibration = (
        multiply(to_tango[:, :1], truth.orientation[:, :1])[:, 0],
        multiply(to_tango[:, -1:], truth.orientation[:, -1:])[:, 0],
    )
    position = chest.position(time) + rng.normal(0.0, 1e-3, (3, len(time)))
    up = rotate(conjugate(truth.orientation), np.array([[0.0], [0.0], [GRAVITY]]))
    magnet = rotate(conjugate(truth.orientation), NORTH) + rng.normal(0.0, 0.4, (3, len(time)))
    if task.defect == "frozen reference":
        first = len(time) // 3
        position[:, first : first + len(time) // 20] = position[:, first : first + 1]
    stamps = duplicate_stamps(time, rng, 1e-3) if task.defect == "duplicate stamps" else time

    folder = root / task.group / task.id
    folder.mkdir(parents=True)
    boot = float(rng.uniform(1e3, 5e3))  # the phone's clock counts from its start
    arrays = {
        "synced/time": boot + stamps,
        "synced/gyro": calibrated,
        "synced/gyro_uncalib": measured.rate,
        "synced/acce": measured.force,
        "synced/magnet": magnet,
        "synced/game_rv": estimates["game_rv"],
        "synced/rv": estimates["rv"],
        "synced/grav": up,
        "synced/linacce": measured.force - up,
        "pose/tango_pos": position,
        "pose/tango_ori": tango,
        "pose/ekf_ori": estimates["ekf"],
    }
    with h5py.File(folder / "data.hdf5", "w") as file:
        file.attrs["simulated"] = True
        for key, values in arrays.items():
            file.create_dataset(key, data=values.T, **(GZIP if task.compressed else {}))
    info = _info(task, rng, boot + time, measured, calibration, errors)
    (folder / "info.json").write_text(json.dumps(info, indent=1) + "\n", encoding="utf-8")


def _archive(root: Path, tasks: Sequence[Task]) -> None:
    """Pack each subset into a zip, as the publisher's record has them."""
    for subset in SUBSETS:
        names = [
            f"{task.id}/{name}" for task in tasks if task.group == subset for name in ("data.hdf5", "info.json")
        ]
        with zipfile.ZipFile(root / f"{subset}.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for name in (STAMP, *(f"{subset}/{name}" for name in names)):
                entry = zipfile.ZipInfo(name, date_time=(2020, 1, 1, 0, 0, 0))
                entry.compress_type = zipfile.ZIP_DEFLATED
                with (root / name).open("rb") as file, archive.open(entry, "w", force_zip64=True) as out:
                    shutil.copyfileobj(file, out, 1 << 20)
        shutil.rmtree(root / subset)


SIMULATION = Simulation(hours=23.1, plan=_plan, write=_write, archive=_archive)
