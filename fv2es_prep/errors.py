"""Every error that fv2es raises on purpose, and every reason to drop an utterance.

::

    Fv2esError                 a sentence, and a hint that says what to do
    ├── UsageError             invalid arguments or input (exit status 2)
    │   ├── CorpusError        a raw corpus is missing or has an unexpected layout
    │   ├── SplitError         a split manifest is damaged or does not match the shards
    │   └── SettingsError      a setting is out of range or contradicts another
    └── WorkError              the work itself failed (exit status 1)
        ├── MediaError         a media file cannot be read; carries a DropReason
        │   └── MediaKilledError   the decoder was killed from outside: retry
        ├── UtteranceError     one utterance cannot be prepared; carries a DropReason
        ├── TokenizerError     a tokenizer or text encoder cannot be loaded
        ├── ShardError         a shard or an index is damaged, foreign or of a newer format
        ├── OutputError        an output file or directory cannot be written
        ├── ExecutorError      an executor is unreachable or runs another version
        └── TrainError         training or evaluation cannot continue
"""

from __future__ import annotations

from enum import StrEnum


class DropReason(StrEnum):
    """Why a part of the corpus did not become an example; the value is the stored code."""

    LABEL_NOT_CHOSEN = "label_not_chosen"
    NO_LABEL = "no_label"
    NO_TRANSCRIPT = "no_transcript"
    NO_ID = "no_id"
    BAD_LINE = "bad_line"
    BAD_SPAN = "bad_span"
    DUPLICATE_ID = "duplicate_id"
    NOT_A_RECORDING = "not_a_recording"
    LABELS_MISSING = "labels_missing"
    TRANSCRIPT_MISSING = "transcript_missing"
    VIDEO_MISSING = "video_missing"
    AUDIO_MISSING = "audio_missing"
    NO_VIDEO_STREAM = "no_video_stream"
    NO_AUDIO_STREAM = "no_audio_stream"
    UNDECODABLE_VIDEO = "undecodable_video"
    UNDECODABLE_AUDIO = "undecodable_audio"
    NO_FRAME_IN_SPAN = "no_frame_in_span"
    NO_AUDIO_IN_SPAN = "no_audio_in_span"
    NOT_A_FILE = "not_a_file"
    UNREADABLE_FILE = "unreadable_file"
    CHANNEL_MISSING = "channel_missing"
    SPAN_OUTSIDE_MEDIA = "span_outside_media"
    SILENT_AUDIO = "silent_audio"
    BLACK_PICTURE = "black_picture"
    FROZEN_PICTURE = "frozen_picture"
    TIME_LIMIT = "time_limit"
    TOO_MANY_PIXELS = "too_many_pixels"
    TOO_LONG = "too_long"
    WORKER_DIED = "worker_died"

    @property
    def meaning(self) -> str:
        """One sentence that documents this code."""
        return _MEANINGS[self]

    @property
    def fails_recording(self) -> bool:
        """Whether the recording could not be read, as opposed to its annotation."""
        return self in _FAILS_RECORDING


