"""Sphinx configuration."""

import os
import shutil
from pathlib import Path

import geoxr

# Threads of torch that wait in notebooks should not keep the cores from those that work.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

HERE = Path(__file__).parent
NOTEBOOKS = HERE.parent / "notebooks"

project = "geoxr"
author = "geoxr developers"
copyright = "2026, geoxr developers"
version = release = geoxr.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_design",
]
exclude_patterns = ["_build", "**/.ipynb_checkpoints"]

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

# Notebooks are stored without outputs. They run once per change, and an error in one is an error.
nb_execution_mode = "cache"
nb_execution_timeout = 600
nb_execution_raise_on_error = True
nb_execution_in_temp = True  # files that a notebook writes do not end up beside it
nb_merge_streams = True

autosummary_generate = True
autodoc_typehints = "none"  # types are in the docstrings, with shapes and units
autodoc_member_order = "bysource"
napoleon_google_docstring = False
napoleon_use_rtype = False

html_theme = "pydata_sphinx_theme"
html_title = "geoxr"
html_theme_options = {
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "show_prev_next": False,
}

# Prompts and outputs are not copied with the code.
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True


def copy_notebooks(app):
    """Bring the notebooks below the source directory, since Sphinx reads nothing outside of it."""
    target = HERE / "_notebooks"
    target.mkdir(exist_ok=True)
    sources = {path.name: path for path in NOTEBOOKS.glob("*.ipynb")}
    for path in target.glob("*.ipynb"):
        if path.name not in sources:
            path.unlink()
    for name, path in sources.items():
        if not (target / name).exists() or (target / name).read_bytes() != path.read_bytes():
            shutil.copyfile(path, target / name)


def setup(app):
    app.connect("builder-inited", copy_notebooks)
