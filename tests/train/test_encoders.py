"""The parts have the published sizes; fused blocks equal their branches; text encoders load."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from fv2es_prep.errors import TokenizerError, TrainError
from fv2es_train.models import text_encoder as texts
from fv2es_train.models.encoders import FaceEncoder, MelEncoder, RepVggBlock, SequenceEncoder, fused
from fv2es_train.models.families import preset
from fv2es_train.models.fv2es_config import FV2ESConfig

TINY = preset("fv2es-tiny").model


def count(module: nn.Module) -> int:
    """Number of trainable values."""
    return sum(parameter.numel() for parameter in module.parameters())


def test_face_encoder_has_the_published_number_of_parameters() -> None:
    encoder = FaceEncoder(FV2ESConfig())
    assert count(encoder.stack) == 1_811_584
    assert count(encoder.project) == 4_785_216
    assert count(fused(encoder).stack) == 1_628_032


def test_mel_encoder_has_the_published_number_of_parameters() -> None:
    with torch.device("meta"):
        encoder = MelEncoder(FV2ESConfig())
    unused_head = 1000 * 512 + 1000
    assert count(encoder.nest) == 67_248_744 - unused_head
    assert count(encoder.project) == 33_621_056


def test_sequence_encoder_has_the_published_number_of_parameters() -> None:
    assert count(SequenceEncoder(FV2ESConfig())) == 1_124_672


def test_full_size_face_encoder_runs() -> None:
    encoder = FaceEncoder(FV2ESConfig()).eval()
    with torch.no_grad():
        assert encoder(torch.rand(2, 3, 48, 48) * 255).shape == (2, 64)


def test_a_chunk_is_cut_into_four_bands_as_channels() -> None:
    small: dict[str, Any] = {"mel_dims": (8, 8, 8), "mel_heads": (1, 1, 1), "mel_depths": (1, 1, 1)}
    encoder = MelEncoder(replace(TINY, **small)).eval()
    seen: list[torch.Tensor] = []
    encoder.nest.patch_embed.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    chunk = torch.rand(1, 1, 128, 32)
    encoder(chunk)
    for band in range(4):
        assert seen[0][0, band].equal(chunk[0, 0, 32 * band : 32 * band + 32])


@pytest.mark.parametrize(("inputs", "outputs"), [(8, 8), (8, 12)])
def test_a_fused_block_equals_its_branches(inputs: int, outputs: int) -> None:
    block = trained(RepVggBlock(inputs, outputs))
    x = torch.randn(3, inputs, 9, 7)
    with torch.no_grad():
        assert torch.allclose(fused(block)(x), block(x), atol=1e-5)


def test_fusing_makes_a_copy_and_leaves_the_training_model_alone() -> None:
    encoder = trained(FaceEncoder(FV2ESConfig())).train()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    twin = fused(encoder)
    assert encoder.training and not twin.training
    assert any(isinstance(part, RepVggBlock) for part in encoder.modules())
    assert not any(isinstance(part, RepVggBlock) for part in twin.modules())
    assert all(parameter.requires_grad for parameter in encoder.parameters())
    after = encoder.state_dict()
    assert all(value.equal(after[name]) for name, value in before.items())
    faces = torch.rand(4, 3, 48, 48) * 255
    with torch.no_grad():
        assert (twin(faces) - encoder.eval()(faces)).abs().max() < 1e-4


def trained(module: nn.Module) -> nn.Module:
    """The module with batch norms as after some training, in eval mode."""
    torch.manual_seed(0)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.normal_(part.bias, std=0.2)
            assert part.running_mean is not None and part.running_var is not None
            part.running_mean.normal_(std=0.2)
            part.running_var.uniform_(0.5, 1.5)
    return module.eval()


@pytest.fixture
def albert_dir(tmp_path: Path) -> Path:
    """A small ALBERT as transformers' save_pretrained writes it."""
    texts.small(40, 0).albert.save_pretrained(tmp_path / "albert")  # type: ignore[operator]
    return tmp_path / "albert"


def test_a_text_encoder_is_read_from_a_directory(albert_dir: Path) -> None:
    first, second = texts.pretrained(str(albert_dir)), texts.pretrained(str(albert_dir))
    tokens = torch.randint(0, 40, (2, 5))
    mask = torch.ones_like(tokens)
    with torch.no_grad():
        assert first.eval()(tokens, mask).equal(second.eval()(tokens, mask))
    assert not any("pooler" in name for name in first.state_dict())


def test_a_text_encoder_is_built_again_from_its_stored_config(albert_dir: Path) -> None:
    first = texts.pretrained(str(albert_dir))
    assert str(albert_dir) not in str(first.config)
    twin = texts.from_config(first.config)
    twin.load_state_dict(first.state_dict())
    assert count(twin) == count(first)


def test_an_incomplete_text_encoder_is_refused(albert_dir: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(albert_dir / "model.safetensors")
    weights.pop("embeddings.word_embeddings.weight")
    save_file(weights, albert_dir / "model.safetensors", {"format": "pt"})
    with pytest.raises(TokenizerError, match="lacks 1 weights"):
        texts.pretrained(str(albert_dir))
    (albert_dir / "model.safetensors").unlink()
    with pytest.raises(TokenizerError, match="cannot be loaded") as caught:
        texts.pretrained(str(albert_dir))
    assert "--text-encoder" in caught.value.hint


def test_an_unreachable_hub_is_one_quick_error(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    began = time.perf_counter()
    with pytest.raises(TokenizerError, match="no-one/no-such-encoder") as caught:
        texts.pretrained("no-one/no-such-encoder")
    assert time.perf_counter() - began < 10
    assert "--text-encoder" in caught.value.hint


def test_a_mistyped_path_is_one_quick_error(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match="not a local directory"):
        texts.pretrained(str(tmp_path / "missing" / "albert"))


def test_a_small_text_encoder_needs_a_vocabulary() -> None:
    with pytest.raises(TrainError, match="vocabulary"):
        texts.small(0, 0)
