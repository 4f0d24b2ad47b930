"""The prepared HDF5 file: the only module that knows its layout (docs/format.md)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from csp_data._version import __version__
from csp_data.errors import CspDataError, StoreError
from csp_data.normalization import Affine, Normalization
from csp_data.windows import IntArray

__all__ = [
    "FORMAT_VERSION",
    "Channels",
    "EpisodeRow",
    "Header",
    "Index",
    "Prepared",
    "Writer",
    "found_damaged",
    "read_header",
    "read_recipe_hash",
]

FORMAT = "csp-data"
FORMAT_VERSION = 1
CHUNK_BYTES = 1 << 20
FAULTS = (KeyError, OSError, RuntimeError, TypeError, ValueError)
"""What h5py, or a decoder of text, raises over a damaged file."""
AGAIN = "Prepare it again: csp-data prepare NAME."


@dataclass(frozen=True)
class Channels:
    """Names, units and rate of the columns of ``/inputs`` or ``/targets``.

    Parameters
    ----------
    names, units
        One entry a column: its name, and the unit of its values (``"m/s^2"``, ``"rad/s"``, ``"uT"``, ...).
    rate_hz
        Rows a second, in Hz.
    """

    names: tuple[str, ...]
    units: tuple[str, ...]
    rate_hz: float


@dataclass(frozen=True)
class Header:
    """The root attributes of a prepared file: what it was made from, and how.

    ``protocol`` and ``provenance`` are JSON; the latter names every raw file, and is read only when asked for.
    """

    dataset: str
    protocol: str
    recipe_hash: str
    source_digest: str
    provenance: str
    created_by: str = f"csp-data {__version__}"
    format_version: int = FORMAT_VERSION


@dataclass(frozen=True)
class EpisodeRow:
    """Where one episode lies: rows ``[start, stop)`` of inputs and targets, and its time of origin.

    ``start_s`` is the time of the first chunk's beginning on the recording's own clock. A recording with gaps is
    several episodes, numbered behind a dot; ``recording`` is its id. Where that is not known, as of files that do
    not hold it, it is taken from the episode's.
    """

    id: str
    group: str
    split: str
    input_start: int
    input_stop: int
    target_start: int
    target_stop: int
    start_s: float
    recording: str = ""

    def __post_init__(self) -> None:
        if not self.recording:
            name, dot, number = self.id.rpartition(".")
            object.__setattr__(self, "recording", name if dot and number.isdecimal() else self.id)


@dataclass(frozen=True)
class Index:
    """All tables of a prepared file, without its samples.

    ``windows`` has the columns episode, input_start, input_stop, target_start, target_stop (rows of the whole
    arrays), or is ``None``.
    """

    header: Header
    inputs: Channels
    targets: Channels
    episodes: tuple[EpisodeRow, ...]
    windows: IntArray | None
    normalization: Normalization


class Writer:
    """Writes a prepared file to a temporary name beside its own, and renames it when complete.

    Use as a context manager: on an error (a full disk gives a :class:`CspDataError`), or if :meth:`finish` was
    not called, nothing is left behind. What a killed process left is overwritten by the next; callers hold a
    lock, so that there is only one at a time.

    Parameters
    ----------
    path
        The prepared file to be.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.temporary = path.with_name(f".{path.name}.part")
        self.rows: list[EpisodeRow] = []
        self.inputs = self.targets = Channels((), (), 0.0)
        self._arrays: dict[str, _Rows] = {}

    def __enter__(self) -> Writer:
        try:
            self._file = h5py.File(self.temporary, "w", libver="v110")
        except OSError as error:
            raise self._failed(error) from error
        return self

    def begin(self, inputs: Channels, targets: Channels) -> None:
        """Lay out the arrays; before the first episode."""
        self.inputs, self.targets = inputs, targets
        for name, channels in (("inputs", inputs), ("targets", targets)):
            width = len(channels.names)
            data = self._file.create_dataset(
                name,
                (0, width),
                "<f4",
                maxshape=(None, width),
                chunks=(max(1, CHUNK_BYTES // (4 * width)), width),
            )
            data.attrs["channels"] = list(channels.names)
            data.attrs["units"] = list(channels.units)
            data.attrs["rate_hz"] = channels.rate_hz
            self._arrays[name] = _Rows(data)

    def __exit__(self, kind: object, error: BaseException | None, *trace: object) -> None:
        try:
            self._file.close()
        except (OSError, RuntimeError) as at_close:  # of a full disk
            error = error or at_close
        self.temporary.unlink(missing_ok=True)
        # h5py names no file; an error that does is of a file that is read
        if isinstance(error, OSError) and error.filename in (None, str(self.temporary)):
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> CspDataError:
        why = os.strerror(error.errno) if error.errno else str(error)
        return CspDataError(
            f"{self.path} cannot be written: {why}. Make room, or choose another place (-o, CSP_DATA_HOME)."
        )

    def append(
        self,
        id: str,
        group: str,
        start_s: float,
        inputs: npt.ArrayLike,
        targets: npt.ArrayLike,
        recording: str = "",
    ) -> None:
        """Add one episode: inputs (T, C) and targets (T / chunk, D), stored as float32. Its part comes later."""
        of_inputs = self._arrays["inputs"].append(np.asarray(inputs))
        of_targets = self._arrays["targets"].append(np.asarray(targets))
        self.rows.append(EpisodeRow(id, group, "", *of_inputs, *of_targets, start_s, recording))

    def assign(self, splits: Sequence[str]) -> None:
        """Say which part each episode belongs to, in the order in which they were added."""
        self.rows = [replace(row, split=split) for row, split in zip(self.rows, splits, strict=True)]

    def finish(self, header: Header, normalization: Normalization, windows: IntArray | None) -> None:
        """Write what waits and the tables, and give the file its name."""
        for array in self._arrays.values():
            array.finish()
        _write_table(self._file.create_group("episodes"), self.rows)
        if windows is not None:
            group = self._file.create_group("windows")
            for i, name in enumerate(WINDOW_COLUMNS):
                group.create_dataset(name, data=np.asarray(windows[:, i], dtype="<i8"))
        for name in ("inputs", "targets"):
            affine = getattr(normalization, name)
            group = self._file.create_group(f"normalization/{name}")
            group.create_dataset("shift", data=np.asarray(affine.shift, dtype="<f8"))
            group.create_dataset("scale", data=np.asarray(affine.scale, dtype="<f8"))
        self._file.attrs.update({"format": FORMAT, **vars(header)})
        self._file.close()
        with self.temporary.open("rb+") as file:
            os.fsync(file.fileno())
        self.temporary.replace(self.path)


class _Rows:
    """A dataset that grows by rows and is written chunk by chunk, each as it is on the disk.

    HDF5's own way to an array of chunks, through its cache of chunks, takes four times as long.

    Parameters
    ----------
    data
        The dataset, of shape (0, C), without filters.
    """

    def __init__(self, data: h5py.Dataset) -> None:
        self._data = data
        self._chunk = np.zeros(data.chunks, dtype=data.dtype)
        self._length = 0

    def append(self, rows: npt.NDArray[np.floating]) -> tuple[int, int]:
        """Add rows (T, C) and return where they lie: first, and one past the last."""
        begin = self._length
        while len(rows):
            filled = self._length % len(self._chunk)
            taken = rows[: len(self._chunk) - filled]
            self._chunk[filled : filled + len(taken)] = taken
            self._length += len(taken)
            rows = rows[len(taken) :]
            if filled + len(taken) == len(self._chunk):
                self._write()
        return begin, self._length

    def finish(self) -> None:
        """Write what waits."""
        if filled := self._length % len(self._chunk):
            self._chunk[filled:] = 0
            self._write()

    def _write(self) -> None:
        begin = (self._length - 1) // len(self._chunk) * len(self._chunk)
        self._data.resize(self._length, axis=0)
        self._data.id.write_direct_chunk((begin, 0), self._chunk)


WINDOW_COLUMNS = ("episode", "input_start", "input_stop", "target_start", "target_stop")
EPISODE_COLUMNS = tuple(EpisodeRow.__dataclass_fields__)


def _write_table(group: h5py.Group, rows: Iterable[EpisodeRow]) -> None:
    rows = list(rows)
    for name, kind in EpisodeRow.__dataclass_fields__.items():
        values = [getattr(row, name) for row in rows]
        dtype = {"str": h5py.string_dtype(), "int": "<i8", "float": "<f8"}[str(kind.type)]
        group.create_dataset(name, data=np.array(values, dtype=dtype))


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    """Open a prepared file, turning whatever is wrong with it into a StoreError."""
    try:
        file = h5py.File(path, "r")
    except FileNotFoundError as error:
        raise StoreError(path, "there is no such file", AGAIN) from error
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else error  # HDF5 itself says it in several lines
        raise StoreError(path, f"cannot be read as HDF5 ({why})", AGAIN) from error
    with file, found_damaged(path):
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
        raise StoreError(path, f"is damaged ({error})", AGAIN) from error


def read_header(path: Path) -> Header:
    """Read only the root attributes of a prepared file."""
    with _opened(path) as file:
        return _header(file)


def read_recipe_hash(path: Path) -> str:
    """Read only which recipe made a prepared file."""
    with _opened(path) as file:
        return str(file.attrs["recipe_hash"])


def _header(file: h5py.File) -> Header:
    values = {name: file.attrs[name] for name in Header.__dataclass_fields__}
    values["format_version"] = int(values["format_version"])
    return Header(**values)


class Prepared:
    """A prepared file, opened for reading. Only tables are read at once; samples are read when asked for.

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
        self._place = path.absolute()  # it is opened later, perhaps from another folder
        self._handle: h5py.File | None = None
        self._arrays: dict[str, Any] = {}
        with _opened(path) as file:
            self.index = Index(
                header=_header(file),
                inputs=_channels(file["inputs"]),
                targets=_channels(file["targets"]),
                episodes=_episodes(file["episodes"]),
                windows=np.stack([file["windows"][name][()] for name in WINDOW_COLUMNS], axis=1)
                if "windows" in file
                else None,
                normalization=Normalization(
                    *(
                        Affine(file[f"normalization/{name}/shift"][()], file[f"normalization/{name}/scale"][()])
                        for name in ("inputs", "targets")
                    )
                ),
            )

    def read(self, name: str, start: int, stop: int) -> npt.NDArray[np.float32]:
        """Read rows ``[start, stop)`` of ``"inputs"`` or ``"targets"``; fewer where the array ends before."""
        try:
            return self._read(name, start, stop)
        except FileNotFoundError as error:
            raise StoreError(self.path, "is no longer there", AGAIN) from error
        except FAULTS as error:
            raise StoreError(self.path, f"is damaged ({error})", AGAIN) from error

    def _read(self, name: str, start: int, stop: int) -> npt.NDArray[np.float32]:
        if self._handle is None:
            # no cache of chunks: they are not compressed, so any rows are read from where they lie, and only they
            handle = self._reopened()
            self._arrays = {name: handle[name].id for name in ("inputs", "targets")}
            self._handle = handle  # last: another thread may look at it meanwhile
        data = self._arrays[name]
        rows, width = data.shape
        start, stop, _ = slice(start, stop).indices(rows)
        values = np.empty((max(0, stop - start), width), dtype=np.float32)
        if len(values):
            # h5py's low-level interface: a call costs a tenth of a slice, which is as much as a short episode
            space = data.get_space()
            space.select_hyperslab((start, 0), values.shape)
            data.read(h5py.h5s.create_simple(values.shape), space, values)
        return values

    def _reopened(self) -> h5py.File:
        """Open the file whose tables were read; not one that has come in its place, whose rows are others."""
        file = h5py.File(self._place, "r", rdcc_nbytes=0)
        if str(file.attrs["recipe_hash"]) != self.index.header.recipe_hash:
            file.close()
            raise StoreError(self.path, "is another file than was loaded: it was prepared anew", "Load it again.")
        return file

    def close(self) -> None:
        """Close the file; it is opened again when samples are asked for."""
        if self._handle is not None:
            self._handle.close()
            self._handle, self._arrays = None, {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_handle": None, "_arrays": {}}


def _channels(data: h5py.Dataset) -> Channels:
    return Channels(tuple(data.attrs["channels"]), tuple(data.attrs["units"]), float(data.attrs["rate_hz"]))


def _episodes(group: h5py.Group) -> tuple[EpisodeRow, ...]:
    columns = []
    for name, kind in EpisodeRow.__dataclass_fields__.items():
        if name == "recording" and name not in group:
            continue
        data = group[name]
        columns.append(data.asstr()[()].tolist() if str(kind.type) == "str" else data[()].tolist())
    return tuple(EpisodeRow(*values) for values in zip(*columns, strict=True))
