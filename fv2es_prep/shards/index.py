"""index.json: the shards of a dataset directory; its presence means complete."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from fv2es_prep.config import PrepSettings, digest_of
from fv2es_prep.errors import DAMAGE, SettingsError, ShardError, StoreError, UsageError, words_of
from fv2es_prep.shards.dropped import DROPPED_NAME
from fv2es_prep.shards.schema import FORMAT_VERSION, check_version, features_of
from fv2es_prep.stages.tokens import TOKENIZER_DIR
from fv2es_prep.store.shard_cache import dataset_directory
from fv2es_prep.types import Provenance, ShardReceipt
from fv2es_prep.utils.files import read_regular, sha256_of, write_json

INDEX_NAME, CATALOGUE_NAME = "index.json", "catalogue.parquet"
# Digits of the number in a shard's name: five, or ten for more shards.
NAME_DIGITS = 5, 10
# Record of the last run on a dataset, with local paths.
RUN_NAME = "run.json"
_INDEX_FORMAT = "fv2es-shard"
# Limits on an index: about 240,000 shards, and the fewest bytes of an example in a shard.
_MOST_BYTES, _LEAST_EXAMPLE_BYTES = 64 << 20, 64


@dataclass(frozen=True)
class ShardEntry:
    """One shard of the index: file name, SHA-256, bytes, number of examples, task digest."""

    name: str
    sha256: str
    size_bytes: int
    examples: int
    task_digest: str


@dataclass(frozen=True)
class Part:
    """One of the datasets of a merged dataset.

    Attributes:
        corpus: name of its corpus, as stored in its shards.
        shards: number of its shards; they follow those of the previous part.
    """

    corpus: str
    shards: int


@dataclass(frozen=True)
class Index:
    """What a dataset directory holds.

    Attributes:
        corpus: name of the corpus; names joined by ``+`` if merged.
        format_version: version of the shard format.
        label_classes: names of the label columns.
        rating_names: names of the rating columns.
        settings: the settings of every stage.
        shards: in the order of their utterances, part by part.
        merged: the parts of a merged dataset, otherwise empty.
        reconciliation: name -> count, see `Inventory`; empty if merged.
        provenance: where the corpus of each part comes from; empty for older datasets.
        missing: modality -> code of the reason -> number of examples without it.
        files: name of a file beside the shards -> its SHA-256, set by `write_index`; empty for
            older datasets.
    """

    corpus: str
    format_version: str
    label_classes: tuple[str, ...]
    rating_names: tuple[str, ...]
    settings: PrepSettings
    shards: tuple[ShardEntry, ...]
    merged: tuple[Part, ...] = ()
    reconciliation: dict[str, int] = field(default_factory=dict)
    provenance: tuple[Provenance, ...] = ()
    missing: dict[str, dict[str, int]] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)

    @property
    def parts(self) -> tuple[Part, ...]:
        """The parts; one for a dataset that is not merged."""
        return self.merged or (Part(self.corpus, len(self.shards)),)

    @property
    def examples(self) -> int:
        """Number of examples in all shards."""
        return sum(shard.examples for shard in self.shards)

    @property
    def may_be_handed_on(self) -> bool:
        """Whether the licences of all parts permit passing the dataset on; False if unknown."""
        known = len(self.provenance) == len(self.parts)
        return known and all(source.may_be_handed_on for source in self.provenance)

    @property
    def size_bytes(self) -> int:
        """Bytes of all shards."""
        return sum(shard.size_bytes for shard in self.shards)


def shard_names(stem: str, count: int) -> list[str]:
    """Names of a dataset's shards, ``STEM-NUMBER.h5``, which sort in their order."""
    few, many = NAME_DIGITS
    digits = few if count <= 10**few else many
    return [f"{stem}-{number:0{digits}d}.h5" for number in range(count)]


def make_index(
    corpus: str,
    label_classes: tuple[str, ...],
    rating_names: tuple[str, ...],
    settings: PrepSettings,
    receipts: Sequence[ShardReceipt],
    reconciliation: dict[str, int] | None = None,
    provenance: Provenance | None = None,
) -> Index:
    """Make the index of the shards of the receipts, in order of their names."""
    shards = tuple(
        ShardEntry(r.name, r.sha256, r.size_bytes, r.examples, r.task_digest)
        for r in sorted(receipts, key=lambda receipt: receipt.name)
    )
    head = corpus, FORMAT_VERSION, label_classes, rating_names, settings
    sources = (provenance,) if provenance else ()
    return Index(*head, shards, reconciliation=reconciliation or {}, provenance=sources)


