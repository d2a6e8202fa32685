"""Compare the shapes of stored weights with those of a model, before allocating memory."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import safe_open

from fv2es_prep.config import PrepSettings
from fv2es_train.models.families import ModelConfig, build


def refuse_other_shapes(config: ModelConfig, settings: PrepSettings, weights: Path) -> None:
    """Check that a file contains the weights of a model, without building the model.

    Args:
        config: the model's configuration, with that of its text encoder.
        settings: see `families.build`.
        weights: a safetensors file.

    Raises:
        ValueError: a weight is missing, unknown or has another shape; the message names the first.
        SafetensorError: the file is damaged.
    """
    with safe_open(weights, "pt") as file:
        found = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    with torch.device("meta"):
        sketch = build(config, settings)
    expected = {name: tuple(tensor.shape) for name, tensor in sketch.state_dict().items()}
    for name in (*expected, *found):
        if found.get(name) != expected.get(name):
            has, needs = (shapes.get(name, "no such weight") for shapes in (found, expected))
            raise ValueError(f"{weights.name} has {has} for {name}, its config.json needs {needs}")
