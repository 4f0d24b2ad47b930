"""Pictures of recordings, data sets, filters and predictions (needs matplotlib).

Every ``plot_*`` function draws into axes that you pass and returns them; ``FIGURES`` holds the whole figures that
``csp-data plot`` writes and :meth:`csp_data.Dataset.plot` returns.
"""

from csp_data.errors import MissingExtraError

try:
    import matplotlib as _matplotlib  # noqa: F401  # asked for once, here, so that its absence is one clear error
except ImportError as error:
    raise MissingExtraError("Plotting", "matplotlib", "plot") from error

from csp_data.plot.figures import FIGURES, draw, recording_figure
from csp_data.plot.filters import plot_delay, plot_gain
from csp_data.plot.raw import plot_clock, plot_coverage, plot_stream
from csp_data.plot.results import plot_drift, plot_prediction, plot_trajectory
from csp_data.plot.runs import (
    Difference,
    plot_cost,
    plot_differences,
    plot_errors,
    plot_learning,
    plot_settings,
)
from csp_data.plot.sets import plot_splits
from csp_data.plot.signals import plot_channels, plot_lowpass, plot_spectra
from csp_data.plot.style import COLOURS, looks, save

__all__ = [
    "COLOURS",
    "FIGURES",
    "Difference",
    "draw",
    "looks",
    "plot_channels",
    "plot_clock",
    "plot_cost",
    "plot_coverage",
    "plot_delay",
    "plot_differences",
    "plot_drift",
    "plot_errors",
    "plot_gain",
    "plot_learning",
    "plot_lowpass",
    "plot_prediction",
    "plot_settings",
    "plot_spectra",
    "plot_splits",
    "plot_stream",
    "plot_trajectory",
    "recording_figure",
    "save",
]
