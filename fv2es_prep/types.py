"""The words of fv2es as values: what a corpus, a recording, an utterance and an example are.

Owns the frozen dataclasses that travel between stages; construction refuses wrong shapes.
Leaves to others how they are made (corpora, media, example) and where they are kept (shards).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from fv2es_prep.errors import DropReason

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Half = Literal["left", "right", "full"]


def plain_text(text: str) -> str:
    r"""The text as every file of ours can hold it.

    NUL becomes U+FFFD; a byte of a file's name that is no UTF-8 becomes ``\xff``.
    """
    whole = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return whole.replace("\0", "\N{REPLACEMENT CHARACTER}")


@dataclass(frozen=True)
class View:
    """Which part of a recording is the speaker's.

    Attributes:
        half: the half of the picture, split at ``width // 2``; ``full`` takes all of it.
        crop_px: side in pixels of the square cut from the centre of that half; None keeps it all.
        audio_channel: index of the audio channel; None averages all channels.
        max_lines: the half is halved in width and height until it has no more lines than these,
            before the square is cut; None leaves it as it is.
        halve_once: it is halved once at most, so that it may keep more lines.
    """

    half: Half = "full"
    crop_px: int | None = None
    audio_channel: int | None = None
    max_lines: int | None = None
    halve_once: bool = False


@dataclass(frozen=True)
class PictureFiles:
    """How a recording's pictures lie in a folder as ``<prefix><number>.jpg``.

    Attributes:
        prefix: what the names begin with, e.g. ``image_L_``.
        rate_hz: pictures a second.
        first_s: when picture 0 came on screen, in seconds from the recording's beginning; None
            where that is not known: it is taken for 0 and may be up to one picture earlier.
    """

    prefix: str
    rate_hz: float
    first_s: float | None = None


@dataclass(frozen=True)
class Recording:
    """One source video with its sound.

    Attributes:
        id: unique name within the corpus.
        video: path of the file that holds the picture, or of the folder of ``pictures``.
        audio: path of the file that holds the sound (may be the same file).
        pictures: how the pictures lie in the folder; None where there is a video file.
    """

    id: str
    video: Path
    audio: Path
    pictures: PictureFiles | None = None


@dataclass(frozen=True)
class Utterance:
    """One speaker's labelled time span in a recording.

    Attributes:
        id: unique name within the corpus.
        recording_id: the recording that holds it.
        start_s: start in seconds from the beginning of the recording.
        end_s: end in seconds, after ``start_s``.
        transcript: the words as the corpus has them.
        labels: names of the emotion classes that hold, in corpus words.
        speaker: unique name of the speaker within the corpus.
        session: name of the group of recordings made together, or an empty string.
        view: where the speaker is to be seen and heard.
        ratings: values such as valence; their names are the inventory's ``rating_names``.
        clamped: whether the span was cut to lie within the media.
    """

    id: str
    recording_id: str
    start_s: float
    end_s: float
    transcript: str
    labels: tuple[str, ...]
    speaker: str = ""
    session: str = ""
    view: View = View()
    ratings: tuple[float, ...] = ()
    clamped: bool = False

    @property
    def duration_s(self) -> float:
        """Length of the span in seconds."""
        return self.end_s - self.start_s

    def within(self, begin_s: float, end_s: float, min_left: float) -> Utterance | None:
        """The utterance with its span cut to lie within the media; see `SpanSettings`.

        Args:
            begin_s: where the media begin.
            end_s: where they end.
            min_left: share of the span that must be left.

        Returns:
            The same utterance where nothing is cut, and None where too little would be left.
        """
        start_s, end_s = max(self.start_s, begin_s), min(self.end_s, end_s)
        if (start_s, end_s) == (self.start_s, self.end_s):
            return self
        if end_s <= start_s or end_s - start_s < min_left * self.duration_s:
            return None
        return replace(self, start_s=start_s, end_s=end_s, clamped=True)


@dataclass(frozen=True)
class Dropped:
    """Something of the corpus that does not become an example, and why.

    Attributes:
        id: the utterance's id, or the name of the file or line where there is no id.
        reason: the code from the documented list.
        sentence: what was found, in words.
        file: name of the file concerned, relative to the corpus.
        recording_id: its recording, where known.
        start_s: start of its span in seconds, where known.
        end_s: end of its span in seconds, where known.
        origin: digest of what it was to be made from, where it was tried.
    """

    id: str
    reason: DropReason
    sentence: str
    file: str = ""
    recording_id: str = ""
    start_s: float | None = None
    end_s: float | None = None
    origin: str = ""

    def __post_init__(self) -> None:
        for name in ("id", "sentence", "file", "recording_id"):
            object.__setattr__(self, name, plain_text(getattr(self, name)))

    @classmethod
    def of(cls, utterance: Utterance, reason: DropReason, sentence: str, file: str = "") -> Dropped:
        """The record of one utterance that could not be prepared."""
        return cls(
            utterance.id,
            reason,
            sentence,
            file,
            utterance.recording_id,
            utterance.start_s,
            utterance.end_s,
        )


@dataclass(frozen=True)
class Inventory:
    """Every recording and utterance of a corpus, in fixed order, and all that was left out.

    Attributes:
        corpus: name of the corpus, e.g. ``iemocap``.
        label_classes: the chosen classes, in the order of the label columns.
        recordings: recordings that hold at least one utterance, ordered by id.
        utterances: ordered by recording, then start, then id.
        dropped: what was left out already by reading the corpus.
        rating_names: names of the values in ``Utterance.ratings``.
        options: options of the corpus that the scan settled, e.g. a source of labels it found.
        reconciliation: name -> count, for a corpus that keeps its parts in several places.
    """

    corpus: str
    label_classes: tuple[str, ...]
    recordings: tuple[Recording, ...]
    utterances: tuple[Utterance, ...]
    dropped: tuple[Dropped, ...] = ()
    rating_names: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    reconciliation: dict[str, int] = field(default_factory=dict)

    @property
    def without_text(self) -> int:
        """How many utterances have an empty transcript."""
        return sum(not utterance.transcript for utterance in self.utterances)


@dataclass(frozen=True)
class Faces:
    """The face of the speaker at each sampled moment of one utterance.

    Attributes:
        rgb: uint8 (F, S, S, 3), S = 48 by default, colour order RGB.
        times_s: float64 (F,), the sampled moments in seconds from the recording's beginning.
        found: bool (F,), False where no face was detected and the picture's centre stands in.
        box: float32 (F, 4), left, top, right, bottom in pixels of the view.
        prob: float32 (F,), the detector's probability, 0 where no face was found.
    """

    rgb: NDArray[np.uint8]
    times_s: NDArray[np.float64]
    found: NDArray[np.bool_]
    box: NDArray[np.float32]
    prob: NDArray[np.float32]

    def __post_init__(self) -> None:
        count = len(self.rgb)
        square = self.rgb.ndim == 4 and self.rgb.shape[1] == self.rgb.shape[2]
        if not square or self.rgb.shape[3] != 3:
            raise ValueError(f"faces have the shape {self.rgb.shape}, expected (F, S, S, 3)")
        for name, column, shape in (
            ("times_s", self.times_s, (count,)),
            ("found", self.found, (count,)),
            ("box", self.box, (count, 4)),
            ("prob", self.prob, (count,)),
        ):
            if column.shape != shape:
                raise ValueError(f"{name} has the shape {column.shape}, expected {shape}")


@dataclass(frozen=True)
class Waveform:
    """One channel of sound.

    Attributes:
        samples: float32 (S,), full scale is [-1, 1].
        rate_hz: audio samples per second.
    """

    samples: NDArray[np.float32]
    rate_hz: int


@dataclass(frozen=True)
class MelSpectrum:
    """Logarithmic mel power spectrum of one utterance.

    Attributes:
        log_power: float16 (T, M), natural logarithm of the power, M = 128 by default.
        hop_s: seconds between two rows.
    """

    log_power: NDArray[np.float16]
    hop_s: float

    def __post_init__(self) -> None:
        if self.log_power.ndim != 2:
            raise ValueError(f"mel has the shape {self.log_power.shape}, expected (T, M)")

    @property
    def power(self) -> NDArray[np.float32]:
        """The linear power, exp of what is stored: float32 (T, M)."""
        import numpy as np

        return np.exp(self.log_power.astype(np.float32))


class Example(Mapping[str, Any]):
    """One prepared utterance: a read-only mapping from stage name to the value of that stage.

    Args:
        utterance: who said it, when and with which labels.
        label: uint8 (C,), 1 where the class holds, in the order of the shard's label_classes.
        parts: stage name -> value, e.g. ``faces=Faces(...)``.
    """

    __slots__ = ("_parts", "label", "utterance")
    __hash__ = object.__hash__
    __eq__ = object.__eq__  # arrays have no single truth value

    def __init__(self, utterance: Utterance, label: NDArray[np.uint8], **parts: Any) -> None:
        self.utterance = utterance
        self.label = label
        self._parts = parts

    def __getitem__(self, stage: str) -> Any:
        return self._parts[stage]

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)

    @property
    def faces(self) -> Faces:
        """The speaker's face at each sampled moment."""
        faces: Faces = self._parts["faces"]
        return faces

    @property
    def mel(self) -> MelSpectrum:
        """The spectrum of the whole utterance."""
        mel: MelSpectrum = self._parts["mel"]
        return mel

    @property
    def tokens(self) -> NDArray[np.int32]:
        """Token ids of the transcript, int32 (L,), special tokens included, not padded."""
        tokens: NDArray[np.int32] = self._parts["tokens"]
        return tokens

    def replace(self, **parts: Any) -> Example:
        """The same example with other values of some stages."""
        return Example(self.utterance, self.label, **{**self._parts, **parts})

    def __repr__(self) -> str:
        one, parts = self.utterance, ", ".join(self._parts)
        span = f"{one.start_s:.2f}-{one.end_s:.2f} s, {'+'.join(one.labels) or 'no label'}"
        return f"Example({one.id!r}, {span}, stages: {parts})\n  {one.transcript[:80]!r}"


@dataclass(frozen=True)
class ShardReceipt:
    """What a worker hands back for a shard it wrote.

    Attributes:
        name: file name of the shard.
        sha256: digest of the file's bytes, in hexadecimal.
        size_bytes: size of the file in bytes.
        examples: number of examples in it.
        task_digest: digest of what the shard was made from (utterances, sources, settings).
        dropped: utterances that could not be prepared.
        counts: work done, e.g. ``frames_sampled``.
        seconds: wall time that the work took.
    """

    name: str
    sha256: str
    size_bytes: int
    examples: int
    task_digest: str
    dropped: tuple[Dropped, ...] = ()
    counts: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
