"""Merges datasets: keeps their shards unchanged under new names, with a new index.

Each shard keeps its corpus attribute. The index lists the parts (`Index.merged`) and names the
corpus ``a+b``, a name that no corpus adapter has.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from fv2es_prep.errors import ShardError, UsageError
from fv2es_prep.shards.catalogue import read_catalogue, write_catalogue
from fv2es_prep.shards.dropped import read_dropped, write_dropped
from fv2es_prep.shards.index import Index, Part, ShardEntry, read_index, shard_names, write_index
from fv2es_prep.shards.reader import ShardReader
from fv2es_prep.stages.tokens import TOKENIZER_DIR
from fv2es_prep.utils.files import (
    cannot_write,
    make_directory,
    refuse_full,
    refuse_url,
    sha256_of,
    whole_file,
)

_NAMED = 3


def merge(
    parts: Sequence[Path], out: Path, report: Callable[[int], None] = lambda _: None
) -> Index:
    """Merge several datasets into one.

    Args:
        parts: dataset directories, at least two.
        out: a new directory; shards are hard links if possible, otherwise copies.
        report: called with 1 for each shard done.

    Returns:
        The index of the new dataset.

    Raises:
        UsageError: the parts differ in settings, classes or ratings, share an utterance or a
            recording, or the directory is not empty.
        ShardError: a part is damaged.
        OutputError: the directory cannot be written.
    """
    for directory in (*parts, out):
        refuse_url(directory)
    if len(parts) < 2:
        raise UsageError("there is only one dataset to merge", "name at least two directories")
    refuse_full(out)
    indexes = [read_index(part) for part in parts]
    for part, index in zip(parts[1:], indexes[1:], strict=True):
        _check_equal(parts[0], indexes[0], part, index)
    _check_apart(parts)
    dropped = [_dropped(part, index) for part, index in zip(parts, indexes, strict=True)]
    make_directory(out)
    entries = list(_link_all(parts, indexes, out, report))
    # Order as in all datasets: first what the scans dropped, then what the shards dropped.
    write_dropped(out, [entry for half in (0, 1) for pair in dropped for entry in pair[half]])
    _copy_tokenizer(parts, out)
    every = [part for index in indexes for part in index.parts]
    merged = dataclasses.replace(
        indexes[0],
        corpus="+".join(part.corpus for part in every),
        shards=tuple(entries),
        merged=tuple(Part(part.corpus, part.shards) for part in every),
        reconciliation={},
        provenance=tuple(source for index in indexes for source in index.provenance),
    )
    return write_index(out, write_catalogue(out, merged))


def _copy_tokenizer(parts: Sequence[Path], out: Path) -> None:
    """Copy the tokenizer's files if a part has them; equal settings mean equal files."""
    for source in (part / TOKENIZER_DIR for part in parts):
        if source.is_dir():
            try:
                shutil.copytree(source, out / TOKENIZER_DIR)
            except OSError as error:
                raise cannot_write(out / TOKENIZER_DIR, error) from error
            return


def _check_equal(first: Path, a: Index, second: Path, b: Index) -> None:
    hint = "prepare both with the same options, then merge them"
    for name, words in (
        ("format_version", "format version"),
        ("label_classes", "classes"),
        ("rating_names", "rating names"),
    ):
        here, there = getattr(a, name), getattr(b, name)
        if here != there:
            names = [v if isinstance(v, str) else ", ".join(v) or "none" for v in (here, there)]
            raise UsageError(
                f"{first} has the {words} {names[0]}, but {second} has {names[1]}", hint
            )
    for path, (here, there) in a.settings.differences(b.settings).items():
        raise UsageError(f"{first} has {path} {here}, but {second} has {there}", hint)


def _check_apart(parts: Sequence[Path]) -> None:
    homes: dict[tuple[str, str], Path] = {}
    for part in parts:
        catalogue = read_catalogue(part)
        held = {"utterance": catalogue.ids.to_pylist(), "recording": catalogue.recordings.values}
        for kind, names in held.items():
            keys = [(kind, name) for name in dict.fromkeys(names)]
            if shared := [key for key in keys if key in homes]:
                named = ", ".join(name for _, name in shared[:_NAMED])
                raise UsageError(
                    f"{homes[shared[0]]} and {part} share {len(shared)} {kind}(s): {named}",
                    "prepare them into one directory instead: a merged dataset has each only once",
                )
            homes |= dict.fromkeys(keys, part)


def _dropped(part: Path, index: Index) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Entries dropped by the scan, and entries dropped in shards."""
    entries = read_dropped(part)
    count = 0
    for entry in index.shards:
        with ShardReader(part / entry.name) as reader:
            count += len(reader.column("dropped"))
    return entries[: len(entries) - count], entries[len(entries) - count :]


def _link_all(
    parts: Sequence[Path], indexes: Sequence[Index], out: Path, report: Callable[[int], None]
) -> Iterator[ShardEntry]:
    names = iter(shard_names("merged", sum(len(index.shards) for index in indexes)))
    for part, index in zip(parts, indexes, strict=True):
        for entry in index.shards:
            name = next(names)
            _link(part / entry.name, out / name)
            if sha256_of(out / name) != entry.sha256:
                (out / name).unlink()
                raise ShardError(
                    f"{part / entry.name} has other bytes than its index says",
                    f"check it with `fv2es shards verify {part}`",
                )
            yield dataclasses.replace(entry, name=name)
            report(1)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source.resolve(), target)
    except OSError:
        # The target is on another file system, or on one without links.
        try:
            with whole_file(target) as temporary:
                shutil.copyfile(source, temporary)
        except OSError as error:
            raise cannot_write(target, error) from error
