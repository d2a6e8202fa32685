"""Section m: `fv2es browse` with 30,000 and 1,000,000 utterances: its answers and its page.

The page needs Playwright and Chromium, like the tests marked ``browser``; without Playwright its
lines have no value. `scrolling` measures the page.
"""

from __future__ import annotations

import importlib.util
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.apart import call_apart
from benchmarks.results import Section, Table, Verdict
from benchmarks.scrolling import SCROLLED

if TYPE_CHECKING:
    from benchmarks.bench import Bench

TITLE = "browsing"
SMALL, LARGE = 30_000, 1_000_000
_FIRST = "first page"
_ASKED = {
    _FIRST: "",
    "the next pages": "offset=20000",
    "a word": "text=o1c",
    "a part of an id": "text=_007",
    "a class": "label=ang",
    "a session, by length": "session=Session2&order=seconds&descending=true",
    "by id": "order=id",
}
_MEMORY_GB = 1.074


def measure(bench: Bench) -> Section:
    rows: list[tuple[Any, ...]] = []
    verdicts, data = list[Verdict](), dict[str, Any]()
    for count in (SMALL,) if bench.quick else (SMALL, LARGE):
        place = bench.out / f"index-{count}"
        if not (place / "index.json").is_file():
            bench.say(f"a catalogue of {count} utterances")
            call_apart("index:make", directory=str(place), count=count)
        bench.say(f"the page over {count} utterances")
        found = data[str(count)] = call_apart("browsing:ask", directory=str(place))
        rows += [(count, what, seconds) for what, seconds in found["seconds"].items()]
        rows.append((count, "opening the table", found["open_s"]))
        if count == SMALL:
            first_s = found["open_s"] + found["seconds"][_FIRST]
            slowest_s = max(s for what, s in found["seconds"].items() if what != _FIRST)
            verdicts = [
                Verdict(f"open and first page of {count}, s", first_s, 1.0, "at most"),
                Verdict(f"slowest answer of {count}, s", slowest_s, 0.3, "at most"),
                Verdict("peak memory, GB", found["peak_bytes"] / 1e9, _MEMORY_GB, "at most"),
            ]
    tables = [Table("answers of the server", ("utterances", "what", "s"), tuple(rows))]
    page: dict[str, Any] = {}
    if importlib.util.find_spec("playwright"):
        shards = bench.out / f"browse-{SMALL}"
        if not (shards / "index.json").is_file():
            bench.say(f"shards of {SMALL} utterances")
            call_apart("scrolling:make", directory=str(shards), count=SMALL)
        bench.say("scrolling in Chromium")
        page = data["page"] = call_apart("scrolling:scroll", directory=str(shards))
        tables.append(_page_table(page))
    return Section(tuple(tables), (*verdicts, *_page_verdicts(page)), (), data)


def _page_table(page: dict[str, Any]) -> Table:
    rows = [
        (
            how,
            *(page[how][name] for name in ("frames", "slow", "longest_ms", "blank_ms", "late_ms")),
        )
        for how in SCROLLED
    ]
    names = ("scrolled by", "frames", "over 50 ms", "longest ms", "rows blank ms", "pictures ms")
    return Table(f"the list of {SMALL} in Chromium; longest times", names, tuple(rows))


def _page_verdicts(page: dict[str, Any]) -> list[Verdict]:
    blank = max((page[how]["blank_ms"] for how in SCROLLED), default=None) if page else None
    return [
        Verdict("Chromium: first rows, s", page.get("first_s"), 1.0, "at most"),
        Verdict("Chromium: slowest filter, s", page.get("filter_s"), 0.3, "at most"),
        Verdict("Chromium: rows in sight are blank for, ms", blank, 100.0, "at most"),
        Verdict("server's peak memory, GB", page.get("server_gb"), _MEMORY_GB, "at most"),
    ]


def draw(figure: Any, data: dict[str, Any]) -> None:
    axes = figure.subplots()
    found = data[str(SMALL)]["seconds"]
    axes.barh(list(found), [1000 * seconds for seconds in found.values()])
    axes.set(xlabel="ms")


def ask(directory: str) -> dict[str, Any]:
    """Time pages of 100 rows: the median of five requests, each new to the server."""
    from starlette.testclient import TestClient

    from fv2es_prep.shards.dropped import write_dropped
    from fv2es_prep.shards.index import read_index
    from fv2es_train.browse.api import BrowseApi
    from fv2es_train.browse.table import Table as Rows

    place = Path(directory)
    write_dropped(place, ())
    for entry in read_index(place).shards:
        # A page of rows opens no shard; it only needs their sizes.
        with (place / entry.name).open("ab") as file:
            file.truncate(entry.size_bytes)
    began = time.perf_counter()
    app = BrowseApi(Rows(place)).app()
    open_s = time.perf_counter() - began
    client = TestClient(app)
    seconds: dict[str, float] = {}
    for what, query in _ASKED.items():
        taken = []
        for turn in range(5):
            began = time.perf_counter()
            # Another length each time, because the server caches results.
            answer = client.get(f"/v1/rows?limit=100&least_s={turn * 1e-9}&{query}")
            taken.append(time.perf_counter() - began)
            assert answer.status_code == 200, answer.text[:300]
            assert answer.json()["total"], query
        seconds[what] = max(taken) if what == _FIRST else statistics.median(taken)
    return {"open_s": open_s, "seconds": seconds}
