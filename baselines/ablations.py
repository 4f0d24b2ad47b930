"""The ablations: what each varies, as changes of the protocol or of the training, one thing at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from baselines.errors import OptionError
from baselines.train import TrainConfig
from csp_data import LowPass, Protocol
from csp_data.card import Card

__all__ = ["KINDS", "Base", "Kind", "Variant"]

PUBLISHED_CUTOFF = 0.015
"""The published low-pass over the input rate: 0.75 Hz at 50 Hz (0.03 of Nyquist), order 3, zero-phase."""

ORDER = 3


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One point of an ablation.

    Parameters
    ----------
    name
        What people call it.
    series
        Points of one series are joined by a line; of a leak, the leak.
    value
        Where it stands on the ablation's axis; ``None`` where that has no place for it.
    arm
        Of a pair: ``"clean"`` or ``"leaky"``; else empty.
    data, train
        Fields of the protocol and of the training that it changes.
    note
        Why it does not apply to the data set; such a variant is named, and has no runs.
    """

    name: str
    series: str = ""
    value: float | None = None
    arm: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
    train: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True)
class Base:
    """What an ablation of one data set starts from.

    Parameters
    ----------
    card
        Of the data set.
    protocol, training
        As they are without the ablation.
    """

    card: Card
    protocol: Protocol
    training: TrainConfig


@dataclass(frozen=True, kw_only=True)
class Kind:
    """An ablation.

    Parameters
    ----------
    title
        What it asks, for the figure.
    axis, unit
        Of the values.
    variants
        From a base and the values asked for (none: the default ones) to what is run.
    fields
        What it sets itself, so that nobody else may: ``data.NAME`` or ``train.NAME``.
    logarithmic
        Whether values are drawn on a logarithmic axis.
    """

    title: str
    axis: str
    unit: str
    variants: Callable[[Base, Sequence[float]], list[Variant]]
    fields: tuple[str, ...]
    logarithmic: bool = True


def _lowpass(base: Base, values: Sequence[float]) -> list[Variant]:
    """No filter, and each cut-off (Hz) causal and zero-phase."""
    rate = base.protocol.input_hz
    cutoffs = values or [PUBLISHED_CUTOFF * rate * 2**octave for octave in range(5)]
    return [
        Variant(name="no filter", series="no filter", data={"lowpass": None}),
        *(
            _filtered(f"{label}, {hz:g} Hz", label, hz, rate, phase)
            for phase, label in (("causal", "causal"), ("zero", "zero-phase"))
            for hz in sorted(cutoffs)
        ),
    ]


def _filtered(name: str, series: str, hz: float, rate: float, phase: str, arm: str = "") -> Variant:
    if not 0 < hz < rate / 2:
        return Variant(
            name=name, series=series, value=hz, arm=arm, note=f"not below {rate / 2:g} Hz, half the rate"
        )
    return Variant(name=name, series=series, value=hz, arm=arm, data={"lowpass": _plain(hz, phase)})


def _plain(hz: float, phase: str) -> dict[str, Any]:
    return vars(LowPass(hz=float(hz), order=ORDER, phase=phase))  # type: ignore[arg-type]


def _leak(base: Base, values: Sequence[float]) -> list[Variant]:
    """Each leak of the published protocol, in and out; the value is the cut-off (Hz) of the filter."""
    if len(values) > 1:
        raise OptionError("values", list(values), "one cut-off in Hz, of the filter's leak")
    cutoff = values[0] if values else PUBLISHED_CUTOFF * base.protocol.input_hz
    switches = {
        "statistics": _statistics(base),
        "selection": _selection(base),
        "filter": _filter(base, cutoff),
        "look-ahead": _look_ahead(base),
        "neighbours": _neighbours(base),
    }
    found = [variant for name, arms in switches.items() for variant in _pair(name, arms)]
    # neighbours first: under a published protocol that leak brings the other choice of selection with it
    together = [arms for arms in reversed(switches.values()) if not isinstance(arms, str)]
    clean, leaky = (_together([arms[side] for arms in together]) for side in (0, 1))
    return [*found, *_pair("all of these", (clean, leaky))]


