"""Pairs the utterances that two datasets have in common, and compares their parts.

Leaves reading digests to `stored_parts`, and collecting differences to `dataset_diff`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from fv2es_prep.config import MODALITY_NAMES
from fv2es_prep.shards.catalogue import Catalogue, Names
from fv2es_prep.shards.tools.diff.stored_parts import StoredParts
from fv2es_prep.stages.registry import is_encoder

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Mask = NDArray[np.bool_]


class Pairs:
    """Two catalogues, and the utterances that both have.

    Args:
        a: the first catalogue.
        b: the second catalogue.

    Attributes:
        rows_a: int (P,), rows of the first catalogue whose ids are in both.
        rows_b: int (P,), rows of the same ids in the second.
        gone: rows of the first catalogue that are not in the second.
        new: rows of the second catalogue that are not in the first.
        classes: the classes of both.
        stages: the stages that both have.
    """

    def __init__(self, a: Catalogue, b: Catalogue) -> None:
        import pyarrow.compute as pc

        self.a, self.b = a, b
        found = pc.index_in(a.ids, value_set=b.ids)
        there = found.is_valid().to_numpy(zero_copy_only=False)
        self.rows_a = np.flatnonzero(there)
        self.rows_b = found.drop_null().to_numpy().astype(np.int64)
        self.gone = np.flatnonzero(~there)
        self.new = np.setdiff1d(np.arange(len(b)), self.rows_b)
        self.classes = tuple(dict.fromkeys((*a.label_classes, *b.label_classes)))
        self.stages = [s for s in a.index.settings.stages if s in b.index.settings.stages]

    def labels(self, side: Catalogue) -> Mask:
        """Bool (N, classes of both)."""
        label = np.zeros((len(side), len(self.classes)), np.bool_)
        label[:, [self.classes.index(name) for name in side.label_classes]] = side.label
        return label

    def differ(self, a: NDArray[Any], b: NDArray[Any]) -> Mask:
        """Where rows of two columns of N or (N, width) values differ, bool (P,)."""
        one, other = a[self.rows_a], b[self.rows_b]
        differs = one != other
        if one.dtype.kind == "f":
            differs &= ~(np.isnan(one) & np.isnan(other))
        found: Mask = differs.any(axis=tuple(range(1, differs.ndim)))
        return found

    def texts_differ(self) -> Mask:
        """Where transcripts differ, bool (P,)."""
        import pyarrow.compute as pc

        one, other = self.a.texts.take(self.rows_a), self.b.texts.take(self.rows_b)
        found: Mask = pc.not_equal(one, other).to_numpy(zero_copy_only=False)
        return found

    def names_differ(self, a: Names, b: Names) -> Mask:
        """Where names differ, bool (P,)."""
        places = {value: place for place, value in enumerate(a.values)}
        codes = np.array([places.get(value, -1) for value in b.values], np.int64)
        return self.differ(a.codes, codes[b.codes] if len(codes) else b.codes)


@dataclass(frozen=True)
class Part:
    """A part of utterances: where it differs, bool (P,), and a row's value as JSON."""

    name: str
    differs: Mask
    value: Callable[[Catalogue, int], Any] | None = None


def small_parts(pairs: Pairs) -> Iterator[Part]:
    """Yield the parts that the catalogues hold."""
    a, b = pairs.a, pairs.b
    spans = (np.stack(side.spans_us, axis=1) for side in (a, b))
    yield Part("span", pairs.differ(*spans), _span)
    yield Part("words", pairs.texts_differ(), lambda side, row: side.texts[row].as_py())
    yield Part("label", pairs.differ(pairs.labels(a), pairs.labels(b)), classes_of)
    for name in (name for name in a.ratings if name in b.ratings):
        differs = pairs.differ(a.ratings[name], b.ratings[name])
        yield Part(f"rating/{name}", differs, partial(_rating, name))
    for name in ("recordings", "speakers", "sessions"):
        differs = pairs.names_differ(getattr(a, name), getattr(b, name))
        yield Part(name.removesuffix("s"), differs, partial(_name, name))
    for letter, modality in MODALITY_NAMES.items():
        differs = pairs.names_differ(a.missing[letter], b.missing[letter])
        yield Part(f"missing/{modality}", differs, partial(_missing, letter))


def _span(side: Catalogue, row: int) -> list[float]:
    return [int(times[row]) / 1e6 for times in side.spans_us]


def classes_of(side: Catalogue, row: int) -> list[str]:
    """The classes of an utterance."""
    return [n for n, holds in zip(side.label_classes, side.label[row], strict=True) if holds]


def _rating(name: str, side: Catalogue, row: int) -> float | None:
    value = float(side.ratings[name][row])
    return None if np.isnan(value) else value


def _name(column: str, side: Catalogue, row: int) -> str:
    names: Names = getattr(side, column)
    return names.at([row])[0]


def _missing(letter: str, side: Catalogue, row: int) -> str:
    return side.missing[letter].at([row])[0]


def stage_parts(pairs: Pairs, stored: tuple[StoredParts, StoredParts]) -> Iterator[Part]:
    """Yield the values of each stage, compared by digests."""
    for stage in pairs.stages:
        yield Part(stage, stage_differs(pairs, stored, stage)[0])
    a, b = (parts.columns["clamped"] for parts in stored)
    yield Part("clamped", pairs.differ(a, b))


def stage_differs(
    pairs: Pairs, stored: tuple[StoredParts, StoredParts], stage: str
) -> tuple[Mask, Mask]:
    """Where values of a stage differ, and where they are equal but have another origin."""
    digests, origins = (
        [parts.columns[f"{kind}/{stage}"] for parts in stored] for kind in ("digest", "origin")
    )
    known = origins[0][pairs.rows_a].any(axis=1) & origins[1][pairs.rows_b].any(axis=1)
    differs, other_origin = pairs.differ(*digests), pairs.differ(*origins)
    if is_encoder(stage):
        # The last bits of an encoder's output depend on the batch.
        differs &= other_origin | ~known
    return differs, other_origin & known & ~differs
