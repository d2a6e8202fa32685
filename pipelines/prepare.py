"""From what a user asks for to a plan: scan the corpus, settle the settings, cut the shards.

Owns the options of `fv2es prep`. Leaves each corpus to its adapter and the work to `run`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fv2es_prep.config import (
    COMPACT,
    DEFAULT_STAGES,
    LOSSLESS,
    FaceSettings,
    FrameSettings,
    PrepSettings,
    TextSettings,
)
from fv2es_prep.corpora import CORPORA
from fv2es_prep.corpora.base import stored_options
from fv2es_prep.corpora.inventory import LabelChoice, first_utterances, spread_utterances
from fv2es_prep.errors import UsageError
from fv2es_prep.stages.registry import choose_stages, load_stage, sections_of
from fv2es_prep.stages.tokens import describe_tokenizer
from fv2es_prep.utils.files import make_directory
from pipelines.cache import holds_shards
from pipelines.media_hashes import hash_sources
from pipelines.plan import Plan, make_plan


@dataclass(frozen=True)
class PrepOptions:
    """What `fv2es prep` is asked to do.

    Attributes:
        corpus: name of the corpus adapter.
        raw: the raw corpus.
        out: the dataset directory.
        labels: the chosen classes; empty takes the adapter's own, or those that are found.
        merge: class that is renamed -> class that it joins.
        options: options of the corpus, see `Corpus.options`; None: their defaults.
        preset: ``ours``, or a preset of the corpus.
        tokenizer: name at the hub or directory.
        max_tokens: longest token sequence.
        stages: names of the stages to make.
        interval_ms: milliseconds between two sampled frames.
        detector: which face detector; see `FaceSettings`.
        device: where it runs, ``cpu`` or torch's name of a GPU.
        shard_mb: expected size of a shard in megabytes.
        limit: only the first so many utterances, for a trial; None takes all.
        sample: only so many utterances, evenly spread over the corpus; None takes all.
        trust_mtime: take a file's digest of an earlier run where size and time are the same.
        retry_dropped: try those again that an earlier run dropped.
        fail_fast: stop at the first recording that cannot be read.
        compact: store faces as JPEG and spectra as 8-bit steps.
    """

    corpus: str
    raw: Path
    out: Path
    labels: tuple[str, ...] = ()
    merge: dict[str, str] = field(default_factory=dict)
    options: Any = None
    preset: str = "ours"
    tokenizer: str = "albert-base-v2"
    max_tokens: int = 100
    stages: tuple[str, ...] = DEFAULT_STAGES
    interval_ms: float = 500.0
    detector: str = "exact"
    device: str = "cpu"
    shard_mb: float = 16.0
    limit: int | None = None
    sample: int | None = None
    trust_mtime: bool = False
    retry_dropped: bool = False
    fail_fast: bool = False
    compact: bool = False


def plan_corpus(options: PrepOptions, dry_run: bool = False) -> Plan:
    """Scan the corpus and plan its shards.

    Args:
        options: what is asked for.
        dry_run: the plan is only looked at. Then the dataset directory is not made, and where it
            holds no shards nothing can be kept, so that no media file is hashed.

    Raises:
        CorpusError: the corpus is not there or not laid out as expected.
        SettingsError: an option is out of range.
        UsageError: the corpus has no such preset.
        TokenizerError: the tokenizer cannot be loaded.
        OutputError: the dataset directory cannot be made.
    """
    corpus = CORPORA.load(options.corpus)
    frames, faces, own = _chosen(options)
    choice = LabelChoice(options.labels or corpus.classes, options.merge)
    inventory = corpus.scan(options.raw, choice, own)
    if options.limit is not None:
        inventory = first_utterances(inventory, options.limit)
    if options.sample is not None:
        inventory = spread_utterances(inventory, options.sample)
    stages = choose_stages(options.stages)
    worded = any(load_stage(name).section == "text" for name in stages)
    text = describe_tokenizer(options.tokenizer, options.max_tokens) if worded else TextSettings()
    storage = COMPACT if options.compact else LOSSLESS
    settings = PrepSettings(
        corpus=stored_options(replace(own, **inventory.options)),
        frames=frames,
        faces=faces,
        text=text,
        storage=storage,
        stages=stages,
        others=sections_of(stages),
    )
    # Workers may run in another directory: a tokenizer directory travels as a whole path.
    found = Path(options.tokenizer)
    tokenizer = str(found.resolve()) if found.is_dir() else options.tokenizer
    out = options.out.resolve()
    sources = None
    if not dry_run:
        # The digests are kept there, also for a run that does not get far.
        make_directory(out)
    if not dry_run or holds_shards(out, inventory.corpus):
        sources = hash_sources(inventory.recordings, out, options.trust_mtime)
    return make_plan(
        inventory,
        settings,
        tokenizer,
        out,
        options.shard_mb,
        sources,
        options.retry_dropped,
        options.fail_fast,
        options.device,
    )


def _chosen(options: PrepOptions) -> tuple[FrameSettings, FaceSettings, Any]:
    """Frame, face and corpus options, with the values of the preset."""
    corpus = CORPORA.load(options.corpus)
    frames = FrameSettings(options.interval_ms / 1000)
    faces = FaceSettings(detector=options.detector)
    own = options.options or corpus.options()
    if options.preset == "ours":
        return frames, faces, own
    if options.preset not in corpus.presets:
        raise UsageError(
            f"unknown preset {options.preset!r} of {options.corpus}",
            f"choose from {', '.join(('ours', *corpus.presets))}",
        )
    values = corpus.presets[options.preset]
    parts = {"frames": frames, "faces": faces, "corpus": own}
    for path, value in values.items():
        part, _, name = path.partition(".")
        parts[part] = replace(parts[part], **{name: value})
    return parts["frames"], parts["faces"], parts["corpus"]
