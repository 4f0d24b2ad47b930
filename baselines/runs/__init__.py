"""The folder of a run: what was asked, where it ran, what came out, and what a stream must know of the data."""

from typing import TYPE_CHECKING

from csp_data.modules import modules_when_used

if not TYPE_CHECKING:  # with this, a type checker would take any name for one that is there
    __getattr__ = modules_when_used(__name__)
