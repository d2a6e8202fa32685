"""The settings of each stage: frozen values that are stored in every shard and checkpoint."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, ClassVar, Literal, Self, get_args, get_origin, get_type_hints

from fv2es_prep.errors import SettingsError
from fv2es_prep.utils.configuration import flatten

# Pictures per second that the published code assumes, and that it extracts where it thins.
_COUNTED_HZ, _EXTRACTED_HZ = 30, 2


class _Section:
    """Checks the choices of `Literal` fields, and the limits in ``_least`` and ``_most``.

    Runs and shards of unknown origin have settings too, so no value may exhaust memory or time.
    """

    _least: ClassVar[dict[str, float]] = {}
    _most: ClassVar[dict[str, float]] = {}

    def __post_init__(self) -> None:
        for name, kind in get_type_hints(type(self)).items():
            choices = get_args(kind) if get_origin(kind) is Literal else ()
            if choices and (value := getattr(self, name)) not in choices:
                raise SettingsError(f"{name} is {value!r}, expected {' or '.join(choices)}")
        for name, low in self._least.items():
            if not (value := getattr(self, name)) >= low:
                raise SettingsError(f"{name} is {value}, expected at least {low}")
        for name, high in self._most.items():
            if not (value := getattr(self, name)) <= high:
                raise SettingsError(f"{name} is {value}, expected at most {high}")


@dataclass(frozen=True)
class FrameSettings(_Section):
    """Which pictures of a recording are sampled.

    Attributes:
        interval_s: seconds between two sampled frames of an utterance, the first at its start.
        rule: ``time`` samples by presentation time. The others follow published code, see
            `media.frame_rules`: ``numbered`` counts pictures; ``thinned`` counts those of about
            two extracted per second.
        jpeg: pictures go through a JPEG file as OpenCV writes it, as those of published code do:
            ``cut``, the speaker's part; ``whole``, the picture before it is halved, by Pillow.
    """

    interval_s: float = 0.5
    rule: Literal["time", "numbered", "thinned"] = "time"
    jpeg: Literal["none", "cut", "whole"] = "none"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.interval_s >= 0.001:
            raise SettingsError(
                f"the frame interval is {self.interval_s} s, expected at least 0.001 s",
                "pass the interval in milliseconds, e.g. --interval-ms 500",
            )
        if self.rule != "time" and self.step < 1:
            raise SettingsError(
                f"the frame interval {self.interval_s} s is a step of 0 pictures with the rule "
                f"{self.rule}",
                "increase the interval to at least 34 ms, e.g. --interval-ms 500",
            )

    @property
    def step(self) -> int:
        """Step from one sampled picture to the next, where pictures are counted."""
        return int(self.interval_s * _COUNTED_HZ)

    @property
    def spacing_s(self) -> float:
        """Approximate seconds between two sampled pictures."""
        counted_hz = _EXTRACTED_HZ if self.rule == "thinned" else _COUNTED_HZ
        return self.interval_s if self.rule == "time" else self.step / counted_hz

    def count(self, duration_s: float) -> int:
        """Number of frames sampled in a span; an estimate where pictures are counted."""
        return max(math.ceil(round(duration_s / self.spacing_s, 6)), 1)


@dataclass(frozen=True)
class FaceSettings(_Section):
    """How faces are detected and cropped: facenet-pytorch's MTCNN as the published model sets it.

    Attributes:
        detector: face detector: ``fast`` finds the largest face as facenet-pytorch does, and looks
            for small faces only where it finds no large one; ``exact`` always looks for all;
            ``facenet`` is facenet-pytorch's own code; ``yunet`` is OpenCV's, with a model file:
            ``faces:FILE`` among the stages.
        image_size_px: side of the square face crop.
        margin_px: margin around the box, in pixels of the crop.
        min_face_px: smallest face to search for.
        thresholds: acceptance probability of each of the three networks; ``yunet`` uses the last.
        factor: step of the scale pyramid.
        fallback: replaces a face that is not found: ``centre``, the middle of the view, or
            ``published``, the patch of the published model, left of it.
        select: the speaker's face: ``largest`` of each picture, or ``track``, the person seen
            largest and most certainly over the utterance.
        model_sha256: SHA-256 of the model file of ``yunet``.
    """

    _least: ClassVar = {"image_size_px": 1, "margin_px": 0, "min_face_px": 4, "factor": 0.01}
    _most: ClassVar = {"image_size_px": 4096, "margin_px": 4096, "factor": 0.99}

    detector: Literal["fast", "exact", "facenet", "yunet"] = "fast"
    image_size_px: int = 48
    margin_px: int = 2
    min_face_px: int = 20
    thresholds: tuple[float, float, float] = (0.6, 0.7, 0.7)
    factor: float = 0.709
    fallback: Literal["centre", "published"] = "centre"
    select: Literal["largest", "track"] = "largest"
    model_sha256: str = field(default="", metadata={"derived": True})


@dataclass(frozen=True)
class MelSettings(_Section):
    """The spectrum: torchaudio's MelSpectrogram as the published model sets it.

    Attributes:
        rate_hz: sampling rate; other sound is resampled to it.
        n_fft: window length in audio samples.
        hop: audio samples between two rows.
        n_mels: number of mel bands.
        floor: lowest power, before the logarithm.
    """

    _least: ClassVar = {"rate_hz": 100, "n_fft": 2, "hop": 1, "n_mels": 1, "floor": 0}
    _most: ClassVar = {"rate_hz": 768_000, "n_fft": 1 << 16, "hop": 1 << 16, "n_mels": 4096}

    rate_hz: int = 16_000
    n_fft: int = 400
    hop: int = 200
    n_mels: int = 128
    floor: float = 1e-10

    @property
    def hop_s(self) -> float:
        """Seconds between two rows."""
        return self.hop / self.rate_hz


@dataclass(frozen=True)
class TextSettings(_Section):
    """How transcripts become token ids.

    Attributes:
        tokenizer: name at the hub, or last part of the tokenizer's directory.
        vocabulary_sha256: digest of the tokenizer's rules.
        vocabulary_size: number of token ids; at most 2**20, for a model has a vector for each.
        pad_id: token id that pads a batch; one of them where they are known.
        max_tokens: longest sequence, special tokens included; longer ones are truncated.
    """

    _least: ClassVar = {"max_tokens": 2, "vocabulary_size": 0, "pad_id": 0}
    # The largest vocabularies of today have 0.9 million token ids.
    _most: ClassVar = {"max_tokens": 1 << 20, "vocabulary_size": 1 << 20}

    tokenizer: str = field(default="albert-base-v2", metadata={"derived": True})
    vocabulary_sha256: str = field(default="", metadata={"derived": True})
    vocabulary_size: int = field(default=0, metadata={"derived": True})
    pad_id: int = field(default=0, metadata={"derived": True})
    max_tokens: int = 100

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.is_known and self.pad_id >= self.vocabulary_size:
            raise SettingsError(f"pad_id is {self.pad_id}, expected one of the token ids")

    @property
    def is_known(self) -> bool:
        """Whether the tokenizer's vocabulary is known, and not only its name."""
        return self.vocabulary_size > 0


