"""Writes one shard with other stages, made from what it stores, beside the old one.

Leaves the dataset to `restage`.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fv2es_prep.config import PrepSettings, digest_of
from fv2es_prep.errors import ShardError
from fv2es_prep.shards.index import ShardEntry
from fv2es_prep.shards.reader import ShardReader
from fv2es_prep.shards.writer import ShardHeader, ShardWriter
from fv2es_prep.stages.fingerprint import later_fingerprints
from fv2es_prep.stages.registry import StageContext, modalities_of
from fv2es_prep.stages.tokens import TOKENIZER_DIR
from fv2es_prep.types import Example
from fv2es_prep.utils.files import sha256_of

ASIDE_NAME = ".restaged"
# Examples whose values are made at once.
GROUP = 64


@dataclass(frozen=True)
class Additions:
    """How added stages are made.

    Attributes:
        sections: stage -> its settings, if they are not the defaults.
        encoders: stage -> name at the hub or directory of its encoder.
        device: see `StageContext`.
        batch: see `StageContext`.
        threads: CPU threads of torch; None keeps torch's number.
    """

    sections: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    encoders: Mapping[str, str] = field(default_factory=dict)
    device: str = "cpu"
    batch: int = 0
    threads: int | None = None


@dataclass(frozen=True)
class RestageTask:
    """One shard to write with other stages; it is pickled for a worker."""

    directory: Path
    entry: ShardEntry
    settings: PrepSettings
    label_classes: tuple[str, ...]
    additions: Additions

    def run(self) -> ShardEntry:
        """Write the new shard unless an earlier run has; return its index entry."""
        target = self.directory / ASIDE_NAME / self.entry.name
        if not (target.exists() and _is_made(target, self.digest)):
            with ShardReader(self.directory / self.entry.name) as reader:
                self._write(reader, target)
        return replace(
            self.entry,
            sha256=sha256_of(target),
            size_bytes=target.stat().st_size,
            task_digest=self.digest,
        )

    def _write(self, reader: ShardReader, target: Path) -> None:
        context, rows = self.context(), range(len(reader))
        with threads(self.additions.threads), ShardWriter(target, self.header(reader)) as writer:
            for first in rows[::GROUP]:
                append([(reader, row) for row in rows[first : first + GROUP]], writer, context)
            for dropped in reader.dropped():
                writer.drop(dropped)
            writer.close()

    @property
    def digest(self) -> str:
        """The digest of the inputs of the new shard."""
        made_from = {"shard": self.entry.task_digest, "settings": self.settings.to_json()}
        return digest_of(made_from)

    def context(self) -> StageContext:
        """The context that makes the values."""
        return StageContext(
            self.settings,
            str(self.directory / TOKENIZER_DIR),
            self.label_classes,
            self.additions.device,
            tuple(self.additions.encoders.items()),
            self.additions.batch,
        )

    def header(self, reader: ShardReader) -> ShardHeader:
        """The header of the new shard."""
        return ShardHeader(
            reader.attribute("corpus"),
            reader.label_classes,
            tuple(json.loads(reader.attribute("rating_names"))),
            self.settings,
            reader.media_hashes(),
            self.digest,
        )


def append(
    places: Sequence[tuple[ShardReader, int]], writer: ShardWriter, context: StageContext
) -> list[Example]:
    """Append the examples at (shard, row) with all stages of the context; return them."""
    made = _restaged([reader.read(row) for reader, row in places], context)
    for (reader, row), example in zip(places, made, strict=True):
        known = reader.fingerprints(row)
        writer.append(example, later_fingerprints(known, example.utterance, context.settings))
    return made


def _is_made(path: Path, task_digest: str) -> bool:
    try:
        with ShardReader(path) as reader:
            return reader.attribute("task_digest") == task_digest
    except ShardError:
        return False


def _restaged(examples: Sequence[Example], context: StageContext) -> list[Example]:
    parts: list[dict[str, Any]] = [{} for _ in examples]
    for stage in context.stages:
        todo = []
        for example, made in zip(examples, parts, strict=True):
            if stage.name in example:
                made[stage.name] = example[stage.name]
            elif not {*modalities_of(stage)} & example.missing.keys():
                inputs = {"transcript": example.utterance.transcript, **made}
                todo.append((made, tuple(inputs[need] for need in stage.needs)))
        values = context.make_many(stage, [inputs for _, inputs in todo]) if todo else []
        for (made, _), value in zip(todo, values, strict=True):
            made[stage.name] = stage.store(value, context.settings)
    return [
        Example(example.utterance, example.label, example.missing, **made)
        for example, made in zip(examples, parts, strict=True)
    ]


@contextlib.contextmanager
def threads(count: int | None) -> Iterator[None]:
    """Run torch on this many threads; None keeps torch's number."""
    if count is None:
        yield
        return
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
