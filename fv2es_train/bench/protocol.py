"""Protocols of papers: dataset, split, metrics and published results, each a TOML file.

Owns the form of these files. Leaves the check of a dataset to `bench_splits`. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from fv2es_prep.errors import UsageError
from fv2es_prep.utils.configuration import flatten, read_toml, settle
from fv2es_prep.utils.near import meant
from fv2es_train.bench.bench_config import BenchConfig

MEAN = "mean"


class SplitOf(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The split of a protocol: a published one, which the user imports, or a recipe.

    Attributes:
        published: name of a split in manifests/published.json.
        recipe: recipe of `fv2es splits build`, with its folds.
        folds: number of folds, or ``all``.
        seed: seed of the recipe.
    """

    published: str = ""
    recipe: str = ""
    folds: int | str | None = None
    seed: int = 0


class Published(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A published result, which fv2es does not reproduce here.

    Attributes:
        system: name of the system in the source.
        source: a key of the protocol's sources.
        percent: metric -> class, or ``mean`` over the classes -> percent, as printed.
        modalities: letters of t, a, v; empty if unknown.
    """

    system: str
    source: str
    percent: dict[str, dict[str, float]]
    modalities: str = "tav"


class Protocol(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A protocol, as its file states it.

    Attributes:
        title: title of the protocol, one line.
        corpus: the corpus.
        classes: its classes, in any order.
        contract: how the papers define their metrics.
        split: the split.
        utterances: utterances with these classes; None if unknown.
        prepare: options of `fv2es prep` that give these classes.
        bench: defaults of the bench.
        sources: key -> source of published results.
        published: published results.
    """

    title: str
    corpus: str
    classes: tuple[str, ...]
    contract: str
    split: SplitOf
    utterances: int | None = None
    prepare: str = ""
    bench: dict[str, Any] = {}
    sources: dict[str, str] = {}
    published: tuple[Published, ...] = ()


def protocols() -> dict[str, Path]:
    """Name -> file of each protocol that ships with fv2es."""
    here = Path(__file__).with_name("protocols")
    place = here if here.is_dir() else Path(__file__).parents[2] / "recipes/protocols"
    return {path.stem: path for path in sorted(place.glob("*.toml"))}


def read_protocol(name: str) -> Protocol:
    """Read a protocol by name, or from a file FILE.toml.

    Raises:
        UsageError: the protocol is unknown, cannot be read, or has an invalid form.
    """
    known = protocols()
    if name not in known and not name.endswith(".toml"):
        raise UsageError(
            f"unknown protocol {name!r}",
            meant(name, known) + "; or pass FILE.toml",
        )
    path = known.get(name, Path(name))
    try:
        found = msgspec.convert(read_toml(path), Protocol)
    except msgspec.ValidationError as error:
        raise UsageError(
            f"{path} is not a protocol: {error}", "write it as docs/bench.md describes"
        ) from error
    for row in found.published:
        if row.source not in found.sources:
            raise UsageError(f"{path}: {row.system} has the unknown source {row.source!r}")
    return found


def preset_of(given: Mapping[str, Any]) -> Mapping[str, Any]:
    """The defaults that the protocol in the given values sets for the bench."""
    if not given.get("protocol"):
        return {}
    found = read_protocol(given["protocol"]).bench
    values = settle(BenchConfig, flatten(found))
    return {name: values[name] for name in found}
