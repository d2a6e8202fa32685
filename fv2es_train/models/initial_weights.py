"""Weights to start a training from: a run's or a published file's, whole or by modality.

Leaves the formats of files to `checkpoint` and `published`, and freezing to training.
"""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from fv2es_prep.config import MODALITIES
from fv2es_prep.errors import DAMAGE, SettingsError, TrainError, UsageError, words_of
from fv2es_prep.utils.files import read_regular
from fv2es_train.models.checkpoint import CONFIG, load_checkpoint, load_rest
from fv2es_train.models.families import ModelConfig, config_from_json
from fv2es_train.models.fv2es_config import FV2ESConfig
from fv2es_train.models.run_files import unpacked

if TYPE_CHECKING:
    from torch import Tensor

    from fv2es_prep.config import PrepSettings
    from fv2es_train.models.emotion_model import EmotionModel

Head = Literal["auto", "keep", "new"]
_BEST = "best"


@dataclass(frozen=True)
class InitialWeights:
    """What a run or a published file holds.

    Attributes:
        path: where it was read.
        config: the configuration of its model.
        state: its weights under our names.
        classes: the classes, in the order of its logits; None for a published file, which names
            none.
        rest: weights of a published file that no network of ours has, see `load_rest`.
        settings: how the shards of its training were prepared; None for a published file.
    """

    path: Path
    config: ModelConfig
    state: dict[str, Tensor]
    classes: tuple[str, ...] | None
    rest: dict[str, Tensor] | None
    settings: PrepSettings | None = None

    def check_tokens(self, settings: PrepSettings) -> None:
        """Make sure that the text encoder knows the token ids of shards of these settings.

        Raises:
            SettingsError: the tokenizer is another one, or has too many ids.
        """
        ours, theirs = settings.text, self.settings.text if self.settings else None
        known = getattr(self.config, "vocabulary_size", None)
        other = theirs and theirs.is_known and theirs.vocabulary_sha256 != ours.vocabulary_sha256
        if other or (known is not None and ours.vocabulary_size > known):
            raise SettingsError(
                f"the shards' tokenizer {ours.tokenizer!r} has {ours.vocabulary_size} ids and is "
                f"not that of the text encoder in {self.path}, which accepts {known}",
                "prepare shards with its tokenizer, or take the other branches: --init-modalities",
            )


def read_config(path: Path, modalities: str | None = None) -> ModelConfig:
    """The configuration of the model of a run or a published file, without its classes.

    Arguments and errors: see `read_weights`.
    """
    if _is_published(path):
        return replace(read_weights(path, modalities).config, label_classes=())
    place = unpacked(path) / _BEST / CONFIG
    if not place.is_file():
        raise UsageError(
            f"{path} holds no weights to start from: {place} is missing",
            "pass a run, a packed run, or a published state dict",
        )
    try:
        return replace(config_from_json(json.loads(read_regular(place))["model"]), label_classes=())
    except DAMAGE as error:
        raise TrainError(
            f"{place} cannot be read: {words_of(error)}", "start from another run"
        ) from error


def read_weights(path: Path, modalities: str | None = None, heads: int = 4) -> InitialWeights:
    """Read all weights of a run (its best checkpoint), a packed run, or a published file.

    Args:
        path: a run, a file that `pack` wrote, or a published state dict.
        modalities: those that a published file was trained with, where the width of its fusion does
            not tell.
        heads: attention heads of its sequence encoders, which no shape tells.

    Raises:
        UsageError: it is none of these.
        TrainError: it is damaged or from another version.
    """
    if _is_published(path):
        return _published(path, modalities, heads)
    read_config(path)
    found = load_checkpoint(path)
    config, state = found.model.config, dict(found.model.state_dict())
    return InitialWeights(
        path, config, state, config.label_classes, load_rest(path), found.settings
    )


def _is_published(path: Path) -> bool:
    """Whether it is a file other than a packed run; torch's files are archives as well."""
    if not path.is_file() or not zipfile.is_zipfile(path):
        return path.is_file()
    with zipfile.ZipFile(path) as archive:
        return f"{_BEST}/{CONFIG}" not in archive.namelist()


def _published(path: Path, modalities: str | None, heads: int) -> InitialWeights:
    from fv2es_train.models.published.convert import read_state
    from fv2es_train.models.published.mapping import from_published
    from fv2es_train.models.published.sizes import class_count, config_of, modalities_of

    state = read_state(path)
    fused = state.get("weighted_fusion.weight")
    whole = fused is not None and fused.shape[-1] == len(MODALITIES)
    chosen = modalities_of(state, None if whole else modalities)
    unnamed = tuple(f"class {number}" for number in range(class_count(state)))
    model, rest = from_published(state, config_of(state, chosen, heads, unnamed))
    return InitialWeights(path, model.config, dict(model.state_dict()), None, rest)


