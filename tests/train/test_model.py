"""The network: its parts by modality, padding that does not leak, fusion, and gradients."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from fv2es_train.data.batches import collate
from fv2es_train.models.encoders import fused
from fv2es_train.models.families import preset
from fv2es_train.models.fv2es import FV2ES, build_model
from tests.train.conftest import CLASSES, SETTINGS, make_examples


def tiny(modalities: str = "tav") -> FV2ES:
    """A tiny model with random weights, in eval mode."""
    torch.manual_seed(0)
    config = replace(preset("fv2es-tiny").model, modalities=modalities, label_classes=CLASSES)
    return build_model(config, SETTINGS).eval()


@pytest.mark.parametrize("modalities", ["t", "a", "v", "ta", "tv", "av", "tav"])
@torch.no_grad()
def test_an_utterance_has_the_same_logits_alone_and_in_a_ragged_batch(modalities: str) -> None:
    model, examples = tiny(modalities), make_examples(5)
    together = model(collate(examples, pad_id=9))
    alone = torch.cat([model(collate([example])) for example in examples])
    assert together.shape == (5, len(CLASSES))
    assert torch.allclose(together, alone, atol=1e-5)


@torch.no_grad()
def test_encoding_some_max_rows_changes_no_number() -> None:
    model, batch = tiny(), collate(make_examples(5))
    whole = model(batch)
    model.max_rows = 2
    assert len(batch.faces) > 2 and len(batch.mel) > 2
    assert torch.allclose(model(batch), whole, atol=1e-5)


def test_a_fused_copy_takes_no_memory_for_what_is_not_fused() -> None:
    model = tiny()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    twin = fused(model.train())
    ours = {tensor.data_ptr() for tensor in model.parameters()}
    own = [name for name, tensor in twin.named_parameters() if tensor.data_ptr() not in ours]
    assert own and all(name.startswith("face.stack") for name in own)
    assert model.training and not twin.training
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_only_the_parts_of_the_chosen_modalities_exist() -> None:
    parts = {"t": {"text", "t_out"}, "v": {"face", "v_transformer", "v_out"}}
    parts["a"] = {"mel", "a_out"}
    for modalities in ("t", "a", "v", "tv"):
        expected = set.union(*(parts[letter] for letter in modalities))
        expected |= {"weighted_fusion"} if len(modalities) > 1 else set()
        assert {name for name, _ in tiny(modalities).named_children()} == expected


@torch.no_grad()
def test_fusion_weighs_the_logits_in_the_published_order() -> None:
    model, batch = tiny(), collate(make_examples(3))
    weights = torch.tensor([[0.5, -2.0, 3.0]])
    model.weighted_fusion.weight.copy_(weights)
    logits = model.modality_logits(batch)
    assert list(logits) == ["t", "v", "a"]
    expected = 0.5 * logits["t"] - 2.0 * logits["v"] + 3.0 * logits["a"]
    assert torch.allclose(model(batch), expected, atol=1e-5)


def test_fusion_of_the_published_model_starts_as_torch_starts_it() -> None:
    config = replace(preset("fv2es-tiny").model, label_classes=CLASSES, fusion_init="torch")
    torch.manual_seed(0)
    weights = build_model(config, SETTINGS).weighted_fusion.weight
    assert weights.shape == (1, 3)
    assert len(set(weights.flatten().tolist())) == 3


@torch.no_grad()
def test_order_matters_to_the_sound_but_not_to_faces() -> None:
    model, batch = tiny("av"), collate(make_examples(1, seed=3))
    faces, mel = (replace(batch, **{n: getattr(batch, n).flip(0)}) for n in ("faces", "mel"))
    assert len(batch.mel) > 1 and torch.allclose(model(batch), model(faces), atol=1e-5)
    assert not torch.allclose(model(batch), model(mel), atol=1e-5)


def test_every_parameter_receives_a_gradient() -> None:
    model = tiny().train()
    model(collate(make_examples(6))).square().sum().backward()
    without = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []
