"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

from csp_data import api
from csp_data.card import names
from csp_data.dataset import Dataset
from csp_data.errors import OptionError
from csp_data.resplit import Resplit
from csp_data.signal.lowpass import LowPass
from csp_data.windows import Window

__all__ = [
    "is_prepared",
    "json_option",
    "load_named",
    "name_argument",
    "optional_name_argument",
    "protocol_options",
    "raw_option",
    "skip_damaged_option",
    "typed",
]


def _complete_name(ctx: click.Context, parameter: click.Parameter, begun: str) -> list[CompletionItem]:
    return [CompletionItem(name) for name in names() if name.startswith(begun)]


name_argument = click.argument("name", shell_complete=_complete_name)
optional_name_argument = click.argument("name", required=False, shell_complete=_complete_name)
raw_option = click.option(
    "--raw",
    type=click.Path(path_type=Path),
    help="Folder of the raw files [default: shipped, or the home's raw/NAME].",
)
skip_damaged_option = click.option(
    "--skip-damaged", is_flag=True, help="Leave damaged recordings out, and list them."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def _fold(ctx: click.Context, parameter: click.Parameter, text: str | None) -> tuple[int, int] | None:
    """Read ``I/N``."""
    if text is None:
        return None
    fold, slash, folds = text.partition("/")
    if not (slash and fold.isdecimal() and folds.isdecimal()):
        raise click.BadParameter(f"{text!r} is not I/N, such as 0/5")
    return int(fold), int(folds)


PROTOCOL_OPTIONS = (
    click.option("--protocol", help="Name of the protocol [default: the card's]."),
    click.option("--inputs", help="Input streams, comma separated [default: the card's]."),
    click.option("--target", help="Name of the target [default: the card's]."),
    click.option("--input-hz", type=float, help="Rate of the inputs in Hz [default: the card's, or 50]."),
    click.option("--target-hz", type=float, help="Rate of the targets in Hz [default: the card's, or 5]."),
    click.option(
        "--resample",
        type=click.Choice(["linear", "mean"]),
        help="Resampling: interpolate, or average over each step (less aliasing) [default: linear].",
    ),
    click.option(
        "--lowpass",
        type=float,
        metavar="HZ",
        help="Low-pass the inputs (Butterworth) with this cut-off [default: none].",
    ),
    click.option("--order", type=int, default=3, show_default=True, help="Order of the low-pass."),
    click.option(
        "--phase",
        type=click.Choice(["causal", "zero"]),
        default="causal",
        show_default=True,
        help="Phase of the low-pass: causal, or zero (sees the future).",
    ),
    click.option(
        "--window",
        type=float,
        metavar="S",
        help="Cut episodes into windows of S seconds [default: whole episodes].",
    ),
    click.option(
        "--stride",
        type=float,
        metavar="S",
        help="Seconds from one window to the next [default: S of --window].",
    ),
    click.option(
        "--min-episode",
        "min_episode_s",
        type=float,
        metavar="S",
        help="Leave out episodes shorter than this [default: 2; paper: 0].",
    ),
    click.option(
        "--fold",
        "resplit",  # as what is wrong with it is called, so that it is said of the flag
        metavar="I/N",
        callback=_fold,
        help="Cross-validation: fold I of N, from 0 on, is test, the next val [default: the card's].",
    ),
    click.option(
        "--fold-by",
        "by",
        type=click.Choice(["group", "subject"]),
        default="group",
        show_default=True,
        help="What a fold holds whole: groups, or all recordings of a person.",
    ),
)
"""Options that change a protocol, in the order in which the help lists them."""


def protocol_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that change a protocol; the command is given its name and `changes`, fields and values."""

    @wraps(command)
    def with_changes(**options: Any) -> Any:
        return command(changes=_changes(options), **options)

    for option in reversed(PROTOCOL_OPTIONS):
        with_changes = option(with_changes)
    return with_changes


def is_prepared(name: str) -> bool:
    """Return whether a data set's name is that of a prepared file."""
    return name.endswith((".h5", ".hdf5"))


def load_named(
    name: str, raw: Path | None, protocol: str | None, changes: dict[str, Any], *, skip_damaged: bool = False
) -> Dataset:
    """Load a data set by name, or a prepared file (.h5) as it is."""
    if is_prepared(name):
        if raw is not None or protocol is not None or changes or skip_damaged:
            needed = "the name of a data set with --raw, --skip-damaged and options of the protocol"
            raise OptionError("name", name, needed, "The file has its own.")
        return api.load(path=name)
    return api.load(name, raw=raw, protocol=protocol, skip_damaged=skip_damaged, **changes)


def _changes(options: dict[str, Any]) -> dict[str, Any]:
    """Take the values of :data:`PROTOCOL_OPTIONS` out of all, as protocol fields, without what was not given."""
    fields = {k: options.pop(k) for k in ("target", "input_hz", "target_hz", "resample", "min_episode_s")}
    inputs, hz, order, phase = (options.pop(k) for k in ("inputs", "lowpass", "order", "phase"))
    window, stride, resplit, by = (options.pop(k) for k in ("window", "stride", "resplit", "by"))
    if inputs is not None:
        fields["inputs"] = tuple(name.strip() for name in inputs.split(","))
    if hz is not None:
        fields["lowpass"] = LowPass(hz, order, phase)
    elif given := [name for name in ("order", "phase") if typed(name)]:
        raise click.UsageError(f"--{given[0]} needs --lowpass")
    if window is not None:
        fields["window"] = Window(window, stride)
    elif stride is not None:
        raise click.UsageError("--stride needs --window")
    if resplit is not None:
        fields["resplit"] = Resplit(fold=resplit[0], folds=resplit[1], by=by)
    elif typed("by"):
        raise click.UsageError("--fold-by needs --fold")
    return {k: v for k, v in fields.items() if v is not None}


def typed(name: str) -> bool:
    """Whether an option of the running command was given, and does not have its default."""
    ctx = click.get_current_context(silent=True)
    return ctx is not None and ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE
