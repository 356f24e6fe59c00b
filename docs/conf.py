"""Settings of the documentation."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "_ext"), str(HERE.parent), str(HERE.parent / "workflows")]

import dmri7t  # noqa: E402

project = "dmri7t"
author = "The dmri7t developers"
copyright = "the dmri7t developers, Apache-2.0"
release = version = dmri7t.__version__

extensions = ["from_code"]
html_theme = "furo"
html_title = f"dmri7t {release}"
exclude_patterns = ["_build"]
nitpicky = True
smartquotes = False
highlight_language = "none"
