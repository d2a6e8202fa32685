"""Statistics of a dataset: counts, hours, bytes, face coverage, what was dropped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from fv2es_prep.shards.catalogue import Catalogue, Names, read_catalogue
from fv2es_prep.shards.dropped import read_dropped
from fv2es_prep.shards.index import Index, read_index
from fv2es_prep.shards.reader import ShardReader
from fv2es_prep.shards.schema import columns_of
from fv2es_prep.store.shard_cache import dataset_directory
from fv2es_prep.types import Provenance
from fv2es_prep.utils.configuration import flatten
from fv2es_prep.utils.tables import named_lines

_NAMED = 5


def dataset_info(directory: Path) -> dict[str, Any]:
    """Collect the output of `fv2es shards info` as plain JSON values.

    Raises:
        UsageError: the directory holds no finished dataset.
        ShardError: a shard, the index or dropped.jsonl is missing or damaged.
    """
    directory = dataset_directory(directory)
    index, catalogue = read_index(directory), read_catalogue(directory)
    bytes_, clamped = _bytes_and_clamped(directory, index)
    columns = catalogue.label.sum(axis=0, dtype=int)
    return {
        "corpus": index.corpus,
        "merged": [part.corpus for part in index.merged],
        "provenance": [asdict(source) for source in index.provenance],
        "format_version": index.format_version,
        "utterances": index.examples,
        "recordings": len(catalogue.recordings.values),
        "hours": round(float(catalogue.seconds.sum()) / 3600, 4),
        "classes": dict(zip(catalogue.label_classes, map(int, columns), strict=True)),
        "speakers": _counts(catalogue.speakers),
        "sessions": _counts(catalogue.sessions),
        "stages": {name: _rows(catalogue, name) for name in index.settings.stages},
        "missing": catalogue.missing_counts(),
        "shards": len(index.shards),
        "bytes": bytes_,
        "clamped": clamped,
        "dropped": dict(Counter(entry["reason"] for entry in read_dropped(directory))),
        "settings": index.settings.to_json(),
    }


def info_text(info: dict[str, Any]) -> str:
    """Render the statistics for the terminal."""
    bytes_ = dict(info["bytes"])
    lines = [
        ("corpus", f"{info['corpus']}, format {info['format_version']}"),
        *(("source", Provenance(**source).sentence) for source in info["provenance"]),
        ("utterances", f"{info['utterances']} of {info['recordings']} recording(s)"),
        ("", f"{info['hours']:.2f} hours, {info['clamped']} clamped to the media"),
        *_listed("class", info["classes"]),
        *_listed("speaker", info["speakers"]),
        *_listed("session", info["sessions"]),
        *(line for name, rows in info["stages"].items() for line in _coverage(name, rows)),
        *(line for name, codes in info["missing"].items() for line in _listed(f"no {name}", codes)),
        ("bytes", f"{bytes_.pop('total')} in {info['shards']} shard(s)"),
        *((f"  {name}", str(size)) for name, size in bytes_.items()),
        *_listed("dropped", info["dropped"]),
        *_listed("setting", flatten(info["settings"])),
    ]
    return named_lines(lines, 11)


def _listed(name: str, values: dict[str, Any]) -> Iterator[tuple[str, str]]:
    width = max(map(len, values), default=0)
    for key, value in values.items():
        yield name, f"{key or '(unknown)':{width}}  {'(none)' if value == '' else value}"


def _counts(names: Names) -> dict[str, int]:
    counts = np.bincount(names.codes, minlength=len(names.values)).tolist()
    return dict(zip(names.values, counts, strict=True))


def _rows(catalogue: Catalogue, stage: str) -> dict[str, Any]:
    """Rows of a stage; for each counted column, the ones and the utterances with few."""
    if stage not in catalogue.counts:
        return {}
    rows = catalogue.counts[stage]
    found: dict[str, Any] = {"rows": int(rows.sum())}
    for name, ones in catalogue.counts.items():
        if name.startswith(f"{stage}/"):
            low = np.flatnonzero(2 * ones < rows)
            found[name.removeprefix(f"{stage}/")] = {
                "count": int(ones.sum()),
                "share": round(int(ones.sum()) / max(found["rows"], 1), 4),
                "utterances_below_half": catalogue.ids.take(low).to_pylist(),
            }
    return found


def _coverage(stage: str, rows: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name, counted in rows.items():
        if isinstance(counted, dict):
            low = counted["utterances_below_half"]
            named = ", ".join(low[:_NAMED]) + (", …" if len(low) > _NAMED else "")
            share = f"{counted['count']} {name} of {rows['rows']} ({counted['share']:.1%})"
            yield stage, share
            yield "", f"{len(low)} utterance(s) with less than half{': ' if low else ''}{named}"
        elif len(rows) == 1:
            yield stage, f"{counted} rows"


def _bytes_and_clamped(directory: Path, index: Index) -> tuple[dict[str, int], int]:
    """Bytes of each stage, and of other columns as ``rest``; number of clamped utterances."""
    sums: Counter[str] = Counter()
    clamped = 0
    for entry in index.shards:
        with ShardReader(directory / entry.name, index=index) as reader:
            clamped += int(np.count_nonzero(reader.column("clamped")))
            for column in columns_of(index.settings):
                sums[column.path.split("/")[0]] += reader.stored_bytes(column.path)
    stages = {stage: sums[stage] for stage in index.settings.stages}
    total = index.size_bytes
    return {"total": total, **stages, "rest": total - sum(stages.values())}, clamped
