"""Protocol: every choice between a raw recording and an example, as one frozen dataclass."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any, Literal

from csp_data.errors import OptionError
from csp_data.normalization import Scaling
from csp_data.signal.lowpass import LowPass
from csp_data.windows import Window

__all__ = ["STRICT", "Protocol"]


STANDARD = Scaling()


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """Every choice between a raw recording and an example.

    Two protocols that differ in any field make two prepared files. Change one with :meth:`replace`.

    Parameters
    ----------
    name
        Names the lists of the card that split the recordings. A changed protocol keeps the name it came from.
    inputs
        Names of the input streams, in order; ``None`` takes the card's default ones.
    target
        Name of the target; ``None`` takes the card's first one.
    target_per
        ``"second"`` divides increments by the step (a velocity in m/s), ``"step"`` gives the increment itself.
    input_hz, target_hz
        Rates of the grids in Hz; their ratio is the chunk and must be a whole number.
    resample
        ``"linear"`` samples the linear interpolant of an input stream at the grid times (the published choice:
        it aliases what lies above half of `input_hz`); ``"mean"`` averages it over the grid step that ends there
        (anti-aliasing, causal, half a step of delay). References are always interpolated.
    lowpass
        Filter of the inputs after resampling; ``None`` for none.
    max_gap_s
        A gap in any stream (missing samples, or NaN in a reference) of at most this many seconds is interpolated;
        a longer one ends an episode, and another starts after it. ``None`` interpolates all.
    min_episode_s
        Shorter episodes are left out (and counted), in seconds.
    trim_rest_s
        Where the source marks the active part, keep so many seconds of rest before and after it; ``None`` keeps
        all rest.
    window
        Windows over the episodes; ``None`` for whole episodes.
    input_deltas
        Append each channel's change since the sample before to a model's features.
    clip
        Clip the features to plus and minus this value; ``None`` for no clipping.
    statistics
        Part on which shift and scale are computed: ``"train"``, or ``"all"``.
    input_scaling, target_scaling
        How statistics become shift and scale.
    """

    name: str
    inputs: tuple[str, ...] | None = None
    target: str | None = None
    target_per: Literal["second", "step"] = "second"
    input_hz: float = 50.0
    target_hz: float = 5.0
    resample: Literal["linear", "mean"] = "linear"
    lowpass: LowPass | None = None
    max_gap_s: float | None = 0.1
    min_episode_s: float = 2.0
    trim_rest_s: float | None = 1.0
    window: Window | None = None
    input_deltas: bool = True
    clip: float | None = None
    statistics: Literal["train", "all"] = "train"
    input_scaling: Scaling = STANDARD
    target_scaling: Scaling = STANDARD

    def __post_init__(self) -> None:
        hints = {
            "target_per": ("second", "step"),
            "resample": ("linear", "mean"),
            "statistics": ("train", "all"),
        }
        for option, allowed in hints.items():
            if getattr(self, option) not in allowed:
                raise OptionError(option, getattr(self, option), f"one of {', '.join(allowed)}")
        for option in ("input_hz", "target_hz"):
            if not getattr(self, option) > 0:
                raise OptionError(option, getattr(self, option), "a rate above 0 Hz")
        for option in ("max_gap_s", "min_episode_s", "trim_rest_s"):
            value = getattr(self, option)
            if value is not None and not value >= 0:
                raise OptionError(option, value, "at least 0 s")
        if self.clip is not None and not self.clip > 0:
            raise OptionError("clip", self.clip, "a value above 0")
        _ = self.chunk
        if self.lowpass is not None:
            self.lowpass.sections(self.input_hz)
        if self.window is not None:
            self.window.steps(self.target_hz)

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

    def replace(self, **changes: Any) -> Protocol:
        """Return the protocol with some fields changed.

        Raises
        ------
        OptionError
            For a field that does not exist or a value out of bounds.
        """
        fields = {field.name for field in dataclasses.fields(self)}
        for option, value in changes.items():
            if option not in fields:
                raise OptionError(option, value, f"a field of Protocol: {', '.join(sorted(fields))}")
        if isinstance(changes.get("inputs"), list):
            changes["inputs"] = tuple(changes["inputs"])
        return dataclasses.replace(self, **changes)

    def to_json(self) -> str:
        """Return the protocol as JSON with sorted keys."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Protocol:
        """Rebuild a protocol from :meth:`to_json`.

        Raises
        ------
        OptionError
            For a field that this version does not know.
        """
        values = json.loads(text)
        for name, kind in (("lowpass", LowPass), ("window", Window)):
            if values.get(name) is not None:
                values[name] = kind(**values[name])
        for name in ("input_scaling", "target_scaling"):
            values[name] = Scaling(**values[name])
        if values["inputs"] is not None:
            values["inputs"] = tuple(values["inputs"])
        return cls(name=values.pop("name")).replace(**values)


STRICT = Protocol(name="strict")
"""The same data without leaks: causal filters, statistics from train, whole groups held out."""
