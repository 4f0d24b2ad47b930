"""A linear state-space model identified from data, and its Kalman filter.

Sensors and targets together are taken as the output of one linear Gaussian system at the target rate. In training
both are seen, and a subspace method finds the system; afterwards only the sensors are, and the system's own Kalman
filter gives the targets' conditional mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from einops import rearrange
from torch import Tensor, nn

from baselines.errors import OptionError
from baselines.layers.base import check_config
from baselines.references.strapdown import NotApplicableError
from baselines.training.data import Part, batches, cut_windows
from baselines.training.evaluate import sum_squared_errors
from csp_data import Dataset
from csp_data.recording import FloatArray

__all__ = ["Kalman", "KalmanConfig", "System", "filter_gains", "identify", "kalman_options"]

RIDGES = (1e-4, 1e-2, 1e-1, 1.0)
"""Ridge strengths that are tried on val; outputs have unit variance."""

CONVERGED = 1e-12
"""Relative change of the state's covariance in a step below which the filter's gains stay what they are."""


@dataclass(frozen=True)
class KalmanConfig:
    """Sizes of :class:`Kalman`: ``order``, the largest number of states tried; ``past``, lags in target steps."""

    in_dim: int
    out_dim: int
    chunk: int = 10
    order: int = 32
    past: int = 8

    def __post_init__(self) -> None:
        check_config(self, positive=("order", "past"))


def kalman_options(dataset: Dataset) -> dict[str, Any]:
    """Return as many lags as :class:`KalmanConfig` has, or fewer where training episodes are short.

    A past and a future of a quarter of the longest episode each leave the other half to learn from.

    Raises
    ------
    NotApplicableError
        If no training episode has three target steps.
    """
    longest = max(
        (row.target_stop - row.target_start for row in dataset.episodes if row.split == "train"), default=0
    )
    if longest < 3:
        raise NotApplicableError(
            f"kalman does not apply to {dataset.name}: its longest training episode has {longest} target steps, "
            "and a past, a present and a future take three. Compare with another reference, such as fir."
        )
    return {"past": min(KalmanConfig.past, max(1, longest // 4))}


@dataclass(frozen=True)
class System:
    """The system x' = A x + w, z = C x + v, with [w, v] of covariance [[Q, S], [S^T, R]].

    Parameters
    ----------
    a, c : arrays, shape (n, n) and (m, n)
    q, r, s : arrays, shape (n, n), (m, m) and (n, m)
    p : array, shape (n, n)
        Covariance of the state before anything is seen.
    """

    a: FloatArray
    c: FloatArray
    q: FloatArray
    r: FloatArray
    s: FloatArray
    p: FloatArray


def identify(
    sequences: list[FloatArray], past: int, ridges: Sequence[float], orders: Sequence[int]
) -> list[list[System]]:
    """Identify systems of several ridge strengths and orders by canonical variate analysis.

    The state is the part of the past that says most about the future: with F and P the stacked future and past
    outputs, the first n right singular vectors of Sff^(-1/2) Sfp Spp^(-1/2), applied to Spp^(-1/2) P (Van
    Overschee, De Moor, Subspace Identification for Linear Systems, 1996, chapter 3). Then A and C are regressions
    of the next state and the output on the state, and the noise covariances are those of what is left, so that
    they are positive semidefinite whatever the data.

    Parameters
    ----------
    sequences : arrays, shape (K_i, m)
        Outputs without mean. Those shorter than ``2 past + 1`` are not used.
    past
        Lags of the past and of the future.
    ridges
        Strengths, added to the diagonals of Sff, Spp and the covariance of the outputs' noise.
    orders
        Numbers of states, each at most ``past * m``.

    Returns
    -------
    list
        For each strength the systems, one an order.

    Raises
    ------
    ValueError
        If no sequence is long enough.
    """
    stacks = [
        np.lib.stride_tricks.sliding_window_view(z, 2 * past + 1, axis=0).transpose(0, 2, 1)
        for z in sequences
        if len(z) > 2 * past
    ]  # each (K, 2 past + 1, m), oldest first: views, and only those of one sequence are copied at a time
    if not stacks:
        raise ValueError(f"no sequence has {2 * past + 1} steps")
    moments = _Moments.of(stacks, past)
    z = np.concatenate([lags[:, past] for lags in stacks])
    systems_by_ridge: list[list[System]] = []
    for ridge in ridges:
        projection = moments.states(ridge, max(orders))
        states = np.concatenate([_flatten_lags(lags[:, past - 1 :: -1]) @ projection for lags in stacks])
        next_states = np.concatenate([_flatten_lags(lags[:, past:0:-1]) @ projection for lags in stacks])
        systems_by_ridge.append(
            [_regress_system(states[:, :order], next_states[:, :order], z, ridge) for order in orders]
        )
    return systems_by_ridge


def _flatten_lags(lags: FloatArray) -> FloatArray:
    return lags.reshape(len(lags), -1)


@dataclass(frozen=True)
class _Moments:
    """Second moments: of the past, of the future, and of the future (rows) with the past."""

    past: FloatArray
    future: FloatArray
    across: FloatArray

    @classmethod
    def of(cls, stacks: list[FloatArray], past: int) -> _Moments:
        size, count = past * stacks[0].shape[2], sum(len(lags) for lags in stacks)
        pp, ff, fp = (np.zeros((size, size)) for _ in range(3))
        for lags in stacks:
            past_lags = _flatten_lags(lags[:, past - 1 :: -1])
            future_lags = _flatten_lags(lags[:, past : 2 * past])
            pp += past_lags.T @ past_lags
            ff += future_lags.T @ future_lags
            fp += future_lags.T @ past_lags
        return cls(pp / count, ff / count, fp / count)

    def states(self, ridge: float, order: int) -> FloatArray:
        """Return what projects a past on the states of the largest order, the most telling first.

        Cholesky factors stand for the symmetric roots: the singular vectors then differ by the same rotation.
        """
        from scipy.linalg import solve_triangular  # here: most trainings have no use for it
        from scipy.sparse.linalg import svds

        eye = ridge * np.eye(len(self.past))
        root_p, root_f = (np.linalg.cholesky(moment + eye) for moment in (self.past, self.future))
        half_whitened = solve_triangular(root_f, self.across, lower=True)
        whitened = solve_triangular(root_p, half_whitened.T, lower=True).T
        if order < len(whitened) // 8:  # a few of many singular vectors are much cheaper than all
            _, values, right = svds(whitened, k=order, v0=np.ones(len(whitened)))
            right = right[np.argsort(-values)]
        else:
            right = np.linalg.svd(whitened)[2][:order]
        return np.asarray(solve_triangular(root_p, right.T, lower=True, trans=1))


def _regress_system(states: FloatArray, next_states: FloatArray, outputs: FloatArray, ridge: float) -> System:
    """Regress the next states and the outputs on the states.

    Where outputs are many and steps few, some combinations of outputs seem to have hardly any noise, and a filter
    would believe these above all: the strength is added to the noise's variances, as in a ridge regression of the
    targets on the sensors.
    """
    order = states.shape[1]
    regressands = np.concatenate([next_states, outputs], axis=1)
    solution = np.linalg.lstsq(states, regressands, rcond=None)[0]
    residual = regressands - states @ solution
    noise = residual.T @ residual / len(states)
    return System(
        a=solution[:, :order].T,
        c=solution[:, order:].T,
        q=noise[:order, :order],
        r=noise[order:, order:] + ridge * np.eye(outputs.shape[1]),
        s=noise[:order, order:],
        p=states.T @ states / len(states),
    )


def filter_gains(system: System, sensor_count: int, steps: int) -> tuple[FloatArray, FloatArray]:
    """Return the Kalman filter's gains when only the first `sensor_count` outputs are seen.

    With e = s - Cs x the innovation, x' = A x + Gx e and y = Cy x + Gy e is the conditional mean of the outputs
    not seen, given all that was (Anderson, Moore, Optimal Filtering, 1979, chapter 5, with correlated noises).

    Returns
    -------
    gx, gy : arrays, shape (steps, n, seen) and (steps, m - seen, seen)
    """
    a, p = system.a, system.p
    cs, cy = system.c[:sensor_count], system.c[sensor_count:]
    gx, gy = [], []
    for _ in range(steps):
        innovation_cov = cs @ p @ cs.T + system.r[:sensor_count, :sensor_count]
        state_cov = a @ p @ cs.T + system.s[:, :sensor_count]
        target_cov = cy @ p @ cs.T + system.r[sensor_count:, :sensor_count]
        cross_cov = np.concatenate([state_cov, target_cov]).T
        gain = np.linalg.solve(innovation_cov, cross_cov).T
        gx.append(gain[: len(a)])
        gy.append(gain[len(a) :])
        previous, p = p, a @ p @ a.T + system.q - gx[-1] @ innovation_cov @ gx[-1].T
        p = (p + p.T) / 2
        if np.abs(p - previous).max() <= CONVERGED * np.abs(p).max():
            break
    used = np.minimum(np.arange(steps), len(gx) - 1)
    return np.stack(gx)[used], np.stack(gy)[used]


class Kalman(nn.Module):
    """A linear state-space model of sensors and targets, filtered with the sensors alone.

    The sensors' part of an output is the mean of each feature over a chunk (with input deltas also its slope).
    A window starts with the state's mean and its spread in training.
    """

    def __init__(self, config: KalmanConfig) -> None:
        super().__init__()
        self.config = config
        n, m = config.order, config.in_dim + config.out_dim
        shapes = {"a": (n, n), "c": (m, n), "q": (n, n), "r": (m, m), "s": (n, m), "p": (n, n)}
        for name, shape in shapes.items():
            self.register_buffer(name, torch.zeros(shape, dtype=torch.float64))
        self.register_buffer("mean", torch.zeros(m, dtype=torch.float64))
        self.register_buffer("scale", torch.ones(m, dtype=torch.float64))
        self.register_buffer("chosen_order", torch.zeros((), dtype=torch.int64))

    @property
    def learned(self) -> int:
        """Values that were learned."""
        n, m = int(self.get_buffer("chosen_order")), self.config.in_dim + self.config.out_dim
        return n * n + 2 * m * n + m * m + n * n + n * n + 2 * m

    def system(self) -> System:
        """Return the identified system."""
        n = int(self.get_buffer("chosen_order"))
        a, c, q, r, s, p = (self.get_buffer(name).cpu().numpy() for name in ("a", "c", "q", "r", "s", "p"))
        return System(a[:n, :n], c[:, :n], q[:n, :n], r, s[:n], p[:n, :n])

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, L, in_dim) to (B, L / chunk, out_dim)."""
        sensor_count = self.config.in_dim
        means = self._chunk_means(x.double().cpu().numpy())
        mean, scale = (self.get_buffer(name).cpu().numpy() for name in ("mean", "scale"))
        outputs = _filter(self.system(), (means - mean[:sensor_count]) / scale[:sensor_count])
        return torch.from_numpy(outputs * scale[sensor_count:] + mean[sensor_count:]).to(x)

    def _chunk_means(self, x: FloatArray) -> FloatArray:
        return np.asarray(
            rearrange(x, "b (step tap) feature -> b step tap feature", tap=self.config.chunk).mean(2)
        )

    def fit(self, train: Part, val: Part, length: int | None) -> dict[str, Any]:
        """Identify systems on train, and take the order and ridge strength that are best on val.

        Returns
        -------
        dict
            ``{"order": states, "ridge": strength}``.

        Raises
        ------
        OptionError
            If no training episode is long enough for ``past``.
        """
        sequences = []
        for batch in batches(train, cut_windows(train, None), 1):
            sensors = self._chunk_means(batch.inputs.double().cpu().numpy())[0]
            sequences.append(np.concatenate([sensors, batch.targets[0].double().cpu().numpy()], axis=1))
        outputs = np.concatenate(sequences)
        mean, scale = outputs.mean(axis=0), np.maximum(outputs.std(axis=0), 1e-6)
        sequences = [(z - mean) / scale for z in sequences]
        orders = [n for n in (1, 2, 4, 8, 16, 32, 64) if n <= min(self.config.order, self.config.past * len(mean))]
        best: tuple[float, float, System | None] = (float("inf"), 0.0, None)
        try:
            systems_by_ridge = identify(sequences, self.config.past, RIDGES, orders)
        except ValueError as error:
            raise OptionError("past", self.config.past, f"fewer lags: {error}") from error
        for ridge, systems in zip(RIDGES, systems_by_ridge, strict=True):
            for system in systems:
                self._store(system, mean, scale)
                loss, _ = sum_squared_errors(self, val, length, 0, 1)
                if loss < best[0]:
                    best = (loss, ridge, system)
        _, ridge, chosen = best
        if chosen is None:
            raise OptionError("order", self.config.order, "one whose filter stays finite on val; none did")
        self._store(chosen, mean, scale)
        return {"order": len(chosen.a), "ridge": ridge}

    def _store(self, system: System, mean: FloatArray, scale: FloatArray) -> None:
        n = len(system.a)
        self.get_buffer("chosen_order").fill_(n)
        for name, value in {**vars(system), "mean": mean, "scale": scale}.items():
            buffer = self.get_buffer(name).zero_()
            buffer[tuple(slice(size) for size in value.shape)] = torch.from_numpy(value)


def _filter(system: System, sensors: FloatArray) -> FloatArray:
    """Filter sensors (B, K, seen) from the start on; return the conditional means (B, K, m - seen)."""
    sensor_count = sensors.shape[2]
    gx, gy = filter_gains(system, sensor_count, sensors.shape[1])
    cs, cy = system.c[:sensor_count], system.c[sensor_count:]
    state = np.zeros((len(sensors), len(system.a)))
    outputs = np.empty((*sensors.shape[:2], len(cy)))
    for k in range(sensors.shape[1]):
        innovation = sensors[:, k] - state @ cs.T
        outputs[:, k] = state @ cy.T + innovation @ gy[k].T
        state = state @ system.a.T + innovation @ gx[k].T
    return outputs
