"""Section e: the cost of the data of one epoch, compared with the published way.

The published way loads and detects again in each epoch; fv2es reads what was prepared once.
Section d measures whether reading keeps up with a training step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.preparation import iemocap
from benchmarks.results import Section, Table

if TYPE_CHECKING:
    from benchmarks.bench import Bench

TITLE = "an epoch's data"


def measure(bench: Bench) -> Section:
    shape = iemocap(bench)
    old, ours = shape["published"], shape["read"]
    rows = [
        (f"published, {threads} torch thread(s)", seconds, seconds / ours)
        for threads, seconds in old["epoch_by_threads"].items()
    ]
    table = Table(
        "loading, faces and spectra of an epoch, IEMOCAP-shaped, wall seconds",
        ("way", "s for a minute of dialogue", "times ours"),
        (*rows, ("fv2es, one process", ours, 1.0)),
    )
    return Section((table,), (), (), {"published": old["epoch"], "ours": ours})


def draw(figure: Any, data: dict[str, Any]) -> None:
    axes = figure.subplots()
    bars = axes.barh(["fv2es", "published"], [data["ours"], data["published"]])
    axes.bar_label(bars, fmt="%.3g", padding=2)
    axes.set(xlabel="wall seconds of data work for a minute of dialogue")
    axes.margins(x=0.12)
