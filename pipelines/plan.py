"""Turns a configuration into the list of shards to build; deterministic, before any work."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

from fv2es_prep.config import FaceSettings, PrepSettings, TextSettings, digest_of
from fv2es_prep.corpora import CORPORA
from fv2es_prep.corpora.base import scan_raw, stored_options
from fv2es_prep.corpora.inventory import (
    LabelChoice,
    first_utterances,
    spread_utterances,
    without_utterances,
)
from fv2es_prep.errors import SettingsError, ShardError, UsageError
from fv2es_prep.shards.index import read_index, shard_names
from fv2es_prep.shards.review import excluded
from fv2es_prep.shards.schema import FORMAT_VERSION
from fv2es_prep.shards.writer import ShardHeader
from fv2es_prep.stages.encoders.encoder_source import encoder_sections, split_stages
from fv2es_prep.stages.registry import (
    choose_stages,
    is_encoder,
    load_stage,
    modalities_of,
    sections_of,
    stages_of,
)
from fv2es_prep.stages.tokens import describe_tokenizer
from fv2es_prep.types import Inventory, Recording, ShardReceipt, Utterance
from fv2es_prep.utils.files import make_directory, refuse_url
from fv2es_prep.utils.hub import is_here
from fv2es_prep.utils.phases import Phase, silent
from pipelines.cache import Cache, earlier_shards, read_cache
from pipelines.config import PrepConfig, letters_of, section_of
from pipelines.executors.plan_directory import earlier_hashes
from pipelines.media_hashes import HashedMedia, MediaHashes, hash_media, known_media
from pipelines.task import ShardTask, task_digest, with_kept

_MB = 1_000_000


@dataclass(frozen=True)
class Plan:
    """The work of a run.

    Attributes:
        inventory: what to prepare.
        settings: the settings of every stage.
        tasks: every shard of the dataset, in order.
        finished: name of a shard that is already complete -> its receipt.
        cache: shards and values of earlier runs.
        shard_bytes: expected bytes of all shards.
        media_hashes: known hashes of media files; workers hash the files of other recordings.
    """

    inventory: Inventory
    settings: PrepSettings
    tasks: tuple[ShardTask, ...]
    finished: dict[str, ShardReceipt]
    cache: Cache
    shard_bytes: int = 0
    media_hashes: MediaHashes = field(default_factory=dict)

    @property
    def todo(self) -> list[ShardTask]:
        """The shards still to build."""
        return [task for task in self.tasks if task.path.name not in self.finished]


def plan_corpus(config: PrepConfig, dry_run: bool = False, phase: Phase = silent) -> Plan:
    """Scan the corpus and plan its shards.

    Media files are hashed here only if their content is unknown and decides what can be kept of
    earlier shards. A dry run makes no dataset directory and hashes nothing. ``phase`` shows
    progress.

    Raises:
        CorpusError: the corpus does not exist or has an unexpected layout.
        SettingsError: a value is out of range.
        TokenizerError: the tokenizer cannot be loaded.
        OutputError: the dataset directory cannot be made.
    """
    refuse_url(config.out)
    left_out = excluded(config.exclude) if config.exclude else {}
    with phase("scan the corpus"):
        inventory = _scan(config)
    # All checks that can fail run before the directory is made and media are hashed.
    stages, encoders = split_stages(config.stages)
    settings = _settings(config, stages, encoders, inventory, dry_run)
    # Workers may run in another directory, so a tokenizer directory becomes an absolute path.
    found = Path(config.tokenizer)
    tokenizer = str(found.resolve()) if found.is_dir() else config.tokenizer
    out = config.out.resolve()
    if not dry_run:
        make_directory(out)
    earlier = len(earlier_shards(out, inventory.corpus))
    with phase("read earlier shards", earlier, "shards") as report:
        cache = read_cache(out, inventory.corpus, report)
    known: MediaHashes = {}
    if not config.rehash and (remembered := earlier_hashes(out)):
        with phase("look at media files"):
            known = known_media(inventory.recordings, remembered)
    if not dry_run:
        asked = [r for r in earlier_recordings(inventory, cache) if r.id not in known]
        with phase("hash media files", len(asked), "recordings") as report:
            known = {**known, **hash_media(asked, out, report)}
    with phase("plan shards"):
        return make_plan(
            inventory,
            settings,
            tokenizer,
            out,
            config.shard_mb,
            known,
            config.retry_dropped,
            config.fail_fast,
            config.device,
            {stage: encoders[stage] for stage in settings.stages if stage in encoders},
            config.encoder_batch,
            cache,
            left_out,
        )


def _scan(config: PrepConfig) -> Inventory:
    corpus = CORPORA.load(config.name)
    choice = LabelChoice(config.labels, config.merge, corpus.classes)
    inventory = scan_raw(corpus, config.raw, choice, config.corpus)
    if config.licence:
        inventory = replace(inventory, provenance=inventory.provenance.under(config.licence))
    if config.limit is not None:
        inventory = first_utterances(inventory, config.limit)
    if config.sample is not None:
        inventory = spread_utterances(inventory, config.sample)
    return inventory


def earlier_recordings(inventory: Inventory, cache: Cache) -> list[Recording]:
    """The recordings with utterances that earlier runs prepared or dropped."""
    before = cache.fingerprints.keys() | cache.drops.keys()
    names = {u.recording_id for u in inventory.utterances if u.id in before} if before else set()
    return [recording for recording in inventory.recordings if recording.id in names]


def _settings(
    config: PrepConfig,
    names: tuple[str, ...],
    encoders: dict[str, str],
    inventory: Inventory,
    dry_run: bool,
) -> PrepSettings:
    """The settings that the dataset stores: sections, identity of the tokenizer, corpus options."""
    modalities = letters_of(config.modalities) or ""
    chosen = {name: modalities_of(load_stage(name)) for name in choose_stages(names)}
    stages = tuple(name for name, needed in chosen.items() if {*needed} <= {*modalities})
    if not stages:
        raise SettingsError(
            f"none of the stages {', '.join(chosen)} can be made from {modalities!r} alone",
            f"pass their modalities with --modalities: {', '.join(chosen.values())}",
        )
    require = "".join(letter for letter in letters_of(config.require) or "" if letter in modalities)
    shared = {f.name for f in fields(PrepSettings)} & {f.name for f in fields(PrepConfig)}
    sections = {name: getattr(config, name) for name in shared} | {
        "stages": stages,
        "require": require,
    }
    own = {name: asdict(getattr(config, section_of(name))) for name in sections_of(stages)}
    own |= encoder_sections(stages, encoders, config.encoders, _stored_encoders(config.out))
    text = TextSettings()
    if any(load_stage(name).section == "text" for name in stages):
        text = replace(text, tokenizer=config.tokenizer, max_tokens=config.text.max_tokens)
        # A dry run needs no tokenizer and no network.
        if not dry_run or is_here(config.tokenizer):
            text = describe_tokenizer(config.tokenizer, config.text.max_tokens)
    faces = _faces(config.faces, encoders)
    corpus = stored_options(replace(config.corpus, **inventory.options))
    given = {"others": own, "text": text, "faces": faces, "corpus": corpus}
    return PrepSettings(**{**sections, **given})


def _faces(faces: FaceSettings, encoders: Mapping[str, str]) -> FaceSettings:
    if "faces" in encoders:
        from fv2es_prep.detectors.yunet import with_model

        return with_model(faces, Path(encoders["faces"]))
    if faces.detector == "yunet":
        raise SettingsError(
            "the face detector yunet has no model file",
            "write faces:FILE among the stages, e.g. --stages faces:yunet.onnx,mel,tokens",
        )
    return faces


def _stored_encoders(out: Path) -> dict[str, Any]:
    """Stage -> settings of the encoders that the dataset directory already has."""
    with contextlib.suppress(ShardError, UsageError):
        others = read_index(out).settings.others
        return {name: dict(values) for name, values in others.items() if is_encoder(name)}
    return {}


def make_plan(
    inventory: Inventory,
    settings: PrepSettings,
    tokenizer: str,
    out: Path,
    shard_mb: float = 16,
    media_hashes: Mapping[str, HashedMedia] = {},
    retry_dropped: bool = False,
    fail_fast: bool = False,
    device: str = "cpu",
    encoders: Mapping[str, str] = {},
    encoder_batch: int = 0,
    cache: Cache | None = None,
    left_out: Mapping[str, str] = {},
) -> Plan:
    """Cut an inventory into shards, and find which of them and which values exist already.

    Recordings are taken in order and never divided: a shard is closed as soon as its expected size
    reaches ``shard_mb`` (10^6 bytes). So the cut depends only on the corpus and the settings. For
    recordings without ``media_hashes`` nothing of earlier runs is kept: workers hash their files.
    ``retry_dropped`` prepares again what an earlier run dropped. ``cache`` is read from ``out`` if
    None. ``left_out`` is dropped as in `without_utterances`, but after the cut, so other shards do
    not change. See `ShardTask` for the other arguments.

    Raises:
        SettingsError: the shard size is not positive.
    """
    if not shard_mb > 0:
        raise SettingsError(f"the shard size is {shard_mb} MB, expected more than 0")
    if cache is None:
        cache = read_cache(out, inventory.corpus)
    cuts = [_without(cut, left_out) for cut in _cut(inventory, settings, shard_mb * _MB)]
    inventory = without_utterances(inventory, left_out)
    shared = _Shared(inventory, settings, tokenizer, fail_fast, device, encoders, encoder_batch)
    names = shard_names(inventory.corpus, len(cuts))
    tasks, finished = [], {}
    for name, (recordings, utterances, _) in zip(names, cuts, strict=True):
        path = out / name
        task = shared.task(path, recordings, utterances, media_hashes)
        old = cache.shards[path].receipt if path in cache.shards else None
        done = old is not None and old.task_digest == task.header.task_digest
        if done and old is not None and not (retry_dropped and old.dropped):
            finished[path.name] = old
        else:
            task = with_kept(task, cache, retry_dropped)
        tasks.append(task)
    total = sum(size for _, _, size in cuts)
    return Plan(inventory, settings, tuple(tasks), finished, cache, total, media_hashes)


@dataclass(frozen=True)
class _Shared:
    """What all tasks of a plan have in common; see `ShardTask`."""

    inventory: Inventory
    settings: PrepSettings
    tokenizer: str
    fail_fast: bool
    device: str
    encoders: Mapping[str, str]
    encoder_batch: int

    @cached_property
    def _made_from(self) -> dict[str, Any]:
        return {
            "format_version": FORMAT_VERSION,
            "corpus": self.inventory.corpus,
            "label_classes": self.inventory.label_classes,
            "rating_names": self.inventory.rating_names,
            "settings": self.settings.to_json(),
        }

    def task(
        self,
        path: Path,
        recordings: tuple[Recording, ...],
        utterances: tuple[Utterance, ...],
        media: MediaHashes,
    ) -> ShardTask:
        known = [recording.id for recording in recordings if recording.id in media]
        hashes = {name: media[name].hashes for name in known}
        # Like `asdict`, but ten times as fast. json writes NaN ratings as NaN, so equal ratings
        # give equal text.
        plain = [{**vars(utterance), "view": vars(utterance.view)} for utterance in utterances]
        made_from = digest_of({**self._made_from, "utterances": plain})
        inventory = self.inventory
        classes, ratings = inventory.label_classes, inventory.rating_names
        digest = task_digest(made_from, hashes) if len(known) == len(recordings) else ""
        header = ShardHeader(inventory.corpus, classes, ratings, self.settings, hashes, digest)
        return ShardTask(
            path,
            recordings,
            utterances,
            header,
            made_from,
            self.tokenizer,
            {name: media[name].state for name in known},
            fail_fast=self.fail_fast,
            device=self.device,
            encoders=dict(self.encoders),
            encoder_batch=self.encoder_batch,
        )


_Cut = tuple[tuple[Recording, ...], tuple[Utterance, ...], int]


def _cut(inventory: Inventory, settings: PrepSettings, shard_bytes: float) -> Iterator[_Cut]:
    """The recordings, utterances and expected bytes of each shard."""
    recordings, held, size = list[Recording](), list[Utterance](), 0
    known = {recording.id: recording for recording in inventory.recordings}
    needs = {stage: {*modalities_of(stage)} for stage in stages_of(settings)}
    for name, group in groupby(inventory.utterances, key=lambda u: u.recording_id):
        members, recording = list(group), known[name]
        lacks = {*"v" * (recording.video is None), *"a" * (recording.audio is None)}
        stages = [stage for stage, letters in needs.items() if not letters & lacks]
        recordings.append(recording)
        held += members
        size += sum(
            stage.expected_bytes(u.duration_s, settings) for u in members for stage in stages
        )
        if size >= shard_bytes:
            yield tuple(recordings), tuple(held), size
            recordings, held, size = [], [], 0
    if held:
        yield tuple(recordings), tuple(held), size


def _without(cut: _Cut, left_out: Mapping[str, str]) -> _Cut:
    recordings, utterances, size = cut
    kept = tuple(utterance for utterance in utterances if utterance.id not in left_out)
    used = {utterance.recording_id for utterance in kept}
    return tuple(recording for recording in recordings if recording.id in used), kept, size
