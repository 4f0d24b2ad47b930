"""Predict any recordings with a finished run or a model that ships, and tell the errors where there is a truth."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from tqdm import tqdm

from baselines.errors import CspDataError, NothingToPredictError, OptionError, UnknownNameError
from baselines.pretrained import Pretrained
from baselines.published import UNITS
from baselines.runs.interface import Interface, interface_of
from baselines.runs.model import model_of_run
from baselines.runs.run import Run
from baselines.runs.start import learned
from baselines.trained import trained_of
from baselines.training.data import Part
from baselines.training.device import torch_device
from baselines.training.evaluate import compute_all_metrics, physical_predictions, predict
from baselines.training.quantities import Quantities
from baselines.training.settings import window_steps
from csp_data import PAPER, STRICT, Dataset, Note, Protocol, Recording, input_episodes
from csp_data.acquire.rawtree import SKIPPED, raw_kind, raw_root, recordings_of, separate_failed
from csp_data.acquire.report import Report, path_inside
from csp_data.acquire.verify import verify_tree
from csp_data.card import Card, load_card
from csp_data.errors import DamagedRecordingError
from csp_data.normalization import features
from csp_data.predictions import save_predictions
from csp_data.prepare.examples import Example, examples
from csp_data.prepare.pipeline import channels_of
from csp_data.prepare.reporting import log_notes
from csp_data.sources import Found, load_source, read_found
from csp_data.store import EpisodeRow

__all__ = ["NothingToPredictError", "Prediction", "Predictor", "chosen_recordings"]

logger = logging.getLogger(__name__)

GO_ON = "Or go on without damaged recordings: --skip-damaged (in Python skip_damaged=True) lists them."


@dataclass(frozen=True, eq=False)
class Prediction:
    """A model's predictions for one stretch of a recording without a long gap.

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

    def __repr__(self) -> str:
        return f"<Prediction {self.id}: values {self.values.shape}>"


