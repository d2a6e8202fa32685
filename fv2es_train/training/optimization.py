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
    from fv2es_train.models.fv2es import FV2ES


def freeze_text(model: FV2ES, what: str) -> None:
    """Take the gradients from parts of the text encoder.

    Args:
        model: changed in place; one without text is left as it is.
        what: see `TrainConfig.freeze_text`.

    Raises:
        UsageError: the encoder does not have so many layers of their own.
    """
    if what == "none" or "t" not in model.modalities:
        return
    encoder = model.text.albert
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


def set_training(model: FV2ES) -> None:
    """Training mode, but for a text encoder that learns nothing: that one drops nothing either."""
    model.train()
    if "t" in model.modalities and not any(p.requires_grad for p in model.text.parameters()):
        model.text.eval()


def make_optimizer(model: FV2ES, config: TrainConfig) -> Adam:
    """Adam over what learns: the text encoder with its own learning rate, all else with the full.

    Raises:
        UsageError: nothing is left that learns.
    """
    chosen: dict[str, list[nn.Parameter]] = {"main": [], "text": []}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            chosen["text" if name.startswith("text.") else "main"].append(parameter)
    rates = {"main": config.lr, "text": config.lr / config.text_lr_divisor}
    groups = [
        {"name": name, "params": params, "lr": rates[name], "base": rates[name]}
        for name, params in chosen.items()
        if params
    ]
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


def compile_parts(model: FV2ES) -> None:
    """Let torch compile the encoders, in place; names of parameters stay.

    Not the whole network: how many faces each utterance has is known only batch by batch, and each
    new number would be compiled anew.
    """
    for name in ("text", "face", "mel"):
        if name in dict(model.named_children()):
            getattr(model, name).compile(dynamic=True)


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
