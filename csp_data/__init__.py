"""Sensor recordings for continuous sequence-to-sequence prediction (CSP).

>>> import csp_data
>>> "sample" in csp_data.names()
True
"""

from csp_data._version import __version__
from csp_data.api import cite, croissant, info, load, prepare
from csp_data.card import Card, names
from csp_data.conformity import check_source
from csp_data.dataset import Dataset, Episode, Split
from csp_data.errors import CspDataError, DamagedRecordingError
from csp_data.normalization import Normalization, Scaling
from csp_data.protocol import PAPER, STRICT, Protocol
from csp_data.raw import download, import_raw, read_recording, verify
from csp_data.recording import Note, Recording, Stream
from csp_data.resplit import Resplit
from csp_data.signal.lowpass import LowPass
from csp_data.simulate import simulate
from csp_data.sources import Found, Source, register
from csp_data.windows import Window

__all__ = [
    "PAPER",
    "STRICT",
    "Card",
    "CspDataError",
    "DamagedRecordingError",
    "Dataset",
    "Episode",
    "Found",
    "LowPass",
    "Normalization",
    "Note",
    "Protocol",
    "Recording",
    "Resplit",
    "Scaling",
    "Source",
    "Split",
    "Stream",
    "Window",
    "__version__",
    "check_source",
    "cite",
    "croissant",
    "download",
    "import_raw",
    "info",
    "load",
    "names",
    "prepare",
    "read_recording",
    "register",
    "simulate",
    "verify",
]
