"""How long tasks are expected to take.

Owns the rough costs and the order of tasks. Only order and estimate depend on them, no byte.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence

from pipelines.task import ShardTask

# On one core: decoding a second of 720x480 media; finding and cutting the face in one picture of
# 360x480.
_DECODE_S_PER_S = 0.014
_DETECT_S = 0.014


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
