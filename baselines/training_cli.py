"""The choices of a training on a command line: some one by one, the others those of a training with a name."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Annotated, Any, TypedDict, get_type_hints

import docstring_parser
import tyro

from baselines.published import TRAINING, training_of
from baselines.training import TrainConfig

__all__ = ["Choices", "chosen"]


def _options() -> dict[str, Any]:
    """Return an option for each field of :class:`TrainConfig`: its type, its help, its value in every training."""
    hints = get_type_hints(TrainConfig)
    told = {p.arg_name: p.description or "" for p in docstring_parser.parse(TrainConfig.__doc__ or "").params}
    options: dict[str, Any] = {}
    for field in fields(TrainConfig):
        named = {name: getattr(config, field.name) for name, config in TRAINING.items()}
        values = {str(value) for value in named.values()}
        defaults = values if len(values) == 1 else [f"{name}: {value}" for name, value in named.items()]
        text = " ".join(re.sub(r":\w+:|`", "", told[field.name]).split())
        hint = f"(default: {', '.join(defaults)})"
        options[field.name] = Annotated[hints[field.name], tyro.conf.arg(help=text, help_behavior_hint=hint)]
    return options


if TYPE_CHECKING:
    Choices = dict[str, Any]
else:
    Choices = TypedDict("Choices", _options(), total=False)
"""Those fields of :class:`TrainConfig` that a command line gives."""


def chosen(given: Choices, training: str | None, protocol: str) -> TrainConfig:
    """Return the training with the name, or else the one of the protocol's name, changed by what was given."""
    return replace(training_of(protocol, training), **given)
