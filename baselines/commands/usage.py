"""Say in one line what is wrong with a typed command: tyro draws boxes of many, csp-data uses click's words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import click

from csp_data.terminal import flags

__all__ = ["option_without_value", "usage_error", "with_repeats_joined"]


def usage_error(command: click.Command, words: Sequence[str]) -> str | None:
    """Return what is wrong with the words typed after a command, as click sees it; ``None`` if nothing is."""
    arguments = list(_repeat_multiple_flags(command, words))
    try:
        command.make_context(command.name, list(arguments))  # it takes words off the list
    except click.MissingParameter:  # names the first alone
        values = command.make_context(command.name, arguments, resilient_parsing=True).params
        flag_by_name = flags(command.params)
        required = [str(parameter.name) for parameter in command.params if parameter.required]
        missing = [flag_by_name[name] for name in required if not values[name]]
        return f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing."
    except click.UsageError as error:
        message = error.format_message()
        return message if message.endswith((".", "?")) else f"{message}."
    return None


def option_without_value(command: click.Command, words: Sequence[str]) -> str | None:
    """Return an option of several values that is typed without one: tyro would take that for not typed."""
    multiple_flags = _multiple_flags(command)
    for word, following in zip(words, [*words[1:], "-"], strict=False):
        is_option = following[:1] == "-" and not following[1:2].isdigit()  # not a negative number
        if word in multiple_flags and is_option:
            return word
    return None


def with_repeats_joined(command: click.Command, words: Sequence[str]) -> list[str]:
    """Bring the values of an option that is typed twice together: of several, tyro takes the last ones alone."""
    names = _multiple_flags(command)
    groups: list[list[str]] = [[]]
    group_of: dict[str, list[str]] = {}
    into = groups[0]
    for i, word in enumerate(words):
        if word == "--":
            return [*(word for group in groups for word in group), *words[i:]]
        flag, equals, value = word.partition("=") if word.startswith("--") else (word, "", "")
        name = names.get(flag.replace("_", "-") if flag.startswith("--") else flag)
        if name in group_of:
            into = group_of[name]
            into += [value] if equals else []
        elif word.startswith("-") and not word[1:2].isdigit():
            groups.append([flag, value] if name and equals else [word])
            into = groups[-1]
            if name:
                group_of[name] = into
        else:
            into.append(word)
    return [word for group in groups for word in group]


def _multiple_flags(command: click.Command) -> dict[str, str]:
    """Return the flags of options of several values, each with its option's name."""
    multiple = (parameter for parameter in command.params if getattr(parameter, "multiple", False))
    return {flag: str(parameter.name) for parameter in multiple for flag in parameter.opts}


def _repeat_multiple_flags(command: click.Command, words: Sequence[str]) -> Iterator[str]:
    """Write ``--set a=1 b=2`` as ``--set a=1 --set b=2``: click has no options with several values."""
    multiple_flags = _multiple_flags(command)
    option, values = "", 0
    for word in words:
        if word.startswith("-"):
            option, values = word, 0
        elif option in multiple_flags:
            values += 1
            if values > 1:
                yield option
        yield word
