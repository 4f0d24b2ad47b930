"""Predict recordings of which nobody measured the truth, with a finished run or a model that ships."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from baselines.errors import CspDataError, OptionError
from baselines.experiment import load_model, torch_device
from baselines.pretrained import Pretrained, pretrained_of
from baselines.runs.interface import Interface, interface_of
from baselines.runs.run import Run, read_run
from baselines.training.data import Part
from baselines.training.evaluate import physical_predictions
from baselines.training.settings import window_steps
from csp_data import PAPER, STRICT, InputEpisode, Note, Protocol, Recording, input_episodes
from csp_data.normalization import features

__all__ = ["Prediction", "Predictor"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a model says of one stretch of a recording without a long gap.

    Parameters
    ----------
    id
        Id of the recording; behind a dot the number of the stretch, where gaps cut it into several.
    time : array, shape (N,)
        End of each step on the recording's clock, in seconds.
    values : array, shape (N, D), float64
        In physical units, a column for each of :attr:`Interface.targets`.
    """

    id: str
    time: npt.NDArray[np.float64]
    values: npt.NDArray[np.float64]


class Predictor:
    """Predicts whole recordings that need no measured truth, from samples at whatever rate the sensors have.

    The inputs are aligned, cut at gaps, resampled and filtered as those of the training data were
    (:func:`csp_data.input_episodes`), so predictions of a recording of the test part equal those that
    ``csp-baselines eval`` writes. For samples that come one by one there is :class:`baselines.Streamer`.

    Parameters
    ----------
    model
        A model or reference, ready to predict.
    interface
        Channels, units and normalisation of what it was trained on.
    protocol
        How its training data were prepared.
    window
        Target steps after which the model starts afresh; ``None`` never within a stretch.
    """

    def __init__(self, model: nn.Module, interface: Interface, protocol: Protocol, window: int | None) -> None:
        self.model, self.interface, self.protocol, self.window = model, interface, protocol, window

    @classmethod
    def of(
        cls,
        run: Run | Pretrained | Path | str,
        *,
        window_s: float | str | None = "trained",
        device: str = "cpu",
        baseline: str = "protocol",
        data: Path | None = None,
    ) -> Predictor:
        """Make the predictor of a finished run or of a model that ships.

        Parameters
        ----------
        run
            A run or the folder of one; a pretrained model, or ``"pretrained:NAME"``.
        window_s
            Seconds after which the model starts afresh: ``"trained"`` for the windows of its training, which are
            those of its evaluation too; ``None`` for never within a stretch, as a stream does.
        device
            Where to predict, as torch names it.
        baseline
            ``"protocol"``: subtract what the protocol takes from a recording's first rows; ``"none"``: nothing, as
            the samples come without their offset.
        data
            The prepared file, for runs without interface.json if it is no longer where the run found it.

        Raises
        ------
        OptionError
            If a value is none of these.
        """
        if baseline not in ("protocol", "none"):
            raise OptionError("baseline", baseline, "protocol or none")
        if isinstance(run, str | Path):
            run = pretrained_of(run) or read_run(Path(run))
        if isinstance(run, Pretrained):
            model: nn.Module = run.model.to(torch_device(device))
            interface, protocol, trained_s = run.interface, _protocol_of(run), run.about["run"]["window_s"]
        else:
            model, interface = load_model(run, device), interface_of(run, data)
            protocol = Protocol.from_json(json.dumps(run.config.data.protocol))
            trained_s = run.config.train.window_s or (protocol.window and protocol.window.seconds)
        if isinstance(window_s, str) and window_s != "trained":
            raise OptionError("window_s", window_s, "trained, a number of seconds, or None")
        seconds = trained_s if isinstance(window_s, str) else window_s
        if baseline == "none":
            protocol = protocol.replace(baseline="none")
        return cls(model, interface, protocol, window_steps("window_s", seconds, interface.target_hz))

    def predict(self, recording: Recording, *, source: Path | str | None = None) -> list[Prediction]:
        """Predict a recording.

        Parameters
        ----------
        recording
            Its input streams, with times in seconds and the channels of the training data by name; other channels
            and streams are not looked at.
        source
            Data set whose reader made the recording, where channels are derived (:func:`csp_data.input_episodes`).

        Returns
        -------
        list of Prediction
            One for each stretch without a long gap, in order. What was repaired or left out is logged.

        Raises
        ------
        CspDataError
            If a channel is missing, the recording is damaged, or it has no whole step without a gap.
        ModelError
            If predictions are not finite.
        """
        episodes, notes = input_episodes(recording, self.interface.inputs, self.protocol, source=source)
        if not episodes:
            raise CspDataError(
                f"{recording.path}: nothing to predict, since no stretch fills a step of "
                f"{1 / self.interface.target_hz:g} s{_reason(notes)}."
            )
        for note in notes:
            logger.warning("%s: %s", note.recording, ": ".join(filter(None, (note.what, note.detail))))
        part = self._part(episodes)
        values = physical_predictions(self.model, part, self.window)
        return [
            Prediction(episode.id, episode.target_time, values[start : start + steps])
            for episode, start, steps in zip(episodes, part.starts, part.lengths, strict=True)
        ]

    def _part(self, episodes: Sequence[InputEpisode]) -> Part:
        """Return the episodes as a part of a data set whose targets nobody knows."""
        scaling = self.interface.normalization
        normalized = [
            scaling.inputs.apply(features(episode.inputs, deltas=self.interface.deltas, clip=self.interface.clip))
            for episode in episodes
        ]
        lengths = np.array([len(episode.target_time) for episode in episodes], dtype=np.int64)
        device = next((t.device for t in (*self.model.parameters(), *self.model.buffers())), torch.device("cpu"))
        return Part(
            name="recording",
            ids=tuple(episode.id for episode in episodes),
            inputs=torch.from_numpy(np.concatenate(normalized)).to(device),
            targets=torch.zeros(int(lengths.sum()), len(self.interface.targets), device=device),
            starts=np.cumsum(lengths) - lengths,
            lengths=lengths,
            times=tuple(episode.target_time for episode in episodes),
            chunk=self.protocol.chunk,
            target_hz=self.protocol.target_hz,
            scaling=scaling.targets,
        )


def _protocol_of(pretrained: Pretrained) -> Protocol:
    """Return the protocol of a pretrained model: what its interface says, and the rest as its name says."""
    interface = pretrained.interface
    base = PAPER if pretrained.about["data"]["protocol"] == PAPER.name else STRICT
    names = (
        "input_hz",
        "target_hz",
        "lowpass",
        "baseline",
        "baseline_rows",
        "raw_clip",
        "resample",
        "look_ahead_s",
        "rotations",
        "orientation",
        "truth_quaternions",
    )
    own = {name: getattr(interface, name) for name in names}
    return base.replace(**own, input_deltas=interface.deltas, clip=interface.clip)


def _reason(notes: Sequence[Note]) -> str:
    return "".join(f"; {': '.join(filter(None, (note.what, note.detail)))}" for note in notes)
