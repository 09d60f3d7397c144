"""How Sphinx builds the documentation. Nothing here asks the network for anything."""

import os
import re
from pathlib import Path

from docutils import nodes

os.environ.setdefault("MPLBACKEND", "agg")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from sklearn.experimental import enable_iterative_imputer  # noqa: F401

import skae.plotting
from skae._sklearn_compat import EstimatorMixin

# enable_iterative_imputer: an example that is not run still has its names looked up.

HERE = Path(__file__).parent

project = "skae"
author = "The skae developers"
project_copyright = author
version = release = skae.__version__

extensions = [
    "myst_parser",  # the changelog and the benchmarks are the repository's own files
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
templates_path = ["_templates"]
exclude_patterns = ["_build", "drawings", "examples"]
nitpicky = True
# Types in numpydoc's fields that are words, and names that are explained in the text alone.
nitpick_ignore_regex = [("py:.*", r"(?!skae\.).*")]

# ---- the reference

default_role = "py:obj"  # a name in single backticks is a link where there is such a name
toc_object_entries_show_parents = "hide"
autodoc_typehints = "none"  # numpydoc's fields say the types in words
autosummary_generate = True
numpydoc_show_class_members = False  # the template lists them
numpydoc_xref_param_type = False

# ---- the gallery

# The HTML diagrams of the examples link to the reference beside them, wherever the site is.
EstimatorMixin._doc_link_template = "../generated/skae.{estimator_name}.html"

sphinx_gallery_conf = {
    "examples_dirs": "examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": "plot_",
    # SKAE_NO_GALLERY=1 shows the scripts without running them, which is quicker
    "plot_gallery": os.environ.get("SKAE_NO_GALLERY", "0") in ("", "0"),
    "abort_on_example_error": True,
    "within_subsection_order": "FileNameSortKey",
    "reset_modules": ("matplotlib",),
    "download_all_examples": False,  # each page offers its script and its notebook
    "show_memory": False,
    "write_computation_times": False,  # their page would load scripts from another machine
    "show_signature": False,
    "doc_module": ("skae",),
    "backreferences_dir": "generated/backreferences",
}

# ---- the pages

html_theme = "pydata_sphinx_theme"
html_title = "skae"
html_static_path = ["_static"]
html_favicon = "_static/favicon.svg"
html_css_files = ["skae.css"]
html_copy_source = html_show_sourcelink = False
html_show_sphinx = False
html_context = {"default_mode": "auto"}
html_theme_options = {
    "navbar_align": "left",
    "navbar_end": ["theme-switcher"],
    "header_links_before_dropdown": 6,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "show_toc_level": 2,
    "show_prev_next": True,
    "search_bar_text": "Search",
}
html_sidebars = {page: [] for page in ("index", "install", "benchmarks", "changelog")}
copybutton_exclude = ".linenos, .gp, .go"  # copies what is typed, not what is printed

# ---- what docstrings need


def _escaped(text):
    """Escape the underscore that ends a word, as in n_features_in_, which would be a link."""
    between = re.split(r"(`+[^`]*`+)", text)
    between[::2] = [re.sub(r"\b([A-Za-z]\w*)_(?![\w`])", r"\1\\_", part) for part in between[::2]]
    return "".join(between)


def _mend_docstring(app, what, name, obj, options, lines):
    """Escape names that end with an underscore; keep the words of foreign labels."""
    for i, line in enumerate(lines):
        if not line.lstrip().startswith((">>>", "...")):
            line = _escaped(line)
        line = re.sub(r":ref:`sphx_glr_[^`]*`", "scikit-learn's examples", line)
        lines[i] = re.sub(r":(?:ref|term):`([^<`]+?)\s*(?:<[^>]*>)?`", r"\1", line)


def _skip_routing(app, what, name, obj, skip, options):
    """Leave out the methods of metadata routing, which every estimator has."""
    return True if re.fullmatch(r"set_\w+_request|get_metadata_routing", name) else skip


def _link_scikit_learn(app, env, node, contnode):
    """Point at scikit-learn's own page of one of its classes; the page is not read for that."""
    target = node.get("reftarget", "")
    if not re.fullmatch(r"sklearn\.[a-z_.]+\.[A-Z]\w+", target):
        return None
    url = f"https://scikit-learn.org/stable/modules/generated/{target}.html"
    link = nodes.reference("", "", internal=False, refuri=url, reftitle=f"{target} (scikit-learn)")
    link += contnode
    return link


def _describe_thumbnails(app, doctree):
    """Give the thumbnails of the gallery the titles of their examples as alternative text."""
    for image in doctree.findall(nodes.image):
        name = re.search(r"sphx_glr_(plot_\w+)_thumb", image.get("uri", ""))
        if name and not image.get("alt"):
            script = (HERE / "examples" / f"{name[1]}.py").read_text(encoding="utf-8")
            title = script.lstrip('r"\n').splitlines()[0]
            image["alt"] = f"Picture of the example “{title}”"


def _link_bare_names(app, env, node, contnode):
    """Point at a public name that is given without its module, as in the text of examples."""
    name = node.get("reftarget", "").partition(".")[0]
    for module in (skae, skae.plotting):
        if node.get("refdomain") == "py" and name in module.__all__:
            target = f"{module.__name__}.{node['reftarget']}"
            page, domain = node.get("refdoc", env.docname), env.get_domain("py")
            return domain.resolve_xref(env, page, app.builder, "obj", target, node, contnode)
    return None


def setup(app):
    """Connect to Sphinx what is above."""
    app.connect("autodoc-process-docstring", _mend_docstring, priority=900)  # after numpydoc
    app.connect("autodoc-skip-member", _skip_routing)
    app.connect("doctree-read", _describe_thumbnails)
    app.connect("missing-reference", _link_scikit_learn)
    app.connect("missing-reference", _link_bare_names)
