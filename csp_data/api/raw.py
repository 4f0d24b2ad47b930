"""The functions of ``import csp_data`` on raw files: download, import, verify and read them."""

from __future__ import annotations

from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, cast

from csp_data.acquire.rawtree import find_recordings, raw_root
from csp_data.acquire.report import Report
from csp_data.acquire.verify import verify_tree
from csp_data.card import Card, load_card
from csp_data.errors import MissingDataError, OptionError, UnknownNameError
from csp_data.home import expanded
from csp_data.protocol import Protocol, resolve
from csp_data.recording import Recording
from csp_data.sources import load_source, read_found

if TYPE_CHECKING:
    from csp_data.acquire.place import How
    from csp_data.acquire.plan import Variant

__all__ = ["download", "import_raw", "read_recording", "recording_of", "verify"]


def download(
    name: Path | str,
    *,
    raw: Path | str | None = None,
    mirror: str | None = None,
    jobs: int = 4,
    accept_licence: bool = False,
    variant: Variant = "compact",
    lock: Path | str | None = None,
    progress: bool = False,
) -> Report:
    """Fetch the files of a data set that are missing, and verify them.

    If a transfer fails, what has arrived is kept: call it again to go on from there.

    Parameters
    ----------
    name
        Data set, as in :func:`csp_data.names`.
    raw
        Folder to fetch to; by default the home's ``raw/<name>``.
    mirror
        Address (http, https or file) of a copy that serves the same relative names; ``{name}`` in it stands for
        the data set's name. By default the environment variable ``CSP_DATA_MIRROR``, or else the publisher.
    jobs
        Files that are fetched at once.
    accept_licence
        Whether you accept the data set's terms (see :func:`info`).
    variant
        ``"compact"`` or ``"full"``, where the publisher has two versions.
    lock
        The file of locked digests to check against and to extend; by default one in the raw folder.
    progress
        Show a progress bar on stderr.

    Returns
    -------
    Report
        What is there afterwards, file by file, and on what grounds it is trusted.

    Raises
    ------
    UnknownNameError
        If there is no such data set.
    OptionError
        If `variant` is neither, `jobs` is below 1, or `mirror` is no address.
    AccessError
        If a person is needed: terms to accept, a password, a file or host that is gone.
    TransferError
        If the transfer failed in a way that may work later.
    VerificationError
        If the bytes that came differ from the digest that the publisher or the lock file states.
    """
    # here: a quarter of the time of importing csp_data
    from csp_data.acquire.download import Options, download_card

    return download_card(
        load_card(name),
        Options(
            raw=raw,
            mirror=mirror,
            jobs=jobs,
            accept_licence=accept_licence,
            variant=variant,
            lock_file=lock,
            progress=progress,
        ),
    )


def import_raw(
    name: Path | str,
    *paths: Path | str,
    raw: Path | str | None = None,
    how: How = "copy",
    lock: Path | str | None = None,
) -> Report:
    """Import files that were fetched by hand: archives, folders or single files.

    Parameters
    ----------
    name
        Data set, as in :func:`csp_data.names`.
    *paths
        Archives, folders or files that were fetched.
    raw
        Folder to bring them to; by default the home's ``raw/<name>``.
    how
        ``"copy"``, ``"move"`` or ``"link"`` (a hard link where the disk can).
    lock
        As in :func:`download`.

    Returns
    -------
    Report
        What is there afterwards; its ``failures`` name what is still missing.

    Raises
    ------
    UnknownNameError
        If there is no such data set.
    OptionError
        If no path is given, or `how` is none of these.
    MissingDataError
        If a path holds nothing of the data set; the message says what it looks like instead.
    UnsafeArchiveError
        If an archive is damaged, or would write outside its folder.
    """
    from csp_data.acquire.importing import import_card

    return import_card(load_card(name), paths, raw=raw, how=how, lock_file=lock)


def verify(
    name: Path | str, *, raw: Path | str | None = None, deep: bool = False, lock: Path | str | None = None
) -> Report:
    """Compare the raw files of a data set with its card.

    Parameters
    ----------
    name
        Data set.
    raw
        Folder of its raw files.
    deep
        Read every byte again and open every recording that no digest vouches for, instead of trusting unchanged
        files.
    lock
        The file of locked digests to check against; by default one in the raw folder, if it is there.

    Returns
    -------
    Report
        File by file, what is there and on what grounds it is trusted; ``failures`` holds the others, each with the
        way to mend it. Failures are returned, not raised.

    Raises
    ------
    UnknownNameError
        For a data set that does not exist.
    MissingDataError
        If the folder or the lock file that was named does not exist.

    Examples
    --------
    >>> import csp_data
    >>> csp_data.verify("sample").failures
    ()
    """
    card = load_card(name)
    if lock is not None and not (place := expanded(lock, "lock")).exists():
        fix = "Nothing would be compared with it. Check the path, or leave it out."
        raise MissingDataError(f"The lock file of {card.name}", place, fix)
    return verify_tree(card, raw_root(card, raw), deep=deep, lock=lock)


def read_recording(
    name: Path | str,
    recording: str | int = 0,
    *,
    raw: Path | str | None = None,
    protocol: Protocol | str | None = None,
) -> Recording:
    """Read one raw recording as its source hands it over, before anything is resampled or filtered.

    Parameters
    ----------
    name
        Data set.
    recording
        Its id, or its number in the source's order.
    raw, protocol
        As in :func:`prepare`.

    Returns
    -------
    Recording
        Its streams, each with time stamps (s), values, channels and unit.

    Raises
    ------
    MissingDataError
        If there is no recording.
    UnknownNameError, OptionError
        If there is none of that id or number.
    DamagedRecordingError
        If it cannot be read.

    Examples
    --------
    >>> import csp_data
    >>> recording = csp_data.read_recording("sample", 0)
    >>> gyroscope = recording.streams["gyroscope"]
    >>> gyroscope.values.shape, gyroscope.channels, gyroscope.unit
    ((10571, 3), ('gyr_x', 'gyr_y', 'gyr_z'), 'rad/s')
    """
    return recording_of(load_card(name), recording, raw=raw, protocol=protocol)


def recording_of(
    card: Card, recording: str | int, *, raw: Path | str | None = None, protocol: Protocol | str | None = None
) -> Recording:
    """Read one raw recording of the data set that a card describes, as :func:`read_recording` does.

    Raises
    ------
    SourceError
        If the card is all that is known of it, as where it comes from a prepared file.
    """
    source = load_source(card)
    found = find_recordings(card, raw_root(card, raw))
    if isinstance(recording, str):
        by_id = {entry.id: entry for entry in found}
        if recording not in by_id:
            raise UnknownNameError(f"recording of {card.name}", recording, by_id)
        chosen = by_id[recording]
    else:
        if not isinstance(cast("object", recording), Integral):
            raise OptionError("recording", recording, "the id or the number of a recording")
        if not -len(found) <= recording < len(found):
            raise OptionError(
                "recording", recording, f"below {len(found)}, the number of recordings of {card.name}"
            )
        chosen = found[recording]
    return read_found(source, chosen, card, resolve(card, protocol))
