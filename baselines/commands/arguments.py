"""Parse arguments of the command line: seeds, and KEY=VALUE."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from baselines.errors import OptionError

__all__ = ["lists", "seeds", "settings"]


def seeds(given: Sequence[str], option: str = "seeds") -> tuple[int, ...]:
    """Read seeds and ranges of them, given for an option: ``["0-2", "7"]`` stands for 0, 1, 2, 7.

    Raises
    ------
    OptionError
        If one is neither.
    """
    found: list[int] = []
    for text in given:
        first, dash, last = text.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise OptionError(option, text, "a whole number of at least 0, or a range such as 0-4")
        between = range(int(first), int(last if dash else first) + 1)
        if not between:
            raise OptionError(option, text, f"a range from the smaller to the larger, as {last}-{first}")
        found += between
    return tuple(dict.fromkeys(found))


def settings(given: Sequence[str]) -> dict[str, Any]:
    """Read KEY=VALUE; a value is JSON (a number, true, null, ...; also as in Python: True, None), or else text.

    Raises
    ------
    OptionError
        If there is no key or no equals sign.
    """
    return {key: _value(text) for key, text in _pairs("set", given, "dim=32")}


def lists(option: str, given: Sequence[str]) -> dict[str, list[Any]]:
    """Read KEY=VALUE,VALUE; each value, or all of them together, is JSON, or else text.

    Raises
    ------
    OptionError
        If there is no key, no equals sign or no value.
    """
    found = {}
    for key, text in _pairs(option, given, "train.lr=1e-3"):
        if not text:
            raise OptionError(option, f"{key}=", "KEY=VALUE, such as train.lr=1e-3")
        try:
            found[key] = [json.loads(text)]
        except ValueError:
            found[key] = [_value(part) for part in text.split(",")]
    return found


def _pairs(option: str, given: Sequence[str], example: str) -> list[tuple[str, str]]:
    found = []
    for pair in given:
        key, equals, text = pair.partition("=")
        if not (key and equals):
            raise OptionError(option, pair, f"KEY=VALUE, such as {example}")
        found.append((key, text))
    return found


_PYTHON = {"True": True, "False": False, "None": None}


def _value(text: str) -> Any:
    if text in _PYTHON:  # as text, False would count as true
        return _PYTHON[text]
    try:
        return json.loads(text)
    except ValueError:
        return text
