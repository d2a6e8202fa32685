"""A task: one shard to build, as it travels to a worker.

Owns what is left to do in it. Leaves how it came about to `plan`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path

from fv2es_prep.config import PrepSettings
from fv2es_prep.shards.writer import ShardHeader
from fv2es_prep.stages.fingerprint import Origin, origin_of
from fv2es_prep.types import Dropped, Recording, Utterance
from pipelines.cache import Kept, Previous


@dataclass(frozen=True)
class ShardTask:
    """One shard to build: paths and ids, a few kilobytes.

    Attributes:
        path: where the shard will be.
        recordings: the recordings in it, each whole.
        utterances: ordered by recording, then start, then id.
        header: what the shard's root will say.
        tokenizer: name at the hub or directory of the tokenizer.
        kept: utterance id -> parts of an earlier run that are the same.
        drops: utterance id -> its entry, where an earlier run dropped the very same.
        fail_fast: stop at the first recording that cannot be read.
        device: where faces are looked for, ``cpu`` or torch's name of a GPU.
    """

    path: Path
    recordings: tuple[Recording, ...]
    utterances: tuple[Utterance, ...]
    header: ShardHeader
    tokenizer: str
    kept: dict[str, Kept] = field(default_factory=dict)
    drops: dict[str, Dropped] = field(default_factory=dict)
    fail_fast: bool = False
    device: str = "cpu"

    def by_recording(self) -> Iterator[tuple[Recording, tuple[Utterance, ...]]]:
        """Each recording with its utterances."""
        groups = groupby(self.utterances, key=lambda utterance: utterance.recording_id)
        for recording, (_, utterances) in zip(self.recordings, groups, strict=True):
            yield recording, tuple(utterances)

    def origin(self, utterance: Utterance) -> Origin:
        """What the parts of an utterance are made from."""
        sources = self.header.sources[utterance.recording_id]
        return origin_of(utterance, sources, self.header.settings)

    def missing(self, part: str) -> list[Utterance]:
        """The utterances whose faces, spectrum or tokens have to be made."""
        return [
            utterance
            for utterance in self.utterances
            if utterance.id not in self.drops
            and (utterance.id not in self.kept or part not in self.kept[utterance.id].parts)
        ]


def with_kept(task: ShardTask, previous: Previous, retry_dropped: bool) -> ShardTask:
    """The task with what it can keep of earlier work.

    Args:
        task: what to build.
        previous: the earlier work.
        retry_dropped: try those again that were dropped.
    """
    kept, drops = {}, {}
    for utterance in task.utterances:
        origin = task.origin(utterance)
        if found := previous.kept(utterance, origin):
            kept[utterance.id] = found
        elif not retry_dropped and (entry := previous.drop(utterance, origin)):
            drops[utterance.id] = entry
    return replace(task, kept=kept, drops=drops)


def frame_count(utterance: Utterance, settings: PrepSettings) -> int:
    """How many frames of an utterance will be sampled; about, where pictures are counted."""
    return max(math.ceil(round(utterance.duration_s / settings.frames.spacing_s, 6)), 1)
