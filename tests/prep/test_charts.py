"""Charts of pages: their figures are in the picture and below it."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from fv2es_prep.utils.charts import (
    Chart,
    bars,
    chart_html,
    chart_svg,
    histogram,
    lines,
    matrix,
    waterfall,
)

ROWS = [
    {"session": session, "class": name, "utterances": number}
    for number, (session, name) in enumerate(
        [("1", "a<b"), ("1", "joy"), ("2", "a<b"), ("2", "joy")], start=3
    )
]


def told(chart: Chart) -> list[str]:
    """What pointing at each mark tells."""
    picture = ElementTree.fromstring(chart_svg(chart))
    return [title.text or "" for title in picture.iter("title")]


@pytest.mark.parametrize("flat", [False, True])
def test_each_bar_tells_its_figures(flat: bool) -> None:
    chart = bars("By session", ROWS, "session", "utterances", "class", flat)
    expected = {f"{r['session']} {r['class']} {r['utterances']}" for r in ROWS}
    found = {" ".join(re.findall(r": ([^;]+)", text)) for text in told(chart)}
    assert {tuple(sorted(e.split())) for e in expected} == {tuple(sorted(f.split())) for f in found}


def test_a_histogram_counts_what_is_a_number() -> None:
    values = np.array([0.0, 0.1, 0.9, 1.0, np.nan, np.inf])
    chart = histogram("Length", values, "seconds", bins=2)
    assert [row["utterances"] for row in chart.rows] == [2, 2]
    assert len(told(chart)) == 2
    assert [row["utterances"] for row in histogram("None", [], "seconds", bins=2).rows] == [0, 0]
    for equal in ([2.0] * 5, [0.39, 0.39 + 1e-16, 0.39 - 1e-16, 0.39, 0.39], [0.0] * 5):
        found = histogram("Equal", equal, "seconds", bins=3)
        assert [row["utterances"] for row in found.rows] == [0, 5, 0]
        assert told(found)


def test_a_waterfall_ends_with_what_is_left() -> None:
    chart = waterfall(
        "Left out", ("in the corpus", 10), [("no label", 3), ("no id", 1)], "prepared"
    )
    assert [(r["from"], r["to"]) for r in chart.rows] == [(0, 10), (7, 10), (6, 7), (0, 6)]
    assert told(chart) == ["10", "-3", "-1", "6"]


@pytest.mark.parametrize("name", ["a.b", "a[0]", "it's", 'say "x"', "back\\slash", "%"])
def test_a_name_may_hold_any_character(name: str) -> None:
    (text,) = told(bars("t", [{name: "one", "n": 3}], name, "n"))
    assert "one" in text and "3" in text


def test_lines_and_a_matrix_are_drawn() -> None:
    curve = [{"epoch": n, "f1": n / 4, "run": run} for n in range(3) for run in ("a", "b")]
    assert chart_svg(lines("F1", curve, "epoch", "f1", "run")).count("<title>") >= 6
    cells = [{"subset": s, "kind": "words", "shared": n} for n, s in enumerate(("valid", "test"))]
    assert len(told(matrix("Shared", cells, "subset", "kind", "shared"))) >= 2


def test_a_figure_has_its_table_and_nothing_from_elsewhere() -> None:
    figure = chart_html(bars("1 < 2", ROWS, "session", "utterances", "class"))
    assert "<figcaption>1 &lt; 2</figcaption>" in figure and "<td>a&lt;b</td>" in figure
    assert 'aria-label="1 &lt; 2"' in figure
    assert not any(word in figure for word in ("<script", "http", "href", "src="))


@pytest.mark.parametrize(("count", "aslant"), [(3, False), (9, True)])
def test_long_names_beside_each_other_do_not_touch(count: int, aslant: bool) -> None:
    rows = [{"class": f"emotion{n}", "row": "a", "n": n} for n in range(count)]
    for chart in (bars("t", rows, "class", "n"), matrix("t", rows, "class", "row", "n")):
        assert ("rotate(330)" in chart_svg(chart)) == aslant
