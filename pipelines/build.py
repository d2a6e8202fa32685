"""The work of one worker on one task: recordings in, one shard and its receipt out."""

from __future__ import annotations

import contextlib
import functools
import platform
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fv2es_prep.config import MODALITIES
from fv2es_prep.errors import DropReason, MediaError, MediaKilledError, ShardError, UtteranceError
from fv2es_prep.example import completed, prepare_example
from fv2es_prep.media.recording import OpenRecording
from fv2es_prep.shards.catalogue_file import rows_of_shard
from fv2es_prep.shards.digests import digests_of
from fv2es_prep.shards.index import make_index
from fv2es_prep.shards.reader import ShardReader
from fv2es_prep.shards.writer import ShardWriter, example_row
from fv2es_prep.stages.base import MEDIA
from fv2es_prep.stages.registry import (
    StageContext,
    load_stage,
    media_of,
    modalities_of,
    needs_media,
    stages_of,
)
from fv2es_prep.store.raw_files import staging
from fv2es_prep.types import Dropped, Example, Recording, ShardReceipt, Utterance
from pipelines.cache import Cache, receipt_at
from pipelines.media_hashes import CHANGED, hashes_of, state_of
from pipelines.task import ShardTask, with_media

Report = Callable[[int], None]
Stop = Callable[[], bool]
# The kernel may kill a decoder for lack of memory at that moment, so try again.
_ATTEMPTS = 3
# Attempts to decode a recording whose files change during the attempt.
_VERSIONS = 2
# Most examples that wait in memory for stages that make many values at once.
_WAITING = 64


class Interrupted(Exception):  # noqa: N818  # no error
    """A task was asked to stop; the finished part of its shard, if any, is at the shard's path.

    ``kept`` is set by the caller that stores that part for the next attempt.
    """

    kept = False


_context = functools.lru_cache(maxsize=2)(StageContext)


def build_shard(
    task: ShardTask,
    report: Report = lambda _: None,
    stop: Stop = lambda: False,
    partial: Cache | None = None,
) -> ShardReceipt:
    """Prepare every utterance of a task and write its shard.

    An utterance that cannot be prepared is dropped with its reason. If a recording cannot be
    decoded, its remaining utterances are dropped; if its files change during every attempt, all
    are. Values that an earlier run made from identical inputs are copied. ``report`` is called with
    the number of utterances done since the last call, and ``stop`` before each utterance.
    ``partial`` holds what earlier attempts at this task have left.

    Raises:
        Interrupted: ``stop`` returned True.
        MediaError: a recording cannot be decoded, and the task has ``fail_fast``.
        TokenizerError: the tokenizer cannot be loaded here.
        OutputError: the shard cannot be written.
    """
    began = time.perf_counter()
    dropped: list[Dropped] = []
    with contextlib.ExitStack() as stack:
        if task.missing_for(*MEDIA):
            stack.enter_context(one_thread())
        writer = stack.enter_context(ShardWriter(task.path, task.header))
        builder = _Builder(task, writer, stack, stop, partial or Cache())
        for recording, utterances in task.by_recording():
            try:
                dropped += builder.prepare(recording, utterances)
            except Interrupted:
                if len(writer):
                    writer.made_from(builder.task.header.media_hashes, task.header.task_digest)
                    writer.close()
                raise
            report(len(utterances))
        builder.counts["recordings"] = len(task.recordings)
        return _receipt(builder.task, writer, dropped, dict(builder.counts), began)


def built_meanwhile(task: ShardTask) -> ShardReceipt | None:
    """The receipt of a task's shard if it was built after the run was planned.

    A worker of a killed run may finish its shard while the next run is planned, or may die before
    it writes the receipt. None if the shard is from other inputs, or lacks an utterance that this
    run may have to try again.
    """
    found = receipt_at(task.path)
    if found is None or found.dropped:
        return None
    for recording in task.recordings:
        task = _hashed(task, recording)
    if found.task_digest != task.header.task_digest:
        return None
    return replace(found, hashed=_hashes(task))


def quarantine_shard(task: ShardTask, sentence: str) -> ShardReceipt:
    """Write the shard of a task whose workers died; drop all of its utterances."""
    began = time.perf_counter()
    for recording in task.recordings:
        task = _hashed(task, recording)
    died = (Dropped.of(u, DropReason.WORKER_DIED, sentence) for u in task.utterances)
    origins = map(task.drop_fingerprint, task.utterances)
    dropped = [replace(entry, origin=origin) for entry, origin in zip(died, origins, strict=True)]
    with ShardWriter(task.path, task.header) as writer:
        return _receipt(task, writer, dropped, {}, began)