def companions(directory: Path) -> list[str]:
    """Names of existing files beside the shards whose SHA-256 is in the index."""
    tokenizer = (directory / TOKENIZER_DIR).glob("*")
    paths = [directory / CATALOGUE_NAME, directory / DROPPED_NAME, *sorted(tokenizer)]
    return [path.relative_to(directory).as_posix() for path in paths if path.is_file()]


def write_index(directory: Path, index: Index) -> Index:
    """Write index.json, the last file of a run; return the index with the files beside it."""
    files = {name: sha256_of(directory / name) for name in companions(directory)}
    value = {
        "format": _INDEX_FORMAT,
        "format_version": index.format_version,
        "requires": features_of(index.settings),
        "corpus": index.corpus,
        "examples": index.examples,
        "size_bytes": index.size_bytes,
        "label_classes": index.label_classes,
        "rating_names": index.rating_names,
        "stages": index.settings.stages,
        "settings": index.settings.to_json(),
        "settings_digest": index.settings.digest(),
        "shards": [asdict(shard) for shard in index.shards],
        "merged": [asdict(part) for part in index.merged],
        "reconciliation": index.reconciliation,
    }
    # Left out if empty, as in earlier versions.
    if index.provenance:
        value["provenance"] = [asdict(source) for source in index.provenance]
    if index.missing:
        value["missing"] = index.missing
    if files:
        value["files"] = files
    # Through JSON, so that the digest covers what a reader reads.
    digest = digest_of(json.loads(json.dumps(value)))
    write_json(directory / INDEX_NAME, {**value, "digest": digest})
    return replace(index, files=files)


def read_index(directory: Path) -> Index:
    """Read the index of a dataset directory, or of its URL.

    Raises:
        UsageError: the directory does not exist or has no index.
        ShardError: the index is damaged or of a newer format.
    """
    directory = dataset_directory(directory)
    path = directory / INDEX_NAME
    if not directory.is_dir():
        raise UsageError(
            f"{directory} is not a directory", "pass the directory that `fv2es prep` wrote to"
        )
    if not path.exists():
        raise UsageError(
            f"{directory} holds no {INDEX_NAME}: it is not a finished dataset",
            "run the same `fv2es prep` command again; it continues where it stopped",
        )
    hint = "run the same `fv2es prep` command again"
    try:
        value = json.loads(read_regular(path, _MOST_BYTES))
        check_version(str(path), value["format"], value["format_version"], value["requires"])
        digest, index = value.pop("digest"), _index_of(value)
        edited = digest != digest_of(value)
    except (*DAMAGE, SettingsError) as error:
        sentence = f"{path} is damaged: {type(error).__name__}: {words_of(error)}"
        raise ShardError(sentence, hint) from error
    if edited:
        raise ShardError(f"{path} was edited: its digest does not match its content", hint)
    return index


def _index_of(value: dict[str, Any]) -> Index:
    # Unknown fields are ignored: a later minor version may add some.
    shards = msgspec.convert(value["shards"], tuple[ShardEntry, ...])
    parts = msgspec.convert(value["merged"], tuple[Part, ...])
    for name in (shard.name for shard in shards):
        # A name must not lead outside the directory.
        if Path(name).name != name or not name.endswith(".h5"):
            raise ValueError(f"{name!r} is not the name of a shard")
    for shard in shards:
        if not 0 <= shard.examples * _LEAST_EXAMPLE_BYTES <= shard.size_bytes:
            raise ValueError(f"{shard.name} cannot have {shard.examples} examples")
    files = msgspec.convert(value.get("files", {}), dict[str, str])
    for path in map(PurePosixPath, files):
        if path.is_absolute() or ".." in path.parts or len(path.parts) > 2:
            raise ValueError("it names a file outside the directory")
    if parts and sum(part.shards for part in parts) != len(shards):
        raise ValueError(
            f"its parts have {sum(p.shards for p in parts)} shards, expected {len(shards)}"
        )
    return Index(
        corpus=value["corpus"],
        format_version=value["format_version"],
        label_classes=tuple(value["label_classes"]),
        rating_names=tuple(value["rating_names"]),
        settings=PrepSettings.from_json(value["settings"]),
        shards=shards,
        merged=parts,
        reconciliation=dict(value.get("reconciliation", {})),
        provenance=msgspec.convert(value.get("provenance", []), tuple[Provenance, ...]),
        missing=dict(value.get("missing", {})),
        files=files,
    )


def encoders_of(directory: Path) -> dict[str, str]:
    """The encoders that run.json names: stage -> directory or hub name."""
    try:
        directory = dataset_directory(directory)
        noted = json.loads(read_regular(directory / RUN_NAME))["encoders"]
        return {str(stage): str(place) for stage, place in noted.items()}
    except (StoreError, UsageError, OSError, ValueError, LookupError, TypeError, AttributeError):
        return {}
