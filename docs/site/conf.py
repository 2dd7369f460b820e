"""Sphinx's settings for the site; ``docs/build.py`` lays out the pages and calls Sphinx with this folder."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import minirnn

project = "minirnn"
author = "The minirnn authors"
project_copyright = "the minirnn authors"
release = version = minirnn.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "annotated", "mathml"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # what a block prints stands below it already, and the test suite holds it to that
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings say what they are, with shapes
napoleon_google_docstring = False

highlight_language = "none"  # equations and shell lines are no Python; what is Python says so
html_theme = "furo"
html_title = "minirnn"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
