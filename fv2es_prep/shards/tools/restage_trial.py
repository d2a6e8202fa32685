"""A trial of adding stages: makes a few examples to estimate time and memory for all.

Keeps nothing. Leaves the work itself to `restage`.
"""

from __future__ import annotations

import contextlib
import resource
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fv2es_prep.shards.catalogue import read_catalogue
from fv2es_prep.shards.reader import ShardReader
from fv2es_prep.shards.tools.restage_shard import GROUP, RestageTask, append, threads
from fv2es_prep.shards.writer import ShardWriter

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fv2es_prep.config import PrepSettings
    from fv2es_prep.shards.index import Index
    from fv2es_prep.shards.tools.restage_shard import Additions
    from fv2es_prep.stages.registry import StageContext
    from fv2es_prep.types import Example

# Number of examples: as many as are made at once, or as fit into this many seconds.
_MOST_S = 10.0


@dataclass(frozen=True)
class Trial:
    """Time and memory of the trial.

    Attributes:
        load_s: seconds until the first value: loading encoders.
        rest_s: expected seconds for all examples of the dataset in one process.
        worker_bytes: peak memory of a process in bytes.
    """

    load_s: float
    rest_s: float
    worker_bytes: int


def try_stages(
    directory: Path, index: Index, settings: PrepSettings, additions: Additions
) -> Trial:
    """Make the longest example, then examples of all lengths.

    Args:
        directory: the dataset, with at least one example.
        index: its index.
        settings: its settings with the new stages, see `restage.settings_with`.
        additions: how the stages are made.

    Raises:
        TokenizerError: an encoder cannot be loaded.
        ShardError: a shard is damaged.
    """
    seconds = read_catalogue(directory).seconds
    by_length = np.argsort(seconds, kind="stable")
    trial = _Trial(directory, index, settings, additions)
    with threads(additions.threads):
        load_s = trial.spent_s([int(by_length[0])])
        longest_s = trial.spent_s([int(by_length[-1])])
        count = int(np.clip(_MOST_S / longest_s, 1, min(GROUP, len(seconds))))
        # The middle example of each of as many equal parts.
        chosen = by_length[((np.arange(count) + 0.5) * len(seconds) / count).astype(int)]
        each_s = trial.spent_s(chosen.tolist())
    # The time of an example depends on its length, or is constant, as with Whisper's windows.
    share = max(len(seconds) / count, float(seconds.sum() / seconds[chosen].sum()))
    return Trial(load_s, each_s * share, trial.peak_bytes(count))


class _Trial:
    """Makes examples and writes them to a temporary shard."""

    def __init__(
        self, directory: Path, index: Index, settings: PrepSettings, additions: Additions
    ) -> None:
        self._tasks = [
            RestageTask(directory, entry, settings, index.label_classes, additions)
            for entry in index.shards
        ]
        self._ends = np.cumsum([entry.examples for entry in index.shards])
        self._context: StageContext = self._tasks[0].context()
        self._held = 0

    def spent_s(self, rows: Sequence[int]) -> float:
        """Seconds to make the examples of these rows at once."""
        began = time.perf_counter()
        shards = np.searchsorted(self._ends, rows, side="right")
        with contextlib.ExitStack() as stack:
            readers = {
                shard: stack.enter_context(ShardReader(task.directory / task.entry.name))
                for shard in dict.fromkeys(shards.tolist())
                for task in (self._tasks[shard],)
            }
            starts = self._ends - [task.entry.examples for task in self._tasks]
            places = [
                (readers[shard], row - int(starts[shard]))
                for shard, row in zip(shards.tolist(), rows, strict=True)
            ]
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            header = self._tasks[0].header(places[0][0])
            writer = stack.enter_context(ShardWriter(Path(folder, "trial.h5"), header))
            made = append(places, writer, self._context)
            writer.close()
            spent_s = time.perf_counter() - began
            self._held = self._bytes_of(made)
        return spent_s

    def peak_bytes(self, count: int) -> int:
        """Peak memory so far, scaled from the last ``count`` values to a whole group."""
        return int(_peak_bytes() + self._held * (GROUP - count) / count)

    def _bytes_of(self, examples: Iterable[Example]) -> int:
        """Bytes of their values, as made and as stored."""
        return 2 * sum(
            np.asarray(array).nbytes
            for example in examples
            for stage in self._context.stages
            if stage.name in example
            for array in stage.arrays(example[stage.name]).values()
        )


def _peak_bytes() -> int:
    """Peak memory of this process in bytes."""
    try:
        # Not ru_maxrss, which on Linux starts at the value of the parent process.
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return 1024 * int(status.partition("VmHWM:")[2].split()[0])
    except (OSError, LookupError):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak * (1 if sys.platform == "darwin" else 1024)