@dataclass(frozen=True)
class MediaSettings(_Section):
    """Limits on media files.

    ffmpeg may take ``stall_s + time_factor * t`` to reach the time t of a recording; only the time
    spent waiting for it counts.

    Attributes:
        max_pixels: largest picture, width times height as the decoder holds it (it may add a
            few columns and rows).
        max_duration_s: longest recording in seconds, as announced and as decoded.
        stall_s: seconds that ffmpeg may take for any request.
        time_factor: additional seconds that it may take per second of media.
    """

    _least: ClassVar = {"max_pixels": 1, "max_duration_s": 0, "stall_s": 0, "time_factor": 0}

    max_pixels: int = 4096 * 4096
    max_duration_s: float = 6 * 3600.0
    stall_s: float = 120.0
    time_factor: float = 10.0


@dataclass(frozen=True)
class SpanSettings(_Section):
    """How an utterance's span and its media are reconciled.

    A span that exceeds the media is clamped and marked, or dropped as ``span_outside_media`` where
    too little is left. The media end where the shorter of picture and sound ends, as decoded.

    Attributes:
        min_left: share of the span that must be left, 0 to 1.
        tolerance_s: excess in seconds up to which a span is not clamped.
    """

    _least: ClassVar = {"min_left": 0, "tolerance_s": 0}

    min_left: float = 0.5
    tolerance_s: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.min_left > 1:
            raise SettingsError(f"min_left is {self.min_left}, expected 0 to 1")


@dataclass(frozen=True)
class QualitySettings:
    """Which sound and pictures are dropped as empty.

    Attributes:
        silent_level: sound is silent if no sample exceeds this share of full scale
            (negative = off).
        black_level: pictures are black if no colour value exceeds this, of 255 (negative = off).
        frozen_pictures: pictures are frozen if at least this many are sampled and all are equal
            (0 = off).
    """

    silent_level: float = 1e-4
    black_level: int = 16
    frozen_pictures: int = 3

    def __post_init__(self) -> None:
        if self.frozen_pictures < 0 or self.frozen_pictures == 1:
            raise SettingsError(f"frozen_pictures is {self.frozen_pictures}, expected 0, 2, 3, ...")


@dataclass(frozen=True)
class StorageSettings(_Section):
    """The form in which shards hold faces and spectra.

    Attributes:
        faces: ``raw`` pixels, or a ``jpeg`` file for each face.
        jpeg_quality: quality of the JPEG files, 1 to 100.
        mel: the logarithm as ``float16``, or as ``uint8`` steps of a fixed grid.
    """

    faces: Literal["raw", "jpeg"] = "raw"
    jpeg_quality: int = 95
    mel: Literal["float16", "uint8"] = "float16"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.jpeg_quality <= 100:
            raise SettingsError(f"jpeg_quality is {self.jpeg_quality}, expected 1 to 100")

    @property
    def compact(self) -> bool:
        """Whether the stored form is lossy."""
        return self.faces != "raw" or self.mel != "float16"


