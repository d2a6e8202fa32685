"""Whether the rows of a shard keep the numbered invariants of docs/shard-format.md.

Owns one check for each invariant that a single shard can break. Leaves what needs all shards of a
dataset to `verify`, and types and shapes, which are known to be right here, to `layout`.
"""

from __future__ import annotations

import functools
import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fv2es_prep.config import PrepSettings
from fv2es_prep.errors import DropReason
from fv2es_prep.shards.digests import digests_of, parts_of
from fv2es_prep.shards.schema import DAMAGE, columns_of
from fv2es_prep.shards.verify.finding import Finding
from fv2es_prep.shards.verify.layout import is_absolute
from fv2es_prep.stages.registry import stages_of
from fv2es_prep.stages.stage_rows import StageRows

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Columns with longer rows are read example by example; all others are small.
_SMALL_ROW_BYTES = 64
_SHA256 = re.compile(r"[0-9a-f]{64}|unreadable")
_DROPPED_TEXT = ("id", "reason", "sentence", "file", "recording_id")


@dataclass(frozen=True)
class CheckedRows:
    """The rows of one shard.

    Attributes:
        columns: path -> array, or list of str for text; the open column where its rows are large.
        settings: the settings that made the shard.
    """

    columns: dict[str, Any]
    settings: PrepSettings

    def __len__(self) -> int:
        return len(self.columns["id"])

    @functools.cached_property
    def stages(self) -> list[StageRows]:
        """The rows of each stage."""
        column = self.columns.__getitem__
        return [StageRows(stage, self.settings, column) for stage in stages_of(self.settings)]

    def row(self, number: int) -> dict[str, Any]:
        """Column path -> value of one example, of the columns that belong to no stage."""
        return {path: self.columns[path][number] for path in parts_of(self.settings)["row"]}


def read_rows(name: str, file: Any, settings: PrepSettings) -> tuple[list[Finding], CheckedRows]:
    """The small columns of a shard whose layout is sound, and what of them cannot be read."""
    findings, columns = [], {}
    for column in columns_of(settings):
        data, text = file[column.path], column.kind == "text"
        large = column.kind == "bytes" or (not text and _row_bytes(data) > _SMALL_ROW_BYTES)
        try:
            if large:
                columns[column.path] = data
            else:
                columns[column.path] = [v.decode() for v in data[()]] if text else data[()]
        except DAMAGE as error:
            words = " ".join(str(error).split())
            findings.append(Finding("unreadable", name, f"{column.path}: {words}"))
    return findings, CheckedRows(columns, settings)


def _row_bytes(data: Any) -> int:
    row: tuple[int, ...] = data.shape[1:]
    return int(data.dtype.itemsize) * math.prod(row)


def check_rows(name: str, rows: CheckedRows) -> list[Finding]:
    """Check every invariant of a shard's rows.

    Args:
        name: the shard's name, for the findings.
        rows: from `read_rows`, without a finding.
    """
    if broken := list(_check_offsets(rows)):
        # Nothing can be said of an example whose rows are not known.
        return [Finding(code, name, sentence) for code, sentence in broken]
    findings = []
    with np.errstate(all="ignore"):
        checks = [(code, sentence, bad(rows)) for code, sentence, bad in _CHECKS]
        checks += [(c.code, c.sentence, c.bad(r)) for r in rows.stages for c in r.stage.checks]
        for code, sentence, bad in checks:
            if len(found := np.flatnonzero(bad)):
                names = [rows.columns["id"][number] for number in found]
                findings.append(Finding(code, name, f"{sentence}: {_listed(names)}"))
        problems = [*_check_dropped(rows), *_check_sources(rows), *_check_parts(rows)]
    return findings + [Finding(code, name, sentence) for code, sentence in problems]


def _check_offsets(rows: CheckedRows) -> Iterator[tuple[str, str]]:
    for stage in rows.stages:
        if not stage.ragged:
            continue
        group, offsets = stage.stage.name, stage.offsets
        if offsets[0] != 0 or (offsets[1:] < offsets[:-1]).any():
            yield "I3", f"{group}/offsets does not begin at 0 and rise"
        for column, values in stage.ragged:
            if offsets[-1] != len(values):
                sentence = f"ends at {offsets[-1]}, {group}/{column} has {len(values)} row(s)"
                yield "I3", f"{group}/offsets {sentence}"
        for column, values in stage.bytes:
            if (wanted := stage.files[-1]) != len(values):
                sentence = f"add up to {wanted}, {group}/{column} has {len(values)} byte(s)"
                yield "I25", f"{group}/sizes {sentence}"


