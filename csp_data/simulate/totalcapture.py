"""TotalCapture: 13 Xsens IMUs on a body, with the skeleton that Vicon cameras saw, as tar archives of text."""

from __future__ import annotations

import gzip
import shutil
import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from csp_data.recording import FloatArray
from csp_data.simulate.body import draw_body
from csp_data.simulate.imu import ImuModel
from csp_data.simulate.motion import Inertial
from csp_data.simulate.plan import Simulation, Task, generator
from csp_data.simulate.quaternions import about_z, conjugate, flip_signs, multiply, random, rotate, small
from csp_data.simulate.skeleton import JOINTS, SENSORS, State, strapped
from csp_data.simulate.stamp import STAMP
from csp_data.simulate.text import Block, fixed, integers, join, literal

__all__ = ["SEQUENCES", "SIMULATION", "XSENS"]

HZ = 60.0
SHORTEST = 8.0  # s
INCH = 0.0254  # m
EPOCH = 1_400_000_000  # modification time of the archives' members
FLIP_RATE = 334 / 3006  # sign flips a frame of a joint's quaternion, counted in a genuine file

XSENS = ImuModel(force_noise=0.04, rate_noise=0.008, force_bias=0.03, rate_bias=0.004, rate_walk=1e-5, scale=0.003)
FIELD = np.array([[0.9], [0.0], [-0.45]])  # Earth's field in its own units, in the inertial frame (z up)

_ALL = tuple(f"{kind}{k}" for kind in ("rom", "walking", "acting", "freestyle") for k in (1, 2, 3))
_FEW = ("rom3", "walking2", "acting3", "freestyle1", "freestyle3")
SEQUENCES = {"S1": _ALL, "S2": _ALL, "S3": _ALL, "S4": _FEW, "S5": _FEW}
"""The 46 published sequences by subject."""

# Archives of every subject: inertial data come in one, the truth in another; one is not compressed
PLAIN = ("S3_imu",)
# The publisher has two exports of every sequence, people mostly have one of them: S1 has both here, S5 the first
WITHOUT_SEVEN, WITHOUT_THIRTEEN = ("S2", "S3", "S4"), ("S5",)


def _plan(hours: float, seed: int, rng: np.random.Generator) -> list[Task]:
    names = [(subject, name) for subject, listed in SEQUENCES.items() for name in listed]
    shares = rng.uniform(0.7, 1.3, len(names))
    seconds = np.maximum(hours * 3600 * shares / shares.sum(), SHORTEST)
    return [
        Task(f"{subject}_{name}", float(length), seed, group=subject, kind=name)
        for (subject, name), length in zip(names, seconds, strict=True)
    ]


def _mounts(task: Task, rng: np.random.Generator) -> list[FloatArray]:
    """Return how each sensor sits on its bone: nearly alike on all subjects, and from one sequence to the next."""
    mounts = []
    for strap in SENSORS:
        nominal = random(generator(task.seed, strap.name))
        of_subject = generator(task.seed, f"{task.group} {strap.name}").normal(0.0, 0.08, (3, 1))
        mounts.append(multiply(nominal, small(of_subject + rng.normal(0.0, 0.02, (3, 1)))))
    return mounts


def _sensed(
    state: State,
    size: float,
    mounts: list[FloatArray],
    reference: list[FloatArray],
    time: FloatArray,
    rng: np.random.Generator,
) -> list[FloatArray]:
    """Return every sensor's values (T, 13): quaternion w x y z, acceleration, rate, magnetic field."""
    values = []
    for strap, mount, calibration in zip(SENSORS, mounts, reference, strict=True):
        force, rate, orientation = strapped(state, strap, mount, size)
        measured = XSENS.measure(Inertial(force, rate, orientation), time, rng)
        # the filter reports orientations in the inertial frame of its own magnetometer
        inertial = multiply(conjugate(calibration), orientation)
        inertial = multiply(inertial, small(rng.normal(0.0, 2e-3, (3, len(time)))))
        magnetic = rotate(conjugate(inertial), FIELD) + rng.normal(0.0, 0.01, (3, len(time)))
        values.append(np.concatenate([inertial, measured.force, measured.rate, magnetic]).T)
    return values


def _sensors_text(values: list[FloatArray], columns: int) -> bytes:
    """Return a .sensors file with the first so many values of each sensor."""
    frames = len(values[0])
    blocks: list[Block] = [integers(np.arange(1, frames + 1), b"\n")]
    for strap, rows in zip(SENSORS, values, strict=True):
        ends = [b"\t"] * (columns - 1) + [b"\n"]
        blocks += [literal(strap.name.encode() + b"\t", frames), fixed(rows[:, :columns], 6, ends)]
    return f"{len(SENSORS)}\t{frames}\n".encode() + join(*blocks)


