"""Initial weights of a training, from a run or a published file, all or by modality.

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
    """The weights of a run or a published file.

    Attributes:
        path: the run or file.
        config: the configuration of its model.
        state: its weights under our names.
        classes: the classes, in the order of the logits; None for a published file, which names
            none.
        rest: weights of a published file that our networks lack, see `load_rest`.
        settings: settings of the shards it was trained on; None for a published file.
    """

    path: Path
    config: ModelConfig
    state: dict[str, Tensor]
    classes: tuple[str, ...] | None
    rest: dict[str, Tensor] | None
    settings: PrepSettings | None = None

    def check_tokens(self, settings: PrepSettings) -> None:
        """Check that the text encoder matches the tokenizer of shards with these settings.

        Raises:
            SettingsError: the tokenizer differs or has too many ids.
        """
        ours, theirs = settings.text, self.settings.text if self.settings else None
        known = getattr(self.config, "vocabulary_size", None)
        other = theirs and theirs.is_known and theirs.vocabulary_sha256 != ours.vocabulary_sha256
        if other or (known is not None and ours.vocabulary_size > known):
            raise SettingsError(
                f"the tokenizer of the shards, {ours.tokenizer!r} with {ours.vocabulary_size} ids, "
                "is "
                f"not that of the text encoder in {self.path}, which accepts {known} ids",
                "prepare shards with that tokenizer, or take only other branches: "
                "--init-modalities",
            )


def read_config(path: Path, modalities: str | None = None) -> ModelConfig:
    """Read the model configuration of a run or a published file, without its classes.

    Arguments and errors: see `read_weights`.
    """
    if _is_published(path):
        return replace(read_weights(path, modalities).config, label_classes=())
    place = unpacked(path) / _BEST / CONFIG
    if not place.is_file():
        raise UsageError(
            f"{path} contains no weights to start from: {place} is missing",
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
        modalities: modalities that a published file was trained with, needed if the width of its
            fusion is ambiguous.
        heads: attention heads of its sequence encoders, which no shape determines.

    Raises:
        UsageError: ``path`` is none of these.
        TrainError: the run is damaged or from another version.
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
    """Whether ``path`` is a file but no packed run; torch files are zip archives, too."""
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
    """The configuration, with the text encoder of the weights if that branch is taken."""
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
        model: the model, with its initial weights.
        weights: see `read_weights`.
        modalities: letters of the branches to take; empty: all that both have, and the fusion if
            both fuse the same modalities.
        head: ``keep`` takes the layers that compute the logits, ``new`` does not, ``auto`` takes
            them if the classes are the same. A published file names no classes, so an equal number
            of classes counts as the same.

    Returns:
        Names of parts of the model: ``taken`` (at least one weight was taken) and ``new``.

    Raises:
        UsageError: nothing can be taken, a part is missing, or a shape differs; the message names
            the part.
    """
    if model.closed_form:
        raise UsageError(
            f"{model.config.name} computes all of its weights from train", "remove --init"
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
            f"{weights.config.modalities}, and the model reads {model.config.modalities}",
            "pass letters that both have: --init-modalities LETTERS",
        )
    if not chosen:
        raise UsageError(
            f"{weights.path} has the modalities {weights.config.modalities}, but the model reads "
            "only "
            f"{model.config.modalities}",
            "choose --modalities that the weights have",
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
            f"the output layers of {weights.path} are for "
            f"{', '.join((named, *weights.config.ratings))}, but this training learns {here}",
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
        else "remove --model, so that all sizes come from the weights, or skip the part with "
        "--init-modalities",
    )
