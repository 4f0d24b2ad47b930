"""The command line: ``csp-baselines``."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass, field, make_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union

import tyro

import baselines._patience  # noqa: F401  # first: before torch is loaded
import csp_data
from baselines.ablate_cli import ABLATE, Ablate, ablate
from baselines.bench_cli import BENCH, Bench, bench
from baselines.completion import COMPLETION, Completion, complete, completion
from baselines.errors import CspDataError, OptionError, UnknownNameError
from baselines.export_cli import EXPORT, Export, export_run
from baselines.faults_cli import FAULTS, Faults, faults
from baselines.results_cli import RESULTS, Results, results, runs_or_rows
from baselines.stream_cli import STREAM, Stream, stream
from baselines.sweep_cli import SWEEP, Sweep, sweep
from baselines.training import TrainConfig
from baselines.training_cli import Choices, chosen
from csp_data import Dataset
from csp_data.card import load_card
from csp_data.manners import Loudness, loudness, pipeable
from csp_data.protocol import resolve
from csp_data.splitcard import PARTS

__all__ = ["main"]

_arg = tyro.conf.arg
Named = tyro.conf.Positional


@dataclass(frozen=True)
class Train:
    """Options of ``train``."""

    dataset: Annotated[str, Named, _arg(metavar="DATASET")]
    """Name of a data set, or a prepared file."""
    model: Annotated[str, Named, _arg(metavar="MODEL")]
    """Name of a model or reference."""
    choices: Annotated[Choices, tyro.conf.OmitArgPrefixes, _arg(name="training")] = field(default_factory=Choices)
    out: Annotated[Path | None, _arg(metavar="FOLDER")] = None
    """Folder of the run; by default runs/DATASET-MODEL-SEED."""
    raw: Annotated[Path | None, _arg(metavar="FOLDER")] = None
    """Folder of the raw files, to prepare the data set from."""
    protocol: Annotated[str | None, _arg(metavar="NAME")] = None
    """Name of the protocol; by default the data set's own."""
    training: Annotated[str | None, _arg(metavar="NAME")] = None
    """Choices of the training by name, paper or strict; by default the one named like the protocol."""
    preset: Annotated[str | None, _arg(metavar="NAME")] = None
    """Sizes of the model: small (the default) or paper (published); some models have more."""
    set: Annotated[tuple[str, ...], _arg(metavar="KEY=VALUE ...")] = ()
    """Sizes of the model one by one: dim=32 low_layers=2."""
    device: str = "cpu"
    """As torch names it."""
    threads: int | None = None
    """Threads of torch; by default 1 for small sizes and references, where more wait for each other, else all."""
    track: Literal["tensorboard", "trackio", "wandb"] | None = None
    """A tracker that follows the training too; what counts is the folder of the run."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print the results as JSON."""


@dataclass(frozen=True)
class Eval:
    """Options of ``eval``."""

    run: Annotated[Path, Named, _arg(metavar="RUN")]
    """Folder of the run, or pretrained:NAME for a model that ships with the package (with --data)."""
    part: Annotated[str | None, _arg(metavar="NAME")] = None
    """What to evaluate on: train, val, test or another part; by default the one that is reported."""
    data: Annotated[Path | None, _arg(metavar="FILE")] = None
    """The prepared file, if it is no longer where the run found it."""
    predictions: Annotated[Path | None, _arg(metavar="FOLDER")] = None
    """Folder to write predictions.npz into, which csp-data view --runs shows."""
    device: str = "cpu"
    """As torch names it."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print the results as JSON."""


@dataclass(frozen=True)
class Table:
    """Options of ``table``."""

    runs: Annotated[tuple[Path, ...], Named, _arg(metavar="RUN...")]
    """Folders of runs or of sweeps, CSV files of results, or study:NAME."""
    format: Literal["md", "latex", "html", "csv", "json"] = "md"
    """Markdown, LaTeX, HTML, CSV or JSON."""
    by: Literal["model", "recording", "target"] = "model"
    """The table; or errors by recording, or by target in SI units (of one data set; Markdown, LaTeX, HTML)."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """The same as --format json."""


@dataclass(frozen=True)
class Report:
    """Options of ``report``."""

    runs: Annotated[tuple[Path, ...], Named, _arg(metavar="RUN...")]
    """Folders of runs, or of sweeps."""
    out: Annotated[Path, _arg(metavar="PATH", aliases=["-o"])]
    """The page to write, a name that ends in .html, or else a folder for its index.html."""
    data: Annotated[tuple[Path, ...], _arg(metavar="FILE...")] = ()
    """Prepared files that are no longer where the runs found them."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print where the page is as JSON."""


