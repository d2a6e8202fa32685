"""Loads a pretrained encoder, data only and once per process, and computes one layer's output.

Leaves batching of inputs to `waveform_encoder`, `picture_encoder` and `transcript_encoder`.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fv2es_prep.errors import TokenizerError
from fv2es_prep.stages.encoders.encoder_settings import EncoderSettings
from fv2es_prep.stages.encoders.encoder_source import (
    cannot_load,
    encoder_config,
    encoder_digest,
    encoder_directory,
)
from fv2es_prep.stages.registry import StageContext
from fv2es_prep.utils.pretrained import load_network, quiet

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor, nn

Encode = Callable[[Sequence[Any]], list["NDArray[np.float32]"]]
# Weights that an encoder may lack, since only training uses them, or nothing does.
_UNREAD = ("pooler.", "masked_spec_embed", "mask_token", "position_ids")
_LAYERS = ("encoder.layers", "encoder.layer", "transformer.layer", "layers", "layer")


def load_encoder(
    kind: str, name_or_dir: str, settings: EncoderSettings, context: StageContext
) -> Encode:
    """Load the function from inputs of a kind to rows of an encoder, float32 (R, width) each.

    Raises:
        TokenizerError: the encoder cannot be loaded, or is not the one in the settings.
    """
    directory = encoder_directory(kind, name_or_dir)
    found = encoder_digest(directory)
    if found != settings.sha256:
        raise TokenizerError(
            f"the encoder {name_or_dir!r} has the digest {found[:12]}, "
            f"expected {settings.sha256[:12]}",
            "put the same files under that name for every worker and every later run",
        )
    network = _network(directory, context.device)
    if kind == "audio":
        from fv2es_prep.stages.encoders.waveform_encoder import WaveformEncoder
        from fv2es_prep.stages.waveform import WAVEFORM

        rate_hz = WAVEFORM.settings_of(context.settings).rate_hz
        return WaveformEncoder(directory, network, settings, rate_hz, context.batch)
    if kind == "video":
        from fv2es_prep.stages.encoders.picture_encoder import PictureEncoder

        return PictureEncoder(directory, network, settings, context.batch)
    from fv2es_prep.stages.encoders.transcript_encoder import TranscriptEncoder

    return TranscriptEncoder(directory, network, settings, context.batch)


@functools.lru_cache(maxsize=4)
def _network(directory: Path, device: str) -> Any:
    """Load the network in float32 on a device; only the encoder of an encoder-decoder."""
    import torch

    try:
        with quiet():
            config = encoder_config(directory, directory.name)
            network, about = load_network(str(directory), config, True, torch.float32)
        if missing := sorted(k for k in about["missing_keys"] if not any(u in k for u in _UNREAD)):
            raise ValueError(f"it lacks {len(missing)} weights, first {missing[0]!r}")
        if config.model_type == "whisper":
            network = network.encoder
        return network.eval().to(device)
    except Exception as error:  # errors of several libraries; the type varies with the damage
        raise cannot_load(directory.name, error) from error


def load_processor(directory: Path, kind: str) -> Any:
    """Load the encoder's feature extractor or image processor; TokenizerError if it has none."""
    import transformers

    try:
        with quiet():
            chosen = getattr(transformers, kind)
            return chosen.from_pretrained(directory, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # as above
        raise cannot_load(directory.name, error) from error


class _Reached(Exception):  # noqa: N818  # no error: it ends the work early
    """Raised when a layer's input is known, to skip all later layers."""


def hidden_state(network: nn.Module, layer: int, settings: EncoderSettings, run: Any) -> Tensor:
    """Call ``run()``; return the input of layer ``layer``, or the output after the last layer.

    Raises:
        TokenizerError: the network's list of layers is unknown.
    """
    if layer == settings.layers:
        found: Tensor = run()
        return found
    seen: list[Tensor] = []

    def stop(_: nn.Module, positional: tuple[Any, ...], named: dict[str, Any]) -> None:
        seen.append(positional[0] if positional else named["hidden_states"])
        raise _Reached

    handle = _layers(network, settings)[layer].register_forward_pre_hook(stop, with_kwargs=True)
    try:
        run()
    except _Reached:
        return seen[0]
    finally:
        handle.remove()
    raise AssertionError("every layer is run")


def _layers(network: Any, settings: EncoderSettings) -> Any:
    for prefix in ("", "vision_model."):
        for path in _LAYERS:
            try:
                found = network.get_submodule(prefix + path)
            except AttributeError:
                continue
            if len(found) == settings.layers:
                return found
    raise TokenizerError(
        f"the layers of {settings.architecture} cannot be chosen", "leave layer at its default, -1"
    )


@contextmanager
def exact() -> Iterator[None]:
    """Disable gradients, and reduced precision in convolutions on a GPU."""
    import torch

    # Not inference_mode: some networks write into their inputs.
    with (
        torch.no_grad(),
        torch.backends.cudnn.flags(allow_tf32=False),
        warnings.catch_warnings(),
    ):
        # WavLM passes masks of two types to torch, which accepts them but warns.
        warnings.filterwarnings("ignore", message="Support for mismatched key_padding_mask")
        yield


def by_length(lengths: Sequence[int], most: int) -> Iterator[list[int]]:
    """Items in batches of similar length, each with at most ``most`` rows, padding included."""
    batch: list[int] = []
    for item in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        longest = lengths[batch[0]] if batch else 0
        if batch and longest * (len(batch) + 1) > most:
            yield batch
            batch = []
        batch.append(item)
    if batch:
        yield batch
