"""The prepared HDF5 file: the only package that knows its layout (docs/format.md)."""

from csp_data.store.layout import FORMAT_VERSION, Channels, EpisodeRow, Header, Index
from csp_data.store.reader import Prepared, found_damaged, read_header, read_recipe
from csp_data.store.writer import Writer

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
    "read_recipe",
]
