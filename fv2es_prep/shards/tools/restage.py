"""Adding stages to a dataset, made from what it stores, and removing stages: no media are decoded.

New shards are built beside the old ones, so that a run that was killed continues; they take the
place of the old ones when all are whole.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from fv2es_prep.config import PrepSettings, digest_of
from fv2es_prep.errors import ShardError, UsageError
from fv2es_prep.shards.catalogue import write_catalogue
from fv2es_prep.shards.dropped import read_dropped
from fv2es_prep.shards.index import INDEX_NAME, Index, ShardEntry, read_index, write_index
from fv2es_prep.shards.reader import ShardReader
from fv2es_prep.shards.tools.report import REPORT_NAME, write_report
from fv2es_prep.shards.writer import ShardHeader, ShardWriter
from fv2es_prep.stages.base import MEDIA
from fv2es_prep.stages.fingerprint import later_fingerprints
from fv2es_prep.stages.registry import (
    StageContext,
    choose_stages,
    load_stage,
    modalities_of,
    sections_of,
)
from fv2es_prep.stages.tokens import TOKENIZER_DIR
from fv2es_prep.types import Dropped, Example
from fv2es_prep.utils.files import cannot_write, make_directory, sha256_of

ASIDE_NAME = ".restaged"
Report = Callable[[int], None]


def add_stages(directory: Path, names: Sequence[str], report: Report = lambda _: None) -> Index:
    """Make stages of every example from its stored stages and its transcript.

    ``report`` is called with the number of utterances done since the last call.

    Stages that are there already are left as they are.

    Raises:
        UsageError: a stage is unknown, or the directory holds no dataset.
        SettingsError: a stage needs another one, or media, that the dataset does not store.
        ShardError: a shard is damaged.
        OutputError: the dataset cannot be written.
    """
    index = read_index(directory)
    names = [name for name in names if name not in index.settings.stages]
    if not names:
        return index
    for name in names:
        if media := {*load_stage(name).needs} & {*MEDIA}:
            raise UsageError(
                f"the stage {name} is made of {min(media)}, which shards do not store",
                "run `fv2es prep` on the corpus again with this stage in --stages; what exists is "
                "kept",
            )
    stages = choose_stages([*index.settings.stages, *names])
    others = {**index.settings.others, **sections_of(names)}
    return _restage(directory, index, replace(index.settings, stages=stages, others=others), report)


def drop_stages(directory: Path, names: Sequence[str], report: Report = lambda _: None) -> Index:
    """Remove stages and their columns.

    Raises:
        UsageError: a stage is not there, or none would be left.
        SettingsError: another stage needs one of them.
        ShardError: a shard is damaged.
        OutputError: the dataset cannot be written.
    """
    index = read_index(directory)
    if absent := [name for name in names if name not in index.settings.stages]:
        raise UsageError(
            f"{directory} has no stage {absent[0]}", f"it has {', '.join(index.settings.stages)}"
        )
    left = [name for name in index.settings.stages if name not in names]
    if not left:
        raise UsageError(f"{directory} would have no stage left", "keep at least one")
    others = {k: v for k, v in index.settings.others.items() if k not in names}
    settings = replace(index.settings, stages=choose_stages(left), others=others)
    return _restage(directory, index, settings, report)


def finish_exchange(directory: Path) -> None:
    """Put new shards in their place, if an earlier process was killed while it did so."""
    if not (directory / INDEX_NAME).exists() and (directory / ASIDE_NAME / INDEX_NAME).exists():
        _exchange(directory, read_index(directory / ASIDE_NAME))


def _restage(directory: Path, index: Index, settings: PrepSettings, report: Report) -> Index:
    tokenizer = str(directory / TOKENIZER_DIR)
    context = StageContext(settings, tokenizer, index.label_classes)
    aside = directory / ASIDE_NAME
    make_directory(aside)
    entries = []
    for entry in index.shards:
        made_from = {"shard": entry.task_digest, "settings": settings.to_json()}
        entries.append(_rebuilt(directory, entry, digest_of(made_from), context))
        report(entry.examples)
    new = replace(index, settings=settings, shards=tuple(entries))
    write_index(aside, new)
    return _exchange(directory, new)


def _rebuilt(
    directory: Path, entry: ShardEntry, task_digest: str, context: StageContext
) -> ShardEntry:
    """One shard with the stages of the context, unless an earlier run has made it."""
    target = directory / ASIDE_NAME / entry.name
    if not (target.exists() and _is_made(target, task_digest)):
        with ShardReader(directory / entry.name) as reader:
            header = ShardHeader(
                reader.attribute("corpus"),
                reader.label_classes,
                tuple(json.loads(reader.attribute("rating_names"))),
                context.settings,
                reader.media_hashes(),
                task_digest,
            )
            with ShardWriter(target, header) as writer:
                for row in range(len(reader)):
                    example, known = reader.read(row), reader.fingerprints(row)
                    made = _restaged(example, context)
                    writer.append(made, later_fingerprints(known, made.utterance, context.settings))
                for dropped in reader.dropped():
                    writer.drop(dropped)
                writer.close()
    return replace(
        entry,
        sha256=sha256_of(target),
        size_bytes=target.stat().st_size,
        task_digest=task_digest,
    )


def _is_made(path: Path, task_digest: str) -> bool:
    try:
        with ShardReader(path) as reader:
            return reader.attribute("task_digest") == task_digest
    except ShardError:
        return False


def _restaged(example: Example, context: StageContext) -> Example:
    parts = {}
    for stage in context.stages:
        if stage.name in example:
            parts[stage.name] = example[stage.name]
        elif not {*modalities_of(stage)} & example.missing.keys():
            inputs = {"transcript": example.utterance.transcript, **parts}
            value = context.maker(stage)(*(inputs[need] for need in stage.needs))
            parts[stage.name] = stage.store(value, context.settings)
    return Example(example.utterance, example.label, example.missing, **parts)


def _exchange(directory: Path, index: Index) -> Index:
    """Replace the old shards by the new ones; safe to repeat after a kill."""
    aside = directory / ASIDE_NAME
    try:
        (directory / INDEX_NAME).unlink(missing_ok=True)
        for entry in index.shards:
            if (aside / entry.name).exists():
                (aside / entry.name).replace(directory / entry.name)
    except OSError as error:
        raise cannot_write(directory, error) from error
    index = write_index(directory, write_catalogue(directory, index))
    shutil.rmtree(aside, ignore_errors=True)
    if (directory / REPORT_NAME).exists():
        write_report(directory, [*map(Dropped.from_json, read_dropped(directory))])
    return index
