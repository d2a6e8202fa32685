"""The corpus behind a dataset: the file of a recording, and excerpts of it that browsers play.

Owns the check of which files may be read: recordings of the corpus, below its directory.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from fv2es_prep.corpora import scan_again
from fv2es_prep.errors import MediaError, OutputError, UsageError, UtteranceError
from fv2es_prep.shards.index import Index
from fv2es_prep.types import Utterance, Waveform
from fv2es_prep.utils.files import refuse_url, why_unreadable
from fv2es_train.predict.uploads import make_preview, read_sound
from fv2es_train.serve.api_errors import ApiError

# Videos that browsers may play; a browser gets an encoded excerpt of any other.
_TYPES = {
    **dict.fromkeys((".mp4", ".m4v", ".mov"), "video/mp4"),
    ".webm": "video/webm",
    ".ogv": "video/ogg",
}
LONGEST_S = 120.0
_KEPT = 32
_PATIENCE_S = 30.0
_STALL_S, _TIME_FACTOR = 20.0, 2.0


@dataclass(frozen=True)
class Excerpt:
    """An utterance in the corpus, its files, and the media type of the video if browsers play it.

    Attributes:
        video: None if there is none, or if the pictures are files of a folder.
        media_type: empty if the video needs encoding, or if its sound is a separate file.
    """

    utterance: Utterance
    video: Path | None
    audio: Path | None
    media_type: str = ""


class Corpus:
    """A raw corpus, read once; it encodes one excerpt at a time, and keeps it in a directory.

    Args:
        raw: the corpus.
        index: index of the dataset made from it.
        folder: private directory for encoded excerpts.

    Raises:
        UsageError: the corpus is in an object store, or the dataset is merged.
        CorpusError: the corpus does not exist or has an unexpected layout.
    """

    def __init__(self, raw: Path, index: Index, folder: Path) -> None:
        refuse_url(raw)
        if index.merged:
            raise UsageError(
                f"the dataset is a merge of {len(index.merged)} datasets, but --raw is one corpus",
                "browse the dataset of one corpus, or remove --raw",
            )
        found = scan_again(index.corpus, raw, index.label_classes, index.settings.corpus)
        self._root = (raw if raw.is_dir() else raw.parent).resolve()
        self._recordings = {recording.id: recording for recording in found.recordings}
        self._utterances = {utterance.id: utterance for utterance in found.utterances}
        self._media = replace(index.settings.media, stall_s=_STALL_S, time_factor=_TIME_FACTOR)
        self._folder, self._encoding = folder, threading.Lock()
        self._films: OrderedDict[str, Path | ApiError] = OrderedDict()
        self._numbers = itertools.count()

    def find(self, id_: str) -> Excerpt | None:
        """Find an utterance; None if the corpus lacks it, or has only its words."""
        utterance = self._utterances.get(id_)
        recording = self._recordings.get(utterance.recording_id) if utterance else None
        if utterance is None or recording is None:
            return None
        audio, video = recording.audio, None if recording.pictures else recording.video
        if video is None or audio not in (None, video):
            return Excerpt(utterance, video, audio) if video or audio else None
        return Excerpt(utterance, video, audio, _TYPES.get(video.suffix.lower(), ""))

    def file(self, id_: str) -> tuple[Path, str]:
        """The video file of an utterance's recording and its media type.

        Raises:
            ApiError: browsers cannot play the file, or it may not be read.
        """
        excerpt, video = self._filmed(id_)
        if not excerpt.media_type:
            raise ApiError(404, "the recording is not a single file that browsers play")
        return self._allowed(video), excerpt.media_type

    def film(self, id_: str) -> Path:
        """A WebM file of an utterance, at most `LONGEST_S` long.

        Raises:
            ApiError: it cannot be decoded or encoded, or the encoder is busy.
        """
        excerpt, video = self._filmed(id_)
        if not self._encoding.acquire(timeout=_PATIENCE_S):
            raise ApiError(503, "the encoder is busy with other excerpts", "try again in a moment")
        try:
            if id_ not in self._films:
                self._films[id_] = self._encode(excerpt, video)
                if len(self._films) > _KEPT:
                    _, oldest = self._films.popitem(last=False)
                    if isinstance(oldest, Path):
                        oldest.unlink(missing_ok=True)
            film = self._films[id_]
        finally:
            self._encoding.release()
        if isinstance(film, ApiError):
            raise film
        return film

    def sound(self, id_: str) -> Waveform | None:
        """The speaker's sound of an utterance as it is prepared; None if the corpus has none.

        Raises:
            ApiError: it cannot be decoded.
        """
        excerpt = self.find(id_)
        if excerpt is None or excerpt.audio is None:
            return None
        path, utterance = self._allowed(excerpt.audio), excerpt.utterance
        with _told():
            return read_sound(path, _span(utterance), utterance.view.audio_channel, self._media)

    def _encode(self, excerpt: Excerpt, video: Path) -> Path | ApiError:
        out = self._folder / f"{next(self._numbers)}.webm"
        try:
            video, sound = self._allowed(video), excerpt.audio and self._allowed(excerpt.audio)
            with _told():
                return make_preview(video, out, self._media, sound, span=_span(excerpt.utterance))
        except ApiError as error:
            return error

    def _filmed(self, id_: str) -> tuple[Excerpt, Path]:
        found = self.find(id_)
        if found is None or found.video is None:
            raise ApiError(404, "the corpus has no video of the utterance")
        return found, found.video

    def _allowed(self, path: Path) -> Path:
        """Resolve a path of the corpus; reject files outside its directory, and devices."""
        whole = path.resolve()
        if not whole.is_relative_to(self._root):
            sentence = f"{path.name} is outside the directory of the corpus"
            raise ApiError(403, sentence, "pass --raw with the directory that contains the file")
        if problem := why_unreadable(whole):
            raise ApiError(404, problem[1])
        return whole


def _span(utterance: Utterance) -> tuple[float, float]:
    return utterance.start_s, min(utterance.end_s, utterance.start_s + LONGEST_S)


@contextlib.contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except (MediaError, UtteranceError, OutputError) as error:
        raise ApiError(422, error.sentence, error.hint) from error
