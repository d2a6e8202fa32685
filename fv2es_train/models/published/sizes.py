"""The configuration of a published state dict, read off its shapes.

Owns every size that a shape tells. What no shape tells is as published: heads of 32 in NesT, the
layers and heads of the published ALBERT sizes; the heads of the sequence encoders are asked for.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from fv2es_prep.errors import UsageError
from fv2es_train.models.families import MODALITIES
from fv2es_train.models.fv2es_config import FV2ESConfig

if TYPE_CHECKING:
    from torch import Tensor

# Layers and attention heads by hidden size: albert-base-v2, -large-v2, -xlarge-v2. ALBERT's layers
# share their weights, so no shape tells how many there are.
ALBERTS = {768: ("base", 12, 12), 1024: ("large", 24, 16), 2048: ("xlarge", 24, 16)}
NEST_HEAD = 32
_HINT = "pass what the published code wrote with torch.save(model.state_dict(), FILE)"


def modalities_of(state: Mapping[str, Tensor], asked: str | None) -> str:
    """Which modalities the logits are made of.

    The published model has all parts whatever it was trained for; only the width of its fusion
    tells how many of them it uses.

    Args:
        state: the published state dict.
        asked: some of ``tav``; None: all, where the fusion is that wide.

    Raises:
        UsageError: the fusion does not fit what was asked for, or nothing was and it does not tell.
    """
    width = _shape(state, "weighted_fusion.weight")[-1]
    if asked is None and width == len(MODALITIES):
        return MODALITIES
    if asked is None:
        raise UsageError(
            f"the file fuses {width} of the modalities t, a and v, and does not tell which",
            "pass the ones it was trained with, for example --modalities ta",
        )
    chosen = FV2ESConfig(modalities=asked).modalities
    # One modality alone does not pass through the fusion, so any file has it.
    if len(chosen) not in (1, width):
        raise UsageError(
            f"the file fuses {width} modalities, but --modalities names {len(chosen)}: {chosen}",
            "pass those it was trained with, or a single one",
        )
    return chosen


def config_of(
    state: Mapping[str, Tensor], modalities: str, heads: int, label_classes: tuple[str, ...]
) -> FV2ESConfig:
    """The sizes of a published state dict.

    Args:
        state: the published state dict, multi-branch or fused.
        modalities: those of our network.
        heads: attention heads of each sequence encoder, which no shape tells.
        label_classes: in the order of the logits.

    Raises:
        UsageError: a weight that tells a size is missing or is no such weight; the number of
            classes or of heads does not fit.
    """
    classes, width = _shape(state, "v_out.weight", 2)
    if len(label_classes) != classes:
        raise UsageError(
            f"the file has {classes} classes, but {len(label_classes)} are named: "
            f"{', '.join(label_classes)}",
            "name them in the order of the logits: --labels NAME,NAME,...",
        )
    if heads < 1 or width % heads:
        raise UsageError(
            f"{heads} attention heads do not divide the width {width}",
            "pass the --trans-nheads that the file was trained with as --heads",
        )
    feed_forward = "v_transformer.encoder.layers.0.linear1.weight"
    return FV2ESConfig(
        modalities=modalities,
        label_classes=label_classes,
        trans_dim=width,
        trans_layers=_count(state, r"v_transformer\.encoder\.layers\.(\d+)\."),
        trans_heads=heads,
        trans_ffn=_shape(state, feed_forward, 2)[0],
        **_face(state),
        **_mel(state),
        **_text(state),
    )


def _face(state: Mapping[str, Tensor]) -> dict[str, Any]:
    blocks = _numbers(state, r"V\.(\d+)\.rbr_")
    fused = any(".rbr_reparam." in name for name in state)
    kernel = "rbr_reparam.weight" if fused else "rbr_dense.conv.weight"
    stages: list[list[int]] = [[]]
    for before, number in pairwise([blocks[0] - 1, *blocks]):
        # A number left out between two blocks is the pooling that ends a stage.
        if number > before + 1:
            stages.append([])
        stages[-1].append(_shape(state, f"V.{number}.{kernel}", 4)[0])
    hidden, flat = _shape(state, "v_flatten.0.weight", 2)
    side = _root(flat / stages[-1][-1], "v_flatten.0.weight")
    return {
        "face_px": side * 2 ** (1 + len(stages)),
        "face_stem": _shape(state, "V.0.weight", 4)[0],
        "face_stages": tuple(tuple(stage) for stage in stages),
        "face_hidden": hidden,
        "face_fused": fused,
    }


def _mel(state: Mapping[str, Tensor]) -> dict[str, Any]:
    levels = range(_count(state, r"A\.0\.levels\.(\d+)\."))
    places = [_shape(state, f"A.0.levels.{level}.pos_embed", 4) for level in levels]
    dims = tuple(place[3] for place in places)
    side = _root(places[0][1] * places[0][2], "A.0.levels.0.pos_embed")
    layers = r"A\.0\.levels\.{}\.transformer_encoder\.(\d+)\."
    return {
        "mel_dims": dims,
        "mel_heads": tuple(dim // NEST_HEAD for dim in dims),
        "mel_depths": tuple(_count(state, layers.format(level)) for level in levels),
        "mel_patch": FV2ESConfig.mel_rows // side,
        "mel_hidden": _shape(state, "a_flatten.0.weight", 2)[0],
    }


def _text(state: Mapping[str, Tensor]) -> dict[str, Any]:
    from transformers import AlbertConfig

    vocabulary, embedding = _shape(state, "T.albert.embeddings.word_embeddings.weight", 2)
    positions, _ = _shape(state, "T.albert.embeddings.position_embeddings.weight", 2)
    kinds, _ = _shape(state, "T.albert.embeddings.token_type_embeddings.weight", 2)
    layer = "T.albert.encoder.albert_layer_groups.0.albert_layers.0"
    inner, hidden = _shape(state, f"{layer}.ffn.weight", 2)
    if hidden not in ALBERTS:
        raise UsageError(
            f"the file's ALBERT is {hidden} wide, expected {', '.join(map(str, ALBERTS))}",
            "the published model takes albert-base-v2, albert-large-v2 or albert-xlarge-v2",
        )
    size, layers, heads = ALBERTS[hidden]
    config = AlbertConfig(
        vocab_size=vocabulary,
        embedding_size=embedding,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=inner,
        max_position_embeddings=positions,
        type_vocab_size=kinds,
        hidden_act="gelu_new",
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    return {"text_encoder": f"albert-{size}-v2", "text": config.to_dict()}


def _shape(state: Mapping[str, Tensor], name: str, axes: int | None = None) -> tuple[int, ...]:
    if name not in state:
        raise UsageError(
            f"the file has no weight {name}, so it is no state dict of the published model",
            _HINT,
        )
    shape = tuple(state[name].shape)
    if not shape or 0 in shape or (axes is not None and len(shape) != axes):
        raise UsageError(
            f"the file's weight {name} has the shape {shape}, expected {axes or 2} axes, none of "
            "them empty",
            _HINT,
        )
    return shape


def _numbers(state: Mapping[str, Tensor], pattern: str) -> list[int]:
    """The numbers that a pattern's group finds at the beginning of the names, at least one."""
    found = {int(match[1]) for name in state if (match := re.match(pattern, name))}
    if not found:
        named = pattern.replace(r"(\d+)", "N").replace("\\", "")
        raise UsageError(
            f"the file has no weight named {named}..., so it is no state dict of the published "
            "model",
            _HINT,
        )
    return sorted(found)


def _count(state: Mapping[str, Tensor], pattern: str) -> int:
    return _numbers(state, pattern)[-1] + 1


def _root(area: float, name: str) -> int:
    side = round(math.sqrt(area))
    if side < 1 or side * side != area:
        raise UsageError(
            f"the shape of the file's weight {name} does not come from a square", _HINT
        )
    return side
