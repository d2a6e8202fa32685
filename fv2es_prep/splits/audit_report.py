"""How an audit looks: a table for people, and one HTML page.

Owns the words. Leaves the numbers to `audit` and the page's look to `page`.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from pathlib import Path

from fv2es_prep.splits.audit import KINDS, Audit, Some
from fv2es_prep.splits.manifest import SUBSETS
from fv2es_prep.splits.shared import Shared
from fv2es_prep.utils.pages import html_table, write_page


def audit_text(audit: Audit, sentences: Sequence[str]) -> str:
    """The audit for people.

    Args:
        audit: the audit.
        sentences: what is above a limit.
    """
    lines = [" " * 16 + "".join(f"{head:>24}" for head in _heads(audit))]
    for kind, cells in _rows(audit):
        lines.append(f"{kind:16}" + "".join(f"{cell:>24}" for cell in cells))
    lines += [f"  {line}" for line in _details(audit)]
    lines += ["", f"{'':16}" + "".join(f"{subset:>16}" for subset in SUBSETS)]
    for name, cells in _classes(audit):
        lines.append(f"{name:16}" + "".join(f"{cell:>16}" for cell in cells))
    lines += ["", *_ids(audit), *(f"above    {sentence}" for sentence in sentences)]
    return "\n".join(line.rstrip() for line in lines)


def write_audit_page(path: Path, title: str, audit: Audit, sentences: Sequence[str]) -> None:
    """The audit as a page.

    Raises:
        OutputError: the place cannot be written.
    """
    shared = [(kind, KINDS[kind], *cells) for kind, cells in _rows(audit)]
    body = [
        f"<h1>Audit of {html.escape(title)}</h1>",
        *(f"<p><b>Above what is allowed:</b> {html.escape(text)}</p>" for text in sentences),
        html_table("Shared", ("kind", "utterances that share", *_heads(audit)), shared),
        *(f"<p>{html.escape(line)}</p>" for line in _details(audit)),
        html_table("Classes", ("class", *SUBSETS), list(_classes(audit))),
        html_table("Ids", ("", ""), [tuple(line.split("  ", 1)) for line in _ids(audit)]),
    ]
    write_page(path, f"fv2es audit: {title}", body)


def _heads(audit: Audit) -> list[str]:
    return [f"{pair.of} with {pair.within}" for pair in audit.pairs]


def _rows(audit: Audit) -> Iterator[tuple[str, list[str]]]:
    for place, kind in enumerate(KINDS):
        yield kind, [_cell(pair.shared[place]) for pair in audit.pairs]


def _cell(shared: Shared) -> str:
    if shared.of and shared.unknown == shared.of:
        return "not known"
    return f"{shared.count} of {shared.of} {shared.share:7.2%}"


def _details(audit: Audit) -> Iterator[str]:
    for pair in audit.pairs:
        found = {shared.kind: shared for shared in pair.shared}
        time, words = found["time_overlap"], found["transcript"]
        yield (
            f"{pair.of} with {pair.within}: {time.detail['seconds']:.1f} s over each other "
            f"({time.detail['share_of_seconds']:.1%}), {time.detail['half_covered']} covered by "
            f"half or more, mean coverage {time.detail['mean_coverage']:.1%}; "
            f"{words.detail['five_words']} identical transcript(s) of five words or more"
        )


def _classes(audit: Audit) -> Iterator[tuple[str, list[str]]]:
    yield "utterances", [str(audit.listed[subset]) for subset in SUBSETS]
    for name in audit.classes["train"]:
        cells = []
        for subset in SUBSETS:
            moved = f" {audit.drift[subset][name]:+.1%}" if subset in audit.drift else ""
            cells.append(f"{audit.classes[subset][name]}{moved}")
        yield name, cells


def _ids(audit: Audit) -> Iterator[str]:
    for subset, some in audit.not_in_shards.items():
        yield from _told(f"{subset} ids not in the shards", some)
    yield from _told("utterances in no subset", audit.in_no_subset)
    yield from _told("ids named more than once", audit.repeated)


def _told(what: str, some: Some) -> Iterator[str]:
    more = ", …" if some.count > len(some.named) else ""
    yield f"{what:26}  {some.count}{': ' if some.count else ''}{', '.join(some.named)}{more}"