def _hashed(task: ShardTask, recording: Recording) -> ShardTask:
    """Add the hashes of a recording's files to the task unless the planner knew them."""
    if recording.id in task.header.media_hashes:
        return task
    return with_media(task, recording, hashes_of(recording))


def _receipt(
    task: ShardTask,
    writer: ShardWriter,
    dropped: Sequence[Dropped],
    counts: dict[str, int],
    began: float,
) -> ShardReceipt:
    """Close the writer; return the receipt of its shard."""
    writer.made_from(task.header.media_hashes, task.header.task_digest)
    for entry in dropped:
        writer.drop(entry)
    examples, (digest, size) = len(writer), writer.close()
    # So that writing the index opens no shard.
    header = task.header
    head = header.corpus, header.label_classes, header.rating_names, header.settings
    rows = rows_of_shard(task.path, make_index(*head, ()))
    made_from, seconds = task.header.task_digest, round(time.perf_counter() - began, 3)
    made = (task.path.name, digest, size, examples, made_from)
    host = platform.node()
    return ShardReceipt(*made, tuple(dropped), counts, seconds, host, rows, _hashes(task))


def _hashes(task: ShardTask) -> dict[str, tuple[str, str, str]]:
    """See `ShardReceipt.hashed`."""
    hashes = task.header.media_hashes
    return {name: (*hashes[name], state) for name, state in task.states.items()}


