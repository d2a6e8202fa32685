"""Section a: seconds per minute of dialogue, compared with the published way and the floor.

The published way is serial; the better of one torch thread and all threads counts. Imports do not
count for either side. One-time work of our runs (starting workers, the report) is listed
separately. The floor is ffmpeg decoding to null plus our detector alone on the same pictures, on
all cores at the same time, as in preparation: CPU seconds divided by the number of cores.
"""

from __future__ import annotations

import functools
import shutil
import statistics
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.apart import call_apart
from benchmarks.material import iemocap_shaped, mosei_shaped
from benchmarks.results import Section, Table, Verdict
from benchmarks.scaling import prepare_at, shards_of
from benchmarks.timing import median_of

if TYPE_CHECKING:
    from benchmarks.bench import Bench

TITLE = "preparation"
EPOCHS = 30
# The default is the second.
DETECTORS = ("exact", "fast")
_FIRST_PASS = {"exact": 4.5, "fast": 5.0}
_ALL_EPOCHS = {"IEMOCAP": 60.0, "MOSEI": 45.0}
# Skipping pictures that nothing needs goes below the floor, which decodes all of them.
_OVER_FLOOR = {"IEMOCAP": 1.2, "MOSEI": 0.85}
# The published way holds every picture of a dialogue twice: 6 GB for this length of IEMOCAP.
BASELINE_S = 100.0


def measure(bench: Bench) -> Section:
    shapes = {"IEMOCAP": iemocap(bench), "MOSEI": mosei(bench)}
    rows = [row for name, shape in shapes.items() for row in _rows(name, shape, bench.cores)]
    table = Table(
        f"seconds for a minute of media; the whole machine, {bench.cores} core(s)",
        ("shape", "way", "prepare", "an epoch's data", "first pass", f"with {EPOCHS} epochs"),
        tuple(rows),
    )
    verdicts = [*_iemocap_verdicts(shapes["IEMOCAP"])]
    for name, shape in shapes.items():
        verdicts += [_epochs_verdict(name, shape, detector) for detector in shape["ours"]]
        verdicts += [_floor_verdict(name, shape, detector, bench.cores) for detector in DETECTORS]
    data = {
        name: {**shape, "floor_s": {n: _floor_s(shape, n, bench.cores) for n in shape["floor"]}}
        for name, shape in shapes.items()
    }
    return Section((table, *_details(shapes)), tuple(verdicts), _notes(shapes), data)


def iemocap(bench: Bench) -> dict[str, Any]:
    """Measure both detectors on IEMOCAP-shaped dialogues, once per run."""
    corpus = iemocap_shaped(bench.out, bench.dialogue_s, bench.recordings)
    return _once(bench, corpus)


def mosei(bench: Bench) -> dict[str, Any]:
    """Measure both detectors on MOSEI-shaped recordings, with halved pictures."""
    return _once(bench, mosei_shaped(bench.out, bench.talk_s, bench.recordings))


def _once(bench: Bench, corpus: Path) -> dict[str, Any]:
    if corpus.name not in bench.shared:
        bench.say(f"preparation of {corpus.name}")
        bench.shared[corpus.name] = _measure_shape(bench, corpus, DETECTORS)
    shape: dict[str, Any] = bench.shared[corpus.name]
    return shape


def _measure_shape(bench: Bench, corpus: Path, detectors: tuple[str, ...]) -> dict[str, Any]:
    tree = bench.out / f"published-{corpus.name}"
    threads = sorted({1, bench.cores})
    ways = {
        "dump": functools.partial(dump, corpus, tree),
        "epochs": functools.partial(call_apart, "published:epochs", tree=str(tree), counts=threads),
        "floor": functools.partial(floor_on_all_cores, corpus, detectors, bench.cores),
    }
    for detector in detectors:
        ways[f"ours {detector}"] = functools.partial(
            prepare_at, bench, corpus, detector, bench.cores
        )
    shards = shards_of(bench, corpus, detectors[0])
    ways["read"] = functools.partial(
        call_apart, "ours:read_epochs", threads=1, shards=str(shards), epochs=EPOCHS
    )
    found = bench.measure(ways)
    shutil.rmtree(tree)
    return {**_summed_up(found, threads, detectors), "rounds": found}


