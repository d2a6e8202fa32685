"""Measure the training time per utterance on this machine, on random values of usual sizes."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fv2es_prep.config import PrepSettings, TextSettings
from fv2es_prep.types import Example, Faces, MelSpectrum, Utterance
from fv2es_prep.utils.processes import cores

if TYPE_CHECKING:
    from fv2es_train.config import TrainConfig
    from fv2es_train.models.emotion_model import EmotionModel
    from fv2es_train.training.loss import Loss

PRESETS = ("fv2es", "fv2es-lite", "fv2es-tiny")
_TOKENS, _CLASSES = 15, ("a", "b", "c", "d", "e", "f")
# The sizes of `albert-base-v2`; random weights take as long as learned ones.
ALBERT = {
    "model_type": "albert",
    "vocab_size": 30000,
    "embedding_size": 128,
    "hidden_size": 768,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
}
_SETTINGS = PrepSettings(text=TextSettings(tokenizer="speed", vocabulary_size=1000))
_SLOW_S, _ROUNDS, _ROWS = 0.3, 8, 4
# More threads hardly help; each adds about this share of one thread.
_MOST_THREADS, _GAIN = 8, 0.9


def seconds_per_utterance(preset: str, duration_s: float) -> float:
    """Estimate the seconds of training per utterance on an idle machine.

    On a CPU it measures the CPU time of one thread, which other load hardly changes, and divides it
    among the threads of the preset. On a GPU it measures the time of a small step; larger batches
    take less per utterance.

    Args:
        preset: one of `PRESETS`.
        duration_s: length of an utterance in seconds; it sets the number of faces and mel frames.
    """
    import torch

    from fv2es_train.evaluation.inference import choose_device
    from fv2es_train.models.families import collate_of
    from fv2es_train.training.optimization import make_optimizer, set_training

    config, model = usual_model(preset)
    device, before = choose_device("auto"), torch.get_num_threads()
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    threads = 1 if device.type != "cpu" else config.threads or min(cores(), _MOST_THREADS)
    model = model.to(device)
    set_training(model)
    optimizer = make_optimizer(model, config)
    loss_of = usual_loss()

    def now() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize()
        return clock()

    def step(examples: list[Example]) -> float:
        batch = collate_of(config.model, 0)(examples).to(device)
        began = now()
        loss = loss_of.of_each(model(batch), batch.label, batch.ratings).sum()
        loss.backward()  # type: ignore[no-untyped-call]  # torch
        passed = now()
        optimizer.step()
        optimizer.zero_grad()
        # The optimizer runs once for all utterances of a batch.
        return (passed - began) / len(examples) + (now() - passed) / config.batch_size

    try:
        torch.set_num_threads(1)
        # The first step allocates memory and selects kernels.
        first = step([random_example(0, 1.0)])
        rounds = 1 if first > _SLOW_S else _ROUNDS
        few = [random_example(n, duration_s) for n in range(1 if first > _SLOW_S else _ROWS)]
        each_s = min(step(few) for _ in range(rounds))
    finally:
        torch.set_num_threads(before)
    return each_s / (threads * _GAIN if threads > 1 else 1)


def usual_model(preset: str) -> tuple[TrainConfig, EmotionModel]:
    """The configuration and the network of a preset for `random_example`, with random weights."""
    from fv2es_train.models.families import build
    from fv2es_train.training.run_config import train_config

    places: dict[str, Any] = dict.fromkeys(("shards", "split", "out"), ".")
    config = train_config(preset, **places)
    text = {} if preset.endswith("tiny") else {"text": ALBERT}
    model_config: Any = replace(config.model, label_classes=_CLASSES, **text)
    return replace(config, model=model_config), build(model_config, _SETTINGS)


def usual_loss() -> Loss:
    """The loss for `usual_model`."""
    from fv2es_train.training.loss import make_loss

    return make_loss(np.eye(len(_CLASSES), dtype=np.uint8), _CLASSES)


def random_example(number: int, duration_s: float) -> Example:
    """An utterance of random values: a face every 500 ms, 80 rows of the spectrum a second."""
    rng = np.random.default_rng(number)
    count, rows = max(1, round(duration_s / 0.5)), max(2, round(duration_s / 0.0125))
    label = np.zeros(len(_CLASSES), dtype=np.uint8)
    label[number % len(_CLASSES)] = 1
    name, kind = f"speed{number}", (_CLASSES[number % len(_CLASSES)],)
    return Example(
        utterance=Utterance(name, name, 0.0, duration_s, "", kind),
        label=label,
        faces=Faces(
            rgb=rng.integers(0, 256, (count, 48, 48, 3), dtype=np.uint8),
            times_s=np.arange(count, dtype=np.float64) * 0.5,
            found=np.ones(count, dtype=np.bool_),
            box=np.zeros((count, 4), dtype=np.float32),
            prob=np.ones(count, dtype=np.float32),
        ),
        mel=MelSpectrum(rng.normal(-8, 1, (rows, 128)).astype(np.float16), 0.0125),
        tokens=rng.integers(5, 1000, _TOKENS).astype(np.int32),
    )
