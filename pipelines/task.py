"""A task: one shard to build, in the form sent to a worker, and its expected cost."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path

from fv2es_prep.config import digest_of
from fv2es_prep.shards.writer import ShardHeader
from fv2es_prep.stages.fingerprint import drop_fingerprint, fingerprints_of
from fv2es_prep.stages.registry import stages_of
from fv2es_prep.types import Dropped, Recording, Utterance
from pipelines.cache import Cache, Kept
from pipelines.media_hashes import HashedMedia

# Seconds on one core: to decode a second of 720x480 media; to find and crop the face in one picture
# of 360x480.
_DECODE_S_PER_S = 0.014
_DETECT_S = 0.014


@dataclass(frozen=True)
class ShardTask:
    """One shard to build: paths and ids, a few kilobytes.

    Attributes:
        recordings: the recordings in it, each whole.
        utterances: ordered by recording, then start, then id.
        header: root attributes of the shard. It lacks the media hashes of recordings whose files
            the worker must hash and, in that case, the task digest.
        made_from: digest of everything that the shard is made from except media files.
        tokenizer: name at the hub or directory of the tokenizer.
        states: recording id -> state of the files that were hashed, see `state_of`; other
            recordings are not checked.
        kept: utterance id -> kept values of an earlier run.
        drops: utterance id -> its entry, if an earlier run dropped it with the same inputs.
        fail_fast: stop at the first recording that cannot be read.
        device: device of the face detector and encoders, ``cpu`` or torch's name of a GPU.
        encoders: stage -> name at the hub or directory of its encoder.
        encoder_batch: see `StageContext`.
    """

    path: Path
    recordings: tuple[Recording, ...]
    utterances: tuple[Utterance, ...]
    header: ShardHeader
    made_from: str
    tokenizer: str
    states: dict[str, str] = field(default_factory=dict)
    kept: dict[str, Kept] = field(default_factory=dict)
    drops: dict[str, Dropped] = field(default_factory=dict)
    fail_fast: bool = False
    device: str = "cpu"
    encoders: dict[str, str] = field(default_factory=dict)
    encoder_batch: int = 0

    def by_recording(self) -> Iterator[tuple[Recording, tuple[Utterance, ...]]]:
        """Each recording with its utterances."""
        groups = groupby(self.utterances, key=lambda utterance: utterance.recording_id)
        for recording, (_, utterances) in zip(self.recordings, groups, strict=True):
            yield recording, tuple(utterances)

    def fingerprints(self, utterance: Utterance) -> dict[str, bytes]:
        """Stage -> fingerprint of its value for an utterance."""
        hashes = self.header.media_hashes[utterance.recording_id]
        return fingerprints_of(utterance, hashes, self.header.settings)

    def drop_fingerprint(self, utterance: Utterance) -> str:
        """The digest of everything that decides whether an utterance is dropped."""
        return drop_fingerprint(self.fingerprints(utterance), self.header.settings)

    def missing(self, *stages: str) -> list[Utterance]:
        """The utterances for which a value of any of these stages must be made."""
        if not self.kept and not self.drops:
            return list(self.utterances)

        def kept(utterance: Utterance) -> bool:
            found = self.kept.get(utterance.id)
            return found is not None and {*stages} <= {*found.stages}

        return [u for u in self.utterances if u.id not in self.drops and not kept(u)]

    def missing_for(self, *media: str) -> list[Utterance]:
        """The utterances for which ``video`` or ``sound`` must be decoded."""
        stages = [s.name for s in stages_of(self.header.settings) if {*s.needs} & {*media}]
        # A corpus may lack either.
        files = {r.id: {"video": r.video, "sound": r.audio} for r in self.recordings}
        found = {name for name, each in files.items() if any(each[medium] for medium in media)}
        return [u for u in self.missing(*stages) if u.recording_id in found] if stages else []


def with_kept(task: ShardTask, cache: Cache, retry_dropped: bool) -> ShardTask:
    """Add to the task what it can keep of earlier work."""
    kept, drops = {}, {}
    for utterance in task.utterances:
        if utterance.id not in cache.fingerprints and utterance.id not in cache.drops:
            continue
        if utterance.recording_id not in task.header.media_hashes:
            continue
        if found := cache.kept(utterance, task.fingerprints(utterance)):
            kept[utterance.id] = found
        elif not retry_dropped and (
            entry := cache.drop(utterance, task.drop_fingerprint(utterance))
        ):
            drops[utterance.id] = entry
    return replace(task, kept=kept, drops=drops)


def with_media(task: ShardTask, recording: Recording, media: HashedMedia) -> ShardTask:
    """Set the hashes of a recording's files in the task.

    If the files differ from the planned versions, drop kept values that were made from those.
    """
    known = {**task.header.media_hashes, recording.id: media.hashes}
    # A shard lists them in the order of its recordings.
    hashes = {one.id: known[one.id] for one in task.recordings if one.id in known}
    digest = task_digest(task.made_from, hashes) if len(hashes) == len(task.recordings) else ""
    header = replace(task.header, media_hashes=hashes, task_digest=digest)
    states = {**task.states, recording.id: media.state}
    changed = replace(task, header=header, states=states)
    if recording.id not in task.header.media_hashes:
        return changed
    kept, drops = dict(task.kept), dict(task.drops)
    for utterance in (u for u in task.utterances if u.recording_id == recording.id):
        old, new = task.fingerprints(utterance), changed.fingerprints(utterance)
        stages = kept.pop(utterance.id).stages if utterance.id in kept else ()
        if same := tuple(stage for stage in stages if old[stage] == new[stage]):
            kept[utterance.id] = replace(task.kept[utterance.id], stages=same)
        if task.drop_fingerprint(utterance) != changed.drop_fingerprint(utterance):
            drops.pop(utterance.id, None)
    return replace(changed, kept=kept, drops=drops)


def task_digest(made_from: str, media_hashes: Mapping[str, tuple[str, str]]) -> str:
    """The digest of everything that a shard is made from, whichever process hashed its media."""
    return digest_of([made_from, media_hashes])


def cost_s(task: ShardTask) -> float:
    """Expected seconds of one core for a task; only pictures count."""
    settings = task.header.settings
    missing = {utterance.id for utterance in task.missing_for("video")}
    total_s = 0.0
    for _, utterances in task.by_recording():
        # No recording is longer than the limit, whatever its spans.
        cut = (u.within(0, settings.media.max_duration_s, 0) for u in utterances if u.id in missing)
        inside = [utterance for utterance in cut if utterance is not None]
        # A recording is decoded from its start to the end of its last utterance.
        total_s += max((u.end_s for u in inside), default=0.0) * _DECODE_S_PER_S
        total_s += sum(settings.frames.count(u.duration_s) for u in inside) * _DETECT_S
    return total_s


def longest_first(tasks: Iterable[ShardTask]) -> list[ShardTask]:
    """Sort the tasks in the order in which workers take them."""
    return sorted(tasks, key=lambda task: (-cost_s(task), task.path.name))


def estimate_s(tasks: Sequence[ShardTask], workers: int) -> float:
    """Expected seconds until all tasks are done, if workers take the longest task first."""
    busy_s = [0.0] * workers
    for task in longest_first(tasks):
        heapq.heapreplace(busy_s, busy_s[0] + cost_s(task))
    return max(busy_s)
