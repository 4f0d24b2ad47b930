"""What is said of the recordings of a data set: notes in the log, and errors of what does not go together."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Container, Sequence

from csp_data.acquire.nearby import better_folder
from csp_data.acquire.report import Report
from csp_data.acquire.verify import how_to_get
from csp_data.card import Card, is_shipped
from csp_data.errors import DamagedRecordingError, MissingDataError
from csp_data.prepare.examples import Example
from csp_data.protocol import Protocol
from csp_data.recording import Note
from csp_data.resplit import UNUSED
from csp_data.sources import Found
from csp_data.store import EpisodeRow

__all__ = [
    "against_short",
    "check_parts",
    "columns_differ",
    "log_incomplete",
    "log_lost",
    "log_notes",
    "same_episode",
]

logger = logging.getLogger(__name__)

BY_PROTOCOL = (" above jump_limit left out", " outside recording_s left out")
"""How notes end of whole recordings that a limit of the protocol excludes."""
LEFT_OUT = " left out"
"""How notes end of what the protocol does not use."""


MANY = 20
"""Recordings that are named one by one, at most."""


def log_notes(notes: Sequence[Note]) -> None:
    """Log what was skipped, of many the first, and each kind of warning once; repairs with ``--verbose``."""
    warnings: dict[str, list[Note]] = {}
    skipped = [note for note in notes if note.kind == "skip"]
    for number, note in enumerate(skipped):
        level = logging.WARNING if number < MANY else logging.DEBUG
        logger.log(level, "%s: %s: %s", note.recording, note.what, note.detail)
    if (more := len(skipped) - MANY) > 0:
        logger.warning("%d more damaged recordings skipped (--verbose names them)", more)
    for note in notes:
        if note.kind in ("repair", "drop"):
            logger.debug("%s: %s: %s", note.recording, note.what, note.detail)
        elif note.kind == "warning":
            warnings.setdefault(note.what, []).append(note)
    for what, same in warnings.items():
        example = ": ".join(filter(None, (same[0].recording, same[0].detail)))
        logger.warning("%s in %d recording%s; %s", what, len(same), "" if len(same) == 1 else "s", example)


def log_lost(card: Card, selected: Sequence[Found], used: set[str], notes: Sequence[Note]) -> None:
    """Log how many recordings gave no episode for no reason that the protocol names, and of one of them why."""
    reasons: dict[str, list[str]] = {recording.id: [] for recording in selected if recording.id not in used}
    for note in notes:
        if note.recording in reasons:
            if note.kind == "skip" or note.what.endswith(BY_PROTOCOL):
                del reasons[note.recording]
            else:
                reasons[note.recording].append(": ".join(filter(None, (note.what, note.detail))))
    if reasons:
        first, why = next(iter(reasons.items()))
        text = "%d of %d recordings of %s gave no episode; %s: %s. csp-data info --prepared lists them"
        logger.warning(text, len(reasons), len(selected), card.name, first, "; ".join(why) or "too short")


def log_incomplete(card: Card, kind: str, found: int) -> None:
    """Log that recordings of a benchmark are missing: its numbers are compared with those of others."""
    if card.promised is not None and found < card.promised and kind == "CSP-Bench":
        text = "%d of the %d recordings that the publisher of %s states are here; parts and scales are of these"
        logger.warning(text, found, card.promised, card.name)


def check_parts(
    card: Card, protocol: Protocol, report: Report, present: set[str], notes: Sequence[Note] = ()
) -> None:
    """Refuse a data set of which a whole part has no recording; the error says where they went."""
    parts = card.splits[protocol.split_name].parts
    if protocol.resplit is not None:
        parts = protocol.resplit.parts(parts)
    if empty := [part for part in parts if part not in present]:
        few = "part" if len(empty) == 1 else "parts"
        raise MissingDataError(
            f"Recordings for the {few} {', '.join(empty)} of {card.name} ({protocol.split_name})",
            report.root,
            _why_empty(card, protocol, report, len(parts), empty, notes),
        )


def _why_empty(
    card: Card, protocol: Protocol, report: Report, parts: int, empty: Sequence[str], notes: Sequence[Note]
) -> str:
    """Say why no recording is left for a part, and what to do."""
    if skipped := [note for note in notes if note.kind == "skip"]:
        first = skipped[0]
        return f"{len(skipped)} were skipped as damaged, the first: {first.recording}: {first.detail}."
    counted = Counter(note.what for note in notes if note.what.endswith(LEFT_OUT))
    if counted:
        left_out = ", ".join(f"{count} x {what.removesuffix(LEFT_OUT)}" for what, count in counted.items())
        return f"Left out were: {left_out}."
    split = card.splits[protocol.split_name]
    if split.rule == "lists" and protocol.resplit is None and report.found and not is_shipped(card):
        listed = [entry for part in empty for entry in getattr(split, part)]
        return (
            f"The card lists {_some(listed)} for it. Recordings are {_some([one.id for one in report.found])}; "
            "in a list, * and ? stand for other characters."
            + (f" Files are missing. {how_to_get(card, report.root)}" if report.failures else "")
        )
    groups, count = sorted({recording.group for recording in report.found}), len(report.found)
    if 0 < len(groups) < parts <= count:
        number = "one group" if len(groups) == 1 else f"{len(groups)} groups"
        few = (
            f"The {count} recordings are of {number} ({', '.join(groups)}), and no group is divided, unless a "
            "split on the card lists recordings for each part and has held_out = []. "
        )
        return few + how_to_get(card, report.root)
    return better_folder(card, report.root) or how_to_get(card, report.root)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def columns_differ(report: Report, example: Example, first: str, names: Sequence[str]) -> DamagedRecordingError:
    """Return the error of a recording whose input columns are other ones than those of the first."""
    return DamagedRecordingError(
        report.root / example.recording,
        "input channels",
        f"the {len(names)} of {first} ({', '.join(names[:3])}, ...)",
        f"{len(example.columns)} ({', '.join(example.columns[:3])}, ...)",
    )


def same_episode(report: Report, example: Example, other: str) -> DamagedRecordingError:
    """Return the error of recordings such as "a", with gaps, and "a.1", of which two episodes have the same id."""
    return DamagedRecordingError(
        report.root / example.recording,
        f"episode {example.id!r}",
        "ids that tell episodes apart",
        f"one of {other!r} and one of {example.recording!r}",
        "Rename one of the recordings.",
    )


def against_short(
    short: EpisodeRow, rows: Sequence[EpisodeRow], protocol: Protocol, in_pieces: Container[str]
) -> str:
    """Say what helps against an episode, of all in `rows`, that is shorter than the protocol's window.

    ``min_episode_s`` leaves out stretches of a recording before a grid is laid over them; what makes an episode
    shorter after that, it cannot undo.
    """
    window, hz = protocol.window, protocol.target_hz
    assert window is not None
    if short.recording in in_pieces and protocol.resplit is not None:
        return (
            f"It is a piece that resplit.neighbours cuts: resplit.piece_s={protocol.resplit.piece_s:g} bounds them"
            " all, and the last of an episode is what is left of it. Choose another length of one of both."
        )
    first = next(row for row in rows if row.recording == short.recording)
    used_s = (short.target_stop - first.target_start) / hz
    lost = 1 / hz if protocol.grid == "common" else 1.0
    if protocol.max_duration_s is not None and protocol.max_duration_s - used_s < lost - 1e-6:
        return f"max_duration_s={protocol.max_duration_s:g} ends it there. Choose another, or None for all."
    longest_s: dict[str, float] = {}  # by part: to leave out shorter episodes may leave none
    for row in rows:
        if row.split != UNUSED:
            longest_s[row.split] = max(longest_s.get(row.split, 0.0), (row.target_stop - row.target_start) / hz)
    part = min(longest_s, key=lambda name: longest_s[name])
    if longest_s[part] < window.seconds - 1e-6:
        return f"No episode of the {part} part is longer than {longest_s[part]:g} s."
    # targets that lie before their inputs take their look-ahead from a stretch
    least = window.seconds + (protocol.ahead_s if protocol.grid == "common" else 0.0)
    if protocol.min_episode_s >= least:  # followed already: by as much as it lacks
        least = protocol.min_episode_s + window.seconds - (short.target_stop - short.target_start) / hz
    return f"Shorter episodes can be left out by name: min_episode_s={least:g}."
