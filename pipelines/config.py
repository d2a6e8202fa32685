"""The configuration of `fv2es prep`: its options, its TOML file and its presets."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, make_dataclass, replace
from pathlib import Path
from typing import Annotated, Any, TypeVar

from msgspec import Meta

from fv2es_prep.config import (
    COMPACT,
    DEFAULT_STAGES,
    MODALITIES,
    FaceSettings,
    FrameSettings,
    MediaSettings,
    MelSettings,
    PrepSettings,
    QualitySettings,
    SpanSettings,
    StorageSettings,
    TextSettings,
    ordered,
)
from fv2es_prep.corpora import CORPORA
from fv2es_prep.corpora.base import NoOptions
from fv2es_prep.errors import UsageError
from fv2es_prep.utils.configuration import resolve
from fv2es_prep.utils.fields import fields_of
from fv2es_prep.utils.near import meant

T = TypeVar("T")
OURS = "ours"
_SETTINGS = PrepSettings()


@dataclass(frozen=True)
class ClusterConfig:
    """How executors use a cluster.

    Attributes:
        sbatch: SLURM: options of sbatch, e.g. partition=short,time=4:00:00.
        min_workers: Dask: workers to wait for before the first task.
        wait: Dask: how long to wait for a scheduler that is gone, or for workers, e.g. 10m or 2h.
        path_map: Dask: directories that workers see under another path, e.g. /data=/mnt/data.
    """

    sbatch: tuple[str, ...] = ()
    min_workers: Annotated[int, Meta(ge=1)] = 1
    wait: str = "10m"
    path_map: tuple[str, ...] = ()


NO_CLUSTER = ClusterConfig()


@dataclass(frozen=True)
class PrepConfig:
    """A preparation. Make one with `prep_config`, which applies ``preset`` and ``compact``.

    Attributes:
        name: Corpus to prepare.
        raw: Path or URL of the raw corpus.
        out: Dataset directory, or its URL in an object store, e.g. s3://bucket/shards.
        labels: Classes that become label columns, in order, e.g. ang,hap,neu,sad; empty: all
            classes that occur.
        merge: Count one class as another, e.g. exc=hap.
        preset: Values that replace defaults: ours, or published: frames and pictures chosen as
            in the published code.
        compact: Store faces as JPEG and spectra in 8 bits: smaller, lossy.
        stages: What is made of every utterance.
        modalities: Letters of the modalities to prepare: t (text), a (audio), v (video). Stages
            that need others are left out.
        require: Letters of the modalities that an utterance must have; others may be missing.
            none: any one modality is enough.
        tokenizer: Tokenizer: a directory, or a name on the Hugging Face hub.
        device: Device for face detection and encoders: cpu, cuda or cuda:N.
        encoders: Options of encoder stages by STAGE.FIELD, e.g. audio-wavlm.layer=9; fields are
            layer, pool (none or mean), window_s and max_tokens.
        encoder_batch: Rows (20 ms of sound, faces, tokens) that an encoder takes at once; 0: as
            many as suit its kind.
        shard_mb: Expected size of a shard in megabytes (10^6 bytes).
        licence: Licence of the corpus: an SPDX identifier, e.g. CC-BY-NC-SA-4.0, or one sentence;
            empty: as provenance.json or the corpus says.
        limit: Prepare only the first N utterances.
        sample: Prepare only N utterances, evenly spread over the corpus.
        exclude: review.jsonl of `fv2es browse`: leave out the utterances that it excludes.
        rehash: Hash every media file again, also those whose size and times are known.
        retry_dropped: Prepare utterances again that an earlier run dropped.
        fail_fast: Stop at the first recording that cannot be read.
        executor: Where tasks run.
        cluster: use of a cluster.
        max_dropped: Exit with status 1 if a larger share of the utterances is dropped, 0 to 1.
        frames: frames that are sampled.
        faces: face detection.
        mel: mel spectra.
        text: tokens.
        media: limits on media files.
        spans: spans that exceed their media.
        quality: silent, black and frozen utterances.
        storage: form of faces and spectra in shards.
        corpus: options of the corpus.
    """

    name: str = field(metadata={"derived": True})
    raw: Path
    out: Path
    labels: tuple[str, ...] = ()
    merge: dict[str, str] = field(default_factory=dict)
    preset: str = OURS
    compact: bool = False
    stages: tuple[str, ...] = DEFAULT_STAGES
    modalities: str = MODALITIES
    require: str = MODALITIES
    tokenizer: str = "albert-base-v2"
    device: str = "cpu"
    encoders: dict[str, str | int | float] = field(default_factory=dict)
    encoder_batch: Annotated[int, Meta(ge=0)] = 0
    shard_mb: float = 16.0
    licence: str = ""
    limit: int | None = None
    sample: int | None = None
    exclude: Path | None = None
    rehash: bool = False
    retry_dropped: bool = False
    fail_fast: bool = False
    executor: str = "local"
    cluster: ClusterConfig = NO_CLUSTER
    max_dropped: float = 1.0
    frames: FrameSettings = _SETTINGS.frames
    faces: FaceSettings = _SETTINGS.faces
    mel: MelSettings = _SETTINGS.mel
    text: TextSettings = _SETTINGS.text
    media: MediaSettings = _SETTINGS.media
    spans: SpanSettings = _SETTINGS.spans
    quality: QualitySettings = _SETTINGS.quality
    storage: StorageSettings = _SETTINGS.storage
    corpus: Any = NoOptions

    def __post_init__(self) -> None:
        if not 0 <= self.max_dropped <= 1:
            raise UsageError(f"max_dropped is {self.max_dropped}, expected 0 to 1")
        for name, least in (("modalities", 1), ("require", 0)):
            letters = letters_of(getattr(self, name))
            if letters is None or len(letters) < least:
                sentence = f"{name} is {getattr(self, name)!r}, expected some of {MODALITIES}"
                raise UsageError(sentence, "t is text, a is audio, v is video; e.g. ta")


@dataclass(frozen=True)
class AddConfig:
    """Stages to add to a dataset.

    Attributes:
        shards: Dataset directory.
        stages: Stages to add: mfcc, or an encoder, e.g. audio:w=DIR, which is the stage audio-w.
        executor: Where shards are written: inline, or local:N for N processes of one thread.
        threads: CPU threads of an inline run; none: torch chooses.
        device: Device for encoders: cpu, cuda or cuda:N.
        encoders: Options of encoder stages by STAGE.FIELD, e.g. audio-w.layer=9; fields are layer,
            pool (none or mean), window_s and max_tokens.
        encoder_batch: Rows (20 ms of sound, faces, tokens) that an encoder takes at once; 0: as
            many as suit its kind.
    """

    shards: Path
    stages: tuple[str, ...]
    executor: str = "inline"
    threads: Annotated[int, Meta(ge=1)] | None = None
    device: str = "cpu"
    encoders: dict[str, str | int | float] = field(default_factory=dict)
    encoder_batch: Annotated[int, Meta(ge=0)] = 0


def letters_of(text: str) -> str | None:
    """Letters of modalities in their order, empty for ``none``; None for any other text."""
    letters = {*text} if text != "none" else set()
    return ordered(letters) if letters <= {*MODALITIES} else None


def prep_config(corpus: str, **given: Any) -> PrepConfig:
    """The configuration of a preparation: defaults, over them the preset, over both ``given``.

    ``given`` has values by dotted path, e.g. ``raw=RAW, out=OUT, **{"mel.n_mels": 80}``.

    Raises:
        UsageError: the corpus or the preset is unknown.
        SettingsError: a path or a value is invalid, or a required value is missing.
    """
    return resolve(config_type(), given, preset_values(corpus, given))


@functools.cache
def config_type() -> type[PrepConfig]:
    """`PrepConfig` with a section for each installed stage that has settings of its own."""
    return _with_sections(PrepConfig)


@functools.cache
def add_config_type() -> type[AddConfig]:
    """`AddConfig` with the same sections."""
    return _with_sections(AddConfig)


def _with_sections(base: type[T]) -> type[T]:
    from fv2es_prep.stages.registry import STAGES

    others = [stage for stage in map(STAGES.load, STAGES.names()) if not stage.section]
    sections = [(section_of(s.name), Any, s.settings()) for s in others if fields(s.settings)]
    return make_dataclass(
        base.__name__, sections, bases=(base,), frozen=True, namespace={"__doc__": ""}
    )


def section_of(stage: str) -> str:
    """The section of a stage's own settings; a name of a field has no hyphen."""
    return stage.replace("-", "_")


def preset_values(corpus: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """What replaces the defaults of `PrepConfig`: the values of the corpus and of its preset.

    Of the values that the user gave, by path, ``preset`` and ``compact`` count.

    Raises:
        UsageError: the corpus or its preset is unknown.
    """
    chosen = CORPORA.load(corpus)
    preset = given.get("preset", OURS)
    if preset not in (OURS, *chosen.presets):
        raise UsageError(
            f"unknown preset {preset!r} of {corpus}",
            meant(preset, (OURS, *chosen.presets)),
        )
    compact = fields_of(PrepConfig)["compact"].convert(given.get("compact", False))
    sections: dict[str, Any] = {"corpus": chosen.options} | (
        {"storage": COMPACT} if compact else {}
    )
    for path, value in chosen.presets.get(preset, {}).items():
        section, _, name = path.partition(".")
        base = sections.get(section) or getattr(_SETTINGS, section)
        sections[section] = replace(base() if isinstance(base, type) else base, **{name: value})
    return {
        "name": corpus,
        "labels": chosen.classes,
        "require": chosen.require or "none",
        **sections,
    }