Arms = tuple[dict[str, Any], dict[str, Any]] | str
"""Changes of the protocol that take a leak out and that put it in; or why there is no such leak."""


def _pair(name: str, arms: Arms) -> Iterator[Variant]:
    if isinstance(arms, str):
        yield Variant(name=name, series=name, note=arms)
        return
    for arm, data in zip(("clean", "leaky"), arms, strict=True):
        yield Variant(name=f"{name}, {arm}", series=name, arm=arm, data=data)


def _statistics(base: Base) -> Arms:
    """Shift and scale from the training part, or from the evaluation part too."""
    if base.card.protocols.get("paper", {}).get("statistics") == "train":
        return f"the published protocol of {base.card.name} takes statistics from its training part alone"
    return _unlike(base, {"statistics": "train"}), _unlike(base, {"statistics": "all"})


def _selection(base: Base) -> Arms:
    """Choose the epoch on a part of its own, or on the reported one."""
    if "eval" in base.card.splits[base.protocol.split_name].parts:
        return {"resplit": {"selection": "apart"}}, {}
    return {}, {"resplit": {"selection": "report"}}


def _filter(base: Base, hz: float) -> Arms:
    """Filter forward, or forward and backward, at one cut-off."""
    if not 0 < hz < base.protocol.input_hz / 2:
        return f"a cut-off of {hz:g} Hz is not below half the rate"
    return {"lowpass": _plain(hz, "causal")}, {"lowpass": _plain(hz, "zero")}


def _look_ahead(base: Base) -> Arms:
    """Let a chunk end with its target, or all but one sample after it."""
    if base.protocol.chunk == 1:
        return "a chunk of one sample has nothing to look ahead to"
    ahead = (base.protocol.chunk - 1) / base.protocol.input_hz
    if base.protocol.grid == "own-start":
        return {"look_ahead_s": 0.0}, {}
    return {}, {"look_ahead_s": ahead}


def _neighbours(base: Base) -> Arms:
    """Hold out a recording's neighbours too, or train on them; reported recordings are the same."""
    split = base.card.splits.get("strict")
    if split is None or split.among != "found":
        return f"{base.card.name} has no split that holds neighbours out"
    published = "eval" in base.card.splits[base.protocol.split_name].parts
    more: dict[str, Any] = {"selection": "report"} if published else {}
    data = {} if base.protocol.split_name == "strict" else {"split": "strict"}
    return (
        {**data, "resplit": {"neighbours": "apart", **more}},
        {**data, "resplit": {"neighbours": "both", **more}},
    )


def _together(changes: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Merge the arms of several leaks; changes of the split add up."""
    merged: dict[str, Any] = {}
    for change in changes:
        resplit = {**merged.get("resplit", {}), **change.get("resplit", {})}
        merged = {**merged, **change, **({"resplit": resplit} if resplit else {})}
    if "split" in merged and merged["resplit"].get("selection") == "apart":
        del merged["resplit"]["selection"]  # that split has a part to choose on
    return merged


def _unlike(base: Base, changes: dict[str, Any]) -> dict[str, Any]:
    """Leave out what the base has already, so that equal recipes have equal names."""
    return {name: value for name, value in changes.items() if getattr(base.protocol, name) != value}


KINDS = {
    "lowpass": Kind(
        title="Low-pass of the inputs",
        axis="cut-off",
        unit="Hz",
        variants=_lowpass,
        fields=("data.lowpass",),
    ),
    "leak": Kind(
        title="What each leak is worth",
        axis="cut-off of the filter",
        unit="Hz",
        variants=_leak,
        fields=("data.lowpass", "data.statistics", "data.look_ahead_s", "data.resplit", "data.split"),
    ),
}
"""Ablations by name."""
