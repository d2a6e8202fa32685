"""Section l: what planning, opening, reading and finishing cost at very many utterances or shards.

Inventories are made in memory: nothing is decoded. A set of many shards is one real shard written
again and again under other ids.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.apart import call_apart
from benchmarks.results import Section, Table, Verdict

if TYPE_CHECKING:
    from benchmarks.bench import Bench

TITLE = "limits: millions of utterances, ten thousand shards"
_TURNS = 10
_PLANNED = {100_000: None, 1_000_000: 30.0, 10_000_000: 360.0}


def measure(bench: Bench) -> Section:
    rows: list[tuple[Any, ...]] = []
    verdicts = []
    for count, bound in _PLANNED.items():
        if bench.quick and bound and bound > 30:
            continue
        bench.say(f"a plan of {count} utterances")
        found = call_apart("limits:plan", count=count)
        rows.append((count, found["shards"], found["plan_s"], found["describe_s"],
                     found["peak_bytes"] / 1e6))  # fmt: skip
        if bound:
            seconds = found["plan_s"] + found["describe_s"]
            said = f"plan and dry run of {count} utterances, s"
            verdicts.append(Verdict(said, seconds, bound, "at most"))
    each = [(row[2] + row[3]) / row[0] for row in rows]
    said = "a plan is linear: time per utterance at the most against at 100,000"
    verdicts.append(Verdict(said, each[-1] / each[0], 1.5, "at most"))
    columns = ("utterances", "shards", "plan s", "dry run's figures s", "peak MB")
    table = Table("planning, without a scan and hashes", columns, tuple(rows))
    return Section((table,), tuple(verdicts), (), {"plans": rows})


def draw(figure: Any, data: dict[str, Any]) -> None:
    axes = figure.subplots()
    counts = [row[0] for row in data["plans"]]
    axes.plot(counts, [row[2] + row[3] for row in data["plans"]], marker="o")
    axes.set(xscale="log", yscale="log", xlabel="utterances", ylabel="plan and dry run, s")


def plan(count: int) -> dict[str, Any]:
    """Plan a corpus with ten utterances to a recording, as a dry run does."""
    from fv2es_prep.config import PrepSettings
    from pipelines.plan import make_plan

    inventory = _inventory(count)
    began = time.perf_counter()
    made = make_plan(inventory, PrepSettings(), "none", Path("no-such-directory"))
    planned = time.perf_counter()
    made.describe(2)
    seconds = {"plan_s": planned - began, "describe_s": time.perf_counter() - planned}
    return {"shards": len(made.tasks), **seconds}


def _inventory(count: int) -> Any:
    from fv2es_prep.types import Inventory, Recording, Utterance

    names = [f"rec{number:07d}" for number in range(count // _TURNS)]
    media = Path("corpus/media.avi")
    recordings = tuple(Recording(name, media, media) for name in names)
    utterances = tuple(
        Utterance(f"{name}_{turn}", name, 5.0 * turn, 5.0 * turn + 4.5, "some words", ("neu",))
        for name in names
        for turn in range(_TURNS)
    )
    return Inventory("many", ("neu",), recordings, utterances)
