"""A whole preparation run: what was left is swept, tasks become receipts, the index comes last.

Owns what a dataset directory holds beside its shards and that the sums are right. Leaves
printing to cli.
"""

from __future__ import annotations

import platform
import shutil
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from fv2es_prep import __version__
from fv2es_prep.errors import (
    MediaError,
    OutputError,
    ShardError,
    UsageError,
    WorkerDiedError,
)
from fv2es_prep.shards.catalogue import write_catalogue
from fv2es_prep.shards.dropped import write_dropped
from fv2es_prep.shards.index import INDEX_NAME, make_index, read_index, write_index
from fv2es_prep.shards.tools.report import write_report
from fv2es_prep.types import ShardReceipt
from fv2es_prep.utils.files import TEMPORARY_SUFFIX, cannot_write, make_directory, write_json
from pipelines.build import quarantine_shard
from pipelines.cache import ASIDE_NAME
from pipelines.executor import run_tasks
from pipelines.lock import locked
from pipelines.plan import Plan
from pipelines.task import ShardTask

RUN_NAME = "run.json"


@dataclass(frozen=True)
class Summary:
    """What a run has made.

    Attributes:
        out: the dataset directory.
        shards: number of shards of the dataset.
        shards_built: number of shards built by this run.
        prepared: number of examples in the dataset.
        dropped: reason code -> how many, for everything that was left out.
        dropped_in_preparation: how many of these were in the inventory.
        without_text: how many utterances of the inventory have an empty transcript.
        counts: work done by this run, e.g. ``frames_sampled``.
        recordings_failed: recordings of the dataset that could not be read to their end.
        size_bytes: bytes of all shards.
        seconds: wall time of this run.
        failed_shards: name of a shard that could not be built -> the error.
        reconciliation: name -> how many, see `Inventory`.
    """

    out: Path
    shards: int
    shards_built: int
    prepared: int
    dropped: dict[str, int]
    dropped_in_preparation: int
    without_text: int
    counts: dict[str, int]
    recordings_failed: tuple[str, ...]
    size_bytes: int
    seconds: float
    failed_shards: dict[str, str] = field(default_factory=dict)
    reconciliation: dict[str, int] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether every shard was built and every recording could be read."""
        return not self.failed_shards and not self.recordings_failed

    @property
    def dropped_share(self) -> float:
        """Share of the inventory's utterances that could not be prepared."""
        return self.dropped_in_preparation / max(self.prepared + self.dropped_in_preparation, 1)

    def to_json(self) -> dict[str, Any]:
        """The summary as plain JSON values."""
        return {**asdict(self), "out": str(self.out), "complete": self.complete}


def run(plan: Plan, out: Path, executor: str, report: Callable[[int], None]) -> Summary:
    """Build what the plan still lacks, then write the index.

    Args:
        plan: from `make_plan`, for the same directory.
        out: the dataset directory.
        executor: see `executor.worker_count`.
        report: called with the number of utterances done since the last call.

    Returns:
        The summary. Where a shard failed there is no index, and the same command continues.

    Raises:
        UsageError: the directory holds another corpus, or another run works in it.
        MediaError: a recording cannot be decoded, and the plan says to stop then.
        OutputError: the directory cannot be written.
        ExecutorError: the cluster cannot be reached or runs another version.
    """
    began = time.monotonic()
    make_directory(out)
    with locked(out):
        _claim(out, plan)
        receipts = dict(plan.finished)
        failed: dict[str, Exception] = {}
        for task, result in run_tasks(plan.todo, executor, report):
            if isinstance(result, OutputError | MediaError):
                raise result
            if isinstance(result, WorkerDiedError):
                receipts[task.path.name] = quarantine_shard(task, result.sentence)
            elif isinstance(result, Exception):
                failed[task.path.name] = result
            else:
                receipts[task.path.name] = result
        built = [receipts[task.path.name] for task in plan.todo if task.path.name in receipts]
        summary = _summary(plan, out, receipts, built, failed, time.monotonic() - began)
        if not failed:
            _finish(plan, out, [receipts[task.path.name] for task in plan.tasks])
        _write_run(out, plan, summary, built, executor)
    return summary


