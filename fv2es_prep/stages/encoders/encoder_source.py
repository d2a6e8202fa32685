"""Resolves ``KIND:NAME_OR_DIR`` or ``KIND:ALIAS=NAME_OR_DIR`` to an encoder; describes it.

Leaves the weights to `encoder_loading`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fv2es_prep.config import digest_of
from fv2es_prep.errors import SettingsError, TokenizerError, UsageError
from fv2es_prep.stages.encoders.encoder_settings import EncoderOptions, EncoderSettings
from fv2es_prep.stages.registry import ENCODER_INPUTS, is_encoder
from fv2es_prep.utils.configuration import resolve
from fv2es_prep.utils.files import sha256_of
from fv2es_prep.utils.hub import is_local
from fv2es_prep.utils.near import meant
from fv2es_prep.utils.pretrained import refuse_absurd

ARCHITECTURES = {
    "audio": ("wav2vec2", "hubert", "wavlm", "unispeech-sat", "whisper"),
    "video": ("clip", "vit", "deit", "dinov2", "dinov2_with_registers"),
    "text": (
        *("bert", "roberta", "distilbert", "albert", "electra", "mpnet", "xlm-roberta"),
        *("camembert", "deberta", "deberta-v2", "modernbert"),
    ),
}
# The first token of these has this position + 1.
_SHIFTED = ("roberta", "xlm-roberta", "camembert", "mpnet")
_DECISIVE = ("*.safetensors", "*.json", "*.model", "vocab.txt", "merges.txt")


def split_stages(names: Iterable[str]) -> tuple[tuple[str, ...], dict[str, str]]:
    """Stages as the user writes them -> their names, and stage -> NAME_OR_DIR of the encoders.

    ``audio:facebook/wavlm-base`` is the stage ``audio-wavlm-base``, ``audio:w=DIR`` is ``audio-w``.
    ``faces:FILE`` is the stage ``faces`` with the model file of its detector, see `yunet`.

    Raises:
        UsageError: the kind is unknown, or the encoder or its alias is empty.
        SettingsError: two encoders have the same stage name.
    """
    found: list[str] = []
    sources: dict[str, str] = {}
    for text in names:
        kind, colon, rest = text.partition(":")
        if not colon:
            found.append(text)
            continue
        stage, source = _named(kind, rest)
        if sources.setdefault(stage, source) != source:
            raise SettingsError(
                f"{sources[stage]} and {source} would both be the stage {stage}",
                f"name one of them: {kind}:NAME={source}",
            )
        found.append(stage)
    return tuple(dict.fromkeys(found)), sources


def _named(kind: str, rest: str) -> tuple[str, str]:
    if kind == "faces" and rest:
        return kind, str(Path(rest).resolve())
    if kind not in ENCODER_INPUTS:
        raise UsageError(f"unknown kind of encoder {kind!r}", meant(kind, ENCODER_INPUTS))
    alias, equals, source = rest.partition("=")
    if not equals or not re.fullmatch(r"[\w-]+", alias) or Path(rest).is_dir():
        source = rest
        last = (Path(rest).resolve() if Path(rest).is_dir() else Path(rest)).name
        alias = re.sub(r"[^\w]+", "-", last).strip("-").lower()
    if not source or not alias:
        raise UsageError(
            f"the stage {kind}:{rest} names no encoder",
            f"write {kind}:DIR, {kind}:NAME_AT_THE_HUB or {kind}:ALIAS=DIR",
        )
    found = Path(source)
    # Workers may run in another directory.
    return f"{kind}-{alias}", str(found.resolve()) if found.is_dir() else source


def options_of_stage(stage: str, given: Mapping[str, Any]) -> EncoderOptions:
    """The options of a stage among ``STAGE.FIELD`` -> value; SettingsError if one does not fit."""
    mine = {k.removeprefix(f"{stage}."): v for k, v in given.items() if k.startswith(f"{stage}.")}
    return resolve(EncoderOptions, mine)


def encoder_sections(
    stages: Iterable[str],
    sources: Mapping[str, str],
    given: Mapping[str, Any],
    stored: Mapping[str, Mapping[str, Any]] = {},
) -> dict[str, dict[str, Any]]:
    """Encoder stage -> its settings, of those among ``stages``.

    Args:
        stages: names of stages.
        sources: stage -> name at the hub or directory.
        given: ``STAGE.FIELD`` -> value, see `EncoderOptions`.
        stored: stage -> settings in the dataset, for stages that are named without a source.

    Raises:
        SettingsError: an option does not fit, or a stage has no source.
        TokenizerError: an encoder cannot be read.
    """
    found = {}
    for stage in (name for name in stages if is_encoder(name)):
        if stage in sources:
            options = options_of_stage(stage, given)
            found[stage] = asdict(describe_encoder(stage, sources[stage], options))
        elif stage in stored:
            found[stage] = dict(stored[stage])
        else:
            kind, _, alias = stage.partition("-")
            raise SettingsError(f"the stage {stage} has no encoder", f"name it: {kind}:{alias}=DIR")
    _refuse_strangers(sources, given)
    return found


def _refuse_strangers(sources: Iterable[str], given: Mapping[str, Any]) -> None:
    known = {*sources}
    for path in given:
        if path.rpartition(".")[0] not in known:
            raise SettingsError(
                f"encoders.{path} does not belong to a chosen encoder stage",
                f"write STAGE.FIELD, where STAGE is {' or '.join(sorted(known)) or 'an encoder'}",
            )


def encoder_directory(kind: str, name_or_dir: str) -> Path:
    """Return the directory of an encoder; download configuration and safetensors if needed.

    Raises:
        TokenizerError: it is neither a directory nor on the hub, or `check_pretrained` refuses it.
    """
    if is_local(name_or_dir, "encoder", f"{kind}:") and Path(name_or_dir).is_dir():
        return Path(name_or_dir)
    from huggingface_hub import snapshot_download

    try:
        place = snapshot_download(name_or_dir, allow_patterns=list(_DECISIVE))
    except Exception as error:  # the client's exceptions vary by version
        raise TokenizerError(
            f"the encoder {name_or_dir!r} cannot be fetched: {type(error).__name__}",
            f"run `hf download {name_or_dir} --local-dir DIR`, and pass {kind}:DIR",
        ) from error
    is_local(place, "encoder", f"{kind}:")
    return Path(place)


def encoder_digest(directory: Path) -> str:
    """SHA-256 over all files that decide an encoder's output."""
    paths = {path for pattern in _DECISIVE for path in directory.glob(pattern)}
    return digest_of({path.name: sha256_of(path) for path in sorted(paths)})


