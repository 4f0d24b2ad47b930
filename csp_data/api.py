"""The functions of ``import csp_data``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from csp_data._version import __version__
from csp_data.acquire.verify import Report, verify_tree
from csp_data.card import Card, load_card
from csp_data.dataset import Dataset
from csp_data.errors import OptionError
from csp_data.prepare import prepare_card, raw_root
from csp_data.protocol import Protocol, resolve

__all__ = ["cite", "info", "load", "prepare", "verify"]


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
    **overrides: Any,
) -> Path:
    """Prepare a data set: verify, align, resample, filter, split, window, and write one HDF5 file.

    Parameters
    ----------
    name
        Data set, as in :func:`csp_data.names`.
    raw
        Folder of its raw files; by default what ships with the package, or the home's ``raw/<name>``.
    protocol
        A :class:`~csp_data.Protocol` or the name of one; by default the card's.
    out
        File to write; by default one in the home, named by the recipe and made only once.
    jobs
        Recordings read at once.
    progress
        Show a progress bar on stderr.
    **overrides
        Fields of the protocol to change.

    Returns
    -------
    Path
        The prepared file.
    """
    card = load_card(name)
    chosen = resolve_protocol(card, protocol, overrides)
    return prepare_card(card, chosen, raw=raw, out=out, jobs=jobs, progress=progress)


def load(
    name: str | None = None,
    *,
    path: Path | str | None = None,
    raw: Path | str | None = None,
    protocol: Protocol | str | None = None,
    jobs: int = 1,
    **overrides: Any,
) -> Dataset:
    """Load a data set, preparing it on first use. Nothing is downloaded.

    Parameters
    ----------
    name
        Data set, as in :func:`csp_data.names`.
    path
        A prepared file to load as it is, instead of a name.
    raw, protocol, jobs, **overrides
        As in :func:`prepare`.

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
        return Dataset(path)
    assert name is not None
    return Dataset(prepare(name, raw=raw, protocol=protocol, jobs=jobs, **overrides))


def verify(name: str, *, raw: Path | str | None = None, deep: bool = False) -> Report:
    """Compare the raw files of a data set with its card.

    Parameters
    ----------
    name
        Data set.
    raw
        Folder of its raw files.
    deep
        Read every byte again and open every recording, instead of trusting unchanged files.
    """
    card = load_card(name)
    return verify_tree(card, raw_root(card, raw), deep=deep)


def info(name: str) -> Card:
    """Return the card of a data set: sensors, units, rates, frames, licence, citation, known defects."""
    return load_card(name)


def cite(name: str | None = None) -> str:
    """Return BibTeX: of the toolkit and the HiSS paper, and of a data set when one is named."""
    entries = [
        f"""@software{{csp_data,
  author  = {{{{The csp-data developers}}}},
  title   = {{csp-data: sensor recordings to trained sequence models}},
  version = {{{__version__}}},
  year    = {{2026}}
}}""",
        """@inproceedings{bhirangi2024hiss,
  author    = {Bhirangi, Raunaq and Wang, Chenyu and Pattabiraman, Venkatesh and Majidi, Carmel and Gupta, Abhinav
               and Hellebrekers, Tess and Pinto, Lerrel},
  title     = {Hierarchical State Space Models for Continuous Sequence-to-Sequence Modeling},
  booktitle = {International Conference on Machine Learning},
  year      = {2024},
  eprint    = {2402.10211},
  archivePrefix = {arXiv}
}""",
    ]
    if name is not None:
        entries.append(load_card(name).citation.bibtex.strip())
    return "\n\n".join(entries) + "\n"