def _claim(out: Path, plan: Plan) -> None:
    """Make the directory ours: sweep leftovers, refuse another corpus', put old work aside."""
    for leftover in out.glob(f".*{TEMPORARY_SUFFIX}"):
        leftover.unlink(missing_ok=True)
    if (out / INDEX_NAME).is_file():
        _refuse_foreign(out, plan.inventory.corpus)
    if not plan.todo:
        return
    (out / INDEX_NAME).unlink(missing_ok=True)
    for old in plan.cache.shards.values():
        if old.path.name not in plan.finished and old.path != old.aside:
            try:
                old.aside.parent.mkdir(exist_ok=True)
                old.path.replace(old.aside)
            except OSError as error:
                raise cannot_write(old.aside, error) from error


def _refuse_foreign(out: Path, ours: str) -> None:
    try:
        corpus = read_index(out).corpus
    except ShardError:
        # Damaged: this run writes it anew.
        return
    if corpus != ours:
        raise UsageError(f"{out} holds shards of {corpus}, not of {ours}", "choose another --out")


def _finish(plan: Plan, out: Path, receipts: Sequence[ShardReceipt]) -> None:
    inventory = plan.inventory
    _check_sums(plan, receipts)
    _sweep(out, plan.tasks)
    dropped = [*inventory.dropped, *(d for r in receipts for d in r.dropped)]
    write_dropped(out, map(asdict, dropped))
    index = make_index(
        inventory.corpus,
        inventory.label_classes,
        inventory.rating_names,
        plan.settings,
        receipts,
        inventory.reconciliation,
    )
    write_catalogue(out, index)
    write_index(out, index)
    shutil.rmtree(out / ASIDE_NAME, ignore_errors=True)
    write_report(out, dropped)


def _check_sums(plan: Plan, receipts: Sequence[ShardReceipt]) -> None:
    prepared = sum(receipt.examples for receipt in receipts)
    dropped = sum(len(receipt.dropped) for receipt in receipts)
    expected = len(plan.inventory.utterances)
    assert prepared + dropped == expected, f"{prepared} + {dropped} is not {expected} utterances"


def _sweep(out: Path, tasks: Sequence[ShardTask]) -> None:
    """Remove shards of an earlier, longer cut of the same corpus."""
    corpus = tasks[0].header.corpus
    planned = {task.path.name for task in tasks}
    for path in out.glob(f"{corpus}-[0-9][0-9][0-9][0-9][0-9].h5"):
        if path.name not in planned:
            path.unlink()


def _summary(
    plan: Plan,
    out: Path,
    receipts: dict[str, ShardReceipt],
    built: Sequence[ShardReceipt],
    failed: dict[str, Exception],
    seconds: float,
) -> Summary:
    counts = Counter[str]()
    for receipt in built:
        counts.update(receipt.counts)
    tried = [entry for receipt in receipts.values() for entry in receipt.dropped]
    reasons = Counter(entry.reason.value for entry in [*plan.inventory.dropped, *tried])
    lost = {entry.recording_id for entry in tried if entry.reason.fails_recording}
    return Summary(
        out=out,
        shards=len(plan.tasks),
        shards_built=len(built),
        prepared=sum(receipt.examples for receipt in receipts.values()),
        dropped=dict(reasons.most_common()),
        dropped_in_preparation=len(tried),
        without_text=plan.inventory.without_text,
        counts=dict(counts),
        recordings_failed=tuple(sorted(lost)),
        size_bytes=sum(receipt.size_bytes for receipt in receipts.values()),
        seconds=round(seconds, 2),
        failed_shards={name: str(error) or repr(error) for name, error in sorted(failed.items())},
        reconciliation=plan.inventory.reconciliation,
    )


def _write_run(
    out: Path, plan: Plan, summary: Summary, built: Sequence[ShardReceipt], executor: str
) -> None:
    """run.json: the only place for times, hosts and paths."""
    value = {
        "fv2es": __version__,
        "host": platform.node(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "finished_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "executor": executor,
        "tokenizer": plan.tasks[0].tokenizer,
        "summary": summary.to_json(),
        "shards_built": {r.name: {"seconds": r.seconds, **r.counts} for r in built},
    }
    write_json(out / RUN_NAME, value)
