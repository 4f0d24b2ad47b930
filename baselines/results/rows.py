"""One finished run as a row of plain values."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from baselines.errors import OptionError
from baselines.presets import REFERENCES
from baselines.runs.config import digest, effective_settings
from baselines.runs.run import Run, damaged_error

__all__ = [
    "Recording",
    "Result",
    "Target",
    "as_result",
    "as_results",
    "relative_mse",
    "si_rmse",
    "targets_of",
    "unique_runs",
]

RunOrResult = TypeVar("RunOrResult", "Run", "Result")


@dataclass(frozen=True)
class Recording:
    """Errors of a run on one recording of the reported part.

    Parameters
    ----------
    steps
        Target steps.
    mse, mae
        In the targets' units, squared and as they are.
    ate, rte
        Absolute and relative trajectory error in :attr:`Result.path_unit`; ``None`` where targets make no path.
    """

    steps: int
    mse: float
    mae: float
    ate: float | None = None
    rte: float | None = None

    @property
    def rmse(self) -> float:
        """Root of the mean squared error, in the targets' unit."""
        return math.sqrt(self.mse)


@dataclass(frozen=True)
class Target:
    """Errors of a run on one target channel over the reported part, in SI units (increments per second)."""

    unit: str
    rmse: float
    mae: float


def targets_of(metrics: Mapping[str, Any]) -> dict[str, Target]:
    """Return the errors by target in metrics (:func:`baselines.training.evaluate.compute_all_metrics`)."""
    return {name: Target(**values) for name, values in (metrics.get("si") or {}).items()}


def si_rmse(targets: Mapping[str, Target]) -> tuple[float | None, str]:
    """Return the root mean squared error over targets in SI units, and the unit; nothing where units differ."""
    units = {target.unit for target in targets.values()}
    if len(units) != 1:
        return None, ""
    return math.sqrt(math.fsum(target.rmse**2 for target in targets.values()) / len(targets)), units.pop()


def relative_mse(targets: Mapping[str, Target], baseline: Mapping[str, Target]) -> float | None:
    """Return the mean over targets of MSE / MSE of something else, which compares whatever the targets are.

    Targets without an error there, such as those that never vary, are left out; ``None`` if all are.

    Parameters
    ----------
    targets, baseline
        Errors on the same part: of a model, and of the reference ``mean``, or of the model without a fault.
    """
    ratios = [target.rmse**2 / baseline[name].rmse ** 2 for name, target in targets.items() if baseline[name].rmse]
    return math.fsum(ratios) / len(ratios) if ratios else None


