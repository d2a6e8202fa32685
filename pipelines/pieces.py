"""Dividing shards into pieces where that makes a run shorter, and how long work should take.

Owns the costs and where a shard may be divided. What a shard holds is `plan`'s and does not depend
on any of this: a piece is a small shard of its own among the earlier work, and its shard is copied
together out of its pieces.
"""

from __future__ import annotations

import heapq
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fv2es_prep.config import digest_of
from fv2es_prep.types import ShardReceipt, Utterance
from pipelines.cache import ASIDE_NAME, read_shards
from pipelines.task import ShardTask, Tried, frame_count, with_kept

# Rough costs on one core: decoding a second of 720x480 media, finding and cutting the face in one
# picture of 360x480, and what a piece adds: its decoders are started, it is written and copied.
# They decide who does what and feed the estimate; no byte depends on them.
_DECODE_S_PER_S = 0.014
_DETECT_S = 0.014
_PIECE_S = 0.5
# A division must leave at most so much of the time: pieces are written twice.
_WORTH = 0.9
# Sizes of pieces that are tried: from a part of one worker's fair share upwards, in such steps.
_SMALLEST = 0.25
_STEP = 1.02

Pieces = dict[Path, tuple[ShardTask, ...]]
"""Path of a shard that is divided -> its pieces, in order."""


@dataclass(frozen=True)
class _Stretch:
    """Utterances of one recording that stay together.

    Attributes:
        utterances: those whose faces or spectrum have to be made.
        end_s: up to which moment the recording has to be decoded for them.
        detect_s: seconds of work once it is decoded.
    """

    utterances: tuple[Utterance, ...]
    end_s: float
    detect_s: float

    def cost_s(self, before: _Stretch | None) -> float:
        """What it adds to a piece whose last stretch is ``before``.

        A recording is decoded from its beginning: what a piece skips is decoded all the same.
        """
        decoded_s = 0.0
        if before and before.utterances[0].recording_id == self.utterances[0].recording_id:
            decoded_s = before.end_s
        return max(self.end_s - decoded_s, 0) * _DECODE_S_PER_S + self.detect_s


_Cut = dict[Path, list[list[_Stretch]]]


def cost_s(task: ShardTask) -> float:
    """Seconds that one core is expected to work on a task; copying and tokenizing count nothing."""
    extra_s = 0.0 if task.piece_of is None else _PIECE_S
    return extra_s + _sum_s(_stretches(task, within=False))


def estimate_s(tasks: Sequence[ShardTask], pieces: Pieces, workers: int) -> float:
    """Seconds that so many workers are expected to take for tasks, some of them divided."""
    return _makespan_s([cost_s(job) for job in jobs_of(tasks, pieces)], workers)


def jobs_of(tasks: Iterable[ShardTask], pieces: Pieces) -> list[ShardTask]:
    """The pieces of the divided shards and the undivided ones, the longest first."""
    jobs = [job for task in tasks for job in pieces.get(task.path, (task,))]
    return sorted(jobs, key=lambda job: (-cost_s(job), job.path.name))


def divide(tasks: Sequence[ShardTask], workers: int) -> Pieces:
    """Divide shards, the largest first, where that leaves fewer workers idle.

    Every utterance whose faces or spectrum are missing is in one piece, and the pieces of a shard
    are in its order. Sizes are tried from small to large, first cutting between recordings only.

    Args:
        tasks: the shards to build.
        workers: how many of them are built at once.

    Returns:
        The pieces of the shards that are divided; nothing where it is not worth while.
    """
    costs = {task.path: cost_s(task) for task in tasks}
    best, best_s = _Cut(), _WORTH * _makespan_s(costs.values(), workers)
    if best_s <= sum(costs.values()) / workers:
        return {}
    for cut in _cuts(tasks, costs, workers):
        left = [cost for path, cost in costs.items() if path not in cut]
        parts = [_PIECE_S + _sum_s(part) for shard in cut.values() for part in shard]
        if (found_s := _makespan_s(left + parts, workers)) < best_s:
            best, best_s = cut, found_s
    return {
        task.path: tuple(_piece(task, part) for part in best[task.path])
        for task in tasks
        if task.path in best
    }


def _cuts(tasks: Sequence[ShardTask], costs: dict[Path, float], workers: int) -> Iterator[_Cut]:
    """Divisions worth a trial: for each size of pieces the largest shard, the two largest, ..."""
    smallest_s = _SMALLEST * sum(costs.values()) / workers
    # So many are enough for all workers to end together.
    largest = sorted(tasks, key=lambda task: (-costs[task.path], task.path.name))[: 2 * workers]
    for within in (False, True):
        stretches = {task.path: list(_stretches(task, within)) for task in largest}
        for size_s in _sizes(smallest_s, max(costs.values())):
            cut = _Cut()
            for path in stretches:
                pieces = _fill(stretches[path], size_s)
                if len(pieces) > 1:
                    cut = _Cut({**cut, path: pieces})
                    yield cut


