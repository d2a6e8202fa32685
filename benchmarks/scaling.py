"""Section f: scaling of preparation with workers, compared with that of the machine itself.

The scaling of the machine is measured with processes that share nothing. Preparation uses n warm
workers on n cores; their start-up time is listed separately.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.apart import call_apart
from benchmarks.material import iemocap_shaped, text_model
from benchmarks.results import Section, Table, Verdict
from benchmarks.timing import machine_scaling, median_of

if TYPE_CHECKING:
    from benchmarks.bench import Bench

TITLE = "scaling with workers"
_BOUND = 0.9


def measure(bench: Bench) -> Section:
    levels = worker_levels(bench.cores)
    machine = machine_scaling_of(bench)
    corpus = iemocap_shaped(bench.out, bench.dialogue_s, bench.recordings)
    found = bench.measure(
        {str(n): functools.partial(prepare_at, bench, corpus, "exact", n) for n in levels}
    )
    walls = {n: median_of(found[str(n)], "wall_s") for n in levels}
    rows = [
        {
            "workers": n,
            "s_per_minute": 60 * walls[n] / median_of(found[str(n)], "media_s"),
            "start_s": median_of(found[str(n)], "start_s"),
            "scaling": walls[1] / walls[n],
            "machine": machine[n],
        }
        for n in levels
    ]
    return _section(rows, found)


def _section(rows: list[dict[str, Any]], found: dict[str, Any]) -> Section:
    table = Table(
        "IEMOCAP-shaped, detector exact, as many cores as workers; scaling is against one",
        ("workers", "s per dialogue-minute", "start-up s", "scaling", "the machine's own"),
        tuple(tuple(row.values()) for row in rows),
    )
    shares = {row["workers"]: row["scaling"] / row["machine"] for row in rows}
    verdict = Verdict(
        "(5) two workers scale as the machine does: our scaling / its own", shares.get(2), _BOUND
    )
    return Section((table,), (verdict,), (), {"rows": rows, "rounds": found})


def draw(figure: Any, data: dict[str, Any]) -> None:
    rows, axes = data["rows"], figure.subplots()
    workers = [row["workers"] for row in rows]
    axes.plot(workers, workers, color="0.7", linestyle="--", label="ideal")
    axes.plot(workers, [row["machine"] for row in rows], marker="s", label="the machine itself")
    axes.plot(workers, [row["scaling"] for row in rows], marker="o", label="preparation")
    axes.set(xlabel="worker processes", ylabel="speed against one process (times)")
    axes.set_xticks(workers)
    axes.set_ylim(bottom=0)
    axes.legend()


def worker_levels(cores: int) -> list[int]:
    """1, 2, 4 ... and the number of cores."""
    doubled = [1 << power for power in range(cores.bit_length()) if 1 << power < cores]
    return [*doubled, cores]


def machine_scaling_of(bench: Bench) -> dict[int, float]:
    """Measure the scaling of the machine at each level, once per run."""
    if "machine scaling" not in bench.shared:
        bench.say("the machine's own scaling")
        corpus = iemocap_shaped(bench.out, bench.dialogue_s, bench.recordings)
        video = min(corpus.glob("Session1/dialog/avi/DivX/*.avi"))
        levels = worker_levels(bench.cores)
        bench.shared["machine scaling"] = machine_scaling(levels, video, bench.rounds)
    scaling: dict[int, float] = bench.shared["machine scaling"]
    return scaling


def prepare_at(bench: Bench, corpus: Path, detector: str, cores: int) -> dict[str, Any]:
    """Prepare a corpus in a separate process; the shards stay until the next call."""
    return call_apart(
        "ours:prepare",
        corpus=str(corpus),
        out=str(shards_of(bench, corpus, detector)),
        tokenizer=str(text_model(bench.out)),
        cores=cores,
        detector=detector,
    )


def shards_of(bench: Bench, corpus: Path, detector: str) -> Path:
    """The directory where `prepare_at` leaves the shards."""
    return bench.out / f"shards-{corpus.name}-{detector}"
