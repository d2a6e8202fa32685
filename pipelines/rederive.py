"""Derives random examples of a dataset again from the raw corpus, and compares them bit for bit."""

from __future__ import annotations

import dataclasses
import json
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from fv2es_prep.corpora import scan_again
from fv2es_prep.corpora.inventory import merged_votes
from fv2es_prep.errors import MediaError, UsageError, UtteranceError
from fv2es_prep.example import prepare_example
from fv2es_prep.media.recording import OpenRecording
from fv2es_prep.shards.catalogue import Catalogue, read_catalogue
from fv2es_prep.shards.index import RUN_NAME, Index, encoders_of, read_index
from fv2es_prep.shards.reader import ShardReader
from fv2es_prep.shards.schema import columns_of
from fv2es_prep.shards.verify.finding import Finding
from fv2es_prep.shards.writer import example_row
from fv2es_prep.stages.registry import StageContext
from fv2es_prep.store.raw_files import staging
from fv2es_prep.store.shard_cache import dataset_directory
from fv2es_prep.types import Example, Recording, Utterance
from fv2es_prep.utils.files import read_regular
from pipelines.build import one_thread
from pipelines.media_hashes import hashes_of


def rederive(
    directory: Path,
    raw: Path,
    sample: int,
    tokenizer: str | None = None,
    seed: int = 0,
    report: Callable[[int], None] = lambda _: None,
    encoders: Mapping[str, str] = {},
) -> list[Finding]:
    """Derive random examples of a dataset again and compare every column with what is stored.

    Tokenizer and encoders (stage -> name or directory) are those of the last runs unless given.
    Columns of encoders may differ by `Stage.tolerance`, since they depend on the batch.
    ``report`` is called with the number of examples done since the last call.

    Returns:
        A finding for each example that differs or cannot be derived, or whose media files differ.

    Raises:
        UsageError: the sample is not positive, the dataset is merged, or no tokenizer is known.
        CorpusError: the corpus does not exist or has an unexpected layout.
        ShardError: a shard is missing or damaged.
        TokenizerError: the tokenizer cannot be loaded or is another one.
    """
    if sample < 1:
        raise UsageError(
            f"the sample is {sample}, expected at least 1",
            "pass a positive number, e.g. --sample 50",
        )
    directory = dataset_directory(directory)
    index, catalogue = read_index(directory), read_catalogue(directory)
    if index.merged:
        raise UsageError(
            f"{directory} was merged out of {len(index.merged)} datasets",
            "verify each of the datasets against its own corpus",
        )
    context = StageContext(
        index.settings,
        tokenizer or _tokenizer_of(directory),
        index.label_classes,
        encoders=tuple({**encoders_of(directory), **encoders}.items()),
    )
    source = _Source(directory, index, catalogue, *_scan(raw, index, catalogue), context)
    count = min(sample, index.examples)
    # Not for secrets; the same seed draws the same examples.
    drawn = sorted(random.Random(seed).sample(range(index.examples), count))  # noqa: S311
    recordings = catalogue.recordings.at(range(len(catalogue)))
    findings: list[Finding] = []
    with one_thread():
        # The catalogue is in the order of recordings, so each is opened once.
        for name, group in groupby(drawn, key=lambda place: recordings[place]):
            places = list(group)
            with staging():
                findings += source.check(name, places)
            report(len(places))
    return findings


