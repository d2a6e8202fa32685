"""Whether a dataset directory is whole and is what docs/shard-format.md says.

Owns the checks that need the index or all shards. Leaves a shard's layout and rows to `layout` and
`invariants`. Damage ends in findings, never in an exception.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from fv2es_prep.config import PrepSettings, digest_of
from fv2es_prep.errors import ShardError, UsageError
from fv2es_prep.shards.catalogue import check_catalogue
from fv2es_prep.shards.dropped import DROPPED_NAME, read_dropped
from fv2es_prep.shards.index import INDEX_NAME, Index, ShardEntry, read_index
from fv2es_prep.shards.schema import DAMAGE
from fv2es_prep.shards.verify.finding import Finding
from fv2es_prep.shards.verify.invariants import CheckedRows, check_rows, read_rows
from fv2es_prep.shards.verify.layout import check_layout
from fv2es_prep.utils.files import sha256_of

Report = Callable[[int], None]
Key = tuple[str, float, str]


@dataclass(frozen=True)
class _Facts:
    """What a check over all shards must know of one: order, origins and what was dropped."""

    name: str
    keys: list[Key]
    digests: dict[str, list[tuple[bytes, bytes]]]
    dropped: list[str]
    attributes: dict[str, str] = field(default_factory=dict)


def shards_in(directory: Path) -> list[str]:
    """Names of the shards that lie in a directory, listed or not.

    Raises:
        UsageError: it is no directory.
    """
    if not directory.is_dir():
        raise UsageError(
            f"{directory} is no directory", "pass the directory that `fv2es prep` wrote to"
        )
    return sorted(path.name for path in directory.glob("*.h5"))


def verify(
    directory: Path, report: Report = lambda _: None, check_hashes: bool = True
) -> list[Finding]:
    """Check a dataset directory: index, hashes, layout, every invariant, every example's digests.

    Args:
        directory: the dataset directory.
        report: called with 1 for each shard that is done.
        check_hashes: also compare each file's SHA-256 with the index.

    Returns:
        What is wrong; empty where all is sound.

    Raises:
        UsageError: there is no such directory.
    """
    there = shards_in(directory)
    try:
        index: Index | None = read_index(directory)
        findings = []
    except (ShardError, UsageError) as error:
        # The shards are checked all the same, each for itself.
        index, findings = None, [Finding("index", INDEX_NAME, error.sentence)]
    listed: dict[str, ShardEntry | None] = dict.fromkeys(there)
    if index:
        listed = {entry.name: entry for entry in index.shards}
    facts = []
    for name, entry in listed.items():
        found, fact = _check_shard(directory / name, entry, check_hashes)
        findings += found
        facts += [fact] if fact else []
        report(1)
    findings += [
        Finding("foreign", name, f"{INDEX_NAME} does not list it")
        for name in there
        if name not in listed
    ]
    findings += _check_together(facts)
    if index:
        findings += _check_index(index, facts)
        findings += _check_dropped(directory, facts, complete=len(facts) == len(listed))
    if index and not findings:
        # It is compared with the shards, so these have to be sound.
        findings += check_catalogue(directory, index)
    return findings


def _check_shard(
    path: Path, entry: ShardEntry | None, check_hashes: bool
) -> tuple[list[Finding], _Facts | None]:
    name = path.name
    if not path.exists():
        return [Finding("missing", name, "it is not there")], None
    findings: list[Finding] = []
    try:
        size = path.stat().st_size
        if entry and size != entry.size_bytes:
            sentence = f"it has {size} bytes, expected {entry.size_bytes}"
            findings.append(Finding("size", name, sentence))
        if entry and check_hashes and (digest := sha256_of(path)) != entry.sha256:
            sentence = f"its SHA-256 begins {digest[:12]}, expected {entry.sha256[:12]}"
            findings.append(Finding("sha256", name, sentence))
        more, facts = _look_into(path, size)
    except DAMAGE as error:
        words = " ".join(str(error).split()) or repr(error)
        return [*findings, Finding("unreadable", name, words)], None
    return findings + more, facts


def _look_into(path: Path, size: int) -> tuple[list[Finding], _Facts | None]:
    import h5py

    with h5py.File(path, "r") as file:
        findings, attributes = check_layout(path.name, file, size)
        if findings:
            return findings, None
        settings = PrepSettings.from_json(json.loads(attributes["settings"]))
        findings, rows = read_rows(path.name, file, settings)
        if findings:
            return findings, None
        return check_rows(path.name, rows), _facts_of(path.name, rows, attributes)


def _facts_of(name: str, rows: CheckedRows, attributes: dict[str, str]) -> _Facts:
    columns = rows.columns
    keys = list(
        zip(columns["recording_id"], columns["start_s"].tolist(), columns["id"], strict=True)
    )
    digests = {}
    for part in rows.settings.stages:
        origins, found = columns[f"origin/{part}"], columns[f"digest/{part}"]
        digests[part] = [(a.tobytes(), b.tobytes()) for a, b in zip(origins, found, strict=True)]
    return _Facts(name, keys, digests, columns["dropped"], attributes)


def _check_together(facts: Sequence[_Facts]) -> Iterator[Finding]:
    """What holds for the rows of a dataset as a whole: ids, recordings, order, origins."""
    ids: dict[str, str] = {}
    homes: dict[str, str] = {}
    for fact in facts:
        past: set[str] = set()
        before = ""
        for recording, _, name in fact.keys:
            if name in ids:
                sentence = f"the id {name} occurs again, it is also in {ids[name]}"
                yield Finding("I5", fact.name, sentence)
            ids.setdefault(name, fact.name)
            if recording != before and (recording in past or homes.get(recording)):
                place = homes.get(recording) or "other rows"
                yield Finding("I6", fact.name, f"the recording {recording} is also in {place}")
            past.add(recording)
            before = recording
        homes |= dict.fromkeys(past, fact.name)
        for one, other in pairwise(fact.keys):
            if not one < other:
                yield Finding("I7", fact.name, f"{other[2]} comes after {one[2]}")
    yield from _check_origins(facts)


def _check_origins(facts: Sequence[_Facts]) -> Iterator[Finding]:
    known: dict[tuple[str, bytes], bytes] = {}
    for fact in facts:
        for part, digests in fact.digests.items():
            for (origin, digest), key in zip(digests, fact.keys, strict=True):
                if any(origin) and known.setdefault((part, origin), digest) != digest:
                    sentence = f"the {part} of {key[2]} differ from others of the same origin"
                    yield Finding("I24", fact.name, sentence)


def _check_index(index: Index, facts: Sequence[_Facts]) -> Iterator[Finding]:
    names = [entry.name for entry in index.shards]
    if names != sorted(set(names)):
        yield Finding("I7", INDEX_NAME, "its shards are not in the order of their names")
    corpora = [part.corpus for part in index.parts for _ in range(part.shards)]
    places = {name: place for place, name in enumerate(names)}
    for fact in facts:
        place = places[fact.name]
        yield from _check_attributes(index, index.shards[place], corpora[place], fact)
    ends = [(places[fact.name], fact) for fact in facts if fact.keys]
    for (place, fact), (next_place, following) in pairwise(ends):
        # The order goes on from shard to shard within a part.
        same_part = _part_of(index, place) == _part_of(index, next_place)
        if same_part and not fact.keys[-1] < following.keys[0]:
            sentence = f"{following.keys[0][2]} comes after {fact.keys[-1][2]} of {fact.name}"
            yield Finding("I7", following.name, sentence)


def _part_of(index: Index, place: int) -> int:
    ends = 0
    for number, part in enumerate(index.parts):
        ends += part.shards
        if place < ends:
            return number
    return len(index.parts)


def _check_attributes(
    index: Index, entry: ShardEntry, corpus: str, fact: _Facts
) -> Iterator[Finding]:
    expected: dict[str, Any] = {
        "corpus": corpus,
        "format_version": index.format_version,
        "label_classes": list(index.label_classes),
        "rating_names": list(index.rating_names),
        "task_digest": entry.task_digest,
    }
    for name, value in expected.items():
        found = fact.attributes[name]
        if (json.loads(found) if isinstance(value, list) else found) != value:
            sentence = f"its {name} is {found}, {INDEX_NAME} says {value}"
            yield Finding("I20", fact.name, sentence)
    if PrepSettings.from_json(json.loads(fact.attributes["settings"])) != index.settings:
        yield Finding("I20", fact.name, f"its settings are not those of {INDEX_NAME}")
    if len(fact.keys) != entry.examples:
        sentence = f"it has {len(fact.keys)} examples, {INDEX_NAME} says {entry.examples}"
        yield Finding("I20", fact.name, sentence)


def _check_dropped(directory: Path, facts: Sequence[_Facts], complete: bool) -> Iterator[Finding]:
    """Whether dropped.jsonl ends with what the shards say, in their order."""
    try:
        listed = [digest_of(entry) for entry in read_dropped(directory)]
    except ShardError as error:
        yield Finding("dropped", DROPPED_NAME, error.sentence)
        return
    wanted: list[str] = []
    left = Counter(listed)
    for fact in facts:
        digests = [digest_of(json.loads(text)) for text in fact.dropped if _is_json(text)]
        wanted += digests
        if missing := Counter(digests) - left:
            sentence = f"{missing.total()} of its dropped utterances are not in {DROPPED_NAME}"
            yield Finding("I15", fact.name, sentence)
        left -= Counter(digests)
    if complete and wanted and listed[-len(wanted) :] != wanted:
        yield Finding("I15", DROPPED_NAME, "it does not end with what the shards say, in order")


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
