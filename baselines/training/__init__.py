"""Train one model: batches, the step, the loop, its checkpoint, and the measures of error."""

from typing import TYPE_CHECKING

from csp_data.modules import modules_when_used

if not TYPE_CHECKING:  # with this, a type checker would take any name for one that is there
    __getattr__ = modules_when_used(__name__)
