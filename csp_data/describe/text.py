"""Cards as text for people: plain, as Markdown pages, as a table that compares them, and what they leave open."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from csp_data.card import Card, SplitCard, StreamCard, TargetCard, printed, printed_unit, prose
from csp_data.card.splits import is_pattern
from csp_data.protocol import PROTOCOLS, resolve
from csp_data.terminal import amount, count_of

__all__ = ["comparison", "incomplete", "markdown", "plain_text"]

SHOWN = 12
"""Channels or recordings that are listed one by one; of more, the first three and the last stand for all."""


def incomplete(card: Card) -> tuple[str, ...]:
    """Return what a complete card says and this one does not; empty for a complete one.

    Beyond what every card must have to be read: its size, known defects, the axes of each stream's frame, and in
    which order the raw files hold quaternions.
    """
    gaps = [] if card.size is not None else ["[size]: how much there is, and how that is known"]
    if not card.defects:
        gaps.append("defects: what is known to be wrong with the recordings")
    for stream in card.streams:
        if stream.axes is None:
            gaps.append(f"stream {stream.name}: axes, where those of its frame point")
        if stream.kind == "rotation" and stream.quaternions not in ("wxyz", "xyzw"):
            gaps.append(f"stream {stream.name}: quaternions, the order in the raw files (wxyz or xyzw)")
    return tuple(gaps)


def plain_text(card: Card, kind: str) -> str:
    """Return a card as plain text; `kind` is that of the recordings at hand, which can be simulated instead."""
    version = f"; version {card.version}" if card.version else ""
    lines = [
        f"{card.name}: {card.title}",
        f"({card.kind}{'' if kind == card.kind else f'; those prepared here are {kind}'}{version})",
        "",
        prose(card.summary),
        "",
        "Streams:",
    ]
    for stream in card.streams:
        optional = "" if stream.default else ", optional"
        order = f"; quaternions in the files: {' '.join(stream.quaternions)}" if stream.quaternions else ""
        lines.append(
            f"  {stream.name} ({stream.role}{optional}): {_names(stream.channels)} in {stream.unit}, "
            f"{stream.rate_hz:g} Hz; frame: {stream.frame}{f'; axes: {stream.axes}' if stream.axes else ''}{order}"
        )
    lines.append("Targets:")
    for target in card.targets:
        per = ", given per second unless the protocol says per step" if target.increment else ""
        unit = ", ".join(target.units) or target.unit
        lines.append(f"  {target.name}: {_names(target.channels)} in {unit}{per}. {target.summary}")
    for protocol, lists in card.splits.items():
        lines.append(
            f"Split {protocol} ({lists.rule}): {_parts_of(lists)}{' of the' if lists.shares else ''} recordings"
        )
    for protocol, fields in _changed(card).items():
        lines.append(
            f"Protocol {protocol} here: {', '.join(f'{field} {value}' for field, value in fields.items())}"
        )
    if card.promised is not None:
        lines.append(f"Promised: {count_of(card.promised, 'recording')}")
    if (size := card.size) is not None:
        hours = "unknown" if size.hours is None else f"{size.hours:.3g}"
        lines.append(f"Raw files: {amount(size.bytes)}, hours: {hours} ({prose(size.basis)})")
    lines += ["Known defects:", *(f"  - {defect}" for defect in card.defects)] if card.defects else []
    address = f" ({card.licence.address})" if card.licence.address else ""
    lines.append(f"Licence: {card.licence.name}{address}. {card.licence.terms}")
    doi = f" doi:{card.citation.doi}" if card.citation.address else ""
    lines += [f"Cite: {card.citation.text}{doi}", f"Get it: {prose(card.obtain)}"]
    return "\n".join(lines)


def markdown(card: Card, *, level: int = 1) -> str:
    """Return a card as a page of Markdown.

    Parameters
    ----------
    card
        The data set.
    level
        Of the page's heading.
    """
    head = "#" * level
    doi = _link(f"doi:{card.citation.doi}", card.citation.address) if card.citation.address else ""
    parts = [
        f"{head} `{card.name}`: {card.title}",
        printed(card.summary),
        _facts(card),
        f"{head}# Streams",
        "Vectors are in the stated unit and frame; rotations are unit quaternions w x y z once they are read.",
        _table(
            ("stream", "channels", "unit", "rate", "frame", "axes", "quaternions in the files"),
            [_stream_row(stream) for stream in card.streams],
        ),
        f"{head}# Targets",
        "What a model is asked for, once a step. The first one is the default; a change over the step is given "
        "per second by `strict` and as it is by `paper`.",
        _table(("target", "channels", "unit", "what"), [_target_row(target) for target in card.targets]),
        f"{head}# Parts",
        _splits(card),
        _changes(card, head),
        f"{head}# Known defects",
        "\n".join(f"- {printed(defect)}" for defect in card.defects) or "None is known.",
        f"{head}# How to get it",
        prose(card.obtain),
        f"{head}# Licence and citation",
        f"{_link(card.licence.name, card.licence.address)}. {prose(card.licence.terms)}",
        f"{prose(card.citation.text)} {doi}".rstrip(),
        f"```bibtex\n{card.citation.bibtex.strip()}\n```",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def comparison(cards: Iterable[Card], *, link: str = "") -> str:
    """Return a table of Markdown with a row for each data set.

    Parameters
    ----------
    cards
        The data sets.
    link
        Address of a data set's page, with ``{name}`` in it; no links by default.
    """
    rows = []
    for card in cards:
        inputs = [stream for stream in card.streams if stream.role == "input" and stream.default]
        target = card.targets[0]
        rows.append(
            (
                f"[{card.name}]({link.format(name=card.name)})" if link else card.name,
                card.kind,
                ", ".join(
                    f"{stream.name} ({_count(stream.columns)}) in {printed_unit(stream.unit)}" for stream in inputs
                ),
                _rates(inputs),
                f"{target.name} ({len(target.channels)})",
                f"{card.size.recordings or '?'}" if card.size else "?",
                f"{card.size.hours:.3g}" if card.size and card.size.hours else "?",
                amount(card.size.bytes) if card.size else "?",
                card.access.kind if card.bundled is None else "ships",
                card.licence.id,
            )
        )
    titles = ("name", "kind", "inputs", "Hz", "target", "recordings", "hours", "raw files", "access", "licence")
    return _table(titles, rows) + "\n"


def _facts(card: Card) -> str:
    target = resolve(card).target
    access = {
        "open": "open, no account",
        "licence": "after the terms are accepted",
        "password": "with a user and a password from the publisher, beside the terms",
    }[card.access.kind]
    rows = [
        ("kind", card.kind),
        *([("version", card.version)] if card.version else []),
        ("aliases", ", ".join(f"`{alias}`" for alias in card.aliases) or "none"),
        ("protocol by default", f"`{card.protocol}`, target `{target or card.targets[0].name}`"),
        ("access", "ships with the package" if card.bundled else access),
        ("licence", f"{card.licence.id}; {'may' if card.licence.redistribution else 'may not'} be passed on"),
    ]
    if card.size is not None:
        size = card.size
        hours = "unknown" if size.hours is None else f"{size.hours:.3g}"
        rows += [
            ("recordings", "unknown" if size.recordings is None else f"{size.recordings}"),
            ("hours", hours),
            ("raw files", amount(size.bytes)),
            ("how that is known", size.basis),
        ]
    return _table(("", ""), rows)


def _stream_row(stream: StreamCard) -> tuple[str, ...]:
    role = stream.role if stream.default else f"{stream.role}, only when asked for"
    channels = _names(stream.channels, code="`")
    if stream.derived:
        channels += "; a model sees " + _names(stream.derived, code="`")
    return (
        f"`{stream.name}` ({role})",
        channels,
        printed_unit(stream.unit),
        f"{stream.rate_hz:.4g} Hz",
        printed(stream.frame),
        printed(stream.axes or "not stated"),
        " ".join(stream.quaternions) if stream.quaternions else "none",
    )


def _target_row(target: TargetCard) -> tuple[str, ...]:
    kind = "a change over the step" if target.increment else "a value at the end of the step"
    unit = ", ".join(map(printed_unit, target.units or (target.unit,)))
    return f"`{target.name}`", _names(target.channels, code="`"), unit, f"{printed(target.summary)} ({kind})"


def _splits(card: Card) -> str:
    rows = []
    for name, split in card.splits.items():
        shares = _parts_of(split, code="`")
        held_out = ", ".join(part for part in split.held_out if part in split.parts) or "none"
        rule = split.rule if split.rule == "lists" else f"{split.rule}, of the recordings {split.among}"
        rows.append((f"`{name}`", rule, shares, held_out))
    return _table(("protocol", "rule", "parts", "parts whose groups stand in no other"), rows)


def _parts_of(split: SplitCard, *, code: str = "") -> str:
    """Return how much each part of a split holds: its share, its number of recordings, or the patterns of them.

    Parameters
    ----------
    split
        Of a card.
    code
        What to put around patterns, such as a backquote.
    """
    said = []
    for part in split.parts:
        listed = getattr(split, part)
        if split.shares:
            said.append(f"{part} {split.shares[part]:.0%}")
        elif any(map(is_pattern, listed)):
            said.append(f"{part} {_names(listed, code=code, between=' and ')}")
        else:
            said.append(f"{part} {len(listed)}")
    return ", ".join(said)


def _changed(card: Card) -> dict[str, Mapping[str, object]]:
    """Return the fields that the card changes, by protocol."""
    return {name: fields for name, fields in card.protocols.items() if name in PROTOCOLS and fields}


def _changes(card: Card, head: str) -> str:
    """Return the fields of the protocols that the card changes as a section, or nothing."""
    rows = [
        (f"`{protocol}`", f"`{field}`", f"`{value}`")
        for protocol, fields in _changed(card).items()
        for field, value in fields.items()
    ]
    if not rows:
        return ""
    return f"{head}# Fields of the protocols that this set changes\n\n" + _table(
        ("protocol", "field", "value"), rows
    )


def _names(names: Sequence[str], *, code: str = "", between: str = ", ") -> str:
    """Return names one after the other, each in `code`; of many, the first few and the last, with their number."""
    if len(names) <= SHOWN:
        return between.join(f"{code}{name}{code}" for name in names)
    return f"{_names(names[:3], code=code)} ... {code}{names[-1]}{code} ({len(names)})"


def _count(channels: Sequence[str]) -> str:
    return "as many as the files have" if any(name.endswith("*") for name in channels) else str(len(channels))


def _rates(streams: Sequence[StreamCard]) -> str:
    return ", ".join(f"{rate:.4g}" for rate in sorted({stream.rate_hz for stream in streams}))


def _link(text: str, address: str) -> str:
    return f"[{text}]({address})" if address else text


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    return "\n".join([line(titles), line(["---"] * len(titles)), *(line(row) for row in rows)])
