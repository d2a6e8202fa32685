"""Small encoders with random weights in transformers' format, and plain scripts that run them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers as hf

Rows = np.ndarray[Any, np.dtype[Any]]
_SIZES = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2}
_SIZES |= {"intermediate_size": 48}
_CONVOLUTIONS = {
    "conv_dim": (16,) * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}


def _wav2vec2(config: type, network: type, **more: Any) -> Callable[[Path], None]:
    def make(directory: Path) -> None:
        save(network(config(**_SIZES, **_CONVOLUTIONS, **more)), directory)
        hf.Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(directory)

    return make


def _whisper(directory: Path) -> None:
    # Windows of one second.
    config = hf.WhisperConfig(
        d_model=32,
        encoder_layers=3,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=48,
        decoder_ffn_dim=48,
        vocab_size=99,
        max_source_positions=50,
        max_target_positions=8,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
    )
    save(hf.WhisperModel(config), directory)
    hf.WhisperFeatureExtractor(chunk_length=1).save_pretrained(directory)


def _clip(directory: Path) -> None:
    text = hf.CLIPTextConfig(**_SIZES, vocab_size=99, max_position_embeddings=16)
    vision = hf.CLIPVisionConfig(**_SIZES, image_size=32, patch_size=8)
    config = hf.CLIPConfig(
        text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=24
    )
    save(hf.CLIPModel(config), directory)
    size = {"shortest_edge": 32}
    crop = {"height": 32, "width": 32}
    hf.CLIPImageProcessor(size=size, crop_size=crop).save_pretrained(directory)


def _dinov2(directory: Path) -> None:
    save(hf.Dinov2Model(hf.Dinov2Config(**_SIZES, image_size=28, patch_size=7)), directory)
    size = {"height": 28, "width": 28}
    hf.ViTImageProcessor(size=size).save_pretrained(directory)


def _vit(directory: Path) -> None:
    save(hf.ViTModel(hf.ViTConfig(**_SIZES, image_size=32, patch_size=8)), directory)
    hf.ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(directory)


def text_encoder(network: type, config: Any, text_model: Path) -> Callable[[Path], None]:
    """One that has the tokenizer of another directory."""

    def make(directory: Path) -> None:
        tokenizer = hf.AutoTokenizer.from_pretrained(text_model)
        sizes = {**_SIZES, "vocab_size": len(tokenizer), "max_position_embeddings": 64}
        save(network(config(**sizes, pad_token_id=tokenizer.pad_token_id)), directory)
        tokenizer.save_pretrained(directory)

    return make


def save(network: Any, directory: Path) -> None:
    hf.utils.logging.disable_progress_bar()
    network.save_pretrained(directory)
    hf.utils.logging.enable_progress_bar()


def makers(text_model: Path) -> dict[str, tuple[str, Callable[[Path], None]]]:
    """Name -> kind, and a function that writes the encoder into a directory."""
    stable = {"feat_extract_norm": "layer", "do_stable_layer_norm": True}
    return {
        "wav2vec2": ("audio", _wav2vec2(hf.Wav2Vec2Config, hf.Wav2Vec2Model)),
        "hubert": ("audio", _wav2vec2(hf.HubertConfig, hf.HubertModel, **stable)),
        "wavlm": ("audio", _wav2vec2(hf.WavLMConfig, hf.WavLMModel)),
        "whisper": ("audio", _whisper),
        "clip": ("video", _clip),
        "dinov2": ("video", _dinov2),
        "vit": ("video", _vit),
        "bert": ("text", text_encoder(hf.BertModel, hf.BertConfig, text_model)),
        "roberta": ("text", text_encoder(hf.RobertaModel, hf.RobertaConfig, text_model)),
        "deberta": ("text", text_encoder(hf.DebertaV2Model, hf.DebertaV2Config, text_model)),
    }


def make_encoder(name: str, directory: Path, text_model: Path) -> tuple[str, Path]:
    """Write an encoder; returns its kind and its directory."""
    kind, make = makers(text_model)[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        make(directory)
    return kind, directory


@torch.no_grad()
def plain_rows(kind: str, directory: Path, value: Any, layer: int | None = None) -> Rows:
    """The rows of one utterance as a plain transformers script computes them."""
    network = hf.AutoModel.from_pretrained(directory).eval()
    more = {"output_hidden_states": True} if layer is not None else {}
    if kind == "text":
        inputs = hf.AutoTokenizer.from_pretrained(directory)(value, return_tensors="pt")
        inputs.pop("token_type_ids", None)
        return _chosen(network(**inputs, **more), layer)[0].numpy()
    if kind == "video":
        processor = hf.AutoImageProcessor.from_pretrained(directory)
        inputs = processor(images=list(value.copy()), return_tensors="pt")
        if not hasattr(network, "get_image_features"):
            return _chosen(network(**inputs, **more), layer)[:, 0].numpy()
        if layer is None:
            return network.get_image_features(**inputs).pooler_output.numpy()
        return network.vision_model(**inputs, **more).hidden_states[layer][:, 0].numpy()
    extractor = hf.AutoFeatureExtractor.from_pretrained(directory)
    sound = value.astype(np.float32) / 32767
    if not hasattr(network, "decoder"):
        inputs = extractor(sound, sampling_rate=16_000, return_tensors="pt")
        return _chosen(network(inputs["input_values"], **more), layer)[0].numpy()
    parts = []
    for begin in range(0, len(sound), 16_000):
        window = sound[begin : begin + 16_000]
        inputs = extractor(window, sampling_rate=16_000, return_tensors="pt")
        states = _chosen(network.encoder(inputs["input_features"], **more), layer)[0]
        parts.append(states[: -(-len(window) // 320)].numpy())
    return np.concatenate(parts)


def _chosen(output: Any, layer: int | None) -> Any:
    return output.last_hidden_state if layer is None else output.hidden_states[layer]
