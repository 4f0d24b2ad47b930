"""Protocol: every choice between a raw recording and an example, as one frozen dataclass."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from types import NoneType, UnionType
from typing import Any, Literal, cast, get_args, get_origin, get_type_hints

from csp_data.card import Card
from csp_data.errors import OptionError, UnknownNameError, nearest
from csp_data.normalization import Scaling
from csp_data.options import check_choice, check_number, frozen, is_number, plain
from csp_data.resplit import Resplit
from csp_data.signal.lowpass import LowPass
from csp_data.windows import Window

__all__ = ["PAPER", "STRICT", "Protocol", "resolve"]


STANDARD = Scaling()


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """Every choice between a raw recording and an example.

    Two protocols that differ in any field make two prepared files. :meth:`replace` gives a changed one. A card may
    set fields for its data set (:attr:`Card.protocols`); fields set with :meth:`replace` take precedence.

    Sources in brackets: "published" is the code published with the HiSS paper (arXiv 2402.10211), as
    docs/quirks.md describes it.

    Parameters
    ----------
    name
        ``"paper"`` or ``"strict"``. A changed protocol keeps the name it came from.
    split
        Name of the card's split; ``None`` takes the one named like the protocol.
    resplit
        A change to the split, for experiments: folds, fewer training recordings, another selection; ``None`` for
        no change.
    inputs
        Names of the input streams, in order; ``None`` takes the card's default ones.
    target
        Name of the target; ``None`` takes the card's first one.
    target_per
        ``"second"`` divides increments by the step (a velocity in m/s), ``"step"`` gives the increment itself
        [published].
    input_hz, target_hz
        Rates of the grids in Hz; their ratio is the chunk and must be a whole number. `input_hz` may be up to ten
        times the rate of the data set's fastest stream, and 50 Hz in any case.
    grid
        ``"common"``: one grid for all streams, so that target k is what happened during chunk k and the chunk's
        last input lies exactly on the end of it. ``"own-start"`` [published]: each stream has a grid that starts
        at its own first sample within the common interval (streams are shifted against each other by up to one
        sample interval of the slower), samples at or after the end of the interval are not used, the episode has
        as many whole seconds as the shortest stream covers, and target k is the motion up to the *first* input
        of chunk k (target 0 is zero).
    look_ahead_s
        Seconds from the end of target k to the last input of chunk k: what a model that answers at the chunk's end
        has seen of the future. ``None``: as the grid has it, 0 for ``"common"``, the chunk less one sample for
        ``"own-start"`` [published: 0.18 s]. Other values are for experiments.
    resample
        ``"linear"`` samples the linear interpolant of an input stream at the grid times [published; it aliases
        what lies above half of `input_hz`]; ``"mean"`` averages it over the grid step that ends there
        (anti-aliasing, half a step of delay). Either depends on the samples up to the first at or after the grid
        time. References, and rotations under ``"slerp"``, are always interpolated.
    rotations
        ``"slerp"`` interpolates rotations along the shortest arc; ``"componentwise"`` [published] interpolates
        the four numbers of a quaternion, without norm or sign.
    lowpass
        Filter of the inputs after resampling; ``None`` for none. The published one is
        ``LowPass(hz=0.75, order=3, phase="zero")``, off by default.
    baseline, baseline_rows
        Subtract from each input channel the ``"mean"`` or ``"median"`` of its first rows; ``"none"`` for nothing.
        Magnetic sensors carry offsets far larger than the signal [published: mean of 5 rows for ReSkin, median of
        100 for Xela].
    raw_clip
        Clip raw inputs, after the baseline, to plus and minus this value; ``None`` for no clipping [published:
        1000 for Xela].
    jump_limit
        Leave out a recording in which an input channel changes by more than this from one raw sample to the next,
        a fault of the sensor's bus; ``None`` for no limit [published: 1000 for ReSkin].
    recording_s
        Leave out a recording in which a stream lasts less than the first or more than the second number of
        seconds, durations rounded to whole seconds, halves to even; ``None`` for no limit [published: 15 and 90
        for joystick].
    max_duration_s
        Use only this many seconds from the start of a recording; ``None`` for all [published: 240 for RoNIN].
    orientation
        Which estimate of a phone's orientation turns its inputs into the global frame, if the source offers
        several: ``"lowest-error"`` takes the one that, as measured by the publisher, ends nearest to the ground
        truth [published, for training and evaluation; it looks at the answer]; ``"game-rv"`` the phone's own
        fusion of accelerometer and gyroscope; ``"gyro-integration"``; ``"ekf"`` (not in every file).
    truth_quaternions
        Order of the numbers in the ground truth's orientation file, about which published readers disagree:
        ``"xyzw"`` (genuine files: only in this order are bones rigid) or ``"wxyz"`` [published].
    max_gap_s
        A gap in any stream (missing samples, or NaN in a reference) that is longer than the stream's usual step by
        at most this many seconds is interpolated; a longer one ends an episode, and another starts after it.
        ``None`` interpolates all [published].
    min_episode_s
        Shorter episodes are left out (and counted), in seconds.
    trim_rest_s
        If the source marks the active part, keep this many seconds of rest before and after it; ``None`` keeps
        all rest.
    window
        Windows over the episodes; ``None`` for whole episodes.
    input_deltas
        Append each channel's change since the previous sample to a model's features [published].
    clip
        Clip the features, deltas included, to plus and minus this value; ``None`` for no clipping [published:
        3000].
    statistics
        Parts on which shift and scale are computed: ``"train"``, or ``"all"`` [published where there is no
        separate evaluation file: the evaluation part leaks into the normalisation].
    input_scaling, target_scaling
        How statistics become shift and scale.
    augment
        What is done to each training window whenever it is drawn; no prepared number changes. ``"heading"`` turns
        its inputs and targets about the vertical by one random angle, if the card says that they are along level
        axes, and the ends of the channels' names (``_x``, ``_y``, ``_z``) say which: their heading only depends on
        where the reference was started [published for RoNIN, where the code turns the stored episodes, so that
        turns add up]. ``"mounting"`` turns them by any one rotation, as if the sensor had been mounted otherwise,
        if the inputs are along the sensor's axes and the target is along these or those at the start, all of them
        vectors (``_x``, ``_y``, ``_z``). ``"none"`` does nothing.

    Raises
    ------
    OptionError
        If a field has a value of another kind or out of bounds, or two of them do not fit.

    Examples
    --------
    >>> import csp_data
    >>> changed = csp_data.STRICT.replace(lowpass=csp_data.LowPass(hz=5), input_hz=100)
    >>> changed.chunk
    20
    """

    name: str
    split: str | None = None
    resplit: Resplit | None = None
    inputs: tuple[str, ...] | None = None
    target: str | None = None
    target_per: Literal["second", "step"] = "second"
    input_hz: float = 50.0
    target_hz: float = 5.0
    grid: Literal["common", "own-start"] = "common"
    look_ahead_s: float | None = None
    resample: Literal["linear", "mean"] = "linear"
    rotations: Literal["slerp", "componentwise"] = "slerp"
    lowpass: LowPass | None = None
    baseline: Literal["none", "mean", "median"] = "none"
    baseline_rows: int = 1
    raw_clip: float | None = None
    jump_limit: float | None = None
    recording_s: tuple[float, float] | None = None
    max_duration_s: float | None = None
    orientation: Literal["lowest-error", "game-rv", "gyro-integration", "ekf"] = "game-rv"
    truth_quaternions: Literal["xyzw", "wxyz"] = "xyzw"
    max_gap_s: float | None = 0.1
    min_episode_s: float = 2.0
    trim_rest_s: float | None = 1.0
    window: Window | None = None
    input_deltas: bool = True
    clip: float | None = None
    statistics: Literal["train", "all"] = "train"
    input_scaling: Scaling = STANDARD
    target_scaling: Scaling = STANDARD
    augment: Literal["none", "heading", "mounting"] = "none"
    changed: frozenset[str] = field(default=frozenset(), compare=False, repr=False)
    """Fields set by :meth:`replace`, which a card does not override; no choice of its own."""

    def __post_init__(self) -> None:
        self._check_types()
        if self.look_ahead_s == math.inf:
            raise OptionError("look_ahead_s", self.look_ahead_s, "a number of seconds")
        if self.resample == "mean" and self.grid == "own-start":
            raise OptionError(
                "resample", "mean", "grid='common' with it", "An own-start grid has no time before it."
            )
        if self.look_ahead_s is not None and self.grid == "own-start" and self.look_ahead_s > self._grid_ahead_s:
            raise OptionError("look_ahead_s", self.look_ahead_s, f"at most {self._grid_ahead_s:g} s on this grid")
        if self.lowpass is not None:
            self.lowpass.sections(self.input_hz)
        if self.window is not None:
            self.window.steps(self.target_hz)

    def _check_types(self) -> None:
        """Refuse values of a wrong type, such as 5 for ``LowPass(hz=5)`` or text for a tuple of names."""
        for option, (kind, optional) in _kinds().items():
            value = getattr(self, option)
            if value is None and optional:
                continue
            if get_origin(kind) is Literal:
                check_choice(option, value, get_args(kind))
            elif kind in _TABLES and not isinstance(value, kind):
                parts = ", ".join(field.name for field in dataclasses.fields(kind))
                raise OptionError(option, value, f"a csp_data.{kind.__name__}, or a dict of its fields ({parts})")
            elif kind in (bool, str) and not isinstance(value, kind):
                raise OptionError(option, value, "true or false" if kind is bool else "a name")
            elif kind in (float, int):
                expected, bounds = _BOUNDS[option]
                check_number(option, value, expected, **bounds)
        limits, names = self.recording_s, cast(object, self.inputs)  # text too, by mistake
        if names is not None and not (isinstance(names, tuple) and 0 < len(names) == len(set(names))):
            example = json.dumps(names.split(",") if isinstance(names, str) else ["accelerometer", "gyroscope"])
            raise OptionError("inputs", names, f"a list of names of streams, each once, such as {example}")
        if limits is not None and not (
            isinstance(limits, tuple)
            and len(limits) == 2
            and all(is_number(limit) for limit in limits)
            and limits[0] <= limits[1]
        ):
            raise OptionError("recording_s", limits, "a shortest and a longest duration")

    @property
    def chunk(self) -> int:
        """Input samples per target step.

        Raises
        ------
        OptionError
            If `target_hz` does not divide `input_hz`.
        """
        ratio = self.input_hz / self.target_hz
        if round(ratio) < 1 or abs(ratio - round(ratio)) > 1e-9 * ratio:
            raise OptionError(
                "target_hz",
                self.target_hz,
                f"a rate that divides input_hz={self.input_hz:g} a whole number of times",
            )
        return round(ratio)

    @property
    def split_name(self) -> str:
        """Name of the card's split."""
        return self.split or self.name

    @property
    def first_offset(self) -> tuple[float, float]:
        """Time of the first input and of the first target after an episode's start, in seconds."""
        if self.grid == "own-start":
            return -self.target_shift_s, 0.0
        return -self.target_shift_s + 1 / self.input_hz, 1 / self.target_hz

    @property
    def target_shift_s(self) -> float:
        """Seconds by which `look_ahead_s` moves targets forward in time against the grid's own place for them."""
        return 0.0 if self.look_ahead_s is None else self._grid_ahead_s - self.look_ahead_s

    @property
    def ahead_s(self) -> float:
        """Seconds from the end of a target to its chunk's last input: `look_ahead_s`, or else the grid's own."""
        return self._grid_ahead_s if self.look_ahead_s is None else self.look_ahead_s

    @property
    def _grid_ahead_s(self) -> float:
        """Look-ahead of the grid as it is, in seconds."""
        return (self.chunk - 1) / self.input_hz if self.grid == "own-start" else 0.0

    def replace(self, **changes: Any) -> Protocol:
        """Return the protocol with some fields changed.

        Raises
        ------
        OptionError
            For a field that does not exist or a value out of bounds.
        """
        return self._with(changes, self.changed | set(changes))

    def _with(self, changes: Mapping[str, Any], changed: frozenset[str]) -> Protocol:
        fields = {known.name for known in dataclasses.fields(self)} - {"changed"}
        for option, value in changes.items():
            if option not in fields:
                meant = nearest(option, fields)
                fix = f"Did you mean {meant!r}?" if meant else ""
                raise OptionError(option, value, f"a field of Protocol: {', '.join(sorted(fields))}", fix)
        values = {option: _parsed(option, value) for option, value in changes.items()}
        return dataclasses.replace(self, **values, changed=changed)

    def to_json(self) -> str:
        """Return the protocol as JSON with sorted keys; fields of experiments stand there only where set."""
        values = plain(self)
        del values["changed"]
        for option in ("resplit", "look_ahead_s"):
            if values[option] is None:
                del values[option]
        change = values.get("resplit", {})
        if change and change["fold"] is None:
            del change["fold"], change["folds"]
        if change and change["by"] == "group":
            del change["by"]
        return json.dumps(values, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Protocol:
        """Rebuild a protocol from :meth:`to_json`; all its fields count as set.

        Raises
        ------
        OptionError
            If the text is no JSON of a protocol, or for a field that this version does not know.
        """
        values = None
        with suppress(TypeError, ValueError):
            values = json.loads(text)
        if not isinstance(values, dict) or "name" not in values:
            raise OptionError("text", text, "the JSON of a protocol, as Protocol.to_json writes it")
        return cls(name=values.pop("name")).replace(**values)


_TABLES = (LowPass, Window, Resplit, Scaling)
"""Kinds of options that have fields themselves."""

_RATE = ("a rate above 0 Hz", {"above": 0.0, "below": math.inf})
_POSITIVE = ("a value above 0", {"above": 0.0})
_SECONDS = ("at least 0 s", {"least": 0.0})
_BOUNDS: dict[str, tuple[str, dict[str, Any]]] = {
    "input_hz": _RATE,
    "target_hz": _RATE,
    "look_ahead_s": _SECONDS,
    "baseline_rows": ("a whole number of at least 1", {"least": 1, "whole": True}),
    "raw_clip": _POSITIVE,
    "jump_limit": _POSITIVE,
    "max_duration_s": _POSITIVE,
    "max_gap_s": _SECONDS,
    "min_episode_s": _SECONDS,
    "trim_rest_s": _SECONDS,
    "clip": _POSITIVE,
}
"""Bounds of each option that is a number, in words and for :func:`check_number`."""


@functools.cache
def _kinds() -> dict[str, tuple[Any, bool]]:
    """Return the type of each option, and whether it may be ``None``, from the annotations."""
    hints = get_type_hints(Protocol)
    kinds = {}
    for known in dataclasses.fields(Protocol):
        hint = hints[known.name]
        several = get_args(hint) if get_origin(hint) is UnionType else (hint,)
        kinds[known.name] = several[0], NoneType in several
    return kinds


def _parsed(option: str, value: Any) -> Any:
    """Convert a value as JSON or TOML has it to the field's type."""
    kind = _kinds()[option][0]
    if isinstance(value, Mapping) and kind in _TABLES:
        known = {known.name for known in dataclasses.fields(kind)}
        if unknown := set(value) - known:
            raise OptionError(f"{option}.{sorted(unknown)[0]}", value, f"fields among {', '.join(sorted(known))}")
        return kind(**{name: frozen(item) for name, item in value.items()})
    return frozen(value)


STRICT = Protocol(name="strict")
"""The same data without leaks: causal filters, statistics from train, whole groups held out."""

PAPER = Protocol(
    name="paper",
    target_per="step",
    grid="own-start",
    rotations="componentwise",
    orientation="lowest-error",
    truth_quaternions="wxyz",
    max_gap_s=None,
    min_episode_s=0.0,
    trim_rest_s=None,
    clip=3000.0,
    statistics="all",
)
"""What the published code does, quirks included, so that numbers compare with the published ones."""

PROTOCOLS = {protocol.name: protocol for protocol in (PAPER, STRICT)}


def resolve(card: Card, protocol: Protocol | str | None = None) -> Protocol:
    """Return a protocol with the fields that a card sets in it; what was set by hand stays.

    Parameters
    ----------
    card
        The data set.
    protocol
        A protocol, its name, or ``None`` for the card's default one.

    Raises
    ------
    UnknownNameError
        If the data set has no protocol, or no split, of that name.
    OptionError
        If it is neither a protocol nor text.
    """
    chosen = card.protocol if protocol is None else protocol
    if not isinstance(cast("object", chosen), Protocol | str):
        raise OptionError("protocol", chosen, "a csp_data.Protocol, or the name of one")
    if isinstance(chosen, str):
        if chosen not in card.splits or chosen not in PROTOCOLS:
            known = sorted(set(card.splits) & set(PROTOCOLS)) or PROTOCOLS
            raise UnknownNameError(f"protocol of {card.name}", chosen, known)
        chosen = PROTOCOLS[chosen]
    if chosen.split_name not in card.splits:
        raise UnknownNameError(f"split of {card.name}", chosen.split_name, card.splits)
    card_fields = {
        name: value for name, value in card.protocols.get(chosen.name, {}).items() if name not in chosen.changed
    }
    return chosen._with(card_fields, chosen.changed)
