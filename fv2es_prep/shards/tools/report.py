"""The report of a dataset: a page with charts, counts and a wall of utterances."""

from __future__ import annotations

import functools
import html
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fv2es_prep.config import PrepSettings, TextSettings
from fv2es_prep.errors import DropReason
from fv2es_prep.shards.catalogue import Catalogue, Names, read_catalogue
from fv2es_prep.shards.index import Index
from fv2es_prep.shards.tools.wall import wall_html
from fv2es_prep.types import Dropped
from fv2es_prep.utils.charts import (
    Chart,
    bars,
    chart_svg,
    charts_html,
    histogram,
    matrix,
    waterfall,
)
from fv2es_prep.utils.emotions import emotion_name, named
from fv2es_prep.utils.fields import docs_of, fields_of
from fv2es_prep.utils.pages import html_table, write_page

REPORT_NAME = "report.html"
_MOST_SESSIONS, _MOST_SPEAKERS = 12, 30
_MOST_TEXT = 20


def write_report(
    directory: Path,
    dropped: Sequence[Dropped],
    path: Path | None = None,
    more: Iterable[str] = (),
) -> Path:
    """Write the page of a finished dataset, including what was dropped.

    Args:
        directory: the dataset directory.
        dropped: the entries of its ``dropped.jsonl``.
        path: the page; ``report.html`` beside the index if None.
        more: parts of HTML that follow the charts.

    Returns:
        Path of the page.

    Raises:
        ShardError: the dataset is damaged.
        OutputError: the page cannot be written.
    """
    catalogue = read_catalogue(directory)
    index = catalogue.index
    body = [
        f"<h1>Dataset {html.escape(index.corpus)}</h1>",
        *(f"<p>{html.escape(source.sentence)}</p>" for source in index.provenance),
        html_table("Content", ("", ""), _content(index, catalogue)),
        "<h2>At a glance</h2>",
        charts_html(_charts(catalogue, dropped)),
        *more,
        html_table("Classes", ("class", "utterances", "share"), _classes(catalogue)),
    ]
    if index.reconciliation:
        body.append(html_table("Reconciliation", ("", ""), list(index.reconciliation.items())))
    if missing := catalogue.missing_counts():
        head = ("modality", "code", "utterances", "meaning")
        body.append(html_table("Missing modalities", head, list(_missing(missing))))
    settings = html_table("Settings", ("setting", "value", "meaning"), _settings(index.settings))
    if dropped:
        body.append(html_table("Left out", ("code", "number", "meaning"), _reasons(dropped)))
    body += [
        wall_html(directory, catalogue),
        f"<details><summary>How it was prepared: all settings</summary>{settings}</details>",
    ]
    path = path or directory / REPORT_NAME
    write_page(path, f"fv2es: {index.corpus}", body)
    return path


@functools.cache
def load_ahead() -> None:
    """Load what `write_report` needs, which takes most of a second the first time."""
    import h5py  # noqa: F401
    import PIL.JpegImagePlugin  # noqa: F401
    import pyarrow.compute
    import pyarrow.parquet  # noqa: F401

    rows = [{"speaker": "F", "class": "happy", "utterances": 1}]
    for chart in (
        bars("", rows, "speaker", "utterances", "class"),
        histogram("", np.arange(9.0), "seconds"),
        matrix("", rows, "class", "speaker", "utterances"),
    ):
        chart_svg(chart)


