"""Section n: `fv2es shards diff` of two versions of 30,000 utterances, all of which differ."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.apart import call_apart
from benchmarks.results import Section, Table, Verdict

if TYPE_CHECKING:
    from benchmarks.bench import Bench

TITLE = "comparing two versions"
COUNT = 30_000
# Shards of a real dataset hold more examples; fewer examples mean more files to open.
_PER_SHARD = 20


def measure(bench: Bench) -> Section:
    places = [bench.out / f"version-{version}" for version in range(2)]
    for version, place in enumerate(places):
        if not (place / "index.json").is_file():
            bench.say(f"shards of {COUNT} utterances, version {version}")
            options = {"count": COUNT, "per_shard": _PER_SHARD, "seed": version}
            call_apart("scrolling:make", directory=str(place), **options)
    bench.say("comparing them")
    found = call_apart("comparing:compare", directories=[*map(str, places)])
    rows = [(processes, seconds) for processes, seconds in found["seconds"].items()]
    table = Table(
        f"{COUNT} utterances in {found['shards']} shards each", ("processes", "s"), tuple(rows)
    )
    verdicts = (
        Verdict(f"two versions of {COUNT}, s", min(found["seconds"].values()), 60.0, "at most"),
        Verdict("utterances named", found["changed"], COUNT, "at least"),
    )
    return Section((table,), verdicts, (), found)


def draw(figure: Any, data: dict[str, Any]) -> None:
    axes = figure.subplots()
    axes.bar(list(data["seconds"]), list(data["seconds"].values()))
    axes.set(xlabel="processes", ylabel="s")


def compare(directories: list[str]) -> dict[str, Any]:
    """Compare with one process and with two."""
    from fv2es_prep.shards.index import read_index
    from fv2es_prep.shards.tools.diff.dataset_diff import diff_datasets

    seconds, changed = dict[str, float](), 0
    first, second = map(Path, directories)
    for jobs in (1, 2):
        began = time.perf_counter()
        changed = len(diff_datasets(first, second, jobs=jobs).changed)
        seconds[str(jobs)] = time.perf_counter() - began
    return {"seconds": seconds, "changed": changed, "shards": len(read_index(first).shards)}
