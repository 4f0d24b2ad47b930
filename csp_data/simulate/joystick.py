"""Joystick control: a robot hand moves a joystick; Xela taxels on finger, fingertip and palm feel the handle."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from csp_data.recording import FloatArray
from csp_data.simulate.clock import Clock
from csp_data.simulate.curves import Segments, in_turn
from csp_data.simulate.demonstration import duplicate_stamps, start_time, write_file
from csp_data.simulate.hysteresis import creep, play
from csp_data.simulate.imu import drift
from csp_data.simulate.plan import Simulation, Task, allot, draw_defects, generator

__all__ = ["ARRAYS", "SIMULATION", "Hand", "moves"]

MEAN_SECONDS, SECONDS = 32.5, (25.0, 40.0)
SHORT_SECONDS = (8.0, 14.0)  # the published processing drops demonstrations under 15 s
XELA = Clock(hz=97.0, jitter=0.12, gap=1e-3)
STICK = Clock(hz=57.0, jitter=0.1, gap=5e-4)

ARRAYS = {"finger_sensor_values": (2, 2), "fingertip_sensor_values": (3,), "palm_sensor_values": (2,)}
"""Taxels of each array; every taxel has three axes: two of shear and pressure."""

TAXELS = sum(int(np.prod(shape)) for shape in ARRAYS.values())
BASELINE, BASELINE_SPREAD = 32_000.0, 250.0  # counts at rest
PRESSURE, SHEAR = 2600.0, 1100.0  # counts at full deflection
NOISE, DRIFT = 4.0, 2.0  # counts, counts per square root of a second
WIDTH, SHARE = 0.12, 0.5  # of the hysteresis, in units of full load


@dataclass(frozen=True)
class Hand:
    """How the handle lies in the hand.

    The spring of the joystick pushes the handle against the hand: a taxel whose pad faces the push feels pressure
    (none when the handle moves away from it), and the most where the contact is, which travels over the pads as
    the stick tilts.

    Parameters
    ----------
    facing : array, shape (3, TAXELS)
        Direction in (x, y, twist) that each taxel feels as pressure.
    place : array, shape (2, TAXELS)
        Where it is on the handle, in units of the travel of the contact.
    base : array, shape (3 * TAXELS,)
        Counts at rest.
    gain : array, shape (3, TAXELS)
        Of shear x, shear y and pressure, around 1.
    """

    facing: FloatArray
    place: FloatArray
    base: FloatArray
    gain: FloatArray

    @classmethod
    def random(cls, rng: np.random.Generator) -> Hand:
        """Draw a hand: all around the handle, so that every direction is felt by some taxel."""
        around = 2 * np.pi * np.arange(TAXELS) / TAXELS + rng.normal(0.0, 0.1, TAXELS)
        return cls(
            facing=np.stack([np.cos(around), np.sin(around), rng.uniform(-0.6, 0.6, TAXELS)]),
            place=np.stack([np.cos(around), np.sin(around)]) * rng.uniform(0.4, 1.0, TAXELS),
            base=np.rint(rng.normal(BASELINE, BASELINE_SPREAD, 3 * TAXELS)),
            gain=rng.normal(1.0, 0.15, (3, TAXELS)),
        )

    def regripped(self, rng: np.random.Generator) -> Hand:
        """Return the hand after it took the handle anew: turned around it, taxels elsewhere, touching unevenly."""
        turn = rng.normal(0.0, 0.35)
        cos, sin = np.cos(turn), np.sin(turn)
        around = np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
        return replace(
            self,
            facing=around @ (self.facing + rng.normal(0.0, 0.12, self.facing.shape)),
            place=around[:2, :2] @ (self.place + rng.normal(0.0, 0.15, self.place.shape)),
            gain=self.gain * rng.uniform(0.5, 1.3, (1, TAXELS)),
        )

    def load(self, axes: FloatArray) -> FloatArray:
        """Return what the taxels would feel without any imperfection, in counts above rest.

        Parameters
        ----------
        axes : array, shape (3, T)
            Deflection of x, y and twist, -1 to 1.

        Returns
        -------
        array, shape (3 * TAXELS, T)
            Shear x, shear y and pressure of the first taxel, then of the second.
        """
        push = self.facing.T @ axes
        # softplus: a light grip that the push adds to or takes away
        pressure = np.logaddexp(0.0, 4 * push) / 4 + 0.05
        dx = axes[0] - self.place[0][:, None]
        dy = axes[1] - self.place[1][:, None]
        near = np.exp(-(dx * dx + dy * dy) / 4.5)
        shear_x = near * (0.8 * axes[1] + 0.6 * axes[2]) * self.facing[0][:, None] + 0.2 * axes[0]
        shear_y = near * (0.8 * axes[0] - 0.6 * axes[2]) * self.facing[1][:, None] + 0.2 * axes[1]
        scale = np.array([SHEAR, SHEAR, PRESSURE])[:, None] * self.gain
        felt = np.stack([shear_x, shear_y, pressure * near]) * scale[:, :, None]
        return felt.transpose(1, 0, 2).reshape(3 * TAXELS, -1)

    def read(self, axes: FloatArray, time: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Return the controller's whole counts (T, 3 * TAXELS), with hysteresis, creep, drift and noise."""
        hz = (len(time) - 1) / (time[-1] - time[0])
        felt = (1 - SHARE) * axes + SHARE * play(axes, WIDTH)
        counts = self.load(creep(felt, 0.08, 1.0, hz) / 1.08)
        counts += self.base[:, None] + drift(rng, time, DRIFT, 3 * TAXELS)
        counts += NOISE * rng.standard_normal(counts.shape)
        return np.ascontiguousarray(np.rint(counts).T)


