"""Measurements as plain-text tables for a terminal; ``-`` stands for an undefined value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fv2es_train.evaluation.agreement import SHARE_METRICS
from fv2es_train.evaluation.metrics import LABEL_SETS, METRICS, SINGLE_METRICS
from fv2es_train.evaluation.rating_metrics import RATING_METRICS, SENTIMENT_METRICS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

_KINDS = (("average", METRICS), ("single_label", SINGLE_METRICS))


def format_metrics(result: Mapping[str, Any]) -> str:
    """The tables of what `metrics.measure`, `evaluate` or `measurement` returned."""
    if result.get("ratings_alone"):
        return "\n".join([ratings_table(result["ratings"]), "classes were not learned"])
    fitted = result.get("thresholds", {}) if result.get("rule") != "largest" else {}
    header = ["class", "support", "threshold", *METRICS]
    rows = [
        [
            name,
            str(values["support"]),
            f"{fitted[name]:.2f}" if name in fitted else "-",
            *_cells(values, METRICS),
        ]
        for name, values in result["per_class"].items()
    ]
    averages = [["average", str(result["n"]), "", *_cells(result["average"], METRICS)]]
    averages += _edges(result.get("interval"), METRICS, ["", ""])
    lines = [grid(header, rows, averages)]
    if absent := result["absent_classes"]:
        lines.append(f"no utterance of {', '.join(absent)}: averages that need one leave them out")
    if seen := {n: c for n, c in (result.get("seen") or {}).items() if c and result["subset"] != n}:
        listed = ", ".join(f"{count} in {name}" for name, count in seen.items())
        lines.append(f"the run has seen utterances of this subset: {listed}")
    lines += _single_lines(result)
    if error := result.get("calibration_error"):
        one, raw = error["calibrated"], error["uncalibrated"]
        lines.append(f"calibration error: {one:.3f} (without temperature {raw:.3f})")
    if ratings := result.get("ratings"):
        lines += ["", ratings_table(ratings)]
    if raters := result.get("raters"):
        lines.append(raters_line(raters))
    if shares := result.get("rater_shares"):
        lines.append(shares_line(shares))
    if drawn := result.get("bootstrap"):
        lines.append(_drawn(drawn))
    if by := result.get("by"):
        lines += ["", format_groups(by)]
    return "\n".join(lines)


def ratings_table(ratings: Mapping[str, Any]) -> str:
    """The table of `rating_metrics.measure_ratings`, a row for each rating."""
    header = ["rating", "n", *RATING_METRICS, *SENTIMENT_METRICS]
    rows = [
        [
            name,
            str(values["n"]),
            *_cells(values, RATING_METRICS),
            *_cells(values, SENTIMENT_METRICS),
        ]
        for name, values in ratings.items()
    ]
    if not any(metric in values for values in ratings.values() for metric in SENTIMENT_METRICS):
        header, rows = (
            header[: -len(SENTIMENT_METRICS)],
            [r[: 2 + len(RATING_METRICS)] for r in rows],
        )
    return grid(header, rows)


def raters_line(raters: Mapping[str, Any]) -> str:
    """What `agreement.agreement` found, in one sentence."""
    (agreed,), ceiling = _cells(raters, ["alpha"]), raters["ceiling"]
    pairs = zip(ceiling, _cells(ceiling, ceiling), strict=True)
    metrics = ", ".join(f"{name} {value}" for name, value in pairs)
    return (
        f"raters of {raters['utterances']} utterances: Krippendorff's alpha {agreed}; one rater "
        f"against the others: {metrics}"
    )


def shares_line(shares: Mapping[str, Any]) -> str:
    """What `agreement.measure_shares` found, in one sentence."""
    named = zip(
        ("cross entropy", "KL", "Jensen-Shannon"), _cells(shares, SHARE_METRICS), strict=True
    )
    metrics = ", ".join(f"{name} {value}" for name, value in named)
    return f"distance to the shares of the raters of {shares['n']} utterances: {metrics}"


def format_groups(by: Mapping[str, Any]) -> str:
    """The table of `fv2es eval --by`: a row for each group."""
    groups, parts = by["groups"], _kinds(by["groups"])
    header = [by["kind"], "n", *_headers(parts)]
    rows = [[g["group"], str(g["n"]), *_both(g, parts)] for g in groups]
    return grid(header, rows)


def format_comparison(found: Mapping[str, Any]) -> str:
    """The tables of `fv2es compare`: the metrics of each run, then the differences."""
    (_, head, rows), *others = comparison_tables(found)
    lines = [grid(head, rows)]
    for title, head, rows in others:
        lines += ["", title, grid(head, rows)]
    lines.append(_drawn(found["bootstrap"]))
    return "\n".join(lines)


def comparison_tables(
    found: Mapping[str, Any],
) -> Iterator[tuple[str, Sequence[str], Sequence[Sequence[str]]]]:
    """Title, head and rows of each table of a comparison: the runs, then the differences."""
    runs, parts = found["runs"], _kinds(found["runs"])
    rows = [[run["run"], str(run["n"]), *_both(run, parts)] for run in runs]
    yield "Runs", ["run", "n", *_headers(parts)], rows
    for other in found["differences"]:
        rows = [
            [f"{kind}.{metric}" if kind != "average" else metric, *_difference(other[kind][metric])]
            for kind, metrics in parts
            if other[kind]
            for metric in metrics
        ]
        title = f"{other['run']} minus {other['against']}"
        yield title, ["metric", "difference", "from", "to", "p"], rows


def format_folds(found: Mapping[str, Any]) -> str:
    """The table of `fv2es train --folds`: each fold, mean, standard deviation, pooled."""
    done = [fold for fold in found["folds"] if fold["test"]]
    parts = _kinds([fold["test"] for fold in done])
    rows = [[f["fold"], str(f["test"]["n"]), *_both(f["test"], parts)] for f in done]
    ends = [[name, "", *_both(found[name], parts)] for name in ("mean", "standard_deviation")]
    if pooled := found["pooled"]:
        ends.append(["pooled", str(pooled["n"]), *_both(pooled, parts)])
    lines = [grid(["fold", "n", *_headers(parts)], rows, ends)] if done else []
    if raters := found.get("raters"):
        lines.append(raters_line(raters))
    lines += [f"{f['fold']} failed: {f['error']}" for f in found["folds"] if f["error"]]
    return "\n".join(lines)


def grid(header: Sequence[str], *blocks: Sequence[Sequence[str]]) -> str:
    """Aligned columns, with a rule before each block of rows."""
    every = [header, *(row for block in blocks for row in block)]
    widths = [max(len(row[i]) for row in every) for i in range(len(header))]
    lines = [_line(header, widths)]
    for block in blocks:
        lines.append("  ".join("-" * width for width in widths))
        lines += [_line(row, widths) for row in block]
    return "\n".join(lines)


def _single_lines(result: Mapping[str, Any]) -> list[str]:
    if "single_label" not in result:
        return []
    single = result["single_label"]
    if not single:
        sets = result["label_sets"]
        edges = _edges(sets["interval"], LABEL_SETS, [])
        rows = [["all utterances", *_cells(sets, LABEL_SETS)], *edges]
        absent = f"no single-label metrics: {result['single_label_absent']}"
        return ["", grid(["label_sets", *LABEL_SETS], rows), absent]
    header = ["single_label (argmax)", *SINGLE_METRICS]
    edges = _edges(single["interval"], SINGLE_METRICS, [])
    return ["", grid(header, [["all utterances", *_cells(single, SINGLE_METRICS)], *edges])]


def _edges(
    found: Mapping[str, Any] | None, metrics: Iterable[str], blank: Sequence[str]
) -> list[list[str]]:
    """The lower and the upper end of the intervals as two rows."""
    if found is None:
        return []
    ends = [{m: found[m] and found[m][end] for m in metrics} for end in (0, 1)]
    names = ("interval from", "interval to")
    return [[n, *blank, *_cells(e, metrics)] for n, e in zip(names, ends, strict=True)]


def _drawn(drawn: Mapping[str, Any]) -> str:
    return (
        f"{100 * drawn['level']:g} % intervals: {drawn['resamples']} resamples of "
        f"{drawn['units']} x {drawn['by']}"
    )


def _kinds(found: Sequence[Mapping[str, Any]]) -> Sequence[tuple[str, Sequence[str]]]:
    return _KINDS if any(one["single_label"] for one in found) else _KINDS[:1]


def _headers(parts: Iterable[tuple[str, Sequence[str]]]) -> list[str]:
    return [m if kind == "average" else f"{kind}.{m}" for kind, ms in parts for m in ms]


def _both(found: Mapping[str, Any], parts: Iterable[tuple[str, Sequence[str]]]) -> list[str]:
    return [cell for kind, metrics in parts for cell in _cells(found[kind] or {}, metrics)]


def _difference(found: Mapping[str, Any]) -> list[str]:
    low, high = found["interval"] or (None, None)
    values = (found["difference"], low, high)
    p = found["p"]
    return [*("-" if v is None else f"{v:+.3f}" for v in values), "-" if p is None else f"{p:.3f}"]


def _cells(values: Mapping[str, Any], metrics: Iterable[str]) -> list[str]:
    found = (values.get(name) for name in metrics)
    return ["-" if value is None else f"{value:.3f}" for value in found]


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    first = row[0].ljust(widths[0])
    rest = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
    return "  ".join([first, *rest])
