"""Checks the rows of one shard against the numbered invariants of docs/shard-format.md.

Leaves checks that need all shards to `checks`, and types and shapes, which are already checked
here, to `layout`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fv2es_prep.config import MODALITIES, MODALITY_NAMES, PrepSettings
from fv2es_prep.errors import DAMAGE, DropReason, words_of
from fv2es_prep.shards.digests import digests_of, parts_of, row_digests
from fv2es_prep.shards.layout import is_absolute
from fv2es_prep.shards.schema import MISSING, columns_of
from fv2es_prep.shards.verify.finding import Finding
from fv2es_prep.stages.registry import modalities_of, stages_of
from fv2es_prep.stages.stage_rows import StageRows

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Most bytes of the columns of a shard that are held in memory: texts, numbers, digests, offsets.
MOST_SMALL_BYTES = 128 << 20
_SHA256 = re.compile(r"[0-9a-f]{64}|unreadable|")
_CODES = {*DropReason}
_DROPPED_TEXT = ("id", "reason", "sentence", "file", "recording_id")


# Path -> array, or list of str for text.
Columns = dict[str, Any]


def small_columns(stored: Mapping[str, Any], settings: PrepSettings) -> Columns:
    """Convert texts of a valid layout to lists of str; keep other columns.

    Raises:
        ValueError: a text is not UTF-8, or the columns in memory exceed `MOST_SMALL_BYTES`.
    """
    columns = columns_of(settings)
    small = [c.path for c in columns if c.kind not in ("ragged", "bytes") or c.counted]
    if (size := sum(stored[path].nbytes for path in small)) > MOST_SMALL_BYTES:
        raise ValueError(
            f"its small columns have {size} bytes, expected at most {MOST_SMALL_BYTES}"
        )
    texts = [c.path for c in columns if c.kind == "text"]
    return {**stored, **{path: [v.decode() for v in stored[path].tolist()] for path in texts}}


def check_small(columns: Columns, settings: PrepSettings) -> Iterator[tuple[str, str]]:
    """Check what must hold before an example is read; yield code and sentence of violations."""
    stages = _stages(columns, settings)
    yield from _check_offsets(stages)
    checks = [(rows, check) for rows in stages for check in rows.stage.checks if check.at_open]
    yield from _problems(columns, _bad_rows(columns))
    yield from _problems(columns, ((c.code, c.sentence, c.bad(rows)) for rows, c in checks))
    found = np.frombuffer(b"".join(row_digests(columns, settings)), np.uint8)
    stored = columns["digest/row"]
    damaged = (found.reshape(stored.shape) != stored).any(axis=1)
    yield from _problems(columns, [("I23", "the row is damaged", damaged)])


def check_rows(name: str, columns: Columns, settings: PrepSettings) -> list[Finding]:
    """Check every invariant of the columns that `small_columns` returned."""
    stages = _stages(columns, settings)
    problems = list(_check_offsets(stages))
    # An example whose rows are unknown cannot be checked.
    if not problems:
        with np.errstate(all="ignore"):
            missing = _missing(columns, settings)
            checks = [*_bad_rows(columns), *_bad_missing(columns, missing, settings)]
            absent = {}
            for rows in stages:
                gone = np.any([missing[letter] for letter in modalities_of(rows.stage)], axis=0)
                absent[rows.stage.name] = gone
                if rows.ragged:
                    sentence = f"a modality of {rows.stage.name} is missing, but it has rows"
                    checks.append(("I29", sentence, gone & (rows.lengths > 0)))
                checks += [(c.code, c.sentence, c.bad(rows) & ~gone) for c in rows.stage.checks]
            problems += _problems(columns, checks)
            problems += [*_check_dropped(columns), *_check_sources(columns)]
            problems += _check_parts(columns, settings, stages, absent)
    return [Finding(code, name, sentence) for code, sentence in problems]


def _stages(columns: Columns, settings: PrepSettings) -> list[StageRows]:
    return [StageRows(stage, settings, columns.__getitem__) for stage in stages_of(settings)]


def _problems(
    columns: Columns, checks: Iterable[tuple[str, str, Any]]
) -> Iterator[tuple[str, str]]:
    for code, sentence, bad in checks:
        if names := [columns["id"][number] for number in np.flatnonzero(bad)]:
            yield code, f"{sentence}: {_listed(names)}"


def _check_offsets(stages: Sequence[StageRows]) -> Iterator[tuple[str, str]]:
    for stage in stages:
        if not stage.ragged:
            continue
        group, offsets = stage.stage.name, stage.offsets
        if offsets[0] != 0 or (offsets[1:] < offsets[:-1]).any():
            yield "I3", f"{group}/offsets does not start at 0 and increase"
        for column, values in stage.ragged:
            if offsets[-1] != len(values):
                sentence = f"ends at {offsets[-1]}, {group}/{column} has {len(values)} row(s)"
                yield "I3", f"{group}/offsets {sentence}"
        for column, values in stage.bytes:
            if (wanted := stage.files[-1]) != len(values):
                sentence = f"add up to {wanted}, {group}/{column} has {len(values)} byte(s)"
                yield "I25", f"{group}/sizes {sentence}"


def _bad_rows(columns: Columns) -> Iterator[tuple[str, str, Any]]:
    """Code, sentence and bool (N,): the examples that break the invariant."""
    start, end = columns["start_s"], columns["end_s"]
    bad = ~(np.isfinite(end) & (start >= 0) & (start < end))
    yield "I8", "the span violates 0 <= start_s < end_s", bad
    bad = (columns["label"] > 1).any(axis=1)
    yield "I9", "label holds other values than 0 and 1", bad
    bad = np.isinf(columns["ratings"]).any(axis=1)
    yield "I14", "ratings are neither finite nor NaN", bad
    yield "I21", "clamped is neither 0 nor 1", columns["clamped"] > 1


def _missing(columns: Columns, settings: PrepSettings) -> dict[str, NDArray[np.bool_]]:
    """Letter of a modality -> bool (N,), where it is missing."""
    if settings.require == MODALITIES:
        return dict.fromkeys(MISSING, np.zeros(len(columns["id"]), np.bool_))
    return {key: np.array([*map(bool, columns[path])], bool) for key, path in MISSING.items()}


def _bad_missing(
    columns: Columns, missing: dict[str, NDArray[np.bool_]], settings: PrepSettings
) -> Iterator[tuple[str, str, Any]]:
    for letter, path in MISSING.items():
        if letter in settings.require:
            sentence = f"it lacks {MODALITY_NAMES[letter]}, which the settings require"
            yield "I28", sentence, missing[letter]
        if settings.require != MODALITIES:
            unknown = [bool(code) and code not in _CODES for code in columns[path]]
            yield "I28", f"{path} is neither empty nor a known code", np.array(unknown, bool)
    yield "I28", "all its modalities are missing", np.all([*missing.values()], axis=0)


def _check_dropped(columns: Columns) -> Iterator[tuple[str, str]]:
    prepared = set(columns["id"])
    for place, text in enumerate(columns["dropped"]):
        entry = json_object(text)
        if not all(isinstance(entry.get(name), str) for name in _DROPPED_TEXT):
            yield "I15", f"entry {place} of dropped is not an object of the format"
        elif entry["reason"] not in _CODES:
            yield "I15", f"{entry['id']} was dropped for the unknown reason {entry['reason']!r}"
        elif entry["id"] in prepared:
            yield "I15", f"{entry['id']} is both an example and dropped"
        elif is_absolute(entry["file"]):
            yield "I17", f"the dropped {entry['id']} contains the path {entry['file']}"


def _check_sources(columns: Columns) -> Iterator[tuple[str, str]]:
    entries = [json_object(text) for text in columns["source"]]
    names = [entry.get("recording_id") for entry in entries]
    digests = [entry.get(part) for entry in entries for part in ("video", "audio")]
    sound = all(isinstance(text, str) and _SHA256.fullmatch(text) for text in digests)
    if not sound or not all(isinstance(name, str) for name in names):
        yield "I22", "an entry of source is not an object of the format"
        return
    if len(set(names)) < len(names):
        yield "I22", "source has a recording twice"
    if unknown := sorted(set(columns["recording_id"]) - set(names)):
        yield "I22", f"source lacks the recording {unknown[0]}"


def _check_parts(
    columns: Columns,
    settings: PrepSettings,
    stages: Sequence[StageRows],
    absent: dict[str, NDArray[np.bool_]],
) -> Iterator[tuple[str, str]]:
    """Check digests and each value by itself, in one pass over the large columns."""
    problems: dict[tuple[str, str], list[str]] = {}
    for number, name in enumerate(columns["id"]):
        row = {path: columns[path][number] for path in parts_of(settings)["row"]}
        try:
            for stage in stages:
                value = stage.row(number)
                row |= {f"{stage.stage.name}/{path}": array for path, array in value.items()}
                gone = absent[stage.stage.name][number]
                if not gone and (problem := stage.stage.problem(value, settings)):
                    problems.setdefault(problem, []).append(name)
        except DAMAGE as error:
            yield "unreadable", f"{name}: {words_of(error)}"
            continue
        found = digests_of(row, settings)
        stored = {part: columns[f"digest/{part}"][number].tobytes() for part in found}
        if damaged := [part for part in found if found[part] != stored[part]]:
            yield "I23", f"{name} is damaged in its {', '.join(damaged)}"
    for (code, sentence), names in problems.items():
        yield code, f"{sentence}: {_listed(names)}"


def json_object(text: str) -> dict[str, Any]:
    """Parse a JSON object; empty if the text is not one."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _listed(names: Sequence[str]) -> str:
    return f"{len(names)} utterance(s), first {names[0]}"
