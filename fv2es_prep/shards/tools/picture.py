"""One example as a picture: its faces, its spectrum and its words, for a person to look at.

Owns how it looks. Leaves reading it to the reader.
"""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fv2es_prep.types import Example

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FACES_SHOWN = 12
_GAP_PX = 4


def draw_example(example: Example, target: Path | Any) -> None:
    """Draw an example as PNG.

    Args:
        example: what to draw.
        target: a path, or a binary file to write to.
    """
    # The object-oriented interface: no window, no global state.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    top, bottom = figure.subplots(2, 1, height_ratios=(1, 1.4))
    _draw_faces(top, example)
    _draw_mel(bottom, example)
    utterance = example.utterance
    figure.suptitle(
        f"{utterance.id}   {' + '.join(utterance.labels)}   "
        f"{utterance.start_s:.2f} to {utterance.end_s:.2f} s\n"
        + textwrap.shorten(f"“{utterance.transcript}”", 100),
        fontsize=10,
    )
    figure.savefig(target, format="png")


def _draw_faces(axes: Any, example: Example) -> None:
    faces = example.faces
    shown = min(len(faces.rgb), _FACES_SHOWN)
    axes.imshow(_strip(faces.rgb[:shown]), interpolation="nearest", aspect="equal")
    side = faces.rgb.shape[1] + _GAP_PX
    seconds = faces.times_s[:shown] - example.utterance.start_s
    names = [
        f"{t:.1f} s" if found else f"{t:.1f} s\nno face"
        for t, found in zip(seconds, faces.found[:shown], strict=True)
    ]
    axes.set_xticks([side * i + side / 2 for i in range(shown)], names, fontsize=8)
    axes.set_yticks([])
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _strip(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The faces side by side, with a white gap."""
    gap = np.full((rgb.shape[1], _GAP_PX, 3), 255, np.uint8)
    return np.concatenate([part for face in rgb for part in (face, gap)], axis=1)


def _draw_mel(axes: Any, example: Example) -> None:
    mel = example.mel
    decibels = 10 / np.log(10) * mel.log_power.T.astype(np.float32)
    seconds = len(mel.log_power) * mel.hop_s
    axes.imshow(
        np.maximum(decibels, decibels.max() - 80),
        origin="lower",
        aspect="auto",
        extent=(0, seconds, 0, mel.log_power.shape[1]),
        cmap="magma",
    )
    axes.set_xlabel("seconds", fontsize=8)
    axes.set_ylabel("mel band", fontsize=8)
    axes.tick_params(labelsize=8)
