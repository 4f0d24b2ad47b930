"""Intrinsic slip: a gripper slides along a clamped box; the skins stick, shear and give way."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from csp_data.recording import FloatArray
from csp_data.simulate.curves import Segments, in_turn
from csp_data.simulate.demonstration import start_time
from csp_data.simulate.hysteresis import stop
from csp_data.simulate.magnetic import Contact, Skin
from csp_data.simulate.marker import KINOVA, RESKIN, write_pair
from csp_data.simulate.plan import Simulation, Task, allot, draw_defects, generator
from csp_data.simulate.quaternions import multiply, small

__all__ = ["SIMULATION", "Box", "contacts", "moves"]

MEAN_SECONDS, SECONDS = 27.5, (25.0, 30.0)
BOXES, SKINS = 10, 4
PLACE = np.array([0.40, -0.09, 0.30])  # m, in the robot's base frame
REACH = np.array([0.04, 0.04, 0.5])  # m, m, rad: largest shift along x and z, and turn about y

VISCOUS = 6e-3  # s: shear of the skin a m/s of sliding, beyond friction
TWIST_VISCOUS = 0.02  # s


class Box:
    """What a box's surface does to a sliding skin: stretch at which it slips, and its waviness.

    Parameters
    ----------
    rng
        The box's own random numbers.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self.slip_at = rng.uniform(0.15e-3, 0.45e-3)  # m of shear
        self.turn_at = rng.uniform(0.04, 0.10)  # rad of twist
        self.wave = rng.uniform(0.02, 0.08)  # m a period
        self.roughness = rng.uniform(0.02e-3, 0.08e-3)  # m in and out


def moves(rng: np.random.Generator, seconds: float) -> Segments:
    """Return the gripper's moves: x and z in metres and the turn about y in radians, from the start."""
    count = int(rng.integers(6, 12))
    points = rng.uniform(-1, 1, (count + 1, 3)) * REACH
    points[0] = 0.0
    # a move may leave some of the three components as they are
    hold = rng.random((count, 3)) < 0.35
    for k in range(count):
        points[k + 1] = np.where(hold[k], points[k], points[k + 1])
    weight, pause = rng.uniform(0.6, 1.4, count), rng.uniform(0.05, 0.4, count)
    return Segments(*in_turn(weight, pause, 1.0, seconds - 1.5), points[:-1], points[1:], np.zeros((count, 3)))


def contacts(path: Segments, time: FloatArray, box: Box, grip: FloatArray) -> tuple[Contact, Contact]:
    """Return what both pads feel while the gripper moves along a clamped box.

    The pads face each other along the robot's y axis, with x along the robot's x and y along its z. The skin
    follows the box until it is stretched so far that it slips (:func:`stop`), faster sliding shears it more, and
    the box's waves move it in and out.

    Parameters
    ----------
    grip : array, shape (2,)
        Where the box's edge lies on the pads, in metres.
    """
    x, z, turn = path(time)
    vx, vz, spin = path(time, 1)
    stretch = -(stop(np.stack([x, z]), box.slip_at) + VISCOUS * np.stack([vx, vz]))
    twist = -(stop(turn[None], box.turn_at)[0] + TWIST_VISCOUS * spin)
    out = []
    for side in (1.0, -1.0):
        waves = box.roughness * np.sin(2 * np.pi * (x + side * 0.3 * z) / box.wave)
        shift = np.stack([stretch[0], stretch[1], waves])
        # the edge of the box turns about the middle of the pads, and moves on them as they slide
        place = np.stack([grip[0] * np.cos(turn), grip[1] + grip[0] * np.sin(turn)]) + 0.02 * np.stack([x, z])
        out.append(Contact(place, shift, side * twist))
    return out[0], out[1]


def _plan(hours: float, seed: int, rng: np.random.Generator) -> list[Task]:
    """Share the demonstrations out over all boxes and, within a box, over the skins, in recorded order."""
    count = allot(hours, MEAN_SECONDS, least=2 * BOXES)
    seconds = rng.uniform(*SECONDS, count)
    defects = draw_defects(rng, count, ("jump", "duplicate stamps", "unequal lengths"))
    tasks = []
    for k in range(count):
        box, number = k % BOXES, k // BOXES
        each = len(range(box, count, BOXES))
        tasks.append(
            Task(
                id=f"box_{box + 1:02d}/demonstration_{number + 1}",
                seconds=float(seconds[k]),
                seed=seed,
                group=f"box_{box + 1:02d}",
                kind=f"skin {number * SKINS // each}",
                defect=defects[k],
            )
        )
    return tasks


def _write(root: Path, task: Task) -> None:
    rng = task.rng()
    skins = generator(task.seed, task.kind)
    pads = Skin.random(skins), Skin.random(skins)
    box = Box(generator(task.seed, task.group))
    path = moves(rng, task.seconds)
    kinova = KINOVA.throughout(rng, task.seconds)
    reskin = RESKIN.throughout(rng, task.seconds)
    touched = contacts(path, reskin, box, rng.uniform(-2e-3, 2e-3, 2))
    values = np.concatenate([pad.read(c, reskin, rng) for pad, c in zip(pads, touched, strict=True)], axis=1)

    x, z, turn = path(kinova)
    zero = np.zeros_like(x)
    positions = np.stack([x, zero, z], axis=1) + PLACE + rng.normal(0.0, 2e-5, (len(kinova), 3))
    about_y = small(np.stack([zero, turn, zero]) + rng.normal(0.0, 3e-4, (3, len(kinova))))
    held = np.array([[0.5], [0.5], [0.5], [0.5]])  # gripper level, its closing axis along y
    orientations = multiply(about_y, held)[[1, 2, 3, 0]].T  # x y z w
    number = int(task.group.rsplit("_", 1)[1]) * 1000 + int(task.id.rsplit("_", 1)[1])
    origin = start_time(number)
    write_pair(root / task.id, task, rng, (origin + kinova, positions, orientations), (origin + reskin, values))


SIMULATION = Simulation(hours=8.4, plan=_plan, write=_write)
