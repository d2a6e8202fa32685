"""Section d: examples per second from each layout; `reading` measures, this file formats."""

from __future__ import annotations

import importlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.apart import call_apart
from benchmarks.results import Section, Table, Verdict

if TYPE_CHECKING:
    from benchmarks.bench import Bench

TITLE = "reading"
_OURS, _BASE = "fv2es shards", "raw memmap"
_RATE = "examples_per_s"
_LEAST, _SHARE = 0.8, 0.05


def measure(bench: Bench) -> Section:
    with tempfile.TemporaryDirectory(dir=bench.out) as folder:
        found = call_apart("storage:measure_layouts", folder=folder, quick=bench.quick)
    tables = tuple(_table(kind, found[kind], found["rounds"]) for kind in ("layouts", "loaders"))
    ratio = found["layouts"][_OURS][f"ratio to {_BASE}"]["median"]
    training = found["training"]
    share = training["waiting_share_of_training"]
    verdicts = (
        Verdict("(4) our reader / numpy memmap, examples a second", ratio, _LEAST),
        Verdict(
            "(4) waiting for data / training of fv2es-tiny, one worker", share, _SHARE, "at most"
        ),
    )
    notes = (
        f"a shard of {found['opening']['examples']} examples takes "
        f"{found['opening']['open_ms']['median']:.1f} ms to open with its checks, "
        f"{found['opening']['hash_ms']['median']:.1f} ms to hash once per training",
        f"{found['utterances']} utterances of {found['bytes_each']} bytes, batches of 8",
        f"a step of fv2es-tiny takes {training['step_ms']['median']:.0f} ms, of which it waits "
        f"{training['wait_ms']['median']:.2f} ms for its batch",
    )
    return Section(tables, verdicts, notes, found)


def measure_layouts(folder: str, quick: bool) -> dict[str, Any]:
    """Call `reading.measure` in a separate process."""
    found: dict[str, Any] = importlib.import_module("benchmarks.reading").measure(
        Path(folder), quick=quick
    )
    return found


def _table(kind: str, by_name: dict[str, Any], rounds: int) -> Table:
    ratio = next(name for name in next(iter(by_name.values())) if name != _RATE)
    columns = (kind[:-1], "examples/s", "least", "most", ratio)
    rows = tuple(
        (
            name,
            *(values[_RATE][key] for key in ("median", "least", "most")),
            values[ratio]["median"],
        )
        for name, values in by_name.items()
    )
    return Table(f"{kind}, medians of {rounds} rounds", columns, rows)


def draw(figure: Any, data: dict[str, Any]) -> None:
    axes = figure.subplots()
    names = list(data["layouts"])[::-1]
    rates = [data["layouts"][name][_RATE]["median"] for name in names]
    axes.bar_label(axes.barh(names, rates), fmt="%.0f", padding=2)
    axes.set(xlabel="examples per second, batches of 8, one process, files in the page cache")
    axes.margins(x=0.12)
