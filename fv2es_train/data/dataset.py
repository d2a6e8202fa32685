"""Shards as a torch dataset of examples."""

from __future__ import annotations

import contextlib
import copy
import functools
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch.utils.data import Dataset

from fv2es_prep.config import VerifyReads
from fv2es_prep.errors import SplitError
from fv2es_prep.shards.catalogue import read_catalogue
from fv2es_prep.shards.reader import ShardReader
from fv2es_prep.store.shard_cache import dataset_directory, most_open
from fv2es_train.data.batches import shown_ids

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fv2es_prep.types import Example

# Limit of open shards (a Linux process has at most 65,530 maps), and files kept free for the rest.
_MOST_OPEN, _OTHER_FILES = 32_768, 512


class ShardDataset(Dataset["Example"]):
    """Examples of the chosen utterances, in the chosen order.

    Each process opens and checks a shard at its first example, so DataLoader workers may fork or
    spawn. As many shards stay open as the system allows; others are mapped again on access, and
    checked again only if the file has changed. Arrays of an example are read-only views of the
    shard; `batches.collate` copies them.

    Args:
        directory: directory of the shards and their index, or its URL; shards of a URL are fetched
            into a cache when they are opened, see docs/object-storage.md.
        ids: utterance ids; None means all, in the order of the shards.
        verify_reads: which digests to check, see `ShardReader`.

    Raises:
        SplitError: an id is not in the shards.
        ShardError: the index is damaged, or a shard is missing.
        StoreError: the object store cannot be read.

    Attributes:
        catalogue: the catalogue of all shards.
        index: the shards' index, with their settings and classes.
        ids: the chosen utterance ids.
        label: uint8 (N, C), 1 where the class holds, in the order of ``ids``.
        target: (N, C), targets of a training; equal to ``label`` unless replaced.
        shard: int64 (N,), the position of each example's shard in the index.
        mel_rows: int64 (N,), rows of each example's spectrum.
        missing: letter -> bool (N,), whether that modality is missing.
        faceless: bool (N,), whether no face was found in any picture.
    """

    def __init__(
        self,
        directory: Path | str,
        ids: Iterable[str] | None = None,
        verify_reads: VerifyReads = "never",
    ) -> None:
        self.directory, self.verify_reads = dataset_directory(Path(directory)), verify_reads
        self.catalogue = read_catalogue(self.directory)
        self.index = self.catalogue.index
        self._choose(self.catalogue.ids.to_pylist() if ids is None else ids)

    def subset(self, ids: Iterable[str]) -> ShardDataset:
        """Choose other utterances of the same shards; SplitError if an id is not in them."""
        twin = copy.copy(self)
        twin.catalogue = self.catalogue
        twin._choose(ids)
        return twin

    def _choose(self, ids: Iterable[str]) -> None:
        catalogue, self.ids = self.catalogue, tuple(ids)
        chosen = catalogue.rows_of(self.ids)
        if len(unknown := np.flatnonzero(chosen < 0)):
            raise SplitError(
                f"{len(unknown)} of {len(self.ids)} utterance ids are not in the shards of "
                f"{self.directory}; the first is {self.ids[unknown[0]]!r}",
                f"make a split of these shards: fv2es splits build {self.directory} "
                "--recipe random --out split.json",
            )
        self._chosen = chosen
        self.label: NDArray[np.uint8] = catalogue.label[chosen]
        self.target: NDArray[Any] = self.label
        self.shard: NDArray[np.int64] = catalogue.shard[chosen]
        self.mel_rows: NDArray[np.int64] = catalogue.count("mel")[chosen]
        self.missing = {letter: codes.known[chosen] for letter, codes in catalogue.missing.items()}
        self.faceless: NDArray[np.bool_] = (catalogue.count("faces/found") == 0)[chosen]
        self._row: NDArray[np.int64] = catalogue.row[chosen]
        shards = self.index.shards
        largest = max((entry.size_bytes for entry in shards), default=0)
        self._bound = most_open(self.directory, largest) or _MOST_OPEN
        self._readers: dict[int, ShardReader] = {}
        self._unmapped: dict[int, ShardReader] = {}

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def ratings(self) -> dict[str, NDArray[np.float32]]:
        """Name -> float32 (N,), the ratings of the corpus; NaN where it has none."""
        return {name: of[self._chosen] for name, of in self.catalogue.ratings.items()}

    def __repr__(self) -> str:
        index = self.index
        return (
            f"ShardDataset of {len(self)} utterances in {len(index.shards)} shards of "
            f"{self.directory.name}: {shown_ids(self.ids)}\n"
            f"  classes {', '.join(index.label_classes)}; {int(self.mel_rows.sum())} mel rows"
        )

    def __getitem__(self, item: int) -> Example:
        return self._reader(self.shard.item(item)).read(self._row.item(item))

    def with_input(
        self, reads: Mapping[str, Collection[str]], unverified: str = "keep"
    ) -> tuple[str, ...]:
        """Ids of the utterances with a modality that the model reads; see `missing_letters`."""
        has = np.zeros(len(self), np.bool_)
        for letter, stages in reads.items():
            absent = self.missing[letter] | (not {*stages} <= {*self.index.settings.stages})
            if letter == "v" and unverified == "drop":
                absent |= self.faceless
            has |= ~absent
        return tuple(self.ids[row] for row in np.flatnonzero(has))

    def close(self) -> None:
        """Close the shards of this process; the next access opens them again."""
        self._readers, self._unmapped = {}, {}

    def _reader(self, shard: int) -> ShardReader:
        if shard not in self._readers:
            if len(self._readers) >= min(self._bound, _most_open(len(self.index.shards))):
                # Examples already read from this shard stay valid.
                oldest = next(iter(self._readers))
                self._unmapped[oldest] = self._readers.pop(oldest)
                self._unmapped[oldest].unmap()
            if (reader := self._unmapped.pop(shard, None)) is None:
                path = self.directory / self.index.shards[shard].name
                reader = ShardReader(path, self.verify_reads, self.index)
            self._readers[shard] = reader
        return self._readers[shard]

    def __getstate__(self) -> dict[str, object]:
        # A worker process only reads examples.
        return {**self.__dict__, "_readers": {}, "_unmapped": {}, "catalogue": None}


@functools.cache
def _most_open(shards: int) -> int:
    """How many of ``shards`` this process may keep open; raises its limit of open files."""
    wanted = min(shards, _MOST_OPEN) + _OTHER_FILES
    try:
        import resource
    except ImportError:
        return _MOST_OPEN
    endless = resource.RLIM_INFINITY
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = wanted if hard == endless else min(wanted, hard)
    if soft != endless and soft < allowed:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
            soft = allowed
    files = _MOST_OPEN if soft == endless else max(soft - _OTHER_FILES, soft // 2)
    return min(files, _MOST_OPEN)
