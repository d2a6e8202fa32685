"""Plots of a run: training curves, and the confusion matrix on test."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fv2es_prep.utils.files import whole_file
from fv2es_train.evaluation.metrics import why_not_single

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from fv2es_train.evaluation.predictions import Predictions

_TRAIN, _VALID, _F1 = "#4477aa", "#cc6677", "#228833"
# Length in letters of the longest class name that fits below its column.
_LONG = 5


def draw_curves(history: Sequence[dict[str, Any]], best_epoch: int, path: Path) -> None:
    """Plot loss and f1_binary of history.jsonl as PNG, with the best epoch (from 1) marked.

    Raises:
        OutputError: the file cannot be written.
    """
    epochs = [record["epoch"] for record in history]
    figure = _figure(8, 3.2, left=0.5, right=0.15, bottom=0.5, top=0.35)
    losses, scores = figure.subplots(1, 2)
    for name, colour in (("train", _TRAIN), ("valid", _VALID)):
        values = [record[f"{name}_loss"] for record in history]
        losses.plot(epochs, values, marker=".", color=colour, label=name)
    # None becomes a gap.
    f1 = [np.nan if r["valid"]["f1_binary"] is None else r["valid"]["f1_binary"] for r in history]
    scores.plot(epochs, f1, marker=".", color=_F1, label="valid f1_binary")
    scores.set_ylim(-0.02, 1.02)
    for axes, title in ((losses, "loss (weighted, over classes)"), (scores, "f1_binary, average")):
        axes.axvline(best_epoch, color="0.6", linestyle="--", label=f"best: epoch {best_epoch}")
        axes.set(xlabel="epoch", title=title)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(visible=True, alpha=0.3)
        axes.legend(frameon=False)
    _save(figure, path)


def draw_predictions(predictions: Predictions, path: Path) -> None:
    """Plot the confusion matrix as PNG.

    If each utterance has one class, this is the confusion matrix of the largest logit. Otherwise it
    is the co-occurrence matrix: how many utterances with the class of the row are predicted to have
    the class of the column; a row need not sum to its number of utterances.

    Raises:
        OutputError: the file cannot be written.
    """
    truth = predictions.truth.astype(np.int64)
    single = not why_not_single(predictions.truth)
    if single:
        chosen = np.eye(truth.shape[1], dtype=np.int64)[predictions.logits.argmax(axis=1)]
        title, across = "confusion matrix", "class with the largest logit"
    else:
        chosen = predictions.predicted.astype(np.int64)
        title, across = "co-occurrence", "predicted class (above its threshold)"
    classes, letters = predictions.classes, max(map(len, predictions.classes))
    # A letter is about 0.1 inch wide; long names below the columns are rotated.
    below = 0.55 + (0.08 * letters if letters > _LONG else 0)
    size = (2.6 + 0.75 * len(classes) + 0.1 * letters, 1.6 + 0.6 * len(classes) + below)
    figure = _figure(*size, left=1.0 + 0.1 * letters, right=0.4, bottom=below, top=0.35)
    axes = figure.subplots()
    _draw_counts(axes, truth.T @ chosen, truth.sum(axis=0), classes)
    axes.set(xlabel=across, title=f"{title}, {len(truth)} utterances")
    _save(figure, path)


def _draw_counts(
    axes: Any, counts: NDArray[np.int64], support: NDArray[np.int64], classes: Sequence[str]
) -> None:
    """Draw one cell per pair: the count, coloured by its share of the row."""
    share = counts / np.maximum(support, 1)[:, None]
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    places = range(len(classes))
    axes.set_xticks(places, classes, rotation=45 if max(map(len, classes)) > _LONG else 0)
    axes.set_yticks(places, [f"{c} ({n})" for c, n in zip(classes, support, strict=True)])
    axes.set_ylabel("true class (utterances)")
    for row in places:
        for column in places:
            shade = "white" if share[row, column] > 0.5 else "black"
            text = f"{counts[row, column]}\n{100 * share[row, column]:.0f} %"
            axes.text(column, row, text, ha="center", va="center", color=shade, fontsize=8)
    axes.figure.colorbar(image, ax=axes, label="share of the true class", shrink=0.85)


def _figure(width: float, height: float, **margins: float) -> Any:
    """Make a figure with size and margins in inches; a layout engine would draw it twice."""
    # The object-oriented interface opens no window and has no global state.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=120)
    figure.subplots_adjust(
        left=margins["left"] / width,
        right=1 - margins["right"] / width,
        bottom=margins["bottom"] / height,
        top=1 - margins["top"] / height,
    )
    FigureCanvasAgg(figure)
    return figure


def _save(figure: Any, path: Path) -> None:
    with whole_file(path) as temporary:
        figure.savefig(temporary, format="png")
