"""Configuration of Sphinx. The build uses no network."""

import ast
import os
import pkgutil
import re
import tomllib
from html import escape
from pathlib import Path

from docutils import nodes
from sphinx.util.docutils import SphinxDirective, SphinxRole
from sphinx.util.logging import getLogger

os.environ.setdefault("MPLBACKEND", "agg")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from sklearn.experimental import enable_iterative_imputer  # noqa: F401

import skae.plotting
from skae._sklearn_compat import EstimatorMixin, _project_urls

# enable_iterative_imputer: Sphinx-Gallery looks up the names also if examples are not run.

HERE = Path(__file__).parent

project = "skae"
author = "The skae developers"
project_copyright = author
version = release = skae.__version__

extensions = [
    "myst_parser",  # the changelog and the benchmarks are files of the repository
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
# Types in numpydoc's fields that are words, and names that are only explained in the text.
nitpick_ignore_regex = [("py:.*", r"(?!skae\.).*")]

# ---- the reference

default_role = "py:obj"  # a name in single backticks is a link if the name exists
toc_object_entries_show_parents = "hide"
autodoc_typehints = "none"  # numpydoc's fields have types in words
autosummary_generate = True
numpydoc_show_class_members = False  # the template lists them
numpydoc_xref_param_type = False

# ---- the gallery

# The HTML diagrams of the examples link to the reference of the same site, by relative paths.
EstimatorMixin._doc_link_template = "../generated/skae.{estimator_name}.html"

sphinx_gallery_conf = {
    "examples_dirs": "examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": "plot_",
    # SKAE_NO_GALLERY=1 shows the scripts without running them, which is faster
    "plot_gallery": os.environ.get("SKAE_NO_GALLERY", "0") in ("", "0"),
    "abort_on_example_error": True,
    "within_subsection_order": "FileNameSortKey",
    "reset_modules": ("matplotlib",),
    "download_all_examples": False,  # each page has links to its script and its notebook
    "show_memory": False,
    "remove_config_comments": True,  # such as the number of the thumbnail
    "write_computation_times": False,  # their page would load scripts from another machine
    "show_signature": False,
    "doc_module": ("skae",),
    "first_notebook_cell": (
        "try:\n    import skae\nexcept ImportError:\n"
        f"    %pip install --quiet 'skae[docs] @ git+{_project_urls().get('Source', '')}'\n"
        "%matplotlib inline"
    ),
    "backreferences_dir": "generated/backreferences",
}

# ---- the pages

html_theme = "pydata_sphinx_theme"
html_title = "skae"
# The address of the published site, from the metadata of the package; empty before publication.
html_baseurl = _project_urls().get("Documentation", "")
html_static_path = ["_static"]
html_favicon = "_static/favicon.svg"
html_css_files = ["skae.css"]
html_copy_source = html_show_sourcelink = False
html_show_sphinx = False
html_context = {"default_mode": "auto"}
html_theme_options = {
    "navbar_align": "left",
    "navbar_end": ["theme-switcher"],
    "header_links_before_dropdown": 7,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "show_toc_level": 2,
    "show_prev_next": True,
    "search_bar_text": "Search",
}
html_sidebars = {page: [] for page in ("index", "install", "benchmarks", "developers", "changelog")}
copybutton_exclude = ".linenos, .gp, .go"  # copy the input, not the output

# ---- docstrings


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
    """Link to scikit-learn's page of one of its classes, without reading the page."""
    target = node.get("reftarget", "")
    if not re.fullmatch(r"sklearn\.[a-z_.]+\.[A-Z]\w+", target):
        return None
    url = f"https://scikit-learn.org/stable/modules/generated/{target}.html"
    link = nodes.reference("", "", internal=False, refuri=url, reftitle=f"{target} (scikit-learn)")
    link += contnode
    return link


def _describe_thumbnails(app, doctree):
    """Set the titles of the examples as alternative texts of the thumbnails."""
    for image in doctree.findall(nodes.image):
        name = re.search(r"sphx_glr_(plot_\w+)_thumb", image.get("uri", ""))
        if name and not image.get("alt"):
            script = (HERE / "examples" / f"{name[1]}.py").read_text(encoding="utf-8")
            title = script.lstrip('r"\n').splitlines()[0]
            image["alt"] = f"Figure of the example “{title}”"


def _link_notebooks(app, docname, source):
    """Add links that open the notebook of an example in Colab and in Binder.

    The workflow that publishes the site pushes the notebooks to the branch `notebooks`.
    """
    repository = _project_urls().get("Source", "").removeprefix("https://github.com/")
    if not repository or not docname.startswith("auto_examples/plot_"):
        return
    name = docname.removeprefix("auto_examples/")
    colab = f"https://colab.research.google.com/github/{repository}/blob/notebooks/{name}.ipynb"
    binder = f"https://mybinder.org/v2/gh/{repository}/notebooks?labpath={name}.ipynb"
    source[0] += f"\nOpen this notebook `in Colab <{colab}>`__ or `in Binder <{binder}>`__.\n"


def _link_bare_names(app, env, node, contnode):
    """Link to a public name that is given without its module, as in the text of examples."""
    name = node.get("reftarget", "").partition(".")[0]
    for module in (skae, skae.plotting):
        if node.get("refdomain") == "py" and name in module.__all__:
            target = f"{module.__name__}.{node['reftarget']}"
            page, domain = node.get("refdoc", env.docname), env.get_domain("py")
            return domain.resolve_xref(env, page, app.builder, "obj", target, node, contnode)
    return None


# ---- search engines and links in messages


def _describe_page(app, pagename, templatename, context, doctree):
    """Add the description of a page, its first paragraph, as metadata, also for social media."""
    paragraph = doctree and next(doctree.findall(nodes.paragraph), None)
    if not paragraph:
        return
    text = " ".join(paragraph.astext().split())
    if len(text) > 200:
        text = text[:200].rsplit(" ", 1)[0] + " …"
    title = re.sub("<[^>]*>", "", context.get("title", project))
    values = {
        "og:title": title,
        "og:description": text,
        "og:type": "website",
        "og:site_name": project,
    }
    if app.config.html_baseurl:
        address = app.config.html_baseurl.rstrip("/")
        values["og:url"] = f"{address}/{pagename}.html"
        values["og:image"] = f"{address}/_images/compare_pca.png"
    tags = [f'<meta property="{name}" content="{escape(v)}" />' for name, v in values.items()]
    tags.append(f'<meta name="description" content="{escape(text)}" />')
    context["metatags"] = "\n".join([context.get("metatags", ""), *tags])


def _write_sitemap(app, exception):
    """Write sitemap.xml, if the site has an address."""
    address = app.config.html_baseurl.rstrip("/")
    if exception or not address or app.builder.name != "html":
        return
    pages = (f"{address}/{name}.html" for name in sorted(app.env.found_docs))
    lines = "".join(f"<url><loc>{escape(page)}</loc></url>\n" for page in pages)
    space = "http://www.sitemaps.org/schemas/sitemap/0.9"
    text = f'<?xml version="1.0" encoding="UTF-8"?>\n<urlset xmlns="{space}">\n{lines}</urlset>\n'
    Path(app.outdir, "sitemap.xml").write_text(text, encoding="utf-8")


# ---- the page for developers


def _first_line_of_docstring(name):
    path = HERE.parent / "skae" / name
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))).splitlines()[0]