def _truth(state: State, rng: np.random.Generator) -> tuple[bytes, bytes]:
    """Return the text of positions in inches and orientations x y z w; every line ends in a tab."""
    head = "\t".join(JOINTS).encode() + b"\t\n"
    frames = state.position.shape[2]
    blank, newline = [b" ", b" ", b"\t"], literal(b"\n", frames)
    inches = state.position.transpose(2, 0, 1).reshape(frames, -1) / INCH
    places = fixed(inches, 4, blank * len(JOINTS), groups=2)
    turns = []
    for orientation in state.orientation:
        flips = np.less(rng.random(frames), FLIP_RATE)
        turns.append(flip_signs(orientation, flips)[[1, 2, 3, 0]].T)
    ends = [b" ", b" ", b" ", b"\t"] * len(JOINTS)
    orientations = fixed(np.concatenate(turns, axis=1), 6, ends)
    return head + join(places, newline), head + join(orientations, newline)


def _calibration(quaternions: list[FloatArray]) -> bytes:
    rows = [f"{len(SENSORS)}"]
    for strap, (w, x, y, z) in zip(SENSORS, (q[:, 0] for q in quaternions), strict=True):
        rows.append(f"{strap.name} {x:.6f} {y:.6f} {z:.6f} {w:.6f}")
    return ("\n".join(rows) + "\n").encode()


def _write(root: Path, task: Task) -> None:
    rng = task.rng()
    body = draw_body(rng, generator(task.seed, task.group), task.kind, task.seconds)
    frames = int(task.seconds * HZ)
    time = np.arange(frames + 1) / HZ
    state = body.motion.state(time)
    # from each sensor's inertial frame (z up) to the world (y up), headings a few degrees apart
    tilt = np.array([[np.sqrt(0.5)], [-np.sqrt(0.5)], [0.0], [0.0]])
    reference = [multiply(tilt, about_z(a)) for a in rng.normal(0.6, 0.05, len(SENSORS))]
    until = State(*(array[..., :frames] for array in vars(state).values()))  # the truth has one frame more
    mounts = _mounts(task, rng)
    values = _sensed(until, body.size, mounts, reference, time[:frames], rng)
    places, turns = _truth(state, rng)
    subject, name = task.group, task.kind
    stem = f"{subject}/{subject.lower()}_{name}"
    inertial = {
        f"{stem}_calib_imu_ref.txt": _calibration(reference),
        f"{stem}_calib_imu_bone.txt": _calibration(mounts),
    }
    if subject not in WITHOUT_SEVEN:
        inertial[f"{stem}_Xsens.sensors"] = _sensors_text(values, 7)
    if subject not in WITHOUT_THIRTEEN:
        inertial[f"{stem}_Xsens_AuxFields.sensors"] = _sensors_text(values, 13)
    truth = {
        f"{subject}/{name}/gt_skel_gbl_pos.txt": places,
        f"{subject}/{name}/gt_skel_gbl_ori.txt": turns,
    }
    if task.archived:
        _piece(root, f"{subject}_imu", task, inertial)
        _piece(root, f"{subject}_vicon_pos_ori", task, truth)
        return
    for member, content in {**inertial, **truth}.items():
        path = root / member
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _piece(root: Path, archive: str, task: Task, members: dict[str, bytes]) -> None:
    """Write the tar members of one sequence, compressed by themselves, as a piece of an archive."""
    folder = root / f".{archive}"
    folder.mkdir(exist_ok=True)
    (folder / task.kind).write_bytes(_packed(archive, b"".join(_member(*member) for member in members.items())))


def _member(name: str, content: bytes) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.mtime = len(content), EPOCH
    return info.tobuf(tarfile.USTAR_FORMAT) + content + bytes(-len(content) % tarfile.BLOCKSIZE)


def _packed(archive: str, data: bytes) -> bytes:
    return data if archive in PLAIN else gzip.compress(data, compresslevel=1, mtime=0)


def _archive(root: Path, tasks: Sequence[Task]) -> None:
    """Join the pieces: gzip files in a row are one gzip file (RFC 1952, 2.2), and so are the members of a tar."""
    for subject, names in SEQUENCES.items():
        for archive in (f"{subject}_imu", f"{subject}_vicon_pos_ori"):
            folder = root / f".{archive}"
            with (root / f"{archive}.tar{'' if archive in PLAIN else '.gz'}").open("wb") as out:
                for name in names:
                    with (folder / name).open("rb") as piece:
                        shutil.copyfileobj(piece, out)
                last = _member(STAMP, (root / STAMP).read_bytes())
                out.write(_packed(archive, last + bytes(2 * tarfile.BLOCKSIZE)))
            shutil.rmtree(folder)


SIMULATION = Simulation(hours=0.8, plan=_plan, write=_write, archive=_archive)
