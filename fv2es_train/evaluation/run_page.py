"""Runs as a page: the table of `list_runs`, their curves, and the differences of a comparison."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fv2es_prep.utils.charts import Chart, bars, charts_html, lines, matrix, ranges
from fv2es_prep.utils.emotions import emotion_name, named
from fv2es_prep.utils.pages import html_table
from fv2es_train.evaluation.metrics import METRICS
from fv2es_train.evaluation.tables import comparison_tables

_MOST_CURVES = 12


def runs_body(
    directory: Path,
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    runs: Sequence[Mapping[str, Any]],
    histories: Mapping[str, Sequence[Mapping[str, Any]]],
    metric: str,
) -> list[str]:
    """Make the parts of the page of the runs below a directory.

    Args:
        directory: the directory, as the user gave it.
        head: header of the table of runs.
        rows: rows of that table, one per run; the first cell is the name of the run.
        runs: result of `list_runs`.
        histories: name -> epochs of a run, as in its history.jsonl.
        metric: the averaged metric to draw.
    """
    names = [row[0] for row in rows]
    alone = len(runs) == 1 and Path(runs[0]["run"]) == directory
    title = f"{'Run' if alone else 'Runs in'} {directory.name or directory}"
    body = [f"<h1>{html.escape(title)}</h1>"]
    body.append(charts_html(_charts(names, runs, histories, metric)))
    body.append(html_table("Runs", head, rows))
    for name, run in zip(names, runs, strict=True):
        if run["error"]:
            body.append(f"<p><b>{html.escape(name)}</b>: {html.escape(run['error'])}</p>")
        if run["seen"]:
            body.append(
                f"<p><b>{html.escape(name)}</b> was trained or validated on "
                f"{run['seen']} utterances of test.</p>"
            )
    return body


def measured_body(test: Mapping[str, Any]) -> list[str]:
    """Make the part of a run's page about its classes, from its measurement on test."""
    if test.get("ratings_alone"):
        return []
    of_class = test["per_class"].items()
    scores = [{"class": named(name), "f1_binary": values["f1_binary"]} for name, values in of_class]
    charts = [bars("F1 of each class on test", scores, "class", "f1_binary", flat=True)]
    if confusion := (test["single_label"] or {}).get("confusion"):
        names = [emotion_name(name) for name in confusion["classes"]]
        cells = [
            {"labelled": true, "predicted": predicted, "utterances": count}
            for true, row in zip(names, confusion["counts"], strict=True)
            for predicted, count in zip(names, row, strict=True)
        ]
        title = "Predictions for each label"
        charts.append(matrix(title, cells, "predicted", "labelled", "utterances"))
    head = ("class", "utterances", *METRICS)
    rows = [
        (named(name), values["support"], *(_rounded(values[metric]) for metric in METRICS))
        for name, values in of_class
    ]
    return ["<h2>Classes</h2>", charts_html(charts), html_table("Scores on test", head, rows)]


def _rounded(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def comparison_body(found: Mapping[str, Any]) -> list[str]:
    """Make the parts of the page of a comparison, from the result of `compare`."""
    baseline = found["runs"][0]["run"]
    rows = [
        {
            "run": other["run"],
            "metric": f"{metric}: {Path(other['run']).name}",
            "difference": value["difference"],
            "from": value["interval"][0],
            "to": value["interval"][1],
        }
        for other in found["differences"]
        for metric, value in other["average"].items()
        if value["interval"]
    ]
    title = f"Differences from {Path(baseline).name}, with intervals"
    chart = ranges(title, rows, "metric", "difference", "from", "to")
    return [
        f"<h1>Comparison on {html.escape(found['subset'])}</h1>",
        f"<p>{found['n']} utterances; the baseline is {html.escape(baseline)}.</p>",
        charts_html([chart] if rows else []),
        *(html_table(*table) for table in comparison_tables(found)),
    ]


def _charts(
    names: Sequence[str],
    runs: Sequence[Mapping[str, Any]],
    histories: Mapping[str, Sequence[Mapping[str, Any]]],
    metric: str,
) -> Iterator[Chart]:
    drawn = sorted(range(len(runs)), key=lambda n: -(runs[n]["changed"] or 0))[:_MOST_CURVES]
    epochs = [(names[n], epoch) for n in sorted(drawn) for epoch in histories.get(names[n], ())]
    which = f", the {_MOST_CURVES} latest runs" if len(runs) > _MOST_CURVES else ""
    if curve := [
        {"run": name, "epoch": epoch["epoch"], metric: epoch["valid"][metric]}
        for name, epoch in epochs
        if (epoch.get("valid") or {}).get(metric) is not None
    ]:
        yield lines(f"{metric} on valid{which}", curve, "epoch", metric, "run")
    if loss := [
        {"run": name, "epoch": epoch["epoch"], "loss": epoch["train_loss"]}
        for name, epoch in epochs
        if epoch.get("train_loss") is not None
    ]:
        yield lines(f"Loss in training{which}", loss, "epoch", "loss", "run")
    tested = [
        {"run": name, metric: run["test"]["average"][metric], "from": ends[0], "to": ends[1]}
        for name, run in zip(names, runs, strict=True)
        if run["test"] and (ends := (run["test"]["interval"] or {}).get(metric))
    ]
    if tested:
        yield ranges(f"{metric} on test, with its interval", tested, "run", metric, "from", "to")
