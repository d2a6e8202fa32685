"""What a training step costs on a CPU: presets x precision and memory format.

Run: python -m benchmarks.cpu_training [--threads 2] [--models fv2es-lite,fv2es-tiny]

Random values and weights, which cost as much as others. The ways take turns in one run.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from benchmarks.timing import Noise, in_rounds
from fv2es_train.models.emotion_model import EmotionModel
from fv2es_train.models.families import collate_of
from fv2es_train.training.optimization import autocast, make_optimizer, set_training
from fv2es_train.training.speed import random_example, usual_loss, usual_model

_CPU = torch.device("cpu")
_ROUNDS, _UTTERANCES, _SECONDS = 5, 4, 4.5
# Way -> the field amp, and whether the weights are channels_last.
_WAYS = {
    "float32": ("off", False),
    "float32, channels_last": ("off", True),
    "bf16": ("bf16", False),
    "bf16, channels_last": ("bf16", True),
}


def main() -> None:
    """Print utterances per second of each way, and the ratio to float32."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--models", default="fv2es-lite,fv2es-tiny")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print("| model | way | utterances/s | relative to float32 |")
    for name in options.models.split(","):
        noise, ways = Noise(), {way: _step(name, *of) for way, of in _WAYS.items()}
        # The first steps allocate memory and select kernels.
        for step in ways.values():
            step()
        found = in_rounds(ways, _ROUNDS, noise)
        speed = {w: 1 / statistics.median(r["each_s"] for r in found[w]) for w in ways}
        for way, rate in speed.items():
            print(f"| {name} | {way} | {rate:.2f} | {rate / speed['float32']:.2f} |", flush=True)
        print(f"  noise: {noise.to_json()}")


def _step(name: str, amp: str, channels_last: bool) -> Callable[[], dict[str, float]]:
    """A function that makes a step of training and returns its seconds per utterance."""
    config, model = usual_model(name)
    if channels_last:
        model = _channels_last(model)
    set_training(model)
    optimizer, loss_of = make_optimizer(model, config), usual_loss()
    examples = [random_example(n, _SECONDS) for n in range(_UTTERANCES)]
    batch = collate_of(config.model, 0)(examples)

    def step() -> dict[str, float]:
        began = time.perf_counter()
        with autocast(amp, _CPU):
            outputs = model(batch)
        loss = loss_of.of_each(outputs, batch.label, batch.ratings).sum()
        loss.backward()  # type: ignore[no-untyped-call]  # torch
        optimizer.step()
        optimizer.zero_grad()
        return {"each_s": (time.perf_counter() - began) / _UTTERANCES}

    return step


def _channels_last(model: EmotionModel) -> EmotionModel:
    moved: EmotionModel = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return moved


if __name__ == "__main__":
    main()
