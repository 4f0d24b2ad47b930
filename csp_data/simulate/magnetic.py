"""Magnetic skin: a magnetised rubber pad above a board of magnetometers, as in ReSkin (arXiv 2111.00071).

What is pressed against the pad moves a patch of it. To first order the moved patch acts as one magnetic dipole
that sits where the contact is and moves with the patch, so that the field at the magnetometers tells position,
shear, indentation and twist of the contact.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from csp_data.recording import FloatArray
from csp_data.simulate.hysteresis import creep, play
from csp_data.simulate.imu import drift

__all__ = ["Contact", "Skin", "dipole_field"]

MU0_OVER_4PI = 1e-7  # T m / A

# Five magnetometers of a board, in metres: one in the middle, four around it
LAYOUT = np.array([[0.0, 5.5, -5.5, 5.5, -5.5], [0.0, 5.5, 5.5, -5.5, -5.5], [0.0, 0.0, 0.0, 0.0, 0.0]]) * 1e-3
HEIGHT = 8e-3  # of the middle of the pad above the magnetometers, in metres
MOMENT = 3e-3  # of the patch, in A m^2
RESOLUTION = np.array([0.150, 0.150, 0.242])  # uT a count of an MLX90393 along x, y, z at its highest gain
NOISE = np.array([0.8, 0.8, 1.4])  # uT
DRIFT = 0.6  # uT per square root of a second
OFFSETS = 13_000.0  # uT; boards were seen with raw values up to here
HYSTERESIS_WIDTH = 0.04e-3  # m
HYSTERESIS_SHARE = 0.35
CREEP_SHARE, CREEP_SECONDS = 0.12, 1.5


def dipole_field(offset: FloatArray, moment: FloatArray) -> FloatArray:
    """Return the field of a magnetic dipole, B = mu0 / (4 pi) * (3 n (m . n) - m) / r^3, in uT.

    Jackson, Classical Electrodynamics, eq. 5.56.

    Parameters
    ----------
    offset : array, shape (3, ...)
        From the dipole to the point, in metres; n is its direction, r its length.
    moment : array, shape (3, ...)
        m, in A m^2.

    Returns
    -------
    array, shape (3, ...)
    """
    x, y, z = offset
    mx, my, mz = moment
    square = x * x + y * y + z * z
    fall = (MU0_OVER_4PI * 1e6) / (square * np.sqrt(square))
    along = 3 * (x * mx + y * my + z * mz) / square
    return np.stack([fall * (along * x - mx), fall * (along * y - my), fall * (along * z - mz)])


@dataclass(frozen=True)
class Contact:
    """What touches a pad, in the board's frame: x and y along it, z out of it.

    Parameters
    ----------
    place : array, shape (2, T)
        Where the contact is, in metres from the middle of the pad.
    shift : array, shape (3, T)
        How far the patch under it is sheared along x and y and lifted along z, in metres.
    twist : array, shape (T,)
        How far it is turned about z, in radians.
    """

    place: FloatArray
    shift: FloatArray
    twist: FloatArray


@dataclass(frozen=True)
class Skin:
    """One pad on one board; no two are alike.

    Parameters
    ----------
    sensors : array, shape (3, 5)
        Where the magnetometers are, in metres.
    moment : array, shape (3,)
        Of the patch at rest, in A m^2.
    offsets : array, shape (15,)
        What the magnetometers read besides the patch, in uT.
    """

    sensors: FloatArray
    moment: FloatArray
    offsets: FloatArray

    @classmethod
    def random(cls, rng: np.random.Generator) -> Skin:
        """Draw a skin: magnetometers 0.2 mm off, moment tilted by some degrees and 8 % off, any offsets."""
        moment = np.array([0.35, 0.0, 1.0]) + rng.normal(0.0, 0.08, 3)
        return cls(
            sensors=LAYOUT + rng.normal(0.0, 0.2e-3, LAYOUT.shape),
            moment=MOMENT * moment / np.linalg.norm(moment) * rng.normal(1.0, 0.08),
            offsets=np.clip(rng.normal(0.0, 3000.0, 15), -OFFSETS, OFFSETS),
        )

    def field(self, contact: Contact) -> FloatArray:
        """Return the field of the patch at the magnetometers, without any imperfection.

        Returns
        -------
        array, shape (15, T)
            bx1, by1, bz1, bx2, ... in uT.
        """
        patch = contact.shift + np.array([[0.0], [0.0], [HEIGHT]])
        patch[:2] += contact.place
        cos, sin = np.cos(contact.twist), np.sin(contact.twist)
        mx, my, mz = self.moment
        moment = np.stack([mx * cos - my * sin, mx * sin + my * cos, np.full_like(cos, mz)])
        field = dipole_field(self.sensors[:, :, None] - patch[:, None], moment[:, None])
        return field.transpose(1, 0, 2).reshape(15, -1)

    def read(self, contact: Contact, time: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Return what the board reports, in uT: hysteresis, creep, offsets, drift, noise and counts included.

        Parameters
        ----------
        time : array, shape (T,)
            Seconds.

        Returns
        -------
        array, shape (T, 15)
        """
        hz = (len(time) - 1) / (time[-1] - time[0])
        shift = (1 - HYSTERESIS_SHARE) * contact.shift + HYSTERESIS_SHARE * play(contact.shift, HYSTERESIS_WIDTH)
        shift = creep(shift, CREEP_SHARE, CREEP_SECONDS, hz)
        values = self.field(Contact(contact.place, shift, contact.twist))
        values += self.offsets[:, None] + drift(rng, time, DRIFT, 15)
        values += np.tile(NOISE, 5)[:, None] * rng.standard_normal(values.shape)
        counts = np.tile(RESOLUTION, 5)[:, None]
        return np.ascontiguousarray((np.rint(values / counts) * counts).T)
