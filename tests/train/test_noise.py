"""Dropout by utterance: its share, its independence of the batch, and what it leaves alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from fv2es_train.data.augmentation import keys_of
from fv2es_train.data.batches import collate
from fv2es_train.models.families import preset
from fv2es_train.models.fv2es import FV2ES, build_model
from fv2es_train.training.noise import KeyedDropout, Noise, take_over, uniform
from tests.train.conftest import CLASSES, SETTINGS, make_examples


def model_of(name: str = "fv2es-tiny") -> FV2ES:
    torch.manual_seed(0)
    return build_model(replace(preset(name).model, label_classes=CLASSES), SETTINGS)


def test_numbers_are_even_and_each_place_has_its_own() -> None:
    keys = torch.tensor(keys_of([f"utt{n}" for n in range(50)], 0, 1))
    drawn = uniform(keys, 7, (50, 40, 30))
    assert float(drawn.min()) >= 0 and float(drawn.max()) < 1
    assert torch.histc(drawn, 10, 0, 1).div(drawn.numel()).sub(0.1).abs().max() < 0.005
    assert abs(float(torch.corrcoef(drawn.reshape(50, -1)).triu(1).abs().max())) < 0.15
    assert drawn.unique().numel() > 0.99 * drawn.numel() * (1 - drawn.numel() / 2**25)
    assert not drawn.equal(uniform(keys, 8, (50, 40, 30)))


def test_padding_and_neighbours_do_not_change_a_mask() -> None:
    keys = torch.tensor(keys_of(["a", "b", "c"], 3, 1))
    whole = uniform(keys, 2, (3, 4, 9, 9))
    assert uniform(keys[1:], 2, (2, 4, 5, 5)).equal(whole[1:, :, :5, :5])


@pytest.mark.parametrize("whole", [False, True])
def test_dropout_keeps_the_mean(whole: bool) -> None:
    noise = Noise()
    noise.keys = {"utterance": torch.tensor(keys_of([str(n) for n in range(4000)], 0, 1))}
    layer = KeyedDropout(0.3, noise, "utterance", 1, whole)
    x = torch.ones(4000, 3, 4)
    dropped = layer(x)
    assert float((dropped == 0).float().mean()) == pytest.approx(0.3, abs=0.03)
    assert float(dropped.mean()) == pytest.approx(1, abs=0.05)
    same = (dropped == dropped[:, :1, :1]).flatten(1).all(1)
    assert bool(same.all()) == whole
    assert layer.eval()(x) is x


def test_a_network_taken_over_computes_the_same_and_has_the_same_names() -> None:
    batch = collate(make_examples(5))
    model = model_of().eval()
    names, before = list(model.state_dict()), model(batch)
    take_over(model)
    assert list(model.state_dict()) == names
    assert not [m for m in model.modules() if type(m) in (nn.Dropout, nn.MultiheadAttention)]
    torch.testing.assert_close(model(batch), before, rtol=0, atol=0)


def test_attention_without_dropout_is_torchs() -> None:
    batch = collate(make_examples(5))
    model = model_of().train()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        elif isinstance(module, nn.MultiheadAttention):
            module.dropout = 0.0
        elif hasattr(module, "drop_prob"):
            module.drop_prob = 0.0
    before = model(batch)
    take_over(model).begin(batch, 0, 1)
    torch.testing.assert_close(model(batch), before)


def test_an_utterance_drops_the_same_in_any_batch() -> None:
    model = model_of().train()
    model.face.eval()  # its batch norms look at the whole batch on purpose
    noise = take_over(model)
    examples = make_examples(5)

    def logits(chosen: list[int], epoch: int = 1) -> torch.Tensor:
        batch = collate([examples[number] for number in chosen])
        noise.begin(batch, 0, epoch)
        return model(batch)

    whole = logits([0, 1, 2, 3, 4])
    torch.testing.assert_close(logits([3, 1]), whole[[3, 1]], rtol=1e-4, atol=1e-5)
    assert (logits([0, 1, 2, 3, 4], epoch=2) - whole).abs().max() > 1e-3
