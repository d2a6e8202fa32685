"""An audit as text for the terminal and as an HTML page."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from pathlib import Path

from fv2es_prep.splits.audit import KINDS, Audit, Ids
from fv2es_prep.splits.manifest import SUBSETS
from fv2es_prep.splits.shared import Shared
from fv2es_prep.utils.pages import html_table, write_page


def audit_text(audit: Audit, exceeded: Sequence[str]) -> str:
    """An audit for the terminal.

    Args:
        audit: the audit.
        exceeded: a sentence for each exceeded limit.
    """
    lines = [_line("", _heads(audit), 24)]
    lines += [_line(kind, cells, 24) for kind, cells in _shared(audit)]
    lines += [f"  {line}" for line in _details(audit)]
    lines += ["", _line("", SUBSETS, 16)]
    lines += [_line(name, cells, 16) for name, cells in _classes(audit)]
    lines += ["", *(f"{what:26}  {ids}" for what, ids in _ids(audit))]
    lines += [f"exceeded {sentence}" for sentence in exceeded]
    return "\n".join(line.rstrip() for line in lines)


def write_audit_page(path: Path, title: str, audit: Audit, exceeded: Sequence[str]) -> None:
    """Write an audit as a page.

    Raises:
        OutputError: the file cannot be written.
    """
    shared = [(kind, KINDS[kind], *cells) for kind, cells in _shared(audit)]
    classes = [(name, *cells) for name, cells in _classes(audit)]
    body = [
        f"<h1>Audit of {html.escape(title)}</h1>",
        *(f"<p><b>Limit exceeded:</b> {html.escape(text)}</p>" for text in exceeded),
        html_table("Shared", ("kind", "utterances that share", *_heads(audit)), shared),
        *(f"<p>{html.escape(line)}</p>" for line in _details(audit)),
        html_table("Classes", ("class", *SUBSETS), classes),
        html_table("Ids", ("", ""), list(_ids(audit))),
    ]
    write_page(path, f"fv2es audit: {title}", body)


def _line(name: str, cells: Sequence[str], width: int) -> str:
    return f"{name:16}" + "".join(f"{cell:>{width}}" for cell in cells)


def _heads(audit: Audit) -> list[str]:
    return [f"{pair.of} with {pair.within}" for pair in audit.pairs]


def _shared(audit: Audit) -> Iterator[tuple[str, list[str]]]:
    for place, kind in enumerate(KINDS):
        yield kind, [_cell(pair.shared[place]) for pair in audit.pairs]


def _cell(shared: Shared) -> str:
    if shared.of and shared.unknown == shared.of:
        return "unknown"
    return f"{shared.count} of {shared.of} {shared.share:7.2%}"


def _details(audit: Audit) -> Iterator[str]:
    for pair in audit.pairs:
        found = {shared.kind: shared.detail for shared in pair.shared}
        time, words = found["time_overlap"], found["transcript"]
        yield (
            f"{pair.of} with {pair.within}: {time['seconds']:.1f} s overlap "
            f"({time['share_of_seconds']:.1%}), {time['half_covered']} covered by half or "
            f"more, mean coverage {time['mean_coverage']:.1%}; {words['five_words']} identical "
            "transcript(s) of five words or more"
        )


def _classes(audit: Audit) -> Iterator[tuple[str, list[str]]]:
    yield "utterances", [str(audit.listed[subset]) for subset in SUBSETS]
    for name, trained in audit.classes["train"].items():
        drift = [f"{audit.classes[s][name]} {audit.drift[s][name]:+.1%}" for s in SUBSETS[1:]]
        yield name, [str(trained), *drift]


def _ids(audit: Audit) -> Iterator[tuple[str, str]]:
    for subset, ids in audit.not_in_shards.items():
        yield f"{subset} ids not in the dataset", _few(ids)
    yield "utterances in no subset", _few(audit.in_no_subset)
    yield "ids listed more than once", _few(audit.repeated)


def _few(ids: Ids) -> str:
    more = ", …" if ids.count > len(ids.named) else ""
    return f"{ids.count}{': ' if ids.count else ''}{', '.join(ids.named)}{more}"
