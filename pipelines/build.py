"""What one worker does with one task: recordings in, one shard and its receipt out.

Owns what happens to the utterance that fails and what is kept of earlier work. Leaves the road of
an utterance to `example`.
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self

from fv2es_prep.config import PrepSettings
from fv2es_prep.errors import (
    DropReason,
    MediaError,
    MediaKilledError,
    ShardError,
    UtteranceError,
)
from fv2es_prep.example import Made, Stages, prepare_example
from fv2es_prep.media.recording import OpenRecording
from fv2es_prep.shards.digests import digests_of
from fv2es_prep.shards.reader import ShardReader
from fv2es_prep.shards.writer import ShardWriter, example_row
from fv2es_prep.types import Dropped, Example, Recording, ShardReceipt, Utterance
from pipelines.cache import Kept
from pipelines.task import ShardTask

Report = Callable[[int], None]
# A decoder that is killed from outside may be the kernel's choice of the moment.
_ATTEMPTS = 3


def build_shard(task: ShardTask, report: Report = lambda _: None) -> ShardReceipt:
    """Prepare every utterance of a task and write its shard.

    An utterance that cannot be prepared is dropped with its reason and the rest goes on; a
    recording that cannot be decoded drops all of its utterances that are left. What an earlier run
    made from identical inputs is copied.

    Args:
        task: what to build.
        report: called with the number of utterances done since the last call.

    Returns:
        The receipt; also utterances that were dropped are in it and in the shard.

    Raises:
        MediaError: a recording cannot be decoded, and the task says to stop then.
        TokenizerError: the tokenizer cannot be loaded here.
        OutputError: the shard cannot be written.
    """
    began = time.perf_counter()
    header, counts = task.header, Counter[str]()
    dropped: list[Dropped] = []
    with contextlib.ExitStack() as stack:
        if any(task.missing(part) for part in ("faces", "mel")):
            stack.enter_context(one_thread())
        writer = stack.enter_context(ShardWriter(task.path, header))
        keeper = stack.enter_context(_Keeper())
        for recording, utterances in task.by_recording():
            for entry in _prepare_again(recording, utterances, task, writer, keeper, counts):
                dropped.append(entry)
                writer.drop(entry)
            report(len(utterances))
        counts["recordings"] = len(task.recordings)
        examples = len(writer)
        digest, size = writer.close()
    return ShardReceipt(
        name=task.path.name,
        sha256=digest,
        size_bytes=size,
        examples=examples,
        task_digest=header.task_digest,
        dropped=tuple(dropped),
        counts=dict(counts),
        seconds=round(time.perf_counter() - began, 3),
    )


def quarantine_shard(task: ShardTask, sentence: str) -> ShardReceipt:
    """Write the shard of a task whose workers died: all of its utterances are dropped.

    Args:
        task: what could not be built.
        sentence: what happened.
    """
    dropped = tuple(
        replace(
            Dropped.of(utterance, DropReason.WORKER_DIED, sentence),
            origin=task.origin(utterance).media,
        )
        for utterance in task.utterances
    )
    with ShardWriter(task.path, task.header) as writer:
        for entry in dropped:
            writer.drop(entry)
        digest, size = writer.close()
    return ShardReceipt(task.path.name, digest, size, 0, task.header.task_digest, dropped)


def _prepare_again(
    recording: Recording,
    utterances: Sequence[Utterance],
    task: ShardTask,
    writer: ShardWriter,
    keeper: _Keeper,
    counts: Counter[str],
) -> list[Dropped]:
    """Prepare a recording; from its beginning again where its decoder was killed from outside."""
    for attempts_left in reversed(range(_ATTEMPTS)):
        done, found = len(writer), Counter[str]()
        work = _prepare(recording, utterances, task, writer, keeper, found, attempts_left)
        try:
            dropped = list(work)
        except MediaKilledError:
            if not attempts_left:
                raise
            writer.rewind(done)
            counts["decoders_killed"] += 1
        else:
            counts.update(found)
            return dropped
    raise AssertionError("the last attempt returns or raises")


def _prepare(
    recording: Recording,
    utterances: Sequence[Utterance],
    task: ShardTask,
    writer: ShardWriter,
    keeper: _Keeper,
    counts: Counter[str],
    attempts_left: int,
) -> Iterator[Dropped]:
    """Append every example of a recording; yields the utterances that could not be prepared."""
    asked = [utterance for utterance in utterances if utterance.id not in task.drops]
    failed: MediaError | None = None
    with contextlib.ExitStack() as stack:
        source: OpenRecording | None = None
        for utterance in utterances:
            origin = task.origin(utterance)
            # After a failure the failure is the reason, as in a run that keeps nothing.
            if failed is None and utterance.id in task.drops:
                yield task.drops[utterance.id]
                continue
            made = keeper.read(task.kept.get(utterance.id), utterance)
            try:
                if failed is not None and not made.media:
                    raise failed
                if source is None:
                    chosen = task.header.settings
                    opened = OpenRecording(
                        recording, asked, chosen.frames, chosen.media, chosen.spans
                    )
                    source = stack.enter_context(opened)
                example = prepare_example(utterance, source, _stages_of(task), made)
            except UtteranceError as error:
                entry = Dropped.of(utterance, error.reason, error.sentence, recording.video.name)
                yield replace(entry, origin=origin.media)
            except MediaError as error:
                if task.fail_fast or (attempts_left and isinstance(error, MediaKilledError)):
                    raise
                failed = error
                entry = Dropped.of(utterance, error.reason, error.sentence, recording.video.name)
                yield replace(entry, origin=origin.media)
            else:
                writer.append(example, origin)
                _count(example, made, counts)
        if source is not None:
            counts["videos_decoded"] += source.video_opened
            counts["sounds_decoded"] += source.sound_opened


class _Keeper:
    """The shards of earlier runs, held open while parts are copied out of them."""

    def __init__(self) -> None:
        self._readers: dict[Path, ShardReader] = {}

    def read(self, kept: Kept | None, utterance: Utterance) -> Made:
        """The parts that are the same, checked by their digests; damaged ones are made anew."""
        if kept is None:
            return Made()
        try:
            reader = self._readers.setdefault(kept.path, ShardReader(kept.path))
            example = reader.read(kept.row)
            stored = {
                part: reader.column(f"digest/{part}")[kept.row].tobytes() for part in kept.parts
            }
        except (ShardError, IndexError):
            return Made()
        found = digests_of(example_row(example), reader.settings.storage)
        sound = [part for part in kept.parts if found[part] == stored[part]]
        old = example.utterance
        return Made(
            utterance=replace(utterance, start_s=old.start_s, end_s=old.end_s, clamped=old.clamped),
            faces=example.faces if "faces" in sound else None,
            mel=example.mel if "mel" in sound else None,
            tokens=example.tokens if "tokens" in sound else None,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for reader in self._readers.values():
            reader.close()


def _count(example: Example, made: Made, counts: Counter[str]) -> None:
    counts["frames_sampled"] += 0 if made.faces else len(example.faces.found)
    counts["faces_found"] += 0 if made.faces else int(example.faces.found.sum())
    counts["clamped"] += example.utterance.clamped
    counts["faces_kept"] += made.faces is not None
    counts["spectra_made"] += made.mel is None
    counts["spectra_kept"] += made.mel is not None
    counts["tokens_made"] += made.tokens is None
    counts["tokens_kept"] += made.tokens is not None


def _stages_of(task: ShardTask) -> Stages:
    return _stages(task.header.settings, task.tokenizer, task.header.label_classes, task.device)


@functools.lru_cache(maxsize=2)
def _stages(
    settings: PrepSettings, tokenizer: str, label_classes: tuple[str, ...], device: str
) -> Stages:
    return Stages(settings, tokenizer, label_classes, device)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Run torch on one thread: no contention between workers, and the same bits each time."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
