"""What is to be built next: the longest first, and a divided shard once its pieces are there.

Owns the way from pieces to whole shards. Leaves dividing to `pieces` and where work is done to
`executor`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from pathlib import Path

from fv2es_prep.errors import WorkerDiedError
from fv2es_prep.types import ShardReceipt
from fv2es_prep.utils.files import make_directory
from pipelines.build import quarantine_shard
from pipelines.pieces import assembled, divide, jobs_of
from pipelines.task import ShardTask

Result = tuple[ShardTask, ShardReceipt | Exception]


class Worklist:
    """The shards of a run on their way to being built.

    Args:
        tasks: the shards.
        workers: how many are built at once; shards are divided where that makes the run shorter.

    Raises:
        OutputError: the directory for pieces cannot be made.
    """

    def __init__(self, tasks: Sequence[ShardTask], workers: int) -> None:
        self._pieces = divide(tasks, workers)
        self._whole = {task.path: task for task in tasks}
        self._receipts: dict[Path, ShardReceipt] = {}
        self._queue = deque(jobs_of(tasks, self._pieces))
        for pieces in self._pieces.values():
            make_directory(pieces[0].path.parent)

    def __len__(self) -> int:
        return len(self._queue)

    def take(self) -> ShardTask | None:
        """The next one to be built; None while there is none."""
        return self._queue.popleft() if self._queue else None

    def finish(self, job: ShardTask, result: ShardReceipt | Exception) -> list[Result]:
        """Take in what came of a job.

        Args:
            job: what was taken.
            result: its receipt, or why there is none.

        Returns:
            The shard that is done with it and how, if any.

        Raises:
            OutputError: a piece whose workers died cannot be written.
        """
        if job.piece_of is not None:
            return self._finish_piece(job, job.piece_of, result)
        if not isinstance(result, Exception):
            for piece in self._pieces.get(job.path, ()):
                piece.path.unlink(missing_ok=True)
        return [(job, result)]

    def _finish_piece(
        self, job: ShardTask, shard: Path, result: ShardReceipt | Exception
    ) -> list[Result]:
        if isinstance(result, WorkerDiedError):
            result = quarantine_shard(job, result.sentence)
        if shard not in self._whole:
            # Another piece has failed: this one is kept for the next run.
            return []
        if isinstance(result, Exception):
            self._queue = deque(other for other in self._queue if other.piece_of != shard)
            return [(self._whole.pop(shard), result)]
        self._receipts[job.path] = result
        pieces = self._pieces[shard]
        if all(piece.path in self._receipts for piece in pieces):
            receipts = [self._receipts[piece.path] for piece in pieces]
            self._queue.appendleft(assembled(self._whole[shard], pieces, receipts))
        return []
