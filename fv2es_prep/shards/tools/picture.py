"""One example as a picture: the stages that can be drawn, and the transcript."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

from fv2es_prep.stages.registry import load_stage
from fv2es_prep.types import Example


def draw_example(example: Example, target: Path | Any) -> None:
    """Draw an example as PNG.

    Args:
        example: what to draw.
        target: a path, or a binary file to write to.
    """
    # The object-oriented interface: no window, no global state.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    drawn = [stage for stage in map(load_stage, example) if stage.drawn_height]
    heights = [stage.drawn_height for stage in drawn]
    figure = Figure(figsize=(9, 1.5 * sum(heights) or 1), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    utterance = example.utterance
    grid = figure.add_gridspec(max(len(drawn), 1), 1, height_ratios=heights or [1])
    for row, stage in enumerate(drawn):
        stage.draw(figure.add_subplot(grid[row]), example[stage.name], utterance.start_s)
    figure.suptitle(
        f"{utterance.id}   {' + '.join(utterance.labels)}   "
        f"{utterance.start_s:.2f} to {utterance.end_s:.2f} s\n"
        + textwrap.shorten(f"“{utterance.transcript}”", 100),
        fontsize=10,
    )
    figure.savefig(target, format="png")
