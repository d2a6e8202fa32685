"""Reading speed: our shards compared with raw memmap, HDF5 groups, tar and Arrow.

Writes the same synthetic utterances in each layout, reads them in the same random order (a tar file
in its own order), and copies each byte once into a batch of 8. Also measures the DataLoader with 0,
1 and 2 workers, and the waiting time for data relative to a training step of fv2es-tiny.

    python benchmarks/reading.py --out build/bench
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import statistics
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from fv2es_prep.config import PrepSettings, TextSettings, VerifyReads
from fv2es_prep.shards.index import make_index, write_index
from fv2es_prep.shards.opening import open_shard
from fv2es_prep.shards.reader import ShardReader
from fv2es_prep.shards.writer import ShardHeader, ShardWriter
from fv2es_prep.types import Example, Faces, MelSpectrum, ShardReceipt, Utterance
from fv2es_prep.utils.files import sha256_of
from fv2es_train.config import TrainConfig
from fv2es_train.data.dataset import ShardDataset
from fv2es_train.evaluation.inference import loader_of
from fv2es_train.models.families import preset
from fv2es_train.models.fv2es import FV2ES, build_model

BATCH = 8
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer utterances and rounds")
    parser.add_argument("--out", type=Path, default=Path("build/bench"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.out) as folder:
        result = measure(Path(folder), quick=options.quick)
    (options.out / "reading.json").write_text(json.dumps(result, indent=2) + "\n")
    print(table(result))


def measure(folder: Path, *, quick: bool) -> dict[str, Any]:
    """Write the layouts into a folder and measure them; JSON-ready."""
    count, rounds = (300, 9) if quick else (1200, 9)
    layouts = write_layouts(folder, count)
    readers: dict[str, Read] = {name: opened() for name, opened in layouts.items()}
    check_same(readers, count)
    dataset = ShardDataset(folder / "shards")
    model = tiny_model()
    return {
        "utterances": count,
        "bytes_each": round(sum(f.stat().st_size for f in (folder / "raw").iterdir()) / count),
        "rounds": rounds,
        "cores": os.cpu_count(),
        "layouts": against(partial(read_all, count=count), readers, rounds, "raw memmap"),
        "loaders": against(
            lambda batches, _: draw_all(batches, count),
            {f"{n} worker(s)": loader(dataset, model, n) for n in (0, 1, 2)},
            rounds,
            "0 worker(s)",
        ),
        "training": step_times(dataset, model, 10 if quick else 30),
        "opening": opening_times(folder / "shards", rounds),
    }


def against(
    rate: Callable[[Any, int], float], things: dict[str, Any], rounds: int, base: str
) -> dict[str, Any]:
    """Measure examples per second of each way in interleaved rounds, and ratios to one way."""
    rates: dict[str, list[float]] = {name: [] for name in things}
    for number in range(rounds + 1):
        for name, thing in things.items():
            rates[name].append(rate(thing, number))
    # The first round reads files into memory and starts workers.
    rates = {name: values[1:] for name, values in rates.items()}
    return {
        name: {
            "examples_per_s": spread(values),
            f"ratio to {base}": spread(
                [value / other for value, other in zip(values, rates[base], strict=True)], 3
            ),
        }
        for name, values in rates.items()
    }


def spread(values: list[float], digits: int = 0) -> dict[str, float]:
    """Median, minimum and maximum."""
    found = {"median": statistics.median(values), "least": min(values), "most": max(values)}
    return {name: round(value, digits) for name, value in found.items()}


# The layouts. Each is written once, and opened as a function from rows to their arrays.


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


# The timed functions.


def read_all(read: Read, number: int, count: int) -> float:
    """Examples per second, each byte copied into a batch of 8."""
    order = random.Random(number).sample(range(count), count)
    room = {name: np.empty((BATCH * 700, *shape), d) for name, (d, shape) in ARRAYS.items()}
    began = time.perf_counter()
    ends = dict.fromkeys(room, 0)
    for place, arrays in enumerate(read(order)):
        if place % BATCH == 0:
            ends = dict.fromkeys(room, 0)
        for name, values in arrays.items():
            begin, end = ends[name], ends[name] + len(values)
            room[name][begin:end] = values
            ends[name] = end
    return count / (time.perf_counter() - began)


def loader(dataset: ShardDataset, model: FV2ES, workers: int) -> Any:
    return loader_of(dataset, model, BATCH, workers, torch.Generator().manual_seed(0))


def draw_all(batches: Any, count: int) -> float:
    """Examples per second of a whole pass, collated into batches as training reads them."""
    began = time.perf_counter()
    seen = sum(len(batch) for batch in batches)
    assert seen == count
    return count / (time.perf_counter() - began)


def tiny_model() -> FV2ES:
    config, training = preset("fv2es-tiny").model, TrainConfig(**preset("fv2es-tiny").train)
    torch.set_num_threads(training.threads or 1)
    torch.manual_seed(0)
    return build_model(replace(config, label_classes=CLASSES), SETTINGS)


def step_times(dataset: ShardDataset, model: FV2ES, steps: int) -> dict[str, Any]:
    """Measure how long training waits for a batch, and how long a step takes, with one worker."""
    optimizer = torch.optim.Adam(model.parameters(), 5e-4)
    waits, whole = [], []
    batches = iter(loader(dataset, model, 1))
    model.train()
    for _ in range(steps + 1):
        began = time.perf_counter()
        batch = next(batches)
        drawn = time.perf_counter()
        loss = binary_cross_entropy_with_logits(model(batch), batch.label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        waits.append(drawn - began)
        whole.append(time.perf_counter() - began)
    # The first wait includes the start of the worker.
    share = sum(waits[1:]) / sum(whole[1:])
    return {
        "batch": BATCH,
        "steps": steps,
        "wait_ms": spread([1e3 * value for value in waits[1:]], 2),
        "step_ms": spread([1e3 * value for value in whole[1:]], 1),
        "waiting_share_of_training": round(share, 5),
    }


def opening_times(folder: Path, rounds: int) -> dict[str, Any]:
    """Measure how long a shard takes to open with all checks, and to hash as training does once."""
    paths = sorted(folder.glob("*.h5")) * rounds
    found: dict[str, list[float]] = {"open_ms": [], "hash_ms": []}
    for path in paths:
        for name, work in (("open_ms", open_shard), ("hash_ms", sha256_of)):
            began = time.perf_counter()
            work(path)
            found[name].append(1e3 * (time.perf_counter() - began))
    return {"examples": SHARD_EXAMPLES, **{name: spread(v, 2) for name, v in found.items()}}


def table(result: dict[str, Any]) -> str:
    lines = [f"{result['utterances']} utterances of {result['bytes_each']} bytes"]
    for kind in ("layouts", "loaders"):
        for name, found in result[kind].items():
            rate, ratio = found.values()
            lines.append(
                f"{name:24} {rate['median']:8.0f} examples/s ({rate['least']:.0f} to "
                f"{rate['most']:.0f}), ratio {ratio['median']:.2f} "
                f"({ratio['least']:.2f} to {ratio['most']:.2f})"
            )
    opening = result["opening"]
    lines.append(
        f"a shard of {opening['examples']} examples takes {opening['open_ms']['median']:.1f} ms to "
        f"open with its checks, {opening['hash_ms']['median']:.1f} ms to hash"
    )
    training = result["training"]
    lines.append(
        f"a step takes {training['step_ms']['median']:.0f} ms, of which training waits "
        f"{training['wait_ms']['median']:.2f} ms for data "
        f"({training['waiting_share_of_training']:.2%} of the whole)"
    )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
