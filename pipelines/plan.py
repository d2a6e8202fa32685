"""From an inventory to the list of shards to build: deterministic, known before any work.

Owns the cut into tasks, what is already done and what of earlier work is kept. Leaves where and in
what order the tasks run to the executor.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from pathlib import Path

from fv2es_prep.config import PrepSettings, digest_of
from fv2es_prep.errors import SettingsError
from fv2es_prep.shards.schema import FORMAT_VERSION
from fv2es_prep.shards.writer import ShardHeader
from fv2es_prep.stages.registry import stages_of
from fv2es_prep.types import Inventory, ShardReceipt, Utterance
from pipelines.cache import Cache, OldShard, read_cache
from pipelines.media_hashes import UNREADABLE, MediaHashes
from pipelines.task import ShardTask, estimate_s, with_kept

_MB = 1_000_000


@dataclass(frozen=True)
class Plan:
    """What a run will do.

    Attributes:
        inventory: what is to be prepared.
        settings: the settings of every stage.
        tasks: every shard of the dataset, in order.
        finished: name of a shard that is already whole -> its receipt.
        cache: what earlier runs left.
    """

    inventory: Inventory
    settings: PrepSettings
    tasks: tuple[ShardTask, ...]
    finished: dict[str, ShardReceipt]
    cache: Cache

    @property
    def todo(self) -> list[ShardTask]:
        """The shards still to build."""
        return [task for task in self.tasks if task.path.name not in self.finished]

    def describe(self, workers: int) -> dict[str, object]:
        """The plan in numbers, with an estimate of the time on so many workers."""
        seen = [u for task in self.todo for u in task.missing_for("video")]
        missing = {
            f"{stage}_to_make": sum(len(task.missing(stage)) for task in self.todo)
            for stage in self.settings.stages
        }
        return {
            "recordings": len(self.inventory.recordings),
            "utterances": len(self.inventory.utterances),
            "dropped_by_scan": len(self.inventory.dropped),
            "without_text": self.inventory.without_text,
            "reconciliation": self.inventory.reconciliation,
            "shards": len(self.tasks),
            "shards_finished": len(self.finished),
            **missing,
            "why": self.reasons(),
            "frames": sum(self.settings.frames.count(u.duration_s) for u in seen),
            "shard_bytes": sum(_bytes(u, self.settings) for u in self.inventory.utterances),
            "workers": workers,
            "estimated_s": round(estimate_s(self.todo, workers), 1),
        }

    def reasons(self) -> list[str]:
        """Why shards have to be built, one sentence for each cause."""
        if not self.todo:
            return []
        old = self.cache
        if not old.shards:
            return ["there are no shards yet"]
        causes = []
        known = old.fingerprints.keys() | old.drops.keys()
        new = [utterance for utterance in self.inventory.utterances if utterance.id not in known]
        if new:
            causes.append(f"{len(new)} utterance(s) are new, first {new[0].id}")
        names = {utterance.id for utterance in self.inventory.utterances}
        if gone := sorted(known - names):
            causes.append(f"{len(gone)} utterance(s) are gone, first {gone[0]}")
        causes += _changed_settings(old, self.settings)
        for stage in self.settings.stages:
            made = [u for t in self.todo for u in t.missing(stage) if u.id in old.fingerprints]
            if made:
                causes.append(f"{len(made)} utterance(s) need other {stage}, first {made[0].id}")
        return causes or ["shards are missing, damaged, cut otherwise or have other labels"]


def make_plan(
    inventory: Inventory,
    settings: PrepSettings,
    tokenizer: str,
    out: Path,
    shard_mb: float = 16,
    media_hashes: MediaHashes | None = None,
    retry_dropped: bool = False,
    fail_fast: bool = False,
    device: str = "cpu",
) -> Plan:
    """Cut an inventory into shards, and see which of them and what else is already there.

    Recordings are taken in order and never divided: a shard is closed as soon as its expected
    size reaches ``shard_mb``. So the cut depends on the corpus and the settings alone.

    Args:
        inventory: what is to be prepared.
        settings: the settings of every stage.
        tokenizer: name at the hub or directory of the tokenizer.
        out: the dataset directory; it need not exist.
        shard_mb: size of a shard in megabytes (10^6 bytes).
        media_hashes: recording id -> SHA-256 of its files; None keeps nothing of earlier runs.
        retry_dropped: try those again that an earlier run dropped.
        fail_fast: stop at the first recording that cannot be read.
        device: where faces are looked for.

    Raises:
        SettingsError: the shard size is not positive.
    """
    if not shard_mb > 0:
        raise SettingsError(f"the shard size is {shard_mb} MB, expected more than 0")
    cache = Cache() if media_hashes is None else read_cache(out, inventory.corpus)
    media_hashes = media_hashes or {r.id: (UNREADABLE, UNREADABLE) for r in inventory.recordings}
    tasks, finished = [], {}
    for number, utterances in enumerate(_cut(inventory.utterances, settings, shard_mb * _MB)):
        path = out / f"{inventory.corpus}-{number:05d}.h5"
        task = _task(path, inventory, settings, tokenizer, utterances, media_hashes)
        task = replace(task, fail_fast=fail_fast, device=device)
        old = cache.shards.get(path)
        done = old is not None and old.task_digest == task.header.task_digest
        if done and old is not None and not (retry_dropped and old.dropped):
            finished[path.name] = _receipt_of(old)
        else:
            task = with_kept(task, cache, retry_dropped)
        tasks.append(task)
    return Plan(inventory, settings, tuple(tasks), finished, cache)


def _task(
    path: Path,
    inventory: Inventory,
    settings: PrepSettings,
    tokenizer: str,
    utterances: tuple[Utterance, ...],
    media_hashes: MediaHashes,
) -> ShardTask:
    names = dict.fromkeys(utterance.recording_id for utterance in utterances)
    recordings = tuple(recording for recording in inventory.recordings if recording.id in names)
    header = ShardHeader(
        inventory.corpus,
        inventory.label_classes,
        inventory.rating_names,
        settings,
        {name: media_hashes[name] for name in names},
        "",
    )
    made_from = {
        "format_version": FORMAT_VERSION,
        "corpus": header.corpus,
        "label_classes": header.label_classes,
        "rating_names": header.rating_names,
        "settings": settings.to_json(),
        "sources": header.media_hashes,
        # NaN ratings are written as such by json: the text is the same each time.
        "utterances": [asdict(utterance) for utterance in utterances],
    }
    header = replace(header, task_digest=digest_of(made_from))
    return ShardTask(path, recordings, utterances, header, tokenizer)


def _cut(
    utterances: Sequence[Utterance], settings: PrepSettings, shard_bytes: float
) -> Iterator[tuple[Utterance, ...]]:
    held: list[Utterance] = []
    size = 0
    for _, group in groupby(utterances, key=lambda utterance: utterance.recording_id):
        members = list(group)
        held += members
        size += sum(_bytes(utterance, settings) for utterance in members)
        if size >= shard_bytes:
            yield tuple(held)
            held, size = [], 0
    if held:
        yield tuple(held)


def _bytes(utterance: Utterance, settings: PrepSettings) -> int:
    """Expected bytes of an example; what is small counts nothing."""
    stages = stages_of(settings)
    return sum(stage.expected_bytes(utterance.duration_s, settings) for stage in stages)


def _receipt_of(old: OldShard) -> ShardReceipt:
    return ShardReceipt(
        old.path.name, old.sha256, old.size_bytes, old.examples, old.task_digest, old.dropped
    )


def _changed_settings(cache: Cache, settings: PrepSettings) -> list[str]:
    """Each setting that differs from that of most of the old shards."""
    texts = {str(sorted(old.settings.items())): old for old in cache.shards.values()}
    counts = Counter(str(sorted(old.settings.items())) for old in cache.shards.values())
    old = texts[counts.most_common(1)[0][0]].settings
    new = PrepSettings.from_json(settings.to_json()).flat()
    return [
        f"{name} was {old[name]!r} and is {value!r}"
        for name, value in new.items()
        if name in old and old[name] != value
    ]
