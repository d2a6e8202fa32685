"""Section l: the cost of planning, opening, reading and finishing very many utterances or shards.

Inventories are made in memory, and nothing is decoded. A set of many shards has copies of one real
shard with other ids.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from benchmarks.apart import call_apart
from benchmarks.results import Section, Table, Verdict

if TYPE_CHECKING:
    from benchmarks.bench import Bench

TITLE = "limits: millions of utterances, ten thousand shards"
_TURNS = 10
_IN_SHARD, _READS = 4, 20_000
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
    sets, more, found = _sets(1_000 if bench.quick else 10_000, bench)
    return Section((table, sets), (*verdicts, *more), (), {"plans": rows, **found})


def _sets(shards: int, bench: Bench) -> tuple[Table, list[Verdict], dict[str, Any]]:
    """Measure the cost to finish, open and read a set of many shards."""
    with tempfile.TemporaryDirectory(dir=bench.out) as folder:
        place = str(Path(folder) / "set")
        bench.say(f"a set of {shards} shards")
        call_apart("limits:write_set", directory=place, shards=shards)
        scanned = call_apart("limits:finish_set", directory=place, from_receipts=False)
        finished = call_apart("limits:finish_set", directory=place)
        few = call_apart("limits:read_set", directory=place, shards=100)
        all_of = call_apart("limits:read_set", directory=place, shards=shards)
    scan_s, finish_s = (found["index_s"] + found["report_s"] for found in (scanned, finished))
    rows = (
        ("finish, reading the shards", scan_s),
        ("finish, from receipts", finish_s),
        ("open the dataset", all_of["open_s"]),
        ("first read of a shard", all_of["first_s"]),
        ("random read among 100 shards, CPU", few["read_s"]),
        (f"random read among {shards} shards, CPU", all_of["read_s"]),
        ("the same into batches, 100 shards", few["batch_s"]),
        (f"the same into batches, {shards} shards", all_of["batch_s"]),
    )
    verdicts = [
        Verdict(f"finish of {shards} shards, s", finish_s, 30, "at most"),
        Verdict(f"open a dataset of {shards} shards, s", all_of["open_s"], 1, "at most"),
        Verdict(
            "random read, against 100 shards", all_of["read_s"] / few["read_s"], 1.5, "at most"
        ),
    ]
    into = all_of["batch_s"] / few["batch_s"]
    verdicts.append(Verdict("random read into batches, against 100 shards", into, 1.5, "at most"))
    data = {"scanned": scanned, "finished": finished, "few": few, "all": all_of}
    return Table(f"{shards} shards of four examples", ("what", "s"), rows), verdicts, data


def draw(figure: Any, data: dict[str, Any]) -> None:
    axes = figure.subplots()
    counts = [row[0] for row in data["plans"]]
    axes.plot(counts, [row[2] + row[3] for row in data["plans"]], marker="o")
    axes.set(xscale="log", yscale="log", xlabel="utterances", ylabel="plan and dry run, s")


def plan(count: int) -> dict[str, Any]:
    """Plan a corpus with ten utterances per recording, as a dry run does."""
    from fv2es_prep.config import PrepSettings
    from pipelines.commands.plan_text import describe
    from pipelines.plan import make_plan

    inventory = _inventory(count)
    began = time.perf_counter()
    made = make_plan(inventory, PrepSettings(), "none", Path("no-such-directory"))
    planned = time.perf_counter()
    describe(made, 2)
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


def write_set(directory: str, shards: int) -> dict[str, Any]:
    """Write shards of four examples, about 70 kB each, and their receipts."""
    from fv2es_prep.shards.index import shard_names

    place = Path(directory)
    place.mkdir(parents=True)
    began = time.perf_counter()
    names = shard_names("many", shards)
    receipts = [_write_shard(place / name, number) for number, name in enumerate(names)]
    values = msgspec.json.encode(receipts)
    place.with_suffix(".json").write_bytes(values)
    return {"write_s": time.perf_counter() - began, "receipt_bytes": len(values) / shards}


def finish_set(directory: str, from_receipts: bool = True) -> dict[str, Any]:
    """Write the catalogue, index and report of a set that `write_set` wrote."""
    from fv2es_prep.shards.catalogue import write_catalogue
    from fv2es_prep.shards.dropped import write_dropped
    from fv2es_prep.shards.index import make_index, write_index
    from fv2es_prep.shards.tools.report import write_report
    from fv2es_prep.types import ShardReceipt

    place = Path(directory)
    receipts = msgspec.json.decode(place.with_suffix(".json").read_bytes(), type=list[ShardReceipt])
    began = time.perf_counter()
    write_dropped(place, ())
    index = make_index("many", ("neu",), (), _settings(), receipts)
    rows = {receipt.name: receipt.rows for receipt in receipts if from_receipts}
    write_index(place, write_catalogue(place, index, rows))
    indexed = time.perf_counter()
    write_report(place, ())
    return {"index_s": indexed - began, "report_s": time.perf_counter() - indexed}


def _settings() -> Any:
    from fv2es_prep.config import PrepSettings, TextSettings

    return PrepSettings(text=TextSettings("none", "0" * 64, 100))


def _write_shard(path: Path, number: int) -> Any:
    import numpy as np

    from fv2es_prep.shards.catalogue_file import rows_of_shard
    from fv2es_prep.shards.index import make_index
    from fv2es_prep.shards.writer import ShardHeader, ShardWriter
    from fv2es_prep.types import Example, Faces, MelSpectrum, ShardReceipt, Utterance

    rng = np.random.default_rng(number)
    recording = f"rec{number:07d}"
    media = {recording: ("0" * 64, "0" * 64)}
    header = ShardHeader("many", ("neu",), (), _settings(), media, f"{number:064d}")
    with ShardWriter(path, header) as writer:
        for turn in range(_IN_SHARD):
            utterance = Utterance(
                f"{recording}_{turn}", recording, 2.0 * turn, 2.0 * turn + 1, "some words", ("neu",)
            )
            found = np.ones(2, np.bool_)
            times, box = utterance.start_s + np.array([0, 0.5]), np.zeros((2, 4), np.float32)
            rgb = rng.integers(0, 256, (2, 48, 48, 3), np.uint8)
            mel = MelSpectrum(np.zeros((80, 128), np.float16), 0.0125)
            faces = Faces(rgb, times, found, box, np.ones(2, np.float32))
            tokens = np.array([1, 2, 3], np.int32)
            writer.append(
                Example(utterance, np.ones(1, np.uint8), faces=faces, mel=mel, tokens=tokens)
            )
        receipt = ShardReceipt(path.name, *writer.close(), _IN_SHARD, header.task_digest)
    head = header.corpus, header.label_classes, header.rating_names, header.settings
    return replace(receipt, rows=rows_of_shard(path, make_index(*head, ())))


def read_set(directory: str, shards: int) -> dict[str, Any]:
    """Open a dataset, and read examples of its first shards in random order."""
    import numpy as np

    from fv2es_train.data.batches import collate
    from fv2es_train.data.dataset import ShardDataset

    began = time.perf_counter()
    dataset = ShardDataset(directory)
    opened = time.perf_counter()
    some = range(shards * _IN_SHARD)
    # The first pass opens each shard.
    for row in some[::_IN_SHARD]:
        dataset[row]
    first = time.perf_counter()
    rows = np.random.default_rng(0).integers(0, len(some), _READS).tolist()
    before = time.process_time()
    for row in rows:
        dataset[row]
    read = time.process_time() - before
    before = time.process_time()
    for row in range(0, len(rows), 8):
        collate([dataset[place] for place in rows[row : row + 8]])
    batch = time.process_time() - before
    return {
        "open_s": opened - began,
        "first_s": (first - opened) / shards,
        "read_s": read / len(rows),
        "batch_s": batch / len(rows),
    }