def describe_encoder(stage: str, name_or_dir: str, options: EncoderOptions) -> EncoderSettings:
    """Describe an encoder for a dataset: read its configuration and hash its files.

    Raises:
        TokenizerError: there is no such encoder, or it cannot be read.
        SettingsError: its architecture or layer is not supported.
    """
    kind = stage.partition("-")[0]
    directory = encoder_directory(kind, name_or_dir)
    config = encoder_config(directory, name_or_dir)
    architecture = str(config.model_type)
    if architecture not in ARCHITECTURES[kind]:
        raise SettingsError(
            f"the encoder {name_or_dir!r} is a {architecture}, expected a supported {kind} encoder",
            f"use one of {', '.join(ARCHITECTURES[kind])}",
        )
    sizes = getattr(config, "vision_config", config)
    layers = int(sizes.num_hidden_layers)
    layer = options.layer if options.layer >= 0 else layers + 1 + options.layer
    if not 0 <= layer <= layers:
        raise SettingsError(
            f"{stage} has the layer {options.layer}, expected -{layers + 1} to {layers}",
            f"pass --set encoders.{stage}.layer=N",
        )
    projected = architecture == "clip" and layer == layers
    width = config.projection_dim if projected else sizes.hidden_size
    chosen = {f.name: getattr(options, f.name) for f in fields(EncoderOptions)}
    if kind == "text":
        chosen["max_tokens"] = min(options.max_tokens, _most_tokens(config, directory))
    return EncoderSettings(
        **{**chosen, "layer": layer},
        encoder=Path(name_or_dir).name if Path(name_or_dir).is_dir() else name_or_dir,
        architecture=architecture,
        sha256=encoder_digest(directory),
        transformers=version("transformers"),
        layers=layers,
        width=int(width),
        rate_hz=_rate_hz(config, directory) if kind == "audio" else 0.0,
    )


def encoder_config(directory: Path, name: str) -> Any:
    """Read the transformers configuration; TokenizerError if it cannot be read."""
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(
            directory, local_files_only=True, trust_remote_code=False
        )
        refuse_absurd(config.to_dict())
    except Exception as error:  # those of several libraries, which vary with the damage
        raise cannot_load(name, error) from error
    return config


def cannot_load(name: str, error: Exception) -> TokenizerError:
    """The error of an encoder that cannot be loaded."""
    if isinstance(error, TokenizerError):
        return error
    first = next(iter(str(error).strip().splitlines()), repr(error))
    return TokenizerError(
        f"the encoder {name!r} cannot be loaded: {first}",
        "pass a directory that holds config.json, model.safetensors and the settings of its "
        "feature extractor, image processor or tokenizer, as save_pretrained writes them",
    )


def _rate_hz(config: Any, directory: Path) -> float:
    """Rows in a second of sound."""
    try:
        values = _json(directory / "preprocessor_config.json")
        if config.model_type == "whisper":
            # Whisper's second convolution halves the rate.
            return float(values["sampling_rate"] / (2 * values.get("hop_length", 160)))
        return float(values["sampling_rate"] / math.prod(config.conv_stride))
    except (OSError, ValueError, LookupError, TypeError, ArithmeticError) as error:
        raise cannot_load(directory.name, error) from error


def _most_tokens(config: Any, directory: Path) -> int:
    """The longest sequence that the encoder has positions for."""
    positions = int(getattr(config, "max_position_embeddings", 0) or 512)
    if config.model_type in _SHIFTED:
        positions -= 1 + int(config.pad_token_id or 0)
    try:
        limit = _json(directory / "tokenizer_config.json").get("model_max_length") or positions
        return max(min(int(limit), positions), 2)
    except (OSError, ValueError, AttributeError, OverflowError):
        return positions


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
