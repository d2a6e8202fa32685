"""What the sections of the GPU kit share: the device, sizes, batches, and a clock."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from fv2es_train.training.speed import random_example, usual_model

if TYPE_CHECKING:
    from fv2es_train.config import TrainConfig
    from fv2es_train.data.batches import Batch
    from fv2es_train.models.emotion_model import EmotionModel

# The mean length of an utterance of IEMOCAP.
UTTERANCE_S = 4.6


@dataclass(frozen=True)
class Kit:
    """A run of the kit.

    Attributes:
        device: where networks run.
        small: few steps and small batches, to try the kit itself.
        out: directory of results and temporary files.
    """

    device: torch.device
    small: bool
    out: Path

    @property
    def presets(self) -> tuple[str, ...]:
        """The models that are measured."""
        return ("fv2es-tiny",) if self.small else ("fv2es", "fv2es-lite", "fv2es-tiny")

    @property
    def batch_sizes(self) -> tuple[int, ...]:
        """Utterances of a training batch."""
        return (2,) if self.small else (8, 32, 128)

    @property
    def steps(self) -> int:
        """Timed steps, after `warm` steps that are not timed."""
        return 2 if self.small else 20

    @property
    def warm(self) -> int:
        """Number of untimed steps, in which torch allocates memory and selects kernels."""
        return 1 if self.small else 5

    def say(self, text: str) -> None:
        """Print progress to stderr."""
        print(f"gpu-check: {text}", file=sys.stderr, flush=True)

    def wait(self) -> None:
        """Wait until the device has finished its work."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def seconds(self, work: Callable[[], object]) -> float:
        """Median wall seconds of ``work``, the device's part included."""
        taken = []
        for number in range(self.warm + self.steps):
            self.wait()
            began = time.perf_counter()
            work()
            self.wait()
            if number >= self.warm:
                taken.append(time.perf_counter() - began)
        return statistics.median(taken)

    def peak_bytes(self, work: Callable[[], object]) -> int | None:
        """Peak bytes of the device's memory during ``work``; None on the CPU."""
        if self.device.type != "cuda":
            work()
            return None
        torch.cuda.reset_peak_memory_stats(self.device)
        work()
        self.wait()
        return torch.cuda.max_memory_allocated(self.device)


def model_and_batch(
    kit: Kit, preset: str, size: int
) -> tuple[TrainConfig, EmotionModel, Callable[[], Batch]]:
    """A model on the device, and a function that joins a batch of ``size`` utterances anew."""
    from fv2es_train.models.families import collate_of

    torch.manual_seed(0)
    config, model = usual_model(preset)
    join = collate_of(config.model, 0)
    rng = np.random.default_rng(0)
    lengths = rng.gamma(4.0, UTTERANCE_S / 4.0, size).clip(0.6, 20.0)
    examples = [random_example(number, float(s)) for number, s in enumerate(lengths)]
    pinned = kit.device.type == "cuda"

    def batch() -> Any:
        joined = join(examples)
        return joined.pin_memory() if pinned else joined

    return config, model.to(kit.device), batch
