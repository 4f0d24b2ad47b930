"""Check the values of a run's files: anybody may have written them, and what reads them expects types."""

from __future__ import annotations

import dataclasses
import math
from functools import cache
from reprlib import Repr
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    NotRequired,
    TypedDict,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

import numpy as np

from csp_data.options import is_number

__all__ = ["Environment", "EpochLine", "Metrics", "Outcome", "check_value"]

NotNegative = Annotated[float, 0.0]
Count = Annotated[int, 0]


class Errors(TypedDict):
    """Of an episode, a channel or a whole part."""

    mse: NotNegative
    rmse: NotNegative
    mae: NotNegative


class TargetErrors(TypedDict):
    """Of a channel, in SI units."""

    unit: str
    rmse: NotNegative
    mae: NotNegative


class PathErrors(TypedDict):
    """Of targets that make a path."""

    unit: str
    ate: NotNegative
    rte: NotNegative


class PublishedError(TypedDict):
    """In the unit of the published table."""

    unit: str
    mse: NotNegative


class RecordingErrors(Errors):
    """Of a recording."""

    steps: Count
    trajectory: NotRequired[PathErrors | None]


class Metrics(Errors):
    """Of a part, as :func:`baselines.training.evaluate.compute_all_metrics` returns them."""

    steps: Count
    channels: dict[str, Errors]
    episodes: dict[str, Errors]
    recordings: dict[str, RecordingErrors]
    groups: NotRequired[dict[str, RecordingErrors] | None]
    si: NotRequired[dict[str, TargetErrors] | None]
    published: NotRequired[PublishedError | None]
    trajectory: NotRequired[PathErrors | None]
    predict_seconds: NotRequired[NotNegative]


class Outcome(TypedDict):
    """What ``results.json`` holds beside the metrics of parts."""

    parameters: Count
    seconds: NotNegative
    epoch: NotRequired[Count | None]


class WeightsOf(TypedDict):
    """Of the weights that a run began with, as :meth:`baselines.runs.start.Start.about` returns it."""

    name: NotRequired[str]
    key: NotRequired[str]
    normalization: NotRequired[str]


class Environment(TypedDict):
    """What of ``environment.json`` is read again."""

    prepared: str
    command: NotRequired[str]
    csp_data: NotRequired[str | None]
    commit: NotRequired[str | None]
    torch: NotRequired[str | None]
    device: NotRequired[str | None]
    cpu: NotRequired[str | None]
    threads: NotRequired[Count | None]
    model_folder: NotRequired[str]
    weights: NotRequired[str]
    weights_of: NotRequired[WeightsOf]


class EpochLine(TypedDict):
    """A line of ``metrics.jsonl``."""

    epoch: Count
    train_loss: float
    val_loss: float


LARGEST = 2**63
"""No count of anything reaches it, and of more digits Python prints none."""
_WORDS = {str: "text", bool: "true or false", int: "a whole number", float: "a number", dict: "an object"}
_SHORT = Repr()


def check_value(value: Any, kind: Any, at: str = "") -> None:
    """Refuse a value of JSON that is not of a type.

    Parameters
    ----------
    value
        What was read.
    kind
        Text, numbers (finite; ``Annotated`` with the least one), lists, mappings, dataclasses and typed
        dictionaries of these, or ``None`` beside one of them; arrays are lists of numbers. Of a typed dictionary
        further entries may be there, of a dataclass none.
    at
        Where the value stands, for the message.

    Raises
    ------
    ValueError
        Naming the place, what stands there and what should.
    """
    origin, of = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        if value is not None or NoneType not in of:
            check_value(value, next(one for one in of if one is not NoneType), at)
    elif origin is Annotated:
        check_value(value, of[0], at)
        if value < of[1]:
            raise ValueError(f"{at} is {value!r}, not at least {of[1]:g}")
    elif origin is Literal:
        if value not in of:
            raise ValueError(f"{at} is {_SHORT.repr(value)}, not {' or '.join(of)}")
    elif dataclasses.is_dataclass(kind) or is_typeddict(kind):
        _require(value, dict, at)
        needed, kinds = _entries(kind)
        for name in needed:
            if name not in value:
                raise ValueError(f"{_below(at, name)} is missing")
        for name in value:
            if name in kinds:
                check_value(value[name], kinds[name], _below(at, name))
            elif not is_typeddict(kind):
                raise ValueError(f"{_below(at, name)} is unknown")
    elif origin is dict:
        _require(value, dict, at)
        for name, one in value.items():
            check_value(one, of[1], _below(at, name))
    elif origin in (list, tuple, np.ndarray):
        _require(value, list, at)
        for index, one in enumerate(value):
            check_value(one, float if origin is np.ndarray else of[0], f"{at}[{index}]")
    elif kind is not Any:
        _require(value, kind, at)


def _require(value: Any, kind: type, at: str) -> None:
    if kind is float:
        fits = is_number(value) and math.isfinite(value)
    elif kind is int:
        fits = is_number(value, whole=True) and abs(value) < LARGEST
    else:
        fits = isinstance(value, kind)
    if not fits:
        raise ValueError(f"{at or 'it'} is {_SHORT.repr(value)}, not {_WORDS.get(kind, 'a list')}")


def _below(at: str, name: str) -> str:
    return f"{at}.{name}" if at else name


@cache
def _entries(kind: Any) -> tuple[frozenset[str], dict[str, Any]]:
    """Return the entries that must be there, and the types of all."""
    kinds = get_type_hints(kind, include_extras=True)
    if is_typeddict(kind):
        needed = {name for name in kinds if get_origin(kinds[name]) is not NotRequired}
        kinds = {name: get_args(hint)[0] if name not in needed else hint for name, hint in kinds.items()}
    else:
        needed = {
            one.name
            for one in dataclasses.fields(kind)
            if one.default is dataclasses.MISSING and one.default_factory is dataclasses.MISSING
        }
    return frozenset(needed), kinds
