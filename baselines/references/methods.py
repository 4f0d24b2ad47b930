"""Classical references with the interface of a model, chosen by name like one."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from baselines.errors import UnknownNameError
from baselines.layers.base import check_config
from baselines.references.kalman import Kalman, KalmanConfig, kalman_options
from baselines.references.strapdown import Strapdown, StrapdownConfig, strapdown_options
from baselines.training.data import Part, Windows, batches, cut_windows
from baselines.training.evaluate import sum_squared_errors
from csp_data import Dataset

__all__ = [
    "REFERENCES",
    "Fir",
    "FirConfig",
    "Kalman",
    "Mean",
    "MeanConfig",
    "Reference",
    "Strapdown",
    "build_reference",
    "options_of_dataset",
    "reference_from_config",
]

RIDGES = tuple(float(s) for s in 10.0 ** np.arange(-5.0, 3.5, 0.5))
"""Ridge strengths that are tried on val; features and targets have unit variance."""

MAX_WEIGHTS = 3000
"""Weights an output of a linear filter has at most, unless one chunk has more."""


@dataclass(frozen=True)
class MeanConfig:
    """Sizes of :class:`Mean`."""

    in_dim: int
    out_dim: int
    chunk: int = 10


@dataclass(frozen=True)
class FirConfig:
    """Sizes of :class:`Fir`; ``taps`` is the number of input samples that an output is a linear function of."""

    in_dim: int
    out_dim: int
    chunk: int = 10
    taps: int = 100

    def __post_init__(self) -> None:
        check_config(self, positive=("taps",))


class Mean(nn.Module):
    """Predicts the mean of the training targets, whatever the input."""

    def __init__(self, config: MeanConfig) -> None:
        super().__init__()
        self.config = config
        self.mean: Tensor
        self.register_buffer("mean", torch.zeros(config.out_dim))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, L, in_dim) to (B, L / chunk, out_dim)."""
        return self.mean.expand(x.shape[0], x.shape[1] // self.config.chunk, -1)

    def fit(self, train: Part, val: Part, length: int | None) -> dict[str, Any]:
        """Take the mean over all training steps; nothing is chosen on val."""
        self.mean.copy_(train.targets.double().mean(dim=0))
        return {}


class Fir(nn.Module):
    """A linear filter of finite length: each output is linear in the last ``taps`` samples of its window.

    Before a window's first sample the filter sees zeros, the mean of the normalised features.
    """

    def __init__(self, config: FirConfig) -> None:
        super().__init__()
        self.config = config
        self.weight: Tensor
        self.bias: Tensor
        self.register_buffer("weight", torch.zeros(config.out_dim, config.in_dim, config.taps))
        self.register_buffer("bias", torch.zeros(config.out_dim))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, L, in_dim) to (B, L / chunk, out_dim)."""
        y = F.conv1d(self._padded(x), self.weight, self.bias, stride=self.config.chunk)
        return rearrange(y, "batch out step -> batch step out")

    def _padded(self, x: Tensor) -> Tensor:
        # so that the first output's last tap is the last sample of the first chunk (a negative pad crops)
        return F.pad(
            rearrange(x, "batch time feature -> batch feature time"), (self.config.taps - self.config.chunk, 0)
        )

    def fit(self, train: Part, val: Part, length: int | None) -> dict[str, Any]:
        """Solve the ridge regression by its normal equations, with the strength that is best on val.

        minimise  sum_k |y_k - W x_k - b|^2 / K + strength |W|^2,  b not penalised

        Parameters
        ----------
        train, val
            Parts to fit on and to choose on.
        length
            Target steps of a window, as for a model; ``None`` for whole episodes.

        Returns
        -------
        dict
            ``{"ridge": chosen strength}``.
        """
        moments = self._moments(train, cut_windows(train, length))
        values, vectors = torch.linalg.eigh(moments.xx)
        projected = vectors.T @ moments.xy
        best, chosen = float("inf"), RIDGES[0]
        for ridge in RIDGES:
            self._store_solution(moments, vectors @ (projected / (values.clamp(min=0) + ridge)[:, None]))
            loss, _ = sum_squared_errors(self, val, length, 0, 1)
            if loss < best:
                best, chosen = loss, ridge
        self._store_solution(moments, vectors @ (projected / (values.clamp(min=0) + chosen)[:, None]))
        return {"ridge": chosen}

    def _moments(self, part: Part, windows: Windows) -> _Moments:
        """Accumulate means and covariances window by window, so that memory does not grow with the data."""
        size = self.config.in_dim * self.config.taps
        zeros = partial(torch.zeros, dtype=torch.float64, device=part.inputs.device)
        count, x_sum, y_sum = 0, zeros(size), zeros(self.config.out_dim)
        xx, xy = zeros(size, size), zeros(size, self.config.out_dim)
        for window in batches(part, windows, 1):
            x = self._padded(window.inputs.double()).unfold(2, self.config.taps, self.config.chunk)
            x = rearrange(x, "1 feature step tap -> step (feature tap)")
            y = window.targets[0].double()
            count, x_sum, y_sum = count + len(x), x_sum + x.sum(0), y_sum + y.sum(0)
            xx.addmm_(x.T, x)
            xy.addmm_(x.T, y)
        x_mean, y_mean = x_sum / count, y_sum / count
        return _Moments(
            x_mean, y_mean, xx / count - torch.outer(x_mean, x_mean), xy / count - torch.outer(x_mean, y_mean)
        )

    def _store_solution(self, moments: _Moments, solution: Tensor) -> None:
        self.weight.copy_(rearrange(solution, "(feature tap) out -> out feature tap", tap=self.config.taps))
        self.bias.copy_(moments.y_mean - moments.x_mean @ solution)


def fir_options(dataset: Dataset) -> dict[str, Any]:
    """Return as many taps as :class:`FirConfig` has, or fewer where features are many: at least a chunk.

    The work grows with the cube of taps times features, memory with the square: 364 features of TotalCapture would
    need 11 GB, and hours, for 100 taps.
    """
    features = len(dataset.channels.names) * (2 if dataset.protocol.input_deltas else 1)
    return {"taps": min(FirConfig.taps, max(dataset.protocol.chunk, MAX_WEIGHTS // features))}


@dataclass(frozen=True)
class _Moments:
    """Means and centred second moments of taps x and targets y."""

    x_mean: Tensor
    y_mean: Tensor
    xx: Tensor
    xy: Tensor


Reference: TypeAlias = Mean | Fir | Kalman | Strapdown

REFERENCES: dict[str, tuple[type, type[Reference]]] = {
    "mean": (MeanConfig, Mean),
    "fir": (FirConfig, Fir),
    "kalman": (KalmanConfig, Kalman),
    "strapdown": (StrapdownConfig, Strapdown),
}
"""Name of each reference to its configuration class and its module."""


def build_reference(name: str, in_dim: int, out_dim: int, *, chunk: int = 10, **overrides: Any) -> Reference:
    """Return a reference that is not fitted yet.

    Parameters
    ----------
    name
        One of :data:`REFERENCES`.
    in_dim, out_dim, chunk
        As for :func:`baselines.build`.
    **overrides
        Of ``fir``: ``taps``, in input samples; of ``kalman``: ``order`` and ``past``, in target steps; of
        ``strapdown``: what :func:`strapdown_options` returns.

    Raises
    ------
    UnknownNameError
        An unknown reference or option.
    OptionError
        A value out of bounds.
    """
    return reference_from_config(
        {"family": name, "in_dim": in_dim, "out_dim": out_dim, "chunk": chunk, **overrides}
    )


def options_of_dataset(name: str, dataset: Dataset) -> dict[str, Any]:
    """Return the options of a reference that a data set decides; most have none.

    Raises
    ------
    NotApplicableError
        If the data set's card does not declare the quantities that the reference needs, or its episodes are too
        short for it.
    """
    options = {"fir": fir_options, "kalman": kalman_options, "strapdown": strapdown_options}.get(name)
    return {} if options is None else options(dataset)


def reference_from_config(plain: dict[str, Any]) -> Reference:
    """Return a reference for the dictionary that a run folder stores (:func:`reference_to_dict`)."""
    options = dict(plain)
    family = options.pop("family", None)
    if family not in REFERENCES:
        raise UnknownNameError("reference", str(family), REFERENCES)
    config, module = REFERENCES[family]
    known = [field.name for field in fields(config)]
    for option in options:
        if option not in known:
            raise UnknownNameError(f"option of {family}", option, known)
    # lists of JSON are tuples in a configuration
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in options.items()}
    return module(config(**values))


def reference_to_dict(reference: Reference) -> dict[str, Any]:
    """Return a reference's configuration as a dictionary of JSON values."""
    family = next(name for name, (_, module) in REFERENCES.items() if isinstance(reference, module))
    return {"family": family, **asdict(reference.config)}