_MEANINGS: dict[DropReason, str] = {
    DropReason.LABEL_NOT_CHOSEN: "none of its labels is a chosen class",
    DropReason.NO_LABEL: "it has a transcript but no label",
    DropReason.NO_TRANSCRIPT: "it has a label or a video but no transcript",
    DropReason.NO_ID: "the transcript line has no utterance id",
    DropReason.BAD_LINE: "the line of the label or transcript file cannot be parsed",
    DropReason.BAD_SPAN: "its end is not after its start, or a time is not finite",
    DropReason.DUPLICATE_ID: "duplicate id; the first occurrence is kept",
    DropReason.NOT_A_RECORDING: "the file is not a recording, e.g. an AppleDouble file `._*`",
    DropReason.LABELS_MISSING: "the recording has no label file",
    DropReason.TRANSCRIPT_MISSING: "the recording has no transcript file",
    DropReason.VIDEO_MISSING: "the recording has no video file",
    DropReason.AUDIO_MISSING: "the recording has no audio file",
    DropReason.NO_VIDEO_STREAM: "the file holds no picture",
    DropReason.NO_AUDIO_STREAM: "the file holds no sound",
    DropReason.UNDECODABLE_VIDEO: "the picture cannot be decoded",
    DropReason.UNDECODABLE_AUDIO: "the sound cannot be decoded",
    DropReason.NO_FRAME_IN_SPAN: "its span contains no picture",
    DropReason.NO_AUDIO_IN_SPAN: "its span contains too little sound for a spectrum",
    DropReason.NOT_A_FILE: "the path is a directory, a pipe, a device or a dead link",
    DropReason.UNREADABLE_FILE: "the file cannot be read",
    DropReason.CHANNEL_MISSING: "the sound lacks the speaker's channel",
    DropReason.SPAN_OUTSIDE_MEDIA: "too little of its span lies within the media (spans.min_left)",
    DropReason.SILENT_AUDIO: "its sound does not exceed quality.silent_level",
    DropReason.BLACK_PICTURE: "its sampled pictures do not exceed quality.black_level",
    DropReason.FROZEN_PICTURE: "its sampled pictures are all equal (quality.frozen_pictures)",
    DropReason.TIME_LIMIT: "decoding exceeded the limit (media.stall_s, media.time_factor)",
    DropReason.TOO_MANY_PIXELS: "its pictures exceed media.max_pixels",
    DropReason.TOO_LONG: "the recording exceeds media.max_duration_s",
    DropReason.WORKER_DIED: "worker processes died on its shard at every attempt",
}

_FAILS_RECORDING = {
    DropReason.NO_VIDEO_STREAM,
    DropReason.NO_AUDIO_STREAM,
    DropReason.UNDECODABLE_VIDEO,
    DropReason.UNDECODABLE_AUDIO,
    DropReason.NOT_A_FILE,
    DropReason.UNREADABLE_FILE,
    DropReason.CHANNEL_MISSING,
    DropReason.TIME_LIMIT,
    DropReason.TOO_MANY_PIXELS,
    DropReason.TOO_LONG,
    DropReason.WORKER_DIED,
}


class Fv2esError(Exception):
    """Base of all errors raised on purpose.

    Args:
        sentence: what is wrong, in which file or utterance, what was found and expected.
        hint: what to do; may be empty.
    """

    exit_status = 1

    def __init__(self, sentence: str, hint: str = "") -> None:
        super().__init__(sentence, hint)
        self.sentence = sentence
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.sentence}\nhint: {self.hint}" if self.hint else self.sentence


class UsageError(Fv2esError):
    """Invalid arguments or input."""

    exit_status = 2


class CorpusError(UsageError):
    """A raw corpus is missing or has an unexpected layout."""


class SplitError(UsageError):
    """A split manifest is damaged or does not match the shards."""


class SettingsError(UsageError):
    """A setting is out of range or contradicts another."""


class WorkError(Fv2esError):
    """The work itself failed."""


class _ReasonedError(WorkError):
    def __init__(self, sentence: str, reason: DropReason, hint: str = "") -> None:
        super().__init__(sentence, hint)
        # Exceptions cross process borders by pickling their args.
        self.args = (sentence, reason, hint)
        self.reason = DropReason(reason)


class MediaError(_ReasonedError):
    """A media file cannot be read; its utterances are dropped for ``reason``."""


class MediaKilledError(MediaError):
    """The decoder of a media file was killed from outside; the file may be fine."""


class UtteranceError(_ReasonedError):
    """One utterance cannot be prepared; it alone is dropped for ``reason``."""


class TokenizerError(WorkError):
    """A tokenizer or text encoder cannot be loaded."""


REBUILD_HINT = "run the same `fv2es prep` command again; it rebuilds damaged shards"


class ShardError(WorkError):
    """A shard or an index is damaged, foreign or of a newer format."""


class OutputError(WorkError):
    """An output file or directory cannot be written."""


class ExecutorError(WorkError):
    """An executor is unreachable or runs another version."""


class TrainError(WorkError):
    """Training or evaluation cannot continue."""