@dataclass
class _Builder:
    """A shard that is being built; ``stack`` closes what it opens.

    ``task`` gets new hashes if files have changed; ``reads`` is whether a recording was read.
    """

    task: ShardTask
    writer: ShardWriter
    stack: contextlib.ExitStack
    stop: Stop
    partial: Cache
    reads: bool = False
    readers: dict[Path, ShardReader] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)

    def _kept(self, utterance: Utterance) -> tuple[Utterance, dict[str, Any], dict[str, str]]:
        """Span, stage -> value and missing modality -> code, of kept values that are undamaged."""
        kept = self.task.kept.get(utterance.id)
        if utterance.id in self.partial.fingerprints:
            left = self.partial.kept(utterance, self.task.fingerprints(utterance))
            kept = max(filter(None, (kept, left)), key=lambda one: len(one.stages), default=None)
        if kept is None:
            return utterance, {}, {}
        try:
            if kept.path not in self.readers:
                self.readers[kept.path] = self.stack.enter_context(ShardReader(kept.path))
            reader = self.readers[kept.path]
            old = reader.read(kept.row)
            stored = {n: reader.column(f"digest/{n}")[kept.row].tobytes() for n in kept.stages}
        except (ShardError, IndexError):
            return utterance, {}, {}
        found = digests_of(example_row(old), reader.settings)
        # An absent stage has no rows that could be damaged.
        same = [n for n in kept.stages if n not in old or found[n] == stored[n]]
        settings = self.task.header.settings
        media = [stage.name for stage in stages_of(settings) if media_of(stage)]
        if settings.require != MODALITIES and not {*media} <= {*same}:
            # The span depends on the length of each medium.
            same = [name for name in same if name not in media]
        made = {name: old[name] for name in same if name in old}
        absent = {letter for n in same if n not in old for letter in modalities_of(load_stage(n))}
        missing = {letter: code for letter, code in old.missing.items() if letter in absent}
        if any(name in media for name in same):
            span = old.utterance
            utterance = replace(
                utterance, start_s=span.start_s, end_s=span.end_s, clamped=span.clamped
            )
        return utterance, made, missing

    @staging()
    def prepare(self, recording: Recording, utterances: Sequence[Utterance]) -> list[Dropped]:
        """Prepare a recording from one version of its files, the one that was hashed."""
        self.task = _hashed(self.task, recording)
        done, counts = len(self.writer), self.counts.copy()
        for _ in range(_VERSIONS):
            self.reads, dropped = False, list[Dropped]()
            failed: MediaError | Interrupted | None = None
            try:
                dropped = self._decode(recording, utterances)
            except (MediaError, Interrupted) as error:
                failed = error
            state = self.task.states.get(recording.id)
            if not self.reads or state is None or state_of(recording) == state:
                if failed is not None:
                    raise failed
                return dropped
            self.writer.rewind(done)
            if isinstance(failed, Interrupted):
                raise failed
            self.counts = counts.copy()
            self.counts["recordings_changed"] += 1
            self.task = with_media(self.task, recording, hashes_of(recording))
        self.task = with_media(self.task, recording, CHANGED)
        changed = MediaError(
            f"a file of {recording.id} changed during every attempt to read it",
            DropReason.CHANGED_WHILE_READ,
            "run the same command again when nothing writes to the corpus",
        )
        if self.task.fail_fast:
            raise changed
        return [self._dropped(recording, utterance, changed) for utterance in utterances]

    def _decode(self, recording: Recording, utterances: Sequence[Utterance]) -> list[Dropped]:
        """Prepare a recording; start again if its decoder was killed."""
        for attempts_left in reversed(range(_ATTEMPTS)):
            done, counts = len(self.writer), self.counts.copy()
            try:
                return list(self._prepare(recording, utterances, attempts_left))
            except MediaKilledError:
                if not attempts_left:
                    raise
                self.writer.rewind(done)
                self.counts = counts
                self.counts["decoders_killed"] += 1
        raise AssertionError("the last attempt returns or raises")

    def _prepare(
        self, recording: Recording, utterances: Sequence[Utterance], attempts_left: int
    ) -> Iterator[Dropped]:
        """Append every example of a recording; yield the dropped utterances."""
        task, header = self.task, self.task.header
        encoders = tuple(sorted(task.encoders.items()))
        context = _context(
            *(header.settings, task.tokenizer, header.label_classes, task.device, encoders),
            task.encoder_batch,
        )
        waiting = _Waiting(self.writer, context)
        left = [utterance for utterance in utterances if utterance.id not in task.drops]
        failed: MediaError | None = None
        with contextlib.ExitStack() as stack:
            source: OpenRecording | None = None
            for utterance in utterances:
                if self.stop():
                    waiting.finish()
                    raise Interrupted
                # After a failure, the failure is the reason, as in a run without kept values.
                if failed is None and utterance.id in task.drops:
                    yield task.drops[utterance.id]
                    continue
                span, made, missing = self._kept(utterance)
                try:
                    absent = [s.name for s in context.stages if missing.keys() & modalities_of(s)]
                    reads = needs_media(context.stages, [*made, *absent])
                    self.reads |= reads
                    if failed is not None and reads:
                        raise failed
                    if source is None:
                        of = header.settings
                        opened = OpenRecording(recording, left, of.frames, of.media, of.spans)
                        source = stack.enter_context(opened)
                    example = prepare_example(span, source, context, made, missing, later=True)
                except (UtteranceError, MediaError) as error:
                    if isinstance(error, MediaError):
                        killed = isinstance(error, MediaKilledError)
                        if task.fail_fast or (attempts_left and killed):
                            raise
                        failed = error
                    yield self._dropped(recording, utterance, error)
                else:
                    waiting.append(example, task.fingerprints(utterance))
                    self._count(example, made, context)
            waiting.finish()
            if source is not None:
                self.counts["videos_decoded"] += source.pictures.opened
                self.counts["sounds_decoded"] += source.sound.opened

    def _dropped(
        self, recording: Recording, utterance: Utterance, error: UtteranceError | MediaError
    ) -> Dropped:
        video = recording.video.name if recording.video else ""
        entry = Dropped.of(utterance, error.reason, error.sentence, video)
        return replace(entry, origin=self.task.drop_fingerprint(utterance))

    def _count(self, example: Example, made: Mapping[str, Any], context: StageContext) -> None:
        sampled, counts = 0, self.counts
        for stage in context.stages:
            counts[f"{stage.name}_kept"] += stage.name in made
            counts[f"{stage.name}_made"] += stage.name in example and stage.name not in made
            if stage.name in made or stage.name not in example or stage.many:
                continue
            arrays = stage.encode(example[stage.name])
            for column in stage.columns(context.settings):
                if column.counted:
                    counts[f"{stage.name}_{column.path}"] += int(arrays[column.path].sum())
                if column.kind == "ragged" and "video" in stage.needs:
                    sampled = max(sampled, len(arrays[column.path]))
        counts["frames_sampled"] += sampled
        counts["clamped"] += example.utterance.clamped


class _Waiting:
    """Examples that wait for values made for many examples at once."""

    def __init__(self, writer: ShardWriter, context: StageContext) -> None:
        self._writer, self._context = writer, context
        self._most = _WAITING if any(stage.many for stage in context.stages) else 1
        self._examples: list[tuple[Example, Mapping[str, bytes]]] = []

    def append(self, example: Example, fingerprints: Mapping[str, bytes]) -> None:
        self._examples.append((example, fingerprints))
        if len(self._examples) >= self._most:
            self.finish()

    def finish(self) -> None:
        """Make the missing values, and write the examples."""
        examples = completed([example for example, _ in self._examples], self._context)
        for example, (_, fingerprints) in zip(examples, self._examples, strict=True):
            self._writer.append(example, fingerprints)
        self._examples.clear()


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
