"""Checks that a dataset directory is complete and follows docs/shard-format.md.

Owns the checks that need the index or all shards. Leaves a shard's layout and rows to `layout` and
`invariants`. Damage gives findings, never an exception.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from fv2es_prep.config import PrepSettings, digest_of
from fv2es_prep.errors import DAMAGE, ShardError, UsageError, words_of
from fv2es_prep.shards.catalogue import Catalogue
from fv2es_prep.shards.catalogue_file import is_of, read_column, table_from_shards
from fv2es_prep.shards.dropped import DROPPED_NAME, read_dropped
from fv2es_prep.shards.index import CATALOGUE_NAME, INDEX_NAME, Index, ShardEntry, read_index
from fv2es_prep.shards.opening import map_shard, regular_size
from fv2es_prep.shards.verify.finding import Finding
from fv2es_prep.shards.verify.invariants import check_rows, json_object, small_columns
from fv2es_prep.stages.registry import is_installed, load_stage
from fv2es_prep.store.shard_cache import dataset_directory, here, shards_of_mirror
from fv2es_prep.utils.files import sha256_of
from fv2es_prep.utils.processes import in_order


@dataclass(frozen=True)
class _ShardMetadata:
    """What checks over all shards need from one; ``keys``: recording, start, id of each row."""

    name: str
    keys: list[tuple[str, float, str]]
    digests: dict[str, list[tuple[bytes, bytes]]]
    dropped: list[str]
    attributes: dict[str, str]


def shards_in(directory: Path) -> list[str]:
    """Names of the shards in a directory, listed or not.

    Raises:
        UsageError: it is not a directory.
    """
    directory = dataset_directory(directory)
    if not directory.is_dir():
        raise UsageError(
            f"{directory} is not a directory", "pass the directory that `fv2es prep` wrote to"
        )
    names = {path.name for path in directory.glob("*.h5")}
    return sorted(names | shards_of_mirror(directory))


def verify(
    directory: Path,
    report: Callable[[int], None] = lambda _: None,
    check_hashes: bool = True,
    jobs: int = 1,
) -> list[Finding]:
    """Check a dataset: index, hashes, layout, every invariant, every example's digests.

    Args:
        directory: the dataset directory, or the URL of one.
        report: called with 1 for each shard done.
        check_hashes: also compare each file's SHA-256 with the index.
        jobs: number of processes that check shards; 1 is this process. The findings are the same.

    Returns:
        The findings; empty if the dataset is OK.

    Raises:
        UsageError: the directory does not exist.
        WorkError: a process was killed.
    """
    directory = dataset_directory(directory)
    there = shards_in(directory)
    listed: dict[str, ShardEntry | None] = dict.fromkeys(there)
    index, findings, shards = None, [], []
    try:
        index = read_index(directory)
        listed = {entry.name: entry for entry in index.shards}
    except (ShardError, UsageError) as error:
        # The shards are still checked, each on its own.
        findings.append(Finding("index", INDEX_NAME, error.sentence))
    tasks = [(directory / name, entry, check_hashes) for name, entry in listed.items()]
    for found, shard in in_order(_check_shard, tasks, jobs):
        findings += found
        shards += [shard] if shard else []
        report(1)
    sentence = f"it is not in {INDEX_NAME}"
    findings += [Finding("foreign", name, sentence) for name in there if name not in listed]
    findings += _check_together(shards)
    if index:
        findings += _check_index(index, shards)
        findings += _check_dropped(directory, shards, complete=len(shards) == len(listed))
        if check_hashes:
            findings += _check_files(directory, index)
    if index and not findings:
        # Compared with the shards, so these must be OK.
        findings += _check_catalogue(directory, index)
    return findings


def _check_shard(
    path: Path, entry: ShardEntry | None, check_hashes: bool
) -> tuple[list[Finding], _ShardMetadata | None]:
    name = path.name
    findings: list[Finding] = []
    try:
        if not here(path).exists():
            return [Finding("missing", name, "the file does not exist")], None
        size = regular_size(path)
        if entry and size != entry.size_bytes:
            sentence = f"it has {size} bytes, expected {entry.size_bytes}"
            findings.append(Finding("size", name, sentence))
        if entry and check_hashes and (digest := sha256_of(path)) != entry.sha256:
            sentence = f"its SHA-256 begins with {digest[:12]}, expected {entry.sha256[:12]}"
            findings.append(Finding("sha256", name, sentence))
        more, shard = _read_shard(path)
    except (ShardError, *DAMAGE) as error:
        return [*findings, Finding("unreadable", name, words_of(error))], None
    return findings + more, shard


def _read_shard(path: Path) -> tuple[list[Finding], _ShardMetadata | None]:
    name = path.name
    layout, content, _ = map_shard(path)
    if layout.problems or layout.settings is None:
        return [Finding(code, name, sentence) for code, sentence in layout.problems], None
    settings = layout.settings
    stored = {path: column.of(content) for path, column in layout.columns.items()}
    columns = small_columns(stored, settings)
    times = columns["start_s"].tolist()
    keys = list(zip(columns["recording_id"], times, columns["id"], strict=True))
    digests = {}
    for part in settings.stages:
        pairs = zip(columns[f"origin/{part}"], columns[f"digest/{part}"], strict=True)
        digests[part] = [(origin.tobytes(), found.tobytes()) for origin, found in pairs]
    shard = _ShardMetadata(name, keys, digests, columns["dropped"], layout.attributes)
    return check_rows(name, columns, settings), shard


def _check_together(shards: Sequence[_ShardMetadata]) -> Iterator[Finding]:
    """Check rows across shards: ids, recordings, order, origins."""
    ids: dict[str, str] = {}
    homes: dict[str, str] = {}
    for shard in shards:
        past: set[str] = set()
        before = ""
        for recording, _, name in shard.keys:
            if name in ids:
                sentence = f"the id {name} occurs twice, also in {ids[name]}"
                yield Finding("I5", shard.name, sentence)
            ids.setdefault(name, shard.name)
            if recording != before and (recording in past or homes.get(recording)):
                place = homes.get(recording) or "other rows"
                yield Finding("I6", shard.name, f"the recording {recording} is also in {place}")
            past.add(recording)
            before = recording
        homes |= dict.fromkeys(past, shard.name)
        for one, other in pairwise(shard.keys):
            if not one < other:
                yield Finding("I7", shard.name, f"{other[2]} comes after {one[2]}")
    known: dict[tuple[str, bytes], bytes] = {}
    for shard in shards:
        for part, digests in shard.digests.items():
            if is_installed(part) and load_stage(part).tolerance:
                # Its last bits depend on the batch in which it was made.
                continue
            for (origin, digest), key in zip(digests, shard.keys, strict=True):
                if any(origin) and known.setdefault((part, origin), digest) != digest:
                    sentence = f"the {part} of {key[2]} differs from others with the same origin"
                    yield Finding("I24", shard.name, sentence)


def _check_index(index: Index, shards: Sequence[_ShardMetadata]) -> Iterator[Finding]:
    names = [entry.name for entry in index.shards]
    if names != sorted(set(names)):
        yield Finding("I7", INDEX_NAME, "its shards are not in the order of their names")
    entries = {entry.name: entry for entry in index.shards}
    numbers = [number for number, part in enumerate(index.parts) for _ in range(part.shards)]
    part_of = dict(zip(names, numbers, strict=True))
    for shard in shards:
        corpus = index.parts[part_of[shard.name]].corpus
        yield from _check_attributes(index, entries[shard.name], corpus, shard)
    for shard, following in pairwise(shard for shard in shards if shard.keys):
        # The order continues from shard to shard within a part.
        same_part = part_of[shard.name] == part_of[following.name]
        if same_part and not shard.keys[-1] < following.keys[0]:
            sentence = f"{following.keys[0][2]} comes after {shard.keys[-1][2]} of {shard.name}"
            yield Finding("I7", following.name, sentence)


def _check_attributes(
    index: Index, entry: ShardEntry, corpus: str, shard: _ShardMetadata
) -> Iterator[Finding]:
    expected: dict[str, Any] = {
        "corpus": corpus,
        "format_version": index.format_version,
        "label_classes": list(index.label_classes),
        "rating_names": list(index.rating_names),
        "task_digest": entry.task_digest,
    }
    for name, value in expected.items():
        found = shard.attributes[name]
        if (json.loads(found) if isinstance(value, list) else found) != value:
            sentence = f"its {name} is {found}, expected {value} as in {INDEX_NAME}"
            yield Finding("I20", shard.name, sentence)
    if PrepSettings.from_json(json.loads(shard.attributes["settings"])) != index.settings:
        yield Finding("I20", shard.name, f"its settings differ from those in {INDEX_NAME}")
    if len(shard.keys) != entry.examples:
        sentence = (
            f"it has {len(shard.keys)} examples, expected {entry.examples} as in {INDEX_NAME}"
        )
        yield Finding("I20", shard.name, sentence)


def _check_dropped(
    directory: Path, shards: Sequence[_ShardMetadata], complete: bool
) -> Iterator[Finding]:
    """Check that dropped.jsonl ends with the entries of the shards, in their order."""
    try:
        listed = [digest_of(entry) for entry in read_dropped(directory)]
    except ShardError as error:
        yield Finding("dropped", DROPPED_NAME, error.sentence)
        return
    wanted: list[str] = []
    left = Counter(listed)
    for shard in shards:
        # An entry that is not an object is a finding of its shard.
        digests = [digest_of(entry) for text in shard.dropped if (entry := json_object(text))]
        wanted += digests
        if missing := Counter(digests) - left:
            sentence = f"{missing.total()} of its dropped utterances are not in {DROPPED_NAME}"
            yield Finding("I15", shard.name, sentence)
        left -= Counter(digests)
    if complete and wanted and listed[-len(wanted) :] != wanted:
        yield Finding(
            "I15", DROPPED_NAME, "it does not end with the entries of the shards in their order"
        )


def _check_files(directory: Path, index: Index) -> Iterator[Finding]:
    """Check the files beside the shards in the index; an older index has none."""
    for name, expected in index.files.items():
        path = directory / name
        try:
            regular_size(path)
            found = sha256_of(path)
        except (ShardError, OSError) as error:
            code = "unreadable" if path.exists() else "missing"
            yield Finding(code, name, words_of(error))
            continue
        if found != expected:
            sentence = f"its SHA-256 begins with {found[:12]}, expected {expected[:12]}"
            yield Finding("sha256", name, sentence)


def _check_catalogue(directory: Path, index: Index) -> Iterator[Finding]:
    """Check catalogue.parquet against the shards; one of an older version lacks columns."""
    import pyarrow.parquet as pq

    path = directory / CATALOGUE_NAME
    if not path.exists():
        return
    try:
        regular_size(path)
        found = pq.read_metadata(path)
        if not is_of(found.metadata, found.num_rows, index):
            sentence = "it belongs to other shards than those in the index"
            yield Finding("catalogue", CATALOGUE_NAME, sentence)
            return
        wanted = table_from_shards(directory, index)
        names = found.schema.to_arrow_schema().names
        differ = [n for n in names if not _equal(read_column(path, n, index), wanted[n])]
    except (ShardError, OSError, ValueError, LookupError) as error:
        yield Finding("catalogue", CATALOGUE_NAME, words_of(error))
        return
    if (counts := Catalogue(index, wanted.column).missing_counts()) != index.missing:
        sentence = f"it counts {index.missing} as missing, expected {counts} as in the shards"
        yield Finding("I20", INDEX_NAME, sentence)
    if differ:
        sentence = f"it differs from the shards in {', '.join(differ)}"
        yield Finding("catalogue", CATALOGUE_NAME, sentence)


def _equal(found: Any, wanted: Any) -> bool:
    # A column stored as a dictionary is read as one.
    found = found.cast(wanted.type)
    if len(found) == len(wanted) and str(wanted.type) == "float":
        # Compare bits, since a rating may be NaN.
        return bool(found.to_numpy().tobytes() == wanted.to_numpy().tobytes())
    return bool(found == wanted)
