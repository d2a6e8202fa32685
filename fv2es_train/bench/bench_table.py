"""The table of a bench: measured rows, and their form for terminal, Markdown, LaTeX and CSV."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fv2es_prep.errors import UsageError
from fv2es_prep.utils.csv_text import csv_line
from fv2es_prep.utils.files import whole_file, write_json
from fv2es_train.evaluation.measurement import (
    Bootstrap,
    described,
    draw,
    interval,
    measurement,
    numbers,
    p_value,
)
from fv2es_train.evaluation.predictions import align, file_of, join, read_predictions
from fv2es_train.evaluation.tables import grid
from fv2es_train.training.run_dir import HISTORY, METRICS_FILE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fv2es_prep.splits.audit import Audit
    from fv2es_train.bench.protocol import BenchConfig, TableRow
    from fv2es_train.config import TrainConfig
    from fv2es_train.evaluation.predictions import Predictions

NAME = "table"
_SINGLE = "single_label."
_LATEX = str.maketrans({c: f"\\{c}" for c in "_%&#"})
_HEAD = ("metric", "runs", "mean", "spread", "low", "high")
_DIFFERENCE = ("difference", "difference_low", "difference_high", "p")


@dataclass(frozen=True)
class _Scores:
    """Metrics of a row.

    Attributes:
        runs: metric -> value of each run.
        value: metric -> mean over the seeds, each with its folds pooled.
        draws: metric -> (R,), the same of each bootstrap resample.
        units: what the bootstrap draws from.
    """

    runs: dict[str, list[float]]
    value: dict[str, float]
    draws: dict[str, NDArray[np.float64]]
    units: int


def measure_rows(
    rows: Sequence[TableRow], config: BenchConfig, audits: Sequence[Audit]
) -> dict[str, Any]:
    """Measure the stored test predictions of all finished runs.

    Returns:
        JSON-ready: ``split``, see `summary_of`; ``metrics``; ``bootstrap``; ``rows``, for each
        ``model``, ``modalities``, ``runs`` (the number that is finished), ``seconds`` (mean over
        the runs) and ``metrics``: for each ``mean`` over the seeds, the test subsets of all folds
        pooled; ``spread``, the standard deviation over single runs (n - 1); ``interval`` of the
        mean, over utterances; ``difference`` to the first row with ``difference_interval`` and
        ``p``, paired by utterance. None where a run of the row failed.
    """
    bootstrap, first, like = Bootstrap(config.resamples), None, None
    found: list[tuple[TableRow, _Scores | None]] = []
    for row in rows:
        done = all(_is_done(run) for seed in row.seeds for run in seed)
        scores = None
        if done:
            parts = [[read_predictions(file_of(run.out, "test")) for run in s] for s in row.seeds]
            like = like or join(parts[0])
            scores = _scores(parts, like, row.name, bootstrap)
        found.append((row, scores))
    if found:
        first = found[0][1]
    metrics = _chosen(config.metrics, [scores for _, scores in found if scores])
    some = next((scores for _, scores in found if scores), None)
    return {
        "split": summary_of(audits),
        "metrics": list(metrics),
        "bootstrap": described(bootstrap, some.units) if some else None,
        "rows": [_row(row, scores, first, bootstrap.level) for row, scores in found],
    }


def summary_of(audits: Sequence[Audit]) -> dict[str, Any]:
    """The sizes of the subsets, and what test shares with train, summed over the folds."""
    shared: dict[str, int] = {}
    for audit in audits:
        pair = next(p for p in audit.pairs if (p.of, p.within) == ("test", "train"))
        for each in pair.shared:
            shared[each.kind] = shared.get(each.kind, 0) + each.count
    listed = {name: sum(audit.listed[name] for audit in audits) for name in audits[0].listed}
    return {"folds": len(audits), "listed": listed, "test_shares_with_train": shared}


def write_tables(out: Path, result: Mapping[str, Any]) -> None:
    """Write OUT/table.json, .csv, .md and .tex; OutputError if one cannot be written."""
    texts = {"csv": _csv(result), "md": _markdown(result), "tex": _latex(result)}
    for ending, text in texts.items():
        with whole_file(out / f"{NAME}.{ending}") as temporary:
            temporary.write_text(text, encoding="utf-8", newline="")
    write_json(out / f"{NAME}.json", result)


def format_bench(result: Mapping[str, Any]) -> str:
    """The table for a terminal."""
    head, rows = _cells(result)
    return "\n".join([*_notes(result), grid(head, rows)])


def _is_done(run: TrainConfig) -> bool:
    return (run.out / METRICS_FILE).is_file()


def _scores(
    parts: Sequence[Sequence[Predictions]], like: Predictions, name: str, bootstrap: Bootstrap
) -> _Scores:
    single = [_values(part) for seed in parts for part in seed]
    pooled = [align(join(seed), like, name, "the first row") for seed in parts]
    values, drawn = [_values(each) for each in pooled], [draw(p, bootstrap) for p in pooled]
    draws = [
        {**each.average, **{_SINGLE + n: v for n, v in each.single_label.items()}} for each in drawn
    ]
    names = [n for n in values[0] if all(v.get(n) is not None for v in values) and n in draws[0]]
    return _Scores(
        {n: [v for one in single if (v := one.get(n)) is not None] for n in names},
        {n: float(np.mean([v[n] for v in values])) for n in names},
        {n: np.mean([each[n] for each in draws], axis=0) for n in names},
        drawn[0].units,
    )


def _values(predictions: Predictions) -> dict[str, Any]:
    found = numbers(measurement(predictions, Bootstrap(resamples=0)))
    single = found["single_label"] or {}
    return {**found["average"], **{_SINGLE + name: value for name, value in single.items()}}


def _chosen(asked: Sequence[str], found: Sequence[_Scores]) -> tuple[str, ...]:
    known = (
        [name for name in found[0].value if all(name in s.value for s in found)] if found else []
    )
    if unknown := [name for name in asked if found and name not in known]:
        raise UsageError(
            f"the metric {unknown[0]!r} is unknown or undefined for a row",
            f"choose from {', '.join(known)}",
        )
    usual = _SINGLE + "accuracy"
    return tuple(asked) or ((usual,) if usual in known else tuple(known[:1]))


def _row(
    row: TableRow, scores: _Scores | None, first: _Scores | None, level: float
) -> dict[str, Any]:
    runs = [run for seed in row.seeds for run in seed if _is_done(run)]
    seconds = [_seconds(run.out) for run in runs]
    return {
        "model": row.model,
        "modalities": row.modalities,
        "runs": len(runs),
        "seconds": round(float(np.mean(seconds)), 3) if seconds else None,
        "metrics": scores and {name: _metric(name, scores, first, level) for name in scores.value},
    }


def _metric(name: str, ours: _Scores, first: _Scores | None, level: float) -> dict[str, Any]:
    runs = ours.runs[name]
    found: dict[str, Any] = {
        "mean": ours.value[name],
        "spread": float(np.std(runs, ddof=1)) if len(runs) > 1 else None,
        "interval": interval(ours.draws[name], level),
        **dict.fromkeys(("difference", "difference_interval", "p")),
    }
    if first is not None and first is not ours and name in first.value:
        drawn = ours.draws[name] - first.draws[name]
        found["difference"] = ours.value[name] - first.value[name]
        found["difference_interval"], found["p"] = interval(drawn, level), p_value(drawn)
    return found


def _seconds(run: Path) -> float:
    """Time of the epochs of a run, with validation."""
    lines = (run / HISTORY).read_text(encoding="utf-8").splitlines()
    return float(sum(json.loads(line)["seconds"] for line in lines))


def _notes(result: Mapping[str, Any]) -> list[str]:
    split, drawn = result["split"], result["bootstrap"]
    sizes = ", ".join(f"{count} {name}" for name, count in split["listed"].items())
    shares = split["test_shares_with_train"].items()
    listed = ", ".join(f"{kind} {count}" for kind, count in shares if count) or "nothing"
    lines = [
        f"split: {sizes} utterances over {split['folds']} fold(s)",
        f"test utterances that share with train: {listed}",
    ]
    if drawn:
        lines.append(
            f"{100 * drawn['level']:g} % intervals: {drawn['resamples']} resamples of "
            f"{drawn['units']} x {drawn['by']}; differences are to the first row"
        )
    return lines


def _cells(result: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
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
    head, rows = _cells(result)
    lines = [head, ["---"] * len(head), *rows]
    notes = "\n\n".join(_notes(result))
    return notes + "\n\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _latex(result: Mapping[str, Any]) -> str:
    head, rows = _cells(result)
    lines = [f"% {note}" for note in _notes(result)]
    lines += [f"\\begin{{tabular}}{{ll{'r' * (len(head) - 2)}}}", "\\hline"]
    lines += [
        _latex_line(head),
        "\\hline",
        *map(_latex_line, rows),
        "\\hline",
        "\\end{tabular}",
        "",
    ]
    return "\n".join(lines)


def _latex_line(cells: Iterable[str]) -> str:
    return " & ".join(cell.translate(_LATEX) for cell in cells) + " \\\\"


def _csv(result: Mapping[str, Any]) -> str:
    """A line for each row and metric, all metrics."""
    lines = [csv_line(("model", "modalities", *_HEAD, *_DIFFERENCE, "seconds"))]
    for row in result["rows"]:
        for name, m in (row["metrics"] or {}).items():
            edges, apart = m["interval"] or ("", ""), m["difference_interval"] or ("", "")
            cells = (name, row["runs"], m["mean"], m["spread"], *edges, m["difference"], *apart)
            values = (row["model"], row["modalities"], *cells, m["p"], row["seconds"])
            lines.append(csv_line(["" if value is None else value for value in values]))
    return "".join(f"{line}\n" for line in lines)
