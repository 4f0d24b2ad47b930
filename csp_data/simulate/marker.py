"""Marker writing: a gripper draws strokes with a marker held between two magnetic skins."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from csp_data.recording import FloatArray
from csp_data.simulate.clock import Clock
from csp_data.simulate.curves import Segments, in_turn
from csp_data.simulate.demonstration import duplicate_stamps, start_time, write_file
from csp_data.simulate.magnetic import Contact, Skin
from csp_data.simulate.plan import Simulation, Task, allot, draw_defects, generator

__all__ = ["JUMP", "KINOVA", "RESKIN", "SIMULATION", "add_jump", "contacts", "strokes", "write_pair"]

MEAN_SECONDS, SECONDS = 22.5, (15.0, 30.0)
STROKES = (8, 12)
HALF_SQUARE = 0.05  # m: strokes lie in 10 x 10 cm
CENTRE = np.array([0.45, 0.05, 0.08])  # m, in the robot's base frame

RESKIN = Clock(hz=100.0, jitter=0.05, split=0.2, gap=1e-3)
KINOVA = Clock(hz=29.0, jitter=0.1, gap=5e-4)
JUMP = 2500.0  # uT: a magnetometer that resets; the published processing drops demonstrations with jumps over 1000

SKIN_LIFE = 250  # demonstrations before a skin is replaced

# Force on the tip in N: Coulomb friction that sets in within 1 cm/s, and a viscous part
FRICTION, SETTING_SPEED, VISCOUS = 0.6, 0.01, 8.0
COMPLIANCE = 0.35e-3  # m of shear a N
ROCKING = 2.0e-3  # m that the contact moves on the pad a N of side force: the marker tilts between the pads


def strokes(rng: np.random.Generator, seconds: float) -> Segments:
    """Return the path of the tip: 8 to 12 strokes with rests, now and then a lift to a new place.

    Returns
    -------
    Segments
        With components x, y in metres from the middle of the square, and the height of the tip in metres.
    """
    count = int(rng.integers(STROKES[0], STROKES[1] + 1))
    points = rng.uniform(-0.045, 0.045, (count + 1, 2))
    lifts = rng.random(count) < 0.3
    moves: list[tuple[FloatArray, FloatArray, float, float]] = []  # begin, end, bulge, relative duration
    here = np.append(points[0], 0.0)
    for k in range(count):
        if lifts[k] and k > 0:
            # up, over and down again is one bent move: its bulge is the height
            place = np.append(rng.uniform(-0.045, 0.045, 2), 0.0)
            moves.append((here, place, 0.02, 0.6))
            here = place
        there = np.append(points[k + 1], 0.0)
        moves.append((here, there, 0.0, rng.uniform(0.7, 1.3)))
        here = there
    begin, end = np.array([m[0] for m in moves]), np.array([m[1] for m in moves])
    weight = np.array([m[3] for m in moves])
    pause = rng.uniform(0.05, 0.25, len(moves))
    rest = 0.6  # s at the beginning and the end
    bulge = np.zeros_like(begin)
    bulge[:, 2] = [m[2] for m in moves]
    # strokes are bent a little to the side; all within the square
    side = (end - begin)[:, [1, 0]] * [-1.0, 1.0]
    bulge[:, :2] = side * rng.uniform(-0.1, 0.1, (len(moves), 1))
    inner = HALF_SQUARE - np.maximum(np.abs(begin[:, :2]), np.abs(end[:, :2]))
    bulge[:, :2] = np.clip(bulge[:, :2], -inner, inner)
    return Segments(*in_turn(weight, pause, rest, seconds - 2 * rest), begin, end, bulge)


def contacts(path: Segments, time: FloatArray, grip: FloatArray) -> tuple[Contact, Contact]:
    """Return what both pads feel while the tip follows a path.

    The pads face each other along the robot's y axis. Their own axes are: x along the robot's x, y along its z,
    z out of the pad towards the marker.

    Parameters
    ----------
    time : array, shape (T,)
        Seconds.
    grip : array, shape (2,)
        Where the marker rests on the pads, in metres.
    """
    height = path(time)[2]
    vx, vy, _ = path(time, 1)
    touching = np.clip(1 - height / 2e-3, 0.0, 1.0)
    speed = np.sqrt(vx * vx + vy * vy + SETTING_SPEED**2)
    drag = -touching * (FRICTION / speed + VISCOUS)
    fx, fy, fz = drag * vx, drag * vy, 0.8 * touching
    out = []
    for side in (1.0, -1.0):
        # each pad takes half of the force; what presses one along y frees the other
        shift = COMPLIANCE * np.stack([fx / 2, fz / 2, side * fy / 2])
        place = ROCKING * np.stack([fx, np.zeros_like(fx)]) + grip[:, None]
        place[1] += side * ROCKING * fy / 2
        out.append(Contact(place, shift, 0.15 * side * fx))
    return out[0], out[1]


def add_jump(values: FloatArray, rng: np.random.Generator) -> None:
    """Let one magnetometer report nonsense for a few samples, in place: the defect ``jump``."""
    row = int(rng.integers(len(values) // 4, 3 * len(values) // 4))
    values[row : row + 3, int(rng.integers(values.shape[1]))] += JUMP


def write_pair(
    folder: Path,
    task: Task,
    rng: np.random.Generator,
    kinova: tuple[FloatArray, FloatArray, FloatArray],
    reskin: tuple[FloatArray, FloatArray],
) -> None:
    """Write both files of a demonstration with its defect, if it has one.

    Parameters
    ----------
    kinova
        Unix times (T,), positions (T, 3) in metres, orientations (T, 4) x y z w.
    reskin
        Unix times (T,), values (T, 30) in uT.
    """
    folder.mkdir(parents=True)
    time, values = reskin
    if task.defect == "jump":
        add_jump(values, rng)
    elif task.defect == "duplicate stamps":
        time = duplicate_stamps(time, rng)
    elif task.defect == "unequal lengths":
        values = values[: -int(rng.integers(1, 6))]
    write_file(folder / "reskin_sensor_values.h5", time, {"sensor_values": values}, task.compressed)
    arrays = {"positions": kinova[1], "orientations": kinova[2]}
    write_file(folder / "kinova_cartesian_states.h5", kinova[0], arrays, task.compressed)


def _plan(hours: float, seed: int, rng: np.random.Generator) -> list[Task]:
    count = allot(hours, MEAN_SECONDS, least=10)
    seconds = rng.uniform(*SECONDS, count)
    defects = draw_defects(rng, count, ("jump", "duplicate stamps", "unequal lengths"))
    return [
        Task(f"demonstration_{k + 1}", float(seconds[k]), seed, group=str(k // SKIN_LIFE), defect=defects[k])
        for k in range(count)
    ]


def _write(root: Path, task: Task) -> None:
    rng = task.rng()
    skins = generator(task.seed, f"skins {task.group}")
    pads = Skin.random(skins), Skin.random(skins)
    path = strokes(rng, task.seconds)
    origin = start_time(int(task.id.rsplit("_", 1)[1]))
    kinova = KINOVA.throughout(rng, task.seconds)
    reskin = RESKIN.throughout(rng, task.seconds)
    grip = rng.normal(0.0, 0.5e-3, 2)
    touched = contacts(path, reskin, grip)
    values = np.concatenate([pad.read(c, reskin, rng) for pad, c in zip(pads, touched, strict=True)], axis=1)
    positions = path(kinova).T + CENTRE + rng.normal(0.0, 2e-5, (len(kinova), 3))
    wobble = Rotation.from_rotvec(rng.normal(0.0, 1e-3, (len(kinova), 3)))
    down = (wobble * Rotation.from_euler("xy", [np.pi / 2, 0.02])).as_quat()
    write_pair(root / task.id, task, rng, (origin + kinova, positions, down), (origin + reskin, values))


SIMULATION = Simulation(hours=6.25, plan=_plan, write=_write)
