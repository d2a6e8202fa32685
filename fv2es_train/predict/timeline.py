"""The timeline of a video as a PNG: probabilities and contributions over time, by speaker."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fv2es_prep.config import MODALITY_NAMES
from fv2es_prep.utils.files import whole_file
from fv2es_train.predict.outputs import UtterancePrediction, VideoPrediction
from fv2es_train.predict.render import shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MIN_WIDTH_IN, _MAX_WIDTH_IN, _SECONDS_PER_IN = 9.0, 24.0, 6.0
# More labels would overlap.
_MAX_TEXTS = 14
_MAX_SPEAKERS = 6
_COLOURS = {"t": "#4477aa", "v": "#228833", "a": "#cc6677"}


def draw_timeline(
    path: Path, summary: VideoPrediction, utterances: Sequence[UtterancePrediction]
) -> Path:
    """Draw the timeline of a video as PNG.

    The upper axes show the probability of each class over time, one row per speaker and class,
    with a dot where the class is decided. Below, axes for each speaker show the contribution of
    each modality to the most probable class, stacked. At most six speakers or faces are drawn.

    Raises:
        OutputError: the file cannot be written.
    """
    from matplotlib.figure import Figure

    scored = [one for one in utterances if one.probability]
    speakers = sorted({one.speaker for one in scored})[:_MAX_SPEAKERS] or [""]
    classes = list(summary.thresholds)
    length_s = max((one.end_s for one in utterances), default=1.0)
    upper_in, lower_in = 0.6 + 0.3 * len(speakers) * len(classes), 1.3
    width_in = min(max(length_s / _SECONDS_PER_IN, _MIN_WIDTH_IN), _MAX_WIDTH_IN)
    height_in = 1.2 + upper_in + lower_in * len(speakers)
    figure = Figure(figsize=(width_in, height_in), layout="constrained")
    ratios = [upper_in, *[lower_in] * len(speakers)]
    upper, *lower = figure.subplots(1 + len(speakers), 1, sharex=True, height_ratios=ratios)
    shades = _draw_probabilities(upper, scored, speakers, classes)
    for axes, speaker in zip(lower, speakers, strict=True):
        _draw_contributions(axes, [one for one in scored if one.speaker == speaker], speaker)
    figure.suptitle(_title(summary), fontsize=10)
    for one in utterances:
        if one.undecided:
            upper.axvspan(one.start_s, one.end_s, color="0.9", hatch="//")
            told = f"not decided:\n{shortened(one.undecided)}"
            upper.text(one.start_s, 0, told, fontsize=6, va="center", clip_on=True)
    upper.set_xlim(0, length_s)
    lower[-1].set_xlabel("seconds")
    if scored:
        figure.colorbar(shades, ax=upper, label="probability", pad=0.01)
    with whole_file(path) as temporary:
        figure.savefig(temporary, format="png", dpi=100)
    return path


def _draw_probabilities(
    axes: Axes, scored: Sequence[UtterancePrediction], speakers: list[str], classes: list[str]
) -> Any:
    from matplotlib.collections import PatchCollection
    from matplotlib.patches import Rectangle

    cells, values, dots = [], [], []
    for one in scored:
        if one.speaker not in speakers:
            continue
        first = speakers.index(one.speaker) * len(classes)
        for row, name in enumerate(classes, first):
            cells.append(Rectangle((one.start_s, row - 0.5), one.duration_s, 1))
            values.append(one.probability[name])
            if name in one.decided:
                dots.append(((one.start_s + one.end_s) / 2, row))
    shades = PatchCollection(cells, cmap="viridis", edgecolor="white", linewidth=0.5)
    shades.set_array(values)
    shades.set_clim(0, 1)
    axes.add_collection(shades)
    if dots:
        axes.plot(*zip(*dots, strict=True), "o", color="#ee3333", markersize=5)
    axes.set_title("probability of each class (dot: decided)", loc="left", fontsize=8)
    names = [f"{speaker}  {name}".strip() for speaker in speakers for name in classes]
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set_ylim(len(names) - 0.5, -0.5)
    for edge in range(1, len(speakers)):
        axes.axhline(edge * len(classes) - 0.5, color="black", linewidth=1)
    return shades


def _draw_contributions(axes: Axes, scored: Sequence[UtterancePrediction], speaker: str) -> None:
    letters = [m for m in "tva" if any(m in one.used for one in scored)]
    for one in scored:
        # The terms add up, so they are stacked; negative ones go down.
        ends = {True: 0.0, False: 0.0}
        for letter in filter(one.used.__contains__, letters):
            term = one.contribution[one.top][letter]
            low, colour = ends[term < 0], _COLOURS[letter]
            axes.bar(
                one.start_s,
                term,
                one.duration_s,
                low,
                align="edge",
                color=colour,
                edgecolor="white",
            )
            ends[term < 0] += term
    for letter in letters:
        axes.bar(0, 0, 0, color=_COLOURS[letter], label=MODALITY_NAMES[letter])
    axes.axhline(0, color="black", linewidth=0.6)
    axes.tick_params(labelsize=8)
    title = "contribution of each modality to the most probable class"
    axes.set_title(f"{speaker}: {title}" if speaker else title, loc="left", fontsize=8)
    if letters:
        axes.legend(loc="lower right", bbox_to_anchor=(1, 1), fontsize=8, ncols=3, frameon=False)
    if len(scored) <= _MAX_TEXTS:
        for one in scored:
            label = f"{one.top}\n{shortened(one.text or '', 18)}".strip()
            axes.annotate(label, (one.start_s, axes.get_ylim()[0]), fontsize=6, va="bottom")


def _title(summary: VideoPrediction) -> str:
    means = sorted(summary.probability.items(), key=lambda item: -item[1])
    if summary.speakers:
        means = [
            (f"{one.speaker}: {one.top}", one.probability[one.top]) for one in summary.speakers
        ]
    listed = ", ".join(f"{name} {value:.2f}" for name, value in means)
    return f"{Path(summary.video).name}: {listed or 'nothing scored'}"
