"""The strict mapping between published state dicts and ours.

The published names are those of the state dict of ``MME2E`` in
github.com/MultimodalAffectiveComputing/FV2ES, V2EM/src/model/c_e2e.py, and in
github.com/wenliangdai/Multimodal-End2end-Sparse, src/models/e2e.py, its ancestor.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from fv2es_prep.config import MODALITIES
from fv2es_prep.errors import UsageError
from fv2es_train.models.emotion_model import EmotionModel
from fv2es_train.models.fv2es import FV2ES
from fv2es_train.models.fv2es_config import FV2ESConfig
from fv2es_train.models.text_encoder import from_config

# Our prefix -> theirs; a name without one of these prefixes is the same in both.
_PARTS = {
    "text.": "T.",
    "face.stack.": "V.",
    "face.project.": "v_flatten.",
    "mel.nest.": "A.0.",
    "mel.stack.": "A.",
    "mel.project.": "a_flatten.",
}
# The same for names within a layer of V; ``0.`` is the convolution of a fused block.
_BRANCHES = {
    "dense.": "rbr_dense.",
    "pointwise.": "rbr_1x1.",
    "identity.": "rbr_identity.",
    "0.": "rbr_reparam.",
}
# Weights that do not contribute to the logits. They are optional in a file, and stored separately.
_HEAD = ("A.0.head.weight", "A.0.head.bias")
_POOLER = ("T.albert.pooler.weight", "T.albert.pooler.bias")
# A buffer that transformers before 4.31 saved.
_POSITIONS = "T.albert.embeddings.position_ids"
# The published network contains the face detector; fv2es detects faces during preparation.
_DETECTOR = "mtcnn."
_FUSION = "weighted_fusion.weight"
# Classes of the unused head: the default of timm, those of ImageNet.
_HEAD_CLASSES = 1000
_SHOWN = 3
_MODELS = ("fv2es", "mme2e")


def published_name(ours: str) -> str:
    """The published name of one of our weights."""
    name = _replaced(ours, _PARTS)
    if not ours.startswith("face.stack."):
        return name
    layer, _, inside = name.removeprefix("V.").partition(".")
    return f"V.{layer}.{_replaced(inside, _BRANCHES)}"


def from_published(
    state: Mapping[str, Tensor], config: FV2ESConfig
) -> tuple[FV2ES, dict[str, Tensor]]:
    """Build our network with the published weights, copied bit by bit.

    Args:
        state: the published state dict.
        config: sizes of the network, see `sizes.config_of`.

    Returns:
        The network in eval mode, and the rest of the file: weights that do not contribute to the
        logits or belong to other modalities. With both, `to_published` restores the file.

    Raises:
        UsageError: a name is unexpected or missing, or a shape or dtype differs.
    """
    # The published model has the parts of all modalities, even unused ones.
    _compare(state, _expected(config, state), "file")
    model = FV2ES(config, from_config(config.text) if "t" in config.modalities else None)
    theirs = {published_name(name): name for name in model.state_dict()}
    model.load_state_dict({ours: state[name] for name, ours in theirs.items()})
    # Clone, because safetensors does not store tensors that share memory.
    rest = {name: value.clone() for name, value in state.items() if name not in theirs}
    return model.eval(), rest


def to_published(
    model: EmotionModel, rest: Mapping[str, Tensor] | None = None
) -> dict[str, Tensor]:
    """Convert our weights to a published state dict.

    Args:
        model: a network of the published architecture and sizes.
        rest: the rest that `from_published` returned; None for a network trained by fv2es, whose
            weights that do not contribute (head of NesT, pooler of ALBERT) are written as zeros.

    Raises:
        UsageError: the network has another architecture, or lacks the parts of a modality.
    """
    config = model.config
    kind = config.text.get("model_type", "albert") if isinstance(config, FV2ESConfig) else "-"
    if not isinstance(config, FV2ESConfig) or config.name not in _MODELS or kind != "albert":
        raise UsageError(
            f"the run is a {config.name} with the text encoder {kind}, expected one of the "
            "published "
            f"models, {' or '.join(_MODELS)} with albert",
            "train the published model: fv2es train --model fv2es --text-encoder albert-base-v2",
        )
    if rest is None and config.modalities != MODALITIES:
        raise UsageError(
            f"the run has only the parts of the modalities {config.modalities}, expected those of "
            f"{MODALITIES}, as in the published model",
            "train with --modalities tav",
        )
    ours = {published_name(name): value for name, value in model.state_dict().items()}
    state = ours | dict(_zeros(config) if rest is None else rest)
    _compare(state, _expected(config, state), "run")
    return {name: value.detach().cpu().clone() for name, value in state.items()}


def _replaced(name: str, prefixes: Mapping[str, str]) -> str:
    for prefix, theirs in prefixes.items():
        if name.startswith(prefix):
            return theirs + name.removeprefix(prefix)
    return name


def _expected(config: FV2ESConfig, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Make empty tensors with the names, shapes and dtypes of the published model."""
    with torch.device("meta"):
        full = FV2ES(replace(config, modalities=MODALITIES), from_config(config.text))
        expected = {published_name(name): value for name, value in full.state_dict().items()}
        width = len(config.modalities)
        if width == 1 and _FUSION in state:
            # A single modality has no fusion, so any width is valid.
            width = min(max(state[_FUSION].shape[-1], 1), len(MODALITIES))
        expected[_FUSION] = torch.empty(1, width)
    return expected


def _compare(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], what: str) -> None:
    known = {*expected, *_HEAD, *_POOLER, _POSITIONS}
    unexpected = [n for n in found if n not in known and not n.startswith(_DETECTOR)]
    missing = [name for name in expected if name not in found]
    if unexpected or missing:
        raise UsageError(
            f"the {what} is not the published model: {len(unexpected)} unexpected names"
            f"{_first(unexpected)}, {len(missing)} missing{_first(missing)}",
            "pass a complete state dict of the published FV2ES (V2EM) or MME2E, with all branches "
            "of its V blocks, or with all of them fused",
        )
    for name, value in expected.items():
        here = found[name]
        if (here.shape, here.dtype) != (value.shape, value.dtype):
            raise UsageError(
                f"the {what}'s weight {name} is {_kind(here)}, expected {_kind(value)}",
                "pass the file that the published code wrote, in float32",
            )


def _first(names: list[str]) -> str:
    shown = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
    return f" ({shown})" if names else ""


def _kind(value: Tensor) -> str:
    return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"


def _zeros(config: FV2ESConfig) -> dict[str, Tensor]:
    hidden = int(config.text["hidden_size"])
    shapes = {_POOLER: (hidden, hidden)}
    if config.mel_encoder == "nest":
        shapes[_HEAD] = (_HEAD_CLASSES, config.mel_dims[-1])
    return {
        name: torch.zeros(size)
        for names, shape in shapes.items()
        for name, size in zip(names, (shape, shape[:1]), strict=True)
    }
