"""Predictions as text: a table, CSV and subtitles."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from fv2es_prep.utils.csv_text import csv_line, neutral
from fv2es_train.predict.outputs import (
    TEXT,
    SpeakerPrediction,
    UtterancePrediction,
    VideoPrediction,
)
from fv2es_train.predict.rating_scales import RatingScale
from fv2es_train.predict.request import Form
from fv2es_train.predict.subtitles import write_srt

_TEXT_WIDTH = 44


def lines(
    form: Form,
    video: str,
    utterances: Iterable[UtterancePrediction],
    classes: Sequence[str],
    ratings: Sequence[RatingScale] = (),
) -> Iterator[str]:
    """Yield the text of a video's utterances, each part as soon as its utterance is known.

    ``json`` yields nothing, but consumes the utterances.
    """
    if form == "srt":
        yield from (block.rstrip("\n") + "\n" for block in srt_blocks(utterances))
        return
    if form == "table":
        yield video
        if ratings:
            yield f"ratings: {'; '.join(map(str, ratings))}"
        yield table_head(classes)
    for one in utterances:
        if form == "table":
            yield "\n".join(table_lines(one, classes))
        elif form == "csv":
            yield csv_row(video, one, classes, ratings)


def table_head(classes: Sequence[str]) -> str:
    """The header of the table of a video."""
    names = " ".join(f"{name[:6]:>6}" for name in classes)
    return f"{'start':>7} {'end':>7} {'faces':>5} {'used':<4} {names} decision"


def table_lines(one: UtterancePrediction, classes: Sequence[str]) -> Iterator[str]:
    """The lines of one utterance: probabilities, contributions of the modalities, text."""
    speaker = f" [{one.speaker}]" if one.speaker else ""
    begin = f"{one.start_s:7.2f} {one.end_s:7.2f} "
    faces = f"{one.faces_found}/{one.faces_seen}" if one.faces_seen else "-"
    if not one.probability:
        yield f"{begin}{faces:>5} {'-':<4} {decided_names(one)}{speaker}"
        return
    values = " ".join(f"{one.probability[name]:6.3f}" for name in classes)
    yield f"{begin}{faces:>5} {one.used:<4} {values} {decided_names(one)}{speaker}"
    for letter in one.used if len(one.used) > 1 else "":
        terms = " ".join(f"{one.contribution[name][letter]:+6.2f}" for name in classes)
        yield f"{'':>22}{letter:<4} {terms}"
    if one.ratings:
        yield f"{'':>16}{_rated(one.ratings)}"
    for letter, reason in one.missing.items():
        # The column `used` already shows missing text; most videos have no transcript.
        if letter != TEXT:
            yield f"{'':>22}{letter:<4} left out: {reason}"
    if one.text:
        source = " (asr)" if one.text_from == "asr" else ""
        yield f"{'':>16}“{shortened(one.text)}”{source}"


def video_lines(summary: VideoPrediction) -> Iterator[str]:
    """The lines of a whole video."""
    yield f"{summary.video}: {summary.scored} utterances, {summary.spoken_s:.1f} s scored"
    if summary.unscored:
        yield f"{summary.unscored} utterances not decided"
    if not summary.speakers:
        yield from _mean_lines(summary)
        if summary.top:
            yield f"whole video: {summary.top} has the highest mean"
    for one in summary.speakers:
        yield f"{one.speaker}: {one.scored} utterances, {one.spoken_s:.1f} s"
        yield from _mean_lines(one)
        yield f"{one.speaker}: {one.top} has the highest mean"


def _mean_lines(one: VideoPrediction | SpeakerPrediction) -> Iterator[str]:
    for name, value in one.probability.items():
        mark = "  decided" if name in one.decided else ""
        yield f"  {name:<10} mean {value:.3f}  share of the time {one.share[name]:6.1%}{mark}"
    if one.ratings:
        yield f"  means of the ratings: {_rated(one.ratings)}"


def _rated(ratings: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.2f}" for name, value in ratings.items())


def decided_names(one: UtterancePrediction) -> str:
    """The predicted classes, the most probable one with a question mark, or why there is none."""
    if one.undecided:
        return f"not decided: {one.undecided}"
    return ", ".join(one.decided) or f"({one.top}?)"


def shortened(text: str, width: int = _TEXT_WIDTH) -> str:
    """Shorten a text to ``width`` characters."""
    return text if len(text) <= width else text[: width - 1] + "…"


def csv_head(classes: Sequence[str], ratings: Sequence[RatingScale] = ()) -> str:
    """The header of the CSV table; each utterance has one row."""
    columns = "video id start_s end_s speaker text text_from faces_seen faces_found used top"
    named = [f"{kind}_{name}" for kind in ("p", "t", "v", "a") for name in classes]
    named += [f"rating_{scale.name}" for scale in ratings]
    return _row([*columns.split(), "decided", "undecided", "missing", *named])


def csv_row(
    video: str,
    one: UtterancePrediction,
    classes: Sequence[str],
    ratings: Sequence[RatingScale] = (),
) -> str:
    """One row: after the probabilities ``p_`` the terms of each modality ``t_``, ``v_``, ``a_``.

    The last are the ratings ``rating_``.
    """
    missing = "; ".join(f"{letter}: {reason}" for letter, reason in one.missing.items())
    return _row(
        [
            *(video, one.id, one.start_s, one.end_s, one.speaker, one.text or "", one.text_from),
            *(one.faces_seen, one.faces_found, one.used, one.top, " ".join(one.decided)),
            *(one.undecided, missing),
            *(one.probability.get(name, "") for name in classes),
            *(one.contribution.get(name, {}).get(m, "") for m in "tva" for name in classes),
            *(one.ratings.get(scale.name, "") for scale in ratings),
        ]
    )


def srt_blocks(utterances: Iterable[UtterancePrediction]) -> Iterator[str]:
    """Yield subtitles with emotions: decision and highest probability, then the text."""
    return write_srt(
        (one.start_s, one.end_s, f"{_headline(one)}\n{one.text or ''}")
        for one in utterances
        if one.probability
    )


def _headline(one: UtterancePrediction) -> str:
    speaker = f"{one.speaker}: " if one.speaker else ""
    return f"[{speaker}{decided_names(one)} {one.probability[one.top]:.2f}]"


def _row(values: Sequence[object]) -> str:
    return csv_line(map(neutral, values))
