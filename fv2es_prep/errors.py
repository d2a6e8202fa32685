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
        ├── TokenizerError     a tokenizer or pretrained encoder cannot be loaded
        ├── ShardError         a shard or an index is damaged, foreign or of a newer format
        ├── OutputError        an output file or directory cannot be written
        ├── StoreError         an object store cannot be reached, read or written
        ├── ExecutorError      an executor is unreachable or runs another version
        └── TrainError         training or evaluation cannot continue
            └── StoppedError       a signal stopped it; its state is saved
                └── OutOfTimeError     SIGUSR1: the time of its batch job is nearly over
"""

from __future__ import annotations

from enum import StrEnum
from typing import Self

# What h5py, NumPy and json raise on a damaged file; the type depends on the damaged place.
DAMAGE = (
    OSError,
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    RuntimeError,
    ArithmeticError,
    MemoryError,
    SystemError,
)


class DropReason(StrEnum):
    """Why a part of the corpus did not become an example; the value is the stored code."""

    meaning: str

    def __new__(cls, code: str, meaning: str = "") -> Self:
        """Make the member of a code; ``meaning`` is the sentence that documents it."""
        member = str.__new__(cls, code)
        member._value_, member.meaning = code, meaning
        return member

    LABEL_NOT_CHOSEN = "label_not_chosen", "none of its labels is a chosen class"
    NO_LABEL = "no_label", "it has a transcript but no label"
    NO_TRANSCRIPT = "no_transcript", "it has no transcript"
    NO_ID = "no_id", "the transcript line has no utterance id"
    BAD_LINE = "bad_line", "the line of the label or transcript file cannot be parsed"
    BAD_SPAN = "bad_span", "its end is not after its start, or a time is not finite"
    DUPLICATE_ID = "duplicate_id", "duplicate id; the first occurrence is kept"
    NOT_A_RECORDING = (
        "not_a_recording",
        "the file is not a recording, e.g. an AppleDouble file `._*`",
    )
    LABELS_MISSING = "labels_missing", "the recording has no label file"
    TRANSCRIPT_MISSING = "transcript_missing", "the recording has no transcript file"
    VIDEO_MISSING = "video_missing", "the recording has no video file"
    AUDIO_MISSING = "audio_missing", "the recording has no audio file"
    NO_VIDEO_STREAM = "no_video_stream", "the file holds no picture"
    NO_AUDIO_STREAM = "no_audio_stream", "the file holds no sound"
    UNDECODABLE_VIDEO = "undecodable_video", "the picture cannot be decoded"
    UNDECODABLE_AUDIO = "undecodable_audio", "the sound cannot be decoded"
    NO_FRAME_IN_SPAN = "no_frame_in_span", "its span contains no picture"
    NO_AUDIO_IN_SPAN = "no_audio_in_span", "its span contains too little sound for a spectrum"
    NOT_A_FILE = "not_a_file", "the path is a directory, a pipe, a device or a dead link"
    UNREADABLE_FILE = "unreadable_file", "the file cannot be read"
    CHANGED_WHILE_READ = "changed_while_read", "its file changed during every attempt to read it"
    CHANNEL_MISSING = "channel_missing", "the sound lacks the speaker's channel"
    SPAN_OUTSIDE_MEDIA = (
        "span_outside_media",
        "too little of its span lies within the media (spans.min_left)",
    )
    SILENT_AUDIO = "silent_audio", "its sound does not exceed quality.silent_level"
    BLACK_PICTURE = "black_picture", "its sampled pictures do not exceed quality.black_level"
    FROZEN_PICTURE = (
        "frozen_picture",
        "its sampled pictures are all equal (quality.frozen_pictures)",
    )
    TIME_LIMIT = "time_limit", "decoding exceeded the limit (media.stall_s, media.time_factor)"
    TOO_MANY_PIXELS = "too_many_pixels", "its pictures exceed media.max_pixels"
    TOO_LONG = "too_long", "the recording exceeds media.max_duration_s"
    NO_VIDEO = "no_video", "the corpus has no picture of it"
    NO_AUDIO = "no_audio", "the corpus has no sound of it"
    NO_FACE = "no_face", "no face was detected in its sampled pictures"
    EXCLUDED = "excluded", "a person marked it as `exclude` (`fv2es prep --exclude`)"
    WORKER_DIED = "worker_died", "worker processes died on its shard at every attempt"

    @property
    def fails_recording(self) -> bool:
        """Whether the recording could not be read, as opposed to its annotation."""
        return self in _FAILS_RECORDING


_FAILS_RECORDING = {
    DropReason.NO_VIDEO_STREAM,
    DropReason.NO_AUDIO_STREAM,
    DropReason.UNDECODABLE_VIDEO,
    DropReason.UNDECODABLE_AUDIO,
    DropReason.NOT_A_FILE,
    DropReason.UNREADABLE_FILE,
    DropReason.CHANGED_WHILE_READ,
    DropReason.CHANNEL_MISSING,
    DropReason.TIME_LIMIT,
    DropReason.TOO_MANY_PIXELS,
    DropReason.TOO_LONG,
    DropReason.WORKER_DIED,
}


_LONGEST, _LONGEST_QUOTED = 500, 200


def one_sentence(text: str, most: int = _LONGEST) -> str:
    """Put a text on one line of printable characters; cut the middle to ``most`` characters."""
    # A quoted text may be as long as a file and may contain control codes of a terminal.
    line = " ".join(_cut(text, 4 * most).splitlines())
    return _cut("".join(map(_printable, line)), most)


def _cut(text: str, most: int) -> str:
    if len(text) <= most:
        return text
    head = most * 3 // 5
    return f"{text[:head]} … {text[head + 3 - most :]}"


def _printable(character: str) -> str:
    return character if character.isprintable() else ascii(character)[1:-1]


class Fv2esError(Exception):
    """Base of all errors raised on purpose.

    Args:
        sentence: what is wrong, in which file or utterance, what was found and expected; see
            `one_sentence`.
        hint: what to do; may be empty.
    """

    exit_status = 1

    def __init__(self, sentence: str, hint: str = "") -> None:
        self.sentence = one_sentence(sentence)
        self.hint = hint
        super().__init__(self.sentence, hint)

    def __str__(self) -> str:
        return f"{self.sentence}\nhint: {self.hint}" if self.hint else self.sentence


def words_of(error: BaseException) -> str:
    """Return an error's message without paths, for use in a sentence; see `one_sentence`."""
    said = error.sentence if isinstance(error, Fv2esError) else str(error)
    if isinstance(error, OSError) and error.strerror:
        said = error.strerror
    return one_sentence(said, _LONGEST_QUOTED) or type(error).__name__


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
        self.args = (self.sentence, reason, hint)
        self.reason = DropReason(reason)


class MediaError(_ReasonedError):
    """A media file cannot be read; its utterances are dropped for ``reason``."""


class MediaKilledError(MediaError):
    """The decoder of a media file was killed from outside; the file may be fine."""


class UtteranceError(_ReasonedError):
    """One utterance cannot be prepared; it alone is dropped for ``reason``."""


class TokenizerError(WorkError):
    """A tokenizer or pretrained encoder cannot be loaded."""


REBUILD_HINT = "run the same `fv2es prep` command again; it rebuilds damaged shards"


class ShardError(WorkError):
    """A shard or an index is damaged, foreign or of a newer format."""


class OutputError(WorkError):
    """An output file or directory cannot be written."""


class StoreError(WorkError):
    """An object store cannot be reached, read or written."""


class ExecutorError(WorkError):
    """An executor is unreachable or runs another version."""


class TrainError(WorkError):
    """Training or evaluation cannot continue."""


class StoppedError(TrainError):
    """A signal stopped a training; its state is saved."""


class OutOfTimeError(StoppedError):
    """SIGUSR1 stopped a training because the time of its batch job is nearly over."""
