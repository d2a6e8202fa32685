"""Sound and video of an utterance: the speaker's sound, its waveform, and the raw recording."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

from fastapi import Query
from fastapi.responses import FileResponse, Response

from fv2es_prep.config import PrepSettings
from fv2es_prep.types import Example, Waveform
from fv2es_train.browse.excerpts import LONGEST_S, Corpus
from fv2es_train.browse.sound import estimated_sound, outline_of, stored_sound, wav_of
from fv2es_train.serve.api_errors import ApiError

Id = Annotated[str, Query(alias="id", description="Utterance id.")]
_COLUMNS = 600
_KEPT_SOUNDS = 8


class _Sound(NamedTuple):
    """Sound and its origin: dataset, corpus or spectrum."""

    waveform: Waveform
    source: str


class Playing:
    """The endpoints of sound and video.

    Args:
        example_of: returns the example of an id, None if it was left out; raises ApiError.
        settings: settings of the dataset.
        corpus: its raw corpus, if given.
    """

    def __init__(
        self,
        example_of: Callable[[str], Example | None],
        settings: PrepSettings,
        corpus: Corpus | None,
    ) -> None:
        self._example_of, self._settings, self._corpus = example_of, settings, corpus
        self._sound = functools.lru_cache(_KEPT_SOUNDS)(self._read_sound)

    def told(self, id_: str, example: Example | None) -> dict[str, Any]:
        """Describe what can be played of an utterance.

        ``sound`` is whether it has any. ``video`` is null, or states whether browsers may play the
        recording itself, the span of the utterance in it, and how much of the span an encoded film
        shows (null for all).
        """
        found = self._corpus.find(id_) if self._corpus else None
        stored = example is not None and bool({"waveform", "mel"} & {*example})
        # A file of the corpus may have no sound track; the dataset states that.
        missing = example is not None and "a" in example.missing
        sound = stored or (found is not None and found.audio is not None and not missing)
        if found is None or found.video is None:
            return {"sound": sound, "video": None}
        start_s, end_s = found.utterance.start_s, found.utterance.end_s
        most_s = LONGEST_S if end_s - start_s > LONGEST_S else None
        playable = bool(found.media_type)
        video = {"is_playable": playable, "start_s": start_s, "end_s": end_s, "most_s": most_s}
        return {"sound": sound, "video": video}

    def sound(self, id_: Id) -> Response:
        """The speaker's sound as a WAV file."""
        return Response(wav_of(self._sound(id_).waveform), media_type="audio/wav")

    def waveform(self, id_: Id) -> dict[str, Any]:
        """The outline of the sound: minimum and maximum of equal parts; and its origin."""
        sound = self._sound(id_)
        outline = outline_of(sound.waveform, _COLUMNS).round(4)
        seconds = len(sound.waveform.samples) / sound.waveform.rate_hz
        return {"seconds": seconds, "source": sound.source, "outline": outline.tolist()}

    def recording(self, id_: Id) -> Response:
        """The video file of the recording; supports range requests."""
        path, media_type = self._of_corpus().file(id_)
        return FileResponse(path, media_type=media_type)

    def film(self, id_: Id) -> Response:
        """The utterance as a WebM video."""
        return FileResponse(self._of_corpus().film(id_), media_type="video/webm")

    def _of_corpus(self) -> Corpus:
        if self._corpus is None:
            raise ApiError(404, "the page has no raw corpus", "start fv2es browse with --raw")
        return self._corpus

    def _read_sound(self, id_: str) -> _Sound:
        example = self._example_of(id_)
        if example is not None and (stored := stored_sound(example, self._settings)):
            return _Sound(stored, "dataset")
        if self._corpus is not None and (heard := self._corpus.sound(id_)):
            return _Sound(heard, "corpus")
        if example is not None and (estimated := estimated_sound(example, self._settings)):
            return _Sound(estimated, "spectrum")
        raise ApiError(404, "the utterance has no sound")
