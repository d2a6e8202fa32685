"""How each stage is set, as frozen values that are stored in every shard and checkpoint.

Owns defaults, ranges and the digest. Leaves to the stages what they do with their settings.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, Self

from fv2es_prep.errors import SettingsError
from fv2es_prep.utils.configuration import flatten

DETECTORS = ("exact", "fast", "facenet")
FRAME_RULES = ("time", "numbered", "thinned")
FALLBACKS = ("centre", "published")
# The published code counts on so many pictures a second, and extracts so many where it thins.
_COUNTED_HZ, _EXTRACTED_HZ = 30, 2


@dataclass(frozen=True)
class FrameSettings:
    """Which pictures of a recording are looked at.

    Attributes:
        interval_s: seconds between two sampled frames of an utterance, the first at its start.
        rule: ``time``: by presentation time, exactly so far apart. The others are what published
            code does, see `media.frame_rules`: ``numbered`` counts pictures, ``thinned`` counts
            those of which about two a second were extracted before.
    """

    interval_s: float = 0.5
    rule: Literal["time", "numbered", "thinned"] = "time"

    def __post_init__(self) -> None:
        if self.rule not in FRAME_RULES:
            raise SettingsError(
                f"there is no frame rule {self.rule!r}", f"name one of {', '.join(FRAME_RULES)}"
            )
        if not self.interval_s >= 0.001:
            raise SettingsError(
                f"the frame interval is {self.interval_s} s, expected at least 0.001 s",
                "pass the interval in milliseconds, e.g. --interval-ms 500",
            )
        if self.rule != "time" and self.step < 1:
            raise SettingsError(
                f"the frame interval is {self.interval_s} s, of which the published rule makes a "
                "step of 0 pictures",
                "pass at least 34 ms, e.g. --interval-ms 500",
            )

    @property
    def step(self) -> int:
        """How many numbers lie between two sampled pictures, where pictures are counted."""
        return int(self.interval_s * _COUNTED_HZ)

    @property
    def spacing_s(self) -> float:
        """About how many seconds lie between two sampled pictures."""
        counted_hz = _EXTRACTED_HZ if self.rule == "thinned" else _COUNTED_HZ
        return self.interval_s if self.rule == "time" else self.step / counted_hz

    def count(self, duration_s: float) -> int:
        """Number of frames sampled in a span; an estimate where pictures are counted."""
        return max(math.ceil(round(duration_s / self.spacing_s, 6)), 1)


@dataclass(frozen=True)
class FaceSettings:
    """How faces are found and cut: facenet-pytorch's MTCNN as the published model sets it.

    Attributes:
        detector: ``exact``: the same faces as facenet-pytorch's, several times as fast; ``fast``:
            looks for small faces only where no large one is found; ``facenet``: its own code.
        image_size_px: side of the square face crop.
        margin_px: margin around the box, in pixels of the crop.
        min_face_px: smallest face that is searched for.
        thresholds: acceptance probability of each of the three networks.
        factor: step of the scale pyramid.
        fallback: what stands in where no face is found: ``centre``, the middle of the view, or
            ``published``, the patch that the published model takes, which lies left of it.
    """

    detector: Literal["exact", "fast", "facenet"] = "exact"
    image_size_px: int = 48
    margin_px: int = 2
    min_face_px: int = 20
    thresholds: tuple[float, float, float] = (0.6, 0.7, 0.7)
    factor: float = 0.709
    fallback: Literal["centre", "published"] = "centre"

    def __post_init__(self) -> None:
        if self.fallback not in FALLBACKS:
            raise SettingsError(
                f"faces.fallback is {self.fallback!r}, expected {' or '.join(FALLBACKS)}"
            )
        if self.detector not in DETECTORS:
            raise SettingsError(
                f"there is no detector {self.detector!r}", f"name one of {', '.join(DETECTORS)}"
            )


@dataclass(frozen=True)
class MelSettings:
    """The spectrum: torchaudio's MelSpectrogram as the published model sets it.

    Attributes:
        rate_hz: sampling rate of the spectrum; other sound is resampled to it.
        n_fft: window length in audio samples.
        hop: audio samples between two rows.
        n_mels: number of mel bands.
        floor: power below which a cell is stored as this power (before the logarithm).
    """

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
class TextSettings:
    """How transcripts become token ids.

    Attributes:
        tokenizer: name at the hub, or the last part of the directory that it was read from.
        vocabulary_sha256: digest of the tokenizer's rules, so that another one is noticed.
        vocabulary_size: number of token ids.
        pad_id: the id that fills a batch.
        max_tokens: longest sequence, special tokens included; longer ones are cut.
    """

    tokenizer: str = field(default="albert-base-v2", metadata={"derived": True})
    vocabulary_sha256: str = field(default="", metadata={"derived": True})
    vocabulary_size: int = field(default=0, metadata={"derived": True})
    pad_id: int = field(default=0, metadata={"derived": True})
    max_tokens: int = 100

    def __post_init__(self) -> None:
        if self.max_tokens < 2:
            raise SettingsError(f"max_tokens is {self.max_tokens}, expected at least 2")

    @property
    def is_known(self) -> bool:
        """Whether a tokenizer was described, and not only named."""
        return self.vocabulary_size > 0


@dataclass(frozen=True)
class MediaSettings:
    """How much a media file may cost before it is refused.

    Only the time that we wait for ffmpeg counts, not what is done with what it gives. To reach
    the moment t of a recording it may take ``stall_s + time_factor * t``.

    Attributes:
        max_pixels: largest picture, width times height as the decoder holds it (it may add a
            few columns and rows); ffmpeg itself refuses larger ones.
        max_duration_s: longest recording in seconds, as announced and as met while reading.
        stall_s: seconds that ffmpeg may take whatever it is asked for.
        time_factor: seconds more that it may take for each second of media.
    """

    max_pixels: int = 4096 * 4096
    max_duration_s: float = 6 * 3600.0
    stall_s: float = 120.0
    time_factor: float = 10.0

    def __post_init__(self) -> None:
        for name, low in (("max_pixels", 1), ("max_duration_s", 0), ("stall_s", 0)):
            if not getattr(self, name) >= low:
                raise SettingsError(f"{name} is {getattr(self, name)}, expected at least {low}")
        if not self.time_factor >= 0:
            raise SettingsError(f"time_factor is {self.time_factor}, expected at least 0")


@dataclass(frozen=True)
class SpanSettings:
    """How an utterance's span and its media are reconciled.

    A span that starts before 0 or ends after the media is clamped: cut to what is there, and
    marked. It is dropped as ``span_outside_media`` where too little of it is left. The media end
    where the shorter of picture and sound ends, by what can be decoded and not by what the file
    announces. Each end of a span is judged by itself.

    Attributes:
        min_left: share of the span that must be left, 0 to 1.
        tolerance_s: a span that ends up to this long after the media is left as it is.
    """

    min_left: float = 0.5
    tolerance_s: float = 0.1

    def __post_init__(self) -> None:
        if not 0 <= self.min_left <= 1:
            raise SettingsError(f"min_left is {self.min_left}, expected 0 to 1")
        if not self.tolerance_s >= 0:
            raise SettingsError(f"tolerance_s is {self.tolerance_s}, expected at least 0")


@dataclass(frozen=True)
class QualitySettings:
    """Which sound and which pictures show nothing and are dropped; each rule can be off.

    Attributes:
        silent_level: an utterance is silent if no audio sample's magnitude is above this share
            of full scale; negative: off.
        black_level: it is black if no colour value of its sampled pictures is above this, of 255;
            negative: off.
        frozen_pictures: it is frozen if it has at least so many sampled pictures and all are
            equal; 0: off.
    """

    silent_level: float = 1e-4
    black_level: int = 16
    frozen_pictures: int = 3

    def __post_init__(self) -> None:
        if self.frozen_pictures < 0 or self.frozen_pictures == 1:
            raise SettingsError(f"frozen_pictures is {self.frozen_pictures}, expected 0, 2, 3, ...")


@dataclass(frozen=True)
class StorageSettings:
    """In which form shards hold faces and spectra; see `compact` for what is lost.

    Attributes:
        faces: ``raw`` pixels, or a ``jpeg`` file for each face.
        jpeg_quality: quality of the JPEG files, 1 to 100.
        mel: the logarithm as ``float16``, or as ``uint8`` steps of a fixed grid.
    """

    faces: Literal["raw", "jpeg"] = "raw"
    jpeg_quality: int = 95
    mel: Literal["float16", "uint8"] = "float16"

    def __post_init__(self) -> None:
        for name, forms in (("faces", ("raw", "jpeg")), ("mel", ("float16", "uint8"))):
            if getattr(self, name) not in forms:
                raise SettingsError(
                    f"storage.{name} is {getattr(self, name)!r}, expected {' or '.join(forms)}"
                )
        if not 1 <= self.jpeg_quality <= 100:
            raise SettingsError(f"jpeg_quality is {self.jpeg_quality}, expected 1 to 100")

    @property
    def compact(self) -> bool:
        """Whether something is not stored as it was made."""
        return self.faces != "raw" or self.mel != "float16"


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
        corpus: the options of the corpus that differ from their defaults, as plain JSON values;
            `Corpus.read_options` reads them.
        stages: names of the stages of the dataset, see `stages.registry`.
        others: settings of stages that have no section here: stage name -> field -> JSON value.
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
    others: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, hash=False)

    def to_json(self) -> dict[str, dict[str, Any]]:
        """The settings as JSON values: section -> field -> value.

        A dataset of the default stages has neither a section ``stages`` nor further sections.
        """
        values = asdict(self)
        names, others = values.pop("stages"), values.pop("others")
        listed = {} if names == DEFAULT_STAGES else {"stages": {"names": list(names)}}
        return {**values, **listed, **others}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """The settings that `to_json` wrote.

        Unknown fields are left out; a section that an older version did not know has its defaults.

        Raises:
            SettingsError: a section has the wrong type.
        """
        try:
            sections = {
                f.name: _build(type(f.default), values.get(f.name, {}))
                for f in fields(cls)
                if f.name not in ("corpus", "stages", "others")
            }
            names = tuple(values.get("stages", {}).get("names", DEFAULT_STAGES))
            others = {n: dict(values[n]) for n in names if n in values and n not in sections}
            corpus = _corpus_options(values.get("corpus", {}))
            return cls(**sections, corpus=corpus, stages=names, others=others)
        except (AttributeError, TypeError, ValueError) as error:
            raise SettingsError(f"stored settings cannot be read: {error!r}") from error

    def flat(self) -> dict[str, Any]:
        """The JSON values by dotted path, e.g. ``mel.hop``."""
        return flatten(self.to_json())

    def differences(self, other: PrepSettings) -> dict[str, tuple[Any, Any]]:
        """The dotted paths whose values differ, with both values; None where one has no value."""
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


def _corpus_options(stored: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value
        for name, value in stored.items()
        if name not in _OLD_CORPUS_DEFAULTS or value != _OLD_CORPUS_DEFAULTS[name]
    }


def digest_of(value: Any) -> str:
    """SHA-256, in hexadecimal, of a JSON value in canonical form (sorted names, no blanks)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
