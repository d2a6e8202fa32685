"""The sound of a whole utterance: its normalization, and that no utterance sees another."""

from __future__ import annotations

from dataclasses import replace

import torch

from fv2es_train.data.batches import collate
from fv2es_train.data.dataset import ShardDataset
from fv2es_train.models.families import config_from_json, preset
from fv2es_train.models.fv2es import FV2ES, build_model
from fv2es_train.models.sound_encoder import SoundEncoder
from tests.train.conftest import CLASSES, SETTINGS, Corpus, make_examples


def sound_model() -> FV2ES:
    torch.manual_seed(0)
    config = replace(preset("fv2es-tiny").model, modalities="a", label_classes=CLASSES)
    return build_model(replace(config, sound_dropout=0.0), SETTINGS)


def encoder_of(model: FV2ES) -> SoundEncoder:
    assert isinstance(model.mel, SoundEncoder)
    return model.mel


def test_the_normalization_of_train_has_mean_0_and_deviation_1(corpus: Corpus) -> None:
    model, dataset = sound_model(), ShardDataset(corpus.shards)
    encoder = encoder_of(model)
    model.fit(dataset)
    parts = []
    for example in (dataset[row] for row in range(len(dataset))):
        steps, there = encoder.steps(collate([example]).mel)
        parts.append(steps[:, there.amax(0) > 0])
    rows = torch.cat(parts, 1)
    normal = (rows - encoder.mean[:, None]) / encoder.deviation[:, None]
    assert rows.shape[0] == 64 and rows.std() > 0.1
    torch.testing.assert_close(normal.mean(1), torch.zeros(64), atol=1e-3, rtol=0)
    torch.testing.assert_close(normal.std(1), torch.ones(64), atol=1e-2, rtol=0)


def test_batch_norms_take_the_same_from_utterances_together_and_apart() -> None:
    examples = make_examples(4)
    model, seen = sound_model().train(), []
    encoder = encoder_of(model)
    first = encoder.stack.blocks[0]
    first.bn.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].sum((0, 2, 3))))
    model(collate(examples))
    for example in examples:
        model(collate([example]))
    torch.testing.assert_close(seen[0], torch.stack(seen[1:]).sum(0), atol=1e-3, rtol=1e-4)


def test_masked_bands_and_missing_sound_are_blank() -> None:
    encoder, batch = encoder_of(sound_model().eval()), collate(make_examples(1))
    encoder.mean.fill_(-3.0)
    masked = batch.mel.clone()
    masked[:, :, 10:20] = 0
    _, there = encoder.steps(masked)
    assert not there[5:10].any() and there[:5].any() and there[10:].any()
    none = encoder(torch.zeros(0, 1, 128, 32), (0, 0))
    assert none.shape == (2, encoder.width) and torch.isfinite(none).all()


def test_the_configuration_of_an_earlier_run_has_the_published_encoder_of_chunks() -> None:
    values = preset("fv2es-tiny").model.to_json()
    mine = {n: value for n, value in values.items() if n.startswith("sound") or n == "mel_encoder"}
    earlier = config_from_json({n: value for n, value in values.items() if n not in mine})
    assert len(mine) == 5 and earlier.to_json()["mel_encoder"] == "nest"
