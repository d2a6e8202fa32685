"""Show that a change moves no value: `python -m benchmarks.guard against REV`.

    python -m benchmarks.guard record OUT.json         record this checkout; the run goes to OUT-run
    python -m benchmarks.guard compare A.json B.json   list what differs; exit status 1 if anything
    python -m benchmarks.guard against REV             record REV and this checkout, and compare

The baseline of the reorganization of the packages is commit 60343eb; a35cb64, which only moves
modules, is equal to it. `record` takes about two minutes on two cores.

A record has the SHA-256 of every column of every shard (the demo corpus with the defaults, with
``--compact``, with ``--preset published``, and tokenized again from the cache; a small corpus in
CMU-MOSEI's layout; with ``--grid`` recordings of GRID), the values that a reader finds in shards of
the formats 1.0 and 1.1, the ids of every split recipe, the metrics of a fixed training without
dropout, and the answers of ``eval``, ``predict`` and the HTTP API. `against` uses the run of REV
for the answers of both checkouts, so these are equal even if training rounds differently.

Owns the commands. Leaves the values to `record`, and which differences count to `compare`.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.guard.compare import Comparison, compare
from benchmarks.guard.record import SECTIONS, record

HERE = Path(__file__).parents[2]


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return 1 if two records differ."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.guard", description="Show that a change moves no value."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("record", help="record this checkout")
    one.add_argument("out", type=Path, metavar="OUT.json")
    one.add_argument("--run", type=Path, help="answer with this run, e.g. another record's")
    two = commands.add_parser("compare", help="compare two records; exit status 1 if they differ")
    two.add_argument("files", type=Path, nargs=2, metavar="RECORD.json")
    three = commands.add_parser("against", help="compare a revision with this checkout")
    three.add_argument("revision", metavar="REV")
    for command in (one, three):
        command.add_argument("--grid", type=Path, help="directory of GRID: manifest.csv and videos")
        command.add_argument(
            "--only", nargs="+", choices=SECTIONS, default=list(SECTIONS), help="these sections"
        )
    for command in (two, three):
        command.add_argument(
            "--ignore", nargs="+", default=[], metavar="GLOB", help="keys to leave out"
        )
        command.add_argument(
            "--tolerance", type=float, default=0.0, help="largest relative difference of a number"
        )
    options = parser.parse_args(arguments)
    if options.command == "record":
        keep = options.out.with_name(f"{options.out.stem}-run")
        shutil.rmtree(keep, ignore_errors=True)
        _write(options.out, record(HERE, options.only, options.grid, options.run, keep))
        return 0
    if options.command == "compare":
        before, after = (json.loads(path.read_text(encoding="utf-8")) for path in options.files)
    else:
        with worktree_of(options.revision) as tree:
            run = tree.with_name("run")
            before = record(tree, options.only, options.grid, keep=run)
            answering = run if run.exists() else None
            after = record(HERE, options.only, options.grid, answering)
    found = compare(before, after, options.ignore, options.tolerance)
    print(found.text())
    return int(found.differs)


@contextmanager
def worktree_of(revision: str) -> Iterator[Path]:
    """Check out a revision in a temporary folder."""
    git = ["git", "-C", str(HERE), "worktree"]
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        subprocess.run([*git, "add", "--quiet", "--detach", tree, revision], check=True)
        try:
            yield tree
        finally:
            subprocess.run([*git, "remove", "--force", tree], check=True)


def _write(path: Path, found: dict[str, object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=0, sort_keys=True) + "\n", encoding="utf-8")
    print(f"{len(found)} values in {path}")


__all__ = ["Comparison", "main"]

if __name__ == "__main__":
    sys.exit(main())
