"""The pages as a site: `make docs`, with Sphinx, from the repository's root into build/site."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from fv2es_prep import __version__

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = html_title = "fv2es"
version = release = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinxcontrib.mermaid"]
include_patterns = ["*.md", "docs/*.md", "docs/decisions/*.md", "manifests/*.md", "benchmarks/*.md"]
root_doc = "docs/README"
html_theme = "furo"
html_show_copyright = False
html_static_path = ["site.css"]
html_css_files = ["site.css"]
myst_heading_anchors = 4
myst_fence_as_directive = ["mermaid"]
napoleon_use_ivar = True
napoleon_attr_annotations = False
autodoc_member_order = "groupwise"


def _add_contents(_: Sphinx, page: str, source: list[str]) -> None:
    """Give the first page a table of contents for each of its sections, of the pages it links."""
    if page != root_doc:
        return
    heads = re.split(r"^## (.*)\n", source[0], flags=re.MULTILINE)[1:]
    for title, text in zip(heads[::2], heads[1::2], strict=True):
        pages = "\n".join(re.findall(r"^(?:-|\d+\.) \[.*?\]\((.*?)\.md\)", text, re.MULTILINE))
        source[0] += f"\n```{{toctree}}\n:hidden:\n:caption: {title}\n\n{pages}\n```\n"


def _write_start(app: Sphinx, error: Exception | None) -> None:
    """Lead from the site's root to the first page."""
    if error is None and app.builder.format == "html":
        start = f'<!doctype html><meta http-equiv="refresh" content="0; url={root_doc}.html">\n'
        Path(app.outdir, "index.html").write_text(start, "utf-8")


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", _add_contents)
    app.connect("build-finished", _write_start)
