"""Sensor recordings for continuous sequence-to-sequence prediction (CSP).

The main functions, each with examples in its own documentation:

- :func:`load` gives a data set ready to use: ``ds.train[0].inputs``, ``ds.to_torch("train")``, ``ds.plot()``.
- :func:`names` lists the data sets, :func:`info` gives the card of one (sensors, units, licence), :func:`cite` its
  citation.
- :func:`download` and :func:`import_raw` bring raw files here, :func:`verify` checks them, :func:`prepare` makes
  the one HDF5 file that ``load`` reads.
- :class:`Protocol` holds every choice between raw recordings and examples; ``load`` and ``prepare`` take its
  fields as keywords: ``lowpass=LowPass(hz=5)``, ``input_hz=100``, ``window=Window(seconds=10)``.
- :class:`Source` says what a reader of your own is, :func:`register` adds it, :func:`check_source` checks it.
  :func:`input_episodes` prepares recordings without a measured truth.
- ``csp_data.errors`` has all errors, children of :class:`CspDataError`; ``csp_data.plot`` the figures, and
  ``csp_data.adapters`` what hands data to torch, pandas, xarray and Hugging Face. Modules are imported when they
  are first used.

``sample``, eight minutes of real recordings, ships with the package:

>>> import csp_data
>>> ds = csp_data.load("sample", lowpass=csp_data.LowPass(hz=5))
>>> ds.channels.names
('acc_x', 'acc_y', 'acc_z', 'gyr_x', 'gyr_y', 'gyr_z')
>>> ds.train[0].inputs.shape, ds.train[0].targets.shape
((1840, 6), (184, 3))
"""

from types import ModuleType
from typing import TYPE_CHECKING

from csp_data import errors, normalization
from csp_data._version import __version__
from csp_data.api import cite, croissant, info, load, prepare
from csp_data.api.raw import download, import_raw, read_recording, verify
from csp_data.authoring.conformity import check_source
from csp_data.card import Card, names
from csp_data.dataset import Dataset, Episode, Split
from csp_data.errors import CspDataError, DamagedRecordingError
from csp_data.modules import modules_when_used
from csp_data.normalization import Normalization, Scaling
from csp_data.prepare.unlabelled import InputEpisode, input_episodes
from csp_data.protocol import PAPER, STRICT, Protocol
from csp_data.recording import Note, Recording, Stream
from csp_data.resplit import Resplit
from csp_data.signal.lowpass import LowPass
from csp_data.signal.moving import compare_moving
from csp_data.signal.turning import compare_turning
from csp_data.simulate import simulate
from csp_data.sources import Found, Source, register
from csp_data.windows import Window

if TYPE_CHECKING:  # modules under a name of their own, which makes them public for type checkers
    from csp_data import adapters as adapters
    from csp_data import plot as plot
    from csp_data import predictions as predictions

__all__ = [
    "PAPER",
    "STRICT",
    "Card",
    "CspDataError",
    "DamagedRecordingError",
    "Dataset",
    "Episode",
    "Found",
    "InputEpisode",
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
    "compare_moving",
    "compare_turning",
    "croissant",
    "download",
    "errors",
    "import_raw",
    "info",
    "input_episodes",
    "load",
    "names",
    "normalization",
    "prepare",
    "read_recording",
    "register",
    "simulate",
    "verify",
]


if not TYPE_CHECKING:  # with this, a type checker would take any name for one that is there
    __getattr__ = modules_when_used(__name__)


def __dir__() -> list[str]:
    loaded = {name for name, value in globals().items() if isinstance(value, ModuleType) and name[0] != "_"}
    return sorted({*(name for name in globals() if name.startswith("__")), *__all__, *loaded})
