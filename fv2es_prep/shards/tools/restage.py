"""Adds stages to a dataset, made from what it stores, and removes stages; decodes no media.

New shards are built beside the old ones, so that a killed run can continue. They replace the old
ones when all are complete.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from fv2es_prep.config import PrepSettings
from fv2es_prep.errors import SettingsError, UsageError
from fv2es_prep.shards.catalogue import write_catalogue
from fv2es_prep.shards.dropped import read_dropped
from fv2es_prep.shards.index import INDEX_NAME, Index, ShardEntry, read_index, write_index
from fv2es_prep.shards.tools.report import REPORT_NAME, write_report
from fv2es_prep.shards.tools.restage_shard import ASIDE_NAME, Additions, RestageTask
from fv2es_prep.stages.base import INPUTS, MEDIA
from fv2es_prep.stages.registry import choose_stages, load_stage, media_of, sections_of
from fv2es_prep.types import Dropped
from fv2es_prep.utils.files import cannot_write, make_directory

Report = Callable[[int], None]
_NOTHING = Additions()
Spread = Callable[[Sequence[RestageTask]], Iterable[ShardEntry]]


def in_turn(tasks: Sequence[RestageTask]) -> Iterator[ShardEntry]:
    """Run tasks in this process, one after the other."""
    return (task.run() for task in tasks)


def add_stages(
    directory: Path,
    names: Sequence[str],
    report: Report = lambda _: None,
    additions: Additions = _NOTHING,
    spread: Spread = in_turn,
) -> Index:
    """Make stages of every example from its stored stages and its transcript.

    Existing stages do not change.

    Args:
        directory: the dataset.
        names: stages to add.
        report: called with the number of utterances done since the last call.
        additions: settings and encoders of the stages.
        spread: runs tasks, one for each shard, and returns their entries in order.

    Raises:
        UsageError: a stage is unknown, or the directory holds no dataset.
        SettingsError: a stage needs another one, or media, that the dataset does not store.
        TokenizerError: an encoder cannot be loaded.
        ShardError: a shard is damaged.
        OutputError: the dataset cannot be written.
    """
    index = read_index(directory)
    settings = settings_with(index, names, additions.sections)
    if settings == index.settings:
        return index
    return _restage(directory, index, settings, report, additions, spread)


def settings_with(
    index: Index, names: Sequence[str], sections: Mapping[str, Mapping[str, Any]] = {}
) -> PrepSettings:
    """Return the settings of a dataset with added stages; errors as for `add_stages`."""
    stored = index.settings.stages
    names = [name for name in names if name not in stored]
    for name in names:
        needed = load_stage(name).needs
        media = [need for need in needed if need in MEDIA]
        lacking = [n for n in needed if n not in (*INPUTS, *stored, *names)]
        if media or lacking:
            kind = UsageError if media else SettingsError
            said = "needs {}, which shards do not store" if media else "needs the stage {}"
            raise kind(
                f"the stage {name} {said.format(min(media or lacking))}",
                "run `fv2es prep` on the corpus again with --stages "
                f"{','.join([*stored, *(lacking or [name])])}; it keeps existing stages, and only "
                f"{_decoded(lacking or [name])} is decoded",
            )
    stages = choose_stages([*stored, *names])
    own = {**sections_of(names), **{n: sections[n] for n in names if n in sections}}
    return replace(index.settings, stages=stages, others={**index.settings.others, **own})


def _decoded(names: Sequence[str]) -> str:
    media = {medium for name in names for medium in media_of(load_stage(name))}
    return " and ".join(sorted(media)) or "nothing"


def drop_stages(directory: Path, names: Sequence[str], report: Report = lambda _: None) -> Index:
    """Remove stages and their columns.

    Raises:
        UsageError: a stage does not exist, or none would remain.
        SettingsError: another stage needs one of them.
        ShardError: a shard is damaged.
        OutputError: the dataset cannot be written.
    """
    index = read_index(directory)
    if absent := [name for name in names if name not in index.settings.stages]:
        raise UsageError(
            f"{directory} has no stage {absent[0]}",
            f"choose from {', '.join(index.settings.stages)}",
        )
    left = [name for name in index.settings.stages if name not in names]
    if not left:
        raise UsageError(f"{directory} would have no stage left", "keep at least one stage")
    others = {k: v for k, v in index.settings.others.items() if k not in names}
    settings = replace(index.settings, stages=choose_stages(left), others=others)
    return _restage(directory, index, settings, report, _NOTHING, in_turn)


def finish_exchange(directory: Path) -> None:
    """Finish replacing the shards if an earlier process was killed during it."""
    if not (directory / INDEX_NAME).exists() and (directory / ASIDE_NAME / INDEX_NAME).exists():
        _exchange(directory, read_index(directory / ASIDE_NAME))


def _restage(
    directory: Path,
    index: Index,
    settings: PrepSettings,
    report: Report,
    additions: Additions,
    spread: Spread,
) -> Index:
    aside = directory / ASIDE_NAME
    make_directory(aside)
    tasks = [
        RestageTask(directory, entry, settings, index.label_classes, additions)
        for entry in index.shards
    ]
    entries = []
    for entry in spread(tasks):
        entries.append(entry)
        report(entry.examples)
    new = replace(index, settings=settings, shards=tuple(entries))
    write_index(aside, new)
    return _exchange(directory, new)


def _exchange(directory: Path, index: Index) -> Index:
    """Replace the old shards with the new ones; safe to repeat after a kill."""
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