def moves(rng: np.random.Generator, seconds: float) -> Segments:
    """Return the stick's moves: x, y and twist from -1 to 1, at rest for the first 1.2 s and at the end."""
    count = max(2, int(seconds / rng.uniform(1.2, 2.0)))
    points = rng.uniform(-1, 1, (count + 1, 3))
    home = rng.random((count + 1, 3)) < 0.3  # an axis let go springs back to the middle
    points[home] = 0.0
    points[0] = points[-1] = 0.0
    weight, pause = rng.uniform(0.4, 1.2, count), rng.uniform(0.02, 0.5, count)
    return Segments(*in_turn(weight, pause, 1.2, seconds - 1.7), points[:-1], points[1:], np.zeros((count, 3)))


def _plan(hours: float, seed: int, rng: np.random.Generator) -> list[Task]:
    count = allot(hours, MEAN_SECONDS, least=10)
    seconds = rng.uniform(*SECONDS, count)
    defects = draw_defects(rng, count, ("short", "duplicate stamps", "unequal lengths"))
    seconds = np.where([defect == "short" for defect in defects], rng.uniform(*SHORT_SECONDS, count), seconds)
    return [Task(f"demonstration_{k + 1}", float(seconds[k]), seed, defect=defects[k]) for k in range(count)]


def _write(root: Path, task: Task) -> None:
    rng = task.rng()
    hand = Hand.random(generator(task.seed, "hand")).regripped(rng)
    path = moves(rng, task.seconds)
    origin = start_time(int(task.id.rsplit("_", 1)[1]))
    touch = XELA.throughout(rng, task.seconds)
    stick = STICK.throughout(rng, task.seconds)
    values = hand.read(path(touch), touch, rng)

    axes = np.rint(path(stick).T * [511.5, 511.5, 127.5]) / [511.5, 511.5, 127.5]  # 10, 10 and 8 bits
    buttons = np.zeros((len(stick), 12), dtype=np.int64)
    folder = root / task.id
    folder.mkdir(parents=True)
    time = duplicate_stamps(touch, rng) if task.defect == "duplicate stamps" else touch
    if task.defect == "unequal lengths":
        values = values[: -int(rng.integers(1, 6))]
    arrays, first = {}, 0
    for key, shape in ARRAYS.items():
        width = 3 * int(np.prod(shape))
        arrays[key] = np.ascontiguousarray(values[:, first : first + width]).reshape(-1, *shape, 3)
        first += width
    write_file(folder / "touch_sensor_values.h5", origin + time, arrays, task.compressed)
    states = {
        "axes": axes,
        "buttons": buttons,
        "hat_switch": np.zeros(len(stick), dtype=np.int64),
        "throttle": np.full(len(stick), 0.3),
    }
    write_file(folder / "extreme3d_values.h5", origin + stick, states, task.compressed)


SIMULATION = Simulation(hours=9.0, plan=_plan, write=_write)
