"""The report of a dataset: one self-contained HTML page with counts, coverage and pictures."""

from __future__ import annotations

import base64
import html
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from fv2es_prep.errors import DropReason
from fv2es_prep.shards.catalogue import Catalogue, read_catalogue
from fv2es_prep.shards.index import Index, read_index
from fv2es_prep.shards.reader import ShardReader
from fv2es_prep.shards.tools.show import draw_example
from fv2es_prep.types import Dropped
from fv2es_prep.utils.pages import html_table, write_page

REPORT_NAME = "report.html"
_MOST_SESSIONS = 50


def write_report(directory: Path, dropped: Sequence[Dropped]) -> Path:
    """Write report.html of a finished dataset and of all that was dropped, beside its index."""
    index, catalogue = read_index(directory), read_catalogue(directory)
    body = [
        f"<h1>fv2es dataset: {html.escape(index.corpus)}</h1>",
        html_table("Content", ("", ""), _content(index, catalogue)),
    ]
    if index.reconciliation:
        body.append(html_table("Reconciliation", ("", ""), list(index.reconciliation.items())))
    if missing := catalogue.missing_counts():
        head = ("modality", "code", "utterances", "meaning")
        body.append(html_table("Missing modalities", head, list(_missing(missing))))
    body.append(html_table("Classes", ("class", "utterances", "share"), _classes(catalogue)))
    if len(catalogue.sessions.values) <= _MOST_SESSIONS:
        columns = ("session", *catalogue.label_classes)
        body.append(html_table("Sessions", columns, _sessions(catalogue)))
    body += [
        html_table("Dropped", ("code", "count", "meaning"), _reasons(dropped)),
        "<h2>One example of each class</h2>",
        *_pictures(directory, index, catalogue),
        html_table("Settings", ("setting", "value"), list(index.settings.flat().items())),
    ]
    path = directory / REPORT_NAME
    write_page(path, f"fv2es: {index.corpus}", body)
    return path


def _content(index: Index, catalogue: Catalogue) -> list[tuple[object, ...]]:
    hours = float(catalogue.seconds.sum()) / 3600
    return [
        *(("source", source.sentence) for source in index.provenance),
        ("utterances", len(catalogue)),
        ("recordings", len(catalogue.recordings.values)),
        ("sessions", len(catalogue.sessions.values)),
        ("speakers", len(catalogue.speakers.values)),
        ("hours of utterances", f"{hours:.2f}"),
        ("utterances without text", sum(not text for text in catalogue.texts.to_pylist())),
        *_counted(catalogue),
        ("shards", len(index.shards)),
        ("megabytes", f"{index.size_bytes / 1e6:.1f}"),
    ]


def _counted(catalogue: Catalogue) -> Iterator[tuple[object, ...]]:
    for name, counts in catalogue.counts.items():
        stage, _, column = name.partition("/")
        total, rows = int(counts.sum()), max(int(catalogue.counts[stage].sum()), 1)
        if column:
            yield f"{stage}: {column}", f"{total} ({total / rows:.1%})"
        else:
            yield f"{stage}: rows", total


def _classes(catalogue: Catalogue) -> list[tuple[object, ...]]:
    sums = catalogue.label.sum(axis=0, dtype=int)
    total = max(len(catalogue), 1)
    return [
        (name, int(count), f"{count / total:.1%}")
        for name, count in zip(catalogue.label_classes, sums, strict=True)
    ]


def _sessions(catalogue: Catalogue) -> list[tuple[object, ...]]:
    sessions = catalogue.sessions
    return [
        (session, *map(int, catalogue.label[sessions.codes == code].sum(axis=0, dtype=int)))
        for code, session in enumerate(sessions.values)
    ]


def _missing(found: dict[str, dict[str, int]]) -> Iterator[tuple[object, ...]]:
    for modality, codes in found.items():
        for code, count in codes.items():
            yield modality, code, count, DropReason(code).meaning


def _reasons(dropped: Sequence[Dropped]) -> list[tuple[object, ...]]:
    counts = Counter(entry.reason for entry in dropped)
    return [(reason.value, count, reason.meaning) for reason, count in counts.most_common()]


def _pictures(directory: Path, index: Index, catalogue: Catalogue) -> Iterable[str]:
    """The first example of each class, if possible with a counted row, as an image in the page."""
    counted = [counts > 0 for name, counts in catalogue.counts.items() if "/" in name]
    shown = np.logical_and.reduce([np.ones(len(catalogue), np.bool_), *counted])
    for column, name in enumerate(catalogue.label_classes):
        rows = np.flatnonzero(catalogue.label[:, column] & shown)
        if not len(rows) and catalogue.missing_counts():
            rows = np.flatnonzero(catalogue.label[:, column])
        if not len(rows):
            continue
        shard = index.shards[catalogue.shard[rows[0]]]
        with ShardReader(directory / shard.name) as reader:
            example = reader.read(int(catalogue.row[rows[0]]))
        picture = io.BytesIO()
        draw_example(example, picture)
        data = base64.b64encode(picture.getvalue()).decode()
        yield f'<img alt="{html.escape(name)}" src="data:image/png;base64,{data}">'
