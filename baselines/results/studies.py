"""Studies: files of result rows; adding finished runs to them, and selecting rows."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, final, overload

from baselines.errors import MissingExtraError, OptionError, ResultsError, UnknownNameError
from baselines.files import atomic_bytes
from baselines.results.rows import Recording, Result, Target, unique_runs
from baselines.results.text import OPTIONAL, abbreviated, columns, read_rows, write_rows
from baselines.runs.collect import find_runs, read_runs
from baselines.runs.config import digest, flatten
from baselines.runs.run import read_run
from csp_data.files import read_json
from csp_data.home import expanded
from csp_data.terminal import count_of

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "SHIPPED",
    "Results",
    "add_to_study",
    "collect",
    "load_results",
    "merged",
    "read_study",
    "studies",
    "variants_by_key",
    "write_study",
]

SHIPPED = Path(__file__).parent
"""Folder of the studies that ship with the package."""
PARTS = {"recording": ("recordings", Recording), "target": ("by_target", Target)}
"""What files beside a study's have a line for, to the field of a row that holds them and their class."""
FILTERS = ("study", "dataset", "kind", "protocol", "model", "variant", "seed")
_NUMBERS = ("val_mse", "val_rmse", "val_mae", "test_mse", "test_rmse", "test_mae", "epoch", "parameters")


@final
class Results(Sequence[Result]):
    """Rows, in the order of their files."""

    def __init__(self, rows: Iterable[Result]) -> None:
        self._rows = tuple(rows)

    @overload
    def __getitem__(self, index: int) -> Result: ...
    @overload
    def __getitem__(self, index: slice) -> Results: ...
    def __getitem__(self, index: int | slice) -> Result | Results:
        return Results(self._rows[index]) if isinstance(index, slice) else self._rows[index]

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Result]:
        return iter(self._rows)

    def __repr__(self) -> str:
        values = [
            f"{name} {', '.join(sorted({getattr(row, name) for row in self._rows}))}" for name in FILTERS[:4]
        ]
        return f"Results({count_of(len(self), 'run')}; {'; '.join(values)})"

    def where(self, **wanted: Any) -> Results:
        """Return the rows whose fields have these values; a tuple, list, set or range stands for any of them.

        Raises
        ------
        UnknownNameError
            For a field that no filter is for (they are ``study``, ``dataset``, ``kind``, ``protocol``, ``model``,
            ``variant`` and ``seed``), or a value that no row has.
        OptionError
            For a value of another kind: seeds are numbers.
        """
        rows = self._rows
        for name, value in wanted.items():
            if name not in FILTERS:
                raise UnknownNameError("filter of results", name, FILTERS)
            allowed = tuple(value) if isinstance(value, list | tuple | set | frozenset | range) else (value,)
            known = sorted({getattr(row, name) for row in self._rows})
            for candidate in allowed:
                if candidate not in known and not isinstance(candidate, int if name == "seed" else str):
                    raise OptionError(name, candidate, "whole numbers" if name == "seed" else "names")
                if candidate not in known:
                    raise UnknownNameError(f"{name} in these results", str(candidate), map(str, known))
            rows = tuple(row for row in rows if getattr(row, name) in allowed)
        return Results(rows)

    def to_pandas(
        self, by: Literal["run", "recording", "target"] = "run", settings: Sequence[str] = ()
    ) -> pd.DataFrame:
        """Return a frame; needs the extra ``pandas``.

        Parameters
        ----------
        by
            ``"run"`` gives one row per run, with the columns of the CSV file. ``"recording"`` and ``"target"``
            give one row for each run and reported recording, or target, with its errors beside study, variant,
            data set, protocol, model, seed and key of the run; a run that holds no such errors has no rows.
        settings
            Settings that become further columns, by their paths in ``config.json``: ``"train.lr"``,
            ``"data.protocol.lowpass.hz"``. A run that has no such setting has ``None`` there.

        Raises
        ------
        UnknownNameError
            For a setting that no run has.
        OptionError
            For another `by`, or one setting in place of a list.
        """
        if isinstance(settings, str):
            raise OptionError("settings", settings, "a list of settings")
        try:
            import pandas as pd
        except ImportError as error:
            raise MissingExtraError("Results.to_pandas()", "pandas", "pandas") from error
        if by not in ("run", "recording", "target"):
            raise OptionError("by", by, "run, recording or target")
        flat = [flatten(dict(row.settings)) for row in self._rows]
        known = sorted({name for held in flat for name in held})
        for name in settings:
            if name not in known:
                raise UnknownNameError("setting in these results", name, known)
        names = columns(Result) if by == "run" else (*FILTERS, "key")
        runs = [
            (row, {name: getattr(row, name) for name in names} | {name: held.get(name) for name in settings})
            for row, held in zip(self._rows, flat, strict=True)
        ]
        if by == "run":
            return pd.DataFrame([run for _, run in runs])
        held_in, kind = PARTS[by]
        return pd.DataFrame(
            [
                run | {by: what} | asdict(errors)
                for row, run in runs
                for what, errors in getattr(row, held_in).items()
            ],
            columns=[*names, *settings, by, *columns(kind)],  # also where no row has any
        )


