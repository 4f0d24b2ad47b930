"""The main functions of ``import csp_data``: prepare, load, describe and cite data sets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from csp_data.api.raw import download as fetch
from csp_data.card import Card, load_card
from csp_data.dataset import Dataset
from csp_data.describe import citation
from csp_data.describe.croissant import croissant as card_croissant
from csp_data.errors import OptionError
from csp_data.home import expanded
from csp_data.prepare import prepare_card
from csp_data.protocol import Protocol, resolve

__all__ = ["cite", "croissant", "info", "load", "prepare"]


def prepare(
    name: Path | str,
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

    A file that the same recipe has made is kept, unless it is damaged; then it is made again. To know that, it is
    read once. Its layout is described in the documentation under "The prepared file".

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
        If there is no such data set or protocol, or none of a name in a field: a stream, a target, a split.
    OptionError
        If a field does not exist, or has a value out of bounds.
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
    chosen = resolve(card, protocol).replace(**overrides)
    return prepare_card(card, chosen, raw=raw, out=out, jobs=jobs, progress=progress, skip_damaged=skip_damaged)


def load(
    name: Path | str | None = None,
    *,
    path: Path | str | None = None,
    raw: Path | str | None = None,
    protocol: Protocol | str | None = None,
    jobs: int = 1,
    progress: bool = False,
    skip_damaged: bool = False,
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
    progress
        Show a progress bar on stderr while it is downloaded or prepared.
    skip_damaged
        Leave damaged recordings out when the data set has to be prepared, as :func:`prepare` does.
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
        targets of shape (T / chunk, D), both float32 in physical units. Samples are read from the file on access,
        and an episode's are compared with their checksum when the first of them are: if the file is damaged, that
        raises :class:`~csp_data.StoreError`, too.

    Raises
    ------
    OptionError
        If both or neither of ``name`` and ``path`` are given, if an option has a value out of bounds, or if there
        is no field of a name.
    UnknownNameError
        If there is no such data set or protocol, or none of a name in a field: a stream, a target, a split.
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
        if raw is not None or protocol is not None or skip_damaged or overrides:
            raise OptionError(
                "path",
                str(path),
                "no raw, protocol, skip_damaged or protocol fields beside it",
                "The file has its own.",
            )
        return Dataset(expanded(path))
    assert name is not None
    if download:
        fetch(name, raw=raw, accept_licence=accept_licence, progress=progress)
    card = load_card(name)
    chosen = resolve(card, protocol).replace(**overrides)
    return Dataset(
        prepare_card(card, chosen, raw=raw, jobs=jobs, progress=progress, skip_damaged=skip_damaged, check=False)
    )


def info(name: Path | str) -> Card:
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


def croissant(name: Path | str) -> dict[str, Any]:
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


def cite(name: str | None = None, format: str = "bibtex") -> str:
    """Return how to cite the toolkit, the HiSS paper, and a data set when one is named.

    Parameters
    ----------
    name
        Name of a data set.
    format
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
        If `format` is neither.
    """
    chosen = () if name is None else (name,)
    if format == "cff":
        return citation.cff(chosen)
    if format != "bibtex":
        raise OptionError("format", format, "bibtex or cff")
    return "\n\n".join(citation.bibtex(chosen)) + "\n"