def _charts(catalogue: Catalogue, dropped: Sequence[Dropped]) -> Iterator[Chart]:
    if not len(catalogue):
        return
    names = [emotion_name(name) for name in catalogue.label_classes]
    sessions, speakers = catalogue.sessions, catalogue.speakers
    if names and 1 < len(sessions.values) <= _MOST_SESSIONS:
        rows = [*_classes_by("session", sessions, names, catalogue)]
        yield bars("Classes by session", rows, "session", "utterances", "class")
    elif names:
        sums = zip(names, catalogue.label.sum(axis=0, dtype=int).tolist(), strict=True)
        rows = [{"class": name, "utterances": number} for name, number in sums]
        yield bars("Classes", rows, "class", "utterances", flat=True)
    if names and 1 < len(speakers.values) <= _MOST_SPEAKERS:
        rows = [*_classes_by("speaker", speakers, names, catalogue)]
        yield matrix("Classes by speaker", rows, "class", "speaker", "utterances")
    if dropped:
        reasons = Counter(entry.reason.replace("_", " ") for entry in dropped).most_common()
        whole, unit = ("in the corpus", len(catalogue) + len(dropped)), "utterances or files"
        yield waterfall("From the corpus to the shards", whole, reasons, "prepared", unit)
    yield histogram("Length of utterances", catalogue.seconds, "seconds")
    if (counts := catalogue.count("faces")).any():
        share = 100 * catalogue.count("faces/found")[counts > 0] / counts[counts > 0]
        yield histogram("Pictures with a face", share, "% of an utterance's pictures", 20)
    if (rate := _words_per_second(catalogue)).size:
        yield histogram("Rate of speech", rate, "words per second")
    for name, values in catalogue.ratings.items():
        # Votes count raters of a class; their distribution is left out.
        if not name.startswith(("votes_", "raters")) and np.isfinite(values).any():
            yield histogram(f"Ratings: {name}", values, name, 20)


def _classes_by(
    what: str, groups: Names, classes: Sequence[str], catalogue: Catalogue
) -> Iterator[dict[str, Any]]:
    """Count utterances of each class in each group, with the group ``unknown``."""
    for code, group in enumerate(groups.values):
        sums = catalogue.label[groups.codes == code].sum(axis=0, dtype=int).tolist()
        for name, number in zip(classes, sums, strict=True):
            yield {what: group or "unknown", "class": name, "utterances": number}


def _words_per_second(catalogue: Catalogue) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Words per second of utterances with words and a duration."""
    import pyarrow.compute as pc

    words = pc.list_value_length(pc.utf8_split_whitespace(catalogue.texts)).to_numpy()
    spoken = (pc.utf8_length(catalogue.texts).to_numpy() > 0) & (catalogue.seconds > 0)
    return np.asarray(words[spoken] / catalogue.seconds[spoken])


def _content(index: Index, catalogue: Catalogue) -> list[tuple[object, ...]]:
    hours = float(catalogue.seconds.sum()) / 3600
    return [
        ("utterances", len(catalogue)),
        ("recordings", len(catalogue.recordings.values)),
        ("sessions", len(catalogue.sessions.values)),
        ("speakers", len(catalogue.speakers.values)),
        ("hours of utterances", f"{hours:.2f}"),
        ("utterances without text", _without_text(catalogue)),
        *_counted(catalogue),
        ("shards", len(index.shards)),
        ("megabytes", f"{index.size_bytes / 1e6:.1f}"),
    ]


def _without_text(catalogue: Catalogue) -> int:
    import pyarrow.compute as pc

    return int((pc.utf8_length(catalogue.texts).to_numpy() == 0).sum())


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
        (named(name), int(count), f"{count / total:.1%}")
        for name, count in zip(catalogue.label_classes, sums, strict=True)
    ]


def _missing(found: dict[str, dict[str, int]]) -> Iterator[tuple[object, ...]]:
    for modality, codes in found.items():
        for code, count in codes.items():
            yield modality, code, count, DropReason(code).meaning


def _settings(settings: PrepSettings) -> list[tuple[object, ...]]:
    meanings = {name: field.doc for name, field in fields_of(settings).items()}
    # Fields that describe a tokenizer are computed, not set.
    meanings |= {f"text.{name}": doc for name, doc in docs_of(TextSettings).items()}
    return [
        (name, _short(value), meanings.get(name, "")) for name, value in settings.flat().items()
    ]


def _short(value: object) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, tuple | list) else str(value)
    return text if len(text) <= _MOST_TEXT else f"{text[:_MOST_TEXT]}…"


def _reasons(dropped: Sequence[Dropped]) -> list[tuple[object, ...]]:
    counts = Counter(entry.reason for entry in dropped)
    return [(reason.value, count, reason.meaning) for reason, count in counts.most_common()]
