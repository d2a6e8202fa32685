"""The splits of a bench: given by the user or by its protocol, whose conditions are checked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from fv2es_prep.errors import SplitError, UsageError
from fv2es_prep.splits import Split, read_split, write_split
from fv2es_prep.splits.recipes import Rule, build_splits
from fv2es_prep.utils.files import make_directory
from fv2es_train.bench.protocol import preset_of, read_protocol
from fv2es_train.training.folds import manifests_of

if TYPE_CHECKING:
    from fv2es_prep.shards.catalogue import Catalogue
    from fv2es_train.bench.bench_config import BenchConfig
    from fv2es_train.bench.protocol import Protocol

FOLDS = "folds"
_IMPORT = (
    "import the published lists with fv2es splits import LISTS --shards SHARDS --out split.json, "
    "then pass --split split.json"
)


def manifests_for(config: BenchConfig, table: Catalogue) -> tuple[Path, ...]:
    """Return the manifests of a bench; write the folds of a protocol's recipe to OUT/folds.

    Raises:
        UsageError: the dataset does not match the protocol, or the protocol needs (or makes) a
            split.
        SplitError: the recipe cannot be applied to the dataset.
    """
    split, protocol = config.split, read_protocol(config.protocol) if config.protocol else None
    if protocol:
        _check_dataset(protocol, config, table)
    if protocol and protocol.split.recipe:
        if split is not None:
            raise UsageError(
                f"the protocol {config.protocol} makes its own split", "remove --split"
            )
        rule = protocol.split
        split = config.out / FOLDS
        make_directory(split)
        made = build_splits(table, Rule(rule.recipe, rule.seed, folds=rule.folds))
        for number, each in enumerate(made):
            place = split / f"fold-{number}.json"
            if not place.is_file() or read_split(place) != each:
                write_split(each, place)
    if split is None:
        hint = _IMPORT if protocol else "pass --split with a manifest or a directory of folds"
        raise UsageError("the bench has no split", hint)
    return tuple(manifests_of(split)) if split.is_dir() else (split,)


def _check_dataset(protocol: Protocol, config: BenchConfig, table: Catalogue) -> None:
    index, wanted = table.index, ", ".join(protocol.classes)
    if index.corpus != protocol.corpus or {*index.label_classes} != {*protocol.classes}:
        options = f" {protocol.prepare}" if protocol.prepare else ""
        raise UsageError(
            f"{config.shards} contains {index.corpus} with the classes "
            f"{', '.join(index.label_classes)}; the protocol {config.protocol} expects "
            f"{protocol.corpus} with {wanted}",
            f"prepare matching shards: fv2es prep {protocol.corpus} RAW --out SHARDS{options}",
        )


def described(config: BenchConfig, table: Catalogue, splits: Sequence[Split]) -> dict[str, Any]:
    """Describe the protocol of a table.

    Returns:
        JSON-ready: ``name``, ``title``, ``contract``, ``notes`` (how training, dataset and split
        differ from those of the protocol), ``sources`` and ``published``: ``system``,
        ``modalities``, ``source`` and ``percent``, see `protocol.Published`.

    Raises:
        SplitError: the protocol expects a published split, and one of the splits is another one.
    """
    protocol = read_protocol(config.protocol)
    notes = list(_changes(config))
    if protocol.utterances not in (None, len(table)):
        notes.append(f"the shards have {len(table)} utterances, the protocol {protocol.utterances}")
    for split in splits:
        _check_published(protocol.split.published, split)
        if changed := split.parameters.get("changed"):
            notes.append(f"the lists of {', '.join(changed)} differ from the published ones")
        if missing := sum(split.parameters.get("not_in_shards", {}).values()):
            notes.append(f"{missing} utterances of the published lists are not in the shards")
    return {
        "name": Path(config.protocol).stem,
        "title": protocol.title,
        "contract": " ".join(protocol.contract.split()),
        "notes": notes,
        "sources": protocol.sources,
        "published": msgspec.to_builtins(protocol.published),
    }


def _changes(config: BenchConfig) -> Iterator[str]:
    """A sentence for each option of training that differs from the protocol."""
    for path, value in preset_of({"protocol": config.protocol}).get("train", {}).items():
        if (ours := config.train.get(path)) != value:
            yield f"train.{path} is {ours}, in the protocol it is {value}"


def _check_published(wanted: str, split: Split) -> None:
    if wanted and split.parameters.get("published") != wanted:
        raise SplitError(
            f"the split has the recipe {split.recipe}, expected the published split {wanted}",
            _IMPORT,
        )
