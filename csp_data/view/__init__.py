"""A local web page to look at recordings, filters and predictions (needs panel).

Panel carries it: widgets, layout and the page's server in one well-kept library of Python, which serves all its
assets itself (nothing comes from outside) and shows Matplotlib figures, so that the page and :mod:`csp_data.plot`
draw the same pictures.
"""

from pathlib import Path

from csp_data.errors import CspDataError, MissingExtraError

try:
    Path.home()
except RuntimeError as error:  # bokeh looks for its settings there
    raise CspDataError("The viewer needs a home folder, and this user has none. Set HOME to a folder.") from error
try:
    import panel as _panel  # noqa: F401  # asked for once, here, so that its absence is one clear error
except ImportError as error:
    raise MissingExtraError("The viewer", "panel", "view") from error

from csp_data.view.page import build
from csp_data.view.selection import Selection, find_runs
from csp_data.view.server import serve

__all__ = ["Selection", "build", "find_runs", "serve"]