def assembled(
    task: ShardTask, pieces: Sequence[ShardTask], receipts: Sequence[ShardReceipt]
) -> ShardTask:
    """The task of a whole shard whose pieces are there: it keeps what is in them.

    What a piece dropped in this run stays dropped. What it left, since a recording could not be
    read, is tried again: the shard then says the same as if it had not been divided.
    """
    counts = Counter[str]()
    for receipt in receipts:
        counts.update(receipt.counts)
    tried = Tried(
        frozenset(utterance.id for piece in pieces for utterance in piece.utterances),
        dict(counts),
        sum(receipt.seconds for receipt in receipts),
    )
    made = read_shards(piece.path for piece in pieces)
    return replace(with_kept(task, made, retry_dropped=False), tried=tried)


def _stretches(task: ShardTask, within: bool) -> Iterator[_Stretch]:
    """What is to be made of a task's media, divided as finely as it may be.

    A recording may be divided where all utterances before end before all that follow. So where it
    cannot be read any further both sides meet the same place, and neither has what the other lacks.

    Args:
        task: the task.
        within: also within recordings.
    """
    faces = {utterance.id for utterance in task.missing("faces")}
    wanted = faces | {utterance.id for utterance in task.missing("mel")}
    settings = task.header.settings
    for _, group in task.by_recording():
        members = [utterance for utterance in group if utterance.id in wanted]
        starts = [0, *(_clean_cuts(members) if within else ()), len(members)]
        end_s = 0.0
        for first, last in itertools.pairwise(starts):
            held = tuple(members[first:last])
            # No recording is longer than the limit, whatever a span says.
            seen = [u.within(0, settings.media.max_duration_s, 0) for u in held if u.id in faces]
            inside = [utterance for utterance in seen if utterance is not None]
            end_s = max([end_s, *(utterance.end_s for utterance in inside)])
            frames = sum(frame_count(utterance, settings) for utterance in inside)
            if held:
                yield _Stretch(held, end_s, frames * _DETECT_S)


def _clean_cuts(utterances: Sequence[Utterance]) -> Iterator[int]:
    """Each position at which all before end no later than any that follows."""
    ends_s = [utterance.end_s for utterance in utterances]
    latest_s = itertools.accumulate(ends_s, max)
    earliest_s = [*itertools.accumulate(reversed(ends_s), min)][::-1]
    for cut, (before_s, after_s) in enumerate(zip(latest_s, earliest_s[1:], strict=False), 1):
        if before_s <= after_s:
            yield cut


def _fill(stretches: Sequence[_Stretch], size_s: float) -> list[list[_Stretch]]:
    """Pieces of at most so many seconds each, or of one stretch that is longer."""
    pieces: list[list[_Stretch]] = []
    filled_s = 0.0
    for stretch in stretches:
        more_s = stretch.cost_s(pieces[-1][-1]) if pieces else 0.0
        if not pieces or filled_s + more_s > size_s:
            pieces.append([])
            filled_s, more_s = 0.0, stretch.cost_s(None)
        pieces[-1].append(stretch)
        filled_s += more_s
    return pieces


def _sum_s(stretches: Iterable[_Stretch]) -> float:
    before = None
    total_s = 0.0
    for stretch in stretches:
        total_s += stretch.cost_s(before)
        before = stretch
    return total_s


def _sizes(smallest_s: float, largest_s: float) -> Iterator[float]:
    size_s = smallest_s
    while size_s < largest_s:
        yield size_s
        size_s *= _STEP


def _makespan_s(costs: Iterable[float], workers: int) -> float:
    """Seconds until all is done, where a worker that is free takes the longest that is left."""
    busy_s = [0.0] * workers
    for cost in sorted(costs, reverse=True):
        heapq.heapreplace(busy_s, busy_s[0] + cost)
    return max(busy_s)


def _piece(task: ShardTask, stretches: Sequence[_Stretch]) -> ShardTask:
    utterances = tuple(u for stretch in stretches for u in stretch.utterances)
    names = {utterance.recording_id for utterance in utterances}
    ids = [utterance.id for utterance in utterances]
    digest = digest_of([task.header.task_digest, ids])
    sources = {name: found for name, found in task.header.sources.items() if name in names}
    return replace(
        task,
        path=task.path.parent / ASIDE_NAME / f"{task.path.stem}-{digest[:16]}.h5",
        recordings=tuple(recording for recording in task.recordings if recording.id in names),
        utterances=utterances,
        header=replace(task.header, sources=sources, task_digest=digest),
        kept={name: task.kept[name] for name in ids if name in task.kept},
        drops={},
        piece_of=task.path,
    )
