"""TotalCapture (Trumble et al., BMVC 2017): 13 body-worn IMUs as text, and a skeleton from motion capture."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from csp_data.card import Card
from csp_data.errors import DamagedRecordingError
from csp_data.protocol import Protocol
from csp_data.recording import FloatArray, Note, Recording, Stream
from csp_data.signal.rotation import first_two_columns, largest_positive, multiply, rotate
from csp_data.sources import Found, Source
from csp_data.sources.folders import walk_folders
from csp_data.sources.skeleton import check_inches, order_notes, read_skeleton, sampled, to_wxyz
from csp_data.sources.text import letters_of, named_numbers, read_bytes

RATE_HZ = 60.0
INCH = 0.0254  # m
SENSORS = re.compile(r"(?:s(?P<person>\d)_)?(?P<name>[a-z]+\d)_xsens(?P<aux>_auxfields)?\.sensors")
CALIBRATION = re.compile(r"(?:s(?P<person>\d)_)?(?P<name>[a-z]+\d)_calib_imu_ref\.txt")
FOLDER = re.compile(r"(?:s(?P<person>\d)_)?(?P<name>[a-z]+\d)")
# what the published code's script calls its copies, in a folder s1_acting1 each
COPIES = {"imu.txt": "s{}_{}_xsens.sensors", "imu.sensors": "s{}_{}_xsens.sensors"}
COPIES |= {"calib_imu_ref.txt": "s{}_{}_calib_imu_ref.txt"}
PERSON = re.compile(r"s(\d)(?:_.*)?")


def find(root: Path) -> list[Found]:
    """Find the sequences below `root`, however the archives were unpacked, sorted by id; each is its own group.

    The published parts share subjects, so a group cannot be one.

    A sequence is found by its ``.sensors`` file; of the two exports the one with 7 values a sensor is taken, which
    holds the same orientations and accelerations as the one with 13. The copies into which the published code
    sorts its files, a folder a sequence, are found too.
    """
    sensors: dict[str, tuple[bool, Path]] = {}
    others: dict[tuple[str, str], Path] = {}
    for folder, files in walk_folders(root):
        for file in files:
            path, name = Path(folder) / file, file.lower()
            above = FOLDER.fullmatch(path.parent.name.lower())
            if name in COPIES and above and above["person"]:
                name = COPIES[name].format(above["person"], above["name"])
            if match := SENSORS.fullmatch(name):
                id_ = f"s{_person(match['person'], path, root)}_{match['name']}"
                sensors[id_] = min(sensors.get(id_, (True, path)), (match["aux"] is not None, path))
            elif match := CALIBRATION.fullmatch(name):
                others[f"s{_person(match['person'], path, root)}_{match['name']}", "calibration"] = path
            elif above and name in ("gt_skel_gbl_pos.txt", "gt_skel_gbl_ori.txt"):
                id_ = f"s{_person(above['person'], path.parent, root)}_{above['name']}"
                others[id_, name] = path
    return [
        Found(
            id=id_,
            group=id_,
            files=(
                path,
                others.get((id_, "calibration"), path.with_name(f"{id_}_calib_imu_ref.txt")),
                *(
                    others.get((id_, name), root / id_.split("_")[0].upper() / id_.split("_")[1] / name)
                    for name in ("gt_skel_gbl_pos.txt", "gt_skel_gbl_ori.txt")
                ),
            ),
            subject=id_.split("_")[0],
        )
        for id_, (_, path) in sorted(sensors.items())
    ]


def _person(named: str | None, path: Path, root: Path) -> str:
    """Return the number of the person: from the file's name, or from the nearest folder, up to the root."""
    if named:
        return named
    for folder in reversed((root.absolute().name, *path.relative_to(root).parts[:-1])):
        if match := PERSON.fullmatch(folder.lower()):
            return match[1]
    return "0"


def read(found: Found, card: Card, protocol: Protocol) -> Recording:
    """Read a sequence; accelerations and orientations are turned into the global frame by the calibration.

    Each joint's position is given in its own frame at the first frame, R(0)^-1 (p(t) - p(0)) [published].
    """
    sensors_file, calibration_file, position_file, orientation_file = found.files
    sensors = [name.removeprefix("acc_").removesuffix("_x") for name in card.stream("acceleration").channels[::3]]
    joints = [name.removesuffix("_x") for name in card.stream("position").channels[::3]]
    values = _read_sensors(sensors_file, sensors)
    # the sign matters only where quaternions are interpolated number by number, as the published code does
    orientation = largest_positive(multiply(_read_calibration(calibration_file, sensors), values[:, :, :4]))
    acceleration = rotate(orientation.reshape(-1, 4), values[:, :, 4:7].reshape(-1, 3))
    position = read_skeleton(position_file, joints, 3)
    check_inches(position_file, position)
    rows = sampled(len(position))
    turns = read_skeleton(orientation_file, joints, 4, rows)
    notes = order_notes(found.id, position[rows], turns, joints, protocol.truth_quaternions)
    count = len(values)
    if len(position) != count:
        detail = f"{count} frames of sensors, {len(position)} of the skeleton"
        notes.append(Note(found.id, "sensors and ground truth of unequal length cut to the shorter", detail))
    moved = (position - position[0])[:count]
    first = np.tile(to_wxyz(turns[0], protocol.truth_quaternions), (len(moved), 1))
    streams = {
        "acceleration": acceleration.reshape(count, -1),
        "orientation": orientation.reshape(count, -1),
        "position": rotate(first, moved.reshape(-1, 3), inverse=True).reshape(len(moved), -1),
    }
    time = np.arange(count) / RATE_HZ
    return Recording(
        id=found.id,
        group=found.group,
        path=sensors_file,
        streams={name: Stream.of(card.stream(name), time[: len(rows)], rows) for name, rows in streams.items()},
        notes=tuple(notes),
    )


