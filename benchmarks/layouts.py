"""The same synthetic utterances in each layout that section d compares.

Each layout is written once, and opened as a function from rows to their arrays.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa

from fv2es_prep.config import PrepSettings, TextSettings, VerifyReads
from fv2es_prep.shards.index import make_index, write_index
from fv2es_prep.shards.reader import ShardReader
from fv2es_prep.shards.writer import ShardHeader, ShardWriter
from fv2es_prep.types import Example, Faces, MelSpectrum, ShardReceipt, Utterance

SHARD_EXAMPLES = 83  # about 16 MB
CLASSES = ("ang", "exc", "fru", "hap", "neu", "sad")
SETTINGS = PrepSettings(text=TextSettings(tokenizer="bench", vocabulary_size=1000))
# The arrays of an example: name -> type and shape of a row.
ARRAYS: dict[str, tuple[str, tuple[int, ...]]] = {
    "rgb": ("u1", (48, 48, 3)),
    "times_s": ("f8", ()),
    "found": ("?", ()),
    "box": ("f4", (4,)),
    "prob": ("f4", ()),
    "mel": ("f2", (128,)),
    "tokens": ("i4", ()),
}
Arrays = dict[str, np.ndarray]
Read = Callable[[Iterable[int]], Iterator[Arrays]]


def utterance_arrays(count: int) -> Iterator[Arrays]:
    """Make 7 to 16 faces per utterance and 37 mel rows per face: 79 kB and 114 kB on average."""
    rng = np.random.default_rng(0)
    for _ in range(count):
        faces = int(rng.integers(7, 17))
        rows = 37 * faces + int(rng.integers(0, 37))
        yield {
            "rgb": rng.integers(0, 256, (faces, 48, 48, 3), np.uint8),
            "times_s": np.arange(faces) * 0.5,
            "found": np.ones(faces, np.bool_),
            "box": rng.uniform(0, 300, (faces, 4)).astype(np.float32),
            "prob": rng.uniform(0, 1, faces).astype(np.float32),
            "mel": rng.normal(-6, 3, (rows, 128)).astype(np.float16),
            "tokens": rng.integers(5, 1000, int(rng.integers(5, 40))).astype(np.int32),
        }


def write_layouts(folder: Path, count: int) -> dict[str, Callable[[], Read]]:
    """Write all layouts; the first one is the base of the comparison."""
    for name in ("raw", "shards"):
        (folder / name).mkdir()
    write_raw(folder / "raw", count)
    write_shards(folder / "shards", count)
    write_groups(folder / "groups.h5", count)
    write_tar(folder / "examples.tar", count)
    write_arrow(folder / "examples.arrow", count)
    return {
        "raw memmap": lambda: open_raw(folder / "raw"),
        "fv2es shards": lambda: open_shards(folder / "shards"),
        "fv2es shards, digests": lambda: open_shards(folder / "shards", "always"),
        "HDF5 groups": lambda: open_groups(folder / "groups.h5"),
        "tar, tarfile, in order": lambda: open_tar(folder / "examples.tar"),
        "Arrow, pyarrow": lambda: open_arrow(folder / "examples.arrow"),
    }


def write_raw(folder: Path, count: int) -> None:
    """Write one file per array with all utterances concatenated, and their offsets."""
    files = {name: (folder / name).open("wb") for name in ARRAYS}
    ends: dict[str, list[int]] = {name: [0] for name in ARRAYS}
    for arrays in utterance_arrays(count):
        for name, values in arrays.items():
            files[name].write(values.tobytes())
            ends[name].append(ends[name][-1] + len(values))
    for file in files.values():
        file.close()
    (folder / "offsets.json").write_text(json.dumps(ends))


def open_raw(folder: Path) -> Read:
    ends = json.loads((folder / "offsets.json").read_text())
    maps = {
        # Plain arrays, because slices of np.memmap are slower.
        name: np.asarray(np.memmap(folder / name, dtype, "r", shape=(ends[name][-1], *shape)))
        for name, (dtype, shape) in ARRAYS.items()
    }

    def read(rows: Iterable[int]) -> Iterator[Arrays]:
        for row in rows:
            yield {name: maps[name][ends[name][row] : ends[name][row + 1]] for name in maps}

    return read


def write_shards(folder: Path, count: int) -> None:
    receipts, held = [], list(utterance_arrays(count))
    for number, begin in enumerate(range(0, count, SHARD_EXAMPLES)):
        name = f"bench-{number:05d}.h5"
        header = ShardHeader("bench", CLASSES, (), SETTINGS, {}, str(number))
        part = held[begin : begin + SHARD_EXAMPLES]
        with ShardWriter(folder / name, header) as writer:
            for place, arrays in enumerate(part, start=begin):
                writer.append(example_of(place, arrays))
            receipts.append(ShardReceipt(name, *writer.close(), len(part), str(number)))
    write_index(folder, make_index("bench", CLASSES, (), SETTINGS, receipts))


def example_of(place: int, arrays: Arrays) -> Example:
    kind = place % len(CLASSES)
    faces = {name: arrays[name] for name in ("rgb", "times_s", "found", "box", "prob")}
    return Example(
        Utterance(f"utt{place:05d}", "rec", 0.0, 1.0, "Words.", (CLASSES[kind],), "F", "1"),
        np.eye(len(CLASSES), dtype=np.uint8)[kind],
        faces=Faces(**faces),
        mel=MelSpectrum(arrays["mel"], 0.0125),
        tokens=arrays["tokens"],
    )


def open_shards(folder: Path, verify_reads: VerifyReads = "never") -> Read:
    readers = [ShardReader(path, verify_reads) for path in sorted(folder.glob("*.h5"))]

    def read(rows: Iterable[int]) -> Iterator[Arrays]:
        for row in rows:
            example = readers[row // SHARD_EXAMPLES].read(row % SHARD_EXAMPLES)
            faces = example.faces
            yield {
                "rgb": faces.rgb,
                "times_s": faces.times_s,
                "found": faces.found,
                "box": faces.box,
                "prob": faces.prob,
                "mel": example.mel.log_power,
                "tokens": example.tokens,
            }

    return read


def write_groups(path: Path, count: int) -> None:
    with h5py.File(path, "w") as file:
        for place, arrays in enumerate(utterance_arrays(count)):
            group = file.create_group(str(place))
            for name, values in arrays.items():
                group[name] = values


def open_groups(path: Path) -> Read:
    file = h5py.File(path)

    def read(rows: Iterable[int]) -> Iterator[Arrays]:
        for row in rows:
            group = file[str(row)]
            yield {name: group[name][()] for name in ARRAYS}

    return read


def write_tar(path: Path, count: int) -> None:
    with tarfile.open(path, "w") as tar:
        for place, arrays in enumerate(utterance_arrays(count)):
            for name, values in arrays.items():
                file = io.BytesIO()
                np.save(file, values)
                member = tarfile.TarInfo(f"{place:05d}.{name}.npy")
                member.size = file.tell()
                file.seek(0)
                tar.addfile(member, file)


def open_tar(path: Path) -> Read:
    def read(_: Iterable[int]) -> Iterator[Arrays]:
        arrays: Arrays = {}
        with tarfile.open(path, "r|") as tar:
            for member in tar:
                file = tar.extractfile(member)
                assert file is not None
                arrays[member.name.split(".")[1]] = np.load(io.BytesIO(file.read()))
                if len(arrays) == len(ARRAYS):
                    yield arrays
                    arrays = {}

    return read


def write_arrow(path: Path, count: int) -> None:
    """Write one row per utterance, each array as bytes, in the Arrow file format."""
    schema = pa.schema({name: pa.large_binary() for name in ARRAYS})
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, schema) as writer:
        held: list[dict[str, bytes]] = []
        for arrays in utterance_arrays(count):
            held.append({name: values.tobytes() for name, values in arrays.items()})
            if len(held) == SHARD_EXAMPLES:
                writer.write_table(pa.Table.from_pylist(held, schema))
                held.clear()
        if held:
            writer.write_table(pa.Table.from_pylist(held, schema))


def open_arrow(path: Path) -> Read:
    file = pa.ipc.open_file(pa.memory_map(str(path)))
    batches = [file.get_batch(number) for number in range(file.num_record_batches)]
    columns = [{name: batch[name] for name in ARRAYS} for batch in batches]

    def read(rows: Iterable[int]) -> Iterator[Arrays]:
        for row in rows:
            held = columns[row // SHARD_EXAMPLES]
            place = row % SHARD_EXAMPLES
            yield {
                name: np.frombuffer(held[name][place].as_buffer(), dtype).reshape(-1, *shape)
                for name, (dtype, shape) in ARRAYS.items()
            }

    return read


def check_same(readers: dict[str, Read], count: int) -> None:
    """Check that all layouts return the same arrays."""
    first, *others = (reader(range(count)) for reader in readers.values())
    for expected, *found in zip(first, *others, strict=True):
        for arrays in found:
            for name, values in expected.items():
                assert arrays[name].dtype == values.dtype, name
                assert np.array_equal(arrays[name], values), name
