"""`prepare_example`: makes an utterance an example, for shards and for prediction alike.

Pictures and sound are read once for all stages.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fv2es_prep.config import SpanSettings
from fv2es_prep.errors import DropReason, UtteranceError
from fv2es_prep.media.audio import sample_index
from fv2es_prep.media.quality import PictureCheck, check_sound
from fv2es_prep.media.recording import OpenRecording
from fv2es_prep.stages.base import Pictures, Stage
from fv2es_prep.stages.registry import StageContext, media_of
from fv2es_prep.types import Example, Utterance, Waveform

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Pictures that wait for a full batch hold no more than this.
_WAITING_BYTES = 64 << 20


def prepare_example(
    utterance: Utterance,
    source: OpenRecording,
    context: StageContext,
    made: Mapping[str, Any] = {},
) -> Example:
    """Make the value of each stage that is not made yet, in the form in which it is stored.

    Where the media end before the utterance, the example's utterance is clamped.

    Args:
        utterance: one of the utterances that ``source`` was opened for, in order. Where ``made``
            has values made of media, its span is final.
        source: its recording.
        context: loaded stages and their settings.
        made: stage -> value that is cached from the same media and settings.

    Raises:
        UtteranceError: the span has too little picture or sound, or they are empty.
        MediaError: the recording cannot be decoded, or exceeds a limit.
        TokenizerError: the tokenizer cannot be loaded or does not match the settings.
    """
    parts = dict(made)
    missing = [stage for stage in context.stages if stage.name not in parts]
    seen, heard = (
        [stage for stage in missing if need in stage.needs] for need in ("video", "sound")
    )
    inputs: dict[str, Any] = {"transcript": utterance.transcript}
    if any(media_of(stage) for stage in context.stages if stage.name in made):
        if seen:
            parts |= _pictures(utterance, utterance.end_s, source, context, seen)
        if heard:
            inputs["sound"] = _sound(utterance, source.waveform(utterance), context)
    elif seen or heard:
        # The sound comes first: it is cheap, and no picture is looked at where it has ended.
        waveform = source.waveform(utterance) if heard else None
        until_s = utterance.end_s
        if waveform is not None:
            until_s = _heard_until_s(utterance, waveform, context.settings.spans)
        if seen:
            parts |= _pictures(utterance, until_s, source, context, seen, least=1)
        utterance = source.clamped(utterance)
        if waveform is not None:
            inputs["sound"] = _sound(utterance, waveform, context)
    for stage in missing:
        if stage not in seen:
            values = [inputs[n] if n in inputs else parts[n] for n in stage.needs]
            parts[stage.name] = stage.store(context.maker(stage)(*values), context.settings)
    ordered = {stage.name: parts[stage.name] for stage in context.stages}
    return Example(utterance, label_row(utterance, context.label_classes), **ordered)


def _heard_until_s(utterance: Utterance, waveform: Waveform, spans: SpanSettings) -> float:
    """End of the utterance or, if earlier, of its own sound; other utterances change nothing."""
    count, rate = len(waveform.samples), waveform.rate_hz
    end_s = (sample_index(utterance.start_s, rate) + count) / rate if count else utterance.start_s
    if utterance.end_s <= end_s + spans.tolerance_s:
        return utterance.end_s
    if utterance.within(0, end_s, spans.min_left) is None:
        found = f"the sound ends at {end_s:.3f} s" if count else "the sound ends before it"
        raise UtteranceError(
            f"its span is {utterance.start_s:g} s to {utterance.end_s:g} s, and {found}",
            DropReason.SPAN_OUTSIDE_MEDIA,
        )
    return end_s


def _pictures(
    utterance: Utterance,
    until_s: float,
    source: OpenRecording,
    context: StageContext,
    stages: Sequence[Stage],
    least: int = 0,
) -> dict[str, Any]:
    """Stage -> value, of stages that need pictures; fewer than ``least`` are an error."""
    # Pictures are asked for up to that very moment, so that it is known if they end before.
    end_s = min(utterance.end_s, until_s + context.settings.spans.tolerance_s)
    frames = source.frames(replace(utterance, end_s=end_s))
    shown = (frame for frame in frames if frame[0] < round(until_s, 6))
    check = PictureCheck(context.settings.quality)
    found: dict[str, list[Any]] = {stage.name: [] for stage in stages}
    count = 0
    for pictures in _batches(check.passing(shown), max(s.batch(context) for s in stages)):
        count += len(pictures.times_s)
        for stage in stages:
            found[stage.name].append(context.maker(stage)(pictures))
    # That the pictures end too early says more than what the few of them look like.
    kept = source.clamped(utterance)
    check.judge()
    if count < least:
        raise UtteranceError(
            f"no picture was on screen from {kept.start_s} s to {kept.end_s} s",
            DropReason.NO_FRAME_IN_SPAN,
        )
    return {s.name: s.store(s.join(found[s.name]), context.settings) for s in stages}


def _batches(frames: Iterable[tuple[float, NDArray[np.uint8]]], most: int) -> Iterator[Pictures]:
    """Pictures in batches; the last one may be empty."""
    times: list[float] = []
    waiting: list[NDArray[np.uint8]] = []
    held = 0
    for time_s, rgb in frames:
        times.append(time_s)
        waiting.append(rgb)
        held += rgb.nbytes
        if len(waiting) == most or held >= _WAITING_BYTES:
            yield Pictures(times, waiting)
            times, waiting, held = [], [], 0
    yield Pictures(times, waiting)


def _sound(utterance: Utterance, waveform: Waveform, context: StageContext) -> Waveform:
    """The waveform cut to the utterance's span; an error if it is silent."""
    rate = waveform.rate_hz
    count = sample_index(utterance.end_s, rate) - sample_index(utterance.start_s, rate)
    heard = replace(waveform, samples=waveform.samples[:count])
    check_sound(heard, context.settings.quality)
    return heard


def label_row(utterance: Utterance, label_classes: tuple[str, ...]) -> NDArray[np.uint8]:
    """uint8 (C,), 1 for each class that holds for the utterance."""
    import numpy as np

    return np.array([name in utterance.labels for name in label_classes], np.uint8)
