"""The table of a bench as text, Markdown, LaTeX and CSV, with published results beside."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fv2es_prep.utils.csv_text import csv_line
from fv2es_prep.utils.files import whole_file, write_json
from fv2es_prep.utils.tables import Form, Table, shown
from fv2es_train.bench.protocol import MEAN
from fv2es_train.evaluation.tables import raters_line

NAME = "table"
_LATEX = str.maketrans({c: f"\\{c}" for c in "_%&#"})
_HEAD = ("metric", "runs", "mean", "spread", "low", "high")
_DIFFERENCE = ("difference", "difference_low", "difference_high", "p")
_Table = tuple[list[str], list[list[str]]]


def write_tables(out: Path, result: Mapping[str, Any]) -> None:
    """Write OUT/table.json, .csv, .md and .tex; OutputError if a file cannot be written."""
    texts = {"csv": _csv(result), "md": _markdown(result), "tex": _latex(result)}
    for ending, text in texts.items():
        with whole_file(out / f"{NAME}.{ending}") as temporary:
            temporary.write_text(text, encoding="utf-8", newline="")
    write_json(out / f"{NAME}.json", result)


def format_bench(result: Mapping[str, Any], wide: bool = False, form: Form = "table") -> str:
    """Format the table for stdout: a row per model if ``wide``, else a block per metric."""
    if form != "table":
        return (_csv(result) if form == "csv" else _markdown(result)).removesuffix("\n")
    tables = [Table(*_cells(result))] if wide else [_block(result, n) for n in result["metrics"]]
    for metric, (head, rows) in _published(result):
        tables.append(Table(head, rows, title=f"{metric}, published, not run here"))
    parts = [shown(_title(result)), *(shown([each], wide=wide) for each in tables)]
    return "\n\n".join(part for part in [*parts, shown(_notes(result))] if part)


def _title(result: Mapping[str, Any]) -> list[str]:
    protocol = result["protocol"]
    return [f"Protocol {protocol['name']}: {protocol['title']}"] if protocol else []


def _notes(result: Mapping[str, Any]) -> list[str]:
    """The notes under the table: metrics, split, its audit, and sources."""
    split, drawn, protocol = result["split"], result["bootstrap"], result["protocol"] or {}
    sizes = ", ".join(f"{count} {name}" for name, count in split["listed"].items())
    classes = ", ".join(f"{name} {count}" for name, count in split["test_classes"].items())
    lines = [protocol["contract"]] if protocol else []
    if drawn:
        lines.append(
            f"{100 * drawn['level']:g} % intervals: {drawn['resamples']} resamples of "
            f"{drawn['units']} x {drawn['by']}; differences are relative to the first row"
        )
    return [
        *lines,
        *protocol.get("notes", ()),
        *(raters_line(raters) for raters in [result.get("raters")] if raters),
        f"split: {sizes} utterances over {split['folds']} fold(s); in test: {classes}",
        f"test utterances that share something with train: {_shared(split)}",
        *(f"[{n}] {text}" for n, text in enumerate(_sources(result).values(), 1)),
    ]


def _shared(split: Mapping[str, Any]) -> str:
    shared, of = split["test_shares_with_train"], max(split["listed"]["test"], 1)
    found = [f"{kind} {n} ({n / of:.1%})" for kind, n in shared.items() if n]
    unknown = [kind for kind, count in shared.items() if count is None]
    return ", ".join([*found, *(f"{kind} unknown" for kind in unknown)]) or "nothing"


def _sources(result: Mapping[str, Any]) -> dict[str, str]:
    """The sources of the published results, by key."""
    protocol = result["protocol"] or {"sources": {}, "published": ()}
    named = {row["source"] for row in protocol["published"]}
    return {key: text for key, text in protocol["sources"].items() if key in named}


def _published(result: Mapping[str, Any]) -> Iterator[tuple[str, _Table]]:
    """For each metric, the table of its published results."""
    rows = (result["protocol"] or {"published": ()})["published"]
    places = {key: str(n) for n, key in enumerate(_sources(result), 1)}
    for metric in dict.fromkeys(name for row in rows for name in row["percent"]):
        found = [(row, row["percent"][metric]) for row in rows if metric in row["percent"]]
        columns = dict.fromkeys(name for _, values in found for name in values)
        digits = _digits(percent for _, values in found for percent in values.values())
        cells = [
            [
                *(row["system"], row["modalities"] or "-"),
                *(_printed(values.get(name), digits) for name in columns),
                f"[{places[row['source']]}]",
            ]
            for row, values in found
        ]
        yield metric, (["system", "uses", *columns, "source"], cells)


def _printed(percent: float | None, digits: int = 4) -> str:
    """A published percentage as a fraction."""
    return "-" if percent is None else f"{percent / 100:.{digits}f}"


def _digits(percents: Iterable[float]) -> int:
    """The number of decimals without loss: 3 for 84.5 % (0.845), 4 for 84.77 % (0.8477)."""
    return 3 if all(round(percent, 1) == percent for percent in percents) else 4


def _block(result: Mapping[str, Any], name: str) -> Table:
    """One metric of all rows."""
    rows = []
    for row in result["rows"]:
        m = (row["metrics"] or {}).get(name, {})
        cells = [_number(m.get("mean")), _number(m.get("spread")), _range(m.get("interval"))]
        cells += [_number(m.get("difference"), "+.3f"), _number(m.get("p"))]
        rows.append([f"{row['model']} {row['modalities']}", str(row["runs"]), *cells])
    head = ["model", "runs", "mean", "spread", "interval", "difference", "p"]
    return Table(head, rows, title=name, optional=("spread", "runs", "p"))


def _cells(result: Mapping[str, Any]) -> _Table:
    head = ["model", "modalities", "runs"]
    for name in result["metrics"]:
        head += [name, "spread", "interval", "difference", "interval", "p"]
    rows = []
    for row in result["rows"]:
        cells = [row["model"], row["modalities"], str(row["runs"])]
        for name in result["metrics"]:
            m = (row["metrics"] or {}).get(name, {})
            cells += [_number(m.get("mean")), _number(m.get("spread")), _range(m.get("interval"))]
            cells += [_number(m.get("difference"), "+.3f"), _range(m.get("difference_interval"))]
            cells.append(_number(m.get("p")))
        rows.append([*cells, _number(row["seconds"], ".1f")])
    return [*head, "seconds"], rows


def _number(value: float | None, form: str = ".3f") -> str:
    return "-" if value is None else format(value, form)


def _range(pair: Sequence[float] | None) -> str:
    return "-" if pair is None else f"[{pair[0]:.3f}, {pair[1]:.3f}]"


def _markdown(result: Mapping[str, Any]) -> str:
    published = [
        f"{metric}, published, not run here:\n\n{_pipes(*table)}"
        for metric, table in _published(result)
    ]
    parts = [*_title(result), _pipes(*_cells(result)), *published, *_notes(result)]
    return "\n\n".join(parts) + "\n"


def _pipes(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, ["---"] * len(head), *rows])


def _latex(result: Mapping[str, Any]) -> str:
    lines = [f"% {title}" for title in _title(result)] + _tabular(*_cells(result))
    for metric, table in _published(result):
        lines += [f"% {metric}, published, not run here", *_tabular(*table)]
    return "\n".join([*lines, *(f"% {note}" for note in _notes(result)), ""])


def _tabular(head: list[str], rows: list[list[str]]) -> list[str]:
    return [
        f"\\begin{{tabular}}{{ll{'r' * (len(head) - 2)}}}",
        "\\hline",
        _latex_line(head),
        "\\hline",
        *map(_latex_line, rows),
        "\\hline",
        "\\end{tabular}",
    ]


def _latex_line(cells: Iterable[str]) -> str:
    return " & ".join(cell.translate(_LATEX) for cell in cells) + " \\\\"


def _csv(result: Mapping[str, Any]) -> str:
    """One line per row and metric, for all metrics; published results have a source."""
    lines = [csv_line(("model", "modalities", *_HEAD, *_DIFFERENCE, "seconds", "source"))]
    for row in result["rows"]:
        for name, m in (row["metrics"] or {}).items():
            edges, apart = m["interval"] or ("", ""), m["difference_interval"] or ("", "")
            cells = (name, row["runs"], m["mean"], m["spread"], *edges, m["difference"], *apart)
            values = (row["model"], row["modalities"], *cells, m["p"], row["seconds"], "")
            lines.append(csv_line(["" if value is None else value for value in values]))
    sources, blank = _sources(result), ("",) * (len(_HEAD) - 3 + len(_DIFFERENCE) + 1)
    for row in (result["protocol"] or {"published": ()})["published"]:
        for metric, found in row["percent"].items():
            for of, percent in found.items():
                name = metric if of == MEAN else f"{metric}.{of}"
                cells = (name, "", _printed(percent), *blank, sources[row["source"]])
                lines.append(csv_line((row["system"], row["modalities"], *cells)))
    return "".join(f"{line}\n" for line in lines)
