"""Protocols of papers: dataset, split, metrics and published results, each a TOML file.

Owns the form of these files. Leaves whether a dataset fits to `bench_splits`. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from fv2es_prep.errors import UsageError
from fv2es_prep.utils.configuration import flatten, read_toml, settle
from fv2es_train.bench.bench_config import BenchConfig

MEAN = "mean"


class SplitOf(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The split: a published one, which the user imports, or a recipe.

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
    """A published result, which is not run here.

    Attributes:
        system: its name in the source.
        source: a key of the protocol's sources.
        percent: metric -> class, or ``mean`` over the classes -> percent, as printed.
        modalities: letters of t, a, v; empty if not known.
    """

    system: str
    source: str
    percent: dict[str, dict[str, float]]
    modalities: str = "tav"


class Protocol(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A protocol, as its file gives it.

    Attributes:
        title: a line that names it.
        corpus: the corpus.
        classes: its classes, in any order.
        contract: what the metrics of the papers are.
        split: the split.
        utterances: utterances with these classes; None if not known.
        prepare: options of `fv2es prep` that make these classes.
        bench: defaults of the bench.
        sources: key -> where published results are from.
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
    """Name -> file of each protocol that fv2es brings along."""
    here = Path(__file__).with_name("protocols")
    place = here if here.is_dir() else Path(__file__).parents[2] / "recipes/protocols"
    return {path.stem: path for path in sorted(place.glob("*.toml"))}


def read_protocol(name: str) -> Protocol:
    """The protocol of a name, or of a file FILE.toml.

    Raises:
        UsageError: it is unknown, cannot be read, or has another form.
    """
    known = protocols()
    if name not in known and not name.endswith(".toml"):
        raise UsageError(
            f"unknown protocol {name!r}", f"choose from {', '.join(known)}, or pass FILE.toml"
        )
    path = known.get(name, Path(name))
    try:
        found = msgspec.convert(read_toml(path), Protocol)
    except msgspec.ValidationError as error:
        raise UsageError(
            f"{path} is not a protocol: {error}", "docs/bench.md describes the file"
        ) from error
    for row in found.published:
        if row.source not in found.sources:
            raise UsageError(f"{path}: {row.system} has the unknown source {row.source!r}")
    return found


def preset_of(given: Mapping[str, Any]) -> Mapping[str, Any]:
    """The defaults of the bench that the protocol in the given values sets."""
    if not given.get("protocol"):
        return {}
    found = read_protocol(given["protocol"]).bench
    values = settle(BenchConfig, flatten(found))
    return {name: values[name] for name in found}
