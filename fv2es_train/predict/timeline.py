"""The time line of a video as a PNG: which emotion when, how likely, and from whom.

Owns its looks.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fv2es_prep.utils.files import whole_file
from fv2es_train.predict.outputs import UtterancePrediction, VideoPrediction
from fv2es_train.predict.render import shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LEAST_WIDTH, _MOST_WIDTH = 9.0, 24.0
_SECONDS_TO_INCH = 6.0
# More words than these would lie on one another.
_MOST_TEXTS = 14
_MOST_SPEAKERS = 6
_MEANINGS = {"t": "text", "v": "faces", "a": "sound"}
_COLOURS = {"t": "#4477aa", "v": "#228833", "a": "#cc6677"}


def draw_timeline(
    path: Path, summary: VideoPrediction, found: Sequence[UtterancePrediction]
) -> Path:
    """Draw the time line of a video.

    Above, the probability of each class over time, a row for each speaker and class, with a dot
    where the class is decided; below, for each speaker, what each modality gave to the likeliest
    class. Of more than six speakers or faces the first six are drawn.

    Args:
        path: the PNG file to write.
        summary: of the video.
        found: its utterances.

    Raises:
        OutputError: it cannot be written.
    """
    from matplotlib.figure import Figure

    scored = [one for one in found if one.probability]
    speakers = sorted({one.speaker for one in scored})
    classes = list(summary.thresholds)
    length_s = max((one.end_s for one in scored), default=1.0)
    shown = speakers[:_MOST_SPEAKERS] or [""]
    upper_in, lower_in = 0.6 + 0.3 * len(shown) * len(classes), 1.3
    width = min(max(length_s / _SECONDS_TO_INCH, _LEAST_WIDTH), _MOST_WIDTH)
    height = 1.2 + upper_in + lower_in * len(shown)
    figure = Figure(figsize=(width, height), layout="constrained")
    ratios = [upper_in, *[lower_in] * len(shown)]
    upper, *lower = figure.subplots(1 + len(shown), 1, sharex=True, height_ratios=ratios)
    shades = _draw_probabilities(upper, scored, shown, classes)
    for axes, speaker in zip(lower, shown, strict=True):
        _draw_contributions(axes, [one for one in scored if one.speaker == speaker], speaker)
    figure.suptitle(_title(summary), fontsize=10)
    upper.set_xlim(0, length_s)
    lower[-1].set_xlabel("seconds")
    if shades is not None:
        figure.colorbar(shades, ax=upper, label="probability", pad=0.01)
    with whole_file(path) as temporary:
        figure.savefig(temporary, format="png", dpi=100)
    return path


def _draw_probabilities(
    axes: Axes, scored: Sequence[UtterancePrediction], speakers: list[str], classes: list[str]
) -> Any:
    from matplotlib.collections import PatchCollection
    from matplotlib.patches import Rectangle

    patches, values, dots = [], [], []
    for one in scored:
        if one.speaker not in speakers:
            continue
        first = speakers.index(one.speaker) * len(classes)
        for row, name in enumerate(classes, first):
            length_s = one.end_s - one.start_s
            patches.append(Rectangle((one.start_s, row - 0.5), length_s, 1))
            values.append(one.probability[name])
            if name in one.decided:
                dots.append(((one.start_s + one.end_s) / 2, row))
    shades = PatchCollection(patches, cmap="viridis", edgecolor="white", linewidth=0.5)
    shades.set_array(values)
    shades.set_clim(0, 1)
    axes.add_collection(shades)
    if dots:
        axes.plot(*zip(*dots, strict=True), "o", color="#ee3333", markersize=5)
    axes.set_title("probability of each class; a dot: decided", loc="left", fontsize=8)
    names = [f"{who}  {name}".strip() for who in speakers or [""] for name in classes]
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set_ylim(len(names) - 0.5, -0.5)
    for edge in range(1, len(speakers)):
        axes.axhline(edge * len(classes) - 0.5, color="black", linewidth=1)
    return shades if patches else None


def _draw_contributions(axes: Axes, scored: Sequence[UtterancePrediction], speaker: str) -> None:
    letters = [m for m in "tva" if any(m in one.used for one in scored)]
    for one in scored:
        share_s = (one.end_s - one.start_s) / max(len(letters), 1)
        for place, letter in enumerate(letters):
            if letter in one.used:
                term = one.contribution[one.top][letter]
                left = one.start_s + place * share_s
                axes.bar(left, term, share_s * 0.9, align="edge", color=_COLOURS[letter])
    for letter in letters:
        axes.bar(0, 0, 0, color=_COLOURS[letter], label=_MEANINGS[letter])
    axes.axhline(0, color="black", linewidth=0.6)
    axes.tick_params(labelsize=8)
    what = "what each modality gave to the likeliest class"
    axes.set_title(f"{speaker}: {what}" if speaker else what, loc="left", fontsize=8)
    if letters:
        axes.legend(loc="lower right", bbox_to_anchor=(1, 1), fontsize=8, ncols=3, frameon=False)
    if len(scored) <= _MOST_TEXTS:
        for one in scored:
            label = f"{one.top}\n{shortened(one.text or '', 18)}".strip()
            axes.annotate(label, (one.start_s, axes.get_ylim()[0]), fontsize=6, va="bottom")


def _title(summary: VideoPrediction) -> str:
    means = sorted(summary.probability.items(), key=lambda item: -item[1])
    listed = ", ".join(f"{name} {value:.2f}" for name, value in means)
    return f"{Path(summary.video).name}: {listed or 'nothing could be scored'}"