def fitted_config(config: ModelConfig, weights: InitialWeights, modalities: str) -> ModelConfig:
    """The configuration, with the text encoder of the weights if that is taken from them."""
    theirs = weights.config
    if not (isinstance(config, FV2ESConfig) and isinstance(theirs, FV2ESConfig)):
        return config
    if "t" not in (modalities or theirs.modalities) or "t" not in config.modalities:
        return config
    return replace(config, text=theirs.text, text_encoder=theirs.text_encoder)


def start_from(
    model: EmotionModel, weights: InitialWeights, modalities: str = "", head: Head = "auto"
) -> dict[str, list[str]]:
    """Copy weights into a model, bit by bit.

    Args:
        model: the model, with its first weights.
        weights: see `read_weights`.
        modalities: letters of the branches to take; empty: all that both have, and the fusion if
            both fuse the same modalities.
        head: ``keep`` takes the layers that give the logits, ``new`` leaves them, ``auto`` takes
            them where the classes are the same. A published file names no classes: equal in number
            counts as the same.

    Returns:
        Names of the model's parts: ``taken`` (at least one weight is) and ``new``.

    Raises:
        UsageError: nothing is left to take, a part is missing, or a shape differs; names the part.
    """
    if model.closed_form:
        raise UsageError(
            f"{model.config.name} computes all of its weights from train", "leave out --init"
        )
    own, letters = model.state_dict(), _letters(model, weights, modalities)
    with_head = _takes_head(model, weights, head)
    fuses = letters == set(model.modalities) == set(weights.config.modalities)
    chosen = [
        name
        for name in own
        if (model.branch_of(name) in letters if model.branch_of(name) else fuses)
        and (with_head or not model.in_head(name))
    ]
    for name in chosen:
        _refuse_other(weights, name, own[name], model)
    model.load_state_dict({**own, **{name: weights.state[name] for name in chosen}})
    taken = list(dict.fromkeys(map(_part, chosen)))
    return {
        "taken": taken,
        "new": [part for part in dict.fromkeys(map(_part, own)) if part not in taken],
    }


def _letters(model: EmotionModel, weights: InitialWeights, modalities: str) -> set[str]:
    both = {m for m in model.modalities if m in weights.config.modalities}
    chosen = set(modalities) or both
    if absent := "".join(sorted(chosen - both)):
        raise UsageError(
            f"no weights of the modality {absent} to take: {weights.path} has "
            f"{weights.config.modalities}, the model reads {model.config.modalities}",
            "pass letters that both have: --init-modalities LETTERS",
        )
    if not chosen:
        raise UsageError(
            f"{weights.path} has the modalities {weights.config.modalities}, the model reads "
            f"{model.config.modalities}: nothing to start from",
            "choose other --modalities",
        )
    return chosen


def _takes_head(model: EmotionModel, weights: InitialWeights, head: Head) -> bool:
    ours, theirs = model.config.label_classes, weights.classes
    same = len(weights.config.label_classes) == len(ours) if theirs is None else theirs == ours
    ratings = model.config.ratings
    same = same and weights.config.ratings == ratings
    if head == "keep" and not same:
        named = ", ".join(theirs) if theirs else f"{len(weights.config.label_classes)} classes"
        here = ", ".join((*ours, *ratings))
        raise UsageError(
            f"the head of {weights.path} is for {', '.join((named, *weights.config.ratings))}; "
            f"this training learns {here}",
            "pass --init-head new",
        )
    return head != "new" and same


def _part(name: str) -> str:
    return name.partition(".")[0]


def _refuse_other(weights: InitialWeights, name: str, own: Tensor, model: EmotionModel) -> None:
    found, part = weights.state.get(name), _part(name)
    if found is not None and found.shape == own.shape:
        return
    what = "lacks" if found is None else f"has the shape {tuple(found.shape)} of"
    fused = [getattr(c, "face_fused", None) for c in (weights.config, model.config)]
    raise UsageError(
        f"the part {part} of {weights.path} {what} {name}, expected {tuple(own.shape)}",
        "set model.face_fused as in the weights"
        if fused[0] != fused[1]
        else "leave out --model, which takes all sizes from the weights, or leave the part out: "
        "--init-modalities",
    )
