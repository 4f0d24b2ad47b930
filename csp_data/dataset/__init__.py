"""What :func:`csp_data.load` returns: a data set, its parts and their episodes, read from a prepared file."""

from csp_data.dataset.dataset import Dataset, check_dataset
from csp_data.dataset.parts import Episode, Split

__all__ = [
    "Dataset",
    "Episode",
    "Split",
    "check_dataset",
]
