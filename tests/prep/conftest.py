"""A small sound dataset of fixed arrays, and the means to break exactly one thing of it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from fv2es_prep.config import COMPACT, DEFAULT_MEDIA, LOSSLESS, PrepSettings, TextSettings
from fv2es_prep.errors import DropReason
from fv2es_prep.media.video import PictureReader
from fv2es_prep.shards.digests import digests_of, parts_of
from fv2es_prep.shards.dropped import write_dropped
from fv2es_prep.shards.index import CATALOGUE_NAME, make_index, read_index, write_index
from fv2es_prep.shards.writer import ShardHeader, ShardWriter
from fv2es_prep.stages.faces import stored_faces
from fv2es_prep.stages.mel import stored_mel
from fv2es_prep.types import (
    Dropped,
    Example,
    Faces,
    MelSpectrum,
    ShardReceipt,
    Utterance,
)
from fv2es_prep.utils.files import sha256_of

CLASSES, RATINGS = ("ang", "neu"), ("valence",)
SETTINGS = PrepSettings(text=TextSettings("tests", "0" * 64, vocabulary_size=100, max_tokens=8))
SHA = "0" * 64, "1" * 64


def sound_example(recording: str, number: int, settings: PrepSettings = SETTINGS) -> Example:
    """Utterance ``number`` of a recording: number + 1 faces, as many half seconds long."""
    return stored(make_example(recording, number), settings)


def stored(example: Example, settings: PrepSettings) -> Example:
    """The example in the form in which shards of these settings hold it."""
    return example.replace(
        faces=stored_faces(example.faces, settings.storage),
        mel=stored_mel(example.mel, settings.storage, settings.mel),
    )


def frames_at(
    path: Path, times_s: Sequence[float], media=DEFAULT_MEDIA
) -> Iterator[tuple[int, np.ndarray]]:
    """What a `PictureReader` finds on screen at each time."""
    with contextlib.closing(PictureReader(path, times_s, media)) as reader:
        while (found := reader.next()) is not None:
            yield found


def make_example(recording: str, number: int) -> Example:
    """The same, as it was made."""
    rng = np.random.default_rng(number)
    count, start = number + 1, 2.0 * number
    found = rng.integers(0, 2, count).astype(np.bool_)
    box = np.tile(np.array([10, 20, 58, 68], np.float32), (count, 1))
    label = np.array([number % 2, 1 - number % 2], np.uint8)
    return Example(
        utterance=Utterance(
            id=f"{recording}_é{number}",
            recording_id=recording,
            start_s=start,
            end_s=start + 0.5 * count,
            transcript=f"Words {number}.",
            labels=(CLASSES[1 - number % 2],),
            speaker="F",
            session=recording[0],
            ratings=(float("nan") if number else 2.5,),
        ),
        label=label,
        faces=Faces(
            rgb=rng.integers(0, 256, (count, 48, 48, 3)).astype(np.uint8),
            times_s=start + 0.5 * np.arange(count),
            found=found,
            box=box,
            prob=np.where(found, 0.9, 0).astype(np.float32),
        ),
        mel=MelSpectrum(rng.normal(-3, 2, (1 + 40 * count, 128)).astype(np.float16), 0.0125),
        tokens=rng.integers(0, 100, min(3 + number, 8)).astype(np.int32),
    )


def write_dataset(
    directory: Path,
    prefix: str = "",
    corpus: str = "tests",
    turns: int = 3,
    shards: int = 2,
    **changes: Any,
) -> Path:
    """Two shards: three utterances of recording 1A, one of 1B and 2A each, one dropped in each."""
    directory.mkdir(parents=True)
    settings = dataclasses.replace(SETTINGS, **changes)
    left_out = Dropped("x", DropReason.NO_LABEL, "no label", "1A.txt")
    receipts, entries = [], [left_out]
    for number, recordings in enumerate((("1A",), ("1B", "2A"))[:shards]):
        names = [prefix + name for name in recordings]
        header = ShardHeader(
            corpus, CLASSES, RATINGS, settings, dict.fromkeys(names, SHA), f"{number}" * 64
        )
        path = directory / f"{corpus}-{number:05d}.h5"
        dropped = Dropped(
            f"{names[-1]}_9",
            DropReason.NO_FRAME_IN_SPAN,
            "no picture",
            "a.avi",
            names[-1],
            1.0,
            2.0,
        )
        with ShardWriter(path, header) as writer:
            for name in names:
                for i in range(turns if len(names) == 1 else 1):
                    writer.append(sound_example(name, i, settings))
            writer.drop(dropped)
            count = len(writer)
            digest, size = writer.close()
        receipts.append(ShardReceipt(path.name, digest, size, count, header.task_digest))
        entries.append(dropped)
    write_dropped(directory, map(dataclasses.asdict, entries))
    write_index(directory, make_index(corpus, CLASSES, RATINGS, settings, receipts))
    return directory


@pytest.fixture(scope="session")
def dataset_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("dataset") / "shards")


@pytest.fixture
def dataset(dataset_once: Path, tmp_path: Path) -> Path:
    """A sound dataset that a test may break; its shards are those of `write_dataset`."""
    return Path(shutil.copytree(dataset_once, tmp_path / "dataset"))


@pytest.fixture(scope="session")
def make_dataset() -> Callable[..., Path]:
    """`write_dataset`, for tests that need several or others."""
    return write_dataset


def mend_index(directory: Path, **changes: Any) -> None:
    """Make the index agree with the bytes of its shards, so that only other checks find damage."""
    index = read_index(directory)
    entries = tuple(
        dataclasses.replace(
            entry,
            sha256=sha256_of(directory / entry.name),
            size_bytes=(directory / entry.name).stat().st_size,
        )
        for entry in index.shards
    )
    write_index(directory, dataclasses.replace(index, **{"shards": entries, **changes}))


def mend_digests(file: h5py.File) -> None:
    """Make the digests of each example right for what the file holds."""
    offsets = {group: file[f"{group}/offsets"][()] for group in ("faces", "mel", "tokens")}
    compact = "faces/sizes" in file
    files = np.concatenate([[0], np.cumsum(file["faces/sizes"], dtype="i8")]) if compact else []
    settings = PrepSettings(storage=COMPACT if compact else LOSSLESS)
    for number in range(len(file["id"])):
        row = {}
        for path in (path for paths in parts_of(settings).values() for path in paths):
            group = path.split("/")[0]
            if group in offsets:
                begin, end = offsets[group][number : number + 2]
                if compact and path == "faces/values":
                    begin, end = files[begin], files[end]
                row[path] = file[path][begin:end]
            else:
                value = file[path][number]
                row[path] = value.decode() if isinstance(value, bytes) else value
        for part, digest in digests_of(row, settings).items():
            file[f"digest/{part}"][number] = np.frombuffer(digest, np.uint8)


@pytest.fixture(scope="session")
def break_shard() -> Callable[..., None]:
    """Change a shard in place; hashes and digests are made right again afterwards."""

    def change(
        directory: Path,
        edit: Callable[[h5py.File], None],
        shard: int = 0,
        digests: bool = True,
    ) -> None:
        path = directory / read_index(directory).shards[shard].name
        with h5py.File(path, "r+", libver=("v110", "v110")) as file:
            edit(file)
            if digests:
                mend_digests(file)
        # What is in it is made of the shards where it is missing.
        (directory / CATALOGUE_NAME).unlink(missing_ok=True)
        mend_index(directory)

    return change


@pytest.fixture(scope="session")
def edit_index() -> Callable[..., None]:
    """Change index.json as a person would; its own digest is made right again on request."""

    def change(directory: Path, edit: Callable[[dict[str, Any]], None], mend: bool = True) -> None:
        from fv2es_prep.config import digest_of

        path = directory / "index.json"
        value = json.loads(path.read_text())
        edit(value)
        if mend:
            value.pop("digest")
            value["digest"] = digest_of(value)
        path.write_text(json.dumps(value))

    return change
