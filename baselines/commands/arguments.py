"""Arguments that commands share: flags, seeds, and KEY=VALUE."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any

import tyro

from baselines.errors import OptionError

__all__ = ["Flag", "parse_lists", "parse_names", "parse_seeds", "parse_settings"]

Flag = Annotated[bool, tyro.conf.FlagCreatePairsOff]
"""Type of an option without a value; there is no ``--no-`` of it."""

_PYTHON_LITERALS = {"True": True, "False": False, "None": None}


def parse_seeds(texts: Sequence[str], option: str = "seeds") -> tuple[int, ...]:
    """Read seeds and ranges of them, given for an option: ``["0-2", "7"]`` stands for 0, 1, 2, 7.

    Raises
    ------
    OptionError
        If one is neither.
    """
    seeds: list[int] = []
    for text in texts:
        first, dash, last = text.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise OptionError(option, text, "a whole number of at least 0, or a range such as 0-4")
        span = range(int(first), int(last if dash else first) + 1)
        if not span:
            raise OptionError(option, text, f"a range from the smaller to the larger, as {last}-{first}")
        seeds += span
    return tuple(dict.fromkeys(seeds))


def parse_settings(pairs: Sequence[str]) -> dict[str, Any]:
    """Read KEY=VALUE; a value is JSON (a number, true, null, ...; also as in Python: True, None), or else text.

    Raises
    ------
    OptionError
        If there is no key or no equals sign.
    """
    return {key: _parse_value(text) for key, text in _split_pairs("set", pairs, "dim=32")}


def parse_lists(option: str, pairs: Sequence[str]) -> dict[str, list[Any]]:
    """Read KEY=VALUE,VALUE; each value, or all of them together, is JSON, or else text.

    Raises
    ------
    OptionError
        If there is no key, no equals sign or no value.
    """
    lists = {}
    for key, text in _split_pairs(option, pairs, "train.lr=1e-3"):
        if not text:
            raise OptionError(option, f"{key}=", "KEY=VALUE, such as train.lr=1e-3")
        try:
            lists[key] = [json.loads(text)]
        except ValueError:
            lists[key] = _parse_list(text)
    return lists


def parse_names(option: str, pairs: Sequence[str]) -> dict[str, str]:
    """Read NAME=OTHER, such as ``own-Mine=Ours``.

    Raises
    ------
    OptionError
        If there is no name, no equals sign or no other name, or if two would have one name.
    """
    example = "own-Mine=Ours"
    names: dict[str, str] = {}
    for name, other in _split_pairs(option, pairs, example):
        if not other or other in names.values():
            raise OptionError(option, f"{name}={other}", f"NAME=OTHER, such as {example}, with a name of its own")
        names[name] = other
    return names


def _parse_list(text: str) -> list[Any]:
    try:
        values: list[Any] = json.loads(f"[{text}]")  # values of several parts have commas inside
    except ValueError:
        return [_parse_value(part) for part in text.split(",")]
    return values


def _split_pairs(option: str, pairs: Sequence[str], example: str) -> list[tuple[str, str]]:
    split: dict[str, tuple[str, str]] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not (key and equals):
            raise OptionError(option, pair, f"KEY=VALUE, such as {example}")
        if (name := key.removeprefix("model.")) in split:
            raise OptionError(option, pair, "each setting once", f"{'='.join(split[name])} is there too.")
        split[name] = key, text
    return list(split.values())


def _parse_value(text: str) -> Any:
    if text in _PYTHON_LITERALS:  # as text, False would count as true
        return _PYTHON_LITERALS[text]
    try:
        return json.loads(text)
    except ValueError:
        return text
