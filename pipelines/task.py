"""A task: one shard to build, as it travels to a worker.

Owns what is left to do in it and how long that is expected to take: only the order of tasks and the
estimate depend on that. Leaves how a task comes about to `plan`.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path

from fv2es_prep.shards.writer import ShardHeader
from fv2es_prep.stages.fingerprint import drop_fingerprint, fingerprints_of
from fv2es_prep.stages.registry import stages_of
from fv2es_prep.types import Dropped, Recording, Utterance
from pipelines.cache import Cache, Kept

# On one core: decoding a second of 720x480 media; finding and cutting the face in one picture of
# 360x480.
_DECODE_S_PER_S = 0.014
_DETECT_S = 0.014


@dataclass(frozen=True)
class ShardTask:
    """One shard to build: paths and ids, a few kilobytes.

    Attributes:
        path: where the shard will be.
        recordings: the recordings in it, each whole.
        utterances: ordered by recording, then start, then id.
        header: what the shard's root will say.
        tokenizer: name at the hub or directory of the tokenizer.
        kept: utterance id -> values of an earlier run that are kept.
        drops: utterance id -> its entry, where an earlier run dropped it with the same inputs.
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

    def fingerprints(self, utterance: Utterance) -> dict[str, bytes]:
        """Stage -> digest of all that decides its value for an utterance."""
        hashes = self.header.media_hashes[utterance.recording_id]
        return fingerprints_of(utterance, hashes, self.header.settings)

    def drop_fingerprint(self, utterance: Utterance) -> str:
        """The digest of all that decides whether an utterance is dropped."""
        return drop_fingerprint(self.fingerprints(utterance), self.header.settings)

    def missing(self, stage: str) -> list[Utterance]:
        """The utterances for which the value of a stage has to be made."""
        return [u for u in self.utterances if u.id not in self.drops and self._lacks(u, stage)]

    def missing_for(self, *media: str) -> list[Utterance]:
        """The utterances for which ``video`` or ``sound`` has to be decoded."""
        stages = [s for s in stages_of(self.header.settings) if {*s.needs} & {*media}]
        return [
            utterance
            for utterance in self.utterances
            if utterance.id not in self.drops
            and any(self._lacks(utterance, s.name) for s in stages)
        ]

    def _lacks(self, utterance: Utterance, stage: str) -> bool:
        kept = self.kept.get(utterance.id)
        return kept is None or stage not in kept.stages


def with_kept(task: ShardTask, cache: Cache, retry_dropped: bool) -> ShardTask:
    """The task with what it can keep of earlier work.

    Args:
        task: what to build.
        cache: the earlier work.
        retry_dropped: try those again that were dropped.
    """
    kept, drops = {}, {}
    for utterance in task.utterances:
        if found := cache.kept(utterance, task.fingerprints(utterance)):
            kept[utterance.id] = found
        elif not retry_dropped and (
            entry := cache.drop(utterance, task.drop_fingerprint(utterance))
        ):
            drops[utterance.id] = entry
    return replace(task, kept=kept, drops=drops)


def cost_s(task: ShardTask) -> float:
    """Seconds that one core is expected to work on a task; only the picture counts."""
    settings = task.header.settings
    missing = {utterance.id for utterance in task.missing_for("video")}
    total_s = 0.0
    for _, utterances in task.by_recording():
        # No recording is longer than the limit, whatever a span says.
        cut = (u.within(0, settings.media.max_duration_s, 0) for u in utterances if u.id in missing)
        inside = [utterance for utterance in cut if utterance is not None]
        # A recording is decoded from its beginning to the end of its last utterance.
        total_s += max((u.end_s for u in inside), default=0.0) * _DECODE_S_PER_S
        total_s += sum(settings.frames.count(u.duration_s) for u in inside) * _DETECT_S
    return total_s


def longest_first(tasks: Iterable[ShardTask]) -> list[ShardTask]:
    """The tasks in the order in which workers take them."""
    return sorted(tasks, key=lambda task: (-cost_s(task), task.path.name))


def estimate_s(tasks: Sequence[ShardTask], workers: int) -> float:
    """Seconds until all tasks are done, where a free worker takes the longest task left."""
    busy_s = [0.0] * workers
    for task in longest_first(tasks):
        heapq.heapreplace(busy_s, busy_s[0] + cost_s(task))
    return max(busy_s)
