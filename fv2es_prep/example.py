"""`prepare_example`: turns an utterance into an example, for shards and for prediction.

Pictures and sound are read once for all stages.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from fv2es_prep.config import MODALITIES, SpanSettings, ordered
from fv2es_prep.errors import DropReason, MediaError, MediaKilledError, UtteranceError
from fv2es_prep.media.audio import sample_index
from fv2es_prep.media.quality import PictureCheck, check_sound
from fv2es_prep.media.recording import OpenRecording
from fv2es_prep.stages.base import Pictures, Stage
from fv2es_prep.stages.registry import StageContext, media_of, modalities_of
from fv2es_prep.types import Example, Utterance, Waveform

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

OnMissing = Callable[[str, UtteranceError | MediaError], None]
# Pictures that wait for a full batch hold no more than this.
_WAITING_BYTES = 64 << 20


def prepare_example(
    utterance: Utterance,
    source: OpenRecording,
    context: StageContext,
    made: Mapping[str, Any] = {},
    missing: Mapping[str, str] = {},
    on_missing: OnMissing = lambda *_: None,
    later: bool = False,
) -> Example:
    """Make the value of each stage that is not made yet, in the form in which it is stored.

    Where the media end before the utterance, the example's utterance is clamped: to the shortest
    source if the settings require all modalities, to the longest otherwise. Then each modality is
    judged by its own source, and a stage that needs a missing modality is left out.

    Args:
        utterance: one of the utterances that ``source`` was opened for, in order. If ``made`` has
            values made from media, its span is final.
        source: its recording.
        context: loaded stages and their settings.
        made: stage -> value cached from the same media and settings.
        missing: letter -> code of modalities to skip; ignored if all are required.
        on_missing: called with the letter and the reason of each modality found missing.
        later: leave values that are faster to compute for many examples to `completed`.

    Raises:
        UtteranceError: a required modality is missing or shows nothing, or all are missing.
        MediaError: the file of a required modality cannot be decoded, or exceeds a limit.
        TokenizerError: the tokenizer cannot be loaded or does not match the settings.
    """
    if context.settings.require != MODALITIES:
        return _Available(utterance, source, context, made, missing, on_missing, later).example()
    return _whole(utterance, source, context, made, later)


@dataclass(frozen=True)
class Later:
    """The inputs of a stage whose value is not made yet."""

    inputs: tuple[Any, ...]


def completed(examples: Sequence[Example], context: StageContext) -> list[Example]:
    """Return the examples with the values that `prepare_example` left for later."""
    parts = [dict(example) for example in examples]
    for stage in context.stages:
        waiting = [one for one in parts if isinstance(one.get(stage.name), Later)]
        if not waiting:
            # Load a stage only if an example needs it.
            continue
        values = context.make_many(stage, [one[stage.name].inputs for one in waiting])
        for one, value in zip(waiting, values, strict=True):
            one[stage.name] = stage.store(value, context.settings)
    return [e.replace(**made) for e, made in zip(examples, parts, strict=True)]


def _whole(
    utterance: Utterance,
    source: OpenRecording,
    context: StageContext,
    made: Mapping[str, Any],
    later: bool,
) -> Example:
    """The example of an utterance that must have all modalities."""
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
        # Check the sound first: it is cheap, and after its end no picture needs to be examined.
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
            parts[stage.name] = _value(stage, context, inputs, parts, later)
    ordered = {stage.name: parts[stage.name] for stage in context.stages}
    return Example(utterance, label_row(utterance, context.label_classes), **ordered)


@dataclass
class _Available:
    """The available modalities of an utterance, each judged by its own source alone."""

    utterance: Utterance
    source: OpenRecording
    context: StageContext
    made: Mapping[str, Any]
    missing: Mapping[str, str]
    on_missing: OnMissing
    later: bool
    reasons: dict[str, UtteranceError | MediaError] = field(default_factory=dict, init=False)
    ends_s: dict[str, float] = field(default_factory=dict, init=False)

    def example(self) -> Example:
        """The example; see `prepare_example`."""
        stages, parts = self.context.stages, dict(self.made)
        inputs: dict[str, Any] = {}
        todo = [s for s in stages if s.name not in parts and self._possible(s)]
        if any("transcript" in stage.needs for stage in todo):
            with self._trying("t"):
                inputs["transcript"] = self._transcript()
        if any("sound" in stage.needs for stage in todo):
            with self._trying("a"):
                inputs["sound"] = self._heard()
        if seen := [stage for stage in todo if "video" in stage.needs]:
            with self._trying("v"):
                parts |= self._seen(seen)
        for stage in todo:
            if stage not in seen and self._possible(stage):
                with self._trying(modalities_of(stage)[-1]):
                    parts[stage.name] = _value(stage, self.context, inputs, parts, self.later)
        gone = self._gone()
        label = label_row(self.utterance, self.context.label_classes)
        kept = {s.name: parts[s.name] for s in stages if not gone.keys() & modalities_of(s)}
        return Example(self._clamped(), label, gone, **kept)

    def _possible(self, stage: Stage) -> bool:
        return not {*modalities_of(stage)} & (self.missing.keys() | self.reasons.keys())

    @contextlib.contextmanager
    def _trying(self, letter: str) -> Iterator[None]:
        try:
            yield
        except MediaKilledError:
            raise
        except (UtteranceError, MediaError) as error:
            self.reasons[letter] = error
            self.on_missing(letter, error)

    def _transcript(self) -> str:
        if not self.utterance.transcript:
            raise UtteranceError(DropReason.NO_TRANSCRIPT.meaning, DropReason.NO_TRANSCRIPT)
        return self.utterance.transcript

    def _heard(self) -> Waveform:
        waveform = self.source.waveform(self.utterance)
        spans = self.context.settings.spans
        self.ends_s["a"] = _heard_until_s(self.utterance, waveform, spans)
        check_sound(waveform, self.context.settings.quality)
        return waveform

    def _seen(self, stages: Sequence[Stage]) -> dict[str, Any]:
        end_s = self.utterance.end_s
        found = _pictures(self.utterance, end_s, self.source, self.context, stages, 1, "v")
        self.ends_s["v"] = self.source.clamped(self.utterance, "v").end_s
        return found

    def _gone(self) -> dict[str, str]:
        """Letter -> code of each missing modality.

        Raises:
            UtteranceError: nothing is left, or a required modality is missing.
            MediaError: the file of a required one cannot be decoded.
        """
        codes = {letter: error.reason for letter, error in self.reasons.items()}
        gone = {letter: str(code) for letter, code in {**self.missing, **codes}.items()}
        used = {letter for stage in self.context.stages for letter in modalities_of(stage)}
        for letter in "vat":
            required = letter in self.context.settings.require
            if letter in gone and letter in used and (required or used <= gone.keys()):
                code = DropReason(gone[letter])
                error = self.reasons.get(letter) or UtteranceError(code.meaning, code)
                raise error if required else UtteranceError(error.sentence, code, error.hint)
        return {letter: gone[letter] for letter in ordered(gone)}

    def _clamped(self) -> Utterance:
        """The utterance, cut to its longest source."""
        ends = [end_s for letter, end_s in self.ends_s.items() if letter not in self.reasons]
        end_s = max(ends, default=self.utterance.end_s)
        if end_s >= self.utterance.end_s:
            return self.utterance
        return replace(self.utterance, end_s=round(end_s, 6), clamped=True)


def _value(
    stage: Stage,
    context: StageContext,
    inputs: Mapping[str, Any],
    parts: Mapping[str, Any],
    later: bool,
) -> Any:
    """The stored value of a stage that needs no pictures; or `Later`."""
    known = {**parts, **inputs}
    if later and stage.many and not any(stage.name in other.needs for other in context.stages):
        return Later(tuple(known[need] for need in stage.needs))
    return context.value(stage, known)


def _heard_until_s(utterance: Utterance, waveform: Waveform, spans: SpanSettings) -> float:
    """End of the utterance or of its sound, whichever is earlier, in seconds."""
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
    clamped_by: str = "va",
) -> dict[str, Any]:
    """Stage -> value of the stages that need pictures; needs at least ``least`` pictures."""
    # Read the pictures up to that time, to find out whether they end earlier.
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
    # Report pictures that end too early first: the quality of the few left matters less.
    kept = source.clamped(utterance, clamped_by)
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
