"""The ablations: what each varies, as changes of the protocol or of the training, one thing at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from baselines.errors import OptionError
from baselines.training.settings import TrainConfig
from csp_data import LowPass, Protocol
from csp_data.card import Card

__all__ = ["KINDS", "Base", "Kind", "Variant"]

PUBLISHED_CUTOFF = 0.015
"""The published low-pass over the input rate: 0.75 Hz at 50 Hz (0.03 of Nyquist), order 3, zero-phase."""

ORDER = 3

CHUNKS = (2, 5, 10, 25, 50)
"""Default lengths of chunks, in samples."""

FRACTIONS = (10, 25, 50, 75, 100)
"""Default shares of the training recordings, in per cent."""

CONTEXTS = (1, 2, 5, 10, 20, 40)
"""Default lengths of windows, in seconds."""


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
        Of a pair: ``"clean"`` or ``"leaky"`` of a leak, ``"without"`` or ``"with"`` of a choice; else empty.
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

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts that the recordings are in: one that is reported, ``"eval"`` if it also chooses the epoch."""
        parts, resplit = self.card.splits[self.protocol.split_name].parts, self.protocol.resplit
        return parts if resplit is None else resplit.parts(parts)


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
    relative
        Whether the error is also drawn relative to that of the training mean, because the target itself changes.
    pair
        What the figure says of a pair: its second arm against its first.
    """

    title: str
    axis: str
    unit: str
    variants: Callable[[Base, Sequence[float]], list[Variant]]
    fields: tuple[str, ...]
    logarithmic: bool = True
    relative: bool = False
    pair: str = ""


def _lowpass(base: Base, values: Sequence[float]) -> list[Variant]:
    """No filter, and each cut-off (Hz) causal and zero-phase."""
    rate = base.protocol.input_hz
    cutoffs = values or [PUBLISHED_CUTOFF * rate * 2**octave for octave in range(5)]
    return [
        Variant(name="no filter", series="no filter", data={"lowpass": None}),
        *(
            _lowpass_variant(f"{label}, {hz:g} Hz", label, hz, rate, phase)
            for phase, label in (("causal", "causal"), ("zero", "zero-phase"))
            for hz in sorted(cutoffs)
        ),
    ]


def _lowpass_variant(name: str, series: str, hz: float, rate: float, phase: str) -> Variant:
    if not 0 < hz < rate / 2:
        return Variant(name=name, series=series, value=hz, note=f"not below {rate / 2:g} Hz, half the rate")
    return Variant(name=name, series=series, value=hz, data={"lowpass": _lowpass_fields(hz, phase)})


def _lowpass_fields(hz: float, phase: str) -> dict[str, Any]:
    return vars(LowPass(hz=float(hz), order=ORDER, phase=phase))  # type: ignore[arg-type]


def _chunk(base: Base, values: Sequence[float]) -> list[Variant]:
    """Chunks of so many input samples; the output rate follows."""
    protocol, training = base.protocol, base.training
    spans = {"window_s": training.window_s, "window_stride_s": training.window_stride_s}
    if protocol.window is not None:
        spans |= {"window.seconds": protocol.window.seconds, "window.stride": protocol.window.stride}
    samples = {name: round(seconds * protocol.input_hz) for name, seconds in spans.items() if seconds is not None}
    variants = []
    for chunk in sorted(values or CHUNKS):
        name = f"{chunk:g} samples"
        uneven = [f"{option} of {count} samples" for option, count in samples.items() if chunk and count % chunk]
        if chunk < 1 or chunk != int(chunk):
            variants.append(Variant(name=name, value=chunk, note="a chunk is a whole number of samples"))
        elif uneven:
            variants.append(Variant(name=name, value=chunk, note=f"{uneven[0]} is no whole number of such chunks"))
        else:
            variants.append(Variant(name=name, value=chunk, data={"target_hz": protocol.input_hz / chunk}))
    return variants


def _fraction(base: Base, values: Sequence[float]) -> list[Variant]:
    """Shares (%) of the training recordings; each subset holds all smaller ones."""
    variants = []
    resplit = {} if base.protocol.resplit is None else vars(base.protocol.resplit)
    for share in sorted(values or FRACTIONS):
        name, changed = f"{share:g} %", {**resplit, "share": share / 100}
        if share > 100:
            variants.append(Variant(name=name, value=share, note="more than all recordings"))
        else:
            same = changed["share"] == resplit.get("share", 1.0)
            variants.append(Variant(name=name, value=share, data={} if same else {"resplit": changed}))
    return variants


def _context(base: Base, values: Sequence[float]) -> list[Variant]:
    """Windows of so many seconds: what a model sees before each output, in training and evaluation.

    Windows overlap as much as those of the training without the ablation, and a batch holds as many seconds, so
    that every variant takes about as many steps on as many samples per epoch. Of whole episodes, whose lengths
    differ, a batch keeps the number: shorter windows then take more steps.
    """
    training, rate = base.training, base.protocol.target_hz
    whole_episodes = training.window_s is None
    length = training.window_s or 0.0
    overlap = 1.0 if whole_episodes else (training.window_stride_s or length) / length
    variants = []
    for seconds in sorted(values or CONTEXTS):
        name, steps = f"{seconds:g} s", seconds * rate
        if round(steps) < 1 or abs(steps - round(steps)) > 1e-6 * steps:
            variants.append(Variant(name=name, value=seconds, note=f"no whole number of steps of {1 / rate:g} s"))
            continue
        batch = training.batch if whole_episodes else max(1, round(training.batch * length / seconds))
        stride = max(1, round(overlap * steps)) / rate
        train = {"window_s": seconds, "window_stride_s": stride, "batch": batch}
        variants.append(Variant(name=name, value=seconds, train=train))
    if whole_episodes:
        variants.append(Variant(name="whole episodes", series="whole episodes"))
    return variants


def _deltas(base: Base, values: Sequence[float]) -> list[Variant]:
    """Input deltas, and the other choices about inputs that the protocol has: averaging, streams that are off."""
    if values:
        raise OptionError("values", list(values), "nothing: these choices have no axis")
    choices: dict[str, Arms] = {"input deltas": ({"input_deltas": False}, {"input_deltas": True})}
    if base.protocol.grid == "own-start":
        choices["averaged inputs"] = "a grid that starts at each stream's own sample has nothing before it"
    else:
        choices["averaged inputs"] = ({"resample": "linear"}, {"resample": "mean"})
    used = tuple(stream.name for stream in base.card.inputs(base.protocol.inputs))
    for stream in base.card.streams:
        if stream.role == "input" and stream.name not in used:
            choices[stream.name] = ({"inputs": used}, {"inputs": (*used, stream.name)})
    return [
        variant
        for name, arms in choices.items()
        for variant in _pair_variants(
            name,
            arms if isinstance(arms, str) else (_only_changed(base, arms[0]), _only_changed(base, arms[1])),
            ("without", "with"),
        )
    ]


def _leak(base: Base, values: Sequence[float]) -> list[Variant]:
    """Each leak of the published protocol, in and out; the value is the cut-off (Hz) of the filter."""
    if len(values) > 1:
        raise OptionError("values", list(values), "one cut-off in Hz, of the filter's leak")
    cutoff = values[0] if values else PUBLISHED_CUTOFF * base.protocol.input_hz
    leaks = {
        "statistics": _statistics_arms(base),
        "selection": _selection_arms(base),
        "filter": _filter_arms(base, cutoff),
        "look-ahead": _look_ahead_arms(base),
        "neighbours": _neighbours_arms(base),
    }
    variants = [variant for name, arms in leaks.items() for variant in _pair_variants(name, arms)]
    # neighbours first: under a published protocol that leak brings the other choice of selection with it
    applicable = [arms for arms in reversed(leaks.values()) if not isinstance(arms, str)]
    clean, leaky = (_merge_changes([arms[side] for arms in applicable]) for side in (0, 1))
    return [*variants, *_pair_variants("all of these", (clean, leaky))]


Arms = tuple[dict[str, Any], dict[str, Any]] | str
"""Changes of the protocol that take a leak out and that put it in; or why there is no such leak."""


def _pair_variants(name: str, arms: Arms, names: tuple[str, str] = ("clean", "leaky")) -> Iterator[Variant]:
    if isinstance(arms, str):
        yield Variant(name=name, series=name, note=arms)
        return
    for arm, data in zip(names, arms, strict=True):
        yield Variant(name=f"{name}, {arm}", series=name, arm=arm, data=data)


def _statistics_arms(base: Base) -> Arms:
    """Shift and scale from the training part, or from the evaluation part too."""
    if base.card.protocols.get("paper", {}).get("statistics") == "train":
        return f"the published protocol of {base.card.name} takes statistics from its training part alone"
    return _only_changed(base, {"statistics": "train"}), _only_changed(base, {"statistics": "all"})


def _selection_arms(base: Base) -> Arms:
    """Choose the epoch on a part of its own, or on the reported one."""
    if "eval" in base.parts:
        return {"resplit": {"selection": "apart"}}, {}
    return {}, {"resplit": {"selection": "report"}}


def _filter_arms(base: Base, hz: float) -> Arms:
    """Filter forward, or forward and backward, at one cut-off."""
    if not 0 < hz < base.protocol.input_hz / 2:
        return f"a cut-off of {hz:g} Hz is not below half the rate"
    return {"lowpass": _lowpass_fields(hz, "causal")}, {"lowpass": _lowpass_fields(hz, "zero")}


def _look_ahead_arms(base: Base) -> Arms:
    """Let a chunk end with its target, or all but one sample after it."""
    if base.protocol.chunk == 1:
        return "a chunk of one sample has nothing to look ahead to"
    ahead = (base.protocol.chunk - 1) / base.protocol.input_hz
    if base.protocol.grid == "own-start":
        return {"look_ahead_s": 0.0}, {}
    return {}, {"look_ahead_s": ahead}


def _neighbours_arms(base: Base) -> Arms:
    """Hold out a recording's neighbours too, or train on them; reported recordings are the same."""
    split = base.card.splits.get("strict")
    if split is None or split.among != "found":
        return f"{base.card.name} has no split that holds neighbours out"
    selection: dict[str, Any] = {"selection": "report"} if "eval" in base.parts else {}
    data = {} if base.protocol.split_name == "strict" else {"split": "strict"}
    return (
        {**data, "resplit": {"neighbours": "apart", **selection}},
        {**data, "resplit": {"neighbours": "both", **selection}},
    )