def _read_sensors(path: Path, sensors: list[str]) -> FloatArray:
    """Read a ``.sensors`` file: (T, S, 7 or 13), w x y z, acceleration, and what else it has.

    The first line counts sensors and frames. A frame is its number, then a line a sensor: name and values.
    """
    text = read_bytes(path)
    start, frames, names, width = _read_layout(path, text)
    if missing := [name for name in sensors if name not in names]:
        raise DamagedRecordingError(path, "first frame", f"sensor {missing[0]!r}", ", ".join(names))
    if width not in (7, 13):
        raise DamagedRecordingError(path, "values a sensor", "7 or 13", str(width))
    count = len(names)
    # all names, one after the other, are those of the first frame over and over; without them only numbers remain
    flat = None
    if frames <= len(text):  # or the names that are expected might not fit into memory
        expected = "".join(names).encode() * frames
        flat = named_numbers(memoryview(text)[start:], expected, frames * (1 + count * width))
    if flat is None:
        begun = letters_of(text[start:]).count(names[0].encode()) if frames else 0
        raise DamagedRecordingError(
            path,
            "frames",
            f"{frames} of {count} sensors with {width} numbers each",
            f"{begun} that begin, or others",
        )
    order = [names.index(name) for name in sensors]
    values = flat.reshape(frames, 1 + count * width)[:, 1:].reshape(frames, count, width)
    if frames < 2 or not (np.linalg.norm(values[:, order, :4], axis=2) > 0.5).all():
        raise DamagedRecordingError(path, "orientations", "two frames or more of quaternions", "others")
    return values if order == list(range(count)) else values[:, order]


def _read_layout(path: Path, text: bytes) -> tuple[int, int, list[str], int]:
    """Return where frames begin, how many there are, the sensors' names, and how many values each has."""
    start = text.find(b"\n") + 1 or len(text)
    head = text[:start].rstrip(b"\n")
    try:
        count, frames = (int(word) for word in head.split())
        if count > len(text):
            raise ValueError
        lines = text.split(b"\n", count + 2)[2 : count + 2]
        names = [line.split()[0].decode() for line in lines]
        width = len(lines[0].split()) - 1
    except (ValueError, IndexError) as error:
        raise DamagedRecordingError(
            path, "header", "sensors, frames, and a first frame", repr(head[:80])
        ) from error
    return start, frames, names, width


def _read_calibration(path: Path, sensors: list[str]) -> FloatArray:
    """Read the rotation of each sensor's reference into the global frame: (S, 4), w x y z."""
    # the file has x y z w
    rows = [line.split() for line in read_bytes(path).decode(errors="replace").splitlines()]
    table = {row[0]: row[1:] for row in rows if len(row) == 5}
    try:
        quaternions = np.array([table[name] for name in sensors], dtype=np.float64)
    except (KeyError, ValueError) as error:
        raise DamagedRecordingError(path, "rotations", "name x y z w for each sensor", str(error)) from error
    return np.roll(quaternions, 1, axis=1)


def displacement(edges: Mapping[str, FloatArray]) -> FloatArray:
    """Displacement of each joint over each step, in inches, in the joint's own first frame [published]."""
    return np.diff(edges["position"], axis=0)


def velocity(edges: Mapping[str, FloatArray]) -> FloatArray:
    """Displacement of each joint over each step, in metres, in the joint's own first frame."""
    return np.diff(edges["position"], axis=0) * INCH


SOURCE = Source(
    find=find,
    read=read,
    layout=(
        "files s1_acting1_Xsens.sensors and s1_acting1_calib_imu_ref.txt, and folders S1/acting1 with"
        " gt_skel_gbl_pos.txt and gt_skel_gbl_ori.txt; or a folder s1_acting1 with both and imu.txt and"
        " calib_imu_ref.txt, as the published code sorts them"
    ),
    targets={"velocity": velocity, "displacement": displacement},
    inputs={"orientation": first_two_columns},
)
