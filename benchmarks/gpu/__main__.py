"""`make gpu-check`: parity and speed on a GPU, as a report, gpu.json and tables in docs/gpu.md.

Owns the options and the page. On a CPU, `--small` tries the kit itself and leaves the page alone.
"""

from __future__ import annotations

import argparse
import datetime
import importlib
import sys
import traceback
from pathlib import Path
from typing import Any

import torch

from benchmarks.bench import Bench
from benchmarks.gpu.kit import Kit
from benchmarks.report import cell_text, describe_machine, text_of, write_json
from benchmarks.results import Section, Table
from fv2es_prep.utils import tables
from fv2es_prep.utils.tables import shown

SECTIONS = ("precision", "training", "preparing", "processes")
PAGE = Path(__file__).resolve().parents[2] / "docs/gpu.md"
BEGIN, END = "<!-- tables: begin -->", "<!-- tables: end -->"


def main(arguments: list[str] | None = None) -> int:
    """Measure, print and write; 1 if a section failed or exceeded a bound, 2 without a GPU."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--small", action="store_true", help="few small steps; runs on a CPU too")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=SECTIONS)
    parser.add_argument("--out", type=Path, default=Path("build/gpu"))
    parser.add_argument("--page", type=Path, default=PAGE, help="page whose tables a GPU replaces")
    options = parser.parse_args(arguments)
    cuda = torch.cuda.is_available()
    if not cuda and not options.small:
        parser.error("torch finds no GPU; --small tries the kit on the CPU")
    options.out.mkdir(parents=True, exist_ok=True)
    # TF32 keeps ten bits of a factor: parity is of float32.
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    kit = Kit(torch.device("cuda" if cuda else "cpu"), options.small, options.out.absolute())
    found: dict[str, Section] = {}
    titles: dict[str, str] = {}
    errors: dict[str, str] = {}
    for name in options.only:
        try:
            module = importlib.import_module(f"benchmarks.gpu.{name}")
            titles[name], found[name] = module.TITLE, module.measure(kit)
        except Exception as error:  # noqa: BLE001  # reported below; the other sections go on
            traceback.print_exc()
            errors[name] = f"{type(error).__name__}: {error}"
    machine = _machine(kit)
    mode = machine.get("gpu", "no GPU")
    write_json(kit.out / "gpu.json", machine, mode, found, errors)
    print(text_of(machine, mode, titles, found, errors))
    if cuda and not options.small:
        write_page(options.page, machine, titles, found)
    missed = [v for section in found.values() for v in section.verdicts if v.passed is False]
    return int(bool(errors or missed))


def _machine(kit: Kit) -> dict[str, Any]:
    machine = describe_machine(Bench(kit.out))
    gpu: dict[str, Any] = {}
    if kit.device.type == "cuda":
        facts = torch.cuda.get_device_properties(kit.device)
        gpu = {
            "gpu": facts.name,
            "gpus": torch.cuda.device_count(),
            "gpu_memory_bytes": facts.total_memory,
            "cuda": torch.version.cuda,
        }
    return {**machine, **gpu, "date": datetime.datetime.now(datetime.UTC).date().isoformat()}


def write_page(
    page: Path, machine: dict[str, Any], titles: dict[str, str], found: dict[str, Section]
) -> None:
    """Replace the tables of the page with those of this run."""
    before, begin, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page} lacks {BEGIN} or {END}")
    torch_version = machine["versions"].get("torch", torch.__version__)
    head = (
        f"Measured on {machine['date']} by `make gpu-check`: {machine.get('gpus', 0)} x "
        f"{machine.get('gpu', 'no GPU')}, CUDA {machine.get('cuda')}, torch {torch_version}."
    )
    parts = [before + BEGIN, head]
    for name, section in found.items():
        title = titles[name]
        parts.append(f"## {title[0].upper()}{title[1:]}")
        parts += [f"{table.title}:\n\n{_markdown(table)}" for table in section.tables]
        parts += [f"{note[0].upper()}{note[1:]}." for note in section.notes]
    page.write_text("\n\n".join([*parts, END + after]), encoding="utf-8")


def _markdown(table: Table) -> str:
    rows = [[cell_text(cell) for cell in row] for row in table.rows]
    return shown([tables.Table(table.columns, rows)], "markdown")


if __name__ == "__main__":
    sys.exit(main())
