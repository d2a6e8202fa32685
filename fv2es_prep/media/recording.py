"""One recording held open: its pictures and its sound, handed out utterance by utterance.

Owns reading each file once although utterances overlap. Leaves to the stages what is made of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Self

from fv2es_prep.media.audio import SoundReader
from fv2es_prep.media.video import cut_view, frames_at, sample_times
from fv2es_prep.settings import FrameSettings
from fv2es_prep.types import Recording, Utterance, Waveform

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Frame = tuple[float, "NDArray[np.uint8]"]


class OpenRecording:
    """The media of some utterances of one recording, decoded once, in order of time.

    Ask for the utterances in the given order; what an utterance does not take is gone when the
    next one is asked for. Memory holds one picture, the views of utterances that overlap with
    the present one, and the present one's sound.

    Args:
        recording: the files.
        utterances: ordered by start.
        settings: which pictures are sampled.
    """

    def __init__(
        self, recording: Recording, utterances: Sequence[Utterance], settings: FrameSettings
    ) -> None:
        self.recording = recording
        self._order = {utterance.id: i for i, utterance in enumerate(utterances)}
        self._utterances = utterances
        self._wanted = sorted(
            (time_s, i)
            for i, utterance in enumerate(utterances)
            for time_s in sample_times(utterance.start_s, utterance.end_s, settings.interval_s)
        )
        self._count = [0] * len(utterances)
        for _, i in self._wanted:
            self._count[i] += 1
        self._pending: list[deque[Frame]] = [deque() for _ in utterances]
        self._pictures = frames_at(recording.video, [time_s for time_s, _ in self._wanted])
        self._sound = SoundReader(recording.audio)

    def frames(self, utterance: Utterance) -> Iterator[Frame]:
        """The speaker's view at each sampled moment that has a picture.

        Yields:
            (time in seconds, uint8 (H, W, 3)).

        Raises:
            MediaError: the file holds no picture or cannot be decoded at all.
        """
        present = self._order[utterance.id]
        for passed in range(present):
            self._pending[passed].clear()
        for _ in range(self._count[present]):
            while not self._pending[present]:
                if not self._advance(present):
                    return
            yield self._pending[present].popleft()

    def waveform(self, utterance: Utterance) -> Waveform:
        """The speaker's sound over the span; see `SoundReader.span`."""
        channel = utterance.view.audio_channel
        return self._sound.span(utterance.start_s, utterance.end_s, channel)

    def _advance(self, present: int) -> bool:
        """Put the next picture where it belongs; False at the end of the file."""
        following = next(self._pictures, None)
        if following is None:
            return False
        position, rgb = following
        time_s, owner = self._wanted[position]
        if owner >= present:
            view = self._utterances[owner].view
            self._pending[owner].append((time_s, cut_view(rgb, view)))
        return True

    def close(self) -> None:
        """Stop both decoders."""
        self._pictures.close()
        self._sound.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