def _i8(rows: CheckedRows) -> NDArray[np.bool_]:
    start, end = rows.columns["start_s"], rows.columns["end_s"]
    bad: NDArray[np.bool_] = ~(np.isfinite(end) & (start >= 0) & (start < end))
    return bad


def _i9(rows: CheckedRows) -> NDArray[np.bool_]:
    bad: NDArray[np.bool_] = (rows.columns["label"] > 1).any(axis=1)
    return bad


def _i14(rows: CheckedRows) -> NDArray[np.bool_]:
    bad: NDArray[np.bool_] = np.isinf(rows.columns["ratings"]).any(axis=1)
    return bad


def _i21(rows: CheckedRows) -> NDArray[np.bool_]:
    bad: NDArray[np.bool_] = rows.columns["clamped"] > 1
    return bad


_CHECKS: tuple[tuple[str, str, Callable[[CheckedRows], NDArray[np.bool_]]], ...] = (
    ("I8", "the span is not 0 <= start_s < end_s", _i8),
    ("I9", "label holds other values than 0 and 1", _i9),
    ("I14", "ratings are neither finite nor NaN", _i14),
    ("I21", "clamped is neither 0 nor 1", _i21),
)


def _check_dropped(rows: CheckedRows) -> Iterator[tuple[str, str]]:
    prepared = set(rows.columns["id"])
    known = {reason.value for reason in DropReason}
    for place, text in enumerate(rows.columns["dropped"]):
        entry = _object(text)
        if not all(isinstance(entry.get(name), str) for name in _DROPPED_TEXT):
            yield "I15", f"entry {place} of dropped is not the object that it should be"
        elif entry["reason"] not in known:
            yield "I15", f"{entry['id']} was dropped for the unknown reason {entry['reason']!r}"
        elif entry["id"] in prepared:
            yield "I15", f"{entry['id']} is both an example and dropped"
        elif is_absolute(entry["file"]):
            yield "I17", f"the dropped {entry['id']} names the path {entry['file']}"


def _check_sources(rows: CheckedRows) -> Iterator[tuple[str, str]]:
    entries = [_object(text) for text in rows.columns["source"]]
    names = [entry.get("recording_id") for entry in entries]
    digests = [entry.get(part) for entry in entries for part in ("video", "audio")]
    sound = all(isinstance(text, str) and _SHA256.fullmatch(text) for text in digests)
    if not sound or not all(isinstance(name, str) for name in names):
        yield "I22", "an entry of source is not the object that it should be"
        return
    if len(set(names)) < len(names):
        yield "I22", "source names a recording twice"
    if unknown := sorted(set(rows.columns["recording_id"]) - set(names)):
        yield "I22", f"source lacks the recording {unknown[0]}"


def _check_parts(rows: CheckedRows) -> Iterator[tuple[str, str]]:
    """The digests of each example and each value by itself, in one pass over the large columns."""
    problems: dict[tuple[str, str], list[str]] = {}
    for number, name in enumerate(rows.columns["id"]):
        row = rows.row(number)
        try:
            for stage in rows.stages:
                value = stage.row(number)
                row |= {f"{stage.stage.name}/{path}": array for path, array in value.items()}
                if problem := stage.stage.problem(value, rows.settings):
                    problems.setdefault(problem, []).append(name)
        except DAMAGE as error:
            yield "unreadable", f"{name}: {' '.join(str(error).split())}"
            continue
        found = digests_of(row, rows.settings)
        stored = {part: rows.columns[f"digest/{part}"][number].tobytes() for part in found}
        if damaged := [part for part in found if found[part] != stored[part]]:
            yield "I23", f"{name} is damaged in its {', '.join(damaged)}"
    for (code, sentence), names in problems.items():
        yield code, f"{sentence}: {_listed(names)}"


def _object(text: str) -> dict[str, Any]:
    """A JSON object; an empty one for what is none."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _listed(names: Sequence[str]) -> str:
    return f"{len(names)} utterance(s), first {names[0]}"
