"""Sphinx settings."""

from csp_data import __version__

project = "csp-data"
author = "The csp-data developers"
copyright = "2026, the csp-data developers"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.mathjax", "numpydoc"]
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]

autodoc_typehints = "none"  # numpydoc sections say it
autodoc_member_order = "bysource"
numpydoc_class_members_toctree = False
numpydoc_show_class_members = False

autosummary_generate = False

html_theme = "furo"
html_title = f"csp-data {__version__}"