def dump(corpus: Path, tree: Path) -> dict[str, Any]:
    """Run the published preparation on the first recording of a corpus; keep the tree."""
    shutil.rmtree(tree, ignore_errors=True)
    return call_apart("published:dump", corpus=str(corpus), tree=str(tree), limit_s=BASELINE_S)


def floor_on_all_cores(corpus: Path, detectors: tuple[str, ...], cores: int) -> dict[str, float]:
    """Measure the floor in one process per core at the same time; mean of each number."""
    with ThreadPoolExecutor(cores) as pool:
        begun = [
            pool.submit(
                call_apart, "ours:floor", threads=1, corpus=str(corpus), detectors=detectors
            )
            for _ in range(cores)
        ]
        found = [future.result() for future in begun]
    return {name: statistics.fmean(row[name] for row in found) for name in found[0]}


def _summed_up(
    found: dict[str, Any], threads: list[int], detectors: tuple[str, ...]
) -> dict[str, Any]:
    """Compute medians per minute of media."""
    minutes = median_of(found["dump"], "media_s") / 60
    by_threads = {count: [row[str(count)] for row in found["epochs"]] for count in threads}
    epochs = {count: median_of(rows, "epoch_s") / minutes for count, rows in by_threads.items()}
    best = min(epochs, key=lambda count: epochs[count])
    load, find = (median_of(by_threads[best], part) / minutes for part in ("load_s", "detect_s"))
    return {
        "published": {
            "prepare": median_of(found["dump"], "dump_s") / minutes,
            "epoch": epochs[best],
            "load_and_detect": load + find,
            "threads": best,
            "epoch_by_threads": epochs,
            "peak_bytes": median_of(found["dump"], "peak_bytes"),
            "cut_short": any(row["cut_short"] for row in found["dump"]),
        },
        "ours": {detector: _ours(found[f"ours {detector}"]) for detector in detectors},
        "read": _per_minute(found["read"], "read_s", found[f"ours {detectors[0]}"]) / EPOCHS,
        "floor": {
            detector: {
                "decode_cpu_s": _per_minute(found["floor"], "decode_cpu_s"),
                "detect_cpu_s": _per_minute(found["floor"], f"{detector}_cpu_s"),
            }
            for detector in detectors
        },
    }


def _ours(rounds: list[dict[str, Any]]) -> dict[str, float]:
    return {
        "prepare": _per_minute(rounds, "wall_s"),
        "cpu_s": _per_minute(rounds, "cpu_s"),
        "start_s": median_of(rounds, "start_s"),
        "finish_s": median_of(rounds, "finish_s"),
    }


def _per_minute(
    rounds: list[dict[str, Any]], name: str, of: list[dict[str, Any]] | None = None
) -> float:
    """Convert a number to one per minute of media; the rounds give the length of the media."""
    return 60 * median_of(rounds, name) / median_of(of or rounds, "media_s")


def _floor_s(shape: dict[str, Any], detector: str, cores: int) -> float:
    return float(sum(shape["floor"][detector].values())) / cores


def _rows(name: str, shape: dict[str, Any], cores: int) -> list[tuple[str | float | None, ...]]:
    old = shape["published"]
    rows: list[tuple[str | float | None, ...]] = [
        _row(name, f"published, {old['threads']} thread(s)", old["prepare"], old["epoch"])
    ]
    for detector, ours in shape["ours"].items():
        rows.append(_row(name, f"fv2es {detector}", ours["prepare"], shape["read"]))
        floor_s = _floor_s(shape, detector, cores)
        rows.append((name, f"floor {detector}", floor_s, None, None, None))
    return rows