class _Layers(SphinxDirective):
    """Table of the layers of the package, which import-linter checks; the highest is the first."""

    def run(self):
        file = HERE.parent / "pyproject.toml"
        self.env.note_dependency(str(file))
        settings = tomllib.loads(file.read_text(encoding="utf-8"))["tool"]["importlinter"]
        layers = settings["contracts"][0]["layers"]
        rows = [("Layer", "Module", "Content")]
        for number, layer in zip(range(len(layers), 0, -1), layers, strict=True):
            for name in layer.split(" | "):
                rows.append((f"Layer {number}", f"``{name}``", _first_line_of_docstring(name)))
        options = [":header-rows: 1", ":class: words", ":widths: 12 27 61"]
        table = [".. list-table::", *(f"   {option}" for option in options), ""]
        for first, *others in rows:
            table += [f"   * - {first}", *(f"     - {cell}" for cell in others)]
        return self.parse_text_to_nodes("\n".join(table))


class _Internal(SphinxRole):
    """Internal object, as "module:name" without "skae."; a warning if there is no such object."""

    def run(self):
        try:
            pkgutil.resolve_name(f"skae.{self.text}")
        except (ImportError, AttributeError) as error:
            getLogger(__name__).warning("%s", error, location=self.get_location())
        module, _, name = map(nodes.Text, self.text.partition(":"))
        return [
            nodes.literal("", "", name),
            nodes.Text(" ("),
            nodes.literal("", "", module),
            nodes.Text(")"),
        ], []


def setup(app):
    """Connect the functions and classes above to Sphinx."""
    app.add_directive("layers", _Layers)
    app.add_role("internal", _Internal())
    app.connect("source-read", _link_notebooks)
    app.connect("autodoc-process-docstring", _mend_docstring, priority=900)  # after numpydoc
    app.connect("autodoc-skip-member", _skip_routing)
    app.connect("doctree-read", _describe_thumbnails)
    app.connect("html-page-context", _describe_page)
    app.connect("build-finished", _write_sitemap)
    app.connect("missing-reference", _link_scikit_learn)
    app.connect("missing-reference", _link_bare_names)
