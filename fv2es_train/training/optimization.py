"""What learns and how fast: frozen parts, Adam's groups, the learning rate's way, faster forms.

Owns what is done to a network between being built and being trained. Leaves the loop to `train`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn
from torch.optim import Adam, Optimizer

from fv2es_prep.errors import UsageError

if TYPE_CHECKING:
    from fv2es_train.config import TrainConfig
    from fv2es_train.models.emotion_model import EmotionModel


def freeze_text(model: EmotionModel, what: str) -> None:
    """Take the gradients from parts of the text encoder.

    Args:
        model: changed in place; one without text is left as it is.
        what: see `TrainConfig.freeze_text`.

    Raises:
        UsageError: the encoder does not have so many layers of their own.
    """
    if what == "none" or model.text_encoder is None:
        return
    encoder = model.text_encoder.albert
    parts: list[nn.Module] = [encoder]
    if what != "all":
        # ALBERT's embeddings are small and come to full width through a layer of their own.
        begin = (
            getattr(encoder, "embeddings", None),
            getattr(getattr(encoder, "encoder", None), "embedding_hidden_mapping_in", None),
        )
        parts = [part for part in begin if isinstance(part, nn.Module)]
        if what != "embeddings":
            parts += _layers(encoder, int(what))
    for part in parts:
        part.requires_grad_(False)


def _layers(encoder: nn.Module, count: int) -> list[nn.Module]:
    layers = getattr(getattr(encoder, "encoder", None), "layer", None)
    found = len(layers) if isinstance(layers, nn.ModuleList) else 0
    if count > found:
        raise UsageError(
            f"freeze_text asks for {count} layers, the text encoder has {found} of their own"
            + ("" if found else " (ALBERT's layers are one set of weights, used again and again)"),
            "pass --freeze-text embeddings or --freeze-text all",
        )
    return list(layers)[:count] if isinstance(layers, nn.ModuleList) else []


def set_training(model: EmotionModel) -> None:
    """Training mode, but for a text encoder that learns nothing: that one drops nothing either."""
    model.train()
    text = model.text_encoder
    if text is not None and not any(p.requires_grad for p in text.parameters()):
        text.eval()


def make_optimizer(model: EmotionModel, config: TrainConfig) -> Adam:
    """Adam over all parameters that learn; the text encoder has a learning rate of its own."""
    groups = []
    for name, parameters in model.parameter_groups().items():
        rate = config.lr / config.text_lr_divisor if name == "text" else config.lr
        if learning := [parameter for parameter in parameters if parameter.requires_grad]:
            groups.append({"name": name, "params": learning, "lr": rate, "base": rate})
    return Adam(groups, weight_decay=config.weight_decay)


def set_rates(optimizer: Optimizer, config: TrainConfig, step: int, steps: int) -> None:
    """The learning rates of one optimizer step, which depend on its number alone.

    Args:
        optimizer: changed in place.
        config: says how they go.
        step: number of the step in the run, from 1.
        steps: number of steps of the whole run.
    """
    part = scale(config.schedule, config.warmup, step, steps)
    for group in optimizer.param_groups:
        group["lr"] = group["base"] * part


def scale(schedule: str, warmup: int, step: int, steps: int) -> float:
    """Which part of the full learning rate a step has, from above 0 to 1."""
    if step <= warmup:
        return step / (warmup + 1)
    if schedule == "constant":
        return 1.0
    # The step after the last one would have none.
    left = (steps + 1 - step) / max(1, steps - warmup)
    return left if schedule == "linear" else (1 - math.cos(math.pi * left)) / 2


def compile_parts(model: EmotionModel) -> None:
    """Compile the encoders in place; parameter names stay."""
    for encoder in model.encoders():
        encoder.compile(dynamic=True)


def autocast(amp: str, device: torch.device) -> AbstractContextManager[Any]:
    """Around a forward pass: bfloat16 where asked for."""
    return torch.autocast(device.type, torch.bfloat16) if amp == "bf16" else nullcontext()


@contextmanager
def repeatable(device: torch.device) -> Iterator[None]:
    """On the CPU, have torch refuse what does not repeat bit by bit; afterwards as before."""
    settings = cast("Any", torch.utils.deterministic)
    before, filled = (
        torch.are_deterministic_algorithms_enabled(),
        settings.fill_uninitialized_memory,
    )
    if device.type == "cpu":
        torch.use_deterministic_algorithms(True)
        # All that is made empty is filled by us; filling it before costs time and changes nothing.
        settings.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
        settings.fill_uninitialized_memory = filled
