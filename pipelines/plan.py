"""From an inventory to the list of shards to build: pure, deterministic, known before any work.

Owns the cut into tasks and what is already done. Leaves where the tasks run to the executor.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path

from fv2es_prep.errors import SettingsError, ShardError
from fv2es_prep.files import sha256_of
from fv2es_prep.settings import PrepSettings, digest_of
from fv2es_prep.shards.reader import ShardReader
from fv2es_prep.shards.schema import FORMAT_VERSION
from fv2es_prep.shards.writer import ShardHeader
from fv2es_prep.types import Inventory, Recording, ShardReceipt, Utterance

_MB = 1_000_000
# Rough costs on one core, measured on 720x480 DX50: decoding per second of media, detecting and
# cutting one face. They only feed the estimate of a dry run.
_DECODE_S_PER_S = 0.022
_DETECT_S = 0.05


@dataclass(frozen=True)
class ShardTask:
    """One shard to build: paths and ids, a few kilobytes.

    Attributes:
        path: where the shard will be.
        recordings: the recordings in it, each whole.
        utterances: ordered by recording, then start, then id.
        header: what the shard's root will say.
        tokenizer: name at the hub or directory of the tokenizer.
    """

    path: Path
    recordings: tuple[Recording, ...]
    utterances: tuple[Utterance, ...]
    header: ShardHeader
    tokenizer: str

    def by_recording(self) -> Iterator[tuple[Recording, tuple[Utterance, ...]]]:
        """Each recording with its utterances."""
        groups = groupby(self.utterances, key=lambda utterance: utterance.recording_id)
        for recording, (_, utterances) in zip(self.recordings, groups, strict=True):
            yield recording, tuple(utterances)


@dataclass(frozen=True)
class Plan:
    """What a run will do.

    Attributes:
        inventory: what is to be prepared.
        settings: the settings of every stage.
        tasks: every shard of the dataset, in order.
        finished: name of a shard that is already whole -> its receipt.
    """

    inventory: Inventory
    settings: PrepSettings
    tasks: tuple[ShardTask, ...]
    finished: dict[str, ShardReceipt]

    @property
    def todo(self) -> list[ShardTask]:
        """The shards still to build, those with the most sound first."""
        left = [task for task in self.tasks if task.path.name not in self.finished]
        return sorted(left, key=lambda task: (-_media_s(task.utterances), task.path.name))

    def describe(self, workers: int) -> dict[str, object]:
        """The plan in numbers, with an estimate of the time on so many workers."""
        utterances = [utterance for task in self.todo for utterance in task.utterances]
        frames = sum(frame_count(utterance, self.settings) for utterance in utterances)
        seconds = sum(_media_s(task.utterances) for task in self.todo) * _DECODE_S_PER_S
        busy = min(max(len(self.todo), 1), workers)
        return {
            "recordings": len(self.inventory.recordings),
            "utterances": len(self.inventory.utterances),
            "dropped_by_scan": len(self.inventory.dropped),
            "frames": frames,
            "shards": len(self.tasks),
            "shards_finished": len(self.finished),
            "shard_bytes": sum(_bytes(u, self.settings) for u in self.inventory.utterances),
            "workers": workers,
            "estimated_s": round((seconds + frames * _DETECT_S) / busy, 1),
        }


def make_plan(
    inventory: Inventory, settings: PrepSettings, tokenizer: str, out: Path, shard_mb: float = 16
) -> Plan:
    """Cut an inventory into shards and see which of them are already there.

    Recordings are taken in order and never divided: a shard is closed as soon as its expected
    size reaches ``shard_mb``. So the cut depends on the corpus and the settings alone.

    Args:
        inventory: what is to be prepared.
        settings: the settings of every stage.
        tokenizer: name at the hub or directory of the tokenizer.
        out: the dataset directory; it need not exist.
        shard_mb: size of a shard in megabytes (10^6 bytes).

    Raises:
        SettingsError: the shard size is not positive.
    """
    if not shard_mb > 0:
        raise SettingsError(f"the shard size is {shard_mb} MB, expected more than 0")
    recordings = {recording.id: recording for recording in inventory.recordings}
    tasks = []
    for number, utterances in enumerate(_cut(inventory.utterances, settings, shard_mb * _MB)):
        names = dict.fromkeys(utterance.recording_id for utterance in utterances)
        chosen = tuple(recordings[name] for name in names)
        header = ShardHeader(
            inventory.corpus,
            inventory.label_classes,
            inventory.rating_names,
            settings,
            _task_digest(inventory, settings, chosen, utterances),
        )
        path = out / f"{inventory.corpus}-{number:05d}.h5"
        tasks.append(ShardTask(path, chosen, utterances, header, tokenizer))
    finished = {task.path.name: receipt for task in tasks if (receipt := _receipt_of(task))}
    return Plan(inventory, settings, tuple(tasks), finished)


def frame_count(utterance: Utterance, settings: PrepSettings) -> int:
    """How many frames of an utterance will be sampled."""
    return max(math.ceil(round(utterance.duration_s / settings.frames.interval_s, 6)), 1)


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
    face = 3 * settings.faces.image_size_px**2
    rows = 1 + math.floor(utterance.duration_s / settings.mel.hop_s)
    return frame_count(utterance, settings) * face + rows * settings.mel.n_mels * 2


def _media_s(utterances: Sequence[Utterance]) -> float:
    """Seconds of media that have to be decoded for these utterances."""
    groups = groupby(utterances, key=lambda utterance: utterance.recording_id)
    return sum(max(utterance.end_s for utterance in group) for _, group in groups)


def _task_digest(
    inventory: Inventory,
    settings: PrepSettings,
    recordings: Sequence[Recording],
    utterances: Sequence[Utterance],
) -> str:
    sources = [
        [recording.id, *(path.stat().st_size for path in (recording.video, recording.audio))]
        for recording in recordings
    ]
    made_from = {
        "format_version": FORMAT_VERSION,
        "corpus": inventory.corpus,
        "label_classes": inventory.label_classes,
        "rating_names": inventory.rating_names,
        "settings": settings.to_json(),
        "sources": sources,
        # NaN ratings are written as such by json: the text is the same each time.
        "utterances": [asdict(utterance) for utterance in utterances],
    }
    return digest_of(made_from)


def _receipt_of(task: ShardTask) -> ShardReceipt | None:
    """The receipt of a shard that is there and made from the same; else None."""
    if not task.path.is_file():
        return None
    try:
        with ShardReader(task.path) as reader:
            digest = reader.attribute("task_digest")
            examples, dropped = len(reader), tuple(reader.dropped())
    except ShardError:
        return None
    if digest != task.header.task_digest:
        return None
    size = task.path.stat().st_size
    return ShardReceipt(task.path.name, sha256_of(task.path), size, examples, digest, dropped)
