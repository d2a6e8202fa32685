"""Self-contained HTML pages, and tables for them."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from fv2es_prep.utils.files import whole_file

# A cell of a column of numbers; a dash or nothing where there is no number.
_NUMBER = re.compile(r"[-+]?[\d.,]+ ?%?|-|")

STYLE = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1c2430; --line: #d9dee6 }
@media print { :root { color-scheme: light } h2 { break-after: avoid } }
@media screen and (prefers-color-scheme: dark) {
    :root { --paper: #11151b; --ink: #e6eaf0; --line: #2c3542 } }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem;
       color: var(--ink); background: var(--paper) }
h1 { font-size: 1.6rem } h2 { font-size: 1.15rem; margin-top: 2rem }
h1, h2, p { overflow-wrap: anywhere }
.wide { overflow-x: auto }
table { border-collapse: collapse; margin: .5rem 0 }
th, td { padding: .25rem .9rem .25rem 0; text-align: left; vertical-align: top;
         border-bottom: 1px solid var(--line); white-space: pre-line }
td:last-child:not(.n) { overflow-wrap: anywhere; min-width: 6rem }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums }
img { max-width: 100%; border: 1px solid var(--line); margin: .4rem 0 } code { font-size: .9em }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(20rem, 100%), 1fr));
          gap: 1rem 2rem }
figure { margin: 0; break-inside: avoid } figure svg { width: 100%; height: auto; display: block }
figcaption { font-weight: 600; margin: .5rem 0 } summary { cursor: pointer; font-size: .85em }
@media (max-width: 30rem) { body { margin: 1rem auto; font-size: 14px }
                            th, td { padding-right: .4rem; font-size: 13px }
                            td:first-child { overflow-wrap: anywhere; min-width: 4rem } }
"""


def write_page(path: Path, title: str, body: Iterable[str]) -> None:
    """Write a page of HTML parts; raises OutputError if it cannot be written."""
    with whole_file(path) as temporary:
        temporary.write_text(page_html(title, body), encoding="utf-8")


def page_html(title: str, body: Iterable[str], head: str = f"<style>{STYLE}</style>") -> str:
    """Join HTML parts to a page; ``head`` holds its style."""
    return (
        "<!doctype html><html lang=en><meta charset=utf-8>"
        '<meta name=viewport content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title>{head}" + "\n".join(body) + "</html>\n"
    )


def html_table(title: str, head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table under a heading; columns of numbers are right-aligned."""
    columns = [[str(value) for value in column] for column in zip(*rows, strict=True)]
    numbers = [all(map(_NUMBER.fullmatch, column)) for column in columns]

    def line(tag: str, values: Sequence[object]) -> str:
        kinds = [" class=n" if number else "" for number in numbers] or [""] * len(values)
        cells = zip(kinds, values, strict=True)
        return "".join(f"<{tag}{kind}>{html.escape(str(v))}</{tag}>" for kind, v in cells)

    lines = [f"<tr>{line('td', row)}</tr>" for row in rows]
    header = f"<tr>{line('th', head)}</tr>" if any(head) else ""
    table = f"<table>{header}{''.join(lines)}</table>"
    named = html.escape(title)
    # Focusable, so that it can be scrolled with the keyboard.
    wide = f'<div class=wide tabindex=0 role=region aria-label="{named}">{table}</div>'
    return f"<h2>{named}</h2>{wide}"