def studies() -> tuple[str, ...]:
    """Return the names of the studies that ship with the package."""
    return tuple(sorted(path.stem for path in SHIPPED.glob("*.csv") if "." not in path.stem))


def load_results(study: str | Path | None = None, **wanted: Any) -> Results:
    """Return finished runs as rows: those that ship with the package, those of a file, or your own.

    Parameters
    ----------
    study
        Name of a study (:func:`baselines.results.studies`), a CSV file of one, or ``None`` for all that ship. Or
        the folder of a run, or one that holds runs, such as a sweep's: unfinished ones are left out and counted in
        the log.
    **wanted
        ``dataset``, ``kind``, ``protocol``, ``model``, ``variant``, ``seed``: a value, or several
        (:meth:`Results.where`).

    Raises
    ------
    UnknownNameError
        For a study or value that there is not.
    ResultsError
        If a file is damaged.
    RunError
        If a folder holds no finished run, or one is damaged.

    Examples
    --------
    >>> rows = load_results("sample", model="hiss-s4-mamba")
    >>> rows[0].kind, rows[0].protocol, rows[0].report
    ('real recordings', 'strict', 'test')
    """
    if study is None:
        rows = [row for name in studies() for row in read_study(SHIPPED / f"{name}.csv")]
    elif study in studies():
        rows = read_study(SHIPPED / f"{study}.csv")
    elif (place := expanded(study, "study")).is_dir():
        rows = unique_runs([Result.of(run, place.resolve().name) for run in read_runs([place])])
    elif isinstance(study, Path) or study.endswith(".csv"):
        rows = read_study(place)
    elif Path(study).name != study:
        raise ResultsError(f"{study}: there is no such file or folder. Expected a CSV file of results, or runs.")
    else:
        raise UnknownNameError("study", study, studies())
    return Results(rows).where(**wanted)


def read_study(path: Path) -> list[Result]:
    """Read a study from its CSV file and the files beside it.

    Raises
    ------
    ResultsError
        If a file is missing or damaged, or they contradict each other.
    """
    rows = read_rows(path, columns(Result))
    keys = {row["key"] for row in rows}
    if len(keys) < len(rows):
        raise ResultsError(f"{path}: a run stands in it twice: expected every key once.")
    parts: dict[str, dict[str, dict[str, Any]]] = {}
    for label, (name, kind) in PARTS.items():
        sibling = _sibling_file(path, f"{label}s.csv")
        parts[name] = {key: {} for key in keys}
        for line in read_rows(sibling, {"key": str, label: str, **columns(kind)}):
            key, what = line.pop("key"), line.pop(label)
            if key not in keys:
                raise ResultsError(f"{sibling}: holds the run {key}, which {path.name} does not.")
            parts[name][key][what] = kind(**line)
    configs_file = _sibling_file(path, "configs.json")
    configs = _read_configs(configs_file)
    results = []
    for row in rows:
        if row["config"] not in configs:
            raise ResultsError(f"{configs_file}: lacks the configuration {row['config']}.")
        settings, source = configs[row["config"]], f"{path}, run {row['key']}"
        nested: dict[str, Any] = {name: parts[name][row["key"]] for name in parts}
        results.append(Result(**row, **nested, settings=settings, source=source))
    return results


