"""Many runs in one folder: what is finished is kept, what was interrupted goes on, nothing runs twice.

====================  ================================================================================
``sweep.jsonl``       one line for every time that a sweep was begun here: command, code, its runs
``runs/NAME-KEY/``    a run each (:mod:`baselines.runs.run`), named by all that its numbers depend on
====================  ================================================================================
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar, cast

from baselines.errors import OptionError, RunError, SweepError
from baselines.runs.environment import code_version
from baselines.runs.run import Run, read_run
from baselines.sweeps.execute import execute
from baselines.sweeps.grid import Grid, expand, prepare_all
from baselines.sweeps.pool import Pool, make_pool
from baselines.sweeps.progress import Progress, draws_bars
from baselines.sweeps.worker import Place
from baselines.training.ledger import SWEEP, append_line, read_lines
from csp_data.home import expanded
from csp_data.terminal import count_of

T = TypeVar("T")

logger = logging.getLogger(__name__)

__all__ = ["Sweep", "grid_of", "read_sweep", "require_sweep_folder", "sweep", "sweep_planned"]


@dataclass(frozen=True)
class Sweep:
    """The outcome of a sweep: which runs are finished, and which failed.

    Parameters
    ----------
    folder
        Of the sweep.
    done
        Folders of the runs that are finished, in the order of the grid.
    failed
        Folder of each run that failed, and why; of :func:`read_sweep` also of those that are unfinished.
    executed
        Runs that were finished now, not before.
    """

    folder: Path
    done: tuple[Path, ...]
    failed: Mapping[Path, str]
    executed: int

    def runs(self) -> list[Run]:
        """Read the finished runs."""
        return [read_run(folder) for folder in self.done]

    def __repr__(self) -> str:
        return f"<Sweep {self.folder}: {count_of(len(self.done), 'run')} done, {len(self.failed)} failed>"


def sweep(
    datasets: Sequence[Path | str],
    models: Sequence[Path | str],
    *,
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
    out: Path | str,
    protocol: str | None = None,
    training: str | None = None,
    preset: str = "small",
    settings: Mapping[str, Sequence[Any]] | None = None,
    raw: Path | str | None = None,
    folds: int | None = None,
    skip_damaged: bool = False,
    jobs: int = 1,
    backend: str = "loky",
    device: str = "cpu",
    per_device: int = 1,
    threads: int = 1,
    slurm: Mapping[str, Any] | None = None,
    track: str | None = None,
    progress: bool = False,
    command: str = "",
) -> Sweep:
    """Run every combination of data sets, models, seeds and settings, each once, however often it is called.

    Parameters
    ----------
    datasets
        Names of data sets, folders of your own, or prepared files.
    models
        Names of models as :func:`baselines.build` takes them, and of references; ``"published"`` and
        ``"references"`` stand for all of these. References depend on no seed: they are run once.
    seeds
        Seeds of each run.
    protocol
        Name of the protocol; ``None`` for each data set's own.
    training
        ``"paper"`` or ``"strict"``: where settings name nothing else, the training is that of this protocol;
        ``None`` for that of the protocol's name.
    preset
        Sizes of the models, by name (:func:`baselines.presets_of`).
    settings
        ``"train.FIELD"`` (of :class:`baselines.TrainConfig`), ``"model.SIZE"`` (of :func:`baselines.build`) or
        ``"data.FIELD"`` (of :class:`csp_data.Protocol`) to a list of the values that it takes:
        ``{"train.lr": [1e-3, 3e-3], "data.lowpass": [None, csp_data.LowPass(hz=5)]}``.
    raw
        Folder of the raw files; ``{name}`` in it stands for the data set's name. ``None`` for the home's.
    folds
        For cross-validation: every run is made once for each of so many folds (:class:`csp_data.Resplit`).
    skip_damaged
        Prepare data sets without their damaged recordings, as :func:`csp_data.prepare` does.
    out
        Folder of the sweep: new, or of an earlier one, which goes on.
    jobs
        Runs at once.
    backend
        ``"loky"``: processes of this machine; ``"dask:ADDRESS"``; ``"slurm"``.
    device
        As torch names it; ``"cuda"`` spreads the runs over all GPUs.
    per_device
        Runs at once on one GPU.
    threads
        Threads of torch in each run.
    slurm
        Parameters of submitit.
    track
        Name of a tracker that follows each training (:data:`baselines.runs.trackers.TRACKERS`).
    progress
        Show how far it is, on stderr.
    command
        How to get this sweep again, for the record.

    Returns
    -------
    Sweep
        The runs of this grid, :meth:`Sweep.runs` reads them. One that failed is in it with its reason; it stops no
        other.

    Raises
    ------
    SweepError
        If a data set is not there, or the folder is not one of a sweep; nothing was started.
    UnknownNameError, OptionError
        For a name or a value that does not exist; nothing was started.
    MissingExtraError
        If the tracker or the backend is not installed; nothing was started.
    """
    grid = grid_of(
        datasets,
        models,
        seeds,
        protocol=protocol,
        training=training,
        preset=preset,
        settings=settings,
        raw=raw,
        folds=folds,
        skip_damaged=skip_damaged,
    )
    place = Place(device=device, per_device=per_device, threads=threads, track=track)
    out = expanded(out, "out").absolute()
    require_sweep_folder(out)
    runs = expand(grid, prepare_all(grid, jobs=jobs, progress=draws_bars(progress)), out)
    pool, display = make_pool(backend, jobs, out, dict(slurm or {})), Progress(runs, jobs, shown=progress)
    return sweep_planned(display, out, place, pool, command)


def grid_of(
    datasets: Iterable[Path | str],
    models: Iterable[Path | str],
    seeds: Iterable[int],
    *,
    settings: Mapping[str, Sequence[Any]] | None,
    raw: Path | str | None,
    **others: Any,
) -> Grid:
    """Return the grid of what a person gives in Python: paths, any kind of list, numbers of numpy."""
    return Grid(
        datasets=_as_names("datasets", datasets),
        models=_as_names("models", models),
        seeds=_as_tuple("seeds", seeds),
        settings=_as_dict(settings),
        raw=None if raw is None else str(raw),
        **others,
    )


def _as_tuple(option: str, values: Iterable[T]) -> tuple[T, ...]:
    """Refuse one name in place of a list of names, whose letters would be taken for names."""
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise OptionError(option, values, "a list")
    return tuple(values)


def _as_names(option: str, values: Iterable[Path | str]) -> tuple[str, ...]:
    names = _as_tuple(option, values)
    for name in names:
        if not isinstance(cast("object", name), str | Path):
            raise OptionError(option, name, "names, as text")
    return tuple(map(str, names))


def _as_dict(settings: Mapping[str, Sequence[Any]] | None) -> dict[str, Sequence[Any]]:
    if not isinstance(cast("object", settings), Mapping | None):
        raise OptionError("settings", settings, "a dict from settings to values, such as {'train.lr': [1e-3]}")
    return dict(settings or {})


def sweep_planned(
    display: Progress, out: Path, place: Place, pool: AbstractContextManager[Pool], command: str
) -> Sweep:
    """Execute the runs that are shown, in a folder that :func:`require_sweep_folder` let pass."""
    place = replace(place, slots=out / ".slots")
    with pool as opened:
        out.mkdir(parents=True, exist_ok=True)
        before = read_lines(out / SWEEP)
        if before and before[-1].get("code") != code_version():
            logger.warning(
                "%s was begun with another version of csp-data: its runs are made anew, beside the earlier ones, "
                "which tables tell apart by their code. To go on with those, use that (environment.json in a "
                "run's folder says at which commit).",
                out,
            )
        append_line(
            out / SWEEP,
            {
                "format": "csp-baselines-sweep",
                "time": datetime.now(UTC).isoformat(timespec="seconds"),
                "command": command,
                "code": code_version(),
                "runs": [folder.name for folder in display.runs],
            },
        )
        with display.live(), closing(execute(display.runs.values(), opened, place)) as outcomes:
            for outcome in outcomes:  # Ctrl-C ends the workers here
                display.add(outcome)
    ended = [display.outcomes[folder] for folder in display.runs]
    return Sweep(
        out,
        tuple(outcome.folder for outcome in ended if outcome.state != "failed"),
        {outcome.folder: outcome.error for outcome in ended if outcome.state == "failed"},
        sum(outcome.state == "done" for outcome in ended),
    )


def read_sweep(folder: Path | str) -> Sweep:
    """Read a sweep's folder: what :func:`sweep` returns, of all runs in it.

    Parameters
    ----------
    folder
        Of the sweep, as given as ``out``.

    Returns
    -------
    Sweep
        Its finished runs in the order of their folders' names, which :meth:`Sweep.runs` reads, and why others are
        not finished: unfinished, damaged, or something else. Nothing is executed.

    Raises
    ------
    SweepError
        If the folder is not one of a sweep.
    """
    folder = expanded(folder, "folder")
    if not (folder / SWEEP).is_file():
        raise SweepError(
            f"{folder} is not the folder of a sweep: it has no {SWEEP}. csp-baselines sweep makes one."
        )
    done: list[Path] = []
    unfinished: dict[Path, str] = {}
    for path in sorted((folder / "runs").iterdir()) if (folder / "runs").is_dir() else []:
        try:
            read_run(path)
        except RunError as error:
            unfinished[path] = str(error)
        else:
            done.append(path)
    return Sweep(folder, tuple(done), unfinished, executed=0)


def require_sweep_folder(out: Path) -> None:
    """Refuse a folder that is not new, empty or of a sweep."""
    if out.is_dir() and any(out.iterdir()):
        lines = read_lines(out / SWEEP)
        if not lines or lines[0].get("format") != "csp-baselines-sweep":
            raise SweepError(
                f"{out} is not the folder of a sweep, and not empty. It is left as it is: name another folder"
                " (--out)."
            )
    elif out.exists() and not out.is_dir():
        raise SweepError(f"{out} is a file. Name another folder (--out).")