class Predictor:
    """Predicts whole recordings that need no measured truth, from samples at whatever rate the sensors have.

    The inputs are aligned, cut at gaps, resampled and filtered as those of the training data were
    (:func:`csp_data.input_episodes`), so predictions of a recording of the test part equal those that
    ``csp-baselines eval`` writes, if its truth begins and ends with its inputs and has no gap. For samples that
    come one by one there is :class:`baselines.Streamer`.

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
    run
        Where the model is from: with it, :meth:`evaluate` warns of recordings that it learned from.
    """

    def __init__(
        self,
        model: nn.Module,
        interface: Interface,
        protocol: Protocol,
        window: int | None,
        run: Run | Pretrained | None = None,
    ) -> None:
        self.model, self.interface, self.protocol, self.window, self.run = model, interface, protocol, window, run

    def __repr__(self) -> str:
        interface = self.interface
        config: Any = self.run.config if isinstance(self.run, Run) else getattr(self.model, "config", None)
        name = getattr(config, "name", type(self.model).__name__)
        seconds = None if self.window is None else self.window / interface.target_hz
        return (
            f"<Predictor of {name}: {', '.join(interface.inputs)} at {interface.input_hz:g} Hz -> "
            f"{', '.join(interface.targets)} at {interface.target_hz:g} Hz, "
            f"{'whole stretches' if seconds is None else f'windows of {seconds:g} s'}>"
        )

    @classmethod
    def of(
        cls,
        run: Run | Pretrained | Path | str,
        *,
        window_s: float | str | None = "trained",
        device: str = "cpu",
        baseline: str = "protocol",
        data: Path | str | None = None,
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
        UnknownNameError
            If no model of that name ships.
        RunError
            If the folder holds no finished run.
        """
        if baseline not in ("protocol", "none"):
            raise OptionError("baseline", baseline, "protocol or none")
        run = trained_of(run)
        if isinstance(run, Pretrained):
            model: nn.Module = run.model.to(torch_device(device))
            interface, protocol, trained_s = run.interface, _protocol_of(run), run.about["run"]["window_s"]
        else:
            model, interface, protocol = model_of_run(run, device), interface_of(run, data), run.protocol
            trained_s = run.config.train.window_s or (protocol.window and protocol.window.seconds)
        if isinstance(window_s, str) and window_s != "trained":
            raise OptionError("window_s", window_s, "trained, a number of seconds, or None")
        seconds = trained_s if isinstance(window_s, str) else window_s
        if baseline == "none":
            protocol = protocol.replace(baseline="none")
        window = window_steps("window_s", seconds, interface.target_hz)
        return cls(model, interface, protocol, window, run)

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
        OptionError
            If it is something else, such as an array of samples; :meth:`Pretrained.predict` and
            :class:`baselines.Streamer` take those.
        NothingToPredictError
            If it has no whole step without a gap.
        CspDataError
            If a channel is missing, or the recording is damaged.
        ModelError
            If predictions are not finite.

        Examples
        --------
        From arrays with their times, here of a sensor that lies still (columns of a table by ``to_numpy()``):

        >>> import csp_data
        >>> import numpy as np
        >>> from baselines import Predictor
        >>> time = np.arange(0, 10.05, 1 / 83)  # any rate
        >>> force, turning = np.tile([0.0, 0.0, 9.81], (len(time), 1)), np.zeros((len(time), 3))
        >>> streams = {
        ...     "accelerometer": csp_data.Stream(time, force, ("acc_x", "acc_y", "acc_z"), "m/s^2", "input"),
        ...     "gyroscope": csp_data.Stream(time, turning, ("gyr_x", "gyr_y", "gyr_z"), "rad/s", "input"),
        ... }
        >>> recording = csp_data.Recording("still", "me", "still.csv", streams)
        >>> Predictor.of("pretrained:broad").predict(recording)
        [<Prediction still: values (50, 3)>]
        """
        episodes, notes = input_episodes(recording, self.interface.inputs, self.protocol, source=source)
        if not episodes:
            raise NothingToPredictError(
                f"{recording.path}: nothing to predict, since no stretch fills a step of "
                f"{1 / self.interface.target_hz:g} s{_reason(notes)}."
            )
        for note in notes:
            logger.warning("%s: %s", note.recording, ": ".join(filter(None, (note.what, note.detail))))
        part = self._part([(episode.id, episode.inputs, episode.target_time) for episode in episodes])
        values = physical_predictions(self.model, part, self.window)
        return [
            Prediction(episode.id, episode.target_time, values[start : start + steps])
            for episode, start, steps in zip(episodes, part.starts, part.lengths, strict=True)
        ]

    def evaluate(
        self,
        dataset: Path | str,
        *,
        raw: Path | str | None = None,
        recordings: Sequence[str] = (),
        skip_damaged: bool = False,
        keep: Path | str | None = None,
        progress: bool = False,
    ) -> dict[str, Any]:
        """Return the errors on recordings whose truth was measured, such as those of another day.

        The reader of a data set reads them, and every field of the protocol applies, as to the training data: of
        recordings of the test part the errors are those of their evaluation. In which part the data set's own
        split has them does not matter; the log warns of those that the model was trained or chosen on: by their
        bytes for a run whose prepared file is there to tell, by their ids for a model that ships.

        Parameters
        ----------
        dataset
            Data set whose reader reads them: a name, or the folder of one of your own. Its inputs and its target
            are those of the training data.
        raw
            Folder of the recordings; by default the data set's own, of which `recordings` then chooses some.
        recordings
            Their ids, or patterns that they fit (``"s01_*"``); by default all in the folder.
        skip_damaged
            Go on without recordings that are damaged or without a truth, and log them.
        keep
            File to write the predictions to (:func:`csp_data.predictions.save_predictions`).
        progress
            Show a bar on stderr.

        Returns
        -------
        dict
            ``"dataset"``, ``"kind"`` (whether they are simulated), and the metrics
            (:func:`baselines.training.evaluate.compute_all_metrics`).

        Raises
        ------
        OptionError
            If neither a folder nor recordings are given: most of a data set's own are trained on. If the data set
            is loaded; :func:`baselines.evaluate` takes those.
        CspDataError
            If a recording is not there, has no measured truth or is damaged, if its channels or its target are
            others than those of the training data, or if the protocol leaves all recordings out.
        """
        if isinstance(cast("object", dataset), Dataset):
            raise OptionError("dataset", dataset, "its name, or its folder: a reader reads the recordings anew")
        if isinstance(recordings, str):
            raise OptionError("recordings", recordings, "a list of ids, or of patterns that they fit")
        if raw is None and not recordings:
            raise OptionError(
                "raw", None, "a folder, or recordings by name: of the data set's own, most are trained on"
            )
        card = load_card(dataset)
        root = raw_root(card, raw)
        episodes = list(self._labelled(card, root, recordings, skip_damaged, progress))
        rows = [_row(episode) for episode in episodes]
        if len({row.id for row in rows}) < len(rows):
            raise CspDataError(f"{root}: two recordings give episodes of one name. Rename one of them.")
        part = self._part([(e.id, e.inputs, self._target_time(e)) for e in episodes], episodes)
        predictions = predict(self.model, part, self.window)
        if keep is not None:
            save_predictions(keep, predictions)
        _, channels = channels_of(card, self.protocol, episodes[0])
        quantities = Quantities.of_target(card.target(self.protocol.target), channels, UNITS.get(card.name))
        return {
            "dataset": card.name,
            "kind": raw_kind(card, root),
            **compute_all_metrics(predictions, quantities, rows),
        }

    def _labelled(
        self, card: Card, root: Path, ids: Sequence[str], skip_damaged: bool, progress: bool
    ) -> Iterator[Example]:
        """Make examples of recordings as :func:`csp_data.prepare` does, with numbers as it stores them."""
        chosen, report = chosen_recordings(card, root, ids, skip_damaged=skip_damaged)
        source, notes, count = load_source(card), list[Note](), 0
        self._warn_of_seen(chosen, report)
        for found in tqdm(chosen, f"read {card.name}", unit="rec", disable=not progress):
            try:
                recording = read_found(source, found, card, self.protocol)
                _require_truth(card, recording)
                with np.errstate(all="ignore"):  # what is no number is refused, with its place
                    made, more = examples(recording, card, source, self.protocol)
            except DamagedRecordingError as error:
                if not skip_damaged:
                    raise error.or_else(GO_ON) from error
                notes.append(Note(found.id, SKIPPED, f"{error.path}: {error.problem}", "skip"))
                continue
            notes += [*recording.notes, *more]
            count += len(made)
            for example in made:
                self._require_same_channels(card, example)
                yield example.stored()
        log_notes(notes)
        if not count:
            raise CspDataError(f"{root}: the protocol leaves nothing to evaluate{_reason(notes)}.")

    def _warn_of_seen(self, chosen: Sequence[Found], report: Report) -> None:
        """Warn of recordings that the model, or what its training began with, seems to have learned from."""
        trainings = list(learned(self.run))
        seen = [
            found.id
            for found in chosen
            if any(
                before.seems_to_know(found.id, report.digests[path_inside(found.files[0], report.root)].sha256)
                for before in trainings
            )
        ]
        if seen:
            logger.warning(
                "the %s seems to be trained or chosen on %d of these %d recordings, whose errors say little: %s",
                "run" if isinstance(self.run, Run) else "model",
                len(seen),
                len(chosen),
                ", ".join(seen),
            )

    def _require_same_channels(self, card: Card, example: Example) -> None:
        """Refuse an example of other inputs or of another target than the training data's."""
        own, target = self.interface, card.target(self.protocol.target).name
        inputs, targets = channels_of(card, self.protocol, example)
        for what, there, trained in (
            ("inputs", (inputs.names, inputs.units), (own.inputs, own.input_units)),
            (f"target {target}", (targets.names, targets.units), (own.targets, own.target_units)),
        ):
            if there != trained:
                raise CspDataError(
                    f"{card.name}, recording {example.recording}: its {what} are {_named(*there)}; the model was "
                    f"trained with {_named(*trained)}. Train a model on such data."
                )
        if target != own.target:
            raise CspDataError(
                f"{card.name}: its target is {target}; the model was trained for {own.target}, which may be "
                "something else in the same unit. Train a model on such data."
            )

    def _target_time(self, example: Example) -> npt.NDArray[np.float64]:
        """Return the end of each target step, as a prepared data set gives it."""
        first = example.start_s + self.protocol.first_offset[1]
        return first + np.arange(len(example.targets)) / self.protocol.target_hz

    def _part(
        self,
        stretches: Sequence[tuple[str, npt.NDArray[np.floating], npt.NDArray[np.float64]]],
        truth: Sequence[Example] = (),
    ) -> Part:
        """Return stretches, each with id, inputs and times of the targets, as a part of a data set.

        Without a truth nobody knows its targets, and they are 0.
        """
        scaling = self.interface.normalization
        normalized = [
            scaling.inputs.apply(features(inputs, deltas=self.interface.deltas, clip=self.interface.clip))
            for _, inputs, _ in stretches
        ]
        lengths = np.array([len(time) for _, _, time in stretches], dtype=np.int64)
        targets = torch.zeros(int(lengths.sum()), len(self.interface.targets))
        if truth:
            targets = torch.from_numpy(np.concatenate([scaling.targets.apply(e.targets) for e in truth]))
        device = next((t.device for t in (*self.model.parameters(), *self.model.buffers())), torch.device("cpu"))
        return Part(
            name="recording",
            ids=tuple(id_ for id_, _, _ in stretches),
            inputs=torch.from_numpy(np.concatenate(normalized)).to(device),
            targets=targets.to(device),
            starts=np.cumsum(lengths) - lengths,
            lengths=lengths,
            times=tuple(time for _, _, time in stretches),
            chunk=self.protocol.chunk,
            target_hz=self.protocol.target_hz,
            scaling=scaling.targets,
        )


def chosen_recordings(
    card: Card, root: Path, ids: Sequence[str], *, skip_damaged: bool = False
) -> tuple[list[Found], Report]:
    """Return recordings of a data set by their ids, by default all, with the report on the files in the folder.

    What is no id may be a pattern, as in a card's parts (``"s01_*"``); it stands for all that it fits.

    Raises
    ------
    UnknownNameError
        If there is none of that id, and none that fits.
    VerificationError
        If a file is not the publisher's; with `skip_damaged`, recordings of such files are left out and logged.
    """
    report = verify_tree(card, root, extra=False)
    if not skip_damaged:
        report.raise_for_failures(allow_missing=True)
    by_id = {found.id: found for found in recordings_of(card, report)}
    chosen: dict[str, Found] = {} if ids else by_id
    for id_ in ids:
        fitting = [id_] if id_ in by_id else [one for one in by_id if fnmatchcase(one, id_)]
        if not fitting:
            raise UnknownNameError(f"recording of {card.name}", id_, by_id)
        chosen |= {one: by_id[one] for one in fitting}
    notes, readable = separate_failed(list(chosen.values()), report)
    log_notes(notes)
    return readable, report


def _require_truth(card: Card, recording: Recording) -> None:
    for stream in card.streams:
        if stream.role == "reference" and stream.name not in recording.streams:
            raise DamagedRecordingError(
                recording.path,
                f"recording {recording.id}",
                f"its {stream.name}, of which the truth is made",
                "none",
                "csp-baselines predict does without.",
            )


def _row(example: Example) -> EpisodeRow:
    """Return what the metrics ask of an episode; it lies in no file."""
    return EpisodeRow(
        example.id,
        example.group,
        "",
        0,
        len(example.inputs),
        0,
        len(example.targets),
        example.start_s,
        example.recording,
    )


def _named(names: Sequence[str], units: Sequence[str]) -> str:
    return ", ".join(f"{name} ({unit})" for name, unit in zip(names, units, strict=True))


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
