"""Run the benchmarks: `python -m benchmarks --quick`.

Owns the options and the order of the sections. A section that fails is reported and the others
continue; the exit status is then 1. A missed acceptance line is a result, not a failure.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import traceback
from pathlib import Path

from benchmarks import parity, report
from benchmarks.bench import Bench
from benchmarks.results import Section

SECTIONS = {
    "a": "preparation",
    "b": "detection",
    "c": "size",
    "d": "storage",
    "e": "epoch",
    "f": "scaling",
    "g": "memory",
    "h": "start",
    "i": "index",
    "k": "features",
    "l": "limits",
    "m": "browsing",
    "n": "comparing",
    "p": "predict",
}


def main(arguments: list[str] | None = None) -> int:
    """Measure the chosen sections and write the report; return 1 if a section failed."""
    given = sys.argv[1:] if arguments is None else arguments
    if given[:1] == ["parity"]:
        return parity.main(given[1:])
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure fv2es.")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--quick", action="store_true", help="small material (the default)")
    mode.add_argument("--full", action="store_true", help="long material; takes an hour")
    parser.add_argument(
        "--only", nargs="+", choices=SECTIONS, default=list(SECTIONS), help="these sections"
    )
    parser.add_argument("--media", type=Path, help="folder of real videos, for section b")
    parser.add_argument("--out", type=Path, default=Path("build/bench"))
    options = parser.parse_args(arguments)
    if options.media is not None and not options.media.is_dir():
        parser.error(f"--media {options.media} is not a directory")
    options.out.mkdir(parents=True, exist_ok=True)
    bench = Bench(options.out.absolute(), quick=not options.full, media=options.media)
    return run(bench, sorted(set(options.only)))


def run(bench: Bench, names: list[str]) -> int:
    """Measure sections, print the tables, write bench.json and the plots."""
    sections: dict[str, Section] = {}
    titles: dict[str, str] = {}
    errors: dict[str, str] = {}
    for name in names:
        try:
            module = importlib.import_module(f"benchmarks.{SECTIONS[name]}")
            titles[name] = module.TITLE
            bench.say(f"section {name}: {module.TITLE}")
            section = module.measure(bench)
            path = bench.out / f"{name}-{SECTIONS[name]}.png"
            report.plot(path, f"{module.TITLE} ({bench.mode})", section, module.draw)
            sections[name] = section
        except Exception as error:  # noqa: BLE001  # reported below; the other sections continue
            traceback.print_exc()
            errors[name] = f"{type(error).__name__}: {error}"
    machine = report.describe_machine(bench)
    report.write_json(bench.out / "bench.json", machine, bench.mode, sections, errors)
    print(report.text_of(machine, bench.mode, titles, sections, errors))
    return int(bool(errors))


if __name__ == "__main__":
    sys.exit(main())
