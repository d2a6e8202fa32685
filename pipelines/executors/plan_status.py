"""The status of the run in a dataset directory, read without changing it."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Any

from fv2es_prep.errors import ShardError
from fv2es_prep.shards.index import read_index
from fv2es_prep.store.dataset_upload import local_dataset
from fv2es_prep.utils.claims import LOCK_NAME, holder_of, is_live, records
from fv2es_prep.utils.tables import wrapped
from pipelines.executors.detached import read_submission
from pipelines.executors.plan_directory import PlanDirectory, running_plan
from pipelines.executors.slurm import last_words


def status_of(out: Path) -> dict[str, Any]:
    """Count shards done, being built, left and failed; list workers with their shards.

    Raises:
        ShardError: there is neither a run nor an index.
    """
    # No run, or it ended during the reading.
    with contextlib.suppress(ShardError, FileNotFoundError):
        copy = local_dataset(out)
        return _status(running_plan(copy), copy)
    return {"running": False, "complete": True, "shards": len(read_index(out).shards)}


def _status(plan: PlanDirectory, out: Path) -> dict[str, Any]:
    contents, finished = plan.contents, plan.finished()
    failed = {n: str(r) for n in sorted(finished) if isinstance(r := plan.result(n), Exception)}
    claims = [c for c in records(plan.path / "claims") if c.parent.stem not in finished]
    workers = sorted((_worker(claim) for claim in claims), key=lambda one: str(one["shard"]))
    held = {worker["shard"] for worker in workers if worker["live"]}
    jobs = read_submission(plan)
    return {
        "running": any(map(is_live, records(out, LOCK_NAME))),
        "complete": False,
        "shards": len(contents.shards),
        "done": len(contents.shards) - len(contents.tasks) + len(finished) - len(failed),
        "building": len(held),
        "left": len(contents.tasks.keys() - finished - held),
        "failed": failed,
        "utterances_done": plan.done(finished),
        "utterances_to_do": sum(contents.tasks.values()),
        "workers": workers,
        "jobs": [jobs.array, jobs.finisher] if jobs else [],
        "said": last_words(plan.path),
    }


def _worker(claim: Path) -> dict[str, Any]:
    try:
        age_s = round(time.time() - claim.stat().st_mtime, 1)
    except FileNotFoundError:
        age_s = 0.0
    holder = {"host": "?", "process": 0, **holder_of(claim)}
    return {
        "shard": claim.parent.stem,
        "host": holder["host"],
        "process": holder["process"],
        "heartbeat_age_s": age_s,
        "live": is_live(claim),
    }


def status_text(status: dict[str, Any]) -> str:
    """Render the status as lines."""
    if status["complete"]:
        return f"complete {status['shards']:7} shard(s)"
    lines = [f"{name:9}{status[name]:7} shard(s)" for name in ("done", "building", "left")]
    lines += [f"utterances {status['utterances_done']} of {status['utterances_to_do']}"]
    for one in status["workers"]:
        state = "" if one["live"] else ", dead: its shard is free"
        place = f"process {one['process']} on {one['host']}"
        age = f"heartbeat {one['heartbeat_age_s']:.0f} s ago"
        lines += [f"worker   {one['shard']}: {place}, {age}{state}"]
    lines += [f"failed   {name}: {error}" for name, error in status["failed"].items()]
    if status["jobs"]:
        array, finisher = status["jobs"]
        lines += [f"SLURM    {array} builds, {finisher} finishes{status['said']}"]
    elif not status["running"]:
        lines += ["no run is active; to continue it, run its `fv2es prep` command again"]
    return "\n".join(wrapped(line, indent=" " * 9) for line in lines)