def _merge_changes(changes: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Merge the arms of several leaks; changes of the split add up."""
    merged: dict[str, Any] = {}
    for change in changes:
        resplit = {**merged.get("resplit", {}), **change.get("resplit", {})}
        merged = {**merged, **change, **({"resplit": resplit} if resplit else {})}
    if "split" in merged and merged["resplit"].get("selection") == "apart":
        del merged["resplit"]["selection"]  # that split has a part to choose on
    return merged


def _only_changed(base: Base, changes: dict[str, Any]) -> dict[str, Any]:
    """Leave out what the base has already, so that equal recipes have equal names."""
    protocol = base.protocol
    current = {name: getattr(protocol, name) for name in changes}
    if "inputs" in current and current["inputs"] is None:
        current["inputs"] = tuple(stream.name for stream in base.card.inputs(None))
    return {name: value for name, value in changes.items() if current[name] != value}


KINDS = {
    "lowpass": Kind(
        title="Low-pass of the inputs",
        axis="cut-off",
        unit="Hz",
        variants=_lowpass,
        fields=("data.lowpass",),
    ),
    "chunk": Kind(
        title="Length of a chunk, and with it the rate of the targets",
        axis="chunk",
        unit="samples",
        variants=_chunk,
        fields=("data.target_hz",),
        relative=True,
    ),
    "fraction": Kind(
        title="Share of the training recordings, nested subsets",
        axis="training recordings",
        unit="%",
        variants=_fraction,
        fields=(),
    ),
    "context": Kind(
        title="Length of the windows that a model sees",
        axis="window",
        unit="s",
        variants=_context,
        fields=("train.window_s", "train.window_stride_s", "train.batch"),
    ),
    "deltas": Kind(
        title="Choices about inputs",
        axis="",
        unit="",
        variants=_deltas,
        fields=("data.input_deltas", "data.resample", "data.inputs"),
        pair="RMSE with against without (%)",
    ),
    "leak": Kind(
        title="What each leak is worth",
        axis="cut-off of the filter",
        unit="Hz",
        variants=_leak,
        fields=("data.lowpass", "data.statistics", "data.look_ahead_s", "data.resplit", "data.split"),
        pair="RMSE with the leak against without (%)",
    ),
}
"""Ablations by name."""