MODALITIES = "tav"
MODALITY_NAMES = {"t": "text", "a": "audio", "v": "video"}
VerifyReads = Literal["first", "always", "never"]
DEFAULT_STAGES = ("faces", "mel", "tokens")
DEFAULT_MEDIA = MediaSettings()
DEFAULT_SPANS = SpanSettings()
LOSSLESS = StorageSettings()
COMPACT = StorageSettings(faces="jpeg", mel="uint8")
# Formats 1.0 and 1.1 store these for every corpus; at these values they are defaults.
_OLD_CORPUS_DEFAULTS = {
    "layout": "",
    "label_source": "",
    "label_threshold": 0.0,
    "picture": "whole",
}


@dataclass(frozen=True)
class PrepSettings:
    """All settings that decide the content of an example.

    Attributes:
        frames: which pictures are sampled.
        faces: the stage ``faces``.
        mel: the stage ``mel``.
        text: the stage ``tokens``.
        media: limits on media files.
        spans: how spans and media are reconciled.
        quality: which sound and pictures are dropped.
        storage: the form in which shards hold faces and spectra.
        corpus: options of the corpus that differ from their defaults, as JSON values; see
            `Corpus.read_options`.
        stages: names of the dataset's stages, see `stages.registry`.
        require: modalities that an utterance must have, of ``t`` (text), ``a`` (audio) and ``v``
            (video); the others may be missing.
        others: settings of stages without a section here: stage -> field -> JSON value.
    """

    frames: FrameSettings = FrameSettings()
    faces: FaceSettings = FaceSettings()
    mel: MelSettings = MelSettings()
    text: TextSettings = TextSettings()
    media: MediaSettings = DEFAULT_MEDIA
    spans: SpanSettings = DEFAULT_SPANS
    quality: QualitySettings = QualitySettings()
    storage: StorageSettings = LOSSLESS
    corpus: dict[str, Any] = field(default_factory=dict, hash=False)
    stages: tuple[str, ...] = DEFAULT_STAGES
    require: str = "tav"
    others: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if [letter for letter in MODALITIES if letter in self.require] != list(self.require):
            raise SettingsError(f"require is {self.require!r}, expected letters of tav, in order")

    def to_json(self) -> dict[str, dict[str, Any]]:
        """Section -> field -> JSON value; without ``stages`` and ``require`` at their defaults."""
        values = {**asdict(self), "frames": stored(self.frames), "faces": stored(self.faces)}
        names, others, require = (values.pop(name) for name in ("stages", "others", "require"))
        listed = {} if names == DEFAULT_STAGES else {"stages": {"names": list(names)}}
        required = {} if require == MODALITIES else {"require": {"modalities": require}}
        return {**values, **listed, **required, **others}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Read what `to_json` wrote; ignore unknown fields, and use defaults for missing ones.

        Raises:
            SettingsError: a section has the wrong type.
        """
        try:
            sections = {
                f.name: _build(type(f.default), values.get(f.name, {}))
                for f in fields(cls)
                if f.name not in ("corpus", "stages", "require", "others")
            }
            require = values.get("require", {}).get("modalities", MODALITIES)
            names = tuple(values.get("stages", {}).get("names", DEFAULT_STAGES))
            others = {n: dict(values[n]) for n in names if n in values and n not in sections}
            corpus = values.get("corpus", {}).items()
            given = dict(pair for pair in corpus if pair not in _OLD_CORPUS_DEFAULTS.items())
            return cls(**sections, corpus=given, stages=names, require=require, others=others)
        except (AttributeError, TypeError, ValueError) as error:
            raise SettingsError(f"stored settings cannot be read: {error!r}") from error

    def flat(self) -> dict[str, Any]:
        """The JSON values by dotted path, e.g. ``mel.hop``."""
        return flatten(self.to_json())

    def differences(self, other: PrepSettings) -> dict[str, tuple[Any, Any]]:
        """Dotted path -> both values, where they differ; None where one has no value."""
        ours, theirs = self.flat(), other.flat()
        pairs = {path: (ours.get(path), theirs.get(path)) for path in {**ours, **theirs}}
        return {path: pair for path, pair in pairs.items() if pair[0] != pair[1]}

    def digest(self) -> str:
        """SHA-256 of the settings in canonical form, in hexadecimal."""
        return digest_of(self.to_json())


def _build(kind: Any, values: dict[str, Any]) -> Any:
    known = {f.name for f in fields(kind)}
    plain = {name: value for name, value in values.items() if name in known}
    return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in plain.items()})


def stored(section: Any) -> dict[str, Any]:
    """Return the fields of a section, without newer fields that have their default value."""
    later = {"select": "largest", "jpeg": "none", "model_sha256": ""}
    pairs = asdict(section).items()
    return {name: value for name, value in pairs if later.get(name) != value}


def digest_of(value: Any) -> str:
    """SHA-256, in hexadecimal, of a JSON value in canonical form (sorted names, no blanks)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def ordered(letters: Collection[str]) -> str:
    """The letters of modalities among ``letters``, in the order of `MODALITIES`."""
    return "".join(letter for letter in MODALITIES if letter in letters)
