"""The functions of ``import csp_data``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from csp_data import citation
from csp_data.acquire.verify import Report, verify_tree
from csp_data.card import Card, load_card
from csp_data.croissant import croissant as card_croissant
from csp_data.dataset import Dataset
from csp_data.errors import OptionError, UnknownNameError
from csp_data.home import expanded
from csp_data.prepare import find_recordings, prepare_card, raw_root
from csp_data.protocol import Protocol, resolve
from csp_data.recording import Recording
from csp_data.sources import load_source

if TYPE_CHECKING:
    from csp_data.acquire.place import How
    from csp_data.acquire.plan import Variant

__all__ = ["cite", "croissant", "download", "import_raw", "info", "load", "prepare", "read_recording", "verify"]


def resolve_protocol(card: Card, protocol: Protocol | str | None, overrides: dict[str, Any]) -> Protocol:
    """Return the protocol to use: the card's own by default, one by name, or one as it is, then the overrides."""
    chosen = resolve(card, protocol)
    return chosen.replace(**overrides) if overrides else chosen


def prepare(
    name: str,
    *,
    raw: Path | str | None = None,
    protocol: Protocol | str | None = None,
    out: Path | str | None = None,
    jobs: int = 1,
    progress: bool = False,
    skip_damaged: bool = False,
    **overrides: Any,
) -> Path:
    """Prepare a data set: verify, align, resample, filter, split, window, and write one HDF5 file.

    The layout of the file is described in the documentation under "The prepared file".

    Parameters
    ----------
    name
        Data set: a name in :func:`csp_data.names`, or the folder of a data set of your own.
    raw
        Folder of its raw files; by default what ships with the package, or the home's ``raw/<name>``.
    protocol
        A :class:`~csp_data.Protocol` or the name of one; by default the card's.
    out
        File to write; by default one in the home, named by the recipe and made only once.
    jobs
        Recordings that are read at once, each in a process of its own.
    progress
        Show a progress bar on stderr.
    skip_damaged
        Leave damaged recordings out and list them in the provenance, instead of stopping with nothing written.
    **overrides
        Fields of the protocol to change: ``input_hz=100``, ``lowpass=csp_data.LowPass(...)``, ...

    Returns
    -------
    Path
        The prepared file.

    Raises
    ------
    UnknownNameError
        If there is no such data set, protocol or field.
    OptionError
        If a field has a value out of bounds.
    MissingDataError
        If raw files are missing; the message has the command that gets them.
    VerificationError, DamagedRecordingError
        If raw files are not what the card says, or cannot be read; nothing is written.

    Examples
    --------
    >>> import csp_data
    >>> csp_data.prepare("sample", lowpass=csp_data.LowPass(hz=5, order=3, phase="causal")).suffix
    '.h5'
    """
    card = load_card(name)
    chosen = resolve_protocol(card, protocol, overrides)
    return prepare_card(card, chosen, raw=raw, out=out, jobs=jobs, progress=progress, skip_damaged=skip_damaged)


def load(
    name: str | None = None,
    *,
    path: Path | str | None = None,
    raw: Path | str | None = None,
    protocol: Protocol | str | None = None,
    jobs: int = 1,
    download: bool = False,
    accept_licence: bool = False,
    **overrides: Any,
) -> Dataset:
    """Load a data set, preparing it on first use.

    Nothing is downloaded unless ``download=True``. Exactly one of ``name`` and ``path`` is given.

    Parameters
    ----------
    name
        Data set: a name in :func:`csp_data.names`, or the folder of a data set of your own.
    path
        A prepared file, loaded as it is; the other arguments then do not apply.
    raw
        Folder of the raw files; by default what ships with the package, or the home's ``raw/<name>``.
    protocol
        A :class:`~csp_data.Protocol` or the name of one (``"paper"``, ``"strict"``); by default the card's.
    jobs
        Recordings that are read at once when the data set has to be prepared.
    download
        Fetch what is missing first, as :func:`download` does.
    accept_licence
        Whether you accept the data set's terms (see :func:`info`); only used with ``download=True``.
    **overrides
        Fields of the protocol to change: ``input_hz=100``, ``lowpass=csp_data.LowPass(...)``, ...

    Returns
    -------
    Dataset
        Its parts (``train``, ``val``, ``test``) are sequences of :class:`Episode`, with inputs of shape (T, C) and
        targets of shape (T / chunk, D), both float32 in physical units. Samples are read from the file on access.

    Raises
    ------
    OptionError
        If both or neither of ``name`` and ``path`` are given, or an option has a value out of bounds.
    UnknownNameError
        If there is no such data set, protocol or field.
    MissingDataError
        If raw files are missing; the message has the command that gets them.
    VerificationError, DamagedRecordingError
        If raw files are not what the card says, or cannot be read.
    StoreError
        If the file at ``path`` is not a prepared file, is damaged, or has a newer format version.
    AccessError, TransferError
        With ``download=True``: if a person is needed, or if the transfer failed and may work later.

    See Also
    --------
    prepare : Make the prepared file without loading it.

    Examples
    --------
    >>> import csp_data
    >>> ds = csp_data.load("sample")
    >>> ds.train[0].inputs.shape[1], ds.channels.units[0], ds.targets.units[0]
    (6, 'm/s^2', 'm/s')
    """
    if (name is None) == (path is None):
        raise OptionError("path", path, "either a name or a path")
    if path is not None:
        if raw is not None or protocol is not None or overrides:
            raise OptionError(
                "path", str(path), "no raw, protocol or protocol fields beside it", "The file has its own."
            )
        return Dataset(expanded(path))
    assert name is not None
    if download:
        from csp_data.acquire.download import Options, download_card

        download_card(load_card(name), Options(raw=_path(raw), accept_licence=accept_licence))
    return Dataset(prepare(name, raw=raw, protocol=protocol, jobs=jobs, **overrides))


