"""Sphinx: ``pip install -e '.[docs]' && sphinx-build -W -b html docs OUTPUT``."""

from rootstock import __version__

project = "Rootstock"
author = "The Rootstock developers"
release = __version__
extensions = ["myst_parser"]
html_theme = "furo"
myst_heading_anchors = 3
exclude_patterns = ["_build"]
# Links lead into the repository, and index.md links to all pages.
suppress_warnings = ["myst.xref_missing", "toc.not_included"]
