"""Look at how a prepared file holds its texts before HDF5 reads them: a damaged one can keep it busy for ever.

Texts lie in global heap collections (section III.E of the HDF5 file format). They have no checksum, and HDF5 walks
through them without looking whether it gets on; a text's length, which has none either, it takes memory for.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np

__all__ = ["check_strings"]

PARTS = {"inputs": h5py.Dataset, "targets": h5py.Dataset, "episodes": h5py.Group}
COLLECTION, OBJECT = 16, 16
"""Bytes of the heads of a collection, and of an object in it."""
HEAD = struct.Struct("<H6xQ")
"""Of an object: its number in the collection, and its length."""
MAGIC = b"GCOL\x01"
REFERENCE = np.dtype([("length", "<u4"), ("address", "<u8"), ("object", "<u4")])
"""How a table holds a text."""


def check_strings(file: h5py.File, path: Path) -> None:
    """Refuse texts whose heaps have no end, or whose lengths are beyond what the heaps hold.

    Raises
    ------
    ValueError
        Saying where.
    """
    if not all(isinstance(file.get(name), kind) for name, kind in PARTS.items()):
        return  # it is no file of ours, which is said of it later
    size, room = path.stat().st_size, 0
    with path.open("rb") as stream:
        for start, stop in _gaps(sorted(_samples(file)), size):
            stream.seek(start)
            block = stream.read(stop - start)
            place = block.find(MAGIC)
            while place >= 0:
                length = int.from_bytes(block[place + 8 : place + 16], "little")
                if not COLLECTION < length <= len(block) - place:
                    raise ValueError(f"the heap of texts at byte {start + place} has no possible length: {length}")
                _check_objects(block[place : place + length], start + place)
                room += length
                place = block.find(MAGIC, place + 1)
        for name in file["episodes"]:
            data = file["episodes"][name]
            offset = data.id.get_offset() if h5py.check_string_dtype(data.dtype) else None
            if offset is not None:
                stream.seek(offset)
                raw = stream.read(REFERENCE.itemsize * data.size)
                texts = np.frombuffer(raw[: len(raw) // REFERENCE.itemsize * REFERENCE.itemsize], REFERENCE)
                if (promised := int(texts["length"].sum(dtype=np.int64))) > room:
                    raise ValueError(f"/episodes/{name} promises {promised} bytes of text, the file holds {room}")


def _samples(file: h5py.File) -> Iterator[tuple[int, int]]:
    """Yield where the large arrays lie, first byte and one past the last: there are no heaps in them."""
    for name in ("inputs", "targets"):
        data = file[name].id
        if data.get_create_plist().get_layout() == h5py.h5d.CHUNKED:
            chunks: list[h5py.h5d.StoreInfo] = []
            data.chunk_iter(chunks.append)
            yield from ((chunk.byte_offset, chunk.byte_offset + chunk.size) for chunk in chunks)
        elif (offset := data.get_offset()) is not None:
            yield offset, offset + data.get_storage_size()


def _gaps(taken: list[tuple[int, int]], size: int) -> Iterator[tuple[int, int]]:
    end = 0
    for start, stop in [*taken, (size, size)]:
        if start > end:
            yield end, start
        end = max(end, stop)


def _check_objects(heap: bytes, address: int) -> None:
    """Walk through a collection as HDF5 does, which does not look whether it gets on."""
    place = COLLECTION
    while place + OBJECT <= len(heap):
        number, length = HEAD.unpack_from(heap, place)
        step = OBJECT + -(-length // 8) * 8 if number else length
        if not 0 < step <= len(heap) - place:
            raise ValueError(f"text {number} of the heap at byte {address} has no possible length: {length}")
        place += step
