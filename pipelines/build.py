"""What one worker does with one task: recordings in, one shard and its receipt out.

Owns what happens to the utterance that fails. Leaves the road of an utterance to `example`.
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from fv2es_prep.errors import MediaError, UtteranceError
from fv2es_prep.example import Stages, prepare_example
from fv2es_prep.media.recording import OpenRecording
from fv2es_prep.settings import PrepSettings
from fv2es_prep.shards.writer import ShardWriter
from fv2es_prep.types import Dropped, Recording, ShardReceipt, Utterance
from pipelines.plan import ShardTask

Report = Callable[[int], None]


def build_shard(task: ShardTask, report: Report = lambda _: None) -> ShardReceipt:
    """Prepare every utterance of a task and write its shard.

    An utterance that cannot be prepared is dropped with its reason and the rest goes on; a
    recording that cannot be decoded drops all of its utterances that are left.

    Args:
        task: what to build.
        report: called with the number of utterances done since the last call.

    Returns:
        The receipt; also utterances that were dropped are in it and in the shard.

    Raises:
        TokenizerError: the tokenizer cannot be loaded here.
        OutputError: the shard cannot be written.
    """
    began = time.perf_counter()
    header, counts = task.header, Counter[str]()
    dropped: list[Dropped] = []
    with one_thread(), ShardWriter(task.path, header) as writer:
        stages = _stages(header.settings, task.tokenizer, header.label_classes)
        for recording, utterances in task.by_recording():
            for entry in _prepare(recording, utterances, stages, writer, counts):
                dropped.append(entry)
                writer.drop(entry)
            counts["recordings"] += 1
            report(len(utterances))
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


def _prepare(
    recording: Recording,
    utterances: Sequence[Utterance],
    stages: Stages,
    writer: ShardWriter,
    counts: Counter[str],
) -> Iterator[Dropped]:
    """Append every example of a recording; yields the utterances that could not be prepared."""
    with OpenRecording(recording, utterances, stages.settings.frames) as source:
        for place, utterance in enumerate(utterances):
            try:
                example = prepare_example(utterance, source, stages)
            except UtteranceError as error:
                yield Dropped.of(utterance, error.reason, error.sentence, recording.video.name)
            except MediaError as error:
                for left in utterances[place:]:
                    yield Dropped.of(left, error.reason, error.sentence, recording.video.name)
                return
            else:
                writer.append(example)
                counts["frames_sampled"] += len(example.faces.found)
                counts["faces_found"] += int(example.faces.found.sum())
                counts["mel_rows"] += len(example.mel.log_power)
                counts["tokens"] += len(example.tokens)


@functools.lru_cache(maxsize=2)
def _stages(settings: PrepSettings, tokenizer: str, label_classes: tuple[str, ...]) -> Stages:
    return Stages.load(settings, tokenizer, label_classes)


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
