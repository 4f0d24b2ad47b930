"""Turn choices into a figure. There are no widgets here, so that tests need no browser."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
from matplotlib.figure import Figure

from csp_data.api.raw import recording_of
from csp_data.dataset import Dataset
from csp_data.errors import OptionError, UnknownNameError
from csp_data.plot import FIGURES, draw, recording_figure
from csp_data.plot.figures import columns_of
from csp_data.predictions import PREDICTIONS, PredictionsError, read_predictions
from csp_data.recording import FloatArray
from csp_data.signal.lowpass import LowPass, Phase

__all__ = ["FILTERED", "PREDICTED", "SHOWN", "Selection", "find_runs", "first_predicted"]

RAW = ("recording", "clocks")
"""Figures of the raw recording that an episode is of."""
SHOWN = (*FIGURES, *RAW)
"""All figures."""
FILTERED = ("episode", "lowpass", "spectra")
"""Figures that show inputs, which can be chosen and filtered."""
PREDICTED = ("targets", "trajectory")
"""Figures that show predictions."""
DEPTH = 3
"""Folders below the one of runs that are searched."""


def find_runs(root: Path) -> dict[str, Path]:
    """Return the folders below `root` that hold predictions, by their names relative to it.

    Links that lead out of `root` are left out.

    Raises
    ------
    OptionError
        If `root` is no folder.
    """
    if not root.is_dir():
        raise OptionError("runs", str(root), "a folder that holds run folders")
    root = root.resolve()
    found = {}
    for depth in range(DEPTH + 1):
        for file in sorted(root.glob("*/" * depth + PREDICTIONS)):
            folder = file.resolve().parent
            if folder.is_relative_to(root):
                found[folder.relative_to(root).as_posix()] = folder
    return found


def first_predicted(dataset: Dataset, folder: Path) -> tuple[str, int] | None:
    """Return part and number of the first episode that a run predicts, ``None`` where there is none."""
    predicted = {prediction.id for prediction in read_predictions(folder / PREDICTIONS)}
    episodes = ((part, i, row.id) for part in dataset.parts for i, row in enumerate(dataset.split(part).rows))
    return next(((part, i) for part, i, id_ in episodes if id_ in predicted), None)


@dataclass(frozen=True)
class Selection:
    """What is shown of a data set.

    Parameters
    ----------
    dataset
        The data set.
    runs
        From :func:`find_runs`: the only folders that predictions are read from.
    figure, part, episode, channels
        As for :func:`csp_data.plot.draw`; ``"recording"`` and ``"clocks"`` are of its raw recording.
    lowpass
        Over the inputs, ``None`` for none.
    run
        One of `runs`, or ``None``.
    raw
        Folder of the raw recordings; by default what ships, or the home's.

    Raises
    ------
    UnknownNameError, OptionError
        If a choice is none of those there are, wherever it came from.
    """

    dataset: Dataset
    runs: Mapping[str, Path] = field(default_factory=dict)
    figure: str = "episode"
    part: str = "train"
    episode: int = 0
    lowpass: LowPass | None = None
    run: str | None = None
    channels: tuple[str, ...] = ()
    raw: Path | None = None

    def __post_init__(self) -> None:
        if self.figure not in SHOWN:
            raise UnknownNameError("figure", self.figure, SHOWN)
        columns_of(self.dataset.channels, self.channels)
        count = len(self.dataset.split(self.part))
        if not 0 <= self.episode < count:
            raise OptionError("episode", self.episode, f"0 to {count - 1}, the episodes of {self.part}")
        if self.run is not None and self.run not in self.runs:
            raise UnknownNameError("run", self.run, self.runs)
        if self.lowpass is not None:
            self.lowpass.sections(self.dataset.channels.rate_hz)

    @classmethod
    def asked(
        cls, dataset: Dataset, runs: Mapping[str, Path], arguments: Mapping[str, str], raw: Path | None = None
    ) -> Selection:
        """Make the selection that a page's address asks for; what it does not name stays as it is by default.

        Parameters
        ----------
        dataset, runs, raw
            As above.
        arguments
            ``dataset``, ``figure``, ``part``, ``episode`` (its id, or its number), ``hz``, ``order``, ``phase``,
            ``run``, ``channels`` (commas between them): text, from outside.
        """
        if (named := arguments.get("dataset", dataset.name)) != dataset.name:
            raise OptionError(
                "dataset",
                named,
                f"{dataset.name}, which this page shows",
                "Each data set has a viewer of its own.",
            )
        run = arguments.get("run") or None
        chosen = cls(
            dataset, runs, part=dataset.parts[0], run=run, raw=raw, figure=PREDICTED[0] if run else "episode"
        )
        if run is not None and "part" not in arguments and (found := first_predicted(dataset, runs[run])):
            chosen = replace(chosen, part=found[0], episode=found[1])
        try:
            hz, order = float(arguments.get("hz", 0)), int(arguments.get("order", 3))
        except ValueError as error:
            raise OptionError("hz, order", str(error), "numbers") from error
        part = arguments.get("part", chosen.part)
        episode = _episode(dataset, part, arguments["episode"]) if "episode" in arguments else chosen.episode
        phase: Phase = "zero" if arguments.get("phase") == "zero" else "causal"
        return replace(
            chosen,
            figure=arguments.get("figure", chosen.figure),
            part=part,
            episode=episode,
            lowpass=LowPass(hz, order, phase) if hz > 0 else None,
            channels=tuple(filter(None, arguments.get("channels", "").split(","))),
        )

    def address(self) -> str:
        """Return what follows the question mark of the address that asks for the same (:meth:`asked`)."""
        said: dict[str, object] = {
            "dataset": self.dataset.name,
            "figure": self.figure,
            "part": self.part,
            "episode": self.dataset.split(self.part).rows[self.episode].id,  # whose number depends on the split
        }
        if self.lowpass is not None:
            said |= {"hz": self.lowpass.hz, "order": self.lowpass.order, "phase": self.lowpass.phase}
        if self.run is not None:
            said["run"] = self.run
        if self.channels:
            said["channels"] = ",".join(self.channels)
        return urlencode(said, safe=",/")

    def prediction(self) -> FloatArray | None:
        """Return what the run predicts of the episode, shape (N, D); ``None`` when no run is chosen.

        Raises
        ------
        PredictionsError
            If the run says nothing of this episode, or was made from other data: its measured values differ.
        """
        if self.run is None:
            return None
        shown = self.dataset.split(self.part)[self.episode]
        for prediction in read_predictions(self.runs[self.run] / PREDICTIONS):
            if prediction.id == shown.id:
                same = prediction.true.shape == shown.targets.shape
                if not same or not np.allclose(prediction.true, shown.targets, rtol=1e-4, atol=1e-5):
                    raise PredictionsError(
                        f"run {self.run} was measured against other targets of {shown.id} "
                        f"{prediction.true.shape} than these {shown.targets.shape}: another data set or protocol"
                    )
                return prediction.pred
        if first_predicted(self.dataset, self.runs[self.run]) is None:
            raise PredictionsError(
                f"run {self.run} predicts no episode of {self.dataset.name}: it is of other data"
            )
        raise PredictionsError(f"run {self.run} holds no prediction of {shown.id}: choose the part it reports on")

    def draw(self) -> Figure:
        """Draw it."""
        if self.figure in RAW:
            return self._raw()
        predicted = self.prediction() if self.figure in PREDICTED else None
        return draw(
            self.dataset,
            self.figure,
            part=self.part,
            episode=self.episode,
            lowpass=self.lowpass,
            predictions=None if predicted is None or self.run is None else {self.run: predicted},
            channels=self.channels,
        )

    def _raw(self) -> Figure:
        dataset = self.dataset
        id_ = dataset.split(self.part).rows[self.episode].recording
        recording = recording_of(dataset.card, id_, raw=self.raw, protocol=dataset.protocol)
        return recording_figure(recording, clocks=self.figure == "clocks", kind=dataset.kind)


def _episode(dataset: Dataset, part: str, text: str) -> int:
    """Return the number of an episode of a part, given its id or its number."""
    ids = [row.id for row in dataset.split(part).rows]
    if text not in ids and not text.isdecimal():
        raise OptionError("episode", text, f"the id of an episode of {part}, or its number: 0 to {len(ids) - 1}")
    return ids.index(text) if text in ids else int(text)
