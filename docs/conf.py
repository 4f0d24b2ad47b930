"""Sphinx settings. The built site loads nothing from outside: no fonts, no scripts, formulas as MathML."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

from csp_data import __version__

project = "csp-data"
author = "The csp-data developers"
copyright = "2026, the csp-data developers"
version = release = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "sphinx_click",
    "sphinx_gallery.gen_gallery",
    "mathml",
    "generated",
]
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["_build", "gallery", "generated/fragments"]
templates_path = ["_templates"]

autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autodoc_type_aliases = {"npt.ArrayLike": "ArrayLike"}
maximum_signature_line_length = 90
autodoc_member_order = "bysource"
autosummary_generate = True
autosummary_imported_members = False
numpydoc_class_members_toctree = False
numpydoc_show_class_members = False

sphinx_gallery_conf = {
    "examples_dirs": "gallery",
    "gallery_dirs": "generated/gallery",
    "filename_pattern": "/plot_",
    "download_all_examples": False,
    "within_subsection_order": "FileNameSortKey",
    "show_memory": False,
    "min_reported_time": 3600,
    "abort_on_example_error": True,
    "write_computation_times": False,
}
suppress_warnings = ["config.cache"]  # of sphinx_gallery_conf

smartquotes_action = "qe"  # quotes and dots; never dashes, which would spoil the options of commands

html_theme = "furo"
html_title = f"csp-data {__version__}"
html_static_path = ["_static"]
html_css_files = ["csp.css"]
html_math_renderer = "mathml"
html_show_sphinx = False
html_show_search_summary = False  # summaries are fetched page by page, which browsers refuse for files on the disk
