"""The configuration of a published state dict, derived from the shapes of its weights.

Sizes that no shape determines take the published values: heads of width 32 in NesT, layers and
heads of the published ALBERT models. The heads of the sequence encoders are an argument.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from fv2es_prep.config import MODALITIES
from fv2es_prep.errors import UsageError
from fv2es_train.models.families import ModelConfig
from fv2es_train.models.fv2es_config import FV2ESConfig

if TYPE_CHECKING:
    from torch import Tensor

# Hidden size -> name, layers, heads. ALBERT layers share weights, so no shape gives their number.
_ALBERTS = {768: ("base", 12, 12), 1024: ("large", 24, 16), 2048: ("xlarge", 24, 16)}
_NEST_HEAD = 32
_HINT = "pass a file that the published code wrote with torch.save(model.state_dict(), FILE)"


def modalities_of(state: Mapping[str, Tensor], given: str | None) -> str:
    """The modalities that the logits come from: the given ones; None means ``tav``.

    The published model has the parts of all modalities; the width of its fusion is the number that
    it uses.

    Raises:
        UsageError: the width of the fusion differs from the number of modalities.
    """
    width = _shape(state, "weighted_fusion.weight")[-1]
    if given is None and width != len(MODALITIES):
        raise UsageError(
            f"the file fuses {width} of the modalities t, a and v, but does not state which",
            "pass the modalities it was trained with, e.g. --modalities ta",
        )
    chosen = ModelConfig(modalities=given or MODALITIES).modalities
    # A single modality needs no fusion, so every file supports it.
    if len(chosen) not in (1, width):
        raise UsageError(
            f"the file fuses {width} modalities, but --modalities names {len(chosen)}: {chosen}",
            "pass the modalities it was trained with, or a single one",
        )
    return chosen


def class_count(state: Mapping[str, Tensor]) -> int:
    """Number of logits of a published state dict; UsageError for any other file."""
    return _shape(state, "v_out.weight", 2)[0]


def config_of(
    state: Mapping[str, Tensor], modalities: str, heads: int, label_classes: tuple[str, ...]
) -> FV2ESConfig:
    """Derive the sizes of a published state dict, multi-branch or fused.

    Raises:
        UsageError: a weight is missing or has an impossible shape, or the number of classes or
            heads does not match.
    """
    classes, width = _shape(state, "v_out.weight", 2)
    if len(label_classes) != classes:
        raise UsageError(
            f"the file has {classes} classes, but {len(label_classes)} are given: "
            f"{', '.join(label_classes)}",
            "pass all of them in the order of the logits: --labels NAME,NAME,...",
        )
    if heads < 1 or width % heads:
        raise UsageError(
            f"the width {width} is not a multiple of {heads} attention heads",
            "pass the --trans-nheads that the file was trained with as --heads",
        )
    return FV2ESConfig(
        modalities=modalities,
        label_classes=label_classes,
        trans_dim=width,
        trans_layers=_numbers(state, r"v_transformer\.encoder\.layers\.(\d+)\.")[-1] + 1,
        trans_heads=heads,
        trans_ffn=_shape(state, "v_transformer.encoder.layers.0.linear1.weight", 2)[0],
        **_face(state),
        **_mel(state),
        **_text(state),
    )


def _face(state: Mapping[str, Tensor]) -> dict[str, Any]:
    vgg = any(re.match(r"V\.\d+\.conv1\.", name) for name in state)
    blocks = _numbers(state, r"V\.(\d+)\.conv1\." if vgg else r"V\.(\d+)\.rbr_")
    fused = any(".rbr_reparam." in name for name in state)
    kernel = "rbr_reparam.weight" if fused else "rbr_dense.conv.weight"
    kernel = "conv1.weight" if vgg else kernel
    stages: list[list[int]] = [[]]
    for before, number in pairwise([blocks[0] - 1, *blocks]):
        # A gap in the numbers between two blocks is the pooling at the end of a stage.
        if number > before + 1:
            stages.append([])
        stages[-1].append(_shape(state, f"V.{number}.{kernel}", 4)[0])
    hidden, flat = _shape(state, "v_flatten.0.weight", 2)
    side = _root(flat / stages[-1][-1], "v_flatten.0.weight")
    return {
        "face_px": side * 2 ** (1 + len(stages)),
        "face_block": "vgg" if vgg else "repvgg",
        "face_stem": _shape(state, "V.0.weight", 4)[0],
        "face_stages": tuple(tuple(stage) for stage in stages),
        "face_hidden": hidden,
        "face_fused": fused,
    }


def _mel(state: Mapping[str, Tensor]) -> dict[str, Any]:
    hidden = _shape(state, "a_flatten.0.weight", 2)[0]
    if "A.0.weight" in state:
        return {"name": "mme2e", "mel_encoder": "vgg", "mel_hidden": hidden}
    levels = range(_numbers(state, r"A\.0\.levels\.(\d+)\.")[-1] + 1)
    places = [_shape(state, f"A.0.levels.{level}.pos_embed", 4) for level in levels]
    dims = tuple(place[3] for place in places)
    side = _root(places[0][1] * places[0][2], "A.0.levels.0.pos_embed")
    layers = r"A\.0\.levels\.{}\.transformer_encoder\.(\d+)\."
    return {
        "mel_dims": dims,
        "mel_heads": tuple(dim // _NEST_HEAD for dim in dims),
        "mel_depths": tuple(_numbers(state, layers.format(n))[-1] + 1 for n in levels),
        "mel_patch": FV2ESConfig.mel_rows // side,
        "mel_hidden": hidden,
    }


def _text(state: Mapping[str, Tensor]) -> dict[str, Any]:
    from transformers import AlbertConfig

    parts = ("word", "position", "token_type")
    names = (f"T.albert.embeddings.{part}_embeddings.weight" for part in parts)
    (vocabulary, embedding), (positions, _), (kinds, _) = (_shape(state, n, 2) for n in names)
    layer = "T.albert.encoder.albert_layer_groups.0.albert_layers.0"
    inner, hidden = _shape(state, f"{layer}.ffn.weight", 2)
    if hidden not in _ALBERTS:
        raise UsageError(
            f"the ALBERT of the file has the width {hidden}, expected "
            f"{', '.join(map(str, _ALBERTS))}",
            "pass a file with albert-base-v2, albert-large-v2 or albert-xlarge-v2",
        )
    size, layers, heads = _ALBERTS[hidden]
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
            f"the file has no weight {name}: it is not a state dict of the published model", _HINT
        )
    shape = tuple(state[name].shape)
    if not shape or 0 in shape or (axes is not None and len(shape) != axes):
        raise UsageError(
            f"the weight {name} of the file has the shape {shape}, expected {axes or 2} non-empty "
            "axes",
            _HINT,
        )
    return shape


def _numbers(state: Mapping[str, Tensor], pattern: str) -> list[int]:
    """The numbers that a pattern matches at the start of names, sorted, at least one."""
    found = {int(match[1]) for name in state if (match := re.match(pattern, name))}
    if not found:
        named = pattern.replace(r"(\d+)", "N").replace("\\", "")
        raise UsageError(
            f"the file has no weight {named}...: it is not a state dict of the published model",
            _HINT,
        )
    return sorted(found)


def _root(area: float, name: str) -> int:
    side = round(math.sqrt(area))
    if side < 1 or side * side != area:
        raise UsageError(f"the weight {name} of the file does not come from a square image", _HINT)
    return side
