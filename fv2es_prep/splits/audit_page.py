"""Renders an audit of a split as text and as a page with charts."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from pathlib import Path

from fv2es_prep.splits.audit import KINDS, Audit, Pair
from fv2es_prep.splits.manifest import SUBSETS
from fv2es_prep.splits.shared import Shared
from fv2es_prep.utils.charts import bars, charts_html, matrix
from fv2es_prep.utils.emotions import emotion_name, named
from fv2es_prep.utils.pages import html_table, write_page
from fv2es_prep.utils.tables import Form, Table, shown


def audit_text(audit: Audit, above: Sequence[str], form: Form = "table") -> str:
    """An audit as tables; ``above`` holds what `exceeded` yields."""
    tables = [Table([title, *head[1:]], rows) for title, head, rows in _tables(audit)]
    return shown([*tables, *(f"limit exceeded: {sentence}" for sentence in above)], form)


def write_audit_page(path: Path, title: str, audit: Audit, above: Sequence[str]) -> None:
    """Write an audit as an HTML page; ``above`` holds what `exceeded` yields.

    Raises:
        OutputError: the file cannot be written.
    """
    kinds = html_table("Kinds", ("kind", "utterances that share"), list(KINDS.items()))
    body = [
        f"<h1>Audit of {html.escape(title)}</h1>",
        *(f"<p><b>Limit exceeded:</b> {html.escape(sentence)}</p>" for sentence in above),
        _charts(audit),
        *(html_table(*table) for table in _tables(audit)),
        kinds,
    ]
    write_page(path, f"fv2es audit: {title}", body)


def split_section(title: str, audit: Audit) -> list[str]:
    """The charts of an audit as a section of the page of a dataset."""
    return [f"<h2>Split {html.escape(title)}</h2>", _charts(audit)]


def _charts(audit: Audit) -> str:
    shared = [
        {"pair": _pair(pair), "kind": one.kind, "% shared": round(100 * one.share, 1)}
        for pair in audit.pairs
        for one in pair.shared
        if one.unknown < max(one.of, 1)
    ]
    classes = [
        {"subset": subset, "class": emotion_name(name), "utterances": number}
        for subset in SUBSETS
        for name, number in audit.classes[subset].items()
    ]
    return charts_html(
        [
            matrix("Utterances that share", shared, "pair", "kind", "% shared"),
            bars("Classes by subset", classes, "subset", "utterances", "class"),
        ]
    )


def _tables(audit: Audit) -> Iterator[tuple[str, Sequence[str], list[list[str]]]]:
    """Title, head and rows of each table."""
    pairs = [_pair(pair) for pair in audit.pairs]
    shared = [
        [kind, *(_share(pair.shared[place]) for pair in audit.pairs)]
        for place, kind in enumerate(KINDS)
    ]
    yield "Shared", ("kind", *pairs), shared
    yield "Extent", ("", *pairs), [list(row) for row in zip(*_extents(audit), strict=True)]
    yield "Classes", ("class", *SUBSETS), list(_class_rows(audit))
    yield "Ids", ("", "count", "first"), list(_id_rows(audit))


def _pair(pair: Pair) -> str:
    return f"{pair.of} with {pair.within}"


def _share(shared: Shared) -> str:
    if shared.of and shared.unknown == shared.of:
        return "unknown"
    return f"{shared.count} of {shared.of} {shared.share:7.2%}"


def _extents(audit: Audit) -> Iterator[Sequence[str]]:
    """The columns of the table: the names of its rows, then each pair."""
    covered = ("overlap", "covered by half or more", "mean coverage")
    yield (*covered, "identical transcripts of five words")
    for pair in audit.pairs:
        detail = {name: value for shared in pair.shared for name, value in shared.detail.items()}
        yield (
            f"{detail['seconds']:.1f} s {detail['share_of_seconds']:7.2%}",
            str(detail["half_covered"]),
            f"{detail['mean_coverage']:.2%}",
            str(detail["five_words"]),
        )


def _class_rows(audit: Audit) -> Iterator[list[str]]:
    yield ["utterances", *(str(audit.listed[subset]) for subset in SUBSETS)]
    for name, trained in audit.classes["train"].items():
        drift = [f"{audit.classes[s][name]} {audit.drift[s][name]:+.1%}" for s in SUBSETS[1:]]
        yield [named(name), str(trained), *drift]


def _id_rows(audit: Audit) -> Iterator[list[str]]:
    lacking = {f"{subset}, not in the dataset": ids for subset, ids in audit.not_in_shards.items()}
    others = {"in no subset": audit.in_no_subset, "listed more than once": audit.repeated}
    for what, ids in (lacking | others).items():
        more = ", …" if ids.count > len(ids.named) else ""
        yield [what, str(ids.count), ", ".join(ids.named) + more]