TRAIN = """Train a model (or fit a reference) on a data set, choose its epoch on val, evaluate it on val and test.

Under --protocol paper there are only train and eval: the epoch is chosen on eval and reported on it, as published.

Everything goes into one folder. The same command again goes on where it was stopped, and does nothing once it has
finished. Models: flat-<kind>, hiss-<low>-<high>, hiss-<low>-<mid>-<high>; <kind> and <high> are lstm, transformer,
s4, mamba, gru, tcn, mamba2, s4d or lru, <low> and <mid> the same without transformer. References: mean (of the
training targets), fir (linear filter over the last 2 s), kalman (linear state-space model identified on train,
with its Kalman filter), strapdown (inertial sensors alone: orientation filter and integration, nothing learned).

Examples:
  csp-baselines train sample hiss-s4-mamba
  csp-baselines train broad flat-lstm --raw trees/broad --seed 1 --set dim=64 hidden=64 --out runs/lstm-1
  csp-baselines train vector.h5 fir --window-s 10
  csp-baselines train marker hiss-s4-mamba --training paper --preset marker --seed 1
  torchrun --nproc-per-node 4 -m baselines train broad hiss-s4-mamba --device cuda --batch 64"""

EVAL = """Evaluate a finished run on one part, afresh from its weights.

Examples:
  csp-baselines eval runs/sample-hiss-s4-mamba-0 --part val
  csp-baselines eval pretrained:broad --data "$(csp-data prepare sample)" --predictions shown/pretrained"""

TABLE = """Print a table of runs, seeds taken together: one a data set, and of several data sets an overview.

RUN is the folder of a run, or one that holds runs (a sweep), or a file that csp-baselines results wrote, or
study:NAME for results that ship with the package. After ± stands the standard deviation over seeds. The others
are compared with the learned model that is best on the part for choosing: a bootstrap interval over recordings and
seeds, Wilcoxon's test over recordings with Holm's correction. Simulated and real recordings, two protocols or two
recipes of the data are never put into one table.

Examples:
  csp-baselines table runs/sample-*
  csp-baselines table runs/broad-* --format latex > broad.tex
  csp-baselines table study:broad"""

REPORT = """Write one self-contained HTML page about runs or whole sweeps.

A section for each data set, protocol and recipe of the data: table and statistics, learning curves, predicted and
measured, errors by recording, speed and size, commands. Where runs vary a setting (chunk, low-pass, share of the
data, anything given to sweep --set), the error against it.

Examples:
  csp-baselines report runs/sample-* -o report.html
  csp-baselines report sweeps/first sweeps/second -o report"""

PROGRAM = """Train, evaluate and compare sequence models on prepared sensor recordings.

Examples:
  csp-baselines train sample hiss-s4-mamba
  csp-baselines eval runs/sample-hiss-s4-mamba-0 --part val
  csp-baselines table runs/sample-*
  csp-baselines report runs/sample-* -o report.html

Each command's own help says more: csp-baselines train --help.

Exit codes: 0 done, 1 failed, 2 usage, 3 verification failed, 4 a person is needed."""


@dataclass(frozen=True)
class Subcommand:
    """One command: its options, its help, and what does it, given the options and the line that was typed."""

    options: type
    help: str
    act: Callable[[Any, str], None]

    @property
    def line(self) -> str:
        """The first line of its help."""
        return self.help.partition("\n")[0]


