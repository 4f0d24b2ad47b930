"""Say in one line what is wrong with a typed command: tyro draws boxes of many, csp-data uses click's words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import click

from csp_data.terminal import flags

__all__ = ["without_values", "wrong"]


def wrong(command: click.Command, words: Sequence[str]) -> str | None:
    """Return what is wrong with the words typed after a command, as click sees it; ``None`` if nothing is."""
    typed = list(_one_by_one(command, words))
    try:
        command.make_context(command.name, list(typed))  # it takes words off the list
    except click.MissingParameter:  # names the first alone
        given = command.make_context(command.name, typed, resilient_parsing=True).params
        named = flags(command.params)
        missing = [named[str(one.name)] for one in command.params if one.required and not given[str(one.name)]]
        return f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing."
    except click.UsageError as error:
        said = error.format_message()
        return said if said.endswith((".", "?")) else f"{said}."
    return None


def without_values(command: click.Command, words: Sequence[str]) -> str | None:
    """Return an option of several values that is typed without one: tyro would take that for not typed."""
    several = _several(command)
    ends = zip(words, [*words[1:], "-"], strict=False)
    return next((w for w, after in ends if w in several and after[:1] == "-" and not after[1:2].isdigit()), None)


def _several(command: click.Command) -> set[str]:
    return {flag for one in command.params if getattr(one, "multiple", False) for flag in one.opts}


def _one_by_one(command: click.Command, words: Sequence[str]) -> Iterator[str]:
    """Write ``--set a=1 b=2`` as ``--set a=1 --set b=2``: click has no options with several values."""
    several = _several(command)
    option, values = "", 0
    for word in words:
        if word.startswith("-"):
            option, values = word, 0
        elif option in several:
            values += 1
            if values > 1:
                yield option
        yield word
