"""Charts of self-contained pages: Vega-Lite drawn to SVG when the page is written.

`bars`, `histogram`, `lines`, `ranges`, `matrix` and `waterfall` make a `Chart`; `charts_html` draws
some side by side, each with its figures as a table. A page needs no script and no network, follows
the reader's light or dark colours, and prints.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Colours of classes, distinct also for colour-blind readers, on light and dark (Okabe, Ito).
_COLOURS = ("#3b82c4", "#e08a00", "#2a9d78", "#d1495b", "#a05fb4", "#8a8f3c", "#56a8d6", "#b5651d")
_WIDTH, _HEIGHT = 330, 190
# Approximate width in pixels of a label's character, in a wide font.
_CHARACTER = 6.5
_INK = {"labelColor": "currentColor", "titleColor": "currentColor", "titleFontWeight": "normal"}
_CONFIG = {
    "background": None,
    # Wide at the sides, since a browser's font can be wider than that of the layout.
    "padding": {"left": 20, "top": 5, "right": 12, "bottom": 5},
    "font": "sans-serif",
    "range": {"category": list(_COLOURS)},
    "mark": {"color": _COLOURS[0]},
    "view": {"stroke": None},
    "axis": {
        **_INK,
        **{f"{part}Color": "currentColor" for part in ("domain", "grid", "tick")},
        "domainOpacity": 0.4,
        "gridOpacity": 0.15,
        "tickOpacity": 0.4,
        "labelFontSize": 11,
        "titleFontSize": 11,
        "labelLimit": 140,
        "titlePadding": 12,
    },
    "axisX": {"grid": False},
    "legend": {
        **_INK,
        "orient": "top",
        "title": None,
        "labelFontSize": 11,
        "columns": 4,
        "columnPadding": 18,
    },
    "text": {"color": "currentColor"},
}
_DESCRIBED = re.compile(r'<path aria-label="([^"]*)"([^>]*)/>')


@dataclass(frozen=True)
class Chart:
    """A chart: what to draw, and its figures.

    Attributes:
        title: What the chart shows, in words.
        spec: Vega-Lite without its data: mark and encoding, or layers.
        rows: One figure each, by the names that ``spec`` uses.
    """

    title: str
    spec: Mapping[str, Any]
    rows: Sequence[Mapping[str, Any]]


def bars(
    title: str,
    rows: Sequence[Mapping[str, Any]],
    x: str,
    y: str,
    colour: str = "",
    flat: bool = False,
) -> Chart:
    """One bar per ``x``, in row order; ``colour`` stacks bars, ``flat`` makes them horizontal."""
    across: dict[str, Any] = {**_field(x, "nominal"), "sort": None}
    if not flat:
        across["axis"] = _names(rows, x)
    along = {**_field(y, "quantitative"), "axis": {"tickCount": 5}}
    encoding = {"x": along, "y": across} if flat else {"x": across, "y": along}
    if colour:
        encoding["color"] = {**_field(colour, "nominal"), "sort": None, "title": None}
    spec: dict[str, Any] = {"mark": "bar", "encoding": encoding}
    if flat:
        spec["height"] = {"step": 22}
    return Chart(title, spec, rows)


def histogram(title: str, values: NDArray[Any] | Sequence[float], x: str, bins: int = 30) -> Chart:
    """Count the values in bins of equal width; NaN is left out."""
    numbers = np.asarray(values, np.float64)
    numbers = numbers[np.isfinite(numbers)]
    low, high = (numbers.min(), numbers.max()) if len(numbers) else (0.0, 1.0)
    # Values that differ only by rounding would give bins of zero width.
    least = 1e-3 * max(abs(low), abs(high), 1.0)
    if high - low < least:
        low, high = (low + high - least) / 2, (low + high + least) / 2
    counts, edges = np.histogram(numbers, bins, (low, high))
    rows = [
        {x: float(f"{a:.6g}"), "to": float(f"{b:.6g}"), "utterances": int(n)}
        for a, b, n in zip(edges, edges[1:], counts, strict=False)
    ]
    encoding = {
        "x": {**_field(x, "quantitative"), "bin": "binned"},
        "x2": {"field": "to"},
        "y": {"field": "utterances", "type": "quantitative", "axis": {"tickCount": 5}},
    }
    return Chart(title, {"mark": "bar", "encoding": encoding}, rows)


def lines(title: str, rows: Sequence[Mapping[str, Any]], x: str, y: str, colour: str = "") -> Chart:
    """A line with its points; ``colour`` draws one line for each of its values."""
    encoding: dict[str, Any] = {
        "x": {**_field(x, "quantitative"), "axis": {"tickMinStep": 1}},
        "y": {**_field(y, "quantitative"), "scale": {"zero": False}},
    }
    if colour:
        encoding["color"] = {**_field(colour, "nominal"), "sort": None, "title": None}
    return Chart(title, {"mark": {"type": "line", "point": True}, "encoding": encoding}, rows)


def ranges(
    title: str, rows: Sequence[Mapping[str, Any]], y: str, value: str, low: str, high: str
) -> Chart:
    """A point with its interval for each ``y``, from top to bottom."""
    place = {**_field(y, "nominal"), "sort": None, "title": None}
    along = {"scale": {"zero": False}, "axis": {"tickCount": 5}}
    layers = [
        {
            "mark": {"type": "rule", "color": _COLOURS[0]},
            "encoding": {
                "y": place,
                "x": {**_field(low, "quantitative"), **along, "title": value},
                "x2": {"field": _field(high, "quantitative")["field"]},
            },
        },
        {
            "mark": {"type": "point", "filled": True, "size": 60, "opacity": 1},
            "encoding": {"y": place, "x": {**_field(value, "quantitative"), **along}},
        },
    ]
    return Chart(title, {"height": {"step": 22}, "layer": layers}, rows)


def matrix(title: str, rows: Sequence[Mapping[str, Any]], x: str, y: str, value: str) -> Chart:
    """A cell for each pair with its value; a larger value is darker."""
    place = {
        "x": {**_field(x, "nominal"), "sort": None, "axis": _names(rows, x)},
        "y": {**_field(y, "nominal"), "sort": None},
    }
    opacity = {**_field(value, "quantitative"), "legend": None, "scale": {"range": [0, 0.8]}}
    layers = [
        {"mark": "rect", "encoding": {**place, "opacity": opacity}},
        {"mark": "text", "encoding": {**place, "text": {**_field(value, "nominal")}}},
    ]
    return Chart(title, {"height": {"step": 26}, "layer": layers}, rows)


def waterfall(
    title: str,
    whole: tuple[str, int],
    less: Iterable[tuple[str, int]],
    rest: str,
    unit: str = "utterances",
) -> Chart:
    """Bars from a whole, through each part subtracted, to the ``rest``."""
    name, left = whole
    rows = [{"step": name, unit: left, "from": 0, "to": left}]
    for name, number in less:
        rows.append({"step": name, unit: -number, "from": left - number, "to": left})
        left -= number
    rows.append({"step": rest, unit: left, "from": 0, "to": left})
    encoding = {
        "y": {"field": "step", "type": "nominal", "sort": None, "title": None},
        "x": {"field": "from", "type": "quantitative", "title": unit},
        "x2": {"field": "to"},
        # Without this the tooltip of a bar shows its two ends.
        "description": _field(unit, "nominal"),
        "opacity": {
            "condition": {"test": f"datum['{unit}'] < 0", "value": 0.5},
            "value": 1,
        },
    }
    return Chart(title, {"mark": "bar", "height": {"step": 22}, "encoding": encoding}, rows)


def _names(rows: Sequence[Mapping[str, Any]], x: str) -> dict[str, Any]:
    """An axis of names; slanted if neighbours would touch."""
    lengths = [len(str(name)) for name in dict.fromkeys(row[x] for row in rows)]
    step = _WIDTH / max(len(lengths), 1)
    touch = any((a + b) / 2 * _CHARACTER + 2 > step for a, b in pairwise(lengths))
    return {"labelAngle": -30 if touch else 0}


def _field(name: str, kind: str) -> dict[str, str]:
    """A column of the rows, escaped: Vega reads some characters of a name as a path."""
    return {"field": re.sub(r"([\\.\[\]'\"])", r"\\\1", name), "type": kind, "title": name}


def charts_html(charts: Iterable[Chart]) -> str:
    """The charts side by side, as many per line as fit."""
    return f"<div class=charts>{''.join(map(chart_html, charts))}</div>"


def chart_html(chart: Chart) -> str:
    """One chart as a figure: title, picture, and a collapsed table of its figures."""
    heads = list(dict.fromkeys(name for row in chart.rows for name in row))
    head = "".join(f"<th>{html.escape(name)}</th>" for name in heads)
    lines = (
        "".join(f"<td>{html.escape(str(row.get(name, '')))}</td>" for name in heads)
        for row in chart.rows
    )
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return (
        f"<figure><figcaption>{html.escape(chart.title)}</figcaption>{chart_svg(chart)}"
        f"<details><summary>Figures</summary><div class=wide><table><tr>{head}</tr>{body}"
        "</table></div></details></figure>"
    )


def chart_svg(chart: Chart) -> str:
    """The picture alone; a mark shows its figures as a tooltip."""
    # The import and the first picture take half a second, and most commands draw nothing.
    import vl_convert

    spec = {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "width": _WIDTH,
        "height": _HEIGHT,
        **chart.spec,
        "data": {"values": list(chart.rows)},
        "config": _CONFIG,
    }
    picture = vl_convert.vegalite_to_svg(spec)
    picture = _DESCRIBED.sub(r'<path aria-label="\1"\2><title>\1</title></path>', picture)
    # HTML needs no XML namespaces.
    begin = picture.index(' class="marks"')
    return f'<svg role="img" aria-label="{html.escape(chart.title)}"{picture[begin:]}'