def _tokenizer_of(directory: Path) -> str:
    try:
        return str(json.loads(read_regular(directory / RUN_NAME))["tokenizer"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        sentence = f"{directory / RUN_NAME} does not name the tokenizer"
        raise UsageError(sentence, "pass it with --tokenizer") from error


def _scan(
    raw: Path, index: Index, catalogue: Catalogue
) -> tuple[dict[str, Recording], dict[str, Utterance]]:
    """Recordings and utterances of the corpus by id, with the labels of the dataset."""
    inventory = scan_again(index.corpus, raw, index.label_classes, index.settings.corpus)
    known = {utterance.id: utterance for utterance in inventory.utterances}
    merged = _merged_labels(catalogue, known)
    for name, utterance in known.items():
        chosen = [merged.get(label, label) for label in utterance.labels]
        labels = tuple(label for label in index.label_classes if label in chosen)
        ratings = merged_votes(utterance.ratings, inventory.rating_names, merged)
        known[name] = dataclasses.replace(utterance, labels=labels, ratings=ratings)
    return {recording.id: recording for recording in inventory.recordings}, known


@dataclasses.dataclass(frozen=True)
class _Source:
    """A dataset, and the corpus that it was made from."""

    directory: Path
    index: Index
    catalogue: Catalogue
    recordings: dict[str, Recording]
    utterances: dict[str, Utterance]
    context: StageContext

    def check(self, name: str, places: Sequence[int]) -> Iterator[Finding]:
        """Derive examples of one recording again, by their places in the catalogue."""
        shard = self.index.shards[self.catalogue.shard[places[0]]].name
        recording = self.recordings.get(name)
        ids = {place: self.catalogue.ids[place].as_py() for place in places}
        for one in ids.values():
            if recording is None or one not in self.utterances:
                yield Finding("source", shard, f"the corpus has no utterance {one}")
        wanted = {p: self.utterances[one] for p, one in ids.items() if one in self.utterances}
        if recording is None or not wanted:
            return
        chosen = self.index.settings
        with (
            ShardReader(self.directory / shard) as reader,
            OpenRecording(
                recording, list(wanted.values()), chosen.frames, chosen.media, chosen.spans
            ) as source,
        ):
            yield from _check_files(reader, recording)
            for place, utterance in wanted.items():
                stored = reader.read(int(self.catalogue.row[place]))
                if problem := _difference(stored, utterance, source, self.context):
                    yield Finding("source", shard, f"{utterance.id} {problem}")


def _check_files(reader: ShardReader, recording: Recording) -> Iterator[Finding]:
    stored = reader.media_hashes().get(recording.id, ("", ""))
    paths = recording.video, recording.audio
    for path, found, digest in zip(paths, hashes_of(recording).hashes, stored, strict=True):
        if found != digest:
            sentence = (
                f"{path and path.name} has the SHA-256 {found[:12]}..., expected {digest[:12]}..."
            )
            yield Finding("source", reader.path.name, sentence)


def _difference(
    stored: Example, utterance: Utterance, source: OpenRecording, context: StageContext
) -> str:
    """Describe how an example derived again differs; empty if it does not."""
    try:
        derived = prepare_example(utterance, source, context)
    except (MediaError, UtteranceError) as error:
        return f"cannot be derived again: {error.sentence}"
    here, there = example_row(stored), example_row(derived)
    types = {column.path: column.dtype for column in columns_of(context.settings)}
    accepted = {stage.name: stage.tolerance for stage in context.stages}
    if here.keys() != there.keys():
        return f"differs in what is missing: {dict(stored.missing)}, now {dict(derived.missing)}"
    different = [
        path
        for path in here
        if not _same(
            types.get(path, ""), here[path], there[path], accepted.get(path.partition("/")[0], 0)
        )
    ]
    return f"differs in {', '.join(different)}" if different else ""


def _same(dtype: str, stored: Any, derived: Any, tolerance: float) -> bool:
    """Whether two values of a column are equal in the column's type, see `Stage.tolerance`."""
    if isinstance(stored, str):
        return bool(stored == derived)
    a, b = (np.asarray(value, dtype) for value in (stored, derived))
    if a.shape == b.shape and tolerance and a.size:
        wide = a.astype(np.float64)
        return bool(np.abs(wide - b).max() <= tolerance * np.abs(wide).max())
    return a.shape == b.shape and a.tobytes() == b.tobytes()


def _merged_labels(catalogue: Catalogue, known: dict[str, Utterance]) -> dict[str, str]:
    """Label in corpus words -> the class that it was merged into in most of the dataset."""
    seen: dict[str, Counter[str]] = {}
    for place, name in enumerate(catalogue.ids.to_pylist()):
        labels = known[name].labels if name in known else ()
        stored = np.flatnonzero(catalogue.label[place])
        if len(labels) == len(stored) == 1 and labels[0] not in catalogue.label_classes:
            target = catalogue.label_classes[int(stored[0])]
            seen.setdefault(labels[0], Counter())[target] += 1
    return {label: counts.most_common(1)[0][0] for label, counts in seen.items()}
