"""What is printed of a plan: its numbers, and why shards have to be built."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fv2es_prep.config import PrepSettings
from fv2es_prep.stages.registry import stages_of
from fv2es_prep.utils.tables import named_lines
from fv2es_prep.utils.units import duration, size
from pipelines.commands.common import output
from pipelines.plan import earlier_recordings
from pipelines.task import estimate_s

if TYPE_CHECKING:
    from pipelines.cache import Cache
    from pipelines.plan import Plan


def print_plan(plan: Plan, workers: int, as_json: bool) -> None:
    """Print a plan for a number of workers."""
    described = describe(plan, workers)
    output(described, plan_text(described), as_json)


def plan_text(described: Mapping[str, object]) -> str:
    """A plan or estimate for people: bytes and seconds in units that suit them."""
    pairs = [
        (_title(name), line)
        for name, value in described.items()
        for line in _lines(_readable(name, value))
    ]
    return named_lines(pairs, max(16, *(len(name) for name, _ in pairs)))


def _title(name: str) -> str:
    return {"estimated_s": "time", "shard_bytes": "size"}.get(name, name.removesuffix("_bytes"))


def _readable(name: str, value: Any) -> object:
    if name == "estimated_s":
        return f"about {duration(value)}"
    if name.endswith("_bytes"):
        return {n: size(v) for n, v in value.items()} if isinstance(value, dict) else size(value)
    return value


def _lines(value: object) -> list[object]:
    """The printed lines of a value."""
    if isinstance(value, dict):
        return [f"{count:7} {name}" for name, count in value.items()]
    return value if isinstance(value, list) else [value]


def describe(plan: Plan, workers: int) -> dict[str, object]:
    """Describe a plan in numbers, with an estimate of the time on a number of workers."""
    todo = plan.todo
    seen = (u for task in todo for u in task.missing_for("video"))
    missing = {
        f"{stage}_to_make": sum(len(task.missing(stage)) for task in todo)
        for stage in plan.settings.stages
    }
    return {
        "recordings": len(plan.inventory.recordings),
        "utterances": len(plan.inventory.utterances),
        "dropped_by_scan": len(plan.inventory.dropped),
        "left_out": dict(Counter(d.reason.value for d in plan.inventory.dropped).most_common()),
        "without_text": plan.inventory.without_text,
        "reconciliation": plan.inventory.reconciliation,
        "shards": len(plan.tasks),
        "shards_finished": len(plan.finished),
        **missing,
        "why": _reasons(plan),
        "frames": sum(plan.settings.frames.count(u.duration_s) for u in seen),
        "shard_bytes": plan.shard_bytes,
        "workers": workers,
        "estimated_s": round(estimate_s(todo, workers), 1),
    }


def _reasons(plan: Plan) -> list[str]:
    """Why shards have to be built, one sentence for each cause."""
    if not plan.todo:
        return []
    old = plan.cache
    if not old.shards:
        return ["there are no shards yet"]
    causes = []
    known = old.fingerprints.keys() | old.drops.keys()
    new = [utterance for utterance in plan.inventory.utterances if utterance.id not in known]
    if new:
        causes.append(f"{len(new)} utterance(s) are new, first {new[0].id}")
    names = {utterance.id for utterance in plan.inventory.utterances}
    if gone := sorted(known - names):
        causes.append(f"{len(gone)} utterance(s) are gone, first {gone[0]}")
    text = plan.settings.text
    if not text.is_known and any(s.section == "text" for s in stages_of(plan.settings)):
        causes.append(
            f"the tokenizer {text.tokenizer} is not on this machine, so tokens count as changed"
        )
    unhashed = [r for r in earlier_recordings(plan.inventory, old) if r.id not in plan.media_hashes]
    if unhashed:
        causes.append(
            f"the files of {len(unhashed)} recording(s) must be hashed to decide what can "
            f"be kept, first {unhashed[0].id}"
        )
    causes += _changed_settings(old, plan.settings)
    for stage in plan.settings.stages:
        made = [
            utterance
            for task in plan.todo
            for utterance in task.missing(stage)
            if utterance.id in old.fingerprints and utterance.recording_id in plan.media_hashes
        ]
        if made:
            causes.append(f"{len(made)} utterance(s) need new {stage}, first {made[0].id}")
    return causes or ["shards are missing, damaged, cut differently or have other labels"]


def _changed_settings(cache: Cache, settings: PrepSettings) -> list[str]:
    """Each setting that differs from that of most of the old shards."""
    all_settings = [old.settings for old in cache.shards.values()]
    counts = Counter(str(sorted(settings.items())) for settings in all_settings)
    usual = counts.most_common(1)[0][0]
    old = next(s for s in all_settings if str(sorted(s.items())) == usual)
    new = PrepSettings.from_json(settings.to_json()).flat()
    return [
        f"{name} changed from {old[name]!r} to {value!r}"
        for name, value in new.items()
        if name in old
        and old[name] != value
        and (settings.text.is_known or not name.startswith("text."))
    ]