def commands() -> dict[str, Subcommand]:
    """Return all commands, in the order of the help."""
    every = (
        Subcommand(Train, TRAIN, _train),
        Subcommand(Eval, EVAL, _eval),
        Subcommand(Table, TABLE, _table),
        Subcommand(Results, RESULTS, results),
        Subcommand(Report, REPORT, _report),
        Subcommand(Sweep, SWEEP, sweep),
        Subcommand(Ablate, ABLATE, ablate),
        Subcommand(Faults, FAULTS, faults),
        Subcommand(Stream, STREAM, stream),
        Subcommand(Export, EXPORT, export_run),
        Subcommand(Bench, BENCH, bench),
        Subcommand(Completion, COMPLETION, completion),
    )
    return {command.options.__name__.lower(): command for command in every}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 failed, 2 usage, 3 verification failed, 4 needs a person."""
    pipeable(lambda: _main(list(sys.argv[1:] if arguments is None else arguments)))


RESUMED = ("train", "sweep", "ablate")
"""Commands that go on where they were stopped."""


def _main(given: list[str]) -> None:
    known = commands()
    complete(known)
    try:
        program = parse(given)
        Loudness(program.quiet, program.verbose).apply()
        action = known[type(program.command).__name__.lower()].act
        action(program.command, shlex.join(["csp-baselines", *given]))
    except CspDataError as error:
        sys.stderr.write(f"Error: {error}\n")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        word = next((word for word in given if not word.startswith("-")), "")
        goes_on = " The same command goes on from the last finished epoch." if word in RESUMED else ""
        sys.stderr.write(f"Stopped.{goes_on}\n")
        sys.exit(1)


def parse(given: Sequence[str]) -> Any:
    """Read a command line: its ``command``, whether ``quiet``, whether ``verbose``.

    Does what tyro does not: no colours where they are not wanted, the version, the nearest command, one line for
    each command in the help of the whole.
    """
    if os.environ.get("NO_COLOR"):  # no-color.org
        tyro._experimental_options["ansi_codes"] = False
    known = commands()
    word = next((word for word in given if word not in LOUD), "--help")
    if word == "--version":
        print(f"csp-baselines, version {csp_data.__version__}")
        sys.exit(0)
    if not word.startswith("-") and word not in known:
        raise UnknownNameError("command", word, list(known))
    union: Any = Union[  # noqa: UP007  # built from the table
        tuple(
            Annotated[row.options, tyro.conf.subcommand(name, description=row.help if name == word else row.line)]
            for name, row in known.items()
        )
    ]
    fields: list[tuple[str, Any, Any]] = [
        ("command", Annotated[union, tyro.conf.OmitArgPrefixes, tyro.conf.OmitSubcommandPrefixes], MISSING),
        ("quiet", _flag("-q", "No progress and no notes."), False),
        ("verbose", _flag("-v", "Say more, on stderr."), False),
    ]
    program = make_dataclass("Program", [(name, kind, field(default=value)) for name, kind, value in fields])
    return tyro.cli(program, prog="csp-baselines", description=PROGRAM, args=list(given) or ["--help"])


LOUD = ("-q", "--quiet", "-v", "--verbose")


def _flag(short: str, text: str) -> Any:
    """Return the type of a flag that may stand before or behind the command."""
    return Annotated[
        bool, tyro.conf.CascadeSubcommandArgs, tyro.conf.FlagCreatePairsOff, _arg(aliases=[short], help=text)
    ]


def _train(command: Train, line: str) -> None:
    import torch

    from baselines.experiment import follow, run
    from baselines.references import REFERENCES
    from baselines.team import joined

    preset = command.preset or (None if command.model in REFERENCES else "small")
    if command.threads is not None and command.threads < 1:
        raise OptionError("threads", command.threads, "a whole number of at least 1")
    # on two busy cores two threads were seen to take ten times as long as one: a small model's steps are so short
    # that one thread spends them waiting for the other to get a core
    threads = command.threads or (1 if preset in (None, "small") else torch.get_num_threads())
    torch.set_num_threads(threads)
    dataset, train = _dataset(command)
    out = command.out or Path("runs") / f"{Path(command.dataset).stem}-{command.model}-{train.seed}"
    with joined(command.device) as (team, device):
        if not team.leads:
            options = _options(command.set)
            follow(dataset, command.model, train, team, preset=preset, options=options, device=device)
            return
        done, state = run(
            dataset,
            command.model,
            train,
            out,
            preset=preset,
            options=_options(command.set),
            device=device,
            command=line,
            progress=loudness.get().progress,
            team=team,
            track=command.track,
        )
    if command.json:
        print(json.dumps({"run": str(out), "state": state, **done.results}))
        return
    if state == "finished":
        print(f"{out} holds this run, finished: nothing to do.")
    epoch = done.results["epoch"]
    print(
        f"{done.config.name} on {done.config.data.name} ({done.config.data.kind}), "
        f"{done.results['parameters']:,} parameters"
        + (f", epoch {epoch} of {train.epochs}" if epoch else "")
        + f", {done.results['seconds']:.1f} s"
    )
    data = done.config.data
    for part in (part for part in PARTS if part in done.results):
        print(_errors(part, done.results[part], data.units))
    if data.selected_on_report:
        print(f"The epoch was chosen on {data.report} itself, as published: no part was held out from the choice.")
    print(f"run written to {out}")


def _eval(command: Eval, line: str) -> None:
    from baselines.experiment import evaluate
    from baselines.pretrained import load_pretrained
    from baselines.runs import PREDICTIONS, dataset_of, read_run

    keep = None
    if command.predictions is not None:
        command.predictions.mkdir(parents=True, exist_ok=True)
        keep = command.predictions / PREDICTIONS
    if str(command.run).startswith("pretrained:"):
        shipped = load_pretrained(str(command.run).removeprefix("pretrained:"))
        if command.data is None:
            raise OptionError("data", None, "a prepared file, as csp-data prepare NAME prints")
        dataset = csp_data.load(path=command.data)
        part = command.part or dataset.report
        found = shipped.evaluate(dataset, part, keep=keep)
    else:
        run = read_run(command.run)
        dataset, part = dataset_of(run, command.data), command.part or run.config.data.report
        found = evaluate(run, dataset, part, command.device, keep)
    if command.json:
        print(json.dumps({"run": str(command.run), "part": part, **found}))
        return
    units = list(dataset.targets.units)
    print(_errors(part, found, units))
    for kind in ("channels", "episodes"):
        for name, values in found[kind].items():
            print(_errors(f"  {name}", values, units))


def _table(command: Table, line: str) -> None:
    from baselines.breakdown import by_recording, by_target
    from baselines.render import render_all, write
    from baselines.table import make_tables

    rows = runs_or_rows(command.runs)
    if command.by != "model":
        form = "json" if command.json else command.format
        if form == "csv" or form == "json":
            raise OptionError("format", form, "md, latex or html with --by: csp-baselines results writes the data")
        sys.stdout.write(write([(by_recording if command.by == "recording" else by_target)(rows)], form))
        return
    tables = make_tables(rows)
    sys.stdout.write(render_all(tables, "json" if command.json else command.format))


def _report(command: Report, line: str) -> None:
    from baselines.collect import find_runs, read_runs
    from baselines.report import datasets_of, write_report

    runs = read_runs(command.runs)
    if not runs:
        raise OptionError("RUNS", "", "at least one folder of a run")
    datasets = datasets_of(runs, command.data)
    path = write_report(runs, datasets, command.out, unfinished=len(find_runs(command.runs)[1]))
    print(json.dumps({"report": str(path)}) if command.json else f"report written to {path}")


def _dataset(command: Train) -> tuple[Dataset, TrainConfig]:
    """Load by name, or from a prepared file if the argument looks like one; choose how to train on it."""
    path = Path(command.dataset)
    if command.dataset in csp_data.names() or (path.suffix not in (".h5", ".hdf5") and not path.is_file()):
        # first what may be refused: preparing can take long
        protocol = resolve(load_card(command.dataset), command.protocol)
        train = chosen(command.choices, command.training, protocol.name)
        csp_data.prepare(command.dataset, raw=command.raw, protocol=protocol, progress=loudness.get().progress)
        return csp_data.load(command.dataset, raw=command.raw, protocol=protocol), train
    dataset = csp_data.load(path=path, raw=command.raw, protocol=command.protocol)
    return dataset, chosen(command.choices, command.training, dataset.protocol.name)


def _options(pairs: Sequence[str]) -> dict[str, Any]:
    """Read KEY=VALUE pairs; a value is a number, true, false, null, or else text."""
    options = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not (key and equals):
            raise OptionError("set", pair, "KEY=VALUE, such as dim=32")
        try:
            options[key] = json.loads(value)
        except ValueError:
            options[key] = value
    return options


def _errors(what: str, values: dict[str, Any], units: list[str]) -> str:
    from baselines.render import number

    unit = f" {units[0]}" if len(set(units)) == 1 else ""
    squared = f" ({units[0]})²" if unit else ""
    return (
        f"{what}: MSE {number(values['mse'], 5)}{squared}, RMSE {number(values['rmse'])}{unit}, "
        f"MAE {number(values['mae'])}{unit}"
    )
