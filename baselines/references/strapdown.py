"""Strapdown integration: velocity from an inertial sensor by physics, with one time constant learned.

The orientation filter is VQF (Laidig, Seel, Information Fusion 91, 2023; package ``vqf``, MIT), by the authors of
BROAD: a complementary filter that corrects the integrated gyroscope by the low-passed accelerometer in an inertial
frame, estimates the gyroscope's bias, is compiled, and needs no tuning for a sensor.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from baselines.errors import MissingExtraError, NotApplicableError
from baselines.training.data import Part, batches, cut_windows
from csp_data import Dataset
from csp_data.recording import FloatArray
from csp_data.signal.plausible import STANDARD_GRAVITY
from csp_data.signal.rotation import rotate

__all__ = ["NotApplicableError", "Strapdown", "StrapdownConfig", "strapdown_options"]

TIME_CONSTANTS_S = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, float("inf"))
"""Time constants in s that are tried on val."""


@dataclass(frozen=True)
class StrapdownConfig:
    """What :class:`Strapdown` has to know of the data; see :func:`strapdown_options`.

    Parameters
    ----------
    in_dim, out_dim, chunk
        As for a model.
    acc, gyr
        Features with the specific force (m/s^2) and the angular rate (rad/s), three each.
    shift, scale
        Of these six features: physical value = normalised * scale + shift.
    target_shift, target_scale
        Of the targets, in m/s.
    rate_hz
        Of the inputs.
    inputs_along, target_along
        Axes of inputs and target, as the card says.
    """

    in_dim: int
    out_dim: int
    chunk: int
    acc: tuple[int, ...]
    gyr: tuple[int, ...]
    shift: tuple[float, ...]
    scale: tuple[float, ...]
    target_shift: tuple[float, ...]
    target_scale: tuple[float, ...]
    rate_hz: float
    inputs_along: str
    target_along: str


def strapdown_options(dataset: Dataset) -> dict[str, Any]:
    """Return the fields of :class:`StrapdownConfig` that come from a data set's card and file.

    Raises
    ------
    NotApplicableError
        If the card does not declare what is needed: one input stream of specific force and one of angular rate
        along the same axes, three channels each, and a target of increments in m along axes that follow from them.
    """
    card, protocol = dataset.card, dataset.protocol
    target = card.target(protocol.target)
    streams = {stream.quantity: stream for stream in card.inputs(protocol.inputs) if stream.quantity}
    force, rate = streams.get("specific force"), streams.get("angular rate")
    derivable_axes = {"sensor": ("sensor", "start"), "level": ("level",)}
    missing = []
    if force is None or rate is None or len(force.columns) != 3 or len(rate.columns) != 3:
        missing.append("three channels each of specific force (m/s^2) and angular rate (rad/s) among the inputs")
    elif force.along != rate.along or target.along not in derivable_axes.get(force.along or "", ()):
        missing.append(f"a target along axes that follow from inputs along {force.along!r}, not {target.along!r}")
    if not target.increment or target.unit != "m" or target.units:
        missing.append("a target of increments in m")
    if missing or force is None or rate is None:
        raise NotApplicableError(
            f"strapdown integration does not apply to {dataset.name} ({target.name}): its card does not declare "
            f"{' and '.join(missing)}. If it has that, write quantity and along of the streams and along of the "
            "target on the card (docs/cards.md); else compare with another reference, such as kalman."
        )
    names, normalization = dataset.channels.names, dataset.normalization
    acc, gyr = (tuple(names.index(c) for c in stream.columns) for stream in (force, rate))
    columns = [*acc, *gyr]
    per_second = 1.0 if protocol.target_per == "second" else protocol.target_hz
    return {
        "acc": acc,
        "gyr": gyr,
        "shift": tuple(normalization.inputs.shift[columns].tolist()),
        "scale": tuple(normalization.inputs.scale[columns].tolist()),
        "target_shift": tuple((normalization.targets.shift * per_second).tolist()),
        "target_scale": tuple((normalization.targets.scale * per_second).tolist()),
        "rate_hz": protocol.input_hz,
        "inputs_along": force.along,
        "target_along": target.along,
    }


class Strapdown(nn.Module):
    """Turn the specific force upright, take gravity off, integrate.

    A window starts at rest as far as the reference knows, and an acceleration that is off by a little drifts
    without end; so the velocity is forgotten with a time constant, the only thing that is chosen (on val;
    infinite is allowed: plain integration). ``"start"`` is the start of the window, as for every model.
    """

    def __init__(self, config: StrapdownConfig) -> None:
        super().__init__()
        self.config = config
        self.memory_s: Tensor
        self.register_buffer("memory_s", torch.tensor(float("inf"), dtype=torch.float64))

    @property
    def learned(self) -> int:
        """Values that were learned: the time constant."""
        return 1

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, L, in_dim) to (B, L / chunk, out_dim)."""
        memory_s = float(self.memory_s)
        levelled = [self._level_acceleration(window) for window in x.double().cpu().numpy()]
        return torch.from_numpy(np.stack([self._integrate(*pair, memory_s) for pair in levelled])).to(x)

    def fit(self, train: Part, val: Part, length: int | None) -> dict[str, Any]:
        """Take the time constant that is best on val; nothing is learned from train."""
        squared_errors = dict.fromkeys(TIME_CONSTANTS_S, 0.0)
        for batch in batches(val, cut_windows(val, length), 32):
            for row, window in enumerate(batch.inputs.double().cpu().numpy()):
                steps = int(batch.mask[row].sum())
                true = batch.targets[row, :steps].double().cpu().numpy()
                levelled = self._level_acceleration(window[: steps * self.config.chunk])
                for memory_s in TIME_CONSTANTS_S:
                    squared_errors[memory_s] += float(np.square(self._integrate(*levelled, memory_s) - true).sum())
        chosen = min(squared_errors, key=lambda memory_s: squared_errors[memory_s])
        self.memory_s.fill_(chosen)
        return {"memory_s": chosen if np.isfinite(chosen) else "infinite"}

    def _level_acceleration(self, window: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return acceleration (T, 3) along axes with z up, and the quaternions (T, 4) from the inputs' axes."""
        c = self.config
        physical = window[:, [*c.acc, *c.gyr]] * np.array(c.scale) + np.array(c.shift)
        force, rate = (np.ascontiguousarray(part) for part in (physical[:, :3], physical[:, 3:]))
        if c.inputs_along == "level":
            quaternions = np.tile([1.0, 0.0, 0.0, 0.0], (len(window), 1))
        else:
            try:
                from vqf import VQF
            except ImportError as error:
                raise MissingExtraError("strapdown integration", "vqf", "imu") from error
            quaternions = VQF(1 / c.rate_hz).updateBatch(rate, force)["quat6D"]
        return rotate(quaternions, force) - np.array([0.0, 0.0, STANDARD_GRAVITY]), quaternions

    def _integrate(self, acceleration: FloatArray, quaternions: FloatArray, memory_s: float) -> FloatArray:
        from scipy.signal import lfilter  # here: it takes half a second

        c = self.config
        step_s = 1 / c.rate_hz
        velocity = lfilter([step_s], [1.0, -np.exp(-step_s / memory_s)], acceleration, axis=0)
        mean = velocity.reshape(-1, c.chunk, 3).mean(axis=1)  # of a chunk: its displacement per second
        if c.target_along == "sensor":
            mean = rotate(quaternions[c.chunk - 1 :: c.chunk], mean, inverse=True)
        elif c.target_along == "start":
            mean = rotate(quaternions[0], mean, inverse=True)
        return np.asarray((mean[:, : c.out_dim] - np.array(c.target_shift)) / np.array(c.target_scale))
