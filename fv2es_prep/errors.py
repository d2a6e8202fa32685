"""Every error that fv2es raises on purpose, and every reason to drop an utterance.

::

    Fv2esError                 a sentence, and a hint with what to do
    ├── UsageError             the command was given something wrong (exit status 2)
    │   ├── CorpusError        a raw corpus is not there or not laid out as its adapter expects
    │   ├── SplitError         a split manifest is damaged or does not fit the shards
    │   └── SettingsError      a setting is out of range or contradicts another
    └── WorkError              the work itself failed (exit status 1)
        ├── MediaError         a media file cannot be read; carries a DropReason
        │   └── MediaKilledError   its decoder was killed from outside: worth another try
        ├── UtteranceError     one utterance cannot be prepared; carries a DropReason
        ├── TokenizerError     a tokenizer or text encoder cannot be loaded
        ├── ShardError         a shard or an index is damaged, foreign or from the future
        ├── OutputError        a place to write to cannot be written
        ├── ExecutorError      the place where tasks run is unreachable or runs another version
        ├── WorkerDiedError    a worker process died several times over one task
        └── TrainError         training or evaluation cannot go on
"""

from __future__ import annotations

from enum import StrEnum


class DropReason(StrEnum):
    """Why something of the corpus did not become an example; the value is the stored code."""

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
        """One sentence of documentation for this code."""
        return _MEANINGS[self]

    @property
    def fails_recording(self) -> bool:
        """Whether it is the recording that could not be read, and not its annotation."""
        return self in _FAILS_RECORDING


_MEANINGS: dict[DropReason, str] = {
    DropReason.LABEL_NOT_CHOSEN: "its label is none of the chosen classes",
    DropReason.NO_LABEL: "there is a transcript but no label for it",
    DropReason.NO_TRANSCRIPT: "there is a label or a video but no transcript for it",
    DropReason.NO_ID: "the transcript line has no utterance id",
    DropReason.BAD_LINE: "the line of the label or transcript file could not be understood",
    DropReason.BAD_SPAN: "its end is not after its start, or a time is not a finite number",
    DropReason.DUPLICATE_ID: "the id occurred before; the first occurrence is kept",
    DropReason.NOT_A_RECORDING: "the file is a leftover such as AppleDouble `._*`, no recording",
    DropReason.LABELS_MISSING: "the recording has no label file",
    DropReason.TRANSCRIPT_MISSING: "the recording has no transcript file",
    DropReason.VIDEO_MISSING: "the recording has no video file",
    DropReason.AUDIO_MISSING: "the recording has no audio file",
    DropReason.NO_VIDEO_STREAM: "the file holds no picture",
    DropReason.NO_AUDIO_STREAM: "the file holds no sound",
    DropReason.UNDECODABLE_VIDEO: "the picture could not be decoded",
    DropReason.UNDECODABLE_AUDIO: "the sound could not be decoded",
    DropReason.NO_FRAME_IN_SPAN: "no picture was on screen in its span",
    DropReason.NO_AUDIO_IN_SPAN: "there was too little sound in its span for one spectrum",
    DropReason.NOT_A_FILE: "what has its name is a directory, a pipe, a device or a dead link",
    DropReason.UNREADABLE_FILE: "the file may not be read, or reading it failed",
    DropReason.CHANNEL_MISSING: "the sound has no channel of the speaker's number",
    DropReason.SPAN_OUTSIDE_MEDIA: "too little of its span lies within the media (spans.min_left)",
    DropReason.SILENT_AUDIO: "no sound in its span is louder than quality.silent_level",
    DropReason.BLACK_PICTURE: "no sampled picture is brighter than quality.black_level",
    DropReason.FROZEN_PICTURE: "all sampled pictures are the same (quality.frozen_pictures)",
    DropReason.TIME_LIMIT: "decoding took longer than media.stall_s and media.time_factor allow",
    DropReason.TOO_MANY_PIXELS: "its pictures are larger than media.max_pixels",
    DropReason.TOO_LONG: "the recording is longer than media.max_duration_s",
    DropReason.WORKER_DIED: "the worker process died on its shard, each time that it was tried",
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
        sentence: what is wrong, with which file or utterance, what was found and expected.
        hint: what to do about it; may be empty.
    """

    exit_status = 1

    def __init__(self, sentence: str, hint: str = "") -> None:
        super().__init__(sentence, hint)
        self.sentence = sentence
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.sentence}\nhint: {self.hint}" if self.hint else self.sentence


class UsageError(Fv2esError):
    """The command was given something wrong."""

    exit_status = 2


class CorpusError(UsageError):
    """A raw corpus is not there or not laid out as its adapter expects."""


class SplitError(UsageError):
    """A split manifest is damaged or does not fit the shards."""


class SettingsError(UsageError):
    """A setting is out of range or contradicts another."""


class WorkError(Fv2esError):
    """The work itself failed."""


class _ReasonedError(WorkError):
    def __init__(self, sentence: str, reason: DropReason, hint: str = "") -> None:
        super().__init__(sentence, hint)
        # Exceptions cross process borders by pickling their args.
        self.args = (sentence, reason, hint)
        self.reason = reason


class MediaError(_ReasonedError):
    """A media file cannot be read; the utterances in it are dropped for ``reason``."""


class MediaKilledError(MediaError):
    """The decoder of a media file was killed from outside, which says nothing of the file."""


class UtteranceError(_ReasonedError):
    """One utterance cannot be prepared; it alone is dropped for ``reason``."""


class TokenizerError(WorkError):
    """A tokenizer or text encoder cannot be loaded."""


REBUILD_HINT = "run the `fv2es prep` command that made it again; it rebuilds what is damaged"


class ShardError(WorkError):
    """A shard or an index is damaged, foreign or from the future."""


class OutputError(WorkError):
    """A place to write to cannot be written."""


class ExecutorError(WorkError):
    """The place where tasks run is unreachable or runs another version."""


class WorkerDiedError(WorkError):
    """A worker process died several times over one task."""


class TrainError(WorkError):
    """Training or evaluation cannot go on."""
