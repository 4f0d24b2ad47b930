"""The functions of ``import csp_data``: on data sets, and on their raw files."""

from csp_data.api.datasets import cite, croissant, info, load, prepare
from csp_data.api.raw import download, import_raw, read_recording, verify

__all__ = [
    "cite",
    "croissant",
    "download",
    "import_raw",
    "info",
    "load",
    "prepare",
    "read_recording",
    "verify",
]
