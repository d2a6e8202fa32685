"""From a configuration to a plan: scan the corpus, complete the settings, cut the shards.

Leaves reading a corpus to its module and the work to `run`.
"""

from __future__ import annotations

from dataclasses import asdict, fields, replace
from pathlib import Path

from fv2es_prep.config import PrepSettings, TextSettings
from fv2es_prep.corpora import CORPORA
from fv2es_prep.corpora.base import stored_options
from fv2es_prep.corpora.inventory import LabelChoice, first_utterances, spread_utterances
from fv2es_prep.stages.registry import choose_stages, load_stage, sections_of
from fv2es_prep.stages.tokens import describe_tokenizer
from fv2es_prep.types import Inventory
from fv2es_prep.utils.files import make_directory
from pipelines.cache import holds_shards
from pipelines.config import PrepConfig, section_of
from pipelines.media_hashes import hash_media
from pipelines.plan import Plan, make_plan


def plan_corpus(config: PrepConfig, dry_run: bool = False) -> Plan:
    """Scan the corpus and plan its shards.

    Args:
        config: the preparation.
        dry_run: do not make the dataset directory; where it holds no shards, hash no media file.

    Raises:
        CorpusError: the corpus does not exist or is not laid out as expected.
        SettingsError: a value is out of range.
        TokenizerError: the tokenizer cannot be loaded.
        OutputError: the dataset directory cannot be made.
    """
    corpus = CORPORA.load(config.name)
    choice = LabelChoice(config.labels, config.merge)
    inventory = corpus.scan(config.raw, choice, config.corpus)
    if config.limit is not None:
        inventory = first_utterances(inventory, config.limit)
    if config.sample is not None:
        inventory = spread_utterances(inventory, config.sample)
    # Everything that can be refused comes before the directory is made and media are hashed.
    settings = _settings(config, inventory)
    # Workers may run in another directory: a tokenizer directory travels as a whole path.
    found = Path(config.tokenizer)
    tokenizer = str(found.resolve()) if found.is_dir() else config.tokenizer
    out = config.out.resolve()
    hashes = None
    if not dry_run:
        # The digests are kept there, also if the run stops early.
        make_directory(out)
    if not dry_run or holds_shards(out, inventory.corpus):
        hashes = hash_media(inventory.recordings, out, config.trust_mtime)
    return make_plan(
        inventory,
        settings,
        tokenizer,
        out,
        config.shard_mb,
        hashes,
        config.retry_dropped,
        config.fail_fast,
        config.device,
    )


def _settings(config: PrepConfig, inventory: Inventory) -> PrepSettings:
    """What the dataset stores: the sections, the tokenizer's identity, the corpus's options."""
    stages = choose_stages(config.stages)
    shared = {f.name for f in fields(PrepSettings)} & {f.name for f in fields(PrepConfig)}
    sections = {name: getattr(config, name) for name in shared} | {"stages": stages}
    own = {name: asdict(getattr(config, section_of(name))) for name in sections_of(stages)}
    text = TextSettings()
    if any(load_stage(name).section == "text" for name in stages):
        text = describe_tokenizer(config.tokenizer, config.text.max_tokens)
    corpus = stored_options(replace(config.corpus, **inventory.options))
    return PrepSettings(**{**sections, "others": own, "text": text, "corpus": corpus})
