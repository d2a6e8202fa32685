"""Imports published splits, lists with one id per line, as split manifests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fv2es_prep.errors import SplitError
from fv2es_prep.shards.catalogue import Catalogue
from fv2es_prep.splits.manifest import SUBSETS, Split, few, read_split, repeats, split_of_rows
from fv2es_prep.splits.published import Published, recognise
from fv2es_prep.utils.files import read_regular
from fv2es_prep.utils.tables import named_lines

# A file belongs to the subset whose word is in its name.
_WORDS = {"train": ("train",), "valid": ("valid", "val", "dev"), "test": ("test",)}
_HINT = "pass a directory with a train, a valid and a test list, or the three files in this order"


@dataclass(frozen=True)
class Lists:
    """Three id lists.

    Attributes:
        ids: subset -> distinct ids in file order.
        repeated: ids that occur twice in one list.
        shared: ids that occur in two lists; kept in test, else in valid.
    """

    ids: dict[str, list[str]]
    repeated: list[str]
    shared: list[str]


@dataclass(frozen=True)
class Imported:
    """The result of an import.

    Attributes:
        lists: the lists as read.
        published: the published split that equals some or all subsets.
        changed: subset that differs from the published one -> counts ``listed`` and ``published``.
        unit: ``utterance``, ``recording``, or empty if unknown.
        not_in_shards: subset -> ids that are not in the dataset; the manifest omits them.
        split: the manifest; None for recording ids without a dataset.
    """

    lists: Lists
    published: Published | None
    changed: dict[str, dict[str, int]]
    unit: str
    not_in_shards: dict[str, list[str]]
    split: Split | None

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        split = self.split
        return {
            "listed": {subset: len(ids) for subset, ids in self.lists.ids.items()},
            "recognised": self.published.name if self.published else None,
            "exact": bool(self.published and not self.changed),
            "changed": self.changed,
            "repeated": self.lists.repeated,
            "shared": self.lists.shared,
            "unit": self.unit,
            "not_in_shards": self.not_in_shards,
            "utterances": {s: len(split.ids(s)) for s in SUBSETS} if split else None,
            "digest": split.digest() if split else None,
        }


def import_lists(lists: Lists, table: Catalogue | None) -> Imported:
    """Make a manifest from id lists.

    Args:
        lists: see `read_lists`.
        table: the catalogue; if None, ids are read as utterance ids unless they are known recording
            ids.

    Raises:
        SplitError: the dataset has none of the ids.
    """
    published, subsets = recognise(lists.ids) or (None, ())
    counts = published.counts if published else {}
    changed = {s: {"listed": len(lists.ids[s]), "published": counts[s]} for s in subsets}
    parameters: dict[str, Any] = {"unit": published.unit if published else ""}
    missing: dict[str, list[str]] = {}
    if table is not None:
        parameters["unit"], rows, missing = _find(lists.ids, table)
    if published is not None:
        parameters |= {"published": published.name, "source": published.source}
        parameters |= {"licence": published.licence, "exact": not changed, "changed": changed}
    parameters |= {"repeated": lists.repeated, "shared": lists.shared}
    parameters["not_in_shards"] = {subset: len(ids) for subset, ids in missing.items()}
    split = None
    if table is not None:
        split = split_of_rows(table, "import", parameters, rows)
    elif parameters["unit"] != "recording":
        train, valid, test = (tuple(lists.ids[subset]) for subset in SUBSETS)
        split = Split("import", parameters, train, valid, test, {})
    return Imported(lists, published, changed, parameters["unit"], missing, split)


def _find(
    lists: Mapping[str, Sequence[str]], table: Catalogue
) -> tuple[str, list[Any], dict[str, list[str]]]:
    """The unit of the ids, the rows of each subset, and the ids that are not in the dataset."""
    import pyarrow as pa
    import pyarrow.compute as pc

    ids = {subset: pa.array(lists[subset], pa.large_string()) for subset in SUBSETS}
    recordings = pa.array(table.recordings.values, pa.large_string())
    as_utterances, as_recordings = (
        {subset: pc.index_in(ids[subset], value_set=values) for subset in SUBSETS}
        for values in (table.ids, recordings)
    )
    by_recording = _hits(as_recordings) > _hits(as_utterances)
    found = as_recordings if by_recording else as_utterances
    if not _hits(found):
        raise SplitError(
            "none of the listed ids is an utterance or a recording of the dataset; "
            f"first listed: {ids['train'][0].as_py()!r}, first in the dataset: "
            f"{table.ids[0].as_py()!r}",
            "check that the lists belong to this corpus",
        )
    missing = {s: ids[s].filter(found[s].is_null()).to_pylist() for s in SUBSETS}
    rows = [found[s].drop_null().to_numpy().astype(np.int64) for s in SUBSETS]
    if by_recording:
        rows = [np.flatnonzero(np.isin(table.recordings.codes, codes)) for codes in rows]
    return "recording" if by_recording else "utterance", rows, missing


def _hits(found: Mapping[str, Any]) -> int:
    return sum(len(places) - places.null_count for places in found.values())


def import_text(imported: Imported) -> str:
    """The result of an import for the terminal."""
    return named_lines(_lines(imported), 11)


def _lines(imported: Imported) -> Iterator[tuple[str, str]]:
    published, lists, split = imported.published, imported.lists, imported.split
    if published is None:
        yield "recognised", "none: no published split has a subset with exactly these ids"
    else:
        changes = ", changed; list the ids with `fv2es splits diff LISTS PUBLISHED_LISTS`"
        name = f"{published.title} ({published.name}, {published.licence})"
        yield "recognised", name + (changes if imported.changed else ", exact")
    for subset, counts in imported.changed.items():
        listed, expected = counts["listed"], counts["published"]
        yield subset, f"differs from the published list: {listed} ids, {expected} published"
    for what, ids in (("twice in one list", lists.repeated), ("in two lists", lists.shared)):
        if ids:
            yield "listed", f"{what}: {few(ids)}"
    for subset, ids in imported.not_in_shards.items():
        if ids:
            yield subset, f"not in the dataset, omitted: {few(ids)}"
    yield "unit", imported.unit or "unknown"
    if split is not None:
        yield from ((s, f"{len(split.ids(s))} utterances") for s in SUBSETS)


def read_lists(paths: Sequence[Path]) -> Lists:
    """Read a directory of three lists, or three files.

    Raises:
        SplitError: there are not three lists, or one is unreadable or empty.
    """
    lines = {subset: _read(path) for subset, path in _files(paths).items()}
    repeated = [name for ids in lines.values() for name in repeats(ids)]
    kept: dict[str, list[str]] = {}
    shared: list[str] = []
    taken: set[str] = set()
    for subset in reversed(SUBSETS):
        distinct = dict.fromkeys(lines[subset])
        shared += [name for name in distinct if name in taken]
        kept[subset] = [name for name in distinct if name not in taken]
        taken.update(distinct)
    return Lists({s: kept[s] for s in SUBSETS}, repeated, list(dict.fromkeys(shared)))


def read_split_or_lists(path: Path) -> Split:
    """Read a manifest, or a directory of three lists as a split without class counts.

    Raises:
        SplitError: see `read_split` and `read_lists`.
    """
    if not path.is_dir():
        return read_split(path)
    train, valid, test = (tuple(ids) for ids in read_lists([path]).ids.values())
    return Split("lists", {}, train, valid, test, {})


def _files(paths: Sequence[Path]) -> dict[str, Path]:
    files = list(paths)
    if len(files) == 1 and files[0].is_dir():
        files = sorted(path for path in files[0].iterdir() if path.is_file())
    found = {s: [path for path in files if _subset_of(path) == s] for s in SUBSETS}
    if all(len(named) == 1 for named in found.values()):
        return {subset: named[0] for subset, named in found.items()}
    if len(paths) == len(SUBSETS):
        return dict(zip(SUBSETS, paths, strict=True))
    names = few([path.name for path in files]) or "an empty directory"
    raise SplitError(f"expected one train, one valid and one test list, found {names}", _HINT)


def _subset_of(path: Path) -> str | None:
    """The only subset that the file name names; None for names such as "test_of_train.txt"."""
    name = path.name.lower()
    hits = [subset for subset, words in _WORDS.items() if any(word in name for word in words)]
    return hits[0] if len(hits) == 1 else None


def _read(path: Path) -> list[str]:
    try:
        # utf-8-sig: lists written on Windows start with a byte order mark.
        text = read_regular(path).decode("utf-8-sig")
    except (OSError, ValueError) as error:
        raise SplitError(f"cannot read {path}: {error}", _HINT) from error
    ids = [line.strip() for line in text.splitlines() if line.strip()]
    if not ids:
        raise SplitError(f"{path} is empty", "write one utterance or recording id per line")
    return ids
