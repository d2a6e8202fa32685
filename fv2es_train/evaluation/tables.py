"""Measurements as tables; ``-`` stands for an undefined value. `utils.tables` prints them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fv2es_prep.utils.tables import Block, Form, Table, shown
from fv2es_train.evaluation.agreement import SHARE_METRICS
from fv2es_train.evaluation.metrics import LABEL_SETS, METRICS, SINGLE_METRICS
from fv2es_train.evaluation.rating_metrics import RATING_METRICS, SENTIMENT_METRICS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

_KINDS = (("average", METRICS), ("single_label", SINGLE_METRICS))
# Columns that a narrow terminal hides, in this order.
_OPTIONAL = (
    *("precision", "recall", "f1_weighted", "balanced_accuracy", "single_label.f1_macro"),
    *("single_label.balanced_accuracy", "single_label.f1_weighted", "threshold", "accuracy"),
)


def format_metrics(result: Mapping[str, Any], form: Form = "table", wide: bool = False) -> str:
    """Format the result of `metrics.measure`, `evaluate` or `measurement` as tables."""
    return shown(_metric_blocks(result), form, wide)


def _metric_blocks(result: Mapping[str, Any]) -> Iterator[Block]:
    if result.get("ratings_alone"):
        yield from (ratings_table(result["ratings"]), "the run learned no classes")
        return
    fitted = result.get("thresholds", {}) if result.get("rule") != "largest" else {}
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
    yield Table(["class", "support", "threshold", *METRICS], rows, averages, "", _OPTIONAL)
    if absent := result["absent_classes"]:
        yield f"no utterance has {', '.join(absent)}; averages that need one leave it out"
    if seen := {n: c for n, c in (result.get("seen") or {}).items() if c and result["subset"] != n}:
        listed = ", ".join(f"{count} in {name}" for name, count in seen.items())
        yield f"the run has seen utterances of this subset: {listed}"
    yield from _single_blocks(result)
    if error := result.get("calibration_error"):
        one, raw = error["calibrated"], error["uncalibrated"]
        yield f"calibration error: {one:.3f} (without temperature {raw:.3f})"
    if ratings := result.get("ratings"):
        yield ratings_table(ratings)
    if raters := result.get("raters"):
        yield raters_line(raters)
    if shares := result.get("rater_shares"):
        yield shares_line(shares)
    if drawn := result.get("bootstrap"):
        yield _drawn(drawn)
    if by := result.get("by"):
        yield groups_table(by)


def ratings_table(ratings: Mapping[str, Any]) -> Table:
    """The table of `rating_metrics.measure_ratings`, a row for each rating."""
    some = any(metric in values for values in ratings.values() for metric in SENTIMENT_METRICS)
    metrics = (*RATING_METRICS, *(SENTIMENT_METRICS if some else ()))
    rows = [[name, str(values["n"]), *_cells(values, metrics)] for name, values in ratings.items()]
    return Table(["rating", "n", *metrics], rows, optional=list(reversed(metrics[2:])))


def raters_line(raters: Mapping[str, Any]) -> str:
    """Format the result of `agreement.agreement` as one sentence."""
    (agreed,), ceiling = _cells(raters, ["alpha"]), raters["ceiling"]
    pairs = zip(ceiling, _cells(ceiling, ceiling), strict=True)
    metrics = ", ".join(f"{name} {value}" for name, value in pairs)
    return (
        f"raters of {raters['utterances']} utterances: Krippendorff's alpha {agreed}; one rater "
        f"against the others: {metrics}"
    )


def shares_line(shares: Mapping[str, Any]) -> str:
    """Format the result of `agreement.measure_shares` as one sentence."""
    named = zip(
        ("cross entropy", "KL", "Jensen-Shannon"), _cells(shares, SHARE_METRICS), strict=True
    )
    metrics = ", ".join(f"{name} {value}" for name, value in named)
    return f"distance to the rater shares of {shares['n']} utterances: {metrics}"


def format_groups(by: Mapping[str, Any]) -> str:
    """The table of `fv2es eval --by` for a terminal."""
    return shown([groups_table(by)])


def groups_table(by: Mapping[str, Any]) -> Table:
    """The table of `fv2es eval --by`: a row for each group."""
    groups, parts = by["groups"], _kinds(by["groups"])
    rows = [[g["group"], str(g["n"]), *_both(g, parts)] for g in groups]
    return Table([by["kind"], "n", *_headers(parts)], rows, optional=_OPTIONAL)


def format_comparison(found: Mapping[str, Any], form: Form = "table", wide: bool = False) -> str:
    """The tables of `fv2es compare`: the metrics of each run, then the differences."""
    (_, head, rows), *others = comparison_tables(found)
    tables = [Table(head, rows, optional=_OPTIONAL)]
    tables += [Table(head, rows, title=title) for title, head, rows in others]
    return shown([*tables, _drawn(found["bootstrap"])], form, wide)


def comparison_tables(
    found: Mapping[str, Any],
) -> Iterator[tuple[str, Sequence[str], Sequence[Sequence[str]]]]:
    """Title, header and rows of each table of a comparison: the runs, then the differences."""
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
    """Format the table of `fv2es train --folds`: each fold, mean, standard deviation, pooled."""
    done = [fold for fold in found["folds"] if fold["test"]]
    parts = _kinds([fold["test"] for fold in done])
    rows = [[f["fold"], str(f["test"]["n"]), *_both(f["test"], parts)] for f in done]
    ends = [[name, "", *_both(found[name], parts)] for name in ("mean", "standard_deviation")]
    if pooled := found["pooled"]:
        ends.append(["pooled", str(pooled["n"]), *_both(pooled, parts)])
    head = ["fold", "n", *_headers(parts)]
    blocks: list[Block] = [Table(head, rows, ends, "", _OPTIONAL)] if done else []
    if raters := found.get("raters"):
        blocks.append(raters_line(raters))
    blocks += [f"{f['fold']} failed: {f['error']}" for f in found["folds"] if f["error"]]
    return shown(blocks)


def _single_blocks(result: Mapping[str, Any]) -> Iterator[Block]:
    if "single_label" not in result:
        return
    single = result["single_label"]
    if not single:
        sets = result["label_sets"]
        edges = _edges(sets["interval"], LABEL_SETS, [])
        rows = [["all utterances", *_cells(sets, LABEL_SETS)], *edges]
        yield Table(["label_sets", *LABEL_SETS], rows)
        yield f"no single-label metrics: {result['single_label_absent']}"
        return
    edges = _edges(single["interval"], SINGLE_METRICS, [])
    rows = [["all utterances", *_cells(single, SINGLE_METRICS)], *edges]
    yield Table(["single_label (argmax)", *SINGLE_METRICS], rows)


def _edges(
    found: Mapping[str, Any] | None, metrics: Iterable[str], blank: Sequence[str]
) -> list[list[str]]:
    """Format the lower and upper ends of the intervals as two rows."""
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
