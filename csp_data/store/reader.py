"""Read a prepared file: its tables at once, samples when they are asked for."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from csp_data._version import __version__
from csp_data.errors import StoreError
from csp_data.files import check_file, check_stored, open_hdf5
from csp_data.normalization import Affine, Normalization
from csp_data.store.layout import (
    CRC32,
    FORMAT,
    FORMAT_VERSION,
    WINDOW_COLUMNS,
    Channels,
    EpisodeRow,
    Header,
    Index,
    crc32,
)
from csp_data.store.strings import check_strings
from csp_data.terminal import with_control

__all__ = ["Prepared", "found_damaged", "read_header", "read_recipe"]

FAULTS = (AttributeError, LookupError, OSError, OverflowError, RuntimeError, TypeError, ValueError)
"""What h5py, numpy or a decoder of text raises over a damaged file, with a group in the place of an array, say."""
ARRAYS = ("inputs", "targets")
KINDS = {"str": "O", "int": "iu", "float": "f"}
"""Of columns of the tables, as numpy calls them."""
PREPARE_AGAIN = "Prepare it again with the same options: csp-data prepare NAME."
READ_BYTES = 1 << 20
"""Of an episode, read at a time only to compare it with its checksum."""
CHECK_RIGHTS = "Check its rights, its disk, and how many files are open at once (ulimit -n)."


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    """Open a prepared file, turning whatever is wrong with it into a StoreError."""
    try:
        check_file(path)
        file = open_hdf5(path)
    except FileNotFoundError as error:
        raise StoreError(path, "there is no such file", PREPARE_AGAIN) from error
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else error  # HDF5 itself says it in several lines
        raise StoreError(path, f"cannot be read as HDF5 ({why})", PREPARE_AGAIN) from error
    with file, found_damaged(path):
        _check_links(file)
        check_strings(file, path)
        if file.attrs.get("format") != FORMAT:
            raise StoreError(
                path, "is not a file prepared by csp-data", "Raw files are prepared by the data set's name."
            )
        version = int(file.attrs.get("format_version", 0))
        if version > FORMAT_VERSION:
            raise StoreError(
                path,
                f"has format version {version}, this csp-data {__version__} reads up to {FORMAT_VERSION}",
                "Upgrade csp-data, or prepare the file again with this version.",
            )
        yield file


@contextmanager
def found_damaged(path: Path) -> Iterator[None]:
    """Turn what is raised over a damaged prepared file into a StoreError."""
    try:
        yield
    except FAULTS as error:
        or_older = " or of an earlier version" if isinstance(error, KeyError) else ""  # which lacks what is read
        raise StoreError(path, f"is damaged{or_older} ({error})", PREPARE_AGAIN) from error


def read_header(path: Path) -> Header:
    """Read only the root attributes of a prepared file."""
    with _opened(path) as file:
        return _header(file)


def read_recipe(path: Path) -> tuple[str, int]:
    """Read only which recipe made a prepared file: its hash, and the number of its checks of raw inputs."""
    with _opened(path) as file:
        return _recipe(file)


def _recipe(file: h5py.File) -> tuple[str, int]:
    return str(file.attrs["recipe_hash"]), int(file.attrs.get("input_checks", 0))


def _header(file: h5py.File) -> Header:
    values = {name: file.attrs[name] for name in Header.__dataclass_fields__ if name != "input_checks"}
    values["format_version"] = int(values["format_version"])
    _check_text(*(value for name, value in values.items() if name != "format_version"))
    return Header(**values, input_checks=_recipe(file)[1])


class Prepared:
    """A prepared file, opened for reading. Only tables are read at once; samples are read when asked for.

    The first time that samples of an episode are read, all of its samples are compared with their checksum.
    Picklable: a copy in another process opens the file for itself.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    StoreError
        If it is missing, damaged, not a prepared file, or of a newer format.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._absolute_path = path.absolute()  # it is opened later, perhaps from another folder
        self._open: tuple[h5py.File, dict[str, Any]] | None = None
        self._extents: dict[str, tuple[list[int], list[int]]] = {}
        self._unchecked: dict[str, set[int]] = {}
        with _opened(path) as file:
            file.visititems(_check_array)
            windows = (
                [_column(file["windows"][name], "int") for name in WINDOW_COLUMNS] if "windows" in file else None
            )
            self.index = Index(
                header=_header(file),
                inputs=_channels(file["inputs"]),
                targets=_channels(file["targets"]),
                episodes=_episodes(file["episodes"]),
                windows=None if windows is None else np.stack(windows, axis=1),
                normalization=Normalization(*(_affine(file[f"normalization/{name}"]) for name in ARRAYS)),
                crc32={
                    name: _column(file["episodes"][column], "int").astype(np.uint32)
                    for name, column in CRC32.items()
                    if column in file["episodes"]
                },
            )
            _check_tables(self.index, {name: file[name].shape for name in ARRAYS})
            expected = file.attrs.get("tables_crc32")  # files of earlier versions have no checksums
            if expected is not None and int(expected) != self.index.tables_crc32():
                raise ValueError("its tables have another checksum than when they were written")
        for name in self.index.crc32:
            starts, stops = (
                [getattr(row, f"{name[:-1]}_{end}") for row in self.index.episodes] for end in ("start", "stop")
            )
            self._extents[name] = starts, stops
            self._unchecked[name] = set(range(len(starts)))

    def read(self, name: str, start: int, stop: int) -> npt.NDArray[np.float32]:
        """Read rows ``[start, stop)`` of ``"inputs"`` or ``"targets"``; fewer where the array ends before.

        Raises
        ------
        StoreError
            If the file is damaged, or cannot be read any more.
        """
        values = self._read(name, start, stop)
        if self._unchecked.get(name) and len(values):
            self._check(name, start, values)
        return values

    def check(self) -> None:
        """Compare all samples with their checksums, where the file has any; errors as for :meth:`read`."""
        for name, unchecked in self._unchecked.items():
            for episode in sorted(unchecked):
                start = self._extents[name][0][episode]
                self.read(name, start, start + 1)

    def _check(self, name: str, start: int, values: npt.NDArray[np.float32]) -> None:
        """Compare each episode of which these rows are the first to be read with its checksum, as a whole."""
        starts, stops = self._extents[name]
        stop, unchecked = start + len(values), self._unchecked[name]
        for episode in range(bisect_right(stops, start), len(stops)):
            first, last = starts[episode], stops[episode]
            if first >= stop:
                break
            if episode not in unchecked:
                continue
            if start <= first and last <= stop:
                checksum = crc32(values[first - start : last - start], "<f4")
            else:
                checksum, step = 0, max(1, READ_BYTES // (4 * values.shape[1]))
                for row in range(first, last, step):
                    checksum = crc32(self._read(name, row, min(row + step, last)), "<f4", checksum)
            if checksum != self.index.crc32[name][episode]:
                id_ = self.index.episodes[episode].id
                raise StoreError(
                    self.path,
                    f"is damaged ({name} of episode {id_} have another checksum than when they were written)",
                    PREPARE_AGAIN,
                )
            unchecked.discard(episode)

    def _read(self, name: str, start: int, stop: int) -> npt.NDArray[np.float32]:
        opened = self._open  # looked at once: another thread may open or close the file meanwhile
        try:
            if opened is None:
                opened = self._open = self._open_again()
            try:
                return _rows(opened[1][name], start, stop)
            except FAULTS:
                if opened[0]:
                    raise
                # closed by another thread while it was read: once more, from a file that nobody else knows
                file, arrays = self._open_again()
                with file:
                    return _rows(arrays[name], start, stop)
        except FileNotFoundError as error:
            raise StoreError(self.path, "is no longer there", PREPARE_AGAIN) from error
        except FAULTS as error:
            if isinstance(error, OSError) and error.errno:  # the system's word, not HDF5's of what the file holds
                raise StoreError(
                    self.path, f"cannot be read ({os.strerror(error.errno)})", CHECK_RIGHTS
                ) from error
            raise StoreError(self.path, f"is damaged ({error})", PREPARE_AGAIN) from error

    def _open_again(self) -> tuple[h5py.File, dict[str, Any]]:
        """Open the file whose tables were read; not one that has come in its place, whose rows are others."""
        # no cache of chunks: they are not compressed, so any rows are read from where they lie, and only they
        file = open_hdf5(self._absolute_path, rdcc_nbytes=0)
        if _recipe(file) != (self.index.header.recipe_hash, self.index.header.input_checks):
            file.close()
            raise StoreError(self.path, "is another file than was loaded: it was prepared anew", "Load it again.")
        return file, {name: file[name].id for name in ARRAYS}

    def close(self) -> None:
        """Close the file; it is opened again when samples are asked for, also by a thread that reads some now."""
        opened, self._open = self._open, None
        if opened is not None:
            opened[0].close()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": None}


def _check_links(file: h5py.File) -> None:
    """Refuse links to other files, before one is followed."""
    within = (h5py.h5l.TYPE_HARD, h5py.h5l.TYPE_SOFT)
    outside = file.id.links.visit(lambda name, link: name if link.type not in within else None, info=True)
    if outside is not None:
        raise ValueError(f"/{outside.decode(errors='replace')} is a link to another file")


def _check_array(name: str, item: h5py.Dataset | h5py.Group) -> None:
    if isinstance(item, h5py.Dataset):
        try:
            check_stored(item.id, item.nbytes)
        except ValueError as error:
            raise ValueError(f"/{name}: {error}") from error


def _rows(data: Any, start: int, stop: int) -> npt.NDArray[np.float32]:
    rows, width = data.shape
    start, stop, _ = slice(start, stop).indices(rows)
    values = np.empty((max(0, stop - start), width), dtype=np.float32)
    if len(values):
        # h5py's low-level interface: a call costs a tenth of a slice, which is as much as a short episode
        space = data.get_space()
        space.select_hyperslab((start, 0), values.shape)
        data.read(h5py.h5s.create_simple(values.shape), space, values)
    return values


def _channels(data: h5py.Dataset) -> Channels:
    names, units = tuple(data.attrs["channels"]), tuple(data.attrs["units"])
    _check_text(*names, *units)
    return Channels(names, units, float(data.attrs["rate_hz"]))


def _affine(group: h5py.Group) -> Affine:
    return Affine(_column(group["shift"], "float"), _column(group["scale"], "float"))


def _check_text(*values: object) -> None:
    for value in values:
        if not isinstance(value, str) or with_control(value) is not None:
            raise TypeError(f"{value!r} is no text")


def _episodes(group: h5py.Group) -> tuple[EpisodeRow, ...]:
    columns = [
        _column(group[name], str(field.type)).tolist() for name, field in EpisodeRow.__dataclass_fields__.items()
    ]
    return tuple(EpisodeRow(*values) for values in zip(*columns, strict=True))


def _column(data: h5py.Dataset, kind: str) -> npt.NDArray[Any]:
    values = np.asarray(data.asstr()[()] if kind == "str" else data[()])
    if values.ndim != 1 or values.dtype.kind not in KINDS[kind]:
        raise ValueError(f"{data.name} is no list of {kind}")
    if kind == "str":
        _check_text(*values)
    return values


def _check_tables(index: Index, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Refuse tables that do not fit the arrays or each other: other rows than are meant would be read."""
    for name, channels in zip(ARRAYS, (index.inputs, index.targets), strict=True):
        (rows, width), affine = shapes[name], getattr(index.normalization, name)
        if not len(channels.names) == len(channels.units) == width:
            raise ValueError(f"/{name} has {width} columns, another number of names or units")
        if not 0 < channels.rate_hz < np.inf:
            raise ValueError(f"/{name} has a rate of {channels.rate_hz} Hz")
        if name in index.crc32 and len(index.crc32[name]) != len(index.episodes):
            raise ValueError(f"/episodes/{CRC32[name]} is of another number of episodes")
        if len(affine.shift) not in (width, 2 * width) or len(affine.scale) != len(affine.shift):
            raise ValueError(f"/normalization/{name} is of another number of columns")
        if not (np.isfinite(affine.shift) & (affine.scale > 0)).all():
            raise ValueError(f"/normalization/{name} holds what is no shift or scale")
        start, stop = f"{name[:-1]}_start", f"{name[:-1]}_stop"
        ends = np.array([0, *(getattr(row, stop) for row in index.episodes)])
        starts = np.array([*(getattr(row, start) for row in index.episodes), rows])
        if (starts != ends).any() or (np.diff(ends) < 0).any():
            raise ValueError(f"the episodes do not lie end to end in /{name}")
        if index.windows is not None:
            episode, first, last = (
                index.windows[:, WINDOW_COLUMNS.index(column)] for column in ("episode", start, stop)
            )
            if not ((episode >= 0) & (episode < len(index.episodes))).all():
                raise ValueError("a window is of no episode")
            if not ((starts[episode] <= first) & (first <= last) & (last <= ends[episode + 1])).all():
                raise ValueError("a window leaves its episode")
