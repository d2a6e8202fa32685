"""From an inventory to the list of shards to build: deterministic, known before any work.

Owns the cut into tasks, what is already done and what of earlier work is kept. Leaves where and in
what order the tasks run to the executor.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from pathlib import Path

from fv2es_prep.config import PrepSettings, digest_of
from fv2es_prep.errors import SettingsError
from fv2es_prep.shards.schema import FORMAT_VERSION
from fv2es_prep.shards.writer import ShardHeader
from fv2es_prep.types import Inventory, ShardReceipt, Utterance
from pipelines.cache import PARTS, OldShard, Previous, read_previous
from pipelines.cost import estimate_s
from pipelines.media_hashes import UNREADABLE, Sources
from pipelines.task import ShardTask, frame_count, with_kept

_MB = 1_000_000
# Of a face's JPEG file, for each pixel: measured at quality 95 on faces of 48 x 48.
_JPEG_BYTES = 0.8


@dataclass(frozen=True)
class Plan:
    """What a run will do.

    Attributes:
        inventory: what is to be prepared.
        settings: the settings of every stage.
        tasks: every shard of the dataset, in order.
        finished: name of a shard that is already whole -> its receipt.
        previous: what earlier runs left.
    """

    inventory: Inventory
    settings: PrepSettings
    tasks: tuple[ShardTask, ...]
    finished: dict[str, ShardReceipt]
    previous: Previous

    @property
    def todo(self) -> list[ShardTask]:
        """The shards still to build."""
        return [task for task in self.tasks if task.path.name not in self.finished]

    def describe(self, workers: int) -> dict[str, object]:
        """The plan in numbers, with an estimate of the time on so many workers."""
        missing = {part: [u for task in self.todo for u in task.missing(part)] for part in PARTS}
        frames = sum(frame_count(utterance, self.settings) for utterance in missing["faces"])
        return {
            "recordings": len(self.inventory.recordings),
            "utterances": len(self.inventory.utterances),
            "dropped_by_scan": len(self.inventory.dropped),
            "without_text": self.inventory.without_text,
            "reconciliation": self.inventory.reconciliation,
            "shards": len(self.tasks),
            "shards_finished": len(self.finished),
            "faces_to_make": len(missing["faces"]),
            "spectra_to_make": len(missing["mel"]),
            "tokens_to_make": len(missing["tokens"]),
            "why": self.reasons(),
            "frames": frames,
            "shard_bytes": sum(_bytes(u, self.settings) for u in self.inventory.utterances),
            "workers": workers,
            "estimated_s": round(estimate_s(self.todo, workers), 1),
        }

    def reasons(self) -> list[str]:
        """Why shards have to be built, one sentence for each cause."""
        if not self.todo:
            return []
        old = self.previous
        if not old.shards:
            return ["there are no shards yet"]
        causes = []
        known = old.origins.keys() | old.drops.keys()
        new = [utterance for utterance in self.inventory.utterances if utterance.id not in known]
        if new:
            causes.append(f"{len(new)} utterance(s) are new, first {new[0].id}")
        names = {utterance.id for utterance in self.inventory.utterances}
        if gone := sorted(known - names):
            causes.append(f"{len(gone)} utterance(s) are gone, first {gone[0]}")
        causes += _changed_settings(old, self.settings)
        for part in PARTS:
            made = [u for task in self.todo for u in task.missing(part) if u.id in old.origins]
            if made:
                causes.append(f"{len(made)} utterance(s) need other {part}, first {made[0].id}")
        return causes or ["shards are missing, damaged, cut otherwise or have other labels"]


def make_plan(
    inventory: Inventory,
    settings: PrepSettings,
    tokenizer: str,
    out: Path,
    shard_mb: float = 16,
    sources: Sources | None = None,
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
        sources: recording id -> SHA-256 of its files; None keeps nothing of earlier runs.
        retry_dropped: try those again that an earlier run dropped.
        fail_fast: stop at the first recording that cannot be read.
        device: where faces are looked for.

    Raises:
        SettingsError: the shard size is not positive.
    """
    if not shard_mb > 0:
        raise SettingsError(f"the shard size is {shard_mb} MB, expected more than 0")
    previous = Previous() if sources is None else read_previous(out, inventory.corpus)
    sources = sources or {r.id: (UNREADABLE, UNREADABLE) for r in inventory.recordings}
    tasks, finished = [], {}
    for number, utterances in enumerate(_cut(inventory.utterances, settings, shard_mb * _MB)):
        path = out / f"{inventory.corpus}-{number:05d}.h5"
        task = _task(path, inventory, settings, tokenizer, utterances, sources)
        task = replace(task, fail_fast=fail_fast, device=device)
        old = previous.shards.get(path)
        done = old is not None and old.task_digest == task.header.task_digest
        if done and old is not None and not (retry_dropped and old.dropped):
            finished[path.name] = _receipt_of(old)
        else:
            task = with_kept(task, previous, retry_dropped)
        tasks.append(task)
    return Plan(inventory, settings, tuple(tasks), finished, previous)


def _task(
    path: Path,
    inventory: Inventory,
    settings: PrepSettings,
    tokenizer: str,
    utterances: tuple[Utterance, ...],
    sources: Sources,
) -> ShardTask:
    names = dict.fromkeys(utterance.recording_id for utterance in utterances)
    recordings = tuple(recording for recording in inventory.recordings if recording.id in names)
    header = ShardHeader(
        inventory.corpus,
        inventory.label_classes,
        inventory.rating_names,
        settings,
        {name: sources[name] for name in names},
        "",
    )
    made_from = {
        "format_version": FORMAT_VERSION,
        "corpus": header.corpus,
        "label_classes": header.label_classes,
        "rating_names": header.rating_names,
        "settings": settings.to_json(),
        "sources": header.sources,
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
    """Expected bytes of an example: its faces and its spectrum, the rest is small."""
    storage, pixels = settings.storage, settings.faces.image_size_px**2
    face = 3 * pixels if storage.faces == "raw" else round(_JPEG_BYTES * pixels)
    rows = 1 + math.floor(utterance.duration_s / settings.mel.hop_s)
    cell = 2 if storage.mel == "float16" else 1
    return frame_count(utterance, settings) * face + rows * settings.mel.n_mels * cell


def _receipt_of(old: OldShard) -> ShardReceipt:
    return ShardReceipt(
        old.path.name, old.sha256, old.size_bytes, old.examples, old.task_digest, old.dropped
    )


def _changed_settings(previous: Previous, settings: PrepSettings) -> list[str]:
    """Each setting that differs from that of most of the old shards."""
    texts = Counter(str(sorted(old.settings.items())) for old in previous.shards.values())
    common = texts.most_common(1)[0][0]
    found = (shard.settings for shard in previous.shards.values())
    old = next(values for values in found if str(sorted(values.items())) == common)
    new = PrepSettings.from_json(settings.to_json()).to_json()
    return [
        f"{stage}.{name} was {old[stage].get(name)!r} and is {value!r}"
        for stage, values in new.items()
        for name, value in values.items()
        if stage in old and old[stage].get(name) != value
    ]
