"""The weights of a published state dict as ours, and ours as a published state dict, strictly.

Owns the comparison of names, shapes and types, and what becomes of weights that nothing reads.
Leaves names to `names` and sizes to `sizes`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from fv2es_prep.errors import UsageError
from fv2es_train.models.emotion_model import EmotionModel
from fv2es_train.models.encoders.text import from_config
from fv2es_train.models.families import MODALITIES
from fv2es_train.models.fv2es import FV2ES
from fv2es_train.models.fv2es_config import FV2ESConfig
from fv2es_train.models.published.names import POOLER, UNUSED_HEAD, is_ignored, published_name

FUSION = "weighted_fusion.weight"
# Classes of the unused head: timm's default, ImageNet's.
_HEAD_CLASSES = 1000
_SHOWN = 3
_State = dict[str, Tensor]


def from_published(state: Mapping[str, Tensor], config: FV2ESConfig) -> tuple[FV2ES, _State]:
    """Our network with the published weights.

    Args:
        state: the published state dict; tensors are copied, bit by bit.
        config: its sizes, see `sizes.config_of`.

    Returns:
        The network in eval mode, and what of the file it does not hold: the weights that nothing
        reads, and those of modalities that were not chosen. With both, `to_published` gives the
        file back.

    Raises:
        UsageError: a name is unexpected or missing, or a shape or type differs.
    """
    # The published model has all its parts, whichever of them it uses.
    _compare(state, _expected(config, state), "file")
    model = FV2ES(config, from_config(config.text) if "t" in config.modalities else None)
    theirs = {published_name(name): name for name in model.state_dict()}
    model.load_state_dict({ours: state[name] for name, ours in theirs.items()})
    # Cloned, because tensors that share memory cannot be stored as safetensors.
    rest = {name: value.clone() for name, value in state.items() if name not in theirs}
    return model.eval(), rest


def to_published(model: EmotionModel, rest: Mapping[str, Tensor] | None = None) -> _State:
    """Our weights as a published state dict.

    Args:
        model: the network, of the published kind and sizes.
        rest: what `from_published` left over; None for a network that was trained here, where the
            published weights that nothing reads (NesT's head, ALBERT's pooler) are zeros.

    Raises:
        UsageError: the network is not of the published kind, or lacks parts of it.
    """
    if not isinstance(model, FV2ES):
        raise UsageError(
            f"the run is a {model.config.name}, the published model is fv2es",
            "train the published model: fv2es train --model fv2es --text-encoder albert-base-v2",
        )
    _refuse_other_kinds(model.config)
    state = {published_name(name): value for name, value in model.state_dict().items()}
    if rest is None:
        _refuse_missing_parts(model.config)
        rest = _unread(model.config)
    _compare(state | dict(rest), _expected(model.config, state | dict(rest)), "run")
    return {name: value.detach().cpu().clone() for name, value in (state | dict(rest)).items()}


def _expected(config: FV2ESConfig, state: Mapping[str, Tensor]) -> _State:
    """Weights without content of the names, shapes and types that the published model has."""
    with torch.device("meta"):
        full = FV2ES(replace(config, modalities=MODALITIES), from_config(config.text))
        expected = {published_name(name): value for name, value in full.state_dict().items()}
        width = len(config.modalities)
        if width == 1 and FUSION in state:
            # A modality alone does not pass through the fusion, so its width may be any.
            width = min(max(state[FUSION].shape[-1], 1), len(MODALITIES))
        expected[FUSION] = torch.empty(1, width)
    return expected


def _compare(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], what: str) -> None:
    unexpected = [name for name in found if name not in expected and not is_ignored(name)]
    missing = [name for name in expected if name not in found]
    if unexpected or missing:
        raise UsageError(
            f"the {what} is not the published model: {len(unexpected)} unexpected names"
            f"{_first(unexpected)}, {len(missing)} missing{_first(missing)}",
            "the file has to be a state dict of the published FV2ES (V2EM) model, whole: with all "
            "branches of its V blocks, or with all of them fused",
        )
    for name, value in expected.items():
        here = found[name]
        if (here.shape, here.dtype) != (value.shape, value.dtype):
            raise UsageError(
                f"the {what}'s weight {name} is {_kind(here)}, expected {_kind(value)}",
                "pass the file as the published code wrote it, in float32",
            )


def _first(names: list[str]) -> str:
    shown = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
    return f" ({shown})" if names else ""


def _kind(value: Tensor) -> str:
    return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"


def _refuse_other_kinds(config: FV2ESConfig) -> None:
    kind = config.text.get("model_type", "albert")
    if config.name != "fv2es" or (config.text and kind != "albert"):
        raise UsageError(
            f"the run is a {config.name} with the text encoder {kind}, and the published model is "
            "fv2es with albert",
            "train the published model: fv2es train --model fv2es --text-encoder albert-base-v2",
        )


def _refuse_missing_parts(config: FV2ESConfig) -> None:
    if config.modalities != MODALITIES:
        raise UsageError(
            f"the run has the parts of the modalities {config.modalities} only, and the published "
            f"model always has those of {MODALITIES}",
            "train with --modalities tav",
        )


def _unread(config: FV2ESConfig) -> _State:
    hidden = int(config.text["hidden_size"])
    shapes = (_HEAD_CLASSES, config.mel_dims[-1]), (hidden, hidden)
    unread: _State = {}
    for (weight, bias), shape in zip((UNUSED_HEAD, POOLER), shapes, strict=True):
        unread |= {weight: torch.zeros(shape), bias: torch.zeros(shape[0])}
    return unread
