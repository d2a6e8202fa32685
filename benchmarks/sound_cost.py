"""The cost of the sound of an utterance in each model: parameters, FLOPs, seconds on one thread.

Run: python -m benchmarks.sound_cost [--seconds 3]
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import replace

import torch
from torch.utils.flop_counter import FlopCounterMode

from fv2es_prep.config import PrepSettings
from fv2es_train.data.batches import Batch
from fv2es_train.models.families import build, preset

_MODELS = ("fv2es", "fv2es-lite", "fv2es-tiny")
_CLASSES = tuple("abcdefgh")
_ROWS_PER_S, _ROWS, _TIMES = 80, 32, 5


def main() -> None:
    """Print one line per model for the table in docs/performance.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="length of the utterance")
    seconds = parser.parse_args().seconds
    torch.set_num_threads(1)
    for name in _MODELS:
        parameters, flops, taken = cost(name, -(-round(seconds * _ROWS_PER_S) // _ROWS))
        print(f"| `{name}` | {parameters:,} | {flops / 1e9:.3f} | {taken * 1e3:.1f} |")


@torch.no_grad()
def cost(name: str, chunks: int) -> tuple[int, int, float]:
    """Measure parameters, FLOPs (two per multiply-add) and median seconds."""
    config = replace(preset(name).model, modalities="a", label_classes=_CLASSES)
    model = build(config, PrepSettings()).eval()
    nothing = torch.zeros(1, 0, dtype=torch.long)
    batch = Batch(
        ("utterance",),
        torch.zeros(0, 3, 1, 1),
        (0,),
        torch.rand(chunks, 1, 128, _ROWS),
        (chunks,),
        nothing,
        nothing,
        torch.zeros(1, len(_CLASSES)),
    )
    with FlopCounterMode(display=False) as counter:
        model(batch)
    times = []
    for _ in range(_TIMES):
        began = time.perf_counter()
        model(batch)
        times.append(time.perf_counter() - began)
    parameters = sum(p.numel() for p in model.parameters())
    return parameters, counter.get_total_flops(), statistics.median(times)


if __name__ == "__main__":
    main()
