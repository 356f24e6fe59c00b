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

extensions = [
    "from_code",
    "house",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_gallery.gen_gallery",
]
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings say more: shapes and units
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_custom_sections = [("Inputs", "params_style"), ("Outputs", "params_style")]
html_theme = "furo"
html_title = f"dmri7t {release}"
exclude_patterns = ["_build", "tutorials"]
nitpicky = True
# types of parameters are words such as "ndarray (3,)", not names to link to
nitpick_ignore_regex = [("py:class", ".*")]
suppress_warnings = ["ref.python"]  # and some of these words are names in two modules
smartquotes = False
highlight_language = "none"

# the tutorials: scripts that run while this is built, and become pages in gallery/
sphinx_gallery_conf = {
    "examples_dirs": "tutorials",
    "gallery_dirs": "gallery",
    "filename_pattern": r"/\d_",
    "ignore_pattern": r"^tutorial\.py$",  # what they share
    "within_subsection_order": "FileNameSortKey",
    "capture_repr": (),
    "notebook_extensions": set(),
    "download_all_examples": False,
    "show_signature": False,
    "write_computation_times": False,
    "min_reported_time": 3600,  # how long a page took on some machine is of no use
}
