"""The report: tables on stdout, bench.json, and a plot for each section.

Owns the form of results. Leaves their content to the sections.
"""

from __future__ import annotations

import importlib.metadata
import json
import platform
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.results import Cell, Section, Table, Verdict

if TYPE_CHECKING:
    from benchmarks.bench import Bench

_PACKAGES = (
    "numpy", "torch", "torchaudio", "facenet-pytorch", "opencv-python-headless", "onnxruntime",
    "openvino", "h5py", "dask", "imageio-ffmpeg",
)  # fmt: skip
# Above this spread of the middle half, the machine is too busy for a measurement.
_BUSY = 0.15
_WORDS = {True: "pass", False: "FAIL", None: "not measured"}


def describe_machine(bench: Bench) -> dict[str, Any]:
    """Describe processor, cores, memory, versions, and the noise of the machine."""
    import psutil

    from fv2es_prep import __version__
    from fv2es_prep.media.ffmpeg import ffmpeg_path, ffmpeg_version

    versions = {"fv2es": __version__, "python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    versions["ffmpeg"] = ".".join(map(str, ffmpeg_version(ffmpeg_path())))
    return {
        "processor": _processor(),
        "cores": bench.cores,
        "memory_bytes": psutil.virtual_memory().total,
        "system": platform.system(),
        "versions": versions,
        "noise": bench.noise.to_json(),
    }


def _processor() -> str:
    listed = Path("/proc/cpuinfo")
    if listed.is_file():
        for line in listed.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def write_json(
    path: Path,
    machine: Mapping[str, Any],
    mode: str,
    sections: Mapping[str, Section],
    errors: Mapping[str, str],
) -> None:
    """Write all measurements as JSON."""
    value = {
        "mode": mode,
        "machine": machine,
        "sections": {name: section.to_json() for name, section in sections.items()},
        "errors": errors,
    }
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def text_of(
    machine: Mapping[str, Any],
    mode: str,
    titles: Mapping[str, str],
    sections: Mapping[str, Section],
    errors: Mapping[str, str],
) -> str:
    """Format the report as text."""
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    lines = [
        f"fv2es benchmarks, {mode}",
        f"{machine['processor']}, {machine['cores']} core(s), "
        f"{machine['memory_bytes'] / 1e9:.0f} GB; {versions}",
        _noise_line(machine["noise"]),
    ]
    for name, section in sections.items():
        lines += ["", f"== {name}: {titles[name]}"]
        for table in section.tables:
            lines += ["", *table_lines(table)]
        lines += ["", *(f"note: {note}" for note in section.notes)]
    verdicts = [verdict for section in sections.values() for verdict in section.verdicts]
    if verdicts:
        lines += ["", "== acceptance", "", *table_lines(_verdict_table(verdicts))]
    lines += [f"error: section {name}: {error}" for name, error in errors.items()]
    return "\n".join(lines)


def _noise_line(noise: Mapping[str, Any]) -> str:
    if "median_s" not in noise:
        return "noise: the calibration was not repeated"
    busy = "; TOO MUCH: quiet the machine" if noise["spread_middle_half"] > _BUSY else ""
    return (
        f"noise: a calibration of {noise['median_s'] * 1000:.0f} ms, {noise['times']} times in "
        f"this run: the middle half within {100 * noise['spread_middle_half']:.0f} %, all within "
        f"{100 * noise['spread_all']:.0f} %{busy}"
    )


def _verdict_table(verdicts: Sequence[Verdict]) -> Table:
    rows = tuple((v.what, v.value, f"{v.sense} {v.bound:g}", _WORDS[v.passed]) for v in verdicts)
    return Table("every line of this run", ("line", "measured", "asked", ""), rows)


def table_lines(table: Table) -> list[str]:
    """Format a table in aligned columns; numbers are right-aligned."""
    shown = [[cell_text(cell) for cell in row] for row in table.rows]
    number = [all(not isinstance(row[i], str) for row in table.rows) for i in _places(table)]
    wide = [max(len(row[i]) for row in [list(table.columns), *shown]) for i in _places(table)]

    def line(cells: Sequence[str]) -> str:
        padded = (
            cell.rjust(wide[i]) if number[i] else cell.ljust(wide[i])
            for i, cell in enumerate(cells)
        )
        return "  ".join(padded).rstrip()

    rule = "  ".join("-" * width for width in wide)
    return [table.title, "", line(table.columns), rule, *map(line, shown)]


def _places(table: Table) -> range:
    return range(len(table.columns))


def cell_text(cell: Cell) -> str:
    """Format a cell for a reader."""
    if cell is None:
        return "-"
    if isinstance(cell, float):
        return f"{cell:.0f}" if abs(cell) >= 1000 else f"{cell:.3g}"
    return str(cell)


def plot(
    path: Path, title: str, section: Section, draw: Callable[[Any, dict[str, Any]], None]
) -> None:
    """Write the plot of a section as PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5), dpi=100, layout="constrained")
    figure.suptitle(title)
    draw(figure, section.data)
    figure.savefig(path)
