"""The values that travel between stages: recordings, utterances, inventories, examples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from fv2es_prep.errors import DropReason
from fv2es_prep.utils.licences import OPEN, spdx_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Half = Literal["left", "right", "full"]
# A rating with this prefix before a class is the number of raters who chose that class; `RATERS` is
# the number of raters where each may choose several classes.
VOTES, RATERS = "votes_", "raters"


def plain_text(text: str) -> str:
    r"""The text without NUL (U+FFFD instead) and without undecodable bytes (``\xff`` instead)."""
    whole = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return whole.replace("\0", "\N{REPLACEMENT CHARACTER}")


@dataclass(frozen=True)
class View:
    """Which part of a recording is the speaker's.

    Attributes:
        half: half of the picture, split at ``width // 2``, or ``full``.
        crop_px: side in pixels of the square cut from the centre of that half; None keeps it all.
        audio_channel: index of the audio channel; None averages all channels.
        max_lines: before the square is cut, width and height are halved until the half has at most
            this many lines; None keeps them.
        halve_once: halve once at most.
    """

    half: Half = "full"
    crop_px: int | None = None
    audio_channel: int | None = None
    max_lines: int | None = None
    halve_once: bool = False


@dataclass(frozen=True)
class PictureFiles:
    """A recording's pictures as files ``<prefix><number>.jpg`` of a folder.

    Attributes:
        prefix: start of the names, e.g. ``image_L_``.
        rate_hz: pictures per second.
        first_s: time of picture 0 in seconds; None where unknown: it counts as 0 and may be up to
            one picture earlier.
    """

    prefix: str
    rate_hz: float
    first_s: float | None = None


@dataclass(frozen=True)
class Recording:
    """One source video with its sound.

    Attributes:
        id: unique name within the corpus.
        video: the file with the picture, or the folder of ``pictures``; None where the corpus has
            no picture.
        audio: the file with the sound (may be the same file); None where the corpus has no sound.
        pictures: the pictures of the folder; None where there is a video file.
    """

    id: str
    video: Path | None
    audio: Path | None
    pictures: PictureFiles | None = None


@dataclass(frozen=True)
class Utterance:
    """One speaker's labelled time span in a recording.

    Attributes:
        id: unique name within the corpus.
        recording_id: its recording.
        start_s: start in seconds from the beginning of the recording.
        end_s: end in seconds, after ``start_s``.
        transcript: the words as the corpus has them.
        labels: names of its emotion classes, in corpus words.
        speaker: unique name of the speaker within the corpus.
        session: group of recordings made together, or an empty string.
        view: the speaker's part of picture and sound.
        ratings: values such as valence; named by the inventory's ``rating_names``, where
            ``votes_ang`` is the number of raters who chose ``ang``.
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

    def to_json(self) -> dict[str, Any]:
        """Column -> value, of its ids and times."""
        return {
            "id": self.id,
            "recording_id": self.recording_id,
            "speaker": self.speaker,
            "session": self.session,
            "start_s": self.start_s,
            "end_s": self.end_s,
        }

    def within(self, begin_s: float, end_s: float, min_left: float) -> Utterance | None:
        """The utterance with its span cut to lie within the media.

        Returns:
            The same utterance where nothing is cut; None where less than the share ``min_left``
            of its span is left.
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
        id: the utterance's id, or the name of the file or line where there is none.
        reason: the code.
        sentence: what was found.
        file: the file concerned, relative to the corpus.
        recording_id: its recording, where known.
        start_s: start of its span in seconds, where known.
        end_s: end of its span in seconds, where known.
        origin: fingerprint of its inputs, where it was tried.
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
    def from_json(cls, values: Mapping[str, Any]) -> Dropped:
        """Read the result of ``asdict``; damage raises ValueError, KeyError or TypeError."""
        return cls(**{**values, "reason": DropReason(values["reason"])})

    @classmethod
    def of(cls, utterance: Utterance, reason: DropReason, sentence: str, file: str = "") -> Dropped:
        """The record of one utterance that could not be prepared."""
        one = utterance
        return cls(one.id, reason, sentence, file, one.recording_id, one.start_s, one.end_s)


@dataclass(frozen=True)
class Provenance:
    """Where a corpus comes from.

    Attributes:
        name: its name.
        generated: whether a program made it, so that it shows no real person.
        licence: an SPDX identifier, or what its licence says about shards and models, in one
            sentence.
        version: its version, if it has one.
        redistributable: whether its owner lets others have what is made from it, where ``licence``
            is a sentence; see `may_be_handed_on`.
        citation: the publication to cite, as BibTeX or one sentence.
    """

    name: str = ""
    generated: bool = False
    licence: str = ""
    version: str = ""
    redistributable: bool = False
    citation: str = ""

    @property
    def spdx(self) -> str:
        """The SPDX identifier of its licence; empty where the licence is a sentence or unknown."""
        return spdx_of(self.licence)

    @property
    def may_be_handed_on(self) -> bool:
        """Whether its licence lets others have shards, exports and models that are made from it."""
        return self.redistributable or self.spdx in OPEN

    def under(self, licence: str) -> Provenance:
        """The same corpus under another licence, which alone decides about handing it on."""
        return replace(self, licence=spdx_of(licence) or licence, redistributable=False)

    @property
    def sentence(self) -> str:
        """Name, version, origin and licence on one line."""
        kind = ["generated: shows no real person"] if self.generated else []
        licence = self.licence or "licence unknown"
        return "; ".join([f"{self.name} {self.version}".strip(), *kind, licence])


@dataclass(frozen=True)
class Inventory:
    """Every recording and utterance of a corpus, in fixed order, and what was dropped.

    Attributes:
        corpus: name of the corpus, e.g. ``iemocap``.
        label_classes: the chosen classes, in the order of the label columns.
        recordings: recordings with at least one utterance, ordered by id.
        utterances: ordered by recording, then start, then id.
        dropped: what the scan dropped.
        rating_names: names of ``Utterance.ratings``.
        options: options of the corpus that the scan settled, e.g. the source of labels.
        reconciliation: name -> count, for a corpus that keeps its parts in several places.
        provenance: where the corpus comes from.
    """

    corpus: str
    label_classes: tuple[str, ...]
    recordings: tuple[Recording, ...]
    utterances: tuple[Utterance, ...]
    dropped: tuple[Dropped, ...] = ()
    rating_names: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    reconciliation: dict[str, int] = field(default_factory=dict)
    provenance: Provenance = Provenance()

    @property
    def exclusive(self) -> bool:
        """Whether every utterance has exactly one class."""
        return all(len(utterance.labels) == 1 for utterance in self.utterances)

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
        found: bool (F,), False where no face was detected and the fallback is used.
        box: float32 (F, 4), left, top, right, bottom in pixels of the view.
        prob: float32 (F,), the detector's probability, 0 where no face was found.
    """

    rgb: NDArray[np.uint8]
    times_s: NDArray[np.float64]
    found: NDArray[np.bool_]
    box: NDArray[np.float32]
    prob: NDArray[np.float32]

    def __post_init__(self) -> None:
        pixels = self.rgb.shape
        if len(pixels) != 4 or pixels[1] != pixels[2] or pixels[3] != 3:
            raise ValueError(f"faces have the shape {pixels}, expected (F, S, S, 3)")
        rows = pixels[:1]
        found = self.times_s.shape, self.found.shape, self.box.shape, self.prob.shape
        if found != (expected := (rows, rows, (*rows, 4), rows)):
            raise ValueError(
                f"times_s, found, box and prob have the shapes {found}, expected {expected}"
            )

    @classmethod
    def of_rows(
        cls,
        rgb: NDArray[np.uint8],
        times_s: NDArray[np.float64],
        found: NDArray[np.bool_],
        box: NDArray[np.float32],
        prob: NDArray[np.float32],
    ) -> Faces:
        """Faces from rows of a shard's columns, without checking the shapes again."""
        # Runs for each example of each epoch; takes half the time of the frozen constructor.
        self = object.__new__(cls)
        vars(self).update(rgb=rgb, times_s=times_s, found=found, box=box, prob=prob)
        return self


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

    A stage whose input is missing is not in the mapping.

    Args:
        utterance: who said it, when and with which labels.
        label: uint8 (C,), 1 where the class holds, in the order of the shard's label_classes.
        missing: letter of a missing modality (``t``, ``a``, ``v``) -> code of a `DropReason`.
        parts: stage name -> value, e.g. ``faces=Faces(...)``.
    """

    __slots__ = ("_parts", "label", "missing", "utterance")
    __hash__ = object.__hash__
    __eq__ = object.__eq__  # arrays have no single truth value

    def __init__(
        self,
        utterance: Utterance,
        label: NDArray[np.uint8],
        missing: Mapping[str, str] = {},
        **parts: Any,
    ) -> None:
        self.utterance = utterance
        self.label = label
        self.missing = missing
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
        return Example(self.utterance, self.label, self.missing, **{**self._parts, **parts})

    def __repr__(self) -> str:
        one, parts = self.utterance, ", ".join(self._parts)
        span = f"{one.start_s:.2f}-{one.end_s:.2f} s, {'+'.join(one.labels) or 'no label'}"
        gone = "".join(f", missing {letter}: {code}" for letter, code in self.missing.items())
        return f"Example({one.id!r}, {span}, stages: {parts}{gone})\n  {one.transcript[:80]!r}"


@dataclass(frozen=True)
class ShardReceipt:
    """What a worker returns for a shard that it wrote.

    Attributes:
        name: file name of the shard.
        sha256: SHA-256 of the file, in hexadecimal.
        size_bytes: its size.
        examples: number of examples in it.
        task_digest: digest of its inputs (utterances, media, settings).
        dropped: utterances that could not be prepared.
        counts: work done, e.g. ``frames_sampled``.
        seconds: wall time of the work.
        host: where it was built; empty if an earlier run built it.
        rows: its rows of the catalogue, see `catalogue_file.rows_of_shard`; empty where unknown.
        hashed: recording id -> SHA-256 of its video and its audio file, and the state that the
            files were in.
    """

    name: str
    sha256: str
    size_bytes: int
    examples: int
    task_digest: str
    dropped: tuple[Dropped, ...] = ()
    counts: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    host: str = ""
    rows: bytes = b""
    hashed: dict[str, tuple[str, str, str]] = field(default_factory=dict)
