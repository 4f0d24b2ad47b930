"""Write a prepared file: whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt

from csp_data.errors import CspDataError
from csp_data.normalization import Normalization
from csp_data.store.layout import CRC32, FORMAT, WINDOW_COLUMNS, Channels, EpisodeRow, Header, Index, crc32
from csp_data.windows import IntArray

__all__ = ["Writer"]

CHUNK_BYTES = 1 << 20


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
            self.temporary.unlink(missing_ok=True)
            self._file = h5py.File(self.temporary, "x", libver="v110")  # not through a link that others put there
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
        recording: str,
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
        episodes = self._file.create_group("episodes")
        _write_table(episodes, self.rows)
        for name, column in CRC32.items():
            episodes.create_dataset(column, data=np.array(self._arrays[name].checksums, dtype="<u4"))
        if windows is not None:
            group = self._file.create_group("windows")
            for i, name in enumerate(WINDOW_COLUMNS):
                group.create_dataset(name, data=np.asarray(windows[:, i], dtype="<i8"))
        for name in ("inputs", "targets"):
            affine = getattr(normalization, name)
            group = self._file.create_group(f"normalization/{name}")
            group.create_dataset("shift", data=np.asarray(affine.shift, dtype="<f8"))
            group.create_dataset("scale", data=np.asarray(affine.scale, dtype="<f8"))
        index = Index(header, self.inputs, self.targets, tuple(self.rows), windows, normalization)
        self._file.attrs.update({"format": FORMAT, **vars(header), "tables_crc32": index.tables_crc32()})
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
        self.checksums: list[int] = []

    def append(self, rows: npt.NDArray[np.floating]) -> tuple[int, int]:
        """Add rows (T, C) with a checksum of their own; return where they lie: first, and one past the last."""
        begin, checksum = self._length, 0
        while len(rows):
            filled = self._length % len(self._chunk)
            taken = rows[: len(self._chunk) - filled]
            self._chunk[filled : filled + len(taken)] = taken
            checksum = crc32(self._chunk[filled : filled + len(taken)], "<f4", checksum)
            self._length += len(taken)
            rows = rows[len(taken) :]
            if filled + len(taken) == len(self._chunk):
                self._write()
        self.checksums.append(checksum)
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


def _write_table(group: h5py.Group, rows: Iterable[EpisodeRow]) -> None:
    rows = list(rows)
    for name, kind in EpisodeRow.__dataclass_fields__.items():
        values = [getattr(row, name) for row in rows]
        dtype = {"str": h5py.string_dtype(), "int": "<i8", "float": "<f8"}[str(kind.type)]
        group.create_dataset(name, data=np.array(values, dtype=dtype))
