"""A trained model with everything it needs to turn physical samples into physical predictions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import safetensors.torch
import torch

from baselines.errors import OptionError, PretrainedError
from baselines.files import atomic_bytes
from baselines.models.config import config_to_dict
from baselines.published import UNITS
from baselines.runs.interface import Interface
from baselines.runs.shipped import (
    FORMAT,
    FORMAT_VERSION,
    SHIPPED,
    Shipped,
    digest,
    load_shipped,
    pretrained_names,
    read_shipped,
    shipped_of,
)
from baselines.stream.streamer import Streamer
from baselines.training.evaluate import compute_all_metrics
from baselines.training.quantities import Quantities
from baselines.training.settings import window_steps
from csp_data import Dataset
from csp_data.dataset import check_dataset
from csp_data.normalization import features
from csp_data.options import as_numbers
from csp_data.predictions import EpisodePrediction, save_predictions
from csp_data.recording import FloatArray

__all__ = [
    "LIMIT",
    "SHIPPED",
    "Pretrained",
    "PretrainedError",
    "load_pretrained",
    "pretrained_names",
    "pretrained_of",
    "read_pretrained",
]

LIMIT = 2 * 2**20
"""Bytes that a file of a model may have: everybody who installs the package carries it."""


class Pretrained(Shipped):
    """A trained model.

    Parameters
    ----------
    name
        What it is asked for by.
    model
        The model, ready to predict (``eval()``).
    interface
        Channels, units, rates, filter and normalisation of what it takes and gives.
    about
        Where it comes from: data, protocol, recipe, commit, settings, errors, recordings of each part.
    card
        The same for people, as Markdown.
    """

    def __repr__(self) -> str:
        interface, count = self.interface, sum(p.numel() for p in self.model.parameters())
        return (
            f"Pretrained({self.name}: {self.model.config.name}, {count:,} values; "
            f"{', '.join(interface.inputs)} at {interface.input_hz:g} Hz -> "
            f"{', '.join(interface.targets)} at {interface.target_hz:g} Hz)"
        )

    def streamer(self, engine: str = "auto") -> Streamer:
        """Return a stream that takes samples one by one in physical units (:class:`baselines.Streamer`)."""
        return Streamer.of(self.model, self.interface, engine)

    def predict(
        self, samples: npt.ArrayLike, *, window_s: float | None = None, prepared: bool = False
    ) -> FloatArray:
        """Predict a whole recording at once; equals the stream of its samples.

        Parameters
        ----------
        samples : array, shape (T, C)
            Physical units, in the order of ``interface.inputs``, at ``interface.input_hz``; of a pandas table
            the names of the columns are compared with them.
        window_s
            Start afresh every so many seconds, as in training (``about["run"]["window_s"]``); ``None`` never does.
        prepared
            The samples are inputs of a prepared data set: its baseline, clip and low-pass were applied already.

        Returns
        -------
        array, shape (T // chunk, D)
            Physical units (``interface.target_units``), one row per whole chunk.

        Raises
        ------
        OptionError
            If the samples are no numbers, have other columns, are not finite, or fill no chunk; if the window is
            no whole number of target steps.
        """
        inputs, chunk = self.interface.inputs, self.model.config.chunk
        count = len(inputs)
        rows = as_numbers("samples", samples, f"shape (T, {count})", inputs)
        if rows.ndim != 2 or rows.shape[1] != count:
            raise OptionError("samples", rows.shape, f"shape (T, {count})")
        if not np.isfinite(rows).all():
            raise OptionError("samples", "NaN or infinity", "finite numbers")
        if prepared:
            unscaled = features(rows.astype(np.float32), deltas=self.interface.deltas, clip=self.interface.clip)
            prepared_features = np.asarray(self.interface.normalization.inputs.apply(unscaled), np.float32)
        else:
            prepared_features = self.streamer("reference").preparation.push(rows)
        steps = len(prepared_features) // chunk
        if steps == 0:
            raise OptionError("samples", f"{len(rows)} rows", f"enough for a chunk of {chunk}")
        length = window_steps("window_s", window_s, self.interface.target_hz) or steps
        tensor = torch.from_numpy(prepared_features[: steps * chunk]).to(next(self.model.parameters()).device)
        with torch.no_grad():
            outputs = [self.model(piece[None])[0] for piece in tensor.split(length * chunk)]
        return np.asarray(self.interface.normalization.targets.invert(torch.cat(outputs).double().cpu().numpy()))

    def predict_part(
        self, dataset: Dataset, part: str, *, window_s: float | None = None
    ) -> list[EpisodePrediction]:
        """Predict every episode of a part of a data set whose channels, units and rates are the model's.

        Parameters
        ----------
        dataset, part
            The data set, which may be another than the model was trained on, and one of its parts.
        window_s
            As for :meth:`predict`.

        Returns
        -------
        list of EpisodePrediction
            ``id``, ``time`` (N,) and, in physical units, ``true`` and ``pred`` (N, D) of each episode, in order.

        Raises
        ------
        PretrainedError
            If the data set's inputs or targets are others than the model's; the message says which.
        """
        self.check(dataset)
        return [
            EpisodePrediction(
                episode.id,
                np.asarray(episode.target_time, dtype=np.float64),
                episode.targets.astype(np.float64),
                self.predict(episode.inputs, window_s=window_s, prepared=True),
            )
            for episode in dataset.split(part)
        ]

    def evaluate(
        self,
        dataset: Dataset,
        part: str | None = None,
        *,
        window_s: float | Literal["trained"] | None = "trained",
        keep: Path | str | None = None,
    ) -> dict[str, Any]:
        """Return the metrics on a part of a data set, as :func:`baselines.evaluate` does of a run.

        Parameters
        ----------
        dataset, part, window_s
            As for :meth:`predict_part`; by default the part that is reported, and the windows of the training.
        keep
            File to write the predictions to; :func:`csp_data.predictions.read_predictions` reads it.

        Returns
        -------
        dict
            See :func:`baselines.training.evaluate.compute_all_metrics`.

        Raises
        ------
        PretrainedError
            As for :meth:`predict_part`.
        """
        check_dataset(dataset)
        part = part or dataset.report
        length = self.about["run"]["window_s"] if window_s == "trained" else window_s
        predictions = self.predict_part(dataset, part, window_s=length)
        if keep is not None:
            save_predictions(keep, predictions)
        quantities = Quantities.of(dataset, UNITS.get(dataset.name))
        return compute_all_metrics(predictions, quantities, dataset.split(part).rows)

    def check(self, dataset: Dataset) -> None:
        """Raise :class:`PretrainedError` unless a data set gives what the model takes, and wants what it gives.

        A name in place of the data set raises :class:`OptionError`.
        """
        own, other = self.interface, Interface.of(dataset)
        ignored = {"normalization"}
        if own.baseline == "none":
            ignored.add("baseline_rows")  # no rows are looked at
        for name in vars(own):
            if name not in ignored and getattr(own, name) != getattr(other, name):
                raise PretrainedError(
                    f"pretrained:{self.name} does not fit {dataset.name} ({dataset.path}): {name} is "
                    f"{getattr(other, name)} there, the model was trained with {getattr(own, name)}. Prepare the "
                    "data that way, or train a model on them."
                )


def load_pretrained(name: str) -> Pretrained:
    """Return a trained model that ships with the package.

    Parameters
    ----------
    name
        One of :func:`baselines.pretrained.pretrained_names`: ``"broad"`` knows the mounting of the sensor in its
        recordings alone, ``"broad-any-mounting"`` was trained on windows turned at random.

    Raises
    ------
    UnknownNameError
        If there is none of that name.
    PretrainedError
        If its file is damaged.

    Examples
    --------
    >>> import numpy as np
    >>> from baselines import load_pretrained
    >>> stream = load_pretrained("broad").streamer()
    >>> sample = np.array([0.0, 0.0, 9.81, 0.0, 0.0, 0.0])  # m/s^2 and rad/s, at 50 Hz
    >>> [len(stream.push(sample)) for _ in range(10)]  # a velocity in m/s with every tenth
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 1]
    """
    return Pretrained(**vars(load_shipped(name)))


def pretrained_of(run: Path | str) -> Pretrained | None:
    """Return the model that ``pretrained:NAME``, which commands take for a run, stands for; None for a folder."""
    found = shipped_of(run)
    return None if found is None else Pretrained(**vars(found))


def read_pretrained(path: Path) -> Pretrained:
    """Read the file of a trained model.

    Raises
    ------
    PretrainedError
        If it is missing, damaged, or of another version.
    """
    return Pretrained(**vars(read_shipped(path)))


def write_pretrained(path: Path, pretrained: Pretrained) -> None:
    """Write a trained model's file, and its card beside it.

    Raises
    ------
    PretrainedError
        If the file would be larger than :data:`LIMIT`; nothing is written then.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in pretrained.model.state_dict().items()}
    metadata = {
        "format": FORMAT,
        "format_version": str(FORMAT_VERSION),
        "model": json.dumps(config_to_dict(pretrained.model.config)),
        "interface": json.dumps(pretrained.interface.to_dict()),
        "about": json.dumps(pretrained.about),
        "card": pretrained.card,
    }
    metadata["digest"] = digest(tensors, metadata)
    content = safetensors.torch.save(tensors, metadata)
    if len(content) > LIMIT:
        raise PretrainedError(
            f"{pretrained.name}: {len(content):,} bytes, expected at most {LIMIT:,}: it would ship to everybody. "
            "Choose a smaller model."
        )
    atomic_bytes(path, content)
    atomic_bytes(path.with_suffix(".md"), pretrained.card.encode())
