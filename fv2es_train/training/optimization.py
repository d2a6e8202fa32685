"""Optimization: frozen parts, parameter groups, the learning-rate schedule, autocast."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn
from torch.optim import SGD, Adam, Optimizer

from fv2es_prep.errors import UsageError

if TYPE_CHECKING:
    from fv2es_train.config import TrainConfig
    from fv2es_train.models.emotion_model import EmotionModel


def freeze_text(model: EmotionModel, what: str | int) -> None:
    """Freeze parts of the text encoder, if the model has one; see `TrainConfig.freeze_text`.

    Raises:
        UsageError: the encoder has fewer layers with separate weights.
    """
    if what == "none" or model.text_encoder is None:
        return
    encoder = model.text_encoder.albert
    if what == "all":
        encoder.requires_grad_(False)
        return
    inner = getattr(encoder, "encoder", None)
    layers = list(getattr(inner, "layer", ()))
    count = 0 if what == "embeddings" else int(what)
    if count > len(layers):
        raise UsageError(
            f"freeze_text is {count} layers, but the text encoder has {len(layers)} with separate "
            "weights" + ("" if layers else " (the layers of ALBERT share theirs)"),
            "pass --freeze-text embeddings or --freeze-text all",
        )
    # ALBERT projects its small embeddings to full width in a separate layer.
    projection = getattr(inner, "embedding_hidden_mapping_in", None)
    for part in (getattr(encoder, "embeddings", None), projection, *layers[:count]):
        if isinstance(part, nn.Module):
            part.requires_grad_(False)


def freeze(model: EmotionModel, parts: Sequence[str]) -> None:
    """Freeze whole parts of the network by name, see `TrainConfig.freeze`.

    Raises:
        UsageError: the model has no such part, or no part would be left to train.
    """
    known = dict(model.named_children())
    for name in parts:
        if name not in known:
            raise UsageError(
                f"{model.config.name} has no part {name!r} to freeze",
                f"choose from {', '.join(known)}",
            )
        known[name].requires_grad_(False)
    if parts and not any(parameter.requires_grad for parameter in model.parameters()):
        raise UsageError(f"all parts of {model.config.name} are frozen", "freeze fewer parts")


def set_training(model: EmotionModel) -> None:
    """Set training mode; frozen parts stay in eval mode, so no dropout and fixed statistics."""
    model.train()
    text = model.text_encoder
    for part in (*model.children(), *([text] if text is not None else [])):
        learnt = [parameter.requires_grad for parameter in part.parameters()]
        if learnt and not any(learnt):
            part.eval()


def make_optimizer(model: EmotionModel, config: TrainConfig) -> Optimizer:
    """Make the optimizer of all trainable parameters; the text encoder has its own rate."""
    by_group = model.parameter_groups()
    if config.text_lr_head:
        named = dict(model.named_parameters())
        slow = [p for n, p in named.items() if model.in_head(n) and model.branch_of(n) == "t"]
        moved = {id(parameter) for parameter in slow}
        by_group = {name: [p for p in ps if id(p) not in moved] for name, ps in by_group.items()}
        by_group["text"] += slow
    groups = []
    for name, parameters in by_group.items():
        rate = config.lr / config.text_lr_divisor if name == "text" else config.lr
        if learning := [parameter for parameter in parameters if parameter.requires_grad]:
            groups.append({"name": name, "params": learning, "lr": rate, "base": rate})
    kind = SGD if config.optimizer == "sgd" else Adam
    # One kernel for all parameters; None leaves the choice to torch.
    fused = next(model.parameters()).is_cuda or None
    return kind(groups, lr=config.lr, weight_decay=config.weight_decay, fused=fused)


def set_learning_rates(optimizer: Optimizer, config: TrainConfig, step: int, steps: int) -> None:
    """Set the learning rates of optimizer step ``step`` (from 1) of ``steps`` in the run."""
    part = lr_factor(config.schedule, config.warmup, step, steps)
    for group in optimizer.param_groups:
        group["lr"] = group["base"] * part


def lr_factor(schedule: str, warmup: int, step: int, steps: int) -> float:
    """The learning-rate schedule: the factor of one step, above 0 and at most 1."""
    if step <= warmup:
        return step / (warmup + 1)
    if schedule == "constant":
        return 1.0
    # The schedule reaches zero one step after the last one.
    left = (steps + 1 - step) / max(1, steps - warmup)
    return left if schedule == "linear" else (1 - math.cos(math.pi * left)) / 2


def autocast(amp: str, device: torch.device) -> AbstractContextManager[Any]:
    """Context of a forward pass: bfloat16 with ``bf16``, else float32."""
    return torch.autocast(device.type, torch.bfloat16) if amp == "bf16" else nullcontext()


@contextmanager
def deterministic(device: torch.device) -> Iterator[None]:
    """On the CPU, let torch reject nondeterministic operations; restore the setting at the end."""
    settings = cast("Any", torch.utils.deterministic)
    before = torch.are_deterministic_algorithms_enabled()
    filled = settings.fill_uninitialized_memory
    if device.type == "cpu":
        torch.use_deterministic_algorithms(True)
        # Our code fills every empty tensor, so torch need not fill it first.
        settings.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
        settings.fill_uninitialized_memory = filled
