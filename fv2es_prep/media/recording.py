"""One open recording: its pictures and its sound, utterance by utterance.

Owns decoding each file once although utterances overlap.
"""

from __future__ import annotations

import contextlib
import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn, Self

from fv2es_prep.config import (
    DEFAULT_MEDIA,
    DEFAULT_SPANS,
    FrameSettings,
    MediaSettings,
    SpanSettings,
)
from fv2es_prep.errors import DropReason, MediaError, MediaKilledError, UtteranceError
from fv2es_prep.media.audio import SoundReader
from fv2es_prep.media.frame_rules import Moment, numbered_moments, thinned_moments
from fv2es_prep.media.picture_folder import PictureFolder
from fv2es_prep.media.probe import Pace, pace_of
from fv2es_prep.media.quality import Frame
from fv2es_prep.media.video import PictureReader, sample_times
from fv2es_prep.media.view import cut_view
from fv2es_prep.types import Recording, Utterance, Waveform


class NoMedia:
    """The reader of pictures or sound that the corpus does not have."""

    def __init__(self, reason: DropReason) -> None:
        self.reached_s, self.opened, self.ended, self.damaged = 0.0, False, False, False
        self._reason = reason

    def next(self, _: float) -> NoReturn:
        """Raise UtteranceError."""
        raise UtteranceError(self._reason.meaning, self._reason)

    def span(self, *_: Any) -> NoReturn:
        """Raise UtteranceError."""
        raise UtteranceError(self._reason.meaning, self._reason)

    def close(self) -> None:
        """Do nothing."""


class OpenRecording:
    """The media of some utterances of one recording, decoded once, in order of time.

    Pass the utterances ordered by start, and request them in that order; each request discards what
    the previous one did not use. Memory holds one picture, the views of overlapping utterances, and
    the current sound. ``pictures`` and ``sound`` are the readers; ``failed`` maps the letter of a
    modality (``v``, ``a``) to the error of its file.

    Raises:
        MediaError: the frame rule counts pictures, and the frame rate cannot be read.
    """

    def __init__(
        self,
        recording: Recording,
        utterances: Sequence[Utterance],
        settings: FrameSettings,
        media: MediaSettings = DEFAULT_MEDIA,
        spans: SpanSettings = DEFAULT_SPANS,
    ) -> None:
        self.recording = recording
        self.failed: dict[str, MediaError] = {}
        self._order = {utterance.id: i for i, utterance in enumerate(utterances)}
        self._utterances = utterances
        self._jpeg = settings.jpeg
        self._spans = spans
        # No recording is longer than the limit, whatever the span says.
        longest_s = media.max_duration_s + settings.interval_s
        moments_of = _rule(recording, settings, media)
        self._wanted = sorted(
            (moment.sought_s, i, moment.counted_s)
            for i, utterance in enumerate(utterances)
            for moment in moments_of(utterance.start_s, min(utterance.end_s, longest_s))
        )
        self._count = [0] * len(utterances)
        for _, i, _ in self._wanted:
            self._count[i] += 1
        self._pending: list[deque[Frame]] = [deque() for _ in utterances]
        times_s = [time_s for time_s, _, _ in self._wanted]
        # Square crops lie in the middle rows: other rows need not leave the decoder, unless
        # pictures are halved first.
        sides = {u.view.crop_px if u.view.max_lines is None else None for u in utterances}
        rows = sides.pop() if len(sides) == 1 else None
        self.pictures: PictureReader | PictureFolder | NoMedia = NoMedia(DropReason.NO_VIDEO)
        if recording.video is not None:
            self.pictures = (
                PictureFolder(recording.video, recording.pictures, times_s, media)
                if recording.pictures
                else PictureReader(recording.video, times_s, media, rows)
            )
        self.sound: SoundReader | NoMedia = NoMedia(DropReason.NO_AUDIO)
        if recording.audio is not None:
            self.sound = SoundReader(recording.audio, media)

    def frames(self, utterance: Utterance) -> Iterator[Frame]:
        """The speaker's view, uint8 (H, W, 3), and time in seconds of each sampled picture.

        Args:
            utterance: one of the given ones; it may end earlier than given.

        Raises:
            MediaError: the file holds no picture, or none can be decoded.
            UtteranceError: the corpus has no picture.
        """
        present = self._order[utterance.id]
        for passed in range(present):
            self._pending[passed].clear()
        for _ in range(self._count[present]):
            while not self._pending[present]:
                if not self._advance(present):
                    return
            time_s, rgb = self._pending[present].popleft()
            if time_s >= round(utterance.end_s, 6):
                break
            yield time_s, rgb
        # Read on until the pictures are known to last to the end of the span.
        while self._advance(present, utterance.end_s - self._spans.tolerance_s):
            pass

    def waveform(self, utterance: Utterance) -> Waveform:
        """The speaker's sound over the span; see `SoundReader.span`."""
        channel = utterance.view.audio_channel
        with self._remembered("a"):
            return self.sound.span(utterance.start_s, utterance.end_s, channel)

    @contextlib.contextmanager
    def _remembered(self, letter: str) -> Iterator[None]:
        """Raise the same error again for a file that failed, unless its decoder was killed."""
        if letter in self.failed:
            raise self.failed[letter]
        try:
            yield
        except MediaKilledError:
            raise
        except MediaError as error:
            self.failed[letter] = error
            raise

    def clamped(self, utterance: Utterance, modalities: str = "va") -> Utterance:
        """The utterance, clamped to the media read so far; see `SpanSettings`.

        Raises:
            UtteranceError: too little of the span is left.
        """
        sources = (("v", "picture", self.pictures), ("a", "sound", self.sound))
        ends = [
            (source.reached_s, name, source.damaged)
            for letter, name, source in sources
            if source.ended and letter in modalities
        ]
        end_s, name, damaged = min(ends, default=(math.inf, "", False))
        if utterance.end_s <= end_s + self._spans.tolerance_s:
            return utterance
        kept = utterance.within(0, round(end_s, 6), self._spans.min_left)
        if kept is None:
            raise UtteranceError(
                f"its span is {utterance.start_s:g} s to {utterance.end_s:g} s, and the {name} "
                f"ends at {end_s:.3f} s" + (", where the file is damaged" if damaged else ""),
                DropReason.SPAN_OUTSIDE_MEDIA,
            )
        return kept

    def _advance(self, present: int, until_s: float = math.inf) -> bool:
        """Store the next picture for its utterance; False at the end or at ``until_s``."""
        with self._remembered("v"):
            following = self.pictures.next(until_s)
        if following is None:
            return False
        position, rgb = following
        _, owner, time_s = self._wanted[position]
        if owner >= present:
            view = self._utterances[owner].view
            self._pending[owner].append((time_s, cut_view(rgb, view, self._jpeg)))
        return True

    def close(self) -> None:
        """Stop both decoders."""
        self.pictures.close()
        self.sound.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _rule(
    recording: Recording, settings: FrameSettings, media: MediaSettings
) -> Callable[[float, float], list[Moment]]:
    if settings.rule == "time":
        return lambda start_s, end_s: [
            Moment(time_s, time_s) for time_s in sample_times(start_s, end_s, settings.interval_s)
        ]
    count = {"numbered": numbered_moments, "thinned": thinned_moments}[settings.rule]
    files = recording.pictures
    if files is not None:
        rate_hz, first_s = files.rate_hz, files.first_s or 0.0
    else:
        rate_hz, first_s = Pace() if recording.video is None else pace_of(recording.video, media)
    return lambda start_s, end_s: count(start_s, end_s, settings.step, rate_hz, first_s)
