"""Read recordings and cut them into examples, several recordings at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from csp_data.acquire.rawtree import SKIPPED
from csp_data.card import Card
from csp_data.errors import DamagedRecordingError
from csp_data.normalization import Moments, features
from csp_data.parallel import in_order, keep_freed, processes
from csp_data.prepare.examples import Example, cut_into_pieces, examples
from csp_data.protocol import Protocol
from csp_data.recording import Note
from csp_data.sources import Found, Source, load_source, read_found

__all__ = ["Cut", "Settings", "cut_recordings"]

LEAVE_OUT = (
    "Or go on without damaged recordings: --skip-damaged (in Python skip_damaged=True) leaves them out, and lists "
    "them. A command without that option takes the file that csp-data prepare --skip-damaged makes."
)

BATCH_BYTES = 4 << 20
"""Raw bytes that one worker takes at once, at least; a recording is never divided."""

Cut = tuple[list[tuple[Example, Moments, Moments]], list[Note]]
"""Of one recording: its episodes, each with the statistics of its features and its targets, and the notes."""


@dataclass(frozen=True)
class Settings:
    """Settings of one preparation that are no part of the protocol.

    Parameters
    ----------
    jobs
        Processes, at most.
    progress
        Show a progress bar.
    skip_damaged
        Give a note instead of an error for a recording that cannot be used.
    in_pieces
        Ids of recordings whose episodes are cut into pieces.
    """

    jobs: int
    progress: bool
    skip_damaged: bool
    in_pieces: frozenset[str] = frozenset()


def cut_recordings(
    found: Sequence[Found], sizes: Sequence[int], card: Card, protocol: Protocol, settings: Settings
) -> Iterator[Cut]:
    """Read and cut recordings; a generator, so that memory stays bounded.

    Parameters
    ----------
    found
        The recordings.
    sizes
        Bytes of each, by which they are handed to processes.
    card, protocol
        What they are, and how they are cut.
    settings
        With how many processes, and what of damaged recordings.

    Yields
    ------
    Cut
        One a recording, in their order, with numbers as the prepared file holds them.

    Raises
    ------
    DamagedRecordingError
        If a recording cannot be used and may not be skipped.
    """
    cut = partial(_cut_batch, card=card, protocol=protocol, settings=settings)
    for results in in_order(cut, _batches(found, sizes), processes(settings.jobs, sum(sizes))):
        yield from results


def _batches(found: Sequence[Found], sizes: Sequence[int]) -> Iterator[list[Found]]:
    """Put small recordings together, so that handing them to another process costs little."""
    batch: list[Found] = []
    batch_bytes = 0
    for recording, size in zip(found, sizes, strict=True):
        batch.append(recording)
        batch_bytes += size
        if batch_bytes >= BATCH_BYTES:
            yield batch
            batch, batch_bytes = [], 0
    if batch:
        yield batch


def _cut_batch(batch: Sequence[Found], card: Card, protocol: Protocol, settings: Settings) -> list[Cut]:
    keep_freed()
    source = load_source(card)
    results: list[Cut] = []
    for found in batch:
        try:
            results.append(_cut(found, source, card, protocol, settings))
        except DamagedRecordingError as error:
            if not settings.skip_damaged:
                raise error.or_else(LEAVE_OUT) from error
            results.append(([], [Note(found.id, SKIPPED, f"{error.path}: {error.problem}", "skip")]))
    return results


def _cut(found: Found, source: Source, card: Card, protocol: Protocol, settings: Settings) -> Cut:
    """Read and cut one recording; what is not needed any more is let go, as one may be half of the memory."""
    with np.errstate(all="ignore"):  # what is no number is refused, with its place
        recording = read_found(source, found, card, protocol)
        episodes, notes = examples(recording, card, source, protocol)
    notes = [*recording.notes, *notes]
    del recording
    if found.id in settings.in_pieces and protocol.resplit is not None:
        episodes = cut_into_pieces(episodes, protocol.resplit.piece_s, protocol)
    stored = [episode.stored() for episode in episodes]
    del episodes
    return [_with_moments(episode, protocol) for episode in stored], notes


def _with_moments(example: Example, protocol: Protocol) -> tuple[Example, Moments, Moments]:
    """Add the statistics of what is stored, so that anyone can compute the normalisation again from the file."""
    inputs = features(example.inputs, deltas=protocol.input_deltas)
    return example, Moments.of(inputs), Moments.of(example.targets)