def _row(name: str, way: str, prepare: float, epoch: float) -> tuple[str | float | None, ...]:
    return (name, way, prepare, epoch, prepare + epoch, prepare + EPOCHS * epoch)


def _iemocap_verdicts(shape: dict[str, Any]) -> Iterator[Verdict]:
    old = shape["published"]
    for detector, bound in _FIRST_PASS.items():
        first = (old["prepare"] + old["load_and_detect"]) / shape["ours"][detector]["prepare"]
        yield Verdict(f"(2) IEMOCAP, {detector}: dump and first detection / ours", first, bound)


def _epochs_verdict(name: str, shape: dict[str, Any], detector: str) -> Verdict:
    old, ours = shape["published"], shape["ours"][detector]["prepare"]
    every = (old["prepare"] + EPOCHS * old["load_and_detect"]) / (ours + EPOCHS * shape["read"])
    line = f"(2) {name}, {detector}: {EPOCHS} epochs of data"
    return Verdict(line, every, _ALL_EPOCHS[name])


def _floor_verdict(name: str, shape: dict[str, Any], detector: str, cores: int) -> Verdict:
    """Judge by the floor of `exact`; the table also has that of `fast`."""
    over = shape["ours"][detector]["prepare"] / _floor_s(shape, "exact", cores)
    line = f"(2) {name}, {detector}: ours / floor of exact"
    return Verdict(line, over, _OVER_FLOOR[name], "at most")


def _details(shapes: dict[str, Any]) -> list[Table]:
    rows = []
    for name, shape in shapes.items():
        for detector, ours in shape["ours"].items():
            floor = shape["floor"][detector]
            rows.append(
                (
                    name,
                    detector,
                    ours["cpu_s"],
                    floor["decode_cpu_s"],
                    floor["detect_cpu_s"],
                    ours["cpu_s"] / sum(floor.values()),
                    ours["start_s"],
                    ours["finish_s"],
                )
            )
    ours = ("shape", "detector", "CPU s/min")
    floors = ("floor: decode", "floor: detect", "CPU / floor")
    columns = (*ours, *floors, "start-up s", "report s")
    return [
        Table(
            "the same in CPU seconds for a minute; and what a run costs once: workers until they "
            "are warm, index and report after the last utterance",
            columns,
            (*rows,),
        )
    ]


def _notes(shapes: dict[str, Any]) -> tuple[str, ...]:
    notes = [
        "MOSEI: the published way searches 360x360 of the halved picture, ours all 640x360 of it; "
        "the two rows are told beside each other, and ours is judged by its floor alone."
    ]
    for name, shape in shapes.items():
        old = shape["published"]
        said = ", ".join(f"{n}: {s:.2f}" for n, s in old["epoch_by_threads"].items())
        notes.append(
            f"{name}: an epoch of the published way by torch threads, s per minute: {said}"
        )
        if old["cut_short"]:
            notes.append(f"{name}: too little free memory, the published way got less of the media")
    return tuple(notes)


def draw(figure: Any, data: dict[str, Any]) -> None:
    """Draw the first pass: the cost to prepare and read a minute of media once."""
    axes = figure.subplots(1, len(data))
    for ax, (shape_name, shape) in zip(axes, data.items(), strict=True):
        old, read = shape["published"], shape["read"]
        bars = {"published": (old["prepare"], old["epoch"])}
        for name, ours in shape["ours"].items():
            bars[f"fv2es\n{name}"] = (ours["prepare"], read)
            bars[f"floor\n{name}"] = (shape["floor_s"][name], 0.0)
        prepare, epoch = zip(*bars.values(), strict=True)
        ax.bar(list(bars), prepare, label="prepare")
        ax.bar(list(bars), epoch, bottom=prepare, label="first epoch's data")
        ax.set(title=f"{shape_name}-shaped", ylabel="wall seconds per minute of media")
        ax.margins(y=0.25)
        ax.legend(loc="upper right")
    axes[-1].set_xlabel("published: 360x360 searched, fv2es and floor: 640x360")
