"""Section i: the cost of splits from only the index, at 30 thousand and 10 million utterances."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.apart import call_apart
from benchmarks.results import Section, Table, Verdict

if TYPE_CHECKING:
    from benchmarks.bench import Bench

TITLE = "splits from the index alone"
SMALL, LARGE = 30_000, 10_000_000
_BOUND_S = {SMALL: 2.0, LARGE: 60.0}
_WORK = (
    "build random", "build random, stratified", "build group, stratified", "build session",
    "stats", "diff", "audit",
)  # fmt: skip
_TURNS, _SESSIONS, _WORDS = 49, 5, 20_000


def measure(bench: Bench) -> Section:
    rows: list[tuple[Any, ...]] = []
    verdicts = []
    data: dict[str, Any] = {}
    for count in (SMALL,) if bench.quick else (SMALL, LARGE):
        bench.say(f"a catalogue of {count} utterances")
        place = bench.out / f"index-{count}"
        made = {} if (place / "index.json").is_file() else call_apart(
            "index:make", directory=str(place), count=count
        )  # fmt: skip
        for work in _WORK:
            bench.say(f"{work}, {count}")
            if count == SMALL:
                # The first run compiles code and fills the page cache.
                call_apart("index:do", directory=str(place), work=work)
            found = call_apart("index:do", directory=str(place), work=work)
            rows.append((count, work, found["process_s"], found["peak_bytes"] / 1e6))
            data[f"{work}, {count}"] = found
            said = f"{work} of {count} utterances, s"
            verdicts.append(Verdict(said, found["process_s"], _BOUND_S[count], "at most"))
        data[f"made, {count}"] = made
    columns = ("utterances", "work", "process s", "peak MB")
    note = "a new process each: start, imports, reading the catalogue, the work, writing manifests"
    return Section((Table("one process", columns, tuple(rows)),), tuple(verdicts), (note,), data)


def draw(figure: Any, data: dict[str, Any]) -> None:
    axes = figure.subplots()
    names = [name for name in data if not name.startswith("made")][::-1]
    bars = axes.barh(names, [data[name]["process_s"] for name in names])
    axes.bar_label(bars, fmt="%.1f", padding=2)
    axes.set(xlabel="wall seconds of a new process", xscale="log")


def make(directory: str, count: int) -> dict[str, Any]:
    """Make a dataset directory without shards: an index that lists one shard, and a catalogue.

    Each recording has 49 overlapping turns of two speakers, in five sessions. Transcripts have one
    to twenty of 20,000 words, with the word frequencies of speech; one in fifty repeats another,
    and one in fifty is another with an added word.
    """
    import numpy as np
    import pyarrow as pa

    from fv2es_prep.config import DEFAULT_STAGES, PrepSettings, TextSettings
    from fv2es_prep.shards import catalogue_file, schema
    from fv2es_prep.shards.index import CATALOGUE_NAME, Index, ShardEntry, write_index

    began = time.perf_counter()
    place = Path(directory)
    place.mkdir(parents=True, exist_ok=True)
    classes = ("ang", "exc", "fru", "hap", "neu", "sad")
    shard = ShardEntry("made-00000.h5", "0" * 64, 200 * count, count, "0" * 64)
    settings = PrepSettings(text=TextSettings("none", "0" * 64, 1))
    index = Index("made", "1.1", classes, (), settings, (shard,))
    rng = np.random.default_rng(0)
    recording = np.arange(count) // _TURNS
    turn = np.arange(count) % _TURNS
    start = np.round(turn * 4.0 + rng.random(count), 4)
    columns: dict[str, Any] = {
        "id": [f"rec{r:07d}_{t:03d}" for r, t in zip(recording, turn, strict=True)],
        "recording_id": [f"rec{r:07d}" for r in recording],
        "speaker": [f"spk{r // 20:06d}{'FM'[t % 2]}" for r, t in zip(recording, turn, strict=True)],
        "session": [f"Session{r % _SESSIONS + 1}" for r in recording],
        "text": pa.array(_texts(count, rng), pa.large_string()),
        "start_s": start,
        "end_s": np.round(start + 0.6 + rng.gamma(2.0, 2.0, count), 4),
        **{catalogue_file.LABEL + name: rng.random(count) < 0.2 for name in classes},
    }
    for name in DEFAULT_STAGES[:2]:
        digests = np.frombuffer(rng.bytes(16 * count), "S16")
        columns[name] = pa.Array.from_buffers(
            pa.binary(16), count, [None, pa.py_buffer(digests.tobytes())]
        )
    for name in ("faces", "faces/found", "mel", "tokens"):
        columns[catalogue_file.COUNT + name] = np.ones(count, np.int64)
    columns |= {path: [""] * count for path in schema.MISSING.values()}
    key = {catalogue_file.SHARDS_KEY: catalogue_file.shards_digest(index).encode()}
    table = pa.table(columns, pa.schema(catalogue_file.column_names(index), key))
    catalogue_file.write_arrow(place / CATALOGUE_NAME, table)
    write_index(place, index)
    size = (place / CATALOGUE_NAME).stat().st_size
    return {"bytes": size, "seconds": time.perf_counter() - began}


def _texts(count: int, rng: Any) -> list[str]:
    import numpy as np

    likely = 1 / np.arange(2, _WORDS + 2)
    words = np.array([f"{'aeiou'[n % 5]}{n:x}" for n in range(_WORDS)], object)
    lengths = 1 + rng.poisson(9, count)
    drawn = words[rng.choice(_WORDS, lengths.sum(), p=likely / likely.sum())]
    ends = np.cumsum(lengths)
    texts = [" ".join(drawn[e - n : e]) + "." for e, n in zip(ends, lengths, strict=True)]
    for place in np.flatnonzero(rng.random(count) < 0.02):
        texts[place] = texts[int(rng.integers(count))]
    for place in np.flatnonzero(rng.random(count) < 0.02):
        texts[place] = texts[int(rng.integers(count))] + " Well"
    return texts


def do(directory: str, work: str) -> dict[str, Any]:
    """Do the work of one command, from the directory to the file or the text."""
    from fv2es_prep.splits.recipes import Rule
    from pipelines.commands.common import without_pandas

    place = Path(directory)
    rules = {
        "build random": Rule(),
        "build random, stratified": Rule(stratify=True),
        "build group, stratified": Rule("group", by="recording_id", stratify=True),
        "build session": Rule("session"),
    }
    began = time.perf_counter()
    with without_pandas():
        if work in rules:
            _build(place, rules[work], place / f"{work}.json")
        else:
            _JUDGE[work](place)
    return {"seconds": time.perf_counter() - began}


def _build(place: Path, rule: Any, out: Path) -> None:
    from fv2es_prep.shards.catalogue import read_catalogue
    from fv2es_prep.splits.manifest import write_split
    from fv2es_prep.splits.recipes import build_splits

    for split in build_splits(read_catalogue(place), rule):
        write_split(split, out)


def _audit(place: Path) -> None:
    from fv2es_prep.shards.catalogue import read_catalogue
    from fv2es_prep.splits.audit import audit_split
    from fv2es_prep.splits.audit_page import audit_text
    from fv2es_prep.splits.manifest import read_split

    split = read_split(place / "build random.json", allow_repeats=True)
    print(audit_text(audit_split(read_catalogue(place), split), []))


def _stats(place: Path) -> None:
    from fv2es_prep.shards.catalogue import read_catalogue
    from fv2es_prep.splits.compare import split_stats, stats_text
    from fv2es_prep.splits.manifest import read_split

    print(stats_text(split_stats(read_catalogue(place), read_split(place / "build random.json"))))


def _diff(place: Path) -> None:
    from fv2es_prep.splits.compare import diff_splits, diff_text
    from fv2es_prep.splits.manifest import read_split

    paths = [place / "build random.json", place / "build session.json"]
    print(diff_text(diff_splits(*map(read_split, paths))))


_JUDGE: dict[str, Callable[[Path], None]] = {"audit": _audit, "stats": _stats, "diff": _diff}