def write_study(path: Path | str, rows: Sequence[Result]) -> None:
    """Write rows as a study: its CSV file and those beside it, sorted: equal rows make equal files."""
    ordered = sorted(rows, key=lambda row: (row.dataset, row.protocol, row.variant, row.model, row.seed, row.key))
    configs = {row.config: row.settings for row in sorted(ordered, key=lambda row: row.config)}
    path = expanded(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_bytes(
        _sibling_file(path, "configs.json"), (json.dumps(configs, indent=1, sort_keys=True) + "\n").encode()
    )
    for label, (name, kind) in PARTS.items():
        lines = [
            {"key": row.key, label: what, **asdict(errors)}
            for row in ordered
            for what, errors in getattr(row, name).items()
        ]
        write_rows(_sibling_file(path, f"{label}s.csv"), ["key", label, *columns(kind)], lines)
    told = [name for name in columns(Result) if name not in OPTIONAL or any(getattr(row, name) for row in ordered)]
    write_rows(path, told, ({name: getattr(row, name) for name in told} for row in ordered))


def collect(
    folders: Sequence[Path | str], study: str, *, variant: str | Mapping[str, str] = "", cpu: str | None = None
) -> list[Result]:
    """Return finished runs as rows of a study; refuse those that cannot be published.

    Parameters
    ----------
    folders
        Of runs, or of what holds them at any depth, such as sweeps.
    study, variant
        Names to file them under; a variant for all, or by the runs' keys (:func:`variants_by_key`).
    cpu
        Name of the processor, for runs that did not record it.

    Raises
    ------
    ResultsError
        If a run is unfinished, has no variant where variants go by key, or if its commit is unknown or had
        uncommitted changes.
    RunError
        If a run is damaged, or a folder holds none.
    """
    finished, unfinished = find_runs(folders)
    if unfinished:
        raise ResultsError(
            f"{len(unfinished)} of {len(finished) + len(unfinished)} runs are unfinished "
            f"({abbreviated(unfinished)}). Give the command that began them again; they go on. "
            "Name the finished ones alone to leave others out, or delete one that cannot be finished."
        )
    rows = [Result.of(read_run(folder), study, cpu=cpu) for folder in finished]
    unassigned = [] if isinstance(variant, str) else [row.source for row in rows if row.key not in variant]
    if unassigned:
        raise ResultsError(
            f"{len(unassigned)} of {len(rows)} runs are no variant of the ablation ({abbreviated(unassigned)})."
        )
    rows = [replace(row, variant=variant if isinstance(variant, str) else variant[row.key]) for row in rows]
    unknown = [row.source for row in rows if not row.commit or row.commit.endswith("+dirty")]
    if unknown:
        raise ResultsError(
            f"{len(unknown)} of {len(rows)} runs are of code that no commit holds ({abbreviated(unknown)}): such "
            "numbers cannot be traced. Run them again with a release, a clean checkout, or what pip installed "
            "from a commit (git+URL@COMMIT)."
        )
    return rows


def variants_by_key(path: Path) -> dict[str, str]:
    """Return what runs are variants of, by key, from the table that ``csp-baselines ablate`` wrote.

    A run that stands for several variants, such as the one that all others are compared with, has all their names.

    Raises
    ------
    ResultsError
        If the file is not such a table.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            lines = [(key, row["variant"]) for row in csv.DictReader(file) for key in _keys(row)]
    except (OSError, UnicodeDecodeError, csv.Error, KeyError) as error:
        raise ResultsError(f"{path}: not the table of an ablation ({type(error).__name__}: {error}).") from error
    variants: dict[str, list[str]] = {}
    for key, variant in lines:
        variants.setdefault(key, []).append(variant)
    return {key: "; ".join(dict.fromkeys(names)) for key, names in variants.items()}


def _keys(row: Mapping[str, str]) -> list[str]:
    """Return the keys of the runs behind a row of an ablation's table; a variant that does not apply has none."""
    if row.get("folds"):  # put together: config names all of them at once, the folders end with their own keys
        return re.findall(r"-([0-9a-f]{12})(?= |$)", row["run"])
    return [row["config"]] if row["config"] else []


def merged(held: Sequence[Result], new: Sequence[Result]) -> list[Result]:
    """Put new rows beside those that a study holds; a run that is there already with the same errors stays.

    A reference that another sweep ran (:func:`baselines.results.rows.unique_runs`) stays, too.

    Raises
    ------
    ResultsError
        If two rows are of one run with other errors, if two runs of the same data, protocol, model, variant and
        fold differ in more than the seed, or if real and simulated recordings would stand in one study.
    """
    rows = {row.key: row for row in held}
    for row in new:
        before = rows.setdefault(row.key, row)
        differing = [name for name in _NUMBERS if getattr(before, name) != getattr(row, name)]
        if differing:
            name = differing[0]
            raise ResultsError(
                f"{before.source} and {row.source} are the same run ({row.model}, seed {row.seed}) with "
                f"other numbers: {name} is {getattr(before, name)!r} and {getattr(row, name)!r}. "
                "Find out which is right."
            )
    first_by_identity: dict[tuple[object, ...], Result] = {}
    rows = {row.key: row for row in unique_runs(list(rows.values()))}
    for row in rows.values():
        identity = (row.dataset, row.protocol, row.model, row.variant, row.fold)
        before = first_by_identity.setdefault(identity, row)
        if before.config != row.config:
            raise ResultsError(
                f"{before.source} and {row.source} are both {row.dataset}, {row.protocol}, {row.model}, "
                f"with other settings ({before.config} and {row.config}). Name variants to tell them "
                "apart, or add one of them."
            )
    for row in rows.values():
        first = next(iter(rows.values()))
        if row.kind != first.kind:
            raise ResultsError(
                f"{first.source} is of {first.kind}, {row.source} of {row.kind}: one study never mixes them. "
                "Name another study."
            )
    return list(rows.values())


def add_to_study(path: Path, rows: Sequence[Result]) -> list[Result]:
    """Add rows to a study's file, which may be new, and return all that it then holds.

    Raises
    ------
    OptionError
        If the study cannot be called as it is.
    ResultsError
        As for :func:`merged` and :func:`read_study`; the file is then as it was.
    """
    for row in rows:
        if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", row.study):
            raise OptionError(
                "study", row.study, "small letters, digits and single hyphens", "The file's is the default."
            )
    merged_rows = merged(read_study(path) if path.exists() else [], rows)
    write_study(path, merged_rows)
    return merged_rows


def _sibling_file(path: Path, kind: str) -> Path:
    return path.with_name(f"{path.stem}.{kind}")


def _read_configs(path: Path) -> dict[str, Any]:
    try:
        configs = read_json(path)
        wrong = [name for name, settings in configs.items() if digest(settings) != name]
    except (OSError, ValueError, AttributeError) as error:
        raise ResultsError(f"{path}: cannot be read as configurations ({error}).") from error
    if wrong:
        raise ResultsError(f"{path}: the configuration {wrong[0]} is not the one of that name: it was changed.")
    return dict(configs)
