"""The site: sphinx-build -W -b html docs docs/_build/html"""

import sys
from pathlib import Path

import fastopt

sys.path.insert(0, str(Path(__file__).parent / "_extensions"))

project = "fastopt"
author = "the fastopt developers"
release = version = fastopt.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "pictures",
    "rules",
]
exclude_patterns = ["_build"]
default_role = "code"

myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_preserve_defaults = True
numpydoc_show_class_members = False

html_theme = "furo"
html_title = "fastopt"
# Lines of a hundred characters, as the code has them, fit.
html_theme_options = {
    "light_css_variables": {"code-font-size": "73%"},
    "dark_css_variables": {"code-font-size": "73%"},
}
html_static_path = ["_static"]
html_css_files = ["tables.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_copyright = False