@dataclass(frozen=True, kw_only=True)
class Result:
    """A finished run: what it was, where it ran, what came out.

    Parameters
    ----------
    study, variant
        Names that it was filed under; a variant tells apart runs of one model with other settings.
    dataset, kind, protocol, recipe_hash
        Data set; ``"CSP-Bench"``, ``"real recordings"`` or ``"simulated"``; protocol; all that the prepared
        numbers depend on.
    selection, report
        Part that the epoch was chosen on (``val_*``), and part that is reported (``test_*``).
    targets, units
        Target channels, and their units in the prepared file.
    model, seed
        Name of the model, and seed of its training.
    config
        12 hexadecimal digits of everything but the seed; runs that share them are one model over its seeds.
    key
        12 hexadecimal digits of everything (:attr:`baselines.runs.config.RunConfig.key`).
    code, commit, version
        Digest of the code that computed it, git commit of that code, version of the package.
    torch, device, cpu, threads
        Version of torch, device, name of the processor (``None`` where it was not recorded), threads.
    window_s
        Seconds that a model sees at once; ``None`` for whole episodes.
    parameters
        Values that were learned.
    epochs, epoch
        Passes over the training windows (at most, where ``patience`` may have stopped it), and the chosen one;
        ``None`` for a reference.
    seconds
        Time to fit, without what is compiled once on a machine.
    val_mse, val_rmse, val_mae, test_mse, test_rmse, test_mae
        In the units of the targets.
    test_ate, test_rte, path_unit
        Trajectory errors, means over recordings and paths; ``None`` where the targets make no path.
    published_mse, published_unit
        The reported error in the unit of the published table (inferred), ``None`` where that states none.
    recordings, by_target
        Errors by recording of the reported part, and by target.
    groups
        How many groups the recordings of the reported part are of; ``None`` where the run or the file does not
        tell.
    settings
        The configuration without the seed, as JSON values.
    source
        Where it was read from, for messages.
    """

    study: str
    variant: str
    dataset: str
    kind: str
    protocol: str
    recipe_hash: str
    selection: str
    report: str
    targets: tuple[str, ...]
    units: tuple[str, ...]
    model: str
    seed: int
    config: str
    key: str
    code: str
    commit: str | None
    version: str | None
    torch: str | None
    device: str | None
    cpu: str | None
    threads: int | None
    window_s: float | None
    parameters: int
    epochs: int | None
    epoch: int | None
    seconds: float
    val_mse: float
    val_rmse: float
    val_mae: float
    test_mse: float
    test_rmse: float
    test_mae: float
    test_ate: float | None = None
    test_rte: float | None = None
    path_unit: str | None = None
    published_mse: float | None = None
    published_unit: str | None = None
    recordings: Mapping[str, Recording] = field(default_factory=dict)
    by_target: Mapping[str, Target] = field(default_factory=dict)
    groups: int | None = field(default=None, compare=False)
    settings: Mapping[str, Any] = field(default_factory=dict, repr=False)
    source: str = field(default="", compare=False, repr=False)

    @classmethod
    def of(cls, run: Run, study: str = "", variant: str = "", cpu: str | None = None) -> Result:
        """Read a finished run.

        Parameters
        ----------
        run
            The run.
        study, variant
            Names to file it under.
        cpu
            Name of its processor, where the run did not record it.

        Raises
        ------
        OptionError
            If it is no run, but the folder of one.
        RunError
            If the run's files lack what they should hold.
        """
        if not isinstance(cast("object", run), Run):
            raise OptionError(
                "run", run, "a finished run", "baselines.load_results(folder) has the rows of a folder."
            )
        try:
            return cls._of(run, study, variant, cpu)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise damaged_error(run.folder, error) from error

    @classmethod
    def _of(cls, run: Run, study: str, variant: str, cpu: str | None) -> Result:
        data, train, environment = run.config.data, run.config.train, run.environment
        val, test = run.selected, run.reported
        trajectory, published = test.get("trajectory") or {}, test.get("published") or {}
        settings = run.seedless
        return cls(
            study=study,
            variant=variant,
            dataset=data.name,
            kind=data.kind,
            protocol=data.protocol["name"],
            recipe_hash=data.recipe_hash,
            selection=data.selection,
            report=data.report,
            targets=tuple(data.channels),
            units=tuple(data.units),
            model=run.config.name,
            seed=train.seed,
            config=digest(settings),
            key=run.config.key,
            code=run.config.code,
            commit=environment.get("commit"),
            version=environment.get("csp_data"),
            torch=environment.get("torch"),
            device=environment.get("device"),
            cpu=environment.get("cpu") or cpu,
            threads=environment.get("threads"),
            window_s=train.window_s,
            parameters=run.results["parameters"],
            epochs=train.epochs if run.epochs else None,
            epoch=run.results.get("epoch"),
            seconds=run.results["seconds"],
            **{f"val_{name}": val[name] for name in ("mse", "rmse", "mae")},
            **{f"test_{name}": test[name] for name in ("mse", "rmse", "mae")},
            test_ate=trajectory.get("ate"),
            test_rte=trajectory.get("rte"),
            path_unit=trajectory.get("unit"),
            published_mse=published.get("mse"),
            published_unit=published.get("unit"),
            recordings={name: _recording(values) for name, values in (test.get("recordings") or {}).items()},
            by_target=targets_of(test),
            groups=len(test.get("groups") or {}) or None,
            settings=settings,
            source=str(run.folder),
        )

    @property
    def fold(self) -> int | None:
        """Which fold of a cross-validation is reported; ``None`` where there are none, or all are put together."""
        return self._resplit.get("fold")

    @property
    def folds(self) -> int | None:
        """How many folds a cross-validation has; ``None`` where there are none."""
        return self._resplit.get("folds")

    @property
    def fold_by(self) -> str:
        """What each fold of a cross-validation holds whole: groups or subjects."""
        return self._resplit.get("by", "group")

    @property
    def _resplit(self) -> Mapping[str, Any]:
        return self.settings.get("data", {}).get("protocol", {}).get("resplit") or {}

    @property
    def hours(self) -> float:
        """Time to fit, in hours."""
        return self.seconds / 3600

    @property
    def unit(self) -> str | None:
        """Unit of all targets; ``None`` where they differ."""
        return self.units[0] if len(set(self.units)) == 1 else None


def as_result(run: Run | Result) -> Result:
    """Return the row of a run that is not one yet."""
    return run if isinstance(run, Result) else Result.of(run)


def as_results(runs: Sequence[Run | Result]) -> list[Result]:
    """Return rows, of runs where they are not rows yet; a reference of several sweeps :func:`unique_runs`."""
    if isinstance(cast("object", runs), str) or not isinstance(cast("object", runs), Iterable):
        raise OptionError("runs", runs, "a list of runs", "baselines.load_results(folder) has those of a folder.")
    return unique_runs([as_result(run) for run in runs])


def unique_runs(runs: Sequence[RunOrResult]) -> list[RunOrResult]:
    """Leave out references that came before: they depend on no seed and, of a training, on the window alone."""
    first_by_identity: dict[tuple[str, ...], RunOrResult] = {}
    for run in runs:
        row = as_result(run)
        identity: tuple[str, ...] = (str(len(first_by_identity)),)  # a model's runs are all kept
        if row.model in REFERENCES:
            identity = digest(effective_settings(dict(row.settings))), row.variant
        first_by_identity.setdefault(identity, run)
    return list(first_by_identity.values())


def _recording(values: Mapping[str, Any]) -> Recording:
    trajectory = values.get("trajectory") or {}
    return Recording(
        int(values["steps"]), float(values["mse"]), values["mae"], trajectory.get("ate"), trajectory.get("rte")
    )