def download(
    name: str,
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
            raw=_path(raw),
            mirror=mirror,
            jobs=jobs,
            accept_licence=accept_licence,
            variant=variant,
            lock_file=_path(lock),
            progress=progress,
        ),
    )


def import_raw(
    name: str,
    *paths: Path | str,
    raw: Path | str | None = None,
    how: How = "copy",
    lock: Path | str | None = None,
) -> Report:
    """Take in files that were fetched by hand: archives, folders or single files.

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
    MissingDataError
        If a path holds nothing of the data set; the message says what it looks like instead.
    UnsafeArchiveError
        If an archive is damaged, or would write outside its folder.
    """
    from csp_data.acquire.importing import import_card

    return import_card(
        load_card(name), [Path(path) for path in paths], raw=_path(raw), how=how, lock_file=_path(lock)
    )


def _path(path: Path | str | None) -> Path | None:
    return None if path is None else expanded(path)


def verify(
    name: str, *, raw: Path | str | None = None, deep: bool = False, lock: Path | str | None = None
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
        As in :func:`download`.

    Returns
    -------
    Report
        File by file, what is there and on what grounds it is trusted; ``failures`` holds the others, each with the
        way to mend it. Failures are returned, not raised.

    Raises
    ------
    UnknownNameError
        For a data set that does not exist.

    Examples
    --------
    >>> import csp_data
    >>> csp_data.verify("sample").failures
    ()
    """
    card = load_card(name)
    return verify_tree(card, raw_root(card, raw), deep=deep, lock=_path(lock))


def read_recording(
    name: str, recording: str | int = 0, *, raw: Path | str | None = None, protocol: Protocol | str | None = None
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
    """
    card = load_card(name)
    found = find_recordings(card, raw_root(card, raw))
    if isinstance(recording, int):
        if not -len(found) <= recording < len(found):
            raise OptionError("recording", recording, f"below {len(found)}, the number of recordings of {name}")
        chosen = found[recording]
    else:
        by_id = {entry.id: entry for entry in found}
        if recording not in by_id:
            raise UnknownNameError(f"recording of {name}", recording, by_id)
        chosen = by_id[recording]
    return load_source(card).read(chosen, card, resolve_protocol(card, protocol, {}))


def info(name: str) -> Card:
    """Return the card of a data set: sensors, units, rates, frames, licence, citation, known defects.

    Parameters
    ----------
    name
        Data set, as in :func:`csp_data.names`.

    Returns
    -------
    Card
        Everything that is known of the data set, without touching its recordings.

    Raises
    ------
    UnknownNameError
        For a data set that does not exist; it lists those that do.

    Examples
    --------
    >>> import csp_data
    >>> csp_data.info("sample").licence.id
    'CC-BY-4.0'
    """
    return load_card(name)


def croissant(name: str) -> dict[str, Any]:
    """Return the card of a data set as a Croissant 1.0 document, ready for ``json.dumps``.

    Parameters
    ----------
    name
        Data set, as in :func:`csp_data.names`.

    Returns
    -------
    dict
        JSON-LD, by the vocabulary of Croissant 1.0.

    Raises
    ------
    UnknownNameError
        If there is no such data set.
    """
    return card_croissant(load_card(name))


def cite(name: str | None = None, form: str = "bibtex") -> str:
    """Return how to cite the toolkit, the HiSS paper, and a data set when one is named.

    Parameters
    ----------
    name
        Name of a data set.
    form
        ``"bibtex"``, or ``"cff"`` for a file CITATION.cff (Citation File Format 1.2.0).

    Returns
    -------
    str
        The entries, each once.

    Raises
    ------
    UnknownNameError
        If there is no such data set.
    OptionError
        If ``form`` is neither.
    """
    chosen = () if name is None else (name,)
    if form == "cff":
        return citation.cff(chosen)
    if form != "bibtex":
        raise OptionError("form", form, "bibtex or cff")
    return "\n\n".join(citation.bibtex(chosen)) + "\n"
