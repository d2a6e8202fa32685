"""Reading speed: our shards compared with raw memmap, HDF5 groups, tar and Arrow.

Reads each layout in the same random order (a tar file in its own order), and copies each byte once
into a batch of 8. Also measures the DataLoader with 0, 1 and 2 workers, and the waiting time for
data relative to a training step of fv2es-tiny.
"""

from __future__ import annotations

import os
import random
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from benchmarks.layouts import (
    ARRAYS,
    CLASSES,
    SETTINGS,
    SHARD_EXAMPLES,
    Read,
    check_same,
    write_layouts,
)
from fv2es_prep.shards.opening import open_shard
from fv2es_prep.utils.files import sha256_of
from fv2es_train.config import TrainConfig
from fv2es_train.data.dataset import ShardDataset
from fv2es_train.evaluation.inference import loader_of
from fv2es_train.models.families import preset
from fv2es_train.models.fv2es import FV2ES, build_model

BATCH = 8


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
