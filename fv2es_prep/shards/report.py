"""The report of a dataset: one HTML page with counts, coverage, what was left out, and pictures.

Owns report.html, which needs nothing from outside itself. Leaves drawing to `picture`.
"""

from __future__ import annotations

import base64
import html
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from fv2es_prep.files import whole_file
from fv2es_prep.shards.index import Index, read_index
from fv2es_prep.shards.picture import draw_example
from fv2es_prep.shards.reader import Catalogue, ShardReader, read_catalogue
from fv2es_prep.types import Dropped

REPORT_NAME = "report.html"
_MOST_SESSIONS = 50

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem;
       color: #1c2430; background: #fff }
h1 { font-size: 1.6rem } h2 { font-size: 1.15rem; margin-top: 2rem }
table { border-collapse: collapse; margin: .5rem 0 }
th, td { padding: .25rem .9rem .25rem 0; text-align: left; border-bottom: 1px solid #d9dee6 }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums }
img { max-width: 100%; border: 1px solid #d9dee6; margin: .4rem 0 } code { font-size: .9em }
"""


def write_report(directory: Path, dropped: Sequence[Dropped]) -> Path:
    """Write the report of a finished dataset beside its index.

    Args:
        directory: the dataset directory.
        dropped: everything that was left out.

    Returns:
        The path of the page.
    """
    index, catalogue = read_index(directory), read_catalogue(directory)
    body = [
        f"<h1>fv2es dataset: {html.escape(index.corpus)}</h1>",
        _table("Content", ("", ""), _content(index, catalogue)),
        *_reconciliation(index),
        _table("Classes", ("class", "utterances", "share"), _classes(catalogue)),
        *_by_session(catalogue),
        _table("Left out", ("code", "count", "meaning"), _reasons(dropped)),
        "<h2>One example of each class</h2>",
        *_pictures(directory, index, catalogue),
        _table("Settings", ("setting", "value"), _settings(index)),
    ]
    page = (
        "<!doctype html><html lang=en><meta charset=utf-8>"
        f"<title>fv2es: {html.escape(index.corpus)}</title><style>{_STYLE}</style>"
        + "\n".join(body)
        + "</html>\n"
    )
    path = directory / REPORT_NAME
    with whole_file(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def _content(index: Index, catalogue: Catalogue) -> list[tuple[object, ...]]:
    frames = int(catalogue.frames.sum())
    found = int(catalogue.found.sum())
    hours = float((catalogue.end_s - catalogue.start_s).sum()) / 3600
    return [
        ("utterances", len(catalogue.ids)),
        ("recordings", len(set(catalogue.recording_ids))),
        ("sessions", len(set(catalogue.sessions))),
        ("speakers", len(set(catalogue.speakers))),
        ("hours of utterances", f"{hours:.2f}"),
        ("utterances without text", sum(not text for text in catalogue.texts)),
        ("faces", frames),
        ("faces found by the detector", f"{found} ({found / max(frames, 1):.1%})"),
        ("shards", len(index.shards)),
        ("megabytes", f"{index.size_bytes / 1e6:.1f}"),
    ]


def _reconciliation(index: Index) -> Iterable[str]:
    """Where the corpus has its utterances, for a corpus that keeps its parts in several places."""
    if index.reconciliation:
        yield _table("Reconciliation", ("", ""), list(index.reconciliation.items()))


def _by_session(catalogue: Catalogue) -> Iterable[str]:
    """A table, where there are not too many sessions to be looked at."""
    if len(set(catalogue.sessions)) <= _MOST_SESSIONS:
        yield _table("Sessions", ("session", *catalogue.label_classes), _sessions(catalogue))


def _classes(catalogue: Catalogue) -> list[tuple[object, ...]]:
    sums = catalogue.label.sum(axis=0, dtype=int)
    total = max(len(catalogue.ids), 1)
    return [
        (name, int(count), f"{count / total:.1%}")
        for name, count in zip(catalogue.label_classes, sums, strict=True)
    ]


def _sessions(catalogue: Catalogue) -> list[tuple[object, ...]]:
    names = np.array(catalogue.sessions)
    return [
        (session, *map(int, catalogue.label[names == session].sum(axis=0, dtype=int)))
        for session in sorted(set(catalogue.sessions))
    ]


def _reasons(dropped: Sequence[Dropped]) -> list[tuple[object, ...]]:
    counts = Counter(entry.reason for entry in dropped)
    return [(reason.value, count, reason.meaning) for reason, count in counts.most_common()]


def _settings(index: Index) -> list[tuple[object, ...]]:
    return [
        (f"{stage}.{name}", value)
        for stage, settings in index.settings.to_json().items()
        for name, value in settings.items()
    ]


def _pictures(directory: Path, index: Index, catalogue: Catalogue) -> Iterable[str]:
    """The first example of each class that has faces, as an image within the page."""
    for column, name in enumerate(catalogue.label_classes):
        rows = np.flatnonzero(catalogue.label[:, column] & (catalogue.found > 0))
        if not len(rows):
            continue
        shard = index.shards[catalogue.shard[rows[0]]]
        with ShardReader(directory / shard.name) as reader:
            example = reader.read(int(catalogue.row[rows[0]]))
        picture = io.BytesIO()
        draw_example(example, picture)
        data = base64.b64encode(picture.getvalue()).decode()
        yield f'<img alt="{html.escape(name)}" src="data:image/png;base64,{data}">'


def _table(title: str, head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    def cell(tag: str, value: object) -> str:
        kind = " class=n" if isinstance(value, int) else ""
        return f"<{tag}{kind}>{html.escape(str(value))}</{tag}>"

    lines = ["<tr>" + "".join(cell("td", value) for value in row) + "</tr>" for row in rows]
    header = "<tr>" + "".join(cell("th", name) for name in head) + "</tr>" if any(head) else ""
    return f"<h2>{html.escape(title)}</h2><table>{header}{''.join(lines)}</table>"
